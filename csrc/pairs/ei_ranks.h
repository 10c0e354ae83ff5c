/* Draws of one input by rank, for the sensitivity. */
#ifndef EI_RANKS_H
#define EI_RANKS_H

#include "kernels/ei_kernels.h"
#include "pairs/ei_pairs.h"

/* Draws of one input sorted into buckets by their top bits: how many lie below any number is a sum
 * over buckets and a look at one of them. */
typedef struct {
    ei_memory memory;
    size_t count;
    int shift;        /* draw >> shift: its bucket */
    uint32_t *start;  /* buckets + 1: where each begins */
    uint32_t *sorted; /* count draws, bucket by bucket */
    uint32_t *draws;
} ep_ranks;

int ep_ranks_open(ep_ranks *r, size_t count);
void ep_ranks_close(ep_ranks *r);

/* Take the draws of an input. */
int ep_ranks_fill(ep_ranks *r, const ei_kernels *kernels, const ei_job *job, size_t input,
                  ei_cancel cancel);

/* Number of draws below `bound`, a number up to 2^32. */
static inline uint32_t ep_below(const ep_ranks *r, uint64_t bound)
{
    if (bound >> 32)
        return (uint32_t)r->count;
    size_t bucket = (size_t)(bound >> r->shift);
    uint32_t n = r->start[bucket];
    for (uint32_t i = r->start[bucket]; i < r->start[bucket + 1]; i++)
        n += r->sorted[i] < bound;
    return n;
}

#endif
