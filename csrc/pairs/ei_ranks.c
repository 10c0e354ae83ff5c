/* Draws of one input sorted, so that crossings of a threshold are ranks instead of comparisons. */
#include "pairs/ei_ranks.h"

#include <string.h>

enum { STRETCH = 1 << 18 }; /* draws between two looks at the cancel flag */

void ep_ranks_close(ep_ranks *r) { ei_release(&r->memory); }

int ep_ranks_open(ep_ranks *r, size_t count)
{
    int bits = 1;
    while (bits < 22 && ((size_t)4 << bits) < count)
        bits++;
    *r = (ep_ranks){.count = count, .shift = 32 - bits};
    r->start = ei_hold(&r->memory, ((size_t)1 << bits) + 2, sizeof *r->start);
    r->sorted = ei_hold(&r->memory, count, sizeof *r->sorted);
    r->draws = ei_hold(&r->memory, ei_whole_groups(count), sizeof *r->draws);
    return ei_held(&r->memory, EI_OK);
}

int ep_ranks_fill(ep_ranks *r, const ei_kernels *kernels, const ei_job *job, size_t input,
                  ei_cancel cancel)
{
    const size_t buckets = (size_t)1 << (32 - r->shift);
    memset(r->start, 0, (buckets + 2) * sizeof *r->start);
    uint32_t *next = r->start + 1; /* becomes the starts themselves once every draw is placed */
    for (size_t from = 0; from < r->count; from += STRETCH) {
        const size_t to = from + ei_least(STRETCH, r->count - from);
        if (ei_cancelled(cancel))
            return EI_ECANCELLED;
        kernels->draw(job->key, 0, (uint32_t)(job->stream + input), job->first + from,
                      ei_whole_groups(to - from), r->draws + from);
        for (size_t s = from; s < to; s++)
            next[(r->draws[s] >> r->shift) + 1]++;
    }
    for (size_t i = 1; i <= buckets; i++)
        next[i] += next[i - 1];
    for (size_t from = 0; from < r->count; from += STRETCH) {
        const size_t to = from + ei_least(STRETCH, r->count - from);
        if (ei_cancelled(cancel))
            return EI_ECANCELLED;
        for (size_t s = from; s < to; s++)
            r->sorted[next[r->draws[s] >> r->shift]++] = r->draws[s];
    }
    return EI_OK;
}
