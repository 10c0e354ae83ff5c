/* Route 4: few inputs, by sums over subsets.
 *
 * Take the other widths and the bin of x_A, n in all, and let R be half their sum. Some of the least,
 * c_1 .. c_K, are taken together; the others, a_k, m of them, by inclusion and exclusion: for s <= 0,
 *     F_A(s) = sum over subsets (-1)^|subset| G_K(R + s - subset sum) / prod a_k,                (7)
 * and F_A(-s) = 1 - F_A(s). G_K(y) = E (y - C)_+^m / m!, C the sum of uniforms on [0, c_k], is 0 left of
 * the support of C, a polynomial of positive terms in the distance of its centre right of it, and between
 * by the recursion (5). Subsets of more than R never count. Neighbouring bins are taken together, and for
 * most of them and most subsets there is nothing to do or the polynomial. For the row itself, the widest
 * input is the bin.
 *
 * Rounding. Whatever all terms share (place, support, a bin's width, the factor) is as if the widths or s
 * were a little different, and moves F by no more than its density, at most 1 / the greatest width, times
 * that. Widths are rounded to a grid on which the subsets' sums are exact, which is of that kind too. What
 * is left is y, the polynomial and the sum over subsets, each relative to its terms, and these grow with
 * y, so s = 0 is the worst; and what (5) makes of the like. The more are taken together, the less cancels.
 */
#include "exact/ei_exact_internal.h"

#include <string.h>

enum {
    LEAST = 4, /* fewer of the others are not worth it */
    SUBSETS = 1 << (EI_EXACT_FEW - 1)
};

typedef struct {
    size_t n;
    double width[EI_EXACT_FEW]; /* the positive ones */
    size_t input[EI_EXACT_FEW];
    double sum[SUBSETS], factor[SUBSETS];
    ei_exact_subsets row;
} few;

static double power_of(double y, int n)
{
    double value = 1.0;
    while (n-- > 0)
        value *= y;
    return value;
}

/* The widths of an edge upwards: x_A's, which is the one at `at`, in so many bins. */
static void order_widths(const few *f, size_t at, uint32_t bins, double *width)
{
    for (size_t i = 0; i < f->n; i++) {
        const double a = i == at ? f->width[i] / (double)bins : f->width[i];
        size_t k = i;
        for (; k > 0 && width[k - 1] > a; k--)
            width[k] = width[k - 1];
        width[k] = a;
    }
}

/* The K least widths together; returns what G_K may be off by within their support, in unit roundoffs. */
static double join_small(ei_exact_subsets *row, const double *width, int n, int K)
{
    double moment[EI_EXACT_FEW + 1] = {1.0}; /* E C^l / l! about the centre */
    double error = 0.0;
    row->degree = n - K;
    row->n_small = K;
    row->length[0] = 0.0;
    for (int d = 1; d <= K; d++) {
        const int k = n - d;
        const double c = row->small[d] = width[d - 1], square = 0.25 * c * c;
        const double length = row->length[d] = row->length[d - 1] + c;
        for (int l = n - n % 2; l >= 2; l -= 2) {
            double term = 1.0;
            for (int j = 2; j <= l; j += 2) {
                term *= square / (j * (j + 1));
                moment[l] += moment[l - j] * term;
            }
        }
        for (int l = 0; l <= k; l += 2)
            row->power[d][l / 2] = moment[l] * inverse_factorial[k - l];
        const double most = power_of(length, k) * inverse_factorial[k];
        const double before = (4.0 * k + 16.0) * most * length / (k + 1);
        if (d > 1)
            error = 2.0 * (error > before ? error : before) / c;
        error += (4.0 * k + 16.0) * most;
    }
    row->part = inverse_factorial[n] / width[0];
    return error;
}

/* The subsets of the others. */
static void list_subsets(few *f, const double *width, int n)
{
    double factor = 1.0;
    for (int k = 0; k < n; k++)
        factor /= width[k];
    size_t count = 1;
    f->sum[0] = 0.0;
    f->factor[0] = factor;
    for (int k = n; k-- > 0;) {
        const size_t before = count;
        for (size_t i = 0; i < before; i++) {
            const double sum = f->sum[i] + width[k];
            if (sum < f->row.reach) {
                f->sum[count] = sum;
                f->factor[count++] = -f->factor[i];
            }
        }
    }
    f->row.n_subsets = count;
}

/* The edge of width `at`, in so many bins; returns the bound of the distribution function's error, which is
 * within `allowed` if it can be. */
static double prepare(few *f, size_t at, uint32_t bins, double allowed)
{
    ei_exact_subsets *row = &f->row;
    const int n = (int)f->n;
    double width[EI_EXACT_FEW], all = 0.0, error = INFINITY;
    order_widths(f, at, bins, width);
    for (int k = 0; k < n; k++)
        all += width[k];
    row->n_bins = bins;
    row->reach = 0.5 * all;
    const double place = 6.0 * row->reach + 8.0 * f->width[at] + 4.0 * (double)n;
    for (int K = n > LEAST ? n - LEAST : 1; K <= n && !(error <= allowed); K++) {
        const int m = n - K;
        const double within = join_small(row, width, n, K);
        list_subsets(f, width + K, m);
        double value = 0.0;
        for (size_t i = 0; i < row->n_subsets; i++)
            value += power_of(row->reach - f->sum[i], m);
        value *= fabs(f->factor[0]);
        const double count = (double)row->n_subsets;
        error = (3.0 * m + 8.0 + 0.5 * count) * value * inverse_factorial[m] +
                count * fabs(f->factor[0]) * within + place / width[n - 1] + m + 4.0;
        error *= 0.5 * EPS;
    }
    return error;
}

/* The table's memory and what all edges share; zero if it would be too large. */
static int share_row(ei_exact *x, const row_view *v, few *f)
{
    const size_t bins = padded(x->in_bins), cells = v->n_labels + (size_t)v->drops;
    if (bins * (cells + 1) > MAX_TABLE)
        return 0;
    double *memory = ex_grow(&x->waves, bins * (cells + 1));
    if (memory == NULL)
        return -1;
    memset(x->base, 0, cells * sizeof(double));
    if (x->last >= 0) {
        x->base[x->last] = 1.0;
        if (v->drops)
            x->base[v->n_labels] = 1.0;
    }
    f->row = (ei_exact_subsets){.sum = f->sum, .factor = f->factor, .centre = memory,
                                .n_thresholds = v->n_s, .threshold = x->s, .left = x->left,
                                .right = x->right, .kept_cell = v->drops ? (int32_t)v->n_labels : -1,
                                .n_cells = cells, .base = x->base, .sign = x->sign,
                                .cells = memory + bins};
    return 1;
}

static void place_bins(double own, uint32_t bins, double *centre)
{
    const double bin = own / (double)bins, first = 0.5 * (bin - own);
    for (size_t i = 0; i < padded(bins); i++)
        centre[i] = first + bin * (double)i;
}

/* An edge by (5), where (7) loses too much. */
static int other_way(ei_exact *x, const row_view *v, size_t input, row_state *state, double *information)
{
    double sum;
    size_t at = 0;
    int status = ex_open_series(x, MAX_WAVES);
    if (status != EI_OK)
        return status;
    ex_sort_row(x);
    while (x->order[at] != input)
        at++;
    status = ex_single_edge(x, v, at, state, &sum);
    if (status == EI_OK)
        information[input] = ex_information_of(x, state, sum);
    return status;
}

static int each_edge(ei_exact *x, const row_view *v, few *f, row_state *state, double *information)
{
    for (size_t k = 0; k < f->n; k++) {
        size_t same = 0;
        while (f->width[same] != f->width[k])
            same++;
        if (same < k) {
            information[f->input[k]] = information[f->input[same]];
            continue;
        }
        int status = EI_OK;
        const double error = prepare(f, k, x->in_bins, x->allowed);
        if (error <= x->allowed) {
            ex_note_error(state, (row_error){error, 0.0});
            place_bins(f->width[k], x->in_bins, x->waves.at);
            information[f->input[k]] = ex_information_of(x, state, x->k->subsets(&f->row));
        } else {
            status = other_way(x, v, f->input[k], state, information);
        }
        if (status != EI_OK)
            return status;
        if (ei_cancelled(state->cancel))
            return EI_ECANCELLED;
    }
    return EI_OK;
}

int ex_subsets_row(ei_exact *x, const row_view *v, row_state *state, double *information,
                   double *marginal, int *status)
{
    few f;
    f.n = 0;
    size_t widest = 0;
    for (size_t i = 0; i < x->n_in; i++) {
        if (x->a[i] > 0.0) {
            f.input[f.n] = i;
            f.width[f.n] = (x->a[i] + 6.0) - 6.0; /* to multiples of 2^-50 */
            widest = f.width[f.n] > f.width[widest] ? f.n : widest;
            f.n++;
        }
    }
    const int fits = share_row(x, v, &f);
    *status = fits < 0 ? EI_ENOMEM : EI_OK;
    if (fits <= 0)
        return fits < 0;
    const double error = prepare(&f, widest, 1, x->allowed);
    if (!(error <= x->allowed))
        return 0;
    ex_note_error(state, (row_error){error, 0.0});
    place_bins(f.width[widest], 1, x->waves.at);
    x->k->subsets(&f.row);
    memset(x->mean, 0, v->n_cells * sizeof(double));
    for (size_t c = 0; c < f.row.n_cells; c++)
        x->mean[c] = f.row.cells[c * 8];
    ex_settle(x, v, state, marginal);
    if (information != NULL && v->n_labels > 1 && state->kept > 0.0)
        *status = each_edge(x, v, &f, state, information);
    return 1;
}
