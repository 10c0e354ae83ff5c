/* How the distribution function of one set of widths is computed: how many of them are dominant (see
 * ei_recursion.c), how many waves the rest takes (ei_series.c), what that costs and how exact it is.
 * The bound of a plan is that of its truncation (ei_bounds.c) and, to first order in the unit roundoff,
 * of its rounding. */
#include "exact/ei_exact_internal.h"

#include <string.h>

/* phi(q) of the given widths. Those with arguments up to 1 by the series of log sinc,
 * log sinc x = -sum zeta(2 m) / (m pi^(2 m)) x^(2 m): the error is then that of a sum of small
 * numbers, whatever their count. `widths` is overwritten. Returns how many were multiplied. */
size_t ex_characteristic(ei_exact *x, double *widths, size_t n, double half_step, size_t n_waves,
                         double *phi)
{
    static const double zeta[EI_EXACT_POWERS] = {
        0.16666666666666666,    0.005555555555555556,   0.0003527336860670194,
        2.6455026455026456e-05, 2.1377799155576935e-06, 1.803670234005331e-07,
        1.5661391322766983e-08, 1.3884130493737299e-09, 1.2504359176004997e-10,
        1.1402575602296091e-11, 1.0502923908637557e-12, 9.754877841593701e-14,
        9.123468230859098e-15,  8.5837197618956095e-16};
    const double limit = 1.0 / ((2.0 * (double)n_waves - 1.0) * half_step);
    size_t large = 0;
    for (size_t i = 0; i < n; i++) {
        if (widths[i] > limit) {
            double t = widths[large];
            widths[large++] = widths[i];
            widths[i] = t;
        }
    }
    x->k->sinc_product(widths, large, half_step, n_waves, phi);
    size_t small = n - large;
    if (small == 0)
        return large;
    /* In units of the greatest argument, which is 1 at most. */
    double *scaled = widths + large;
    for (size_t i = 0; i < small; i++)
        scaled[i] /= limit;
    for (size_t i = small; i < padded(small); i++)
        scaled[i] = 0.0;
    double sums[EI_EXACT_POWERS];
    x->k->power_sums(scaled, padded(small), sums);
    for (size_t q = 0; q < n_waves; q++) {
        double u = (2.0 * (double)q + 1.0) / (2.0 * (double)n_waves - 1.0);
        double square = u * u, sum = 0.0;
        for (int m = EI_EXACT_POWERS; m-- > 0;)
            sum = sum * square + zeta[m] * sums[m];
        phi[q] *= ei_exp(-sum * square);
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
    memcpy(x->packed, set->width + K, (n - (size_t)K) * sizeof(double));
    size_t multiplied = ex_characteristic(x, x->packed, n - (size_t)K, 0.5 * plan->half_step, r->n_waves,
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
