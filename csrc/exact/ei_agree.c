/* Rows of 8 to 32 inputs by a series that is cut off early: its errors agree with each other.
 *
 * Averaging a wave over the bins of x_A makes it the row's own wave. So whatever the series (2) leaves out,
 * waves and what lies beyond its period alike, and likewise the expansion (4), makes errors e_ic of an edge's
 * probabilities p_ic and e_c of the row's p_c with e_c = mean_i e_ic. A cell's part of the information is
 * I_c = eta(p_c) - mean_i eta(p_ic), and with R what is left of
 *     eta(p + e) = eta(p) - e (log2 p + 1 / ln 2) + R
 * it becomes
 *     I_c + mean_i [e_ic (log2 p_ic - log2 p_c) - R_ic] + R_c.                                   (9)
 * If all |e| <= d, then the bracket is at most d times
 *     |log2 (p_ic / p_c)| + 1/4             where p_ic >= 8 d: |R| <= d^2 / (2 ln 2 (p - d)),
 *     3 - log2 d - log2 p_c                 where it is less: eta(p_ic) changes by eta(d) + d at most, as no p
 *                                           is below 0 by more than d, and e_ic (log2 p_c + 1 / ln 2) is left.
 * That is little where bins differ little, while errors of single probabilities, as ei_bounds.c takes them,
 * cost their logarithms. (Rounding is counted there.) A cell of p_c < 8 d is left out, which costs what it
 * may tell: 0 <= I_c <= p_c log2(in_bins). The costs are summed up with the information; should they turn
 * out too great, the row is done again without all this.
 *
 * How many waves is not left to the envelope (3), which takes every sine for 1, either: heights are
 * computed as far as (3) wants them, and summed up from behind, edge by edge.
 */
#include "exact/ei_exact_internal.h"

#include <string.h>

enum {
    MOST_INPUTS = 32, /* of more, most edges are narrow, and the series is short anyway */
    MOST_TRIED = 1024 /* waves */
};

static const double ROUNDED = 1e-13; /* cells beside which rounding would be too much */

static const double shares[EX_ATTEMPTS] = {4e-11, 8e-12}; /* bits: d times the cells */

double ex_agreed_tolerance(const ei_exact *x, int attempt)
{
    const size_t cells = x->out_bins < x->n_thresholds + 1 ? x->out_bins : x->n_thresholds + 1;
    return 0.5 * shares[attempt] / (double)cells;
}

int ex_may_agree(const ei_exact *x, int attempt)
{
    return x->n_in > EI_EXACT_FEW && x->n_in <= MOST_INPUTS && !x->drops && !x->one_label &&
           ex_agreed_tolerance(x, attempt) > ROUNDED;
}

int ex_too_costly(const row_state *state)
{
    return state->agreed * state->costs + state->bits + state->missed > PROMISE;
}

void ex_price(ei_exact *x, const row_view *v, row_state *state)
{
    const double d = state->agreed, high = ei_log2((double)x->in_bins), low = 3.0 - ei_log2(d);
    size_t first = v->n_labels, last = 0;
    for (size_t c = 0; c < v->n_labels; c++) {
        const double p = x->mean[c];
        if (p < 8.0 * d) {
            state->bits += ((p > 0.0 ? p : 0.0) + d) * high;
            x->sign[c] = 0.0;
        } else {
            x->log_mean[c] = ei_log2(p);
            x->price[c] = low - x->log_mean[c];
            first = c < first ? c : first;
            last = c + 1;
        }
    }
    if (first < last) {
        memset(x->sign + last, 0, (first + padded(last - first) - last) * sizeof(double));
        state->first = first;
        state->cells = padded(last - first);
    }
    state->entropy = ex_row_entropy(x, v, x->mean);
}

ei_exact_costs ex_costs(const ei_exact *x, const row_state *state)
{
    return (ei_exact_costs){x->log_mean + state->first, x->price + state->first, 8.0 * state->agreed};
}

const ei_exact_nodes *ex_nodes_of(const ei_exact *x, const row_state *state)
{
    return state->agreed > 0.0 ? x->nodes : NULL;
}

double ex_agreed_bits(const row_view *v, const row_state *state)
{
    /* Rounding has to be small beside d, for 1/4 above to cover that too. */
    if (4.0 * (2.0 * state->error.point + state->error.variation) > state->agreed)
        return INFINITY;
    return state->agreed * (state->costs + 0.5 * (double)v->n_labels);
}

int ex_agreed_row(ei_exact *x, const row_view *v, row_state *state, double *information,
                  double *marginal, int *status)
{
    const double half_period = v->reach + v->evaluated;
    *status = EI_OK;
    if (v->n_widths <= EI_EXACT_FEW || v->n_labels < 2)
        return 0;
    ex_sort_row(x);
    width_set without = {x->sorted, x->suffix, v->n_widths, 0, 0, x->sorted[0] / (double)x->in_bins};
    const size_t T = ex_waves_needed(&without, 2.0 * PI / half_period, 0, 0.0, 0.1 * x->tolerance, MOST_TRIED);
    if (T == 0 || T * v->n_cells > MAX_TABLE)
        return 0;
    *status = ex_open_series(x, T);
    if (*status == EI_OK)
        *status = ex_series_row(x, v, T, half_period, state, information, marginal);
    return 1;
}
