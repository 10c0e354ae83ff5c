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
    size_t n_waves, cells;
    double half_step;
    double top;                    /* greatest frequency */
    size_t stride, points;         /* of the thresholds' waves: a row of them, how many are computed */
    double *sine, *cosine;         /* of the thresholds, over pi (q + 1/2): [n_waves][stride] */
    double *cell_sine, *cell_cosine, *u, *v, *f; /* as in ei_exact_series */
    size_t n_wide;                 /* x->direct: inputs by whose factor one cannot divide */
    double safe;                   /* greatest width of the others */
    size_t multiplied;
    double *phi;                   /* of the row */
    double *rest;                  /* [n_wide][room]: of the row without one of the wide inputs */
    size_t room;
    expansion_range range;
    size_t terms;                  /* of the expansion */
} series;

enum { KEPT = 1 << 14 }; /* numbers of a row */

enum { TURNS = 8, EDGE_TURNS = 3 * EI_EXACT_PANEL }; /* of the recurrences for sines, at most */

/* All factors: narrow ones at once; `wide` ones, by which one cannot divide, apart. */
static int series_factors(ei_exact *x, const row_view *v, series *r)
{
    const size_t T = r->n_waves;
    some_widths narrow = {x->a, x->n_in, 1.0, v->squares};
    r->safe = 2.0 * SAFE / r->top;
    if (r->safe < 1.0) {
        narrow = (some_widths){.width = x->packed};
        for (size_t i = 0; i < x->n_in; i++) {
            if (x->a[i] > r->safe)
                x->direct[r->n_wide++] = (uint32_t)i;
            else if (x->a[i] > 0.0)
                x->packed[narrow.n++] = x->a[i];
        }
        double sums[2];
        x->k->sizes(x->packed, narrow.n, sums);
        narrow.greatest = x->k->greatest(x->packed, narrow.n);
        narrow.squares = sums[1];
    }
    double *phi = r->phi = x->phi_row, *factor = x->phi_plan, *after = x->scratch;
    r->room = T;
    r->multiplied = ex_characteristic(x, &narrow, 0.5 * r->half_step, T, phi) + r->n_wide;
    if (r->n_wide == 0)
        return EI_OK;
    /* The narrow ones times the factors before k, then those behind it. */
    const size_t numbers = r->n_wide * T;
    const int keep = numbers <= KEPT; /* the factors, or else they are made again */
    double *rest = r->rest = ex_grow(&x->rest, (keep ? 2 : 1) * numbers);
    if (rest == NULL)
        return EI_ENOMEM;
    for (size_t k = 0; k < r->n_wide; k++) {
        memcpy(rest + k * T, phi, T * sizeof(double));
        factor = keep ? rest + numbers + k * T : factor;
        x->k->sinc(0.5 * r->half_step * x->a[x->direct[k]], T, factor);
        for (size_t q = 0; q < T; q++)
            phi[q] *= factor[q];
    }
    for (size_t q = 0; q < T; q++)
        after[q] = 1.0;
    for (size_t k = r->n_wide; k-- > 0;) {
        for (size_t q = 0; q < T; q++)
            rest[k * T + q] *= after[q];
        factor = keep ? rest + numbers + k * T : factor;
        if (!keep)
            x->k->sinc(0.5 * r->half_step * x->a[x->direct[k]], T, factor);
        for (size_t q = 0; q < T; q++)
            after[q] *= factor[q];
    }
    return EI_OK;
}

/* Sum of the sizes of eight numbers. */
static double sizes_of(const double *x)
{
    return ((fabs(x[0]) + fabs(x[4])) + (fabs(x[2]) + fabs(x[6]))) +
           ((fabs(x[1]) + fabs(x[5])) + (fabs(x[3]) + fabs(x[7])));
}

/* Fewest waves such that what is left out of those computed is within the limit, for every edge. */
static size_t fewest_waves(const ei_exact *x, const series *r, double limit)
{
    /* Where one can divide by it, a factor is at least 0.23. */
    double *left = x->list, narrow = 0.0;
    for (size_t k = 0; k < r->n_wide; k++)
        left[k] = 0.0;
    size_t T = r->n_waves;
    for (; T > 8; T -= 8) {
        const double weight = 1.0 / (PI * ((double)T - 7.5));
        narrow += sizes_of(r->phi + T - 8) * weight / 0.23;
        double most = narrow;
        for (size_t k = 0; k < r->n_wide; k++) {
            left[k] += sizes_of(r->rest + k * r->room + T - 8) * weight;
            most = left[k] > most ? left[k] : most;
        }
        if (most > limit)
            break;
    }
    return T;
}

/* Which edges the expansion takes, lengths in units of reference / (2 pi), and how many terms of it. */
static void series_range(ei_exact *x, series *r)
{
    expansion_range *range = &r->range;
    range->reference = ex_widest_below(x, BULK * 2.0 * PI / r->top);
    if (!(range->reference > 0.0))
        return;
    x->k->moments(r->phi, r->n_waves, r->half_step * range->reference / (2.0 * PI), EI_EXACT_TERMS + 2,
                  range->moments);
    ex_expansion_widest(x, range);
    r->terms = ex_terms_for(x, range, ex_widest_below(x, range->widest));
}

/* Waves of the thresholds, between columns of zeros, and of those beside. */
static int series_waves(ei_exact *x, const row_view *v, series *r)
{
    const size_t T = r->n_waves, own = padded(v->n_s + 1);
    size_t points = v->n_s;
    memcpy(x->point, x->s, v->n_s * sizeof(double));
    for (; points < own; points++)
        x->point[points] = 0.0;
    for (size_t j = 0; j < v->n_beside; j++)
        if (fabs(x->at_beside[j]) < v->reach)
            x->point[points++] = x->at_beside[j];
    r->points = padded(points);
    for (; points < r->points; points++)
        x->point[points] = 0.0;
    r->stride = r->points + 8;
    const size_t waves = r->stride * T;
    double *memory = ex_grow(&x->waves, 2 * waves + 8 + (r->terms + 1) * r->points + 2 * r->cells * T +
                                            (2 * EI_EXACT_PANEL + 1) * T);
    if (memory == NULL)
        return EI_ENOMEM;
    r->sine = memory + 8;
    r->cosine = r->sine + waves;
    r->f = r->sine + 2 * waves;
    r->u = r->f + T;
    r->v = r->u + EI_EXACT_PANEL * T;
    r->cell_sine = r->v + EI_EXACT_PANEL * T;
    r->cell_cosine = r->cell_sine + r->cells * T;
    x->k->tables(x->point, r->points, r->half_step, T, r->stride, r->sine, r->cosine);
    memset(memory, 0, 8 * sizeof(double));
    for (size_t q = 0; q < 2 * T; q++) {
        double *row = r->sine + q * r->stride;
        memset(row + v->n_s, 0, (own - v->n_s) * sizeof(double));
        memset(row + r->points, 0, 8 * sizeof(double));
    }
    return EI_OK;
}

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

/* Whether cell c is what lies between thresholds c - 1 and c. */
static int cells_in_order(const ei_exact *x, const row_view *v)
{
    for (size_t b = 0; b < v->n_s; b++)
        if (x->left[b] != (int32_t)b || x->right[b] != (int32_t)b + 1)
            return 0;
    return 1;
}

/* Waves of the thresholds as the cells see them, for edges that are done one by one. */
static void series_cells(ei_exact *x, const row_view *v, const row_state *state, const series *r)
{
    const size_t T = r->n_waves, cells = state->cells, first = state->first;
    for (size_t b = 0; b < v->n_s; b++)
        x->point[b] = 0.5;
    ex_cells_of(x, v, x->point, x->base);
    if (cells_in_order(x, v)) {
        x->k->between(r->sine + first, r->stride, T, cells, r->cell_sine);
        x->k->between(r->cosine + first, r->stride, T, cells, r->cell_cosine);
        return;
    }
    memset(r->cell_sine, 0, cells * T * sizeof(double));
    memset(r->cell_cosine, 0, cells * T * sizeof(double));
    for (size_t b = 0; b < v->n_s; b++) {
        size_t touched[3];
        double with[3];
        const size_t count = touched_cells(x, v, b, touched, with);
        for (size_t i = 0; i < count; i++) {
            const size_t c = touched[i] - first;
            if (touched[i] < first || c >= cells)
                continue;
            const size_t at = c / 8 * 8 * T + c % 8;
            for (size_t q = 0; q < T; q++) {
                r->cell_sine[at + q * 8] += with[i] * r->sine[q * r->stride + b];
                r->cell_cosine[at + q * 8] += with[i] * r->cosine[q * r->stride + b];
            }
        }
    }
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

/* The row's distribution function at the thresholds, x->mean, and its derivatives. */
static const double *series_derivatives(ei_exact *x, const row_view *v, const series *r)
{
    double *out = r->cell_cosine + r->cells * r->n_waves;
    x->k->derivatives(r->sine, r->cosine, r->stride, r->points, r->half_step * r->range.reference / (2.0 * PI),
                      r->phi, r->n_waves, r->terms, out);
    for (size_t b = 0; b < r->points; b++)
        x->value[b] = 0.5 + out[b];
    if (v->n_beside > 0)
        x->inside = inside_beside(x, v, x->value + padded(v->n_s + 1));
    ex_cells_of(x, v, x->value, x->mean);
    return out;
}

/* x->term of the cells that are asked for. */
static void series_terms(ei_exact *x, const row_view *v, const row_state *state, const series *r,
                         const double *derivative)
{
    const size_t terms = r->terms;
    for (size_t c = 0; c < state->cells && terms > 0; c += 8)
        memset(x->term + term_at(c, 1), 0, terms * 8 * sizeof(double));
    for (size_t b = 0; b < v->n_s && terms > 0; b++) {
        size_t touched[3];
        double with[3];
        const size_t count = touched_cells(x, v, b, touched, with);
        for (size_t t = 0; t < count; t++) {
            const size_t c = touched[t] - state->first;
            if (touched[t] < state->first || c >= state->cells)
                continue;
            for (size_t k = 1; k <= terms; k++)
                x->term[term_at(c, k)] += with[t] * derivative[k * r->points + b];
        }
    }
}

/* The rounding of the row's own numbers. */
static void note_row(const ei_exact *x, const series *r, row_state *state)
{
    ei_exact_edge edge = {0};
    for (size_t q = 0; q < r->n_waves; q += 8) {
        const double sizes = sizes_of(r->phi + q);
        edge.heights += sizes;
        edge.weighted += sizes / (PI * ((double)q + 0.5));
    }
    ex_note_rounding(x, state, &edge, r->multiplied, TURNS);
}

/* The wider edges, each with its own coefficients. */
static int series_wide(ei_exact *x, const series *r, row_state *state, double *information,
                       double widest)
{
    const size_t T = r->n_waves;
    const ei_exact_series row = {state->cells, x->base + state->first, x->sign + state->first, T,
                                 r->cell_sine, r->cell_cosine, r->half_step, x->in_bins, r->u, r->v, r->f, ex_costs(x, state), ex_nodes_of(x, state)};
    double *rest = x->phi_edge, *factor = x->phi_plan;
    for (size_t i = 0, k = 0; i < x->n_in; i++) {
        const double a = x->a[i];
        const int wide = k < r->n_wide && x->direct[k] == i;
        const double *others = wide ? r->rest + k++ * r->room : rest;
        if (!(a > widest))
            continue;
        if (!wide) {
            x->k->sinc(0.5 * r->half_step * a, T, factor);
            for (size_t q = 0; q < T; q++)
                rest[q] = r->phi[q] / factor[q];
        }
        const ei_exact_edge edge = x->k->series(&row, others, a);
        ex_note_rounding(x, state, &edge, r->multiplied, EDGE_TURNS);
        information[i] = ex_edge_information(x, state, &edge);
        if (ei_cancelled(state->cancel))
            return EI_ECANCELLED;
        if (ex_too_costly(state))
            break;
    }
    return EI_OK;
}

/* Routes 1 and 2 without dominant widths. */
int ex_series_row(ei_exact *x, const row_view *v, size_t n_waves, double half_period,
                  row_state *state, double *information, double *marginal)
{
    series r = {.n_waves = n_waves, .cells = v->n_cells, .half_step = PI / half_period};
    r.top = (2.0 * (double)n_waves - 1.0) * r.half_step;
    x->total = NAN;
    int status = series_factors(x, v, &r);
    if (status != EI_OK)
        return status;
    if (state->agreed > 0.0) {
        r.n_waves = fewest_waves(x, &r, 0.4 * x->tolerance);
        r.top = (2.0 * (double)r.n_waves - 1.0) * r.half_step;
    }
    if (information != NULL && v->n_labels > 1)
        series_range(x, &r);
    status = series_waves(x, v, &r);
    if (status != EI_OK)
        return status;
    const double *derivative = series_derivatives(x, v, &r);
    note_row(x, &r, state);
    ex_settle(x, v, state, marginal);
    if (information == NULL || v->n_labels < 2 || !(state->kept > 0.0)) {
        ex_nothing(x, information);
        return EI_OK;
    }
    if (state->agreed > 0.0)
        ex_price(x, v, state);
    series_terms(x, v, state, &r, derivative);
    if (!(r.range.reference > 0.0))
        ex_nothing(x, information);
    else
        status = ex_expand_edges(x, v, &r.range, state, information);
    if (status != EI_OK || r.range.widest >= 1.0)
        return status;
    series_cells(x, v, state, &r);
    return series_wide(x, &r, state, information, r.range.widest);
}
