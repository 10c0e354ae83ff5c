/* The entropy of one output's bin given the cells of some inputs, averaged over the cells: no samples.
 *
 * z = s + u about its middle: u a sum of independent uniforms on (-parts / 2, parts / 2), s a sum of
 * independent variables that are each uniform on `bins` places, `steps` apart, about 0. On a circle of
 * length 2 half, the probability of an interval of z as a function of s is a Fourier series: the
 * coefficients of the interval times the characteristic function of u, a product of sincs. The entropy
 * h(s) follows on a grid, and its average over s from its own coefficients times the characteristic
 * function of s, a product of Dirichlet kernels. Twin: eiplane/reference/given.py.
 */
#ifndef EI_GIVEN_H
#define EI_GIVEN_H

#include "common/ei_common.h"

/* Sizes of parts and steps downwards and positive, their greatest between 1e-60 and 1e300. */
typedef struct {
    size_t n_parts, n_steps;
    const double *parts, *steps;
    uint32_t bins;
} ei_given_sums;

typedef struct {
    ei_given_sums sums; /* at least one part */
    size_t n_cuts;      /* at least 1 */
    const double *cuts; /* upwards, within (-half, half) */
    const int32_t *kind; /* of the n_cuts + 1 intervals: 0 .. n_kinds - 1, or -1 where z is dropped */
    size_t n_kinds;
    double half; /* beyond it neither z nor what is known of it has any probability to speak of */
    size_t least, start, most; /* points on the circle, powers of two of at least 16 */
    double good; /* bits: an error with which to stop */
    /* All intervals of z, in reach or not, and the kind of each, for a normal z about s; 0 cuts where
     * that is not wanted. */
    size_t n_all;
    const double *all_cuts;
    const int32_t *all_kind;
} ei_given_row;

/* Least probability that counts for a normal z. */
#define EI_GIVEN_LEAST 1e-9

typedef struct {
    double value; /* E [sum over kinds eta(p) - eta(p of all that is kept)], bits */
    double error; /* from half the points, and what was cut off */
    double kept;  /* E of the probability of all that is kept; 1 where nothing is dropped */
    double normal; /* E -log2 of the kind's probability, were z normal about s, of u's variance */
} ei_given_found;

int ei_given_entropy(const ei_given_row *row, ei_given_found *found, ei_cancel cancel);

/* A frequency from which on u's characteristic function is negligible. */
double ei_given_highest(const ei_given_sums *sums);

/* out[q], q < n (a multiple of 8): the characteristic functions of u, and of s, at q step. */
void ei_given_of_u(const ei_given_sums *sums, double step, size_t n, double *out);
void ei_given_of_s(const ei_given_sums *sums, double step, size_t n, double *out);

/* How far the waves beyond frequency w, the last of so many, can move P(u < t). */
double ei_given_rest(const ei_given_sums *sums, double w, size_t waves);

#endif
