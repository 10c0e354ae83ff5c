/* Route 2: the expansion.
 *
 * Averaging over v_A is what turns F_rest, with x_A held, into F_all. Its inverse on exp(i w s) is the
 * generating function of the Bernoulli polynomials:
 *     F_rest(s - a v) = sum_k (-a)^k B_k(v + 1/2) / k! F_all^(k)(s),                            (4)
 * exactly so for every wave of the series (2) with w a < 2 pi. Averaged over the bins, the polynomials
 * are one table for the whole layer, the derivatives of F_all one for the row, and an edge costs a
 * small matrix product. |B_k(v + 1/2)| / k! <= 3.3 / (2 pi)^k bounds the rest (Lehmer 1940).
 */
#include "exact/ei_exact_internal.h"

/* beta(i, k) for i counted from the middle: (2 pi)^k (-1)^k times the mean of B_k(v + 1/2) / k! over
 * bin i. B_k(v + 1/2) = sum_l C(k, l) B_{k-l}(1/2) v^l. */
/* half[n] = (2 pi)^n B_n(1/2) / n!, from z/2 / sinh(z/2) = sum B_n(1/2) z^n / n!. */
static void bernoulli_numbers(double half[EI_EXACT_TERMS + 1])
{
    double series[EI_EXACT_TERMS + 1];
    for (int n = 0; n <= EI_EXACT_TERMS; n++)
        series[n] = n % 2 ? 0.0 : inverse_factorial[n + 1];
    for (int n = 0; n <= EI_EXACT_TERMS; n++)
        for (int j = 0; j < n; j++)
            series[n] *= PI; /* (2 pi)^n / 2^n */
    for (int n = 0; n <= EI_EXACT_TERMS; n++) {
        half[n] = n == 0 ? 1.0 : 0.0;
        for (int j = 1; j <= n; j++)
            half[n] -= series[j] * half[n - j];
    }
}

void ex_bernoulli(const double half[EI_EXACT_TERMS + 1], double in_bins, double centre,
                  double beta[EI_EXACT_TERMS])
{
    const int K = EI_EXACT_TERMS;
    /* mean[l] = (2 pi)^l mean(v^l) / l!, by powers of centre and half a bin, all positive. */
    const double D = 1.0 / in_bins;
    double mean[EI_EXACT_TERMS + 1], c[EI_EXACT_TERMS + 1], r[EI_EXACT_TERMS + 1];
    c[0] = r[0] = 1.0;
    for (int l = 1; l <= K; l++) {
        c[l] = c[l - 1] * (2.0 * PI * centre * D) / l;
        r[l] = r[l - 1] * (PI * D) / (l + 1);
    }
    for (int l = 0; l <= K; l++) {
        mean[l] = 0.0;
        for (int j = 0; j <= l; j += 2)
            mean[l] += c[l - j] * r[j];
    }
    for (int k = 1; k <= K; k++) {
        double b = 0.0;
        for (int l = k; l >= 0; l--)
            b += half[k - l] * mean[l];
        beta[k - 1] = k % 2 ? -b : b;
    }
}

void ex_bernoulli_table(ei_exact *x)
{
    const int odd = x->in_bins % 2;
    bernoulli_numbers(x->half);
    for (size_t i = 0; i < x->n_pairs + (size_t)odd; i++) {
        double centre = odd ? (double)(i + 1) : (double)i + 0.5;
        if (i == x->n_pairs)
            centre = 0.0; /* the middle bin comes last */
        double *beta = x->beta + i * EI_EXACT_TERMS;
        ex_bernoulli(x->half, (double)x->in_bins, centre, beta);
        for (int k = 0; k < EI_EXACT_TERMS; k++)
            x->most_beta[k] = fmax(x->most_beta[k], fabs(beta[k]));
    }
}

/* What n (even) terms leave behind: 3.3 ratio^(n + 1) moments[n + 1] <= tolerance / 4. */
static double negligible_moment(const ei_exact *x) { return x->tolerance * 0.25 / 3.3; }

void ex_expansion_widest(const ei_exact *x, expansion_range *range)
{
    const double most = negligible_moment(x), last = range->moments[EI_EXACT_TERMS + 1];
    range->widest = range->reference;
    if (last > most)
        range->widest *= ei_exp((ei_log(most) - ei_log(last)) / (EI_EXACT_TERMS + 1));
}

size_t ex_terms_for(const ei_exact *x, const expansion_range *range, double width)
{
    const double ratio = width / range->reference, most = negligible_moment(x);
    double power = ratio;
    for (size_t n = 2; n < EI_EXACT_TERMS; n += 2) {
        power *= ratio * ratio;
        if (power * range->moments[n + 1] <= most)
            return n;
    }
    return EI_EXACT_TERMS;
}

ei_exact_edge ex_one_expansion(const ei_exact *x, const ei_exact_expansion *row, double ratio, size_t terms)
{
    double powers[EI_EXACT_TERMS];
    powers[0] = ratio;
    for (size_t k = 1; k < terms; k++)
        powers[k] = powers[k - 1] * ratio;
    return x->k->expansion(row, powers, terms);
}

/* Edges within the range, by the row's derivatives; the others' information is set to 0. */
int ex_expand_edges(ei_exact *x, const row_view *v, const expansion_range *range, row_state *state,
                    double *information)
{
    const ei_exact_expansion row = {state->cells, x->mean + state->first, x->sign + state->first, x->term, x->n_pairs,
                                    (int)(x->in_bins % 2), x->beta, ex_costs(x, state), ex_nodes_of(x, state)};
    const size_t often = 1 + 200000 / ((size_t)x->in_bins * v->n_cells);
    const double done = ex_between_edges(x, v, &row, range, state, information);
    if (done >= range->widest)
        return EI_OK;
    if (done == 0.0)
        ex_nothing(x, information);
    size_t since = 0;
    for (size_t i = 0; i < x->n_in; i++) {
        const double a = x->a[i];
        if (!(a > done) || a > range->widest)
            continue;
        const size_t terms = ex_terms_for(x, range, a);
        const ei_exact_edge edge = ex_one_expansion(x, &row, a / range->reference, terms);
        information[i] = ex_edge_information(x, state, &edge);
        if (++since >= often) {
            since = 0;
            if (ei_cancelled(state->cancel))
                return EI_ECANCELLED;
        }
    }
    return EI_OK;
}

/* Greatest width not above `limit`; that of all is 1. */
double ex_widest_below(const ei_exact *x, double limit)
{
    if (limit >= 1.0)
        return 1.0;
    double widest = 0.0;
    for (size_t i = 0; i < x->n_in; i++)
        if (x->a[i] <= limit && x->a[i] > widest)
            widest = x->a[i];
    return widest;
}
