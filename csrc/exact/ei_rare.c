/* Rows that are rarely kept, in part: inputs confined.
 *
 * Where samples are dropped, errors count by the share that is kept. Inputs that must lie in a small
 * part of their range for the sample to be kept, wherever the others are, are confined to it. That
 * changes nothing given that the sample is kept, and makes the share greater. It leaves a row like any
 * other, but for the bins of such inputs, which are cut.
 */
#include "exact/ei_exact_internal.h"

#include <string.h>

full_row ex_view_full(ei_exact *x, const double *w, double bias)
{
    full_row row = {0};
    const row_weights weights = ex_row_weights(x, w, bias);
    const int e = row.exponent = weights.exponent;
    const dd range = two_sum(x->hi, -x->lo);
    int f;
    frexp(range.hi, &f);
    row.range = (dd){ldexp(range.hi, -f), ldexp(range.lo, -f)};
    row.widest = full_width(&row, weights.greatest).hi;
    for (size_t i = 0; i < x->n_in; i++)
        row.half = dd_add(row.half, dd_half(full_width(&row, w[i])));
    const dd offset = dd_mul(two_sum(0.5 * x->lo, 0.5 * x->hi), weights.sum);
    for (size_t j = 0; j < x->n_thresholds; j++) {
        const dd d = ex_threshold_distance(x->thresholds[j], bias, offset, e);
        const double hi = ldexp(d.hi, -f);
        x->distance[j] = (dd){hi, fabs(hi) < INFINITY ? ldexp(d.lo, -f) : 0.0};
    }
    const double terms = ldexp(fabs(ldexp(bias, -e)) + fabs(offset.hi), -f);
    row.place = 0x1p-96 * (terms + row.half.hi);
    return row;
}

/* The input's place among the cuts, behind the last of them if it is not cut yet; NULL: no room. */
static struct cut *cut_of(ei_exact *x, size_t n_cuts, size_t input)
{
    size_t c = 0;
    while (c < n_cuts && x->cut[c].input != input)
        c++;
    if (c == MAX_CUTS)
        return NULL;
    if (c == n_cuts)
        x->cut[c] = (struct cut){.input = input, .length = 1.0, .high = 1.0};
    return &x->cut[c];
}

/* What is kept lies between the first and the last threshold, if the outermost intervals are dropped.
 * So a_k v_k lies there too, but for what the others can make up. Widened to a grid on which centres
 * and lengths are exact; the kept samples stay within whatever the rounding. */
void ex_confine(ei_exact *x, const double *w, double bias, cut_row *row)
{
    const size_t m = x->n_thresholds;
    const full_row *full = &row->full;
    *row = (cut_row){.full = ex_view_full(x, w, bias), .share = 1.0};
    dd half = full->half, low = {-half.hi, -half.lo}, high = half;
    if (x->labels[0] < 0 && dd_less(low, x->distance[0]))
        low = x->distance[0];
    if (x->labels[m] < 0 && dd_less(x->distance[m - 1], high))
        high = x->distance[m - 1];
    if (!dd_less(low, high))
        return;
    const dd middle = {0.5, 0.0};
    int changed = 1;
    for (int pass = 0; pass < 8 && changed; pass++) {
        changed = 0;
        for (size_t k = 0; k < x->n_in; k++) {
            if (!(ldexp(fabs(w[k]), -full->exponent) > 1e-12))
                continue;
            struct cut *cut = cut_of(x, row->n, k);
            if (cut == NULL)
                continue;
            const dd a = full_width(full, w[k]);
            const dd others = dd_sub(half, dd_times(a, 0.5 * cut->length));
            const dd shift = dd_sub(row->shift, dd_times(a, cut->centre));
            double from = dd_add(dd_div(dd_sub(dd_sub(low, shift), others), a), middle).hi - 1e-15;
            double to = dd_add(dd_div(dd_add(dd_sub(high, shift), others), a), middle).hi + 1e-15;
            from = from > cut->low ? from : cut->low;
            to = to < cut->high ? to : cut->high;
            if (!(to - from <= 0.5 * cut->length) || !(to - from > NEVER))
                continue;
            int exponent;
            frexp(to - from, &exponent);
            const double grid = ldexp(1.0, exponent - 5), before = cut->length, bins = x->in_bins;
            const dd old = dd_times(a, cut->centre);
            cut->inside = cut->inside || floor(from * bins) + 1.0 >= ceil(to * bins);
            from = floor(from / grid) * grid;
            to = ceil(to / grid) * grid;
            cut->low = from > cut->low ? from : cut->low;
            cut->high = to < cut->high ? to : cut->high;
            cut->length = cut->high - cut->low;
            cut->centre = 0.5 * (cut->low + cut->high) - 0.5;
            row->shift = dd_add(row->shift, dd_sub(dd_times(a, cut->centre), old));
            half = dd_sub(half, dd_times(a, 0.5 * (before - cut->length)));
            row->share *= cut->length / before;
            row->n += cut == &x->cut[row->n];
            changed = 1;
        }
    }
}

/* As view_row, with the cuts. */
void ex_view_cut(ei_exact *x, const double *w, cut_row *row, row_view *v)
{
    memset(v, 0, sizeof *v);
    row->unit = 0.0;
    for (size_t i = 0; i < x->n_in; i++)
        x->a[i] = full_width(&row->full, w[i]).hi;
    for (size_t c = 0; c < row->n; c++)
        x->a[x->cut[c].input] *= x->cut[c].length;
    for (size_t i = 0; i < x->n_in; i++)
        row->unit = x->a[i] > row->unit ? x->a[i] : row->unit;
    ex_view_widths(x, x->a, NULL, row->unit, v);
    v->first = x->n_thresholds;
    for (size_t j = 0; j < x->n_thresholds; j++) {
        const dd d = x->distance[j];
        const double s = fabs(d.hi) < INFINITY ? dd_sub(d, row->shift).hi / row->unit : d.hi;
        if (!ex_view_threshold(x, v, j, s))
            break;
    }
    ex_view_cells(x, v);
}

/* The edge of a confined input: its bins are whole ones between two parts. */
int ex_cut_edge(ei_exact *x, const row_view *v, const cut_row *row, const struct cut *cut,
                double weight, row_state *state, double *information)
{
    const dd a = dd_times(full_width(&row->full, weight), 1.0 / row->unit);
    const double bins = x->in_bins, start = floor(cut->low * bins), stop = ceil(cut->high * bins);
    *information = 0.0;
    if (cut->inside || stop - start < 2.0)
        return EI_OK;
    size_t at = 0;
    while (at < v->n_widths && x->order[at] != cut->input)
        at++;
    if (at == v->n_widths)
        return EI_OK; /* negligible */
    const dd origin = {cut->centre + 0.5, 0.0};
    const dd place[4] = {{cut->low, 0.0},
                         dd_div((dd){start + 1.0, 0.0}, (dd){bins, 0.0}),
                         dd_div((dd){stop - 1.0, 0.0}, (dd){bins, 0.0}),
                         {cut->high, 0.0}};
    double total = 0.0;
    for (int part = 0; part < 3; part++) {
        const size_t count = part == 1 ? (size_t)(stop - start) - 2 : 1;
        const dd length = dd_sub(place[part + 1], place[part]);
        if (count == 0 || !(length.hi > 0.0))
            continue;
        const dd width = dd_times(length, 1.0 / (double)count);
        const double first = dd_mul(a, dd_add(dd_sub(place[part], origin), dd_half(width))).hi;
        double sum = 0.0;
        int status = ex_edge_bins(x, v, at, dd_mul(a, width).hi, first, count, state, &sum);
        if (status != EI_OK)
            return status;
        total += sum * (width.hi / cut->length);
    }
    *information = ex_information_of(x, state, total * bins);
    return EI_OK;
}
