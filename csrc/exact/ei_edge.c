/* An edge on its own: (1) of ei_exact.c, with a distribution function made for it. */
#include "exact/ei_exact_internal.h"

#include <string.h>

/* Downwards; ties in the order of the inputs. `key` and `order` have room for twice as many. */
static void sort_widths(double *restrict key, uint32_t *restrict order, size_t n)
{
    enum { RUN = 8 };
    for (size_t start = 0; start < n; start += RUN) {
        const size_t stop = n - start < RUN ? n : start + RUN;
        for (size_t i = start + 1; i < stop; i++) {
            const double k = key[i];
            const uint32_t o = order[i];
            size_t j = i;
            for (; j > start && key[j - 1] < k; j--) {
                key[j] = key[j - 1];
                order[j] = order[j - 1];
            }
            key[j] = k;
            order[j] = o;
        }
    }
    size_t from = 0, to = n; /* runs are merged from one half to the other */
    for (size_t run = RUN; run < n; run *= 2) {
        for (size_t start = 0; start < n; start += 2 * run) {
            const size_t middle = n - start < run ? n : start + run;
            const size_t stop = n - start < 2 * run ? n : start + 2 * run;
            size_t i = from + start, j = from + middle, at = to + start;
            while (i < from + middle && j < from + stop) {
                /* Which of them is not to be foreseen: no branch. */
                const size_t second = 0 - (size_t)(key[j] > key[i]), next = i ^ ((i ^ j) & second);
                key[at] = key[next];
                order[at++] = order[next];
                j -= second;
                i += 1 + second;
            }
            for (; i < from + middle; i++, at++) {
                key[at] = key[i];
                order[at] = order[i];
            }
            for (; j < from + stop; j++, at++) {
                key[at] = key[j];
                order[at] = order[j];
            }
        }
        const size_t other = from;
        from = to;
        to = other;
    }
    if (from > 0) {
        memcpy(key, key + n, n * sizeof *key);
        memcpy(order, order + n, n * sizeof *order);
    }
}

void ex_sort_row(ei_exact *x)
{
    size_t n = 0;
    for (size_t i = 0; i < x->n_in; i++) {
        if (x->a[i] > 0.0) {
            x->sorted[n] = x->a[i];
            x->order[n++] = (uint32_t)i;
        }
    }
    sort_widths(x->sorted, x->order, n);
    x->suffix[n] = 0.0;
    for (size_t i = n; i-- > 0;)
        x->suffix[i] = x->suffix[i + 1] + x->sorted[i] * x->sorted[i];
}

/* A run of equal bins of one input, of widths `width`, the first about `first`, in units of the row's
 * greatest width: F_A of (1) at every bin's centre and threshold. Adds up what the bins have. */
int ex_edge_bins(ei_exact *x, const row_view *v, size_t at, double width, double first, size_t bins,
                 row_state *state, double *sum)
{
    /* Widths without A, and A's bin put in its place. */
    size_t n = 0;
    int placed = 0;
    for (size_t i = 0; i < v->n_widths; i++) {
        if (!placed && x->sorted[i] <= width) {
            x->list[n++] = width;
            placed = 1;
        }
        if (i != at)
            x->list[n++] = x->sorted[i];
    }
    if (!placed)
        x->list[n++] = width;
    /* Leave out what moves F by less than 1e-17: F' <= 1 / widths[0]. */
    double dropped = 0.0;
    while (n > 1 && dropped + x->list[n - 1] < 1e-17 * x->list[0])
        dropped += x->list[--n];
    x->list_suffix[n] = 0.0;
    for (size_t i = n; i-- > 0;)
        x->list_suffix[i] = x->list_suffix[i + 1] + x->list[i] * x->list[i];
    const width_set set = {x->list, x->list_suffix, n, 0, n, 0.0};
    sum_plan *plan = &x->plan;
    plan->phi = x->phi_plan;
    plan->coefficient = x->coefficient;
    plan->scratch = x->scratch;
    ex_choose_plan(x, plan, &set, v->evaluated + 0.5 * x->sorted[at], (double)bins * (double)v->n_s);
    ex_note_error(state, plan->error);
    const size_t many = v->n_s < BATCH ? BATCH / v->n_s : 1; /* bins at once */
    for (size_t i = 0; i < bins; i += many) {
        const size_t count = bins - i < many ? bins - i : many;
        for (size_t l = 0; l < count; l++) {
            const double shift = first + width * (double)(i + l);
            for (size_t b = 0; b < v->n_s; b++)
                x->point[l * v->n_s + b] = x->s[b] - shift;
        }
        ex_distribution(x, plan, x->point, count * v->n_s, x->value);
        for (size_t l = 0; l < count; l++) {
            ex_cells_of(x, v, x->value + l * v->n_s, x->p);
            *sum += ex_row_entropy(x, v, x->p);
        }
        if (ei_cancelled(state->cancel))
            return EI_ECANCELLED;
    }
    return EI_OK;
}

/* An edge on its own. */
int ex_single_edge(ei_exact *x, const row_view *v, size_t at, row_state *state, double *sum)
{
    const double a = x->sorted[at], bin = a / (double)x->in_bins;
    *sum = 0.0;
    return ex_edge_bins(x, v, at, bin, 0.5 * (bin - a), x->in_bins, state, sum);
}
