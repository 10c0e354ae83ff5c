#include "pairs/ei_pairs.h"

#include "kernels/ei_info.h"

#include <math.h>
#include <string.h>

enum {
    CHUNK = 8192,              /* samples in a chunk of masks */
    WORDS = CHUNK / EI_GROUP,
    SMALL_CELLS = EI_SMALL_CELLS,
    SEGMENT = 65472,           /* samples between two emptyings of those: below 2^16, whole groups */
    STORED = 1 << 22,          /* samples whose output bins are kept at once */
    MASK_CACHE = 24 * 1024,    /* bytes of output masks worked on at a time */
    SLICE = 64,                /* inputs whose tables stand at once where the outputs' masks are kept */
    POLL = 64                  /* pairs between two looks at the cancel flag */
};

#define GIVE_UP(code)                                                                              \
    do {                                                                                           \
        status = (code);                                                                           \
        goto done;                                                                                 \
    } while (0)

static size_t least(size_t a, size_t b) { return a < b ? a : b; }
static size_t outputs(const ei_job *job) { return job->out_stop - job->out_start; }
static size_t ins(const ei_job *job) { return job->in_stop - job->in_start; }
static size_t whole_groups(size_t n) { return (n + EI_GROUP - 1) / EI_GROUP * EI_GROUP; }

static int drops(const ei_channel *c)
{
    for (size_t j = 0; j <= c->n_thresholds; j++)
        if (c->labels[j] < 0)
            return 1;
    return 0;
}

/* Length of a table's row: the output bins, and one column for dropped samples. */
static size_t row_length(const ei_channel *c) { return c->out_bins + (size_t)drops(c); }

static size_t table_cells(const ei_channel *c) { return c->in_bins * row_length(c); }

int ei_pairs_masked(const ei_channel *c)
{
    size_t pairs = (c->in_bins - 1) * c->n_thresholds;
    return pairs > 0 && pairs <= ei_active()->mask_limit;
}

static int by_masks(const ei_channel *c, const ei_job *job)
{
    return job->masks < 0 ? ei_pairs_masked(c) : job->masks;
}

size_t ei_pairs_size(const ei_channel *c, const ei_job *job)
{
    size_t pairs, size;
    int masked = by_masks(c, job);
    size_t cells = masked ? (c->in_bins - 1) * c->n_thresholds : table_cells(c);
    if (ei_mul(outputs(job), ins(job), &pairs) || ei_mul(pairs, cells, &size))
        return 0;
    size_t margins = ins(job) * (c->in_bins - 1) + outputs(job) * c->n_thresholds + 1;
    /* One count of outliers an output, and with masks the margins and the number of samples. */
    return size + outputs(job) + (masked ? margins : 0);
}

/* Where the parts of the counts stand. */
typedef struct {
    uint64_t *pairs, *outliers, *x_margin, *y_margin, *total;
} parts;

static parts split(const ei_channel *c, const ei_job *job, uint64_t *tables)
{
    parts p;
    size_t cells = by_masks(c, job) ? (c->in_bins - 1) * c->n_thresholds : table_cells(c);
    p.pairs = tables;
    p.outliers = tables + outputs(job) * ins(job) * cells;
    p.x_margin = p.outliers + outputs(job);
    p.y_margin = p.x_margin + ins(job) * (c->in_bins - 1);
    p.total = p.y_margin + outputs(job) * c->n_thresholds;
    return p;
}

/* Smallest draw of every input bin but the first. */
static void bin_edges(uint32_t bins, uint32_t *edges)
{
    for (uint64_t k = 1; k < bins; k++)
        edges[k - 1] = (uint32_t)(((k << 32) + bins - 1) / bins);
}

static void label_map(const ei_channel *c, uint16_t *map)
{
    for (size_t j = 0; j <= c->n_thresholds; j++)
        map[j] = (uint16_t)(c->labels[j] < 0 ? (int32_t)c->out_bins : c->labels[j]);
}

/* Count the outliers of `n` evaluated samples. `scratch`: one block of labels. */
static void count_outliers(const ei_eval *e, size_t n, uint16_t *scratch, uint64_t *outliers)
{
    const ei_channel *c = e->channel;
    if (c->n_limits == 0)
        return;
    for (size_t o = 0; o < e->n_out; o++) {
        uint64_t sum = 0;
        e->kernels->label(e->z + o * EI_PANEL, e->n_out * EI_PANEL, n, c->limits, c->n_limits,
                          c->outside, scratch);
        for (size_t s = 0; s < n; s++)
            sum += scratch[s];
        outliers[o] += sum;
    }
}

/* ---- bit-sliced ----------------------------------------------------------------------------- */

/* Which samples exist: the first `count`; also the mask of "at or above the lowest edge". */
static void existing(size_t count, size_t words, uint64_t *all)
{
    for (size_t w = 0; w < words; w++) {
        size_t left = count > w * 64 ? count - w * 64 : 0;
        all[w] = left >= 64 ? ~(uint64_t)0 : ((uint64_t)1 << left) - 1;
    }
}

static int count_masked(const ei_channel *c, const ei_job *job, ei_cancel cancel, parts p)
{
    const size_t n_in = ins(job), n_out = outputs(job), k = c->in_bins - 1, m = c->n_thresholds;
    const size_t x_words = k * WORDS, y_words = m * WORDS;
    int status = EI_OK;
    ei_eval e;
    uint32_t edges[1024];
    uint64_t *x = ei_alloc(n_in, x_words * 8), *y = ei_alloc(n_out, y_words * 8);
    uint64_t *all = ei_alloc(WORDS, 8);
    uint16_t *scratch = ei_alloc(512, sizeof *scratch);
    status = ei_eval_open(&e, c, job->out_start, job->out_stop);
    if (status != EI_OK || !x || !y || !all || !scratch)
        GIVE_UP(status != EI_OK ? status : EI_ENOMEM);
    bin_edges(c->in_bins, edges);
    for (uint64_t done = 0; done < job->count; done += CHUNK) {
        const size_t count = (size_t)(job->count - done < CHUNK ? job->count - done : CHUNK);
        const size_t words = (count + 511) / 512 * 8;
        existing(count, words, all);
        memset(x, 0, n_in * x_words * 8);
        memset(y, 0, n_out * y_words * 8);
        for (size_t at = 0; at < count; at += e.block) {
            if (ei_cancelled(cancel))
                GIVE_UP(EI_ECANCELLED);
            const size_t some = least(e.block, count - at), n = whole_groups(some);
            ei_eval_draw(&e, job->key, 0, job->first + done + at, n);
            ei_eval_forward(&e, n);
            for (size_t a = 0; a < n_in; a++)
                e.kernels->draw_masks(e.draws + (job->in_start + a) * e.block, n / 64, edges, k,
                                      x + a * x_words + at / 64, WORDS);
            for (size_t b = 0; b < n_out; b++)
                e.kernels->value_masks(e.z + b * EI_PANEL, n_out * EI_PANEL, n / 64, c->thresholds,
                                       m, y + b * y_words + at / 64, WORDS);
            if (p.outliers)
                count_outliers(&e, some, scratch, p.outliers);
        }
        if (count % 64) /* samples past the end */
            for (size_t i = 0; i < n_in * k; i++)
                x[i * WORDS + count / 64] &= all[count / 64];
        for (size_t a = 0; a < n_in; a++)
            e.kernels->count_masks(all, WORDS, 1, x + a * x_words, WORDS, k, words,
                                   p.x_margin + a * k);
        for (size_t b = 0; b < n_out; b++)
            e.kernels->count_masks(all, WORDS, 1, y + b * y_words, WORDS, m, words,
                                   p.y_margin + b * m);
        *p.total += count;
        size_t tile = MASK_CACHE / (y_words * 8);
        tile = tile < 1 ? 1 : tile;
        for (size_t b0 = 0; b0 < n_out; b0 += tile)
            for (size_t a = 0; a < n_in; a++) {
                if (a % POLL == 0 && ei_cancelled(cancel))
                    GIVE_UP(EI_ECANCELLED);
                for (size_t b = b0; b < least(b0 + tile, n_out); b++)
                    e.kernels->count_masks(x + a * x_words, WORDS, k, y + b * y_words, WORDS, m,
                                           words, p.pairs + (b * n_in + a) * k * m);
            }
    }
done:
    ei_eval_close(&e);
    ei_free(x);
    ei_free(y);
    ei_free(all);
    ei_free(scratch);
    return status;
}

/* Table of counts of a pair from its cumulative counts and margins. */
static void unfold(const ei_channel *c, const uint64_t *cumulative, const uint64_t *x_margin,
                   const uint64_t *y_margin, uint64_t total, const uint16_t *map, uint64_t *table)
{
    const size_t k = c->in_bins - 1, m = c->n_thresholds, row = row_length(c);
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

/* ---- scattered ------------------------------------------------------------------------------ */

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
    if (cells <= SMALL_CELLS) {
        for (size_t b = 0; b < n_out; b += 4) {
            const uint16_t *four[4];
            size_t some = least(4, n_out - b);
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
    ei_free(w->y);
    ei_free(w->draws);
    ei_free(w->offset);
    ei_free(w->order);
    ei_free(w->small);
    ei_free(w->map);
    ei_free(w->scratch);
}

static int scattered_open(scattered *w, const ei_channel *c, const ei_job *job)
{
    memset(w, 0, sizeof *w);
    int status = ei_eval_open(&w->eval, c, job->out_start, job->out_stop);
    w->stored = whole_groups((size_t)(job->count < STORED ? job->count : STORED));
    w->y = ei_alloc(outputs(job), w->stored * sizeof *w->y);
    w->draws = ei_alloc(SEGMENT, sizeof *w->draws);
    w->offset = ei_alloc(SEGMENT, sizeof *w->offset);
    w->order = ei_alloc(SEGMENT, sizeof *w->order);
    w->small = ei_alloc(4 * (size_t)SMALL_CELLS, sizeof *w->small);
    w->map = ei_alloc(c->n_thresholds + 1, sizeof *w->map);
    w->scratch = ei_alloc(512, sizeof *w->scratch);
    if (status == EI_OK && !(w->y && w->draws && w->offset && w->order && w->small && w->map &&
                             w->scratch))
        status = EI_ENOMEM;
    if (status == EI_OK)
        label_map(c, w->map);
    return status;
}

/* Evaluate and keep the output bins of samples first .. first + count. */
static int store(scattered *w, const ei_job *job, uint64_t first, size_t count, ei_cancel cancel,
                 uint64_t *outliers)
{
    ei_eval *e = &w->eval;
    const ei_channel *c = e->channel;
    for (size_t at = 0; at < count; at += e->block) {
        if (ei_cancelled(cancel))
            return EI_ECANCELLED;
        const size_t some = least(e->block, count - at), n = whole_groups(some);
        ei_eval_draw(e, job->key, 0, first + at, n);
        ei_eval_forward(e, n);
        for (size_t b = 0; b < e->n_out; b++)
            e->kernels->label(e->z + b * EI_PANEL, e->n_out * EI_PANEL, n, c->thresholds,
                              c->n_thresholds, w->map, w->y + b * w->stored + at);
        if (outliers)
            count_outliers(e, some, w->scratch, outliers);
    }
    return EI_OK;
}

/* Count one input against the stored outputs: tables of all outputs, table_step apart. */
static int count_input(scattered *w, const ei_job *job, size_t input, uint64_t first, size_t count,
                       ei_cancel cancel, uint64_t *tables, size_t table_step)
{
    const ei_channel *c = w->eval.channel;
    const size_t row = row_length(c), cells = table_cells(c);
    for (size_t at = 0; at < count; at += SEGMENT) {
        const size_t some = least(SEGMENT, count - at);
        w->eval.kernels->draw(job->key, 0, (uint32_t)input, first + at, whole_groups(some), w->draws);
        w->eval.kernels->offsets(w->draws, some, c->in_bins, (uint32_t)row, w->offset);
        if (cells > SMALL_CELLS)
            sort_by_row(w->offset, some, row, c->in_bins, w->order);
        for (size_t b = 0; b < w->eval.n_out; b += 16) {
            const size_t n_out = least(16, w->eval.n_out - b);
            const uint16_t *y = w->y + b * w->stored + at;
            if (ei_cancelled(cancel))
                return EI_ECANCELLED;
            if (cells > SMALL_CELLS)
                scatter_sorted(w->offset, w->order, y, w->stored, some, n_out,
                               tables + b * table_step, table_step);
            else
                ei_scatter(w->offset, y, w->stored, some, n_out, cells, w->small,
                           tables + b * table_step, table_step);
        }
    }
    return EI_OK;
}

static int count_scattered(const ei_channel *c, const ei_job *job, ei_cancel cancel, parts p)
{
    const size_t n_in = ins(job), cells = table_cells(c);
    scattered w;
    int status = scattered_open(&w, c, job);
    for (uint64_t done = 0; status == EI_OK && done < job->count; done += w.stored) {
        uint64_t left = job->count - done;
        size_t count = (size_t)(left < w.stored ? left : w.stored);
        status = store(&w, job, job->first + done, count, cancel, p.outliers);
        for (size_t a = 0; status == EI_OK && a < n_in; a++)
            status = count_input(&w, job, job->in_start + a, job->first + done, count, cancel,
                                 p.pairs + a * cells, n_in * cells);
    }
    scattered_close(&w);
    return status;
}

int ei_pairs_count(const ei_channel *c, const ei_job *job, ei_cancel cancel, uint64_t *tables)
{
    parts p = split(c, job, tables);
    return by_masks(c, job) ? count_masked(c, job, cancel, p) : count_scattered(c, job, cancel, p);
}

/* ---- from counts to information ------------------------------------------------------------- */

/* The first samples of the job, whose influence on the sum of all edges is followed. */
typedef struct {
    size_t n;
    uint32_t *offset; /* n_in x n: row offset of the input's bin; or of one input (followed_input) */
    uint16_t *y;      /* n_out x n */
    uint64_t *table;  /* one table */
    double *pointwise, *scratch;
    uint16_t *map;
} followed;

static void followed_close(followed *f)
{
    ei_free(f->offset);
    ei_free(f->y);
    ei_free(f->table);
    ei_free(f->pointwise);
    ei_free(f->scratch);
    ei_free(f->map);
}

static int followed_open(followed *f, const ei_channel *c, const ei_job *job, int every_input)
{
    const size_t row = row_length(c), cells = table_cells(c);
    memset(f, 0, sizeof *f);
    f->n = (size_t)(job->count < EI_FOLLOWED ? job->count : EI_FOLLOWED);
    f->offset = ei_alloc((every_input ? ins(job) : 1) * EI_FOLLOWED, sizeof *f->offset);
    f->y = ei_alloc(outputs(job) * EI_FOLLOWED, sizeof *f->y);
    f->table = ei_alloc(cells, sizeof *f->table);
    f->pointwise = ei_alloc(cells, sizeof *f->pointwise);
    f->scratch = ei_alloc(ei_measure_scratch(c->in_bins, row), sizeof *f->scratch);
    f->map = ei_alloc(c->n_thresholds + 1, sizeof *f->map);
    ei_eval e = {0};
    int status = ei_eval_open(&e, c, job->out_start, job->out_stop);
    if (status == EI_OK &&
        (!f->offset || !f->y || !f->table || !f->pointwise || !f->scratch || !f->map))
        status = EI_ENOMEM;
    if (status == EI_OK) {
        label_map(c, f->map);
        for (size_t at = 0; at < f->n; at += e.block) {
            const size_t some = least(e.block, f->n - at), n = whole_groups(some);
            ei_eval_draw(&e, job->key, 0, job->first + at, n);
            ei_eval_forward(&e, n);
            for (size_t a = 0; every_input && a < ins(job); a++)
                e.kernels->offsets(e.draws + (job->in_start + a) * e.block, n, c->in_bins,
                                   (uint32_t)row, f->offset + a * EI_FOLLOWED + at);
            for (size_t b = 0; b < e.n_out; b++)
                e.kernels->label(e.z + b * EI_PANEL, e.n_out * EI_PANEL, n, c->thresholds,
                                 c->n_thresholds, f->map, f->y + b * EI_FOLLOWED + at);
        }
    }
    ei_eval_close(&e);
    return status;
}

/* Take up the job's input a, where not all are held. */
static void followed_input(followed *f, const ei_channel *c, const ei_job *job, size_t a)
{
    uint32_t draws[EI_FOLLOWED];
    const ei_kernels *kernels = ei_active();
    kernels->draw(job->key, 0, (uint32_t)(job->in_start + a), job->first, whole_groups(f->n), draws);
    kernels->offsets(draws, f->n, c->in_bins, (uint32_t)row_length(c), f->offset);
}

/* Measure one table and note everything about the pair. `offset`: the input's, of the samples that
 * are followed. */
static void note(const ei_channel *c, const ei_job *job, followed *f, size_t b, size_t a,
                 const uint32_t *offset, const uint64_t *table, const ei_pairs_out *out)
{
    const size_t row = row_length(c), at = b * ins(job) + a;
    ei_information i =
        ei_measure(ei_active(), table, c->in_bins, row, c->out_bins, f->scratch, f->pointwise);
    out->information[at] = i.information;
    out->excess[at] = i.excess;
    out->variance[at] = i.variance;
    out->second[at] = i.second;
    if (i.kept == 0)
        return;
    /* Influence function of the plug-in estimate: of a kept sample (samples / kept) (pointwise - I),
     * of a dropped one 0. */
    const double weight = (double)job->count / (double)i.kept / EI_UNIT;
    for (size_t x = 0; x < c->in_bins; x++)
        for (size_t y = 0; y < row; y++) {
            double *p = f->pointwise + x * row + y;
            *p = y < c->out_bins ? weight * (*p - i.information) : 0.0;
        }
    const uint16_t *label = f->y + b * EI_FOLLOWED;
    for (size_t s = 0; s < f->n; s++)
        out->spread[s] += (int64_t)f->pointwise[offset[s] + label[s]];
}

static void begin(const ei_job *job, const ei_pairs_out *out)
{
    memset(out->spread, 0, EI_FOLLOWED * sizeof *out->spread);
    memset(out->dropped, 0, outputs(job) * sizeof *out->dropped);
}

int ei_pairs_reduce(const ei_channel *c, const ei_job *job, const ei_job *part, ei_cancel cancel,
                    const uint64_t *tables, const ei_pairs_out *out)
{
    const size_t n_in = ins(job), cells = table_cells(c);
    const size_t k = c->in_bins - 1, m = c->n_thresholds;
    const size_t b0 = part->out_start - job->out_start, a0 = part->in_start - job->in_start;
    const int masked = by_masks(c, job);
    parts p = split(c, job, (uint64_t *)tables);
    followed f;
    begin(part, out);
    int status = followed_open(&f, c, part, 1);
    for (size_t b = b0; status == EI_OK && b < b0 + outputs(part); b++) {
        out->dropped[b - b0] = p.outliers[b];
        for (size_t a = a0; a < a0 + ins(part); a++) {
            const uint64_t *table = p.pairs + (b * n_in + a) * cells;
            if (a % POLL == 0 && ei_cancelled(cancel)) {
                status = EI_ECANCELLED;
                break;
            }
            if (masked) {
                unfold(c, p.pairs + (b * n_in + a) * k * m, p.x_margin + a * k, p.y_margin + b * m,
                       *p.total, f.map, f.table);
                table = f.table;
            }
            note(c, part, &f, b - b0, a - a0, f.offset + (a - a0) * EI_FOLLOWED, table, out);
        }
    }
    followed_close(&f);
    return status;
}

int ei_pairs_table(const ei_channel *c, const ei_job *job, const uint64_t *tables, size_t b,
                   size_t a, uint64_t *table)
{
    const size_t cells = table_cells(c), row = row_length(c), columns = c->out_bins + 1;
    const size_t k = c->in_bins - 1, m = c->n_thresholds, pair = b * ins(job) + a;
    parts p = split(c, job, (uint64_t *)tables);
    uint16_t *map = ei_alloc(m + 1, sizeof *map);
    uint64_t *own = ei_alloc(cells, sizeof *own);
    if (map && own) {
        const uint64_t *from = p.pairs + pair * cells;
        label_map(c, map);
        if (by_masks(c, job)) {
            unfold(c, p.pairs + pair * k * m, p.x_margin + a * k, p.y_margin + b * m, *p.total, map,
                   own);
            from = own;
        }
        for (size_t x = 0; x < c->in_bins; x++)
            for (size_t y = 0; y < columns; y++)
                table[x * columns + y] = y < row ? from[x * row + y] : 0;
    }
    int status = map && own ? EI_OK : EI_ENOMEM;
    ei_free(map);
    ei_free(own);
    return status;
}

/* Masks of the outputs of all samples, which let the inputs be gone through a few at a time: the
 * tables of those few are all that has to be held, and a block may have many outputs. */
typedef struct {
    ei_eval eval;
    followed follow;
    size_t chunks;
    uint64_t *y;      /* [chunks][n_out][m][WORDS] */
    uint64_t *y_margin;
    uint64_t *all;    /* WORDS */
    uint64_t *x;      /* [SLICE][k][WORDS] */
    uint64_t *x_margin;
    uint64_t *tables; /* [SLICE][n_out][k][m] */
    uint32_t *draws;  /* CHUNK */
    uint16_t *scratch;
} kept_masks;

static void kept_close(kept_masks *w)
{
    ei_eval_close(&w->eval);
    followed_close(&w->follow);
    ei_free(w->y);
    ei_free(w->y_margin);
    ei_free(w->all);
    ei_free(w->x);
    ei_free(w->x_margin);
    ei_free(w->tables);
    ei_free(w->draws);
    ei_free(w->scratch);
}

static int kept_open(kept_masks *w, const ei_channel *c, const ei_job *job)
{
    const size_t n_out = outputs(job), k = c->in_bins - 1, m = c->n_thresholds;
    memset(w, 0, sizeof *w);
    w->chunks = (size_t)((job->count + CHUNK - 1) / CHUNK);
    int status = ei_eval_open(&w->eval, c, job->out_start, job->out_stop);
    if (status == EI_OK)
        status = followed_open(&w->follow, c, job, 0);
    w->y = ei_zalloc(w->chunks * n_out, m * WORDS * sizeof *w->y);
    w->y_margin = ei_zalloc(n_out * m, sizeof *w->y_margin);
    w->all = ei_alloc(WORDS, sizeof *w->all);
    w->x = ei_alloc(SLICE * k * WORDS, sizeof *w->x);
    w->x_margin = ei_alloc(SLICE * k, sizeof *w->x_margin);
    w->tables = ei_alloc(SLICE * n_out, k * m * sizeof *w->tables);
    w->draws = ei_alloc(CHUNK, sizeof *w->draws);
    w->scratch = ei_alloc(512, sizeof *w->scratch);
    if (status == EI_OK && !(w->y && w->y_margin && w->all && w->x && w->x_margin && w->tables &&
                             w->draws && w->scratch))
        status = EI_ENOMEM;
    return status;
}

/* Samples and words of a chunk. */
static size_t chunk_of(const ei_job *job, size_t chunk, size_t *words)
{
    uint64_t left = job->count - (uint64_t)chunk * CHUNK;
    size_t count = (size_t)(left < CHUNK ? left : CHUNK);
    *words = (count + 511) / 512 * 8;
    return count;
}

static int kept_outputs(kept_masks *w, const ei_job *job, ei_cancel cancel, uint64_t *dropped)
{
    ei_eval *e = &w->eval;
    const ei_channel *c = e->channel;
    const size_t n_out = e->n_out, m = c->n_thresholds;
    for (size_t chunk = 0; chunk < w->chunks; chunk++) {
        size_t words, count = chunk_of(job, chunk, &words);
        uint64_t *y = w->y + chunk * n_out * m * WORDS;
        for (size_t at = 0; at < count; at += e->block) {
            if (ei_cancelled(cancel))
                return EI_ECANCELLED;
            const size_t some = least(e->block, count - at), n = whole_groups(some);
            ei_eval_draw(e, job->key, 0, job->first + chunk * CHUNK + at, n);
            ei_eval_forward(e, n);
            for (size_t b = 0; b < n_out; b++)
                e->kernels->value_masks(e->z + b * EI_PANEL, n_out * EI_PANEL, n / 64,
                                        c->thresholds, m, y + b * m * WORDS + at / 64, WORDS);
            count_outliers(e, some, w->scratch, dropped);
        }
        existing(count, words, w->all);
        for (size_t b = 0; b < n_out; b++)
            e->kernels->count_masks(w->all, WORDS, 1, y + b * m * WORDS, WORDS, m, words,
                                    w->y_margin + b * m);
    }
    return EI_OK;
}

/* Count inputs a0 .. a1 of the job. */
static int kept_inputs(kept_masks *w, const ei_job *job, size_t a0, size_t a1, ei_cancel cancel)
{
    const ei_channel *c = w->eval.channel;
    const ei_kernels *kernels = w->eval.kernels;
    const size_t n_out = w->eval.n_out, k = c->in_bins - 1, m = c->n_thresholds;
    const size_t x_words = k * WORDS, y_words = m * WORDS;
    const size_t tile = least(n_out, MASK_CACHE / (y_words * 8) + 1);
    uint32_t edges[1024];
    bin_edges(c->in_bins, edges);
    memset(w->tables, 0, (a1 - a0) * n_out * k * m * sizeof *w->tables);
    memset(w->x_margin, 0, SLICE * k * sizeof *w->x_margin);
    for (size_t chunk = 0; chunk < w->chunks; chunk++) {
        size_t words, count = chunk_of(job, chunk, &words), n = whole_groups(count);
        const uint64_t *y = w->y + chunk * n_out * y_words;
        existing(count, words, w->all);
        memset(w->x, 0, (a1 - a0) * x_words * sizeof *w->x);
        for (size_t a = a0; a < a1; a++) {
            uint64_t *x = w->x + (a - a0) * x_words;
            if (ei_cancelled(cancel))
                return EI_ECANCELLED;
            kernels->draw(job->key, 0, (uint32_t)(job->in_start + a), job->first + chunk * CHUNK, n,
                          w->draws);
            kernels->draw_masks(w->draws, n / 64, edges, k, x, WORDS);
            for (size_t i = 0; i < k && count % 64; i++) /* samples past the end */
                x[i * WORDS + count / 64] &= w->all[count / 64];
            kernels->count_masks(w->all, WORDS, 1, x, WORDS, k, words, w->x_margin + (a - a0) * k);
        }
        for (size_t b0 = 0; b0 < n_out; b0 += tile)
            for (size_t a = 0; a < a1 - a0; a++) {
                if (ei_cancelled(cancel))
                    return EI_ECANCELLED;
                for (size_t b = b0; b < least(b0 + tile, n_out); b++)
                    kernels->count_masks(w->x + a * x_words, WORDS, k, y + b * y_words, WORDS, m,
                                         words, w->tables + (a * n_out + b) * k * m);
            }
    }
    return EI_OK;
}

static int run_kept_masks(const ei_channel *c, const ei_job *job, ei_cancel cancel,
                          const ei_pairs_out *out)
{
    const size_t n_in = ins(job), n_out = outputs(job), k = c->in_bins - 1, m = c->n_thresholds;
    kept_masks w;
    begin(job, out);
    int status = kept_open(&w, c, job);
    if (status == EI_OK)
        status = kept_outputs(&w, job, cancel, out->dropped);
    for (size_t a0 = 0; status == EI_OK && a0 < n_in; a0 += SLICE) {
        const size_t a1 = least(a0 + SLICE, n_in);
        status = kept_inputs(&w, job, a0, a1, cancel);
        for (size_t a = a0; status == EI_OK && a < a1; a++) {
            if (ei_cancelled(cancel))
                status = EI_ECANCELLED;
            followed_input(&w.follow, c, job, a);
            for (size_t b = 0; b < n_out; b++) {
                unfold(c, w.tables + ((a - a0) * n_out + b) * k * m, w.x_margin + (a - a0) * k,
                       w.y_margin + b * m, job->count, w.follow.map, w.follow.table);
                note(c, job, &w.follow, b, a, w.follow.offset, w.follow.table, out);
            }
        }
    }
    kept_close(&w);
    return status;
}

size_t ei_pairs_held(const ei_channel *c, const ei_job *job)
{
    const size_t cells = table_cells(c), pairs = (c->in_bins - 1) * c->n_thresholds;
    if (!by_masks(c, job))
        return job->count > STORED ? 8 * cells * ins(job) : 2 * (size_t)job->count + 8 * cells;
    const size_t chunks = (size_t)((job->count + CHUNK - 1) / CHUNK);
    const size_t kept = chunks * c->n_thresholds * WORDS * 8 + SLICE * pairs * 8;
    return least(kept, 8 * pairs * ins(job));
}

int ei_pairs_run(const ei_channel *c, const ei_job *job, ei_cancel cancel, const ei_pairs_out *out)
{
    int status = EI_OK;
    if (by_masks(c, job) &&
        ei_pairs_held(c, job) < 8 * (c->in_bins - 1) * c->n_thresholds * ins(job))
        return run_kept_masks(c, job, cancel, out);
    if (by_masks(c, job) || job->count > STORED) {
        size_t size = ei_pairs_size(c, job);
        uint64_t *tables = size ? ei_zalloc(size, sizeof *tables) : NULL;
        if (!tables)
            return size ? EI_ENOMEM : EI_EOVERFLOW;
        status = ei_pairs_count(c, job, cancel, tables);
        if (status == EI_OK)
            status = ei_pairs_reduce(c, job, job, cancel, tables, out);
        ei_free(tables);
        return status;
    }
    const size_t n_out = outputs(job), cells = table_cells(c);
    scattered w = {0};
    followed f = {0};
    uint64_t *tables = NULL;
    begin(job, out);
    status = scattered_open(&w, c, job);
    if (status == EI_OK)
        status = followed_open(&f, c, job, 0);
    if (status == EI_OK && (tables = ei_alloc(n_out * cells, sizeof *tables)) == NULL)
        status = EI_ENOMEM;
    if (status == EI_OK)
        status = store(&w, job, job->first, (size_t)job->count, cancel, out->dropped);
    for (size_t a = 0; status == EI_OK && a < ins(job); a++) {
        memset(tables, 0, n_out * cells * sizeof *tables);
        status = count_input(&w, job, job->in_start + a, job->first, (size_t)job->count, cancel,
                             tables, cells);
        followed_input(&f, c, job, a);
        for (size_t b = 0; status == EI_OK && b < n_out; b++)
            note(c, job, &f, b, a, f.offset, tables + b * cells, out);
    }
    ei_free(tables);
    followed_close(&f);
    scattered_close(&w);
    return status;
}
