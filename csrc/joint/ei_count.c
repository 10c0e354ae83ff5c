/* Counting the vectors of sets of rows, and of pairs of sets. */
#include "common/ei_math.h"
#include "joint/ei_joint_internal.h"

#include <string.h>

enum {
    WAITING_PAIRS = 4,       /* pairs of sets up to which single words wait to be counted, */
    LEAST_WAITING = 1 << 15, /* samples from which on they do, */
    MOST_WAITING = 1 << 22   /* and how many may wait */
};

/* What is counted, and with what. */
typedef struct {
    const ei_channel *channel;
    const ei_joint_job *job;
    ei_counter *sets, *pairs;
    ej_bins b;
    ei_memory memory;
    uint64_t *keys;
    uint32_t *ids; /* n_sets x LOTS: positions in the sets' counters */
    ej_waiting *wait;
} counting;

static int counting_open(counting *w)
{
    const ei_joint_job *job = w->job;
    size_t words = 1;
    for (size_t i = 0; i < job->n_sets; i++)
        words = w->sets[i].words > words ? w->sets[i].words : words;
    int status = ej_bins_open(&w->b, w->channel, ej_with_inputs(w->channel, job));
    w->keys = ei_hold(&w->memory, words * LOTS, sizeof *w->keys);
    w->ids = ei_hold(&w->memory, (job->n_sets + 1) * LOTS, sizeof *w->ids);
    w->wait = ei_hold_zeros(&w->memory, job->n_pairs + 1, sizeof *w->wait);
    status = ei_held(&w->memory, status);
    if (status != EI_OK || job->n_pairs > WAITING_PAIRS || job->count < LEAST_WAITING)
        return status;
    for (size_t i = 0; i < job->n_pairs; i++) {
        const size_t capacity = ei_least(job->count, MOST_WAITING);
        void *memory;
        if (ej_take(w->pairs[i].budget, 2 * capacity, 8, &memory) != EI_OK)
            continue; /* then without */
        w->wait[i] = (ej_waiting){memory, (uint64_t *)memory + capacity, 0, capacity};
    }
    return EI_OK;
}

static void counting_close(counting *w)
{
    for (size_t i = 0; w->wait && i < w->job->n_pairs; i++)
        ej_give_back(w->pairs[i].budget, w->wait[i].keys, 2 * w->wait[i].capacity * 8);
    ej_bins_close(&w->b);
    ei_release(&w->memory);
}

/* Count the sets of a block; *used: how many samples are kept. */
static int count_sets(counting *w, size_t some, size_t *used)
{
    *used = some;
    for (size_t i = 0; i < w->job->n_sets; i++) {
        const size_t words = ej_pack(&w->b, w->job->sets + i, some, w->keys);
        if (w->b.drops)
            *used = ej_compact(w->keys, words, w->b.kept, some);
        int status = ei_counter_add(w->sets + i, w->keys, LOTS, 1, NULL, *used, w->ids + i * LOTS);
        if (status != EI_OK)
            return status;
    }
    return EI_OK;
}

/* Count the pairs, or let them wait. */
static int count_pairs(counting *w, size_t used)
{
    const int32_t *pairs = w->job->pairs;
    for (size_t i = 0; i < w->job->n_pairs; i++) {
        const uint32_t *one = w->ids + (size_t)pairs[2 * i] * LOTS;
        const uint32_t *two = w->ids + (size_t)pairs[2 * i + 1] * LOTS;
        ej_waiting *wait = w->wait + i;
        uint64_t *to = w->keys;
        int status = EI_OK;
        if (wait->capacity) {
            if (wait->n + used > wait->capacity)
                status = ej_flush(wait, w->pairs + i);
            to = wait->keys + wait->n;
            wait->n += used;
        }
        if (status != EI_OK)
            return status;
        for (size_t s = 0; s < used; s++)
            to[s] = (uint64_t)one[s] << 32 | two[s];
        if (!wait->capacity)
            status = ei_counter_add(w->pairs + i, w->keys, LOTS, 1, NULL, used, NULL);
        if (status != EI_OK)
            return status;
    }
    return EI_OK;
}

int ei_joint_count(const ei_channel *channel, const ei_joint_job *job, ei_counter *sets,
                   ei_counter *pairs, uint64_t *margins, uint64_t *kept, uint64_t *outside,
                   ei_cancel cancel)
{
    counting w = {.channel = channel, .job = job, .sets = sets, .pairs = pairs};
    int status = counting_open(&w);
    ei_eval *e = &w.b.eval;
    for (uint64_t at = 0; status == EI_OK && at < job->count; at += e->block) {
        const size_t some = ei_least(e->block, job->count - at), n = ei_whole_groups(some);
        size_t used;
        if (ei_cancelled(cancel)) {
            status = EI_ECANCELLED;
            break;
        }
        ei_eval_draw(e, job->key, job->purpose, job->first + at, n);
        ej_bins_fill(&w.b, n);
        if (ei_may_leave(channel))
            *outside += ej_count_outside(&w.b, some);
        status = count_sets(&w, some, &used);
        if (status == EI_OK)
            status = count_pairs(&w, used);
        if (status != EI_OK)
            break;
        if (margins)
            ej_count_margins(&w.b, some, margins);
        *kept += used;
    }
    for (size_t i = 0; status == EI_OK && i < job->n_pairs; i++)
        if (w.wait[i].n)
            status = ej_flush(w.wait + i, pairs + i);
    counting_close(&w);
    return status;
}

int ei_joint_moments(const uint64_t *entries, size_t n, const int32_t *one, size_t n_one,
                     const int32_t *two, size_t n_two, int64_t sums[2])
{
    enum { SMALL = 256 };
    int32_t logs[SMALL];
    for (int i = 1; i < SMALL; i++)
        logs[i] = (int32_t)(ei_log2((double)i) * 65536.0 + 0.5);
    sums[0] = sums[1] = 0;
    for (size_t i = 0; i < n; i++) {
        const uint64_t pair = entries[2 * i], number = entries[2 * i + 1];
        if ((pair >> 32) >= n_one || (pair & 0xffffffffull) >= n_two)
            return EI_EOVERFLOW;
        const int64_t own = number < SMALL ? logs[number]
                                           : (int64_t)(ei_log2((double)number) * 65536.0 + 0.5);
        const int64_t v = own - one[pair >> 32] - two[pair & 0xffffffffull];
        sums[0] += (int64_t)number * v;
        sums[1] += (int64_t)number * ((v * v) >> 16);
    }
    return EI_OK;
}
