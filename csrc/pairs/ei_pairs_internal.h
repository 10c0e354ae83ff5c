/* What the files of the sampled pairwise engine share. ep_: inside this folder alone. */
#ifndef EI_PAIRS_INTERNAL_H
#define EI_PAIRS_INTERNAL_H

#include "kernels/ei_eval.h"
#include "pairs/ei_occupancy.h"
#include "pairs/ei_pairs.h"

enum {
    CHUNK = 8192,   /* samples in a chunk of masks */
    WORDS = CHUNK / EI_GROUP,
    SLICE = 64,     /* inputs whose tables stand at once where the outputs' masks are kept */
    STORED = 1 << 22 /* samples whose output bins are kept at once */
};

static inline size_t ep_outputs(const ei_job *job) { return job->out_stop - job->out_start; }
static inline size_t ep_inputs(const ei_job *job) { return job->in_stop - job->in_start; }

static inline size_t ep_table_cells(const ei_channel *c) { return c->in_bins * ei_row_length(c); }

/* Draws of one input. */
static inline void ep_draw(const ei_kernels *kernels, const ei_job *job, size_t input, uint64_t first,
                           size_t n, uint32_t *out)
{
    if (job->points)
        ei_points_draw(kernels, job->points, input, first, n, out);
    else
        kernels->draw(job->key, 0, (uint32_t)input, first, n, out);
}

/* Draw and evaluate samples, as ei_eval_next does. */
static inline size_t ep_next(ei_eval *e, const ei_job *job, uint64_t first, uint64_t left)
{
    if (!job->points)
        return ei_eval_next(e, job->key, 0, first, left);
    const size_t some = left < e->block ? (size_t)left : e->block, n = ei_whole_groups(some);
    for (size_t k = 0; k < e->channel->n_in; k++)
        ei_points_draw(e->kernels, job->points, k, first, n, e->draws + k * e->block);
    ei_eval_forward(e, n);
    return some;
}

/* Where the parts of the counts stand. The margins and the total are of the masks' way alone. */
typedef struct {
    uint64_t *pairs, *outliers, *x_margin, *y_margin, *total;
} ep_parts;

/* Where they stand in a job's counts. */
ep_parts ep_split(const ei_channel *c, const ei_job *job, uint64_t *tables);

/* The table of a pair, counted from the job's first: within the counts, or made in `own`. */
const uint64_t *ep_table_of(const ei_channel *c, const ei_job *job, ep_parts p, size_t b, size_t a,
                            const uint16_t *map, uint64_t *own);

/* What one sample does to the information of an edge: weight (pointwise - mean) of its cell, and nothing
 * if it is dropped. */
typedef struct {
    const double *pointwise;
    double weight, mean;
    size_t out_bins;
} ep_influence;

static inline double ep_influence_of(const ep_influence *e, size_t row_at, size_t y)
{
    return y < e->out_bins ? e->weight * (e->pointwise[row_at + y] - e->mean) : 0.0;
}

/* Measure edge `at` of the results from its table, whose columns these are: filled here when they are
 * not. */
ep_influence ep_measure(ep_occupancy *o, ep_columns *columns, const ei_channel *c, const uint64_t *table,
                double *scratch, double *pointwise, uint64_t samples, size_t at,
                const ei_pairs_out *out);

/* ---- ei_follow.c: from counts to information ---------------------------------------------------- */

/* The first samples of the job, whose influence on the sum of all edges is followed. */
typedef struct {
    ei_memory memory;
    size_t n;
    uint32_t *offset; /* n_in x n: row offset of the input's bin; or of one input (ep_follow_input) */
    uint16_t *y;      /* n_out x n */
    uint64_t *table;  /* one table */
    double *pointwise, *scratch;
    uint16_t *map;
    ep_occupancy occupancy;
    ep_columns *columns; /* of each output */
} ep_followed;

/* Nothing followed yet, nothing dropped. */
void ep_begin(const ei_job *job, const ei_pairs_out *out);
int ep_follow_open(ep_followed *f, const ei_channel *c, const ei_job *job, int every_input);
void ep_follow_close(ep_followed *f);

/* Take up the job's input a, where not all are held. */
void ep_follow_input(ep_followed *f, const ei_channel *c, const ei_job *job, size_t a);

/* Measure one table and note everything about the pair. `offset`: the input's, of the samples that
 * are followed. */
void ep_note(const ei_channel *c, const ei_job *job, ep_followed *f, size_t b, size_t a,
             const uint32_t *offset, const uint64_t *table, const ei_pairs_out *out);

/* Add the outliers of the first n samples of an evaluated block. `scratch`: EI_BLOCK labels. */
void ep_outliers(const ei_eval *e, size_t n, uint16_t *scratch, uint64_t *outliers);

/* ---- ei_masks.c: bit-sliced --------------------------------------------------------------------- */

int ep_count_masked(const ei_channel *c, const ei_job *jobs, size_t n_jobs, ei_cancel cancel,
                    uint64_t *tables);
int ep_run_masked(const ei_channel *c, const ei_job *job, ei_cancel cancel, const ei_pairs_out *out);

/* Table of counts of a pair from its cumulative counts and margins. */
void ep_unfold(const ei_channel *c, const uint64_t *cumulative, const uint64_t *x_margin,
               const uint64_t *y_margin, uint64_t total, const uint16_t *map, uint64_t *table);

/* ---- ei_scatter.c: scattered -------------------------------------------------------------------- */

int ep_count_scattered(const ei_channel *c, const ei_job *jobs, size_t n_jobs, ei_cancel cancel,
                       uint64_t *tables);
int ep_run_scattered(const ei_channel *c, const ei_job *job, ei_cancel cancel,
                     const ei_pairs_out *out);

#endif
