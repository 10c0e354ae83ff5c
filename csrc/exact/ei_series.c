/* Route 1: the series.
 *
 * With phi the characteristic function, phi(w) = prod sinc(w a_k / 2), and w_q = (q + 1/2) h,
 *     F(s) = 1/2 + sum_q phi(w_q) sin(w_q s) / (pi (q + 1/2)),                                  (2)
 * up to P(|S - s| > L), L = 2 pi / h half a period, where the square wave behind (2) turns over. We
 * take L = max |s| + R with P(|S| > R) below the tolerance: uniforms are strictly sub-Gaussian,
 * P(S > R) <= exp(-R^2 / (2 var S)), and |S| <= sum a_k / 2 (Hoeffding 1963; Arbel, Marchal, Nguyen
 * 2020). Given a bin of x_A, probabilities are at most in_bins times as large. ei_bounds.c has the rest
 * after T terms, (3).
 * All edges of a row share the sines of the thresholds; an edge's own coefficients are products of all
 * factors but one, by prefix and suffix products, or by division where a factor is certainly not small.
 */
#include "exact/ei_exact_internal.h"

#include <string.h>

/* A row by its series: what its edges share. */
typedef struct {
    size_t n_waves, n_all, cells; /* n_all: padded */
    double half_step;
    double top; /* greatest frequency */
    double *sine, *cosine, *u, *v; /* as in ei_exact_series */
    double *s, *c;                 /* waves of one threshold */
    size_t n_wide;                 /* x->direct: inputs by whose factor one cannot divide */
    size_t multiplied;
    double *phi, *edge, *factor;   /* of the row, of an edge, of one input */
    double *prefix;                /* [n_wide][n_waves]; NULL without wide ones */
    expansion_range range;
    size_t terms;                  /* of the expansion */
} series;

/* The cells that threshold b touches: what is left of it counts for one, what is right against it. */
static size_t touched_cells(const ei_exact *x, const row_view *v, size_t b, size_t touched[3],
                            double with[3])
{
    const int32_t left = x->left[b], right = x->right[b];
    size_t n = 0;
    if (left >= 0) {
        touched[n] = (size_t)left;
        with[n++] = 1.0;
    }
    if (right >= 0) {
        touched[n] = (size_t)right;
        with[n++] = -1.0;
    }
    if (v->drops && (left < 0) != (right < 0)) {
        touched[n] = v->n_labels;
        with[n++] = left >= 0 ? 1.0 : -1.0;
    }
    return n;
}

/* Sines of the thresholds as the cells see them, for edges that are done one by one. */
static int series_tables(ei_exact *x, const row_view *v, series *r)
{
    const size_t T = r->n_all, cells = r->cells;
    double *tables = ex_grow(x, 2 * cells * T + 2 * EI_EXACT_PANEL * T + 2 * T);
    if (tables == NULL)
        return EI_ENOMEM;
    double *sine = r->sine = tables, *cosine = r->cosine = sine + cells * T;
    r->u = cosine + cells * T;
    r->v = r->u + EI_EXACT_PANEL * T;
    r->s = r->v + EI_EXACT_PANEL * T;
    r->c = r->s + T;
    memset(tables, 0, 2 * cells * T * sizeof(double));
    memset(x->base, 0, cells * sizeof(double));
    for (size_t b = 0; b < v->n_s; b++) {
        x->point[b] = 0.5;
        x->k->waves(r->half_step * x->s[b], T, r->s, r->c);
        size_t touched[3];
        double with[3];
        const size_t count = touched_cells(x, v, b, touched, with);
        for (size_t i = 0; i < count; i++) {
            const size_t at = touched[i] / 8 * 8 * T + touched[i] % 8;
            for (size_t q = 0; q < T; q++) {
                const double f = with[i] / (PI * ((double)q + 0.5));
                sine[at + q * 8] += f * r->s[q];
                cosine[at + q * 8] += f * r->c[q];
            }
        }
    }
    ex_cells_of(x, v, x->point, x->base);
    return EI_OK;
}

/* All factors: narrow ones at once; `wide` ones, by which one cannot divide, apart. */
static int series_factors(ei_exact *x, const row_view *v, series *r)
{
    const size_t T = r->n_all;
    some_widths narrow = {x->a, x->n_in, 1.0, v->squares};
    if (r->top * 0.5 > SAFE) {
        narrow = (some_widths){.width = x->packed};
        for (size_t i = 0; i < x->n_in; i++) {
            if (x->a[i] * r->top * 0.5 > SAFE)
                x->direct[r->n_wide++] = (uint32_t)i;
            else if (x->a[i] > 0.0)
                x->packed[narrow.n++] = x->a[i];
        }
        double sums[2];
        x->k->sizes(x->packed, narrow.n, sums);
        narrow.greatest = x->k->greatest(x->packed, narrow.n);
        narrow.squares = sums[1];
    }
    double *phi = r->phi = x->phi_row;
    r->edge = x->phi_edge;
    r->factor = x->phi_plan;
    r->multiplied = ex_characteristic(x, &narrow, 0.5 * r->half_step, 2 * r->n_waves - 1, T, phi) + r->n_wide;
    if (r->n_wide == 0)
        return EI_OK;
    /* prefix[k] = phi of the narrow ones times the factors before k; then backwards. */
    if (r->n_wide * T > x->prefix_size) {
        ei_free(x->prefix);
        x->prefix = ei_alloc(r->n_wide * T, sizeof(double));
        x->prefix_size = x->prefix == NULL ? 0 : r->n_wide * T;
        if (x->prefix == NULL)
            return EI_ENOMEM;
    }
    r->prefix = x->prefix;
    for (size_t k = 0; k < r->n_wide; k++) {
        memcpy(r->prefix + k * T, phi, T * sizeof(double));
        x->k->sinc(0.5 * r->half_step * x->a[x->direct[k]], T, r->factor);
        for (size_t q = 0; q < T; q++)
            phi[q] *= r->factor[q];
    }
    return EI_OK;
}

/* Which edges the expansion takes, lengths in units of reference / (2 pi), and how many terms of it. */
static void series_range(ei_exact *x, series *r)
{
    expansion_range *range = &r->range;
    range->reference = ex_widest_below(x, BULK * 2.0 * PI / r->top);
    if (!(range->reference > 0.0))
        return;
    x->k->moments(r->phi, r->n_all, r->half_step * range->reference / (2.0 * PI), EI_EXACT_TERMS + 2,
                  range->moments);
    ex_expansion_widest(x, range);
    r->terms = ex_terms_for(x, range, ex_widest_below(x, range->widest));
}

/* Probability of what is kept by the cut beside; `value`: of the distribution function at those of its
 * thresholds that are within reach. */
static double inside_beside(const ei_exact *x, const row_view *v, const double *value)
{
    double kept = 0.0, before = 0.0;
    for (size_t j = 0; j <= v->n_beside; j++) {
        const double s = j < v->n_beside ? x->at_beside[j] : INFINITY;
        const double now = fabs(s) < v->reach ? *value++ : s > 0.0 ? 1.0 : 0.0;
        if (x->beside->labels[j] >= 0)
            kept += now - before;
        before = now;
    }
    return kept < 0.0 ? 0.0 : kept > 1.0 ? 1.0 : kept;
}

/* The row's distribution function at the thresholds, and its derivatives: x->mean, x->term. */
static int series_derivatives(ei_exact *x, const row_view *v, const series *r)
{
    size_t points = v->n_s;
    memcpy(x->point, x->s, v->n_s * sizeof(double));
    for (size_t j = 0; j < v->n_beside; j++)
        if (fabs(x->at_beside[j]) < v->reach)
            x->point[points++] = x->at_beside[j];
    const size_t n = padded(points), terms = r->terms;
    memset(x->point + points, 0, (n - points) * sizeof(double));
    double *out = ex_grow(x, (terms + 1) * n);
    if (out == NULL)
        return EI_ENOMEM;
    x->k->derivatives(x->point, n, r->half_step, r->range.reference / (2.0 * PI), r->phi, r->n_waves, terms,
                      out);
    for (size_t b = 0; b < points; b++)
        x->value[b] = 0.5 + out[b];
    if (v->n_beside > 0)
        x->inside = inside_beside(x, v, x->value + v->n_s);
    ex_cells_of(x, v, x->value, x->mean);
    for (size_t c = 0; c < r->cells && terms > 0; c += 8)
        memset(x->term + term_at(c, 1), 0, terms * 8 * sizeof(double));
    for (size_t b = 0; b < v->n_s; b++) {
        size_t touched[3];
        double with[3];
        const size_t count = touched_cells(x, v, b, touched, with);
        for (size_t t = 0; t < count; t++)
            for (size_t k = 1; k <= terms; k++)
                x->term[term_at(touched[t], k)] += with[t] * out[k * n + b];
    }
    return EI_OK;
}

/* The wider edges, each with its own coefficients. */
static int series_wide(ei_exact *x, const series *r, row_state *state, double *information,
                       double widest)
{
    const size_t T = r->n_all;
    const ei_exact_series row = {r->cells, x->base, x->sign, T, r->sine, r->cosine, r->half_step,
                                 x->in_bins, r->u, r->v};
    const double per_bin = 0.5 * r->half_step / (double)x->in_bins;
    double *after = x->scratch, *edge = r->edge, *factor = r->factor;
    for (size_t q = 0; q < T; q++)
        after[q] = 1.0; /* product of the wide factors behind */
    for (size_t k = r->n_wide; k-- > 0;) {
        const double a = x->a[x->direct[k]];
        x->k->sinc(per_bin * a, T, edge);
        for (size_t q = 0; q < T; q++)
            edge[q] *= r->prefix[k * T + q] * after[q];
        ex_note_rounding(x, state, edge, T, r->multiplied, EI_EXACT_PANEL);
        information[x->direct[k]] = ex_information_of(x, state, x->k->series(&row, edge, a));
        x->k->sinc(0.5 * r->half_step * a, T, factor);
        for (size_t q = 0; q < T; q++)
            after[q] *= factor[q];
        if (ei_cancelled(state->cancel))
            return EI_ECANCELLED;
    }
    for (size_t i = 0; i < x->n_in; i++) {
        const double a = x->a[i];
        if (!(a > widest) || a * r->top * 0.5 > SAFE)
            continue;
        x->k->sinc(per_bin * a, T, edge);
        x->k->sinc(0.5 * r->half_step * a, T, factor);
        for (size_t q = 0; q < T; q++)
            edge[q] *= q < r->n_waves ? r->phi[q] / factor[q] : 0.0;
        ex_note_rounding(x, state, edge, T, r->multiplied, EI_EXACT_PANEL);
        information[i] = ex_information_of(x, state, x->k->series(&row, edge, a));
        if (ei_cancelled(state->cancel))
            return EI_ECANCELLED;
    }
    return EI_OK;
}

/* Routes 1 and 2 without dominant widths. */
int ex_series_row(ei_exact *x, const row_view *v, size_t n_waves, double half_period,
                  row_state *state, double *information, double *marginal)
{
    series r = {.n_waves = n_waves, .n_all = padded(n_waves), .cells = v->n_cells, .half_step = PI / half_period};
    r.top = (2.0 * (double)n_waves - 1.0) * r.half_step;
    int status = series_factors(x, v, &r);
    if (status != EI_OK)
        return status;
    if (information != NULL && v->n_labels > 1)
        series_range(x, &r);
    status = series_derivatives(x, v, &r);
    if (status != EI_OK)
        return status;
    ex_note_rounding(x, state, r.phi, n_waves, r.multiplied, 0.0);
    ex_settle(x, v, state, marginal);
    if (information == NULL || v->n_labels < 2 || !(state->kept > 0.0)) {
        ex_nothing(x, information);
        return EI_OK;
    }
    if (!(r.range.reference > 0.0))
        ex_nothing(x, information);
    else
        status = ex_expand_edges(x, v, &r.range, state, information);
    if (status != EI_OK || r.range.widest >= 1.0)
        return status;
    status = series_tables(x, v, &r);
    return status == EI_OK ? series_wide(x, &r, state, information, r.range.widest) : status;
}
