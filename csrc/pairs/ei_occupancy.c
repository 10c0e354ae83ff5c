#include "pairs/ei_occupancy.h"

#include "common/ei_math.h"

#include <math.h>
#include <string.h>

enum { GEOMETRIC = EI_CELLS - 3, NONE = EI_CELLS - 2 }; /* NONE: m = in_bins, no information */

/* Samples a cell from which on the sums are expanded about the mean. */
static const double MANY = 20.0;

static const double LOG2E = 1.4426950408889634074;

void ep_occupancy_open(ep_occupancy *o, size_t in_bins, size_t sharing, ei_memory *memory)
{
    const double all = (double)in_bins, log_all = ei_log(all);
    memset(o, 0, sizeof *o);
    o->in_bins = in_bins;
    o->sharing = sharing;
    for (size_t g = 0; g < GEOMETRIC; g++)
        o->cells[g] = ei_exp(log_all * (double)g / GEOMETRIC);
    o->cells[0] = 1.0;
    o->cells[NONE - 1] = all / 1.05;
    o->cells[NONE] = all;
    o->cells[NONE + 1] = all * 1.05;
    for (size_t g = 1; g < EI_CELLS; g++)
        o->log_rest[g] = ei_log(1.0 - 1.0 / o->cells[g]);
    for (size_t n = 1; n < sizeof o->log2_of / sizeof *o->log2_of; n++)
        o->log2_of[n] = ei_log2((double)n);
    o->kept = ei_hold(memory, EI_KEPT_COUNTS * EI_CELLS * EI_MOMENTS, sizeof *o->kept);
    o->known = ei_hold_zeros(memory, EI_KEPT_COUNTS, sizeof *o->known);
}

/* Central moments of a binomial, for functions that are smooth there. */
static void expanded(double lambda, double m, double log_rest, uint64_t c, double *out)
{
    const double p = 1.0 / m, q = 1.0 - p, pq = p * q, skew = 1.0 - 2.0 * p;
    const double m2 = lambda * q, m3 = m2 * skew, m4 = m2 * (3.0 * m2 + 1.0 - 6.0 * pq);
    const double m5 = m2 * skew * (10.0 * m2 + 1.0 - 12.0 * pq);
    const double m6 = m2 * (15.0 * m2 * m2 + 5.0 * m2 * (5.0 - 26.0 * pq) + 1.0 - 30.0 * pq);
    const double r = 1.0 / lambda;
    const double bias =
        r * (m2 / 2.0 - r * (m3 / 6.0 - r * (m4 / 12.0 - r * (m5 / 20.0 - r * (m6 / 30.0)))));
    const double square = r * (m2 - r * r * (m4 / 12.0 - r * (m5 / 12.0 - r * (13.0 * m6 / 180.0))));
    out[EI_OCCUPIED] = m * (1.0 - ei_exp((double)c * log_rest));
    out[EI_BIAS] = m * bias * LOG2E;
    out[EI_SQUARE] = m * square * LOG2E * LOG2E;
    out[EI_VARIANCE] = m * 0.5 * q * (1.0 + 0.5 * r) * LOG2E * LOG2E;
    out[EI_COVARIANCE] = out[EI_SPREAD] = 0.0;
}

void ep_moments(const ep_occupancy *o, uint64_t c, double m, double log_rest,
                double out[EI_MOMENTS])
{
    memset(out, 0, EI_MOMENTS * sizeof *out);
    if (c == 0)
        return;
    out[EI_OCCUPIED] = 1.0;
    if (m <= 1.0)
        return;
    const double lambda = (double)c / m, odds = 1.0 / (m - 1.0);
    if (lambda > MANY) {
        expanded(lambda, m, log_rest, c, out);
        return;
    }
    /* Sums over the binomial, l being n log2 n. */
    const double none = ei_exp((double)c * log_rest), most = lambda + 12.0 * sqrt(lambda) + 30.0;
    const size_t top = most < (double)c ? (size_t)most : (size_t)c;
    double p = none, l1 = 0.0, l2 = 0.0, ln = 0.0, log2s = 0.0;
    for (size_t n = 1; n <= top; n++) {
        p *= ((double)c - (double)n + 1.0) / (double)n * odds;
        const double l = (double)n * o->log2_of[n];
        l1 += p * l;
        l2 += p * l * l;
        ln += p * l * (double)n;
        log2s += p * l * o->log2_of[n];
    }
    const double level = ei_log2(lambda), variance = lambda * (1.0 - 1.0 / m);
    const double with_l = ln - l1 * lambda, with_one = lambda * none;
    out[EI_OCCUPIED] = m * (1.0 - none);
    out[EI_BIAS] = m * (l1 - lambda * level);
    out[EI_SQUARE] = m * (log2s - 2.0 * level * l1 + level * level * lambda);
    const double apart = m * m / (m - 1.0); /* what is left of m cells is m - 1 that are independent */
    out[EI_VARIANCE] = apart * (l2 - l1 * l1 - with_l * with_l / variance);
    out[EI_COVARIANCE] = apart * (l1 * none - with_l * with_one / variance);
    out[EI_SPREAD] = apart * ((1.0 - none) * none - with_one * with_one / variance);
}

/* Moments for every m of c samples. */
static const double *moments_of(ep_occupancy *o, uint64_t c, double scratch[EI_CELLS][EI_MOMENTS])
{
    double *out = scratch[0];
    if (c < EI_KEPT_COUNTS) {
        out = o->kept + c * EI_CELLS * EI_MOMENTS;
        if (o->known[c])
            return out;
        o->known[c] = 1;
    }
    for (size_t g = 0; g < EI_CELLS; g++)
        ep_moments(o, c, o->cells[g], o->log_rest[g], out + g * EI_MOMENTS);
    return out;
}

ep_columns *ep_columns_open(size_t n, size_t out_bins, ei_memory *memory)
{
    ep_columns *columns = ei_hold_zeros(memory, n, sizeof *columns);
    uint64_t *sums = ei_hold(memory, n, out_bins * sizeof *sums);
    double *biases = ei_hold(memory, n, out_bins * EI_CELLS * sizeof *biases);
    double *each = ei_hold(memory, out_bins + 1, sizeof *each); /* and one for the dropped */
    for (size_t i = 0; columns && sums && biases && i < n; i++) {
        columns[i].each = each;
        columns[i].sums = sums + i * out_bins;
        columns[i].biases = biases + i * out_bins * EI_CELLS;
    }
    return columns;
}

/* The samples of a bin that is hardly seen do not say whether they share cells: it may tell a bit, or
 * more: all of an input, and of all inputs together log2(1 / p). One that was never seen counts as seen
 * once. */
static double rare_of(const ep_occupancy *o, const uint64_t *sums, size_t out_bins, double total)
{
    const double all = ei_log2((double)o->in_bins);
    double rare = 0.0, empty = 0.0;
    for (size_t y = 0; y < out_bins; y++) {
        const double c = sums[y] ? (double)sums[y] : 1.0, pairs = (c * c - 1.0) / (double)o->in_bins;
        if (pairs > 20.0)
            continue;
        double told = ei_log2(total / c) / (double)o->sharing;
        told = told > 1.0 ? told : 1.0;
        told = told < all ? told : all;
        const double part = c * c * told * told * ei_exp(-2.0 * pairs);
        rare += sums[y] ? part : 0.0;
        empty = sums[y] ? empty : part;
    }
    return rare + empty;
}

void ep_columns_fill(ep_columns *columns, ep_occupancy *o, const uint64_t *table, size_t row,
                     size_t out_bins)
{
    double scratch[EI_CELLS][EI_MOMENTS];
    uint64_t total = 0;
    memset(columns->sums, 0, out_bins * sizeof *columns->sums);
    memset(columns->columns, 0, sizeof columns->columns);
    for (size_t x = 0; x < o->in_bins; x++)
        for (size_t y = 0; y < out_bins; y++)
            columns->sums[y] += table[x * row + y];
    for (size_t y = 0; y < out_bins; y++) {
        const double *found = moments_of(o, columns->sums[y], scratch);
        total += columns->sums[y];
        for (size_t g = 0; g < EI_CELLS; g++) {
            for (size_t i = 0; i < EI_MOMENTS; i++)
                columns->columns[g][i] += found[g * EI_MOMENTS + i];
            columns->biases[y * EI_CELLS + g] = found[g * EI_MOMENTS + EI_BIAS];
        }
    }
    memcpy(columns->inputs, moments_of(o, total, scratch), sizeof columns->inputs);
    columns->rare = rare_of(o, columns->sums, out_bins, (double)total);
    columns->filled = 1;
}

/* Where so many occupied cells are the expected number: between two values of m, or a little beyond. */
typedef struct {
    size_t low, high;
    double share, slope; /* of the way; bias a cell */
    double moments[EI_MOMENTS];
} place;

static place place_of(const double moments[EI_CELLS][EI_MOMENTS], double occupied)
{
    place at = {.low = 0, .high = 1};
    while (at.high + 1 < EI_CELLS && moments[at.high][EI_OCCUPIED] < occupied)
        at.high++;
    at.low = at.high - 1;
    const double *from = moments[at.low], *to = moments[at.high];
    const double step = to[EI_OCCUPIED] - from[EI_OCCUPIED];
    if (step > 1e-9) {
        at.share = (occupied - from[EI_OCCUPIED]) / step;
        at.slope = (to[EI_BIAS] - from[EI_BIAS]) / step;
    } else { /* no cell was met twice: nothing speaks for information */
        from = to = moments[NONE];
        at.low = at.high = NONE;
    }
    const double share = at.share < 1.0 ? at.share : 1.0;
    for (size_t i = 0; i < EI_MOMENTS; i++)
        at.moments[i] = from[i] + share * (to[i] - from[i]);
    at.moments[EI_BIAS] = from[EI_BIAS] + at.share * (to[EI_BIAS] - from[EI_BIAS]);
    return at;
}

/* Variance of n log2 n less the bias that the occupied cells speak for. */
static double variance_at(const place *at)
{
    const double *m = at->moments;
    const double v =
        m[EI_VARIANCE] - 2.0 * at->slope * m[EI_COVARIANCE] + at->slope * at->slope * m[EI_SPREAD];
    return v > 0.0 ? v : 0.0;
}

/* Every column has its own bias: a sample of a rare one speaks of noise more than of information.
 * Returns the sum of what they make of it. */
static double biases_of(const ep_columns *columns, const place *at, size_t out_bins, size_t row)
{
    double lost = 0.0;
    for (size_t y = 0; y < row; y++) {
        columns->each[y] = 0.0;
        if (y >= out_bins || columns->sums[y] == 0)
            continue;
        const double *biases = columns->biases + y * EI_CELLS;
        const double bias = biases[at->low] + at->share * (biases[at->high] - biases[at->low]);
        columns->each[y] = bias / (double)columns->sums[y];
        lost += bias * columns->each[y];
    }
    return lost;
}

ep_corrected ep_correct(const ep_occupancy *o, const ep_columns *columns, const ei_information *i,
                        size_t row, size_t out_bins, double *scratch, double *pointwise)
{
    const size_t rows = o->in_bins;
    const double total = (double)i->kept;
    const place at = place_of(columns->columns, (double)i->cells);
    const place x = place_of(columns->inputs, (double)i->inputs);
    ep_corrected out = {0};
    const double *none = columns->columns[NONE];
    const double most = ei_log2((double)ei_least(rows, out_bins));
    double bias = at.moments[EI_BIAS];
    if (bias > none[EI_BIAS] + total) /* a bit less than nothing is what noise of few samples may be */
        bias = none[EI_BIAS] + total;
    out.excess = (bias - x.moments[EI_BIAS]) / total;
    /* Noise of the columns and of the inputs' sums is one where there is no information, and apart
     * where there is nothing else. A bin seen once, or never, may tell anything. */
    double shared = none[EI_VARIANCE] > 0.0 ? at.moments[EI_VARIANCE] / none[EI_VARIANCE] : 1.0;
    shared = shared < 1.0 ? shared : 1.0;
    const double second = variance_at(&at) + variance_at(&x) * (1.0 - 2.0 * shared);
    out.second = (fabs(second) + columns->rare) / (total * total);
    if (out.second > most * most)
        out.second = most * most;
    const double lost = biases_of(columns, &at, out_bins, row);
    out.noise = (at.moments[EI_SQUARE] - lost) / (total * total);
    out.noise = out.noise > 0.0 ? out.noise : 0.0;
    double mean[2];
    ei_remeasure(ei_active(), rows, row, i->kept, scratch, columns->each, pointwise, mean);
    out.mean = mean[0];
    const double first = (mean[1] - mean[0] * mean[0]) / total;
    /* Cells seen once are those that the model of m equal ones may be wrong about, as far as there is
     * information: without any it is no model. */
    if (none[EI_BIAS] > 0.0)
        out.doubt = (double)i->once / total * (1.0 - bias / none[EI_BIAS]);
    out.variance = out.second + out.doubt * out.doubt;
    out.variance += first > out.noise ? first - out.noise : 0.0;
    /* Beyond what there can be by noise alone: then the error reaches back. What is less than nothing
     * is no more than three errors off. */
    const double found = i->information - out.excess;
    const double beyond = found > most ? found - most : found < 0.0 ? found / 3.0 : 0.0;
    if (out.variance < beyond * beyond)
        out.variance = beyond * beyond;
    return out;
}
