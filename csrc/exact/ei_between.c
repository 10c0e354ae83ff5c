/* Many narrow inputs of one row: a few widths by the expansion (4), the others between them.
 *
 * By (4) an edge's probabilities are p_ic = p_c (1 + x_ic), x_ic = sum_k r^k beta(i, k) term(k, c) / p_c,
 * with r the edge's width: nothing else tells the edges of a row apart. As x_ic averages to zero over the
 * bins i, the information is
 *     I = sum_c s_c p_c mean_i h(x_ic) / kappa,    h(x) = (1 + x) log2(1 + x) - x / ln 2,        (8)
 * an even function of r (turning r over turns the bins over), which is 0 at r = 0: I = q g(q), q = r^2.
 * g is interpolated at N nodes of Chebyshev on 0 <= q <= Q.
 *
 * Bound, a cell c at a time, I_c its term in (8), g_c = I_c / q. In the tails p_ic goes with r as an
 * exponential does, so that x_ic soon is no small number: write 1 + x_ic = exp(r b_i) (1 + y_ic), r b_i
 * the first term of x_ic. What y_ic is left with starts at r^2. The coefficients of y_ic follow from those
 * of x_ic. Let t > 1 be such that sum_k |y_ic's coefficient k| R^k <= e < 1 for every bin, R = t sqrt Q.
 * Then 1 + x_ic has no zero for complex |r| < R, where I_c is analytic, log(1 + x_ic) = r b_i + log(1 +
 * y_ic), and, with s = R max |b_i|,
 *     |x_ic| <= X = exp(s) (1 + e) - 1,    |h| ln 2 <= H = (1 + X) (s - ln(1 - e)) + X,
 * and H = X^2 will do if X <= 1 (all coefficients of h are at most 1 / (2 ln 2)). So |I_c| <= V = p_c H /
 * (kappa ln 2) for |q| < t^2 Q. That holds the ellipse with foci 0 and Q and with half axes whose sum is
 * rho Q / 2, rho + 1 / rho = 2 (2 t^2 - 1); on its rim |q| >= (t^2 - 1) Q, and there, and so within, |g_c|
 * <= V / ((t^2 - 1) Q). So the interpolant of g_c is off by at most 4 rho^(1 - N) / (rho - 1) times that
 * (Trefethen, Approximation Theory and Approximation Practice, theorem 8.2), and that of I_c by Q times as
 * much. Cells of next to no probability may be left out: 0 <= I_c <= p_c log2(in_bins) / kappa, as no p_ic
 * is greater than p_c in_bins. Those with hardly any are, and others for which no t will do, as long as the
 * row's bound stays below TARGET.
 */
#include "exact/ei_exact_internal.h"

#include <string.h>

static const double ENOUGH = 5e-11; /* bits */

static const double RARE = 1e-12;

static const double CERTAIN = 0.9; /* e above, at most */

enum { NODES = EX_NODES, RADII = 8, SHARES = 3, WORTH = 12 /* edges that the bound costs about as much as */ };

/* Of t above: 1 / rho, and 4 / (ln 2 (t^2 - 1) (rho - 1)). */
static const struct {
    double t, rate, part;
} wider[RADII] = {
    {8.0, 0.003937068899651655, 0.0003620597256517505},
    {5.0, 0.01020514433643804, 0.002479118280838938},
    {3.5, 0.02128623625220819, 0.011156428589896},
    {2.5, 0.04356076261039998, 0.05006259028366796},
    {2.0, 0.07179676972449082, 0.1487904663617327},
    {1.6, 0.1232012810250251, 0.5197868029762456},
    {1.3, 0.2202777956413005, 2.362741771685163},
    {1.12, 0.378986988922503, 13.84334442443539},
};

/* Cells of next to no probability, which are left out, and what that costs. */
typedef struct {
    double *sign; /* of the row's cells, 0 if they are out */
    double left;  /* bits */
} left_out;

/* Leave a cell out, if the row's bound allows for it. */
static int leave_out(const ei_exact *x, const row_view *v, const row_state *state,
                     const ei_exact_expansion *row, left_out *out, size_t c)
{
    const double cell = fmax(row->base[c], 0.0) + 2.0 * state->error.point;
    const double left = out->left + cell * ei_log2((double)x->in_bins) / state->kept;
    if (!(left <= ENOUGH) && !(left + ENOUGH + ex_state_bound(x, v, state) <= TARGET))
        return 0;
    out->left = left;
    out->sign[c] = 0.0;
    return 1;
}

/* H as above. */
static double greatest_excess(double s, double e)
{
    const double X = ei_exp(s) * (1.0 + e) - 1.0;
    return X <= 1.0 ? X * X : (1.0 + X) * (s - ei_log(1.0 - e)) + X;
}

/* Fewest nodes for widths up to `most`, and the bound of the error in bits; 0 if NODES are not enough. */
static size_t nodes_needed(ei_exact *x, const row_view *v, const ei_exact_expansion *row, double most,
                           size_t terms, const row_state *state, left_out *out, double *bound)
{
    double radius[RADII];
    for (size_t i = 0; i < RADII; i++)
        radius[i] = wider[i].t * most;
    double *slope = ex_grow(&x->radii, (RADII + 3) * row->n_cells);
    if (slope == NULL)
        return 0;
    double *rest = slope + row->n_cells, *off = rest + RADII * row->n_cells, *rate = off + row->n_cells;
    x->k->tilted(row, terms, x->most_beta, radius, RADII, CERTAIN, slope, rest);
    size_t n = 0;
    for (size_t c = 0; c < row->n_cells; c++) {
        if (row->sign[c] == 0.0)
            continue;
        size_t i = 0;
        while (i < RADII && !(rest[i * row->n_cells + c] <= CERTAIN))
            i++;
        if (i < RADII) {
            const double H = greatest_excess(slope[c] * radius[i], rest[i * row->n_cells + c]);
            off[n] = wider[i].part * row->base[c] * H / state->kept;
            rate[n++] = wider[i].rate;
        } else if (row->sign[c] < 0.0 || !leave_out(x, v, state, row, out, c)) {
            return 0;
        }
    }
    for (size_t nodes = 2; nodes <= NODES; nodes++) {
        /* What a node is off by: its q is at least Q sin^2(pi / (4 N)), and Lebesgue's constant below 3. */
        const double twice = 2.0 * (double)nodes;
        *bound = 3.0 * twice * twice * 16.0 * EPS;
        for (size_t c = 0; c < n; c++)
            *bound += off[c] *= rate[c];
        if (*bound <= ENOUGH)
            return nodes;
    }
    return 0;
}

/* What n nodes take: T_k(t_j) over half their number, n for k = 0, row by row; then sqrt q_j, Q being 1. Made
 * once for an engine; NULL where there is no memory. */
static const double *cosines(ei_exact *x, size_t n)
{
    double *table = x->cosines[n], place[NODES], unused[NODES];
    if (table != NULL)
        return table;
    table = x->cosines[n] = ei_alloc(n * (n + 1), sizeof *table);
    if (table == NULL)
        return NULL;
    x->k->waves(0.5 * PI / (double)n, padded(n), unused, place);
    for (size_t j = 0; j < n; j++) {
        double before = 1.0, now = place[j]; /* T_0, T_1 */
        table[j * n] = 1.0 / (double)n;
        for (size_t k = 1; k < n; k++) {
            table[j * n + k] = 2.0 * now / (double)n;
            const double next = 2.0 * place[j] * now - before;
            before = now;
            now = next;
        }
        table[n * n + j] = sqrt(0.5 * (1.0 + place[j]));
    }
    return table;
}

/* From coefficients of T_k(t) to those of t^k; Clenshaw's sums, as polynomials. They fall off so fast that
 * this loses nothing. */
static void to_powers(double *c, size_t n)
{
    double one[NODES + 1] = {c[n - 1]}, two[NODES + 1] = {0.0};
    for (size_t i = n - 1, size = 1; i-- > 0; size++) {
        const double by = i > 0 ? 2.0 : 1.0;
        double next[NODES + 1];
        next[0] = c[i] - two[0];
        for (size_t k = 0; k < size; k++)
            next[k + 1] = by * one[k] - (k + 1 < size ? two[k + 1] : 0.0);
        memcpy(two, one, size * sizeof(double));
        memcpy(one, next, (size + 1) * sizeof(double));
    }
    memcpy(c, one, n * sizeof(double));
}

/* Coefficients of powers of 2 q / Q - 1, of g; zero without memory. */
static int interpolate(ei_exact *x, const ei_exact_expansion *row, const row_state *state,
                       const expansion_range *range, double most, size_t nodes, double *c)
{
    const double *table = cosines(x, nodes), *root = table + nodes * nodes;
    if (table == NULL)
        return 0;
    const double entropy = x->k->entropy(row->base, row->sign, row->n_cells);
    for (size_t k = 0; k < nodes; k++)
        c[k] = 0.0;
    for (size_t j = 0; j < nodes; j++) {
        const double r = most * root[j], length = r * range->reference;
        const double sum = ex_one_expansion(x, row, r, ex_terms_for(x, range, length)).sum;
        const double value = (sum / (double)x->in_bins - entropy) / (state->kept * length * length);
        for (size_t k = 0; k < nodes; k++)
            c[k] += value * table[j * nodes + k];
    }
    to_powers(c, nodes);
    return 1;
}

/* How many widths are at most `limit`. */
static size_t count_within(const ei_exact *x, const row_view *v, double limit)
{
    size_t n = 0;
    if (limit >= 1.0)
        return v->n_widths;
    for (size_t i = 0; i < x->n_in; i++)
        n += (x->a[i] > 0.0) & (x->a[i] <= limit);
    return n;
}

double ex_between_edges(ei_exact *x, const row_view *v, const ei_exact_expansion *all,
                        const expansion_range *range, row_state *state, double *information)
{
    static const double shares[SHARES] = {1.0, 0.6, 0.35};
    ei_exact_expansion rest = *all, *row = &rest;
    left_out out = {.sign = x->p};
    row->sign = x->p;
    row->nodes = NULL; /* what these miss would be divided by q */
    for (size_t c = 0; c < all->n_cells; c++) {
        out.sign[c] = all->sign[c];
        if (all->sign[c] > 0.0 && all->base[c] <= RARE && !leave_out(x, v, state, all, &out, c))
            return 0.0;
    }
    const double most = ex_widest_below(x, range->widest);
    /* What errors that agree cost (ei_agree.c) is known of single edges alone. */
    for (size_t s = 0; s < SHARES && state->agreed == 0.0; s++) {
        const double upto = shares[s] * most, ratio = upto / range->reference;
        const size_t within = count_within(x, v, upto), terms = ex_terms_for(x, range, upto);
        double error, c[NODES];
        if (within < WORTH)
            break;
        const size_t nodes = nodes_needed(x, v, row, ratio, terms, state, &out, &error);
        if (nodes == 0 || nodes >= within)
            continue;
        if (!interpolate(x, row, state, range, ratio, nodes, c))
            return 0.0;
        error += out.left;
        state->bits = error > state->bits ? error : state->bits;
        const double top = ei_log2((double)(x->in_bins < x->out_bins ? x->in_bins : x->out_bins));
        const double total = x->k->interpolant(c, nodes, upto, top, x->a, x->n_in, information);
        x->total = upto >= 1.0 ? total : NAN;
        return s == 0 ? range->widest : upto; /* there are none between */
    }
    return 0.0;
}
