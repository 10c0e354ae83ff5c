/* From counts of independent replicates to information. See ei_pairs.h. */
#include "kernels/ei_info.h"
#include "pairs/ei_pairs_internal.h"

#include <math.h>
#include <string.h>

static const double log2_e = 1.4426950408889634074;

typedef struct {
    ei_memory memory;
    uint16_t *map;
    size_t n, panels, length; /* replicates; those in panels; of a deviation: cells, rows, columns */
    uint64_t *each;           /* n x cells: their tables of one pair */
    uint64_t *total;          /* cells: of all together */
    double *scratch, *pointwise, *corrected;
    double *inverse;   /* length: what a deviation is times, see weigh */
    double *column;    /* columns: sums of one replicate */
    double *deviation; /* n x length: over those roots; those of rows and columns with their sign */
    double *turned;    /* panels x length x EI_PANEL: the same without it */
    double *none;      /* n zeros */
    double *products;  /* panels x n x EI_PANEL */
    double *second;    /* n x n: what each pair of replicates does together */
    double *first;     /* n: what each does on its own */
    ep_occupancy occupancy;
    ep_columns *columns;
} work;

static int work_open(work *w, const ei_channel *c, size_t replicates)
{
    const size_t row = ei_row_length(c), cells = ep_table_cells(c);
    memset(w, 0, sizeof *w);
    ei_memory *memory = &w->memory;
    w->n = replicates;
    w->panels = (replicates + EI_PANEL - 1) / EI_PANEL;
    w->length = c->in_bins * c->out_bins + c->in_bins + c->out_bins;
    w->map = ei_hold(memory, ei_map_size(c), sizeof *w->map);
    w->each = ei_hold(memory, replicates, cells * sizeof *w->each);
    w->total = ei_hold(memory, cells, sizeof *w->total);
    w->scratch = ei_hold(memory, ei_measure_scratch(c->in_bins, row), sizeof *w->scratch);
    w->pointwise = ei_hold(memory, cells, sizeof *w->pointwise);
    w->corrected = ei_hold(memory, cells, sizeof *w->corrected);
    w->inverse = ei_hold(memory, w->length, sizeof *w->inverse);
    w->column = ei_hold(memory, c->out_bins, sizeof *w->column);
    w->deviation = ei_hold(memory, replicates, w->length * sizeof *w->deviation);
    w->turned = ei_hold_zeros(memory, w->panels * EI_PANEL, w->length * sizeof *w->turned);
    w->none = ei_hold_zeros(memory, replicates, sizeof *w->none);
    w->products = ei_hold(memory, w->panels * EI_PANEL, replicates * sizeof *w->products);
    w->second = ei_hold(memory, replicates, replicates * sizeof *w->second);
    w->first = ei_hold(memory, replicates, sizeof *w->first);
    w->columns = ep_columns_open(1, c->out_bins, memory);
    ep_occupancy_open(&w->occupancy, c->in_bins, c->n_in, memory);
    const int status = ei_held(memory, EI_OK);
    if (status == EI_OK)
        ei_label_map(c, w->map);
    return status;
}

static double over_root(double root, double of_all)
{
    return of_all > 0.0 ? root / sqrt(of_all) : 0.0;
}

/* One over the root of the mean of each cell, row and column, by which deviations are measured: products of
 * those of two replicates are their part in the second derivative of the information. */
static void weigh(work *w, const ei_channel *c, double kept, const double *margins)
{
    const size_t row = ei_row_length(c), rows = c->in_bins, columns = c->out_bins;
    const double root = (double)w->n / kept * sqrt(kept * log2_e);
    double *to = w->inverse;
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < columns; j++)
            *to++ = over_root(root, (double)w->total[i * row + j]);
    for (size_t i = 0; i < rows + columns; i++)
        *to++ = over_root(root, margins[i]);
}

static void put(work *w, size_t r, size_t at, double value, double sign)
{
    value *= w->inverse[at];
    w->deviation[r * w->length + at] = sign * value;
    w->turned[(r / EI_PANEL * w->length + at) * EI_PANEL + r % EI_PANEL] = value;
}

/* How a replicate differs from the mean of all, cell by cell, row by row and column by column. Returns the
 * first derivative's. */
static double deviate(work *w, const ei_channel *c, size_t r, double kept, double mean)
{
    const size_t row = ei_row_length(c), rows = c->in_bins, columns = c->out_bins;
    const uint64_t *own = w->each + r * rows * row;
    double *column = w->column;
    uint64_t all = 0;
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < columns; j++)
            all += own[i * row + j];
    const double share = (double)all / kept;
    double first = 0.0;
    memset(column, 0, columns * sizeof *column);
    for (size_t i = 0; i < rows; i++) {
        double sum = 0.0;
        for (size_t j = 0; j < columns; j++) {
            const size_t cell = i * row + j;
            const double count = (double)(int64_t)own[cell];
            const double more = count - share * (double)(int64_t)w->total[cell];
            first += (w->pointwise[cell] - mean) * count;
            sum += more;
            column[j] += more;
            put(w, r, i * columns + j, more, 1.0);
        }
        put(w, r, rows * columns + i, sum, -1.0);
    }
    for (size_t j = 0; j < columns; j++)
        put(w, r, rows * (columns + 1) + j, column[j], -1.0);
    return first * (double)w->n / kept;
}

/* w->first and w->second, of the tables in w->each. */
static void compare(work *w, const ei_channel *c, double kept, double mean)
{
    const ei_kernels *kernels = ei_active();
    const size_t cells = ep_table_cells(c), n = w->n;
    weigh(w, c, kept, w->scratch + cells); /* the margins are those that ei_measure left */
    for (size_t r = 0; r < n; r++)
        w->first[r] = deviate(w, c, r, kept, mean);
    for (size_t p = 0; p < w->panels; p++)
        kernels->affine(w->deviation, w->length, w->none, w->length, n,
                        w->turned + p * w->length * EI_PANEL, w->products + p * n * EI_PANEL, 1);
    for (size_t r = 0; r < n; r++)
        for (size_t s = 0; s < n; s++)
            w->second[r * n + s] =
                w->products[s / EI_PANEL * n * EI_PANEL + r * EI_PANEL + s % EI_PANEL];
}

/* Mean square of d_r H d_s, r other than s, from n x n of them with d_r taken from the mean of all: what
 * depends on r or s alone is taken off first, as in an analysis of variance. */
static double interaction_of(const double *second, size_t n, double own)
{
    const double count = (double)n;
    double sum = 0.0;
    for (size_t r = 0; r < n; r++)
        for (size_t s = 0; s < r; s++) {
            const double q = second[r * n + s] +
                             (second[r * n + r] + second[s * n + s]) / (count - 2.0) -
                             own * count / ((count - 1.0) * (count - 2.0));
            sum += q * q;
        }
    return sum * 2.0 / (count * (count - 3.0));
}

double ei_replicates_variance(const double *first, const double *second, size_t n)
{
    const double count = (double)n;
    double own = 0.0, squares = 0.0;
    for (size_t r = 0; r < n; r++)
        own += second[r * n + r] / count;
    for (size_t r = 0; r < n; r++) {
        const double moved = first[r] - (second[r * n + r] - own) / (count - 2.0);
        squares += moved * moved;
    }
    const double interaction = interaction_of(second, n, own);
    const double left = squares / (count * (count - 1.0)) - interaction / (count * (count - 2.0));
    return (left > 0.0 ? left : 0.0) + interaction / (2.0 * count * (count - 1.0));
}

static int64_t fine(double bits)
{
    return (int64_t)(bits / EI_FINE + (bits < 0.0 ? -0.5 : 0.5));
}

/* Measure the pair whose tables are in w->each; `at`: its place in the results. */
static void measure(work *w, const ei_channel *c, size_t at, const ei_replicates_out *out)
{
    const size_t row = ei_row_length(c), cells = ep_table_cells(c), n = w->n;
    const double count = (double)n;
    memset(w->total, 0, cells * sizeof *w->total);
    for (size_t r = 0; r < n; r++)
        for (size_t i = 0; i < cells; i++)
            w->total[i] += w->each[r * cells + i];
    const ei_information whole = ei_measure(ei_active(), w->total, c->in_bins, row, c->out_bins,
                                            w->scratch, w->pointwise);
    out->information[at] = whole.information;
    out->corrected[at] = out->variance[at] = out->doubt[at] = 0.0;
    if (whole.kept == 0)
        return;
    compare(w, c, (double)whole.kept, whole.information);
    if (!w->columns->filled)
        ep_columns_fill(w->columns, &w->occupancy, w->total, row, c->out_bins);
    memcpy(w->corrected, w->pointwise, cells * sizeof *w->corrected);
    const ep_corrected rare = ep_correct(&w->occupancy, w->columns, &whole, row, c->out_bins,
                                         w->scratch, w->corrected);
    double bias = 0.0;
    for (size_t r = 0; r < n; r++) {
        bias += w->second[r * n + r];
        out->first[r] += fine(w->first[r]);
        for (size_t s = 0; s < n; s++)
            out->second[r * n + s] += fine(w->second[r * n + s]);
    }
    bias = bias / (2.0 * count * (count - 1.0)) + (rare.excess - whole.excess);
    out->corrected[at] = whole.information - bias;
    out->doubt[at] = rare.doubt;
    out->variance[at] = ei_replicates_variance(w->first, w->second, n);
}

int ei_replicates_reduce(const ei_channel *c, const ei_job *job, const ei_job *part,
                         size_t replicates, ei_cancel cancel, const uint64_t *tables,
                         const ei_replicates_out *out)
{
    const size_t size = ei_pairs_size(c, job), cells = ep_table_cells(c);
    const size_t b0 = part->out_start - job->out_start, a0 = part->in_start - job->in_start;
    work w;
    int status = work_open(&w, c, replicates);
    memset(out->first, 0, replicates * sizeof *out->first);
    memset(out->second, 0, replicates * replicates * sizeof *out->second);
    for (size_t b = 0; status == EI_OK && b < ep_outputs(part); b++) {
        out->dropped[b] = 0;
        w.columns->filled = 0;
        for (size_t a = 0; status == EI_OK && a < ep_inputs(part); a++) {
            for (size_t r = 0; r < replicates; r++) {
                ep_parts p = ep_split(c, job, (uint64_t *)tables + r * size);
                const uint64_t *table =
                    ep_table_of(c, job, p, b0 + b, a0 + a, w.map, w.each + r * cells);
                if (table != w.each + r * cells)
                    memcpy(w.each + r * cells, table, cells * sizeof *table);
                out->dropped[b] += a == 0 ? p.outliers[b0 + b] : 0;
            }
            measure(&w, c, b * ep_inputs(part) + a, out);
            if (ei_cancelled(cancel))
                status = EI_ECANCELLED;
        }
    }
    ei_release(&w.memory);
    return status;
}
