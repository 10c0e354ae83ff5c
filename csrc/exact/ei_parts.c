/* A row with every input perturbed: the usual routes, and what is tried where the row is rarely kept and
 * its bound too great for that: inputs confined (ei_rare.c), a smaller tolerance, double-double
 * (ei_few_row.c). */
#include "exact/ei_exact_internal.h"

#include <string.h>

/* A row by the usual routes; `row` is NULL without cuts. */
static int attempt(ei_exact *x, row_weights *weights, cut_row *row, row_view *v,
                   row_state *state, double *information, double *marginal, double *bound)
{
    *state = (row_state){.cancel = state->cancel, .share = row == NULL ? 1.0 : row->share};
    if (marginal != NULL)
        memset(marginal, 0, x->out_bins * sizeof(double));
    *bound = 0.0;
    x->total = NAN;
    if (row == NULL)
        ex_view_row(x, weights, v);
    else
        ex_view_cut(x, ex_weights(weights, x->n_in), row, v);
    if (v->n_s == 0) {
        /* One interval holds everything. */
        ex_nothing(x, information);
        if (marginal != NULL && v->n_labels > 0)
            marginal[x->label_of[0]] = state->share;
        *bound = v->n_widths ? ex_bits_bound(x, 2, NULL, 0, (row_error){x->tolerance, 0.0}, 1.0) : 0.0;
        return EI_OK;
    }
    int status = ex_route(x, v, state, information, marginal);
    if (status == EI_OK && row != NULL && information != NULL && v->n_labels > 1 &&
        state->kept > 0.0) {
        status = ex_open_series(x, MAX_WAVES);
        ex_sort_row(x);
        for (size_t c = 0; c < row->n && status == EI_OK; c++) {
            const struct cut *cut = &x->cut[c];
            status = ex_cut_edge(x, v, row, cut, ex_weights(weights, x->n_in)[cut->input], state, &information[cut->input]);
        }
    }
    *bound = ex_state_bound(x, v, state);
    return status;
}

/* A row whose errors agree, if that is exact enough. */
static int agreed(ei_exact *x, const row_weights *weights, row_view *v, row_state *state,
                  double *information, double *marginal, double *bound, int attempt, int *status)
{
    const double tolerance = x->tolerance, tail = x->tail;
    ex_set_tolerance(x, ex_agreed_tolerance(x, attempt));
    *state = (row_state){.cancel = state->cancel, .share = 1.0, .agreed = 2.0 * x->tolerance};
    if (marginal != NULL)
        memset(marginal, 0, x->out_bins * sizeof(double));
    ex_view_row(x, weights, v);
    int done = v->n_s > 0 && ex_agreed_row(x, v, state, information, marginal, status);
    if (done && *status == EI_OK) {
        *bound = ex_state_bound(x, v, state);
        done = *bound <= PROMISE;
    }
    ex_set_tolerance(x, tolerance);
    x->tail = tail;
    if (!done)
        x->inside = NAN;
    return done;
}

/* Whether a row should be done again: few samples are kept, and errors count by their share. */
static int is_rare(const row_view *v, const row_state *state, double bound)
{
    const double error = (double)v->turns * state->error.point + state->error.variation;
    return v->turns > 0 && (state->mass + error) * state->share > NEVER &&
           (bound > TARGET || state->kept == 0.0);
}

/* information and marginal may be NULL. */
int ex_row_parts(ei_exact *x, row_weights *weights, double *information,
                 double *marginal, double *bound, ei_cancel cancel)
{
    row_view v;
    row_state state = {.cancel = cancel};
    x->total = NAN;
    if (ei_cancelled(cancel))
        return EI_ECANCELLED;
    int status = EI_OK;
    for (int i = 0; i < EX_ATTEMPTS && information != NULL; i++)
        if (ex_may_agree(x, i) &&
            agreed(x, weights, &v, &state, information, marginal, bound, i, &status))
            return status;
    status = attempt(x, weights, NULL, &v, &state, information, marginal, bound);
    if (status != EI_OK || !is_rare(&v, &state, *bound))
        return status;
    cut_row cuts, *row = &cuts;
    ex_confine(x, ex_weights(weights, x->n_in), weights->bias, row);
    if (row->n > 0) {
        status = attempt(x, weights, row, &v, &state, information, marginal, bound);
        if (status != EI_OK)
            return status;
    } else {
        row = NULL;
    }
    if (is_rare(&v, &state, *bound)) {
        const double tolerance = x->tolerance, tail = x->tail, allowed = x->allowed;
        double kept = state.mass < 1.0 ? state.mass : 1.0;
        kept = kept > NEVER ? kept : NEVER;
        ex_set_tolerance(x, fmax(tolerance * kept * 0.125, 1e-17));
        x->allowed = allowed * kept * 0.125;
        status = attempt(x, weights, row, &v, &state, information, marginal, bound);
        x->tolerance = tolerance;
        x->tail = tail;
        x->allowed = allowed;
    }
    if (status == EI_OK && is_rare(&v, &state, *bound)) {
        if (state.kept == 0.0)
            *bound = INFINITY; /* it is not clear whether the output is ever kept */
        status = ex_few_row(x, ex_weights(weights, x->n_in), weights->bias, cancel, information, marginal, bound);
        if (*bound == INFINITY)
            *bound = 0.0;
    }
    return status;
}
