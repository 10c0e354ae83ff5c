/* The sampled sensitivity: one input perturbed at a time. See ei_pairs.h. */
#include "kernels/ei_info.h"
#include "pairs/ei_pairs_internal.h"
#include "pairs/ei_ranks.h"

#include <math.h>
#include <string.h>

/* Samples of a channel with stages whose labels are held: those followed, and a block. */
enum { LABELS = EI_FOLLOWED + EI_BLOCK };

/* In the size of the inputs: where the baseline is further off, an input's part is not taken from the
 * sum of all, but left out of it. */
#define FAR 1024.0

/* z as a function of the draw: monotone, rounding included. */
typedef struct {
    double lo, scale, weight, base;
} line;

static inline double at(const line *l, uint64_t draw)
{
    double x = l->lo + ((double)draw + 0.5) * l->scale;
    return l->base + x * l->weight;
}

/* Smallest draw on the far side of threshold t: z >= t if rising, z < t if falling; 2^32 if none. */
static uint64_t crossing(const line *l, double t, int rising)
{
    const double top = 4294967295.0;
    double guess = ((t - l->base) / l->weight - l->lo) / l->scale - 0.5;
    guess = guess > 0.0 ? guess : 0.0; /* also for NaN */
    guess = guess < top ? guess : top;
    uint64_t low = 0, high = (uint64_t)1 << 32, here = (uint64_t)guess, step = 1;
    /* Invariant: the answer lies in low .. high. First gallop from the guess, then bisect. */
    if ((at(l, here) >= t) == rising) {
        high = here;
        while (high > low) {
            uint64_t probe = high > low + step ? high - step : low;
            if ((at(l, probe) >= t) != rising) {
                low = probe + 1;
                break;
            }
            high = probe;
            step *= 8;
        }
    } else {
        low = here + 1;
        while (low < high) {
            uint64_t probe = low + step - 1 < high ? low + step - 1 : high - 1;
            if ((at(l, probe) >= t) == rising) {
                high = probe;
                break;
            }
            low = probe + 1;
            step *= 8;
        }
    }
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if ((at(l, middle) >= t) == rising)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* A run of draws, in sorted order from rank `from` to `to`, of one input bin and one interval. */
typedef struct {
    uint32_t bin, interval, from, to;
} piece;

/* Work memory. */
typedef struct {
    ei_memory memory;
    ep_ranks ranks;
    double *base;      /* the first map without any input, and without the present one */
    double *without;
    uint64_t *edges;   /* in_bins + 1 bounds of the draws */
    uint32_t *edge_rank;
    uint64_t *cross;   /* n_thresholds + 2 bounds */
    uint32_t *cross_rank;
    uint16_t *map;
    uint64_t *table;   /* of one output, or of all where there are stages */
    double *scratch, *pointwise;
    ep_occupancy occupancy;
    ep_columns *columns;
    double *step;      /* of the influence on the sum, from one rank to the next */
    piece *pieces;
    ei_eval eval;      /* with stages */
    uint16_t *labels;  /* n_out x EI_FOLLOWED */
} work;

static void work_close(work *w)
{
    ep_ranks_close(&w->ranks);
    ei_eval_close(&w->eval);
    ei_release(&w->memory);
}

/* The first affine map. */
static void first_map(const ei_channel *c, const double **weight, const double **bias, size_t *n)
{
    const ei_stage *s = c->n_stages ? c->stages : NULL;
    *weight = s ? s->weight : c->weight;
    *bias = s ? s->bias : c->bias;
    *n = s ? s->n_out : c->n_out;
}

static int work_open(work *w, const ei_channel *c, const ei_job *job, size_t tables)
{
    memset(w, 0, sizeof *w);
    const double *weight, *bias;
    size_t n, m = c->n_thresholds, row = ei_row_length(c), cells = c->in_bins * row, size;
    first_map(c, &weight, &bias, &n);
    if (job->count >> 31 || ei_mul(cells, tables, &size))
        return EI_EOVERFLOW;
    int status = ep_ranks_open(&w->ranks, (size_t)job->count);
    if (status == EI_OK && c->n_stages)
        status = ei_eval_open(&w->eval, c, job->out_start, job->out_stop);
    ei_memory *memory = &w->memory;
    w->base = ei_hold(memory, n, sizeof *w->base);
    w->without = ei_hold(memory, n, sizeof *w->without);
    w->edges = ei_hold(memory, c->in_bins + 1, sizeof *w->edges);
    w->edge_rank = ei_hold(memory, c->in_bins + 1, sizeof *w->edge_rank);
    w->cross = ei_hold(memory, m + 2, sizeof *w->cross);
    w->cross_rank = ei_hold(memory, m + 2, sizeof *w->cross_rank);
    w->map = ei_hold(memory, ei_map_size(c), sizeof *w->map);
    w->table = ei_hold(memory, size, sizeof *w->table);
    w->scratch = ei_hold(memory, ei_measure_scratch(c->in_bins, row), sizeof *w->scratch);
    w->pointwise = ei_hold(memory, cells, sizeof *w->pointwise);
    w->columns = ep_columns_open(1, c->out_bins, memory);
    ep_occupancy_open(&w->occupancy, c->in_bins, 1, memory);
    w->step = ei_hold(memory, (size_t)job->count + 1, sizeof *w->step);
    w->pieces = ei_hold(memory, c->in_bins + m + 2, sizeof *w->pieces);
    w->labels = ei_hold(memory, (c->n_stages ? job->out_stop - job->out_start : 1) * LABELS,
                        sizeof *w->labels);
    status = ei_held(memory, status);
    if (status != EI_OK)
        return status;
    for (uint64_t k = 0; k <= c->in_bins; k++)
        w->edges[k] = ei_bin_start(c->in_bins, k);
    ei_label_map(c, w->map);
    for (size_t o = 0; o < n; o++) {
        double sum = bias ? bias[o] : 0.0;
        if (c->baseline != 0.0 && weight)
            for (size_t k = 0; k < c->n_in; k++)
                sum += weight[o * c->n_in + k] * c->baseline;
        w->base[o] = sum;
    }
    return EI_OK;
}

static void without(work *w, const ei_channel *c, size_t input)
{
    const double *weight, *bias;
    size_t n;
    first_map(c, &weight, &bias, &n);
    /* Where the baseline is far off, what the others leave would be lost beside the input's own. */
    const int far = fabs(c->baseline) > FAR * fmax(fabs(c->in_lo), fabs(c->in_hi));
    for (size_t o = 0; o < n; o++) {
        const double *row = weight ? weight + o * c->n_in : NULL;
        if (c->baseline == 0.0 || !row) {
            w->without[o] = w->base[o];
        } else if (!far) {
            w->without[o] = w->base[o] - row[input] * c->baseline;
        } else {
            double sum = bias ? bias[o] : 0.0;
            for (size_t k = 0; k < c->n_in; k++)
                if (k != input)
                    sum += row[k] * c->baseline;
            w->without[o] = sum;
        }
    }
}

/* Bounds of the draws between which z stays in one interval: draws cross[j] <= r < cross[j + 1] lie
 * in interval j, or from the other end, m - j, if z falls. Returns whether it rises. */
static int crossings(work *w, const ei_channel *c, const line *l, size_t output)
{
    const size_t m = c->n_thresholds;
    const double *thresholds = ei_thresholds(c, output);
    const int rising = l->weight >= 0.0;
    w->cross[0] = 0;
    w->cross[m + 1] = (uint64_t)1 << 32;
    for (size_t j = 0; j < m; j++) {
        double t = thresholds[rising ? j : m - 1 - j];
        w->cross[j + 1] = l->weight == 0.0 ? (l->base >= t ? 0 : (uint64_t)1 << 32)
                                           : crossing(l, t, rising);
    }
    for (size_t j = 0; j < m + 2; j++)
        w->cross_rank[j] = ep_below(&w->ranks, w->cross[j]);
    return rising;
}

/* Merge the bounds of the bins and of the intervals; returns the number of pieces. */
static size_t merge(const work *w, const ei_channel *c, int rising, piece *pieces)
{
    size_t n = 0;
    uint32_t i = 0, j = 0, rank = 0;
    uint64_t here = 0;
    while (here < (uint64_t)1 << 32) {
        while (w->edges[i + 1] <= here)
            i++;
        while (w->cross[j + 1] <= here)
            j++;
        uint64_t next = w->edges[i + 1] < w->cross[j + 1] ? w->edges[i + 1] : w->cross[j + 1];
        uint32_t next_rank = next == w->edges[i + 1] ? w->edge_rank[i + 1] : w->cross_rank[j + 1];
        piece p = {i, rising ? j : (uint32_t)c->n_thresholds - j, rank, next_rank};
        pieces[n++] = p;
        here = next;
        rank = next_rank;
    }
    return n;
}

/* Number of draws whose z lies outside the output's range. */
static uint64_t outliers(const work *w, const ei_channel *c, const line *l, size_t output)
{
    const size_t m = c->n_limits;
    const double *limits = ei_limits(c, output);
    const uint16_t *outside = ei_outside(c, output);
    const int rising = l->weight >= 0.0;
    uint64_t sum = 0;
    uint32_t rank = 0;
    for (size_t j = 0; j <= m; j++) {
        uint32_t next = (uint32_t)w->ranks.count;
        if (j < m) {
            double t = limits[rising ? j : m - 1 - j];
            if (l->weight != 0.0)
                next = ep_below(&w->ranks, crossing(l, t, rising));
            else
                next = l->base >= t ? 0 : next;
        }
        sum += outside[rising ? j : m - j] ? next - rank : 0;
        rank = next;
    }
    return sum;
}

static void rank_edges(work *w, const ei_channel *c)
{
    for (size_t i = 0; i <= c->in_bins; i++)
        w->edge_rank[i] = ep_below(&w->ranks, w->edges[i]);
}

static line line_of(const work *w, const ei_channel *c, size_t output, size_t input)
{
    line l = {c->in_lo, ei_scale(c), c->weight[output * c->n_in + input], w->without[output]};
    return l;
}

/* Tables of all outputs where there are stages: sample by sample. The labels of the first samples
 * stay in w->labels, LABELS an output. */
static int count_staged(work *w, const ei_channel *c, const ei_job *job, size_t input,
                        ei_cancel cancel, uint64_t *dropped)
{
    const size_t row = ei_row_length(c), cells = c->in_bins * row, n_out = w->eval.n_out;
    memset(w->table, 0, n_out * cells * sizeof *w->table);
    for (size_t s = 0; s < job->count; s += w->eval.block) {
        size_t left = (size_t)job->count - s, some = left < w->eval.block ? left : w->eval.block;
        size_t n = ei_whole_groups(some);
        size_t place = s < EI_FOLLOWED ? s : EI_FOLLOWED;
        if (ei_cancelled(cancel))
            return EI_ECANCELLED;
        const uint32_t *draws = w->ranks.draws + s;
        ei_eval_single(&w->eval, input, draws, w->without, n);
        for (size_t b = 0; b < n_out; b++) {
            uint16_t *labels = w->labels + b * LABELS + place;
            if (ei_may_leave(c))
                dropped[b] += ei_eval_outside(&w->eval, b, some, labels);
            ei_eval_labels(&w->eval, b, n, w->map, labels);
            for (size_t q = 0; q < some; q++) {
                size_t bin = ei_bin_of(c->in_bins, draws[q]);
                w->table[b * cells + bin * row + labels[q]]++;
            }
        }
    }
    return EI_OK;
}

/* Table of one pair from its pieces; `map` NULL: by interval. */
static void tabulate(const piece *pieces, size_t n, const uint16_t *map, size_t columns,
                     size_t cells, uint64_t *table)
{
    memset(table, 0, cells * sizeof *table);
    for (size_t i = 0; i < n; i++)
        table[pieces[i].bin * columns + (map ? map[pieces[i].interval] : pieces[i].interval)] +=
            pieces[i].to - pieces[i].from;
}

/* Variance of the mean of the influence, from its steps. */
static double variance_of(const double *step, size_t count, size_t samples)
{
    double value = 0.0, sum = 0.0, square = 0.0;
    for (size_t s = 0; s < count; s++) {
        value += step[s];
        sum += value;
        square += value * value;
    }
    double mean = sum / (double)count, spread = square / (double)count - mean * mean;
    return spread > 0.0 ? spread / (double)samples : 0.0;
}

int ei_single_run(const ei_channel *c, const ei_job *job, ei_cancel cancel, const ei_pairs_out *out,
                  double *variances)
{
    const size_t n_in = job->in_stop - job->in_start, n_out = job->out_stop - job->out_start;
    const size_t row = ei_row_length(c), cells = c->in_bins * row;
    const ei_kernels *kernels = ei_active();
    /* Without stages the influence of every sample is followed, by rank; else that of the first. */
    const size_t count = (size_t)job->count;
    const size_t followed = c->n_stages && count > EI_FOLLOWED ? EI_FOLLOWED : count;
    work w;
    int status = work_open(&w, c, job, c->n_stages ? n_out : 1);
    memset(out->dropped, 0, n_out * sizeof *out->dropped);
    for (size_t a = 0; status == EI_OK && a < n_in; a++) {
        const size_t input = job->in_start + a;
        status = ep_ranks_fill(&w.ranks, kernels, job, input, cancel);
        if (status != EI_OK)
            break;
        rank_edges(&w, c);
        without(&w, c, input);
        memset(w.step, 0, (count + 1) * sizeof *w.step);
        if (c->n_stages)
            status = count_staged(&w, c, job, input, cancel, out->dropped);
        for (size_t b = 0; status == EI_OK && b < n_out; b++) {
            const size_t output = job->out_start + b;
            const uint16_t *map = ei_map_of(c, w.map, output);
            const uint64_t *table = w.table + (c->n_stages ? b * cells : 0);
            size_t pieces = 0;
            if (b % 64 == 0 && ei_cancelled(cancel)) {
                status = EI_ECANCELLED;
                break;
            }
            if (!c->n_stages) {
                line l = line_of(&w, c, output, input);
                int rising = crossings(&w, c, &l, output);
                pieces = merge(&w, c, rising, w.pieces);
                tabulate(w.pieces, pieces, map, row, cells, w.table);
                if (ei_may_leave(c))
                    out->dropped[b] += outliers(&w, c, &l, output);
            }
            w.columns->filled = 0; /* every edge has its own */
            const ep_influence e = ep_measure(&w.occupancy, w.columns, c, table, w.scratch,
                                              w.pointwise, job->count, b * n_in + a, out);
            for (size_t q = 0; q < pieces; q++) {
                const piece p = w.pieces[q];
                const double v = ep_influence_of(&e, p.bin * row, map[p.interval]);
                w.step[p.from] += v;
                w.step[p.to] -= v;
            }
            for (size_t s = 0; c->n_stages && s < followed; s++) {
                const size_t x = ei_bin_of(c->in_bins, w.ranks.draws[s]);
                const double v = ep_influence_of(&e, x * row, w.labels[b * LABELS + s]);
                w.step[s] += v;
                w.step[s + 1] -= v;
            }
        }
        variances[a] = variance_of(w.step, followed, count);
    }
    work_close(&w);
    return status;
}

int ei_single_table(const ei_channel *c, const ei_job *job, uint64_t *table)
{
    work w;
    const size_t columns = c->n_thresholds + 1;
    int status = work_open(&w, c, job, 1);
    if (status == EI_OK) {
        ep_ranks_fill(&w.ranks, ei_active(), job, job->in_start, NULL);
        rank_edges(&w, c);
        without(&w, c, job->in_start);
        line l = line_of(&w, c, job->out_start, job->in_start);
        int rising = crossings(&w, c, &l, job->out_start);
        size_t pieces = merge(&w, c, rising, w.pieces);
        tabulate(w.pieces, pieces, NULL, columns, c->in_bins * columns, table);
    }
    work_close(&w);
    return status;
}
