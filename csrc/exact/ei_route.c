/* Which route a row takes: the cheapest whose bound is small enough, or else the best. */
#include "exact/ei_exact_internal.h"

#include <string.h>

/* As BULK: where derivatives come out of the recursion, their rounding counts. */
static const double DOMINATED_BULK = 0.6;

/* Route 3, with the expansion for the narrow inputs and single_edge for the others. */
static int dominated_row(ei_exact *x, const row_view *v, int K, const split *r, row_state *state,
                         double *information, double *marginal)
{
    const width_set set = {x->sorted, x->suffix, v->n_widths, 0, v->n_widths, 0.0};
    sum_plan *plan = &x->row_plan;
    plan->phi = x->phi_row;
    plan->coefficient = x->coefficient;
    plan->scratch = x->scratch;
    if (r != NULL)
        ex_make_plan(x, plan, &set, K, r);
    else
        ex_choose_plan(x, plan, &set, v->evaluated, (double)v->n_s);
    ex_note_error(state, plan->error);
    memcpy(x->point, x->s, v->n_s * sizeof(double));
    ex_distribution(x, plan, x->point, v->n_s, x->value);
    ex_cells_of(x, v, x->value, x->mean);
    ex_settle(x, v, state, marginal);
    if (information == NULL || v->n_labels < 2 || !(state->kept > 0.0))
        return EI_OK;

    double widest = 0.0;
    if (r != NULL && plan->n_waves > 0) {
        const double top = (2.0 * (double)plan->n_waves - 1.0) * plan->half_step;
        double below = DOMINATED_BULK * 2.0 * PI / top;
        if ((size_t)K < v->n_widths && below > x->sorted[K])
            below = x->sorted[K];
        expansion_range range = {.reference = ex_widest_below(x, below)};
        if (range.reference > 0.0) {
            const double unit = range.reference / (2.0 * PI);
            double *moments = range.moments, gain = 1.0;
            for (int d = 1; d <= K; d++)
                gain *= 2.0 * unit / plan->width[d];
            for (size_t q = 0; q < plan->n_waves; q++) {
                const double step = (2.0 * (double)q + 1.0) * plan->half_step * unit;
                double term = fabs(plan->phi[q]) / (PI * ((double)q + 0.5) * (1.0 - step));
                double integrated = term * gain;
                for (int k = 0; k < K; k++)
                    integrated /= step;
                for (int k = 0; k < EI_EXACT_TERMS + 2; k++, term *= step, integrated *= step)
                    moments[k] += k > K && integrated < term ? integrated : term;
            }
            ex_expansion_widest(x, &range);
            widest = range.widest;
            const size_t terms = ex_terms_for(x, &range, ex_widest_below(x, widest));
            memset(x->term, 0, v->n_cells * EI_EXACT_TERMS * sizeof(double));
            double *column = x->p;
            for (size_t b = 0; b < v->n_s; b++) {
                double out[ORDERS];
                ex_derivatives(x, plan, unit, K, (int)terms, x->s[b], out);
                for (size_t k = 1; k <= terms; k++) {
                    memset(column, 0, v->n_cells * sizeof(double));
                    ex_to_cells(x, v, b, out[terms - k], column);
                    for (size_t c = 0; c < v->n_cells; c++)
                        x->term[term_at(c, k)] += column[c];
                }
                if (ei_cancelled(state->cancel))
                    return EI_ECANCELLED;
            }
            int status = ex_expand_edges(x, v, &range, state, information);
            if (status != EI_OK)
                return status;
        }
    }
    for (size_t i = 0; i < v->n_widths; i++) {
        if (!(x->sorted[i] > widest))
            break;
        if (i > 0 && x->sorted[i] == x->sorted[i - 1]) {
            information[x->order[i]] = information[x->order[i - 1]];
            continue;
        }
        double sum;
        int status = ex_single_edge(x, v, i, state, &sum);
        if (status != EI_OK)
            return status;
        information[x->order[i]] = ex_information_of(x, state, sum);
    }
    return EI_OK;
}

/* Number of widths above a limit, of the sorted ones. */
static size_t count_above(const ei_exact *x, size_t n, double limit)
{
    size_t low = 0, high = n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (x->sorted[middle] > limit)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* As (3) of ei_bounds.c for every edge of the row, without sorting: with p = sum min(x_k^2 / 3, 1) over
 * all inputs but the greatest, B is at most exp(-p / 2). How many waves that takes; 0 if not few. */
static size_t comparable_waves(const ei_exact *x, const row_view *v, double h)
{
    const double rest = v->squares - 1.0;
    if (!(rest > 0.0))
        return 0;
    const double least = 0.8 * sqrt(24.0 * ei_log(1.0 / x->tolerance) / rest) / h;
    for (size_t T = least < 8.0 ? 8 : padded((size_t)fmin(least, 1e3)); T <= COMPARABLE; T += 8) {
        const double w = ((double)T + 0.5) * h, scale = w * w / 12.0;
        /* Up to a scale of 1 no x_k is beyond sqrt 3. */
        const double p = scale <= 1.0 ? scale * rest : x->k->envelope(x->a, x->n_in, scale) - 1.0;
        const double left = p > 0.0 ? ei_exp(-0.5 * p) / PI * (1.0 / ((double)T + 0.5) + 1.0 / p) : 1.0;
        if (left <= 0.5 * x->tolerance)
            return T;
    }
    return 0;
}

/* Choose between the routes by their rough costs, in nanoseconds. */
int ex_route(ei_exact *x, const row_view *v, row_state *state, double *information, double *marginal)
{
    const size_t n = v->n_widths;
    int status;
    if (n <= EI_EXACT_FEW)
        ex_nothing(x, information);
    if (n <= EI_EXACT_FEW && ex_subsets_row(x, v, state, information, marginal, &status))
        return status;
    const double half_period = v->reach + v->evaluated, h = 2.0 * PI / half_period;
    const size_t T = comparable_waves(x, v, h);
    status = ex_open_series(x, T > 0 ? COMPARABLE : MAX_WAVES);
    if (status != EI_OK)
        return status;
    if (T > 0)
        return ex_series_row(x, v, T, half_period, state, information, marginal);
    ex_nothing(x, information);
    ex_sort_row(x);
    const width_set all = {x->sorted, x->suffix, n, 0, n, 0.0};
    width_set without = all;
    without.without = 0;
    without.extra = x->sorted[0] / (double)x->in_bins;
    const double pairs = 0.5 * (double)x->in_bins, cells = (double)v->n_cells;
    const double points = (double)x->in_bins * (double)v->n_s;
    double best = INFINITY;
    size_t T0 = ex_waves_needed(&without, h, 0, 0.0, 0.5 * x->tolerance, MAX_WAVES / 8);
    if (T0 > 0 && T0 * v->n_cells <= MAX_TABLE) {
        const double top = (2.0 * (double)T0 - 1.0) * 0.5 * h;
        const double wide = (double)count_above(x, n, BULK * 2.0 * PI / top);
        if (wide * (double)T0 <= MAX_TABLE)
            best = 0.5 * (double)(n * T0) + wide * (pairs * cells * (double)T0 * 0.12 +
                                                    (double)T0 * (double)x->in_bins * 0.6);
        if (T0 <= 64 && best < INFINITY)
            return ex_series_row(x, v, T0, half_period, state, information, marginal);
    }
    int best_k = -1; /* series_row */
    split best_split = {0};
    for (int K = 1; K <= 8 && (size_t)K < n; K++) {
        split r = ex_consider(x, &all, K, ex_smooth_reach(x, &all, (size_t)K), 0.0);
        if (r.error > x->allowed || r.n_waves > MAX_WAVES / 16)
            continue;
        const double T = (double)r.n_waves, top = (2.0 * T - 1.0) * PI / r.half_period;
        double limit = DOMINATED_BULK * 2.0 * PI / top;
        limit = limit < x->sorted[K] ? limit : x->sorted[K];
        const double single = (double)count_above(x, n, limit);
        double cost = (double)n * T * 0.5 + (double)v->n_s * r.leaves * T * (12.0 + K) +
                      single * (points * ex_point_cost(&r) + (double)n * T * 0.6 + 3000.0);
        if (cost < best) {
            best = cost;
            best_k = K;
            best_split = r;
        }
        if (r.n_waves <= 32)
            break;
    }
    if (n <= DOMINANT) {
        /* Every edge by itself: the closed form, if it holds. */
        split r = ex_consider(x, &all, (int)n, 0.0, 0.0);
        const double cost = (double)n * (points * ex_point_cost(&r) + 3000.0);
        if (best == INFINITY || (r.error <= x->allowed && cost < best))
            return dominated_row(x, v, 0, NULL, state, information, marginal);
    }
    if (best_k < 0 && best < INFINITY)
        return ex_series_row(x, v, T0, half_period, state, information, marginal);
    return dominated_row(x, v, best_k < 0 ? 0 : best_k, best_k < 0 ? NULL : &best_split, state,
                         information, marginal);
}
