/* How the distribution function of one set of widths is computed: how many of them are dominant (see
 * ei_recursion.c), how many waves the rest takes (ei_series.c), what that costs and how exact it is.
 * The bound of a plan is that of its truncation (ei_bounds.c) and, to first order in the unit roundoff,
 * of its rounding. */
#include "exact/ei_exact_internal.h"

#include <string.h>

/* log sinc x = -sum_m c_m u^(2 m + 2), u = x / 1.9: a polynomial that interpolates log sinc x / u^2 at
 * Chebyshev's nodes of 0 <= u^2 <= 1, to 4e-17. */
static const double log_sinc[EI_EXACT_POWERS] = {
    0.60166666666666664,     0.072400555555568891,   0.016594667018270727,
    0.0044930061332203292,   0.0013106863714451423,  0.00039921596610777924,
    0.00012508777945077988,  4.0273668774372476e-5,  1.2261812879420983e-5,
    6.1235995355361474e-6,   -1.8060301002245508e-6, 4.580873165244081e-6,
    -3.5241722202848723e-6,  2.2961732668727631e-6,  -8.2327693018963804e-7,
    1.6083780675202e-7};

/* How many of its terms widths of these squares take, the greatest being `most` (both scaled as u is), so
 * that no phi(q) is off by more than `limit`. What m leaves out of -log phi is at most |c_m| most^(2 m) S
 * u^(2 m + 2), S the squares, and phi is at most exp(-0.6 S u^2) itself: their product is greatest where
 * 0.6 S u^2 = m + 1, or at u = 1. S is known up to `off`. */
static size_t powers_needed(double squares, double off, double most, double limit)
{
    static const double greatest[EI_EXACT_POWERS] = { /* |c_m| ((m + 1) / (0.6 e))^(m + 1) */
        0.37, 0.109, 0.104, 0.163, 0.355, 0.99, 3.36, 13.5, 58.2, 460.0, 2373.0, 115286.0, 1847253.0,
        27074280.0, 234546441.0, 1183521491.0};
    const double least = squares - off, ends = (squares + off) * ei_exp(-fmin(0.6 * fmax(least, 0.0), 600.0));
    double ratio = most * most / least, part[EI_EXACT_POWERS], power = 1.0, inner = 1.0, left = 0.0;
    for (int m = 0; m < EI_EXACT_POWERS; m++) {
        part[m] = 0.6 * least > m + 1 ? 1.01 * greatest[m] * inner : fabs(log_sinc[m]) * power * ends;
        inner *= ratio;
        power *= most * most;
    }
    size_t n = EI_EXACT_POWERS;
    while (n > 1 && left + part[n - 1] <= limit)
        left += part[--n];
    return n;
}

/* phi(q) of the given widths. Those with arguments up to 1.9 by log sinc: all of them together by their sums
 * of powers, and the error is that of a sum of small numbers, whatever their count. Returns how many were
 * multiplied. */
size_t ex_characteristic(ei_exact *x, const some_widths *all, double half_step, size_t n_waves,
                         double *phi)
{
    const double last = 2.0 * (double)n_waves - 1.0, scale = last * half_step / 1.9, *widths = all->width;
    const size_t n = all->n;
    size_t large = 0;
    double apart = 0.0;
    if (all->greatest * scale > 1.0)
        for (size_t i = 0; i < n; i++)
            if (widths[i] * scale > 1.0) {
                apart += widths[i] * widths[i];
                x->large[large++] = widths[i];
            }
    x->k->sinc_product(x->large, large, half_step, n_waves, phi);
    if (large < n) {
        double c[EI_EXACT_POWERS];
        const double squares = all->squares * scale * scale, most = fmin(all->greatest * scale, 1.0);
        const size_t powers = powers_needed(squares - apart * scale * scale, 1e-12 * squares, most,
                                            5e-5 * x->tolerance);
        x->k->power_sums(widths, n, scale, powers, c);
        for (size_t m = 0; m < powers; m++)
            c[m] *= log_sinc[m];
        x->k->damp(c, powers, n_waves, last, phi);
    }
    return large;
}

/* What K dominant widths cost and how exact they are. n_waves is 0 with error infinite if the series
 * would need too many. */
split ex_consider(const ei_exact *x, const width_set *all, int K, double reach0, double evaluated)
{
    width_set set = *all;
    set.first = (size_t)K;
    split r = {.reach = reach0};
    r.half_period = reach0 + (K || evaluated > reach0 ? reach0 : evaluated);
    double width[DOMINANT + 1] = {0}, reach[DOMINANT + 1];
    reach[0] = reach0;
    for (int d = 1; d <= K; d++) {
        width[d] = all->width[K - d];
        reach[d] = reach[d - 1] + 0.5 * width[d];
        r.gain += ei_log(2.0 / width[d]);
    }
    double base = 0.0;
    if (reach0 > 0.0) {
        const double h = 2.0 * PI / r.half_period;
        r.n_waves = ex_waves_needed(&set, h, K, r.gain, 0.5 * x->tolerance, MAX_WAVES);
        if (r.n_waves == 0) {
            r.error = INFINITY;
            return r;
        }
        base = K == 0 ? 30.0 * EPS : 8.0 * EPS;
        double beside = 4.0 * EPS;
        for (int k = 1; k <= K; k++) {
            base *= 2.0 * r.half_period / PI;
            beside *= r.half_period / k;
        }
        base += beside;
    }
    r.error = ex_recursion_error(width, reach, K, base, &r.leaves, &r.nodes);
    return r;
}

/* Rough time of the distribution function at one point, nanoseconds. */
double ex_point_cost(const split *r)
{
    return 2.0 * r->nodes + r->leaves * (0.5 * (double)r->n_waves + 1.0);
}

/* Half the support of the widths from `first` on, less tails that may be neglected. */
double ex_smooth_reach(const ei_exact *x, const width_set *set, size_t first)
{
    double half = 0.0;
    const double tail = x->tail * sqrt(set->suffix[first] / 12.0);
    for (size_t i = first; i < set->n && half < tail; i++)
        half += 0.5 * set->width[i];
    return half < tail ? half : tail;
}

/* Fill a plan for the widths, K of them dominant. phi and coefficient have room for n_waves. */
void ex_make_plan(ei_exact *x, sum_plan *plan, const width_set *set, int K, const split *r)
{
    const size_t n = set->n;
    plan->dominant = K;
    plan->n_waves = r->n_waves;
    plan->half_period = r->half_period;
    plan->half_step = r->n_waves ? PI / r->half_period : 0.0;
    plan->reach[0] = r->reach;
    /* Moments of the smooth rest, E S^l / l!, one width after the other. */
    double *moment = plan->moment[0];
    memset(moment, 0, sizeof plan->moment[0]);
    moment[0] = 1.0;
    for (size_t i = (size_t)K; i < n && K > 1; i++) {
        const double square = 0.25 * set->width[i] * set->width[i];
        for (int l = K - K % 2; l >= 2; l -= 2) {
            double term = 1.0;
            for (int j = 2; j <= l; j += 2) {
                term *= square / (j * (j + 1));
                moment[l] += moment[l - j] * term;
            }
        }
    }
    for (int d = 1; d <= K; d++) {
        const double width = set->width[K - d], square = 0.25 * width * width;
        plan->width[d] = width;
        plan->reach[d] = plan->reach[d - 1] + 0.5 * width;
        memcpy(plan->moment[d], plan->moment[d - 1], sizeof plan->moment[0]);
        for (int l = K - K % 2; l >= 2; l -= 2) {
            double term = 1.0;
            for (int j = 2; j <= l; j += 2) {
                term *= square / (j * (j + 1));
                plan->moment[d][l] += plan->moment[d][l - j] * term;
            }
        }
    }
    plan->error = (row_error){r->error + x->tolerance, 0.0};
    if (r->n_waves > 0)
        ex_prepare_side(plan, K);
    ex_prepare_polynomials(plan);
    if (r->n_waves == 0)
        return;
    const some_widths rest = {set->width + K, n - (size_t)K, set->width[K], set->suffix[K]};
    const size_t multiplied = ex_characteristic(x, &rest, 0.5 * plan->half_step, r->n_waves,
                                                plan->phi);
    double rounding = 0.0, heights = 0.0;
    for (size_t q = 0; q < r->n_waves; q++) {
        const double odd = 2.0 * (double)q + 1.0, w = odd * plan->half_step;
        double c = plan->phi[q] / (0.5 * PI * odd);
        rounding += K ? 0.0 : fabs(c) * (10.0 + 2.0 * odd);
        heights += fabs(plan->phi[q]);
        for (int k = 0; k < K; k++)
            c /= w;
        /* sin, -cos, -sin, cos, ... */
        plan->coefficient[q] = (K & 3) == 1 || (K & 3) == 2 ? -c : c;
    }
    /* Waves of wrong heights are averaged by the dominant widths, never amplified. */
    plan->error.point += 0.5 * EPS * rounding;
    plan->error.variation = 0.5 * EPS * 3.0 * (double)(multiplied + 8) * 2.0 * heights;
}

/* The best plan for the distribution function of a set of widths (nothing left out, no extra). */
void ex_choose_plan(ei_exact *x, sum_plan *plan, const width_set *set, double evaluated,
                    double n_points)
{
    split best = {.error = INFINITY};
    int best_k = -1;
    double best_cost = INFINITY;
    for (int K = 0; K <= DOMINANT && (size_t)K <= set->n; K++) {
        split r = ex_consider(x, set, K, ex_smooth_reach(x, set, (size_t)K), evaluated);
        double cost = n_points * ex_point_cost(&r) + 0.6 * (double)(r.n_waves * (set->n - (size_t)K));
        int good = r.error <= x->allowed, was_good = best.error <= x->allowed;
        if (best_k < 0 || (good && !was_good) || (good && cost < best_cost) ||
            (!good && !was_good && r.error < best.error)) {
            best = r;
            best_k = K;
            best_cost = cost;
        }
        if (good && r.n_waves <= 32)
            break;
    }
    if (best.error == INFINITY) { /* nothing at all converges: say so */
        best.n_waves = 8;
        best.half_period = best.reach = ex_smooth_reach(x, set, 0);
        best.half_period += evaluated;
        best_k = 0;
    }
    ex_make_plan(x, plan, set, best_k, &best);
}
