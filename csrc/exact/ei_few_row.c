/* Rows that are rarely kept, in part: those of few inputs, by (5) of ei_recursion.c over all widths, in
 * double-double (ei_few.c). */
#include "exact/ei_exact_internal.h"
#include "exact/ei_few.h"

#include <string.h>

/* The few positive widths of a row, upwards, and their inputs. */
typedef struct {
    int n;
    size_t input[EI_FEW];
    dd width[EI_FEW];
    double rest; /* sum of the widths left out */
} few_widths;

/* Zero if there are more. */
static int find_few(const ei_exact *x, const double *weight, const full_row *row, few_widths *few)
{
    *few = (few_widths){0};
    for (size_t i = 0; i < x->n_in; i++) {
        const dd a = full_width(row, weight[i]);
        if (!(a.hi > 1e-26)) { /* moves a distribution function by as much, and no more */
            few->rest += a.hi;
            continue;
        }
        if (few->n == EI_FEW)
            return 0;
        int k = few->n++;
        for (; k > 0 && dd_less(a, few->width[k - 1]); k--) {
            few->width[k] = few->width[k - 1];
            few->input[k] = few->input[k - 1];
        }
        few->width[k] = a;
        few->input[k] = i;
    }
    return few->n > 0;
}

/* Width `at` made that of a bin. */
static void prepare_edge(const ei_exact *x, const few_widths *few, int at, double place, ei_few_sum *sum)
{
    const dd bin = dd_div(few->width[at], (dd){x->in_bins, 0.0});
    dd list[EI_FEW];
    memcpy(list, few->width, sizeof list);
    int k = at;
    for (; k > 0 && dd_less(bin, list[k - 1]); k--)
        list[k] = list[k - 1];
    list[k] = bin;
    ei_few_prepare(sum, list, few->n, place);
}

/* As cells_of, of the points moved by `shift`; cells in `cells`, those kept in sum. */
static int few_cells(const ei_exact *x, const row_view *v, const ei_few_sum *sum, dd shift, dd *scratch,
                     ei_cancel cancel, double *cells)
{
    memset(scratch, 0, v->n_cells * sizeof *scratch);
    if (x->last >= 0)
        scratch[x->last].hi = 1.0;
    for (size_t b = 0; b < v->n_s; b++) {
        const dd f = ei_few_distribution(sum, dd_sub(x->distance[v->first + b], shift));
        const int32_t l = x->left[b], r = x->right[b];
        if (l >= 0)
            scratch[l] = dd_add(scratch[l], f);
        if (r >= 0)
            scratch[r] = dd_sub(scratch[r], f);
        if (ei_cancelled(cancel))
            return EI_ECANCELLED;
    }
    double kept = 0.0;
    for (size_t c = 0; c < v->n_cells; c++) {
        cells[c] = c < v->n_labels && scratch[c].hi > 0.0 ? scratch[c].hi : 0.0;
        kept += cells[c];
    }
    cells[v->n_labels] = kept;
    return EI_OK;
}

/* View of a row of few inputs, in double-double. */
static void view_few(ei_exact *x, const few_widths *few, row_view *v)
{
    *v = (row_view){.reach = INFINITY, .first = x->n_thresholds};
    dd reach = {0.0, 0.0};
    for (int k = 0; k < few->n; k++)
        reach = dd_add(reach, dd_half(few->width[k]));
    for (size_t j = 0; j < x->n_thresholds; j++) {
        const dd s = x->distance[j];
        const int left = !dd_less((dd){-reach.hi, -reach.lo}, s), right = !dd_less(s, reach);
        if (!ex_view_threshold(x, v, j, left ? -INFINITY : right ? INFINITY : s.hi))
            break;
    }
    ex_view_cells(x, v);
}

/* Every edge of the row; x->mean are the cells, of which `kept` are kept. */
static int few_edges(ei_exact *x, const row_view *v, const few_widths *few, const double *weight,
                     double place, double kept, dd *scratch, ei_cancel cancel, double *information)
{
    for (size_t c = 0; c <= v->n_labels; c++)
        x->mean[c] /= kept;
    const row_state state = {.kept = 1.0, .entropy = ex_row_entropy(x, v, x->mean)};
    ei_few_sum sum;
    for (int k = 0; k < few->n; k++) {
        if (k > 0 && fabs(weight[few->input[k]]) == fabs(weight[few->input[k - 1]])) {
            information[few->input[k]] = information[few->input[k - 1]];
            continue;
        }
        prepare_edge(x, few, k, place, &sum);
        double total = 0.0;
        for (size_t i = 0; i < x->in_bins; i++) {
            const double twice = 2.0 * (double)i + 1.0 - (double)x->in_bins;
            const dd shift = dd_div(dd_times(few->width[k], twice), (dd){2.0 * x->in_bins, 0.0});
            int status = few_cells(x, v, &sum, shift, scratch, cancel, x->p);
            if (status != EI_OK)
                return status;
            for (size_t c = 0; c <= v->n_labels; c++)
                x->p[c] /= kept;
            total += ex_row_entropy(x, v, x->p);
        }
        information[few->input[k]] = ex_information_of(x, &state, total);
    }
    return EI_OK;
}

/* A row of few inputs in double-double, if that is better than *bound and not too much work. Everything
 * is divided by what is kept, as (6) allows, so that only the probabilities' relative errors count. */
int ex_few_row(ei_exact *x, const double *weight, double bias, ei_cancel cancel,
               double *information, double *marginal, double *bound)
{
    static const double WORK = 1e9; /* nodes of the recursion */
    const full_row row = ex_view_full(x, weight, bias);
    few_widths few;
    row_view view, *v = &view;
    if (!find_few(x, weight, &row, &few))
        return EI_OK;
    view_few(x, &few, v);
    if (v->turns == 0)
        return EI_OK;
    const double place = row.place + few.rest;
    ei_few_sum sum;
    ei_few_prepare(&sum, few.width, few.n, place);
    double error = sum.error, work = 0.0;
    for (int k = 0; k < few.n; k++) {
        prepare_edge(x, &few, k, place, &sum);
        error = sum.error > error ? sum.error : error;
        work += sum.nodes * (double)v->n_s * (double)x->in_bins;
    }
    if (information != NULL && work > WORK)
        return EI_OK;
    dd *scratch = ei_alloc(v->n_cells, sizeof *scratch);
    if (scratch == NULL)
        return EI_ENOMEM;
    ei_few_prepare(&sum, few.width, few.n, place);
    int status = few_cells(x, v, &sum, (dd){0.0, 0.0}, scratch, cancel, x->mean);
    const double kept = x->mean[v->n_labels], cells = (double)v->n_cells + (double)x->in_bins;
    double reached = 0.0;
    if (kept > NEVER) {
        /* Logarithms and sums of the normalised probabilities are rounded too. */
        reached = ex_bits_bound(x, v->n_labels, NULL, v->turns, (row_error){error, 0.0}, kept) +
                  EPS * (256.0 + 16.0 * cells);
    }
    if (status == EI_OK && reached < *bound) {
        *bound = reached;
        if (information != NULL)
            memset(information, 0, x->n_in * sizeof(double));
        if (marginal != NULL) {
            memset(marginal, 0, x->out_bins * sizeof(double));
            for (size_t c = 0; c < v->n_labels; c++)
                marginal[x->label_of[c]] = x->mean[c] < 1.0 ? x->mean[c] : 1.0;
        }
        if (information != NULL && v->n_labels > 1 && kept > NEVER)
            status = few_edges(x, v, &few, weight, place, kept, scratch, cancel, information);
    }
    ei_free(scratch);
    return status;
}
