/* Counting by scattering: output bins of all samples are kept, and each pair increments a table. */
#include "pairs/ei_pairs_internal.h"

#include <string.h>

/* Samples between two emptyings of 16-bit counters: below 2^16, whole groups. */
enum { SEGMENT = 65472 };

/* Increment four tables of 16-bit counters: four chains of dependent increments at a time. */
static void scatter_small(const uint32_t *offset, const uint16_t *const y[4], size_t n,
                          uint16_t *tables, size_t cells)
{
    const uint16_t *y0 = y[0], *y1 = y[1], *y2 = y[2], *y3 = y[3];
    uint16_t *t0 = tables, *t1 = t0 + cells, *t2 = t1 + cells, *t3 = t2 + cells;
    for (size_t s = 0; s < n; s++) {
        const uint32_t at = offset[s];
        t0[at + y0[s]]++;
        t1[at + y1[s]]++;
        t2[at + y2[s]]++;
        t3[at + y3[s]]++;
    }
}

void ei_scatter(const uint32_t *offset, const uint16_t *y, size_t ld, size_t n, size_t n_out,
                size_t cells, uint16_t *small, uint64_t *tables, size_t table_step)
{
    if (cells <= EI_SMALL_CELLS) {
        for (size_t b = 0; b < n_out; b += 4) {
            const uint16_t *four[4];
            size_t some = ei_least(4, n_out - b);
            for (size_t q = 0; q < 4; q++) /* a missing one is counted twice and not used */
                four[q] = y + (b + (q < some ? q : 0)) * ld;
            memset(small, 0, 4 * cells * sizeof *small);
            scatter_small(offset, four, n, small, cells);
            for (size_t q = 0; q < some; q++)
                for (size_t i = 0; i < cells; i++)
                    tables[(b + q) * table_step + i] += small[q * cells + i];
        }
    } else {
        for (size_t b = 0; b < n_out; b++) {
            const uint16_t *labels = y + b * ld;
            uint64_t *table = tables + b * table_step;
            for (size_t s = 0; s < n; s++)
                table[offset[s] + labels[s]]++;
        }
    }
}

/* Put samples in the order of their rows: order[i] is the sample at place i of offset. Large tables
 * are then filled row by row, in cache, and the sort serves all outputs. */
static void sort_by_row(uint32_t *offset, size_t n, size_t row, size_t rows, uint16_t *order)
{
    uint32_t start[1025] = {0};
    for (size_t s = 0; s < n; s++)
        start[offset[s] / row + 1]++;
    for (size_t i = 1; i < rows; i++)
        start[i + 1] += start[i];
    uint32_t next[1024];
    memcpy(next, start, rows * sizeof *next);
    for (size_t s = 0; s < n; s++)
        order[next[offset[s] / row]++] = (uint16_t)s;
    for (size_t i = 0; i < rows; i++)
        for (uint32_t s = start[i]; s < start[i + 1]; s++)
            offset[s] = (uint32_t)(i * row);
}

static void scatter_sorted(const uint32_t *offset, const uint16_t *order, const uint16_t *y,
                           size_t ld, size_t n, size_t n_out, uint64_t *tables, size_t table_step)
{
    for (size_t b = 0; b < n_out; b++) {
        const uint16_t *labels = y + b * ld;
        uint64_t *table = tables + b * table_step;
        for (size_t s = 0; s < n; s++)
            table[offset[s] + labels[order[s]]]++;
    }
}

/* Work memory of the scattered way. */
typedef struct {
    ei_memory memory;
    ei_eval eval;
    size_t stored;    /* samples kept at once */
    uint16_t *y;      /* n_out x stored */
    uint32_t *draws;  /* SEGMENT draws of one input */
    uint32_t *offset; /* their row offsets */
    uint16_t *order;  /* of the samples, by row */
    uint16_t *small;
    uint16_t *map;
    uint16_t *scratch;
} scattered;

static void scattered_close(scattered *w)
{
    ei_eval_close(&w->eval);
    ei_release(&w->memory);
}

static int scattered_open(scattered *w, const ei_channel *c, const ei_job *job)
{
    memset(w, 0, sizeof *w);
    ei_memory *memory = &w->memory;
    int status = ei_eval_open(&w->eval, c, job->out_start, job->out_stop);
    w->stored = ei_whole_groups((size_t)(job->count < STORED ? job->count : STORED));
    w->y = ei_hold(memory, ep_outputs(job), w->stored * sizeof *w->y);
    w->draws = ei_hold(memory, SEGMENT, sizeof *w->draws);
    w->offset = ei_hold(memory, SEGMENT, sizeof *w->offset);
    w->order = ei_hold(memory, SEGMENT, sizeof *w->order);
    w->small = ei_hold(memory, 4 * (size_t)EI_SMALL_CELLS, sizeof *w->small);
    w->map = ei_hold(memory, ei_map_size(c), sizeof *w->map);
    w->scratch = ei_hold(memory, EI_BLOCK, sizeof *w->scratch);
    status = ei_held(memory, status);
    if (status == EI_OK)
        ei_label_map(c, w->map);
    return status;
}

/* Evaluate and keep the output bins of samples first .. first + count. */
static int store(scattered *w, const ei_job *job, uint64_t first, size_t count, ei_cancel cancel,
                 uint64_t *outliers)
{
    ei_eval *e = &w->eval;
    for (size_t at = 0; at < count; at += e->block) {
        if (ei_cancelled(cancel))
            return EI_ECANCELLED;
        const size_t some = ep_next(e, job, first + at, count - at);
        for (size_t b = 0; b < e->n_out; b++)
            ei_eval_labels(e, b, ei_whole_groups(some), w->map, w->y + b * w->stored + at);
        ep_outliers(e, some, w->scratch, outliers);
    }
    return EI_OK;
}

/* Count one input against the stored outputs: tables of all outputs, table_step apart. */
static int count_input(scattered *w, const ei_job *job, size_t input, uint64_t first, size_t count,
                       ei_cancel cancel, uint64_t *tables, size_t table_step)
{
    const ei_channel *c = w->eval.channel;
    const size_t row = ei_row_length(c), cells = ep_table_cells(c);
    for (size_t at = 0; at < count; at += SEGMENT) {
        const size_t some = ei_least(SEGMENT, count - at);
        ep_draw(w->eval.kernels, job, input, first + at, ei_whole_groups(some), w->draws);
        w->eval.kernels->offsets(w->draws, some, c->in_bins, (uint32_t)row, w->offset);
        if (cells > EI_SMALL_CELLS)
            sort_by_row(w->offset, some, row, c->in_bins, w->order);
        for (size_t b = 0; b < w->eval.n_out; b += 16) {
            const size_t n_out = ei_least(16, w->eval.n_out - b);
            const uint16_t *y = w->y + b * w->stored + at;
            if (ei_cancelled(cancel))
                return EI_ECANCELLED;
            if (cells > EI_SMALL_CELLS)
                scatter_sorted(w->offset, w->order, y, w->stored, some, n_out,
                               tables + b * table_step, table_step);
            else
                ei_scatter(w->offset, y, w->stored, some, n_out, cells, w->small,
                           tables + b * table_step, table_step);
        }
    }
    return EI_OK;
}

static int count_job(scattered *w, const ei_job *job, ei_cancel cancel, ep_parts p)
{
    const size_t n_in = ep_inputs(job), cells = ep_table_cells(w->eval.channel);
    int status = EI_OK;
    for (uint64_t done = 0; status == EI_OK && done < job->count; done += w->stored) {
        uint64_t left = job->count - done;
        size_t count = (size_t)(left < w->stored ? left : w->stored);
        status = store(w, job, job->first + done, count, cancel, p.outliers);
        for (size_t a = 0; status == EI_OK && a < n_in; a++)
            status = count_input(w, job, job->in_start + a, job->first + done, count, cancel,
                                 p.pairs + a * cells, n_in * cells);
    }
    return status;
}

int ep_count_scattered(const ei_channel *c, const ei_job *jobs, size_t n_jobs, ei_cancel cancel,
                       uint64_t *tables)
{
    const size_t size = ei_pairs_size(c, jobs);
    ei_job greatest = jobs[0];
    for (size_t r = 1; r < n_jobs; r++)
        greatest.count = jobs[r].count > greatest.count ? jobs[r].count : greatest.count;
    scattered w;
    int status = scattered_open(&w, c, &greatest);
    for (size_t r = 0; status == EI_OK && r < n_jobs; r++)
        status = count_job(&w, jobs + r, cancel, ep_split(c, jobs + r, tables + r * size));
    scattered_close(&w);
    return status;
}

int ep_run_scattered(const ei_channel *c, const ei_job *job, ei_cancel cancel,
                     const ei_pairs_out *out)
{
    const size_t n_out = ep_outputs(job), cells = ep_table_cells(c);
    scattered w = {0};
    ep_followed f = {0};
    ep_begin(job, out);
    int status = scattered_open(&w, c, job);
    if (status == EI_OK)
        status = ep_follow_open(&f, c, job, 0);
    uint64_t *tables = ei_hold(&w.memory, n_out * cells, sizeof *tables);
    status = ei_held(&w.memory, status);
    if (status == EI_OK)
        status = store(&w, job, job->first, (size_t)job->count, cancel, out->dropped);
    for (size_t a = 0; status == EI_OK && a < ep_inputs(job); a++) {
        memset(tables, 0, n_out * cells * sizeof *tables);
        status = count_input(&w, job, job->in_start + a, job->first, (size_t)job->count, cancel,
                             tables, cells);
        ep_follow_input(&f, c, job, a);
        for (size_t b = 0; status == EI_OK && b < n_out; b++)
            ep_note(c, job, &f, b, a, f.offset, tables + b * cells, out);
    }
    ep_follow_close(&f);
    scattered_close(&w);
    return status;
}
