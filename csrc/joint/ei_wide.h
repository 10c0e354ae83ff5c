/* The logarithm of the probability that a linear map of independent uniform inputs meets intervals.
 *
 * Inputs u_k are uniform on their own intervals inside (-1/2, 1/2), outputs z = W u. The evidence of
 * a sample is log P(u in its intervals, z in its intervals), the inputs uniform on the unit cube:
 * the volume of a polytope. It is found by expectation propagation (T. P. Minka, UAI 2001): a
 * Gaussian factor for every interval, adjusted in parallel until they agree, and then corrected by
 * the third and fourth cumulants of what the Gaussians stand for (M. Opper, U. Paquet and O. Winther,
 * JMLR 14, 2857-2898, 2013, section 4). By cooling (ei_wide_cooling.c) it is found but for noise alone.
 */
#ifndef EI_WIDE_H
#define EI_WIDE_H

#include "common/ei_common.h"

typedef struct {
    size_t n_in, n_out;
    const double *weight; /* n_out x n_in; no row is 0 */
    size_t pieces;        /* intervals of an output whose union counts: 1, more for ei_bounds_backward */
    uint32_t iterations;  /* at most, at least 1 */
    double damping;       /* share of a step that is taken from the second one on */
    double tolerance;     /* nats: the evidence has settled when it changes by less */
    uint32_t sweeps;      /* of every temperature of the cooled volume; 0: none */
    int by_inputs;        /* the algebra runs in the space of inputs, though they be more than outputs */
    uint64_t key;         /* of the random numbers of cooling */
    uint32_t purpose;
} ei_wide_job;

/* Of each sample, in nats unless said otherwise. */
typedef struct {
    double *evidence, *correction; /* the correction adds to the evidence; 0 unless asked for */
    double *change;                /* of the evidence in the last iteration */
    double *cooled;                /* the volume's logarithm, by cooling: right but for noise; NaN where
                                      a sample's evidence failed. 0 without sweeps */
    double *h, *l;                 /* n_in each: what an input is known by from the outputs and the
                                      other inputs alone, exp(h u - l u^2 / 2); or NULL */
} ei_wide_out;

/* pieces: 1. in_lo, in_hi: samples x n_in, within [-1/2, 1/2], lo < hi. out_lo, out_hi: samples x
 * n_out, infinite where there is no limit, lo < hi. An output without limits costs nothing. correct:
 * whether each sample's correction is wanted. stream: each sample's stream of random numbers, for
 * cooling; or NULL without sweeps. */
int ei_wide_run(const ei_wide_job *job, size_t samples, const double *in_lo, const double *in_hi,
                const double *out_lo, const double *out_hi, const uint8_t *correct,
                const uint32_t *stream, const ei_wide_out *out, ei_cancel cancel);

#endif
