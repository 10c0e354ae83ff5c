/* Evaluating a channel for blocks of samples. */
#ifndef EI_EVAL_H
#define EI_EVAL_H

#include "kernels/ei_quick.h"

enum { EI_BLOCK = 512 }; /* samples of a block at most */

/* Scratch memory of one thread. After ei_eval_forward, value of output o (counted from out_start)
 * for sample 16 p + i of the block stands at z[(p * n_out + o) * 16 + i]: exactly that of double precision
 * as to the thresholds and limits that it lies between, and not otherwise (ei_quick.h). */
typedef struct {
    const ei_channel *channel;
    const ei_kernels *kernels;
    size_t out_start, n_out;
    size_t block;    /* samples at a time, a multiple of 64, at most EI_BLOCK */
    uint32_t *draws; /* n_in x block */
    double *x;       /* panels of inputs */
    double *hidden;  /* two buffers for the stages */
    size_t widest;
    double *z;       /* panels of outputs */
    int masked;      /* set by a caller of ei_eval_masks and ei_eval_outside alone: z may be left as it was */
    int single;      /* whether the last samples went through quick layers */
    size_t near;     /* how many of those were computed again */
    ei_quick quick;
} ei_eval;

/* The same in double precision alone. */
int ei_eval_open_exactly(ei_eval *eval, const ei_channel *channel, size_t out_start, size_t out_stop);

/* Prepare the evaluation of outputs out_start <= o < out_stop. Returns a status; close in any case. */
int ei_eval_open(ei_eval *eval, const ei_channel *channel, size_t out_start, size_t out_stop);
void ei_eval_close(ei_eval *eval);

/* Draw every input for samples first .. first + n: draws[k * block + s]. first, n multiples of 64,
 * n <= block. The caller may change the draws before it evaluates. */
void ei_eval_draw(ei_eval *eval, uint64_t key, uint32_t purpose, uint64_t first, size_t n);

/* Evaluate n samples (a multiple of 64, at most block) from the draws. */
void ei_eval_forward(ei_eval *eval, size_t n);

/* Draw and evaluate samples first .. first + left, but no more than a block: returns how many. Those
 * that fill the last group are evaluated too. */
size_t ei_eval_next(ei_eval *eval, uint64_t key, uint32_t purpose, uint64_t first, uint64_t left);

/* Labels, through `map`, of n evaluated samples of an output (counted from out_start). */
void ei_eval_labels(const ei_eval *eval, size_t output, size_t n, const uint16_t *map,
                    uint16_t *labels);

/* Bit masks of n evaluated samples of an output, as value_masks has them: a row of `ld` words each
 * threshold. */
void ei_eval_masks(const ei_eval *eval, size_t output, size_t n, uint64_t *masks, size_t ld);

/* Whether they lie outside the output's range: n flags (none if eval->masked); returns their sum. */
uint64_t ei_eval_outside(const ei_eval *eval, size_t output, size_t n, uint16_t *flags);

/* As ei_eval_forward, where input `only` alone has draws (of this one row) and all others are held at the
 * channel's baseline. `base` holds the first map's values without input `only`. */
void ei_eval_single(ei_eval *eval, size_t only, const uint32_t *draws, const double *base, size_t n);

/* Width of a draw's step on the input's range. */
static inline double ei_scale(const ei_channel *c) { return (c->in_hi - c->in_lo) / 4294967296.0; }

#endif
