/* Counting shared out among threads: one part of them draws, then each counts the vectors of a shard. */
#include "joint/ei_joint_internal.h"

#include <string.h>

int ei_joint_draw(const ei_channel *channel, const ei_joint_job *job, uint64_t *const *keys,
                  size_t ld, uint64_t *margins, uint64_t *kept, uint64_t *outside,
                  ei_cancel cancel)
{
    ej_bins b;
    ei_memory memory = {0};
    size_t words = 1, used = 0;
    for (size_t i = 0; i < job->n_sets; i++) {
        const size_t own = ei_rows_words(channel, job->sets + i, NULL);
        words = own > words ? own : words;
    }
    int status = ej_bins_open(&b, channel, ej_with_inputs(channel, job));
    uint64_t *packed = ei_hold(&memory, words * LOTS, sizeof *packed);
    status = ei_held(&memory, status);
    ei_eval *e = &b.eval;
    for (uint64_t at = 0; status == EI_OK && at < job->count; at += e->block) {
        const size_t some = ei_least(e->block, job->count - at), n = ei_whole_groups(some);
        size_t here = some;
        if (ei_cancelled(cancel)) {
            status = EI_ECANCELLED;
            break;
        }
        ei_eval_draw(e, job->key, job->purpose, job->first + at, n);
        ej_bins_fill(&b, n);
        if (ei_may_leave(channel))
            *outside += ej_count_outside(&b, some);
        for (size_t i = 0; i < job->n_sets; i++) {
            const size_t own = ej_pack(&b, job->sets + i, some, packed);
            if (b.drops)
                here = ej_compact(packed, own, b.kept, some);
            for (size_t w = 0; w < own; w++)
                memcpy(keys[i] + w * ld + used, packed + w * LOTS, here * sizeof *packed);
        }
        if (margins)
            ej_count_margins(&b, some, margins);
        used += here;
    }
    *kept = used;
    ej_bins_close(&b);
    ei_release(&memory);
    return status;
}

/* Bits of a place that hold its shard's number. */
static unsigned shard_bits(uint32_t shards)
{
    unsigned bits = 0;
    while ((uint64_t)1 << bits < shards)
        bits++;
    return bits;
}

int ei_shard_vectors(ei_counter *counter, const uint64_t *keys, size_t ld, const ei_stretches *of,
                     ei_shard shard, uint32_t *places, ei_cancel cancel)
{
    ei_memory memory = {0};
    const size_t words = counter->words;
    const unsigned bits = shard_bits(shard.of);
    uint64_t *mine = ei_hold(&memory, words * LOTS, sizeof *mine);
    uint32_t *from = ei_hold(&memory, LOTS, sizeof *from);
    uint32_t *ids = ei_hold(&memory, LOTS, sizeof *ids);
    int status = ei_held(&memory, EI_OK);
    for (size_t p = 0; p < of->n; p++) {
        const size_t first = of->ends[2 * p], last = of->ends[2 * p + 1];
        for (size_t at = first; status == EI_OK && at < last; at += LOTS) {
            const size_t some = ei_least(LOTS, last - at);
            size_t n = 0;
            if (ei_cancelled(cancel))
                status = EI_ECANCELLED;
            for (size_t s = 0; s < some; s++) { /* without a branch: none could be foretold */
                from[n] = (uint32_t)s;
                n += (ej_hash(keys + at + s, ld, words) >> 32) * shard.of >> 32 == shard.number;
            }
            for (size_t w = 0; w < words; w++)
                for (size_t i = 0; i < n; i++)
                    mine[w * LOTS + i] = keys[w * ld + at + from[i]];
            if (status == EI_OK)
                status = ei_counter_add(counter, mine, LOTS, 1, NULL, n, ids);
            if (status == EI_OK && counter->n << bits > UINT32_MAX)
                status = EI_EOVERFLOW;
            for (size_t i = 0; status == EI_OK && i < n; i++)
                places[at + from[i]] = ids[i] << bits | shard.number;
        }
    }
    ei_release(&memory);
    return status;
}

static int flush(ej_waiting *wait, ei_counter *counter)
{
    if (wait->spare != NULL)
        return ej_flush(wait, counter);
    int status = ei_counter_add(counter, wait->keys, 1, 1, NULL, wait->n, NULL);
    wait->n = 0;
    return status;
}

int ei_shard_pairs(ei_counter *counter, const uint32_t *one, const uint32_t *two,
                   const ei_stretches *of, ei_shard shard, ei_cancel cancel)
{
    uint64_t few[2 * LOTS]; /* where the budget has no room for all at once */
    const uint32_t mask = ((uint32_t)1 << shard_bits(shard.of)) - 1;
    size_t capacity = LOTS, bytes = 0;
    for (size_t p = 0; p < of->n; p++)
        for (size_t s = of->ends[2 * p]; s < of->ends[2 * p + 1]; s++)
            capacity += (one[s] & mask) == shard.number;
    void *memory = NULL;
    int status = ej_take(counter->budget, 2 * capacity, sizeof *few, &memory);
    ej_waiting wait = {few, NULL, 0, 2 * LOTS};
    if (status == EI_OK) {
        bytes = 2 * capacity * sizeof *few;
        wait = (ej_waiting){memory, (uint64_t *)memory + capacity, 0, capacity};
    }
    status = EI_OK;
    for (size_t p = 0; p < of->n; p++)
        for (size_t at = of->ends[2 * p]; status == EI_OK && at < of->ends[2 * p + 1]; at += LOTS) {
            const size_t end = ei_least(at + LOTS, of->ends[2 * p + 1]);
            if (wait.n + LOTS > wait.capacity)
                status = flush(&wait, counter);
            if (ei_cancelled(cancel))
                status = EI_ECANCELLED;
            for (size_t s = at; s < end; s++) { /* without a branch */
                wait.keys[wait.n] = (uint64_t)one[s] << 32 | two[s];
                wait.n += (one[s] & mask) == shard.number;
            }
        }
    if (status == EI_OK)
        status = flush(&wait, counter);
    ej_give_back(counter->budget, memory, bytes);
    return status;
}

int ei_shard_places(const ei_counter *pairs, const uint64_t *one, const uint64_t *two,
                    uint32_t shards, uint64_t *entries)
{
    const unsigned bits = shard_bits(shards);
    const uint32_t mask = ((uint32_t)1 << bits) - 1;
    for (size_t i = 0; i < pairs->n; i++) {
        const uint32_t a = (uint32_t)(pairs->entries[2 * i] >> 32);
        const uint32_t b = (uint32_t)pairs->entries[2 * i];
        const uint64_t first = one[a & mask] + (a >> bits), second = two[b & mask] + (b >> bits);
        if (first > UINT32_MAX || second > UINT32_MAX)
            return EI_EOVERFLOW;
        entries[2 * i] = first << 32 | second;
        entries[2 * i + 1] = pairs->entries[2 * i + 1];
    }
    return EI_OK;
}
