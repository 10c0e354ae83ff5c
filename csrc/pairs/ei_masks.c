/* Bit-sliced counting: chunks of samples are kept as thermometer masks of both sides, and a cumulative
 * joint count is the population count of two masks ANDed. */
#include "pairs/ei_pairs_internal.h"

#include <string.h>

enum { MASK_CACHE = 24 * 1024 }; /* bytes of output masks worked on at a time */

/* What both ways of counting with masks work with: k and m, the thresholds of either side. */
typedef struct {
    ei_memory memory;
    ei_eval eval;
    size_t k, m;
    uint64_t *all;     /* WORDS: which samples of a chunk exist */
    uint32_t *edges;   /* k: lowest draws of the bins but the first */
    uint16_t *scratch; /* EI_BLOCK */
} masks;

static int masks_open(masks *w, const ei_channel *c, const ei_job *job)
{
    memset(w, 0, sizeof *w);
    w->k = c->in_bins - 1;
    w->m = c->n_thresholds;
    w->all = ei_hold(&w->memory, WORDS, sizeof *w->all);
    w->edges = ei_hold(&w->memory, w->k, sizeof *w->edges);
    w->scratch = ei_hold(&w->memory, EI_BLOCK, sizeof *w->scratch);
    const int status =
        ei_held(&w->memory, ei_eval_open(&w->eval, c, job->out_start, job->out_stop));
    w->eval.masked = 1;
    for (size_t i = 0; status == EI_OK && i < w->k; i++)
        w->edges[i] = (uint32_t)ei_bin_start(c->in_bins, i + 1);
    return status;
}

static void masks_close(masks *w)
{
    ei_eval_close(&w->eval);
    ei_release(&w->memory);
}

/* Samples of a chunk, which `all` then shows, and words of their masks. */
static size_t chunk_of(masks *w, const ei_job *job, size_t chunk, size_t *words)
{
    const uint64_t before = job->count - (uint64_t)chunk * CHUNK;
    const size_t count = (size_t)(before < CHUNK ? before : CHUNK);
    *words = (count + 511) / 512 * 8;
    for (size_t i = 0; i < *words; i++) {
        const size_t left = count > i * 64 ? count - i * 64 : 0;
        w->all[i] = left >= 64 ? ~(uint64_t)0 : ((uint64_t)1 << left) - 1;
    }
    return count;
}

/* Masks and margins of the chunk's outputs, y and y_margin; and masks x of the inputs, unless NULL. */
static int chunk_outputs(masks *w, const ei_job *job, size_t chunk, uint64_t *y, uint64_t *y_margin,
                         uint64_t *x, uint64_t *outliers, ei_cancel cancel)
{
    ei_eval *e = &w->eval;
    const size_t n_out = e->n_out, k = w->k, m = w->m;
    size_t words, count = chunk_of(w, job, chunk, &words);
    for (size_t at = 0; at < count; at += e->block) {
        if (ei_cancelled(cancel))
            return EI_ECANCELLED;
        const size_t some = ep_next(e, job, job->first + chunk * CHUNK + at, count - at);
        const size_t groups = ei_whole_groups(some) / EI_GROUP;
        for (size_t a = 0; x && a < ep_inputs(job); a++)
            e->kernels->draw_masks(e->draws + (job->in_start + a) * e->block, groups, w->edges, k,
                                   x + a * k * WORDS + at / 64, WORDS);
        for (size_t b = 0; b < n_out; b++)
            ei_eval_masks(e, b, groups * EI_GROUP, y + b * m * WORDS + at / 64, WORDS);
        ep_outliers(e, some, w->scratch, outliers);
    }
    for (size_t b = 0; b < n_out; b++)
        e->kernels->count_masks(w->all, WORDS, 1, y + b * m * WORDS, WORDS, m, words,
                                y_margin + b * m);
    return EI_OK;
}

/* Cut an input's masks off where the samples end, and add its margins. */
static void finish_input(const masks *w, uint64_t *x, size_t count, size_t words, uint64_t *x_margin)
{
    for (size_t i = 0; i < w->k && count % 64; i++)
        x[i * WORDS + count / 64] &= w->all[count / 64];
    w->eval.kernels->count_masks(w->all, WORDS, 1, x, WORDS, w->k, words, x_margin);
}

/* Cumulative counts of n_in inputs and all outputs: of pair (a, b), added to counts + k m (a in_step +
 * b out_step). */
static int count_pairs(const masks *w, const uint64_t *x, size_t n_in, const uint64_t *y,
                       size_t words, uint64_t *counts, size_t in_step, size_t out_step,
                       ei_cancel cancel)
{
    const size_t n_out = w->eval.n_out, k = w->k, m = w->m;
    const size_t tile = MASK_CACHE / (m * WORDS * 8 + 1) + 1;
    for (size_t b0 = 0; b0 < n_out; b0 += tile)
        for (size_t a = 0; a < n_in; a++) {
            if (ei_cancelled(cancel))
                return EI_ECANCELLED;
            for (size_t b = b0; b < ei_least(b0 + tile, n_out); b++)
                w->eval.kernels->count_masks(x + a * k * WORDS, WORDS, k, y + b * m * WORDS, WORDS,
                                             m, words, counts + (a * in_step + b * out_step) * k * m);
        }
    return EI_OK;
}

/* Add a job's counts; x and y are the masks of a chunk. */
static int count_job(masks *w, const ei_job *job, ei_cancel cancel, uint64_t *x, uint64_t *y, ep_parts p)
{
    const size_t n_in = ep_inputs(job), x_words = w->k * WORDS, y_words = w->m * WORDS;
    const size_t chunks = (size_t)((job->count + CHUNK - 1) / CHUNK);
    for (size_t chunk = 0; chunk < chunks; chunk++) {
        size_t words, count = chunk_of(w, job, chunk, &words);
        if (count < CHUNK) { /* what is evaluated fills whole words, and vectors are counted */
            memset(x, 0, n_in * x_words * sizeof *x);
            memset(y, 0, ep_outputs(job) * y_words * sizeof *y);
        }
        int status = chunk_outputs(w, job, chunk, y, p.y_margin, x, p.outliers, cancel);
        if (status != EI_OK)
            return status;
        for (size_t a = 0; a < n_in; a++)
            finish_input(w, x + a * x_words, count, words, p.x_margin + a * w->k);
        *p.total += count;
        status = count_pairs(w, x, n_in, y, words, p.pairs, 1, n_in, cancel);
        if (status != EI_OK)
            return status;
    }
    return EI_OK;
}

int ep_count_masked(const ei_channel *c, const ei_job *jobs, size_t n_jobs, ei_cancel cancel,
                    uint64_t *tables)
{
    const size_t size = ei_pairs_size(c, jobs);
    masks w;
    int status = masks_open(&w, c, jobs);
    uint64_t *x = ei_hold(&w.memory, ep_inputs(jobs) * w.k, WORDS * sizeof *x);
    uint64_t *y = ei_hold(&w.memory, ep_outputs(jobs) * w.m, WORDS * sizeof *y);
    status = ei_held(&w.memory, status);
    for (size_t r = 0; status == EI_OK && r < n_jobs; r++)
        status = count_job(&w, jobs + r, cancel, x, y, ep_split(c, jobs + r, tables + r * size));
    masks_close(&w);
    return status;
}

void ep_unfold(const ei_channel *c, const uint64_t *cumulative, const uint64_t *x_margin,
               const uint64_t *y_margin, uint64_t total, const uint16_t *map, uint64_t *table)
{
    const size_t k = c->in_bins - 1, m = c->n_thresholds, row = ei_row_length(c);
    memset(table, 0, c->in_bins * row * sizeof *table);
    for (size_t i = 0; i <= k; i++) {
        const uint64_t *low = i == 0 ? y_margin : cumulative + (i - 1) * m;
        const uint64_t *high = i == k ? NULL : cumulative + i * m;
        uint64_t rest = (i == 0 ? total : x_margin[i - 1]) - (i == k ? 0 : x_margin[i]);
        /* `rest`: samples of this input bin at or above threshold j - 1. */
        for (size_t j = 0; j < m; j++) {
            uint64_t above = low[j] - (high ? high[j] : 0);
            table[i * row + map[j]] += rest - above;
            rest = above;
        }
        table[i * row + map[m]] += rest;
    }
}

/* Masks of the outputs of all samples, which let the inputs be gone through a few at a time: the
 * tables of those few are all that has to be held, and a block may have many outputs. */
typedef struct {
    masks masks;
    ep_followed follow;
    size_t chunks;
    uint64_t *y;      /* [chunks][n_out][m][WORDS] */
    uint64_t *y_margin;
    uint64_t *x;      /* [SLICE][k][WORDS] */
    uint64_t *x_margin;
    uint64_t *tables; /* [SLICE][n_out][k][m] */
    uint32_t *draws;  /* CHUNK */
} kept_masks;

static int kept_open(kept_masks *w, const ei_channel *c, const ei_job *job)
{
    memset(w, 0, sizeof *w);
    int status = masks_open(&w->masks, c, job);
    if (status == EI_OK)
        status = ep_follow_open(&w->follow, c, job, 0);
    const size_t n_out = ep_outputs(job), k = w->masks.k, m = w->masks.m;
    ei_memory *memory = &w->masks.memory;
    w->chunks = (size_t)((job->count + CHUNK - 1) / CHUNK);
    w->y = ei_hold_zeros(memory, w->chunks * n_out, m * WORDS * sizeof *w->y);
    w->y_margin = ei_hold_zeros(memory, n_out * m, sizeof *w->y_margin);
    w->x = ei_hold(memory, SLICE * k * WORDS, sizeof *w->x);
    w->x_margin = ei_hold(memory, SLICE * k, sizeof *w->x_margin);
    w->tables = ei_hold(memory, SLICE * n_out, k * m * sizeof *w->tables);
    w->draws = ei_hold(memory, CHUNK, sizeof *w->draws);
    return ei_held(memory, status);
}

/* Count inputs a0 .. a1 of the job. */
static int kept_inputs(kept_masks *w, const ei_job *job, size_t a0, size_t a1, ei_cancel cancel)
{
    const ei_kernels *kernels = w->masks.eval.kernels;
    const size_t n_out = w->masks.eval.n_out, k = w->masks.k, m = w->masks.m;
    memset(w->tables, 0, (a1 - a0) * n_out * k * m * sizeof *w->tables);
    memset(w->x_margin, 0, SLICE * k * sizeof *w->x_margin);
    for (size_t chunk = 0; chunk < w->chunks; chunk++) {
        size_t words, count = chunk_of(&w->masks, job, chunk, &words), n = ei_whole_groups(count);
        memset(w->x, 0, (a1 - a0) * k * WORDS * sizeof *w->x);
        for (size_t a = a0; a < a1; a++) {
            uint64_t *x = w->x + (a - a0) * k * WORDS;
            if (ei_cancelled(cancel))
                return EI_ECANCELLED;
            ep_draw(kernels, job, job->in_start + a, job->first + chunk * CHUNK, n, w->draws);
            kernels->draw_masks(w->draws, n / 64, w->masks.edges, k, x, WORDS);
            finish_input(&w->masks, x, count, words, w->x_margin + (a - a0) * k);
        }
        int status = count_pairs(&w->masks, w->x, a1 - a0, w->y + chunk * n_out * m * WORDS, words,
                                 w->tables, n_out, 1, cancel);
        if (status != EI_OK)
            return status;
    }
    return EI_OK;
}

int ep_run_masked(const ei_channel *c, const ei_job *job, ei_cancel cancel, const ei_pairs_out *out)
{
    const size_t n_in = ep_inputs(job), n_out = ep_outputs(job);
    kept_masks w;
    ep_begin(job, out);
    int status = kept_open(&w, c, job);
    const size_t k = w.masks.k, m = w.masks.m;
    for (size_t chunk = 0; status == EI_OK && chunk < w.chunks; chunk++)
        status = chunk_outputs(&w.masks, job, chunk, w.y + chunk * n_out * m * WORDS, w.y_margin,
                               NULL, out->dropped, cancel);
    for (size_t a0 = 0; status == EI_OK && a0 < n_in; a0 += SLICE) {
        const size_t a1 = ei_least(a0 + SLICE, n_in);
        status = kept_inputs(&w, job, a0, a1, cancel);
        for (size_t a = a0; status == EI_OK && a < a1; a++) {
            if (ei_cancelled(cancel))
                status = EI_ECANCELLED;
            ep_follow_input(&w.follow, c, job, a);
            for (size_t b = 0; b < n_out; b++) {
                ep_unfold(c, w.tables + ((a - a0) * n_out + b) * k * m, w.x_margin + (a - a0) * k,
                          w.y_margin + b * m, job->count,
                          ei_map_of(c, w.follow.map, job->out_start + b), w.follow.table);
                ep_note(c, job, &w.follow, b, a, w.follow.offset, w.follow.table, out);
            }
        }
    }
    ep_follow_close(&w.follow);
    masks_close(&w.masks);
    return status;
}
