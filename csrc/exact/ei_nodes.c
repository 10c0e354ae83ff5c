/* The mean over many bins by a few nodes.
 *
 * An edge's information is a mean over the bins of x_A of sum_c p_c log p_c, p_c a smooth function of the bin's
 * place. The mean over N equidistant places is a sum over n = 12 nodes within their range, with positive
 * weights, if it is taken of a polynomial of degree 2 n - 1 (Gauss's rule for Gram's polynomials), and off by
 * at most twice a function's distance from these otherwise. What of p log p, with no bound at hand for where
 * in the complex plane p may be 0? Let l be the polynomial of degree n - 1 through log p at the nodes, and
 * p = e^l (1 + D), D = 0 there. Then
 *     p log p = p l + p - e^l + e^l f(D),    f(D) = (1 + D) log(1 + D) - D,  0 <= f <= D^2,       (10)
 * and all of that can be bounded, term by term:
 *   - p by its distances A_m from polynomials of degree m: of a wave exp(i x v), |v| <= 1, at most
 *     2 sum_{k > m} |J_k(x)| <= 2 sum (x/2)^k / k!; or by the terms of the expansion (4);
 *   - p l, l = sum l_j T_j, by 2 sum_j |l_j| A_{2n-1-j}, for T_j times degree 2 n - 1 - j is exact;
 *   - e^l is entire, on the ellipse with foci -1 and 1 and half axes of sum rho at most
 *     M = exp(l_0 + sum |l_j| (rho^j + rho^-j) / 2), and so at most 2 M rho^-m / (rho - 1) from degree m;
 *   - e^l D = p - e^l: both have the same interpolant, from which each is at most 1 + Lebesgue's constant
 *     times its distance from degree n - 1. What is left is the square of that over the least e^l.
 * Eight cells at a time, if that is little enough; else, as in far tails, every bin is looked at. Of the costs of
 * ei_agree.c the mean of |log2 p - log2 p_c| is at most the root of that of its square, which the nodes know.
 */
#include "exact/ei_exact_internal.h"

#include <string.h>

enum { N = EI_EXACT_NODES, ALL = 2 * EI_EXACT_NODES };

static const double ENOUGH = 2e-10; /* bits, of all cells */

/* Values at x of Gram's polynomials 0 .. ALL, of bins whose centres are 1 apart, with mean square 1 over the
 * bins; how many zeros of the last lie above x. */
static int gram(double bins, double x, double p[ALL + 1])
{
    double before = 0.0, last = 0.0;
    int above = 0;
    p[0] = 1.0;
    for (int k = 1; k <= ALL; k++) {
        const double square = (double)k * (double)k;
        const double next = sqrt(square * (bins * bins - square) / (4.0 * (4.0 * square - 1.0)));
        p[k] = (x * p[k - 1] - last * before) / next;
        before = p[k - 1];
        last = next;
        above += (p[k] < 0.0) != (p[k - 1] < 0.0);
    }
    return above;
}

/* Zero j of those above 0, from the middle. */
static double gram_zero(double bins, int j)
{
    double low = 0.0, high = 0.5 * bins, p[ALL + 1];
    for (int i = 0; i < 60; i++) {
        const double middle = 0.5 * (low + high);
        if (gram(bins, middle, p) >= N - j)
            low = middle;
        else
            high = middle;
    }
    return 0.5 * (low + high);
}

/* What a value at a node on either side counts at x. */
static double lagrange(const double *at_node, double weight, const double *at, int mirrored)
{
    double sum = 0.0;
    for (int k = 0; k < ALL; k++)
        sum += mirrored && k % 2 ? -at_node[k] * at[k] : at_node[k] * at[k];
    return weight * sum;
}

static void place_nodes(const ei_exact *x, ei_exact_nodes *nodes, double at_node[N][ALL + 1])
{
    const double bins = (double)x->in_bins;
    for (int j = 0; j < N; j++) {
        const double zero = gram_zero(bins, j);
        double sum = 0.0;
        gram(bins, zero, at_node[j]);
        for (int k = 0; k < ALL; k++)
            sum += at_node[j][k] * at_node[j][k];
        nodes->weight[j] = 1.0 / sum;
        nodes->place[j] = zero / bins;
        ex_bernoulli(x->half, bins, zero, nodes->beta[j]);
    }
    nodes->lebesgue = 1.0;
    for (double at_bin = 0.5 * (1.0 - bins); at_bin < 0.5 * bins; at_bin += 1.0) {
        double at[ALL + 1], sum = 1.0;
        gram(bins, at_bin, at);
        for (int j = 0; j < N; j++)
            sum += fabs(lagrange(at_node[j], nodes->weight[j], at, 0)) +
                   fabs(lagrange(at_node[j], nodes->weight[j], at, 1));
        nodes->lebesgue = sum > nodes->lebesgue ? sum : nodes->lebesgue;
    }
}

/* Chebyshev's coefficients of Lagrange's polynomials, between the first bin and the last. */
static void expand_nodes(const ei_exact *x, ei_exact_nodes *nodes, double at_node[N][ALL + 1])
{
    const double bins = (double)x->in_bins;
    double unused[ALL + 8], cosine[ALL + 8];
    x->k->waves(0.5 * PI / (double)ALL, padded(ALL), unused, cosine);
    for (int s = 0; s < ALL; s++) {
        double at[ALL + 1];
        gram(bins, 0.5 * (bins - 1.0) * cosine[s], at);
        for (int j = 0; j < N; j++) {
            const double value = lagrange(at_node[j], nodes->weight[j], at, 0);
            double before = cosine[s], now = 1.0; /* T_-1, T_0 */
            for (int k = 0; k < ALL; k++) {
                const double next = 2.0 * cosine[s] * now - before;
                (k % 2 ? nodes->odd : nodes->even)[k / 2][j] += (k ? 2.0 : 1.0) / (double)ALL * value * now;
                before = now;
                now = next;
            }
        }
    }
}

int ex_open_nodes(ei_exact *x)
{
    static const double rho[EI_EXACT_RIMS] = {3.0, 5.0};
    if (x->in_bins < EX_MANY_BINS || x->nodes != NULL)
        return EI_OK;
    ei_exact_nodes *nodes = x->nodes = ei_zalloc(1, sizeof *nodes);
    if (nodes == NULL)
        return EI_ENOMEM;
    double at_node[N][ALL + 1];
    place_nodes(x, nodes, at_node);
    expand_nodes(x, nodes, at_node);
    for (int r = 0; r < EI_EXACT_RIMS; r++) {
        double up = 1.0;
        for (int k = 0; k < ALL; k++, up *= rho[r])
            nodes->rim[r][k] = 0.5 * (up + 1.0 / up);
        nodes->near[r] = 2.0 * rho[r] / (up * (rho[r] - 1.0));     /* rho^-(n - 1) */
        nodes->far[r] = 4.0 * rho[r] / (up * up * (rho[r] - 1.0)); /* rho^-(2 n - 1), twice */
    }
    const size_t cells = x->out_bins < x->n_thresholds + 1 ? x->out_bins : x->n_thresholds + 1;
    nodes->limit = ENOUGH / (double)(padded(cells + 1) / 8);
    nodes->least_log = -16.0;
    return EI_OK;
}
