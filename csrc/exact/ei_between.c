/* Many narrow inputs of one row: a few widths by the expansion (4), the others between them.
 *
 * By (4) an edge's probabilities are p_ic = p_c (1 + x_ic), x_ic = sum_k r^k beta(i, k) term(k, c) / p_c,
 * with r the edge's width: nothing else tells the edges of a row apart. As x_ic averages to zero over the
 * bins i, the information is
 *     I = sum_c s_c p_c mean_i ((1 + x_ic) log2(1 + x_ic) - x_ic / ln 2) / kappa,                (8)
 * an even function of r (turning r over turns the bins over), which is 0 at r = 0: I = q g(q), q = r^2.
 * g is interpolated at N nodes of Chebyshev on 0 <= q <= Q.
 *
 * Bound, a cell c at a time, I_c its term in (8), g_c = I_c / q. Let t > 1 be such that e = sum_k (t
 * sqrt Q)^k max_i |beta(i, k) term(k, c)| / p_c <= 1. Then I_c is analytic for complex |q| < t^2 Q, where
 * |(1 + x) ln(1 + x) - x| is at most e + (1 - e) ln(1 - e), so that |I_c| <= V = p_c (e + (1 - e)
 * ln(1 - e)) / (kappa ln 2). That holds the ellipse with foci 0 and Q and with half axes whose sum is
 * rho Q / 2, rho + 1 / rho = 2 (2 t^2 - 1); on its rim |q| >= (t^2 - 1) Q, and there, and so within, |g_c|
 * <= V / ((t^2 - 1) Q). So the interpolant of g_c is off by at most 4 rho^(1 - N) / (rho - 1) times that
 * (Trefethen, Approximation Theory and Approximation Practice, theorem 8.2), and that of I_c by Q times as
 * much. Cells of next to no probability are left out: 0 <= I_c <= p_c log2(in_bins) / kappa, as no p_ic is
 * greater than p_c in_bins.
 */
#include "exact/ei_exact_internal.h"

static const double ENOUGH = 2e-11; /* bits */

static const double RARE = 1e-12;

enum { NODES = 16, FEWER = 8, ENTRIES = 1024 };

/* e + (1 - e) ln(1 - e) */
static double excess(double e) { return e < 1.0 ? e + (1.0 - e) * ei_log(1.0 - e) : 1.0; }

/* Bounds of the error of one cell's term, with fewer nodes and with more: V and t as above. */
static void add_error(double V, double t, double error[2])
{
    const double g = 2.0 * t * t - 1.0, rho = g + sqrt(g * g - 1.0);
    double off = 4.0 * V / ((t * t - 1.0) * (rho - 1.0));
    for (size_t k = 1; k < NODES; k++) {
        off /= rho;
        if (k == FEWER - 1)
            error[0] += off;
    }
    error[1] += off;
}

/* Fewest nodes for widths up to `most`, and the bound of the error in bits; 0 if that is not enough. */
static size_t nodes_needed(const ei_exact *x, const ei_exact_expansion *row, double most, size_t terms,
                           double kept, double *bound)
{
    static const double wider[] = {6.0, 4.0, 3.0, 2.4, 2.0, 1.7, 1.45, 1.25, 1.12, 1.05};
    enum { WIDER = sizeof wider / sizeof *wider };
    double power[EI_EXACT_TERMS], at = 1.0, error[2] = {0.0, 0.0};
    for (size_t k = 0; k < terms; k++) {
        at *= most;
        power[k] = at * x->most_beta[k];
    }
    for (size_t c = 0; c < row->n_cells; c++) {
        if (row->sign[c] == 0.0)
            continue;
        const double *term = row->term + term_at(c, 1);
        size_t i = 0;
        double e = INFINITY;
        for (; i < WIDER; i++) {
            e = 0.0;
            for (size_t k = terms; k-- > 0;)
                e = (e + power[k] * fabs(term[8 * k])) * wider[i];
            if (e <= row->base[c])
                break;
        }
        if (i == WIDER)
            return 0;
        if (e > 0.0)
            add_error(row->base[c] * excess(e / row->base[c]) / (kept * 0.6931471805599453), wider[i],
                      error);
    }
    /* What a node is off by: its q is at least Q sin^2(pi / (4 N)), and Lebesgue's constant below 3. */
    for (int more = 0; more < 2; more++) {
        const double n = 2.0 * (more ? NODES : FEWER);
        *bound = error[more] + 3.0 * n * n * 16.0 * EPS;
        if (*bound <= ENOUGH)
            return more ? NODES : FEWER;
    }
    return 0;
}

/* Leave out cells of next to no probability; what that costs, in bits. */
static double leave_out(const ei_exact *x, const row_state *state, const ei_exact_expansion *row,
                        double *sign)
{
    double cost = 0.0;
    for (size_t c = 0; c < row->n_cells; c++) {
        sign[c] = row->sign[c];
        if (sign[c] > 0.0 && row->base[c] <= RARE) {
            sign[c] = 0.0;
            cost += RARE + 2.0 * state->error.point;
        }
    }
    return cost * ei_log2((double)x->in_bins) / state->kept;
}

static size_t terms_of(const double *limits, double ratio)
{
    size_t terms = 2;
    while (terms < EI_EXACT_TERMS && ratio > limits[terms / 2 - 1])
        terms += 2;
    return terms;
}

/* Coefficients of Chebyshev's polynomials, of g. */
static void interpolate(const ei_exact *x, const ei_exact_expansion *row, const row_state *state,
                        double most, size_t terms, size_t nodes, double *c)
{
    const double entropy = x->k->entropy(row->base, row->sign, row->n_cells);
    double place[NODES], unused[NODES], value[NODES];
    const double angle = 0.5 * PI / (double)nodes;
    x->k->waves(angle, nodes, unused, place);
    for (size_t j = 0; j < nodes; j++) {
        const double r = most * sqrt(0.5 * (1.0 + place[j]));
        const double sum = ex_one_expansion(x, row, r, terms);
        value[j] = (sum / (double)x->in_bins - entropy) / state->kept / (r * r);
    }
    for (size_t k = 0; k < nodes; k++)
        c[k] = 0.0;
    for (size_t j = 0; j < nodes; j++) {
        double before = 1.0, now = place[j]; /* T_0, T_1 */
        c[0] += value[j] / (double)nodes;
        for (size_t k = 1; k < nodes; k++) {
            c[k] += 2.0 * value[j] * now / (double)nodes;
            const double next = 2.0 * place[j] * now - before;
            before = now;
            now = next;
        }
    }
}

double ex_between_edges(ei_exact *x, const ei_exact_expansion *all, const double *limits,
                        double reference, row_state *state, double *information)
{
    static const double shares[] = {1.0, 0.6, 0.35};
    enum { SHARES = sizeof shares / sizeof *shares };
    const double widest = limits[EI_EXACT_TERMS / 2 - 1] * reference;
    double most = ex_widest_below(x, widest);
    size_t within[SHARES] = {0};
    for (size_t s = 0; s < SHARES; s++) {
        const double limit = shares[s] * most;
        for (size_t i = 0; i < x->n_in; i++)
            within[s] += (x->a[i] > 0.0) & (x->a[i] <= limit);
    }
    if (within[0] < 3 * FEWER)
        return 0.0;
    ei_exact_expansion rest = *all, *row = &rest;
    row->sign = x->p;
    const double left = leave_out(x, state, all, x->p);
    size_t best = within[0], nodes = 0, terms = 0;
    double upto = 0.0, error = 0.0;
    for (size_t s = 0; s < SHARES; s++) {
        const double ratio = shares[s] * most / reference;
        const size_t needed = terms_of(limits, ratio);
        double off;
        if (within[s] < 3 * FEWER)
            break;
        const size_t n = nodes_needed(x, row, ratio, needed, state->kept, &off);
        if (n > 0 && n + within[0] - within[s] < best) {
            best = n + within[0] - within[s];
            nodes = n;
            terms = needed;
            upto = ratio;
            error = off;
        }
    }
    if (nodes == 0 || left > ENOUGH)
        return 0.0;
    double c[NODES], ratio[ENTRIES], value[ENTRIES];
    interpolate(x, row, state, upto, terms, nodes, c);
    error += left;
    state->bits = error > state->bits ? error : state->bits;
    const double top = ei_log2((double)(x->in_bins < x->out_bins ? x->in_bins : x->out_bins));
    for (size_t at = 0; at < x->n_in; at += ENTRIES) {
        const size_t n = x->n_in - at < ENTRIES ? x->n_in - at : ENTRIES;
        for (size_t i = 0; i < n; i++) {
            ratio[i] = x->a[at + i] / reference;
            ratio[i] = ratio[i] <= upto ? ratio[i] : 0.0;
        }
        for (size_t i = n; i < padded(n); i++)
            ratio[i] = 0.0;
        x->k->chebyshev(c, nodes, upto, ratio, padded(n), value);
        for (size_t i = 0; i < n; i++)
            if (ratio[i] > 0.0)
                information[at + i] = !(value[i] > 0.0) ? 0.0 : value[i] > top ? top : value[i];
    }
    return upto;
}
