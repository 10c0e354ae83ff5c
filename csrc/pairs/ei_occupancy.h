/* Bias and error of the information of sampled pairs, from how many cells are occupied.
 *
 * Given the output, the input lies in one of m bins, all equally likely: m = in_bins of an edge without
 * information, 1 of one that tells all. Of c samples in m cells everything is known in closed form: how
 * many cells are occupied, and by how much the plug-in entropy falls short (as sums
 * over binomials: Paninski, Neural Computation 15, 1191 (2003)). So the number of occupied cells
 * of a table says what m is, and with it the bias, also where most cells were never seen; with many
 * samples it is Miller and Madow's, (K_xy - K_x - K_y + 1) / (2 N ln 2). The twin is
 * eiplane/reference/occupancy.py. */
#ifndef EI_OCCUPANCY_H
#define EI_OCCUPANCY_H

#include "kernels/ei_info.h"

/* Values of m; moments of each; column sums below which the moments are kept. */
enum { EI_CELLS = 12, EI_MOMENTS = 6, EI_KEPT_COUNTS = 256 };

/* Moments of c samples in m cells, summed over the cells, n being the count of one: the expected
 * number of occupied ones; n log2 n, less its value at the mean: the bias; n log2^2 (n m / c); variances
 * and covariance of n log2 n and of whether n > 0, for a given sum of all n. */
enum { EI_OCCUPIED, EI_BIAS, EI_SQUARE, EI_VARIANCE, EI_COVARIANCE, EI_SPREAD };

typedef struct {
    size_t in_bins, sharing;
    double cells[EI_CELLS], log_rest[EI_CELLS]; /* m, and log(1 - 1/m) */
    double log2_of[128];
    double *kept; /* EI_KEPT_COUNTS x EI_CELLS x EI_MOMENTS */
    unsigned char *known; /* EI_KEPT_COUNTS: which are there */
} ep_occupancy;

/* What depends on an output's column sums alone: moments over its columns, and of the inputs. */
typedef struct {
    int filled;
    double columns[EI_CELLS][EI_MOMENTS], inputs[EI_CELLS][EI_MOMENTS];
    uint64_t *sums;  /* of each column */
    double *biases;  /* of each column: EI_CELLS */
    double *each;    /* scratch: of each column, the bias a sample */
    double rare;     /* variance, of the sum over samples, by what is hardly seen */
} ep_columns;

typedef struct {
    double excess;   /* of the plug-in information, bits */
    double variance; /* of the corrected one: all that follows */
    double second;   /* its part that stays without information: of order 1/N^2 */
    double noise;    /* what noise adds to the variance of the influence */
    double doubt;    /* about the bias: a systematic error, with its sign */
    double mean;     /* of the corrected pointwise information */
} ep_corrected;

/* `sharing`: inputs perturbed together. Both at least 1. Memory is held by `memory`; look at ei_held. */
void ep_occupancy_open(ep_occupancy *o, size_t in_bins, size_t sharing, ei_memory *memory);

/* n of them, for outputs of so many bins. */
ep_columns *ep_columns_open(size_t n, size_t out_bins, ei_memory *memory);

/* Take up a table's columns: in_bins x row, the first out_bins of each row. */
void ep_columns_fill(ep_columns *columns, ep_occupancy *o, const uint64_t *table, size_t row,
                     size_t out_bins);

/* Correct the information of a table whose columns these are, as ei_measure has just found it, with what
 * it left in `scratch`. `pointwise` becomes that of the corrected information: less its mean, it is the
 * influence of a sample that is not dropped. */
ep_corrected ep_correct(const ep_occupancy *o, const ep_columns *columns, const ei_information *i,
                        size_t row, size_t out_bins, double *scratch, double *pointwise);

/* Moments of c samples in m cells, given log(1 - 1/m); for the tests. */
void ep_moments(const ep_occupancy *o, uint64_t c, double m, double log_rest,
                double out[EI_MOMENTS]);

#endif
