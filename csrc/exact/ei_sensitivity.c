/* A row whose inputs are perturbed one at a time: thresholds divide the input's range, so that nothing
 * is left to sum up but the parts of its bins. */
#include "exact/ei_exact_internal.h"

#include <string.h>

/* In the range's widths: where the baseline is further off, double-double cannot take an input from it
 * to its range and leave the range its own precision. */
#define FAR 0x1p40

/* Where z is at the input's end with the least z, and how thresholds divide the input's bins, for one
 * edge and any labels. y[j]: threshold j in bins from that end, ascending, in [0, in_bins]. */
static double step_edge(ei_exact *x, const double *y, double *kept_out)
{
    const size_t n = x->n_thresholds;
    double *total = x->p, *part = x->mean; /* of every label; in the bin at hand */
    int32_t *touched = x->label_of;
    memset(total, 0, x->out_bins * sizeof(double));
    memset(part, 0, x->out_bins * sizeof(double));
    double inside = 0.0, kept = 0.0, at = 0.0;
    size_t n_touched = 0;
    for (size_t j = 0; j <= n; j++) {
        const double end = j < n ? y[j] : (double)x->in_bins;
        const int32_t label = x->labels[j];
        while (at < end) {
            double edge = floor(at) + 1.0, stop = end < edge ? end : edge;
            if (stop == edge && at == floor(at)) {
                /* Whole bins at once. */
                stop = floor(end);
            } else if (label >= 0) {
                if (part[label] == 0.0)
                    touched[n_touched++] = label;
                part[label] += stop - at;
            }
            if (label >= 0) {
                total[label] += stop - at;
                kept += stop - at;
            }
            at = stop;
            if (at == edge || stop != end) {
                double sum = 0.0;
                for (size_t i = 0; i < n_touched; i++) {
                    inside -= eta(part[touched[i]]);
                    sum += part[touched[i]];
                    part[touched[i]] = 0.0;
                }
                inside += eta(sum);
                n_touched = 0;
            }
        }
    }
    const double scale = 1.0 / (double)x->in_bins;
    *kept_out = kept * scale;
    if (!(kept > 0.0))
        return 0.0;
    double outside = eta(kept * scale);
    for (uint32_t i = 0; i < x->out_bins; i++)
        outside -= eta(total[i] * scale);
    return (inside * scale - outside) / (kept * scale);
}

/* Leave to a row's steps the thresholds within `reach`, which none of its inputs gets beyond: the others
 * divide nobody's range. */
static void narrow_steps(ei_exact *x, double reach, ei_exact_steps *row)
{
    size_t first = 0, last = row->n_thresholds;
    while (first < last && x->t_hi[first] < -reach)
        first++;
    while (first < last && x->t_hi[last - 1] > reach)
        last--;
    const int32_t before = (int32_t)first, n = (int32_t)(last - first);
    if (x->kept_from - before >= n || x->kept_to < before)
        return; /* nothing that is kept is near */
    size_t pieces = 0;
    for (size_t j = 0; j < x->n_pieces; j++) {
        const int32_t from = x->from[j] - before, to = x->to[j] - before;
        if (from >= n || to < 0)
            continue;
        x->near_from[pieces] = from < 0 ? -1 : from;
        x->near_to[pieces] = to < n ? to : n;
        x->near_sign[pieces++] = x->piece_sign[j];
    }
    row->n_thresholds = (size_t)n;
    row->t_hi += first;
    row->t_lo += first;
    row->n_pieces = pieces;
    row->from = x->near_from;
    row->to = x->near_to;
    row->sign = x->near_sign;
    row->kept_from = x->kept_from < before ? -1 : x->kept_from - before;
    row->kept_to = x->kept_to - before < n ? x->kept_to - before : n;
}

static double steps_bound(const ei_exact *x, double kept)
{
    const row_error e = {2.0 * EPS, 0.0};
    return x->one_label ? 0.0 : ex_bits_bound(x, x->n_pieces, NULL, x->drops ? 2 : 0, e, kept);
}

/* A row, and what its edges share: z without the input at hand is bias plus offset, and the input's ends
 * are lo and hi, all in double-double and scaled by 2^-e. */
typedef struct {
    const double *weight;
    double bias, greatest;
    int e;
    dd offset, lo, hi;
} held_row;

/* Thresholds less what all edges share. */
static void held_thresholds(ei_exact *x, const held_row *r)
{
    for (size_t j = 0; j < x->n_thresholds; j++) {
        const dd d = ex_threshold_distance(x->thresholds[j], r->bias, r->offset, r->e);
        const int far = !(fabs(d.hi) < 1e290);
        x->t_hi[j] = far ? (d.hi > 0.0 ? 1e290 : -1e290) : d.hi;
        x->t_lo[j] = far ? 0.0 : d.lo;
    }
}

/* A row's steps, of the thresholds that its inputs reach. */
static ei_exact_steps held_steps(ei_exact *x, const held_row *r)
{
    ei_exact_steps row = {x->n_thresholds, x->t_hi, x->t_lo, x->n_pieces, x->from, x->to,
                          x->piece_sign, x->kept_from, x->kept_to, r->lo.hi, r->lo.lo, r->hi.hi,
                          r->hi.lo, x->hi - x->lo, (double)x->in_bins, x->y};
    if (x->simple)
        narrow_steps(x, 1.0001 * ldexp(r->greatest, -r->e) * fmax(fabs(r->lo.hi), fabs(r->hi.hi)),
                     &row);
    return row;
}

/* Of the edges from `first` to before `stop`; the least probability to be kept goes on to fall, and what
 * they drop to rise. */
static int held_edges(ei_exact *x, const held_row *r, size_t first, size_t stop, double *information,
                      double *dropped, double *least_kept, ei_cancel cancel)
{
    const size_t m = x->n_thresholds;
    const double most = ei_log2((double)(x->in_bins < x->out_bins ? x->in_bins : x->out_bins));
    held_thresholds(x, r);
    const ei_exact_steps row = held_steps(x, r);
    if (x->simple && row.n_thresholds == 0) { /* all stay where they are, in one interval that is kept */
        memset(information + first, 0, (stop - first) * sizeof(double));
        return ei_cancelled(cancel) ? EI_ECANCELLED : EI_OK;
    }
    const double scale = r->e > -1000 && r->e < 1000 ? ldexp(1.0, -r->e) : 0.0;
    const size_t often = 1 + 100000 / (m + 1);
    for (size_t i = first; i < stop; i += EI_EXACT_LANES) {
        double w[EI_EXACT_LANES] = {0.0}, value[EI_EXACT_LANES], mass[EI_EXACT_LANES];
        const size_t count = stop - i < EI_EXACT_LANES ? stop - i : EI_EXACT_LANES;
        for (size_t l = 0; l < count; l++)
            w[l] = scale > 0.0 ? r->weight[i + l] * scale : ldexp(r->weight[i + l], -r->e);
        if (x->simple) {
            x->k->steps(&row, w, value, mass);
        } else {
            for (size_t l = 0; l < count; l++) {
                const dd end = w[l] > 0.0 ? r->lo : r->hi;
                const dd start = dd_mul((dd){w[l], 0.0}, end);
                const double span = fabs(w[l]) * row.range;
                for (size_t j = 0; j < m; j++) {
                    double at = dd_sub((dd){x->t_hi[j], x->t_lo[j]}, start).hi / span * row.n_bins;
                    x->y[j] = !(at > 0.0) ? 0.0 : at < row.n_bins ? at : row.n_bins;
                }
                value[l] = step_edge(x, x->y, &mass[l]);
            }
        }
        for (size_t l = 0; l < count; l++) {
            double v = value[l];
            if (w[l] == 0.0 || !(v > 0.0) || mass[l] < NEVER)
                v = 0.0;
            information[i + l] = v > most ? most : v;
            if (w[l] == 0.0) {
                size_t j = 0;
                while (j < m && !(x->t_hi[j] > 0.0))
                    j++;
                mass[l] = x->labels[j] < 0 ? 0.0 : 1.0;
            }
            *dropped += 1.0 - mass[l];
            if (mass[l] >= NEVER && mass[l] < *least_kept)
                *least_kept = mass[l];
        }
        if ((i / EI_EXACT_LANES) % often == 0 && ei_cancelled(cancel))
            return EI_ECANCELLED;
    }
    return EI_OK;
}

/* All inputs at the baseline once; each then moves from there. */
static held_row at_baseline(const ei_exact *x, const row_weights *w)
{
    return (held_row){w->weight, w->bias, w->greatest, w->exponent,
                      dd_mul((dd){x->baseline, 0.0}, w->sum), two_sum(x->lo, -x->baseline),
                      two_sum(x->hi, -x->baseline)};
}

double ex_still_bound(const ei_exact *x) { return steps_bound(x, 1.0); }

static int is_near(const ei_exact *x) { return fabs(x->baseline) <= FAR * (x->hi - x->lo); }

/* Whether it is clear at a glance that no threshold is within reach, and that the output is kept: with
 * distances in double, and more room than their rounding takes. */
static int is_far(const ei_exact *x, const row_weights *w)
{
    const double sum = ldexp(w->sum.hi, w->exponent), offset = x->baseline * sum;
    const double most = fmax(fabs(x->lo - x->baseline), fabs(x->hi - x->baseline));
    const double at = w->bias + offset, reach = 1.001 * w->greatest * most;
    const double about = 1e-12 * (fabs(w->bias) + fabs(offset));
    size_t before = 0;
    for (size_t j = 0; j < x->n_thresholds; j++) {
        const double t = x->thresholds[j], d = t - at;
        if (!(fabs(d) > reach + about + 1e-12 * fabs(t)))
            return 0;
        before += d < 0.0;
    }
    return x->labels[before] >= 0;
}

int ex_row_stands_still(ei_exact *x, const row_weights *weights, double *bound)
{
    if (!x->simple || !is_near(x))
        return 0;
    if (is_far(x, weights)) {
        *bound = x->still;
        return 1;
    }
    const held_row r = at_baseline(x, weights);
    held_thresholds(x, &r);
    *bound = x->still;
    return held_steps(x, &r).n_thresholds == 0;
}

/* dropped: sum over the edges of the probability that the output is. */
int ex_row_sensitivity(ei_exact *x, row_weights *weights, double *information,
                       double *dropped, double *bound, ei_cancel cancel)
{
    const size_t n = x->n_in;
    const dd baseline = {x->baseline, 0.0};
    const double *weight = ex_weights(weights, n);
    const int e = weights->exponent;
    double least_kept = 1.0;
    held_row r = {weight, weights->bias, weights->greatest, e, {0.0, 0.0}, {x->lo, 0.0}, {x->hi, 0.0}};
    int status = EI_OK;
    *dropped = 0.0;
    if (is_near(x)) {
        r = at_baseline(x, weights);
        status = held_edges(x, &r, 0, n, information, dropped, &least_kept, cancel);
    } else {
        /* From there nothing would be left of an input's own range: every edge by itself. */
        dd before = {0.0, 0.0};
        for (size_t i = 0; i < n && status == EI_OK; i++) {
            const dd others = dd_add(before, ex_sum_weights(x->k, weight + i + 1, n - i - 1, e));
            r.offset = dd_mul(baseline, others);
            status = held_edges(x, &r, i, i + 1, information, dropped, &least_kept, cancel);
            before = dd_add(before, ex_sum_weights(x->k, weight + i, 1, e));
        }
    }
    if (status != EI_OK)
        return status;
    *bound = steps_bound(x, least_kept);
    return EI_OK;
}
