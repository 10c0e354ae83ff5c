/* Several layers in single precision, with a bound of what that can do to each sample.
 *
 * Of a sample only the interval between thresholds counts that an output lies in. An output that is
 * further from every threshold than single precision (and the plainer activations here) can move it lies
 * in the interval of the value in double precision; what is nearer is computed in double precision. So
 * the intervals are those of double precision, every one, at a third of the time.
 */
#ifndef EI_QUICK_H
#define EI_QUICK_H

#include "kernels/ei_kernels.h"

enum { EI_MOST_CUTS = 64 }; /* thresholds and limits of an output: they are looked at one by one */

typedef struct {
    const float *weight, *bias;
    const float *size; /* sizes of the weights, up a little: what errors of the inputs are times */
    const float *own;  /* errors that the map adds to each output */
    size_t n_in, n_out;
    int activation; /* applied to the outputs; EI_IDENTITY after the last map */
    float p0, p1;
} ei_quick_map;

typedef struct {
    ei_memory memory;
    size_t n_maps; /* 0: not for this channel */
    ei_quick_map *maps;
    float lo, scale; /* of the inputs: lo + (draw / 256) scale */
    float wrong;     /* error of an input */
    float *begin;    /* those of the first map's outputs, as a panel */
    size_t n_out, m;   /* thresholds and limits of an output */
    float *cut;    /* n_out x m: those */
    float *more; /* n_out: what rounding a cut adds to a value's error */
    float *value, *spare; /* widest x block */
    float *z;             /* one of these: panels of outputs, as they came out */
    float *error, *errors; /* the same: of those */
    uint32_t *near;       /* block */
    uint32_t *draws;      /* n_in x block: those computed again */
    size_t *at;           /* block: which they are */
    double *exact;        /* n_out x block: what comes of them */
    uint64_t seen, again; /* samples so far, and those of them computed again */
} ei_quick;

/* Prepare blocks of so many samples of outputs out_start .. out_start + n_out of a channel. Where the
 * channel has no stages, a stage without a quick form, very many thresholds, or numbers that single
 * precision cannot hold, n_maps is 0. Returns a status; close in any case. */
int ei_quick_open(ei_quick *quick, const ei_channel *channel, size_t out_start, size_t n_out,
                  size_t widest, size_t block);
void ei_quick_close(ei_quick *quick);

/* Evaluate n samples (a multiple of 64) from draws (input k's at k * block), to quick->z; quick->at: those
 * near a threshold, whose number is returned. */
size_t ei_quick_forward(ei_quick *quick, const ei_kernels *kernels, const uint32_t *draws,
                        size_t block, size_t n);

#endif
