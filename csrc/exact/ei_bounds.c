/* Bounds of the exact engine.
 *
 * The rest of the series (2), see ei_series.c, after T terms: |sinc x| <= E(x) = exp(-x^2 / 6) for
 * x^2 <= 3 (from the product of sinc over its zeros), and <= exp(-1/2) sqrt(3) / x beyond.
 * -d log E / d log x is min(x^2 / 3, 1), which never falls; so if W = w_T, p = sum min(x_k^2 / 3, 1)
 * there and B = prod E(x_k), then |phi(w)| <= B (W / w)^p beyond, and the rest is at most
 *     B / pi (1 / (T + 1/2) + 1 / p).                                                          (3)
 *
 * From probabilities to bits. If every probability of a distribution over m cells is off by at most
 * e, its entropy is off by at most m eta(e), eta(e) = -e log2 e (eta's modulus of continuity for
 * e < 1/e), and if they are off by V in sum, by m eta(V / m) (eta is concave). A cell is the
 * difference of F at two thresholds. I = H(Y) - mean_i H(Y | i) adds two such errors; for H(Y), whose
 * cells are known, eta's slope is the better bound where a cell is not nearly empty. Where samples are
 * dropped, (6) of ei_row.c is bounded alike.
 */
#include "exact/ei_exact_internal.h"

/* Bits that such an error can cost. m cells of probabilities p; `turns` thresholds lie
 * between a kept and a dropped interval, and `kept` is kept. p may be NULL. */
double ex_bits_bound(const ei_exact *x, size_t m, const double *p, size_t turns, row_error e,
                     double kept)
{
    const double most = ei_log2((double)(x->in_bins < x->out_bins ? x->in_bins : x->out_bins));
    const double two = 2.0 * e.point, share = e.variation / (double)m, all = two + share;
    if (!(all < 0.01) || !(kept > 0.0))
        return most;
    double bound = (double)m * (eta(all) + eta(share)); /* H(Y | i), and the smooth part of H(Y) */
    const double most_cell = eta(two);
    for (size_t c = 0; c < m; c++) {
        double cell = most_cell;
        if (p != NULL && p[c] > 2.0 * two) {
            /* eta is steepest at the lower end. */
            const double steep = two * (1.4426950408889634 - ei_log2(p[c] - two));
            cell = steep < cell ? steep : cell;
        }
        bound += cell;
    }
    if (turns > 0) {
        double edges = (double)turns * e.point + e.variation; /* error of kappa */
        if (!(edges < 0.1 * kept))
            return most;
        bound = (bound + 2.0 * eta(edges) + edges * (most + 1.0)) / (kept - edges);
    }
    bound += 64.0 * EPS;
    return bound < most ? bound : most;
}

/* What an edge of a row may be off by, in bits, by all that is noted. */
double ex_state_bound(const ei_exact *x, const row_view *v, const row_state *state)
{
    if (v->drops && state->kept == 0.0)
        return 0.0;
    return ex_bits_bound(x, v->n_labels, x->mean, v->turns, state->error, v->drops ? state->kept : 1.0) +
           state->bits + state->missed + (state->agreed > 0.0 ? ex_agreed_bits(v, state) : 0.0);
}

/* log of B of (3) at frequency w, and the slope p. */
static double log_envelope(const width_set *set, double w, double *slope)
{
    const double turn = 2.0 * 1.7320508075688772 / w; /* x = sqrt 3 */
    double product = 1.0, log_b = 0.0, p = 0.0;
    size_t i = set->first;
    for (; i < set->n && set->width[i] > turn; i++) {
        if (i == set->without)
            continue;
        product *= 1.0505350 / (0.5 * w * set->width[i]); /* exp(-1/2) sqrt 3 = 1.05053... */
        p += 1.0;
        if (product < 1e-200) {
            log_b -= 200.0 * 2.302585092994046;
            product *= 1e200;
        }
    }
    double squares = set->suffix[i];
    if (set->without >= i && set->without < set->n)
        squares -= set->width[set->without] * set->width[set->without];
    if (squares < 0.0)
        squares = 0.0;
    if (set->extra > turn) {
        product *= 1.0505350 / (0.5 * w * set->extra);
        p += 1.0;
    } else {
        squares += set->extra * set->extra;
    }
    *slope = p + w * w * squares / 12.0;
    return log_b + ei_log(product) - w * w * squares / 24.0;
}

/* Bound of the terms of (2) from T on, each divided by w^order. */
static double series_rest(const width_set *set, double h, double T, int order, double gain)
{
    double p, w = (T + 0.5) * h;
    double b = log_envelope(set, w, &p) - order * ei_log(w) + gain;
    return ei_exp(b) / PI * (1.0 / (T + 0.5) + 1.0 / (p + order + 1e-300));
}

/* Fewest waves (a multiple of 8) with a rest below the tolerance; 0 if more than `most`. */
size_t ex_waves_needed(const width_set *set, double h, int order, double gain, double tolerance,
                       size_t most)
{
    size_t high = 8;
    while (series_rest(set, h, (double)high, order, gain) > tolerance) {
        high *= 2;
        if (high > most)
            return 0;
    }
    size_t low = high / 2;
    while (high - low > 8 && high - low > low / 16) {
        size_t middle = padded((low + high) / 2);
        if (middle >= high)
            break;
        if (series_rest(set, h, (double)middle, order, gain) > tolerance)
            low = middle;
        else
            high = middle;
    }
    return high;
}
