/* One row (output): which thresholds lie inside the support, the cells between them, and what is noted
 * of errors on the way.
 *
 * Given that a sample is kept, which has probability kappa,
 *     I = (1/kappa) [mean_i sum_c s_c p_ic log2 p_ic - sum_c s_c p_c log2 p_c]                  (6)
 * where c runs over the kept cells (s = 1) and their union (s = -1).
 */
#include "exact/ei_exact_internal.h"
#include "kernels/ei_rows.h"

#include <string.h>

row_weights ex_summed(const ei_exact_kernels *k, const double *w, size_t n)
{
    row_weights row = {.weight = w, .greatest = k->greatest(w, n)};
    if (row.greatest > 0.0)
        frexp(row.greatest, &row.exponent);
    row.sum = ex_sum_weights(k, w, n, row.exponent);
    return row;
}

row_weights ex_summed_floats(const ei_exact_kernels *k, const float *w, size_t n, double sizes[2])
{
    double hi[EI_EXACT_LANES], lo[EI_EXACT_LANES];
    row_weights row = {.narrow = w, .greatest = k->float_sums(w, n, hi, lo, sizes)};
    if (row.greatest > 0.0)
        frexp(row.greatest, &row.exponent);
    const double scale = ldexp(1.0, -row.exponent); /* loses nothing of what floats sum up to */
    for (int l = 0; l < EI_EXACT_LANES; l++)
        row.sum = dd_add(row.sum, (dd){hi[l] * scale, lo[l] * scale});
    return row;
}

row_weights ex_row_weights(const ei_exact *x, const double *w, double bias)
{
    row_weights row = ex_summed(x->k, w, x->n_in);
    row.bias = bias;
    return row;
}

row_weights ex_known_weights(double bias, const double *known)
{
    row_weights row = {.bias = bias, .greatest = known[EI_GREATEST],
                       .sum = {known[EI_SUM], known[EI_SUM_LOW]}};
    if (row.greatest > 0.0)
        frexp(row.greatest, &row.exponent);
    return row;
}

const double *ex_weights(row_weights *row, size_t n)
{
    if (row->weight == NULL) {
        const ei_matrix only = {n, NULL, row->narrow};
        row->weight = ei_row(&only, 0, row->room);
    }
    return row->weight;
}

/* Sum of some weights, scaled by 2^-e. */
dd ex_sum_weights(const ei_exact_kernels *k, const double *w, size_t n, int e)
{
    const double scale = ldexp(1.0, e < -1000 ? 1000 : -e);
    const double more = e < -1000 ? ldexp(1.0, -e - 1000) : 1.0;
    double hi[EI_EXACT_LANES], lo[EI_EXACT_LANES];
    k->sum(w, n, scale, more, hi, lo);
    dd total = {0.0, 0.0};
    for (int l = 0; l < EI_EXACT_LANES; l++)
        total = dd_add(total, (dd){hi[l], lo[l]});
    return total;
}

/* One threshold less `offset`, both scaled. Overflow on the way means: far away. */
dd ex_threshold_distance(double t, double bias, dd offset, int e)
{
    const double ts = ldexp(t, -e), bs = ldexp(bias, -e);
    if (!(fabs(ts) < 1e290) || !(fabs(bs) < 1e290))
        return (dd){t > bias ? INFINITY : -INFINITY, 0.0};
    return dd_sub(dd_sub((dd){ts, 0.0}, (dd){bs, 0.0}), offset);
}

/* Threshold j at s: one inside the support is noted. Zero when there can be no more. */
int ex_view_threshold(ei_exact *x, row_view *v, size_t j, double s)
{
    if (s >= v->reach) {
        v->first = v->n_s ? v->first : j;
        return 0;
    }
    if (s > -v->reach) {
        if (v->n_s == 0)
            v->first = j;
        x->s[v->n_s++] = s;
        v->evaluated = fabs(s) > v->evaluated ? fabs(s) : v->evaluated;
    }
    return 1;
}

/* Cells: the kept labels on either side of the thresholds inside. */
void ex_view_cells(ei_exact *x, row_view *v)
{
    for (size_t b = 0; b <= v->n_s; b++) {
        const int32_t label = x->labels[v->first + b];
        int32_t cell = -1;
        if (label < 0) {
            v->drops = 1;
        } else {
            cell = x->cell_of[label];
            if (cell < 0) {
                cell = x->cell_of[label] = (int32_t)v->n_labels;
                x->label_of[v->n_labels++] = label;
            }
        }
        if (b > 0) {
            x->right[b - 1] = cell;
            v->turns += (cell < 0) != (x->left[b - 1] < 0);
        }
        if (b < v->n_s)
            x->left[b] = cell;
        x->last = cell;
    }
    for (size_t c = 0; c < v->n_labels; c++)
        x->cell_of[x->label_of[c]] = -1;
    v->n_cells = padded(v->n_labels + (size_t)v->drops);
    for (size_t c = 0; c < v->n_cells; c++)
        x->sign[c] = c < v->n_labels ? 1.0 : c == v->n_labels && v->drops ? -1.0 : 0.0;
}

/* x->a from weights that are `divisor` at most. */
void ex_view_widths(ei_exact *x, const double *w, const float *narrow, double divisor, row_view *v)
{
    double sums[3];
    x->k->widths(w, narrow, x->n_in, divisor, x->negligible, x->a, sums);
    v->squares = sums[1];
    v->n_widths = (size_t)sums[2];
    const double tail = x->tail * sqrt(v->squares / 12.0);
    v->reach = 0.5 * sums[0] < tail ? 0.5 * sums[0] : tail;
}

/* Where the thresholds beside lie. */
static void view_beside(ei_exact *x, const row_weights *row, dd offset, double unit, row_view *v)
{
    const ei_exact *other = x->beside;
    v->n_beside = other->n_thresholds;
    for (size_t j = 0; j < v->n_beside; j++) {
        const double t = other->thresholds[j];
        const double s = ex_threshold_distance(t, row->bias, offset, row->exponent).hi / unit;
        x->at_beside[j] = s;
        if (fabs(s) < v->reach && fabs(s) > v->evaluated)
            v->evaluated = fabs(s);
    }
}

void ex_view_row(ei_exact *x, const row_weights *row, row_view *v)
{
    memset(v, 0, sizeof *v);
    const double greatest = row->greatest;
    const int e = row->exponent;
    const dd centre = two_sum(0.5 * x->lo, 0.5 * x->hi);
    const dd offset = dd_mul(centre, row->sum);
    const double divisor = greatest > 0.0 ? greatest : 1.0;
    ex_view_widths(x, row->weight, row->narrow, divisor, v);
    const double unit = ldexp(greatest, -e) * (x->hi - x->lo);
    v->first = x->n_thresholds;
    for (size_t j = 0; j < x->n_thresholds; j++) {
        dd d = ex_threshold_distance(x->thresholds[j], row->bias, offset, e);
        /* Without any spread, z >= t decides. */
        double s = greatest > 0.0 ? d.hi / unit : d.hi > 0.0 ? INFINITY : -INFINITY;
        if (!ex_view_threshold(x, v, j, s))
            break;
    }
    ex_view_cells(x, v);
    if (x->beside != NULL && v->n_s > 0)
        view_beside(x, row, offset, unit, v);
}

/* cells[c * stride] += sum over thresholds of value, right of one minus left of it; the union of the
 * kept cells too. */
void ex_to_cells(const ei_exact *x, const row_view *v, size_t b, double value, double *cells)
{
    const int32_t l = x->left[b], r = x->right[b];
    if (l >= 0)
        cells[l] += value;
    if (r >= 0)
        cells[r] -= value;
    if (v->drops && (l < 0) != (r < 0))
        cells[v->n_labels] += l >= 0 ? value : -value;
}

/* Probabilities of the cells from the distribution function at the thresholds. */
void ex_cells_of(const ei_exact *x, const row_view *v, const double *f, double *cells)
{
    memset(cells, 0, v->n_cells * sizeof(double));
    if (x->last >= 0) {
        cells[x->last] = 1.0;
        if (v->drops)
            cells[v->n_labels] = 1.0;
    }
    for (size_t b = 0; b < v->n_s; b++)
        ex_to_cells(x, v, b, f[b], cells);
}

double ex_row_entropy(const ei_exact *x, const row_view *v, const double *p)
{
    return x->k->entropy(p, x->sign, v->n_cells);
}

void ex_nothing(const ei_exact *x, double *information)
{
    if (information != NULL)
        memset(information, 0, x->n_in * sizeof(double));
}

double ex_information_of(const ei_exact *x, const row_state *state, double sum)
{
    const double most = ei_log2((double)(x->in_bins < x->out_bins ? x->in_bins : x->out_bins));
    double value = (sum / (double)x->in_bins - state->entropy) / state->kept;
    return !(value > 0.0) ? 0.0 : value > most ? most : value;
}

/* Of an edge whose costs are known. */
double ex_edge_information(const ei_exact *x, row_state *state, const ei_exact_edge *edge)
{
    const double costs = edge->costs / (double)x->in_bins;
    state->costs = costs > state->costs ? costs : state->costs;
    state->missed = edge->missed > state->missed ? edge->missed : state->missed;
    return ex_information_of(x, state, edge->sum);
}

void ex_note_error(row_state *state, row_error e)
{
    if (e.point > state->error.point)
        state->error.point = e.point;
    if (e.variation > state->error.variation)
        state->error.variation = e.variation;
}

/* Rounding of a series whose coefficients are products of so many factors. `steps`: turns of the recurrences
 * for the sines of thresholds and input bins. A wave's height is off by a few units in the last place a
 * factor; its variation over the thresholds is at most twice its share of the density. */
void ex_note_rounding(const ei_exact *x, row_state *state, const ei_exact_edge *edge, size_t multiplied,
                      double steps)
{
    const double cut = state->agreed > 0.0 ? 0.0 : x->tolerance;
    const double point = (8.0 + 2.5 * steps) * edge->weighted + 1.5 * edge->heights;
    ex_note_error(state, (row_error){cut + 0.5 * EPS * point,
                                     0.5 * EPS * 3.0 * (double)(multiplied + 8) * 2.0 * edge->heights});
}

/* Finish what every route needs: the row's entropy and kept mass from x->mean. */
void ex_settle(const ei_exact *x, const row_view *v, row_state *state, double *marginal)
{
    for (size_t c = 0; c < v->n_labels; c++) {
        double p = x->mean[c];
        p = p < 0.0 ? 0.0 : p > 1.0 ? 1.0 : p;
        if (marginal != NULL)
            marginal[x->label_of[c]] = p * state->share;
    }
    state->mass = v->drops ? x->mean[v->n_labels] : v->n_labels ? 1.0 : 0.0;
    state->kept = state->mass * state->share > NEVER ? state->mass : 0.0;
    state->entropy = ex_row_entropy(x, v, x->mean);
    state->first = 0;
    state->cells = v->n_cells;
}
