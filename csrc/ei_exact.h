/* Pairwise information of a layer, computed instead of sampled. The mathematics is in ei_exact.c.
 *
 * An engine is built once for a channel (its inputs' range and bins, its outputs' intervals) and
 * then takes one output neuron, a "row", after the other. It holds scratch: one engine a thread.
 *
 * Preconditions: those of ei_channel.h for range, bins, thresholds and labels (infinite thresholds
 * are allowed); weights, bias and baseline finite.
 */
#ifndef EI_EXACT_H
#define EI_EXACT_H

#include "ei_common.h"
#include "ei_exact_kernels.h"

typedef struct {
    size_t n_in;
    double in_lo, in_hi;
    uint32_t in_bins, out_bins;
    size_t n_thresholds;
    const double *thresholds; /* increasing */
    const int32_t *labels;    /* n_thresholds + 1, -1: dropped */
    double baseline;
} ei_exact_channel;

typedef struct ei_exact ei_exact;

/* EI_OK or EI_ENOMEM. The channel's arrays are copied. */
int ei_exact_new(const ei_exact_channel *channel, const ei_exact_kernels *kernels,
                 ei_exact **engine);
void ei_exact_free(ei_exact *engine);

/* information[n_in]: I(x_A; y) in bits, every input perturbed, given that y is kept. marginal
 * [out_bins]: probability of every output bin, the rest being dropped. *bound: the greatest error of
 * an edge, in bits. information may be NULL (marginal only). EI_OK, EI_ENOMEM or EI_ECANCELLED. */
int ei_exact_parts(ei_exact *engine, const double *weight, double bias, double *information,
                   double *marginal, double *bound, ei_cancel cancel);

/* information[n_in]: I(x_A; y) in bits with every other input held at the baseline.
 * kept[n_in], or NULL: the probability that y is kept. */
int ei_exact_sensitivity(ei_exact *engine, const double *weight, double bias, double *information,
                         double *kept, double *bound, ei_cancel cancel);

#endif
