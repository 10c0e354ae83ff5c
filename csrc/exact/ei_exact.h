/* Pairwise information of a layer, computed instead of sampled. See ei_exact.c.
 *
 * Preconditions: those of ei_channel.h; no stages; start <= stop <= n_out. Thresholds and limits may
 * be infinite. Rows (outputs) do not depend on each other: any cut of a layer gives the same bits.
 */
#ifndef EI_EXACT_H
#define EI_EXACT_H

#include "common/ei_channel.h"
#include "kernels/ei_rows.h"

typedef struct {
    double *information; /* (stop - start) x n_in, bits; may be NULL */
    double *total;       /* stop - start: its sum over the edges; may be NULL */
    double *marginal;    /* (stop - start) x out_bins: probability of each output bin, all inputs
                            perturbed; what is missing from 1 is dropped */
    double *bound;       /* stop - start: the greatest error of the row's edges, in bits */
    double *outside;     /* stop - start: share of the values outside the output's range */
} ei_exact_out;

/* I(x_A; y_B), every input perturbed; given that y_B is kept.
 * EI_OK, EI_ENOMEM or EI_ECANCELLED. */
int ei_exact_parts(const ei_channel *channel, size_t start, size_t stop, ei_cancel cancel,
                   const ei_exact_out *out);

/* I(x_A; y_B), every input but A held at the baseline. marginal is not written. */
int ei_exact_sensitivity(const ei_channel *channel, size_t start, size_t stop, ei_cancel cancel,
                         const ei_exact_out *out);

/* Both at once: what they share is made ready once. */
int ei_exact_both(const ei_channel *channel, size_t start, size_t stop, ei_cancel cancel,
                  const ei_exact_out *alone, const ei_exact_out *together);

/* What a channel may know of its rows: count x EI_SUMS. They are finite where all weights are, and their
 * squares. */
void ei_exact_sums(const ei_matrix *rows, size_t count, double *sums);

/* Sum of the numbers of a matrix, in the order of the totals above. */
double ei_exact_total(const double *x, size_t rows, size_t n);

#endif
