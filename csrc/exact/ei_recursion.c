/* Route 3: closed form over the dominant few.
 *
 * If a few widths tower over the others, the series (2) of ei_series.c converges slowly. Order widths
 * upwards, let G_d^(k) be the k-fold integral of the distribution function of the smooth rest plus the
 * d least of the dominant ones, G_d^(k)(s) = E (s - S_d)_+^k / k!. Then
 *     G_d^(k)(s) = (G_{d-1}^(k+1)(s + a_d / 2) - G_{d-1}^(k+1)(s - a_d / 2)) / a_d,             (5)
 * which is a polynomial (moments of S_d) right of the support, 0 left of it, and at d = 0 the
 * integrated series. Whoever stands outside the support stops the recursion, so well separated
 * widths cost next to nothing, and as a_d is of the size of the support of S_{d-1} or greater,
 * little cancels. With no smooth rest, (5) is inclusion and exclusion with the order of sums that
 * loses least. recursion_error carries the error of (5) from width to width.
 */
#include "exact/ei_exact_internal.h"

static double power_polynomial(const double *moment, int k, double s)
{
    /* E (s - S)^k / k! = sum over even l of moment[l] s^(k - l) / (k - l)! */
    double square = s * s, sum = 0.0;
    for (int l = 0; l <= k; l += 2)
        sum = sum * square + moment[l] * inverse_factorial[k - l];
    return k % 2 ? sum * s : sum;
}

/* The k-fold integral of (2), |s| within the reach: half E (s - S)^k / k!, plus the mean of Q_k(s - S),
 * plus the waves, where Q_k is the polynomial by which the k-fold integral of the square wave with
 * mean zero differs from half sgn(x) x^k / k!. side[l], l odd: Q_k(x) = sum side[l] x^(k-l) / (k-l)!. */
static double base_polynomial(const sum_plan *plan, int k, double s)
{
    double value = 0.5 * power_polynomial(plan->moment[0], k, s);
    for (int l = 1; l <= k; l += 2)
        value += plan->side[l] * power_polynomial(plan->moment[0], k - l, s);
    return value;
}

void ex_prepare_side(sum_plan *plan, int most)
{
    /* Zero mean over half a period P: P^k / (2 (k + 1)!) = sum_l side[l] P^(k-l) / (k - l + 1)!. */
    const double P = plan->half_period;
    double power[DOMINANT + 2];
    power[0] = 1.0;
    for (int i = 1; i <= most; i++)
        power[i] = power[i - 1] * P;
    for (int k = 1; k <= most; k += 2) {
        double c = 0.5 * power[k] * inverse_factorial[k + 1];
        for (int l = 1; l < k; l += 2)
            c -= plan->side[l] * power[k - l] * inverse_factorial[k - l + 1];
        plan->side[k] = c;
    }
}

/* The polynomials in the form that the kernel takes. */
void ex_prepare_polynomials(sum_plan *plan)
{
    const int K = plan->dominant;
    for (int d = 0; d <= K; d++)
        for (int l = 0; l <= K - d; l += 2)
            plan->right[d][l / 2] = plan->moment[d][l] * inverse_factorial[K - d - l];
    for (int k = 0; k <= K; k++)
        plan->base[k] = 0.0;
    for (int l = 0; l <= K; l += 2)
        plan->base[K - l] += 0.5 * plan->moment[0][l] * inverse_factorial[K - l];
    for (int i = 1; i <= K && plan->n_waves > 0; i += 2)
        for (int l = 0; l <= K - i; l += 2)
            plan->base[K - i - l] += plan->side[i] * plan->moment[0][l] * inverse_factorial[K - i - l];
}

/* points is padded to a multiple of 8 here. */
void ex_distribution(const ei_exact *x, const sum_plan *plan, double *points, size_t n, double *out)
{
    const ei_exact_sum sum = {plan->dominant, plan->width, plan->reach, plan->right[0], plan->base,
                              plan->n_waves, plan->half_step, plan->coefficient};
    for (size_t i = n; i < padded(n); i++)
        points[i] = points[n - 1];
    x->k->distribution(&sum, points, padded(n), out);
}

/* Orders -most .. K - d (as in (5); negative ones are derivatives) of G_d at s, lengths measured in
 * `unit` to stay in range: out[most + k] = G_d^(k)(s) / unit^k. */
void ex_derivatives(const ei_exact *x, const sum_plan *plan, double unit, int d, int most,
                    double s, double *out)
{
    const int top = plan->dominant - d;
    double scale = 1.0;
    if (s >= plan->reach[d] || s <= -plan->reach[d]) {
        for (int k = -most; k < 0; k++)
            out[most + k] = 0.0;
        for (int k = 0; k <= top; k++, scale /= unit)
            out[most + k] = s < 0.0 ? 0.0 : power_polynomial(plan->moment[d], k, s) * scale;
    } else if (d == 0) {
        double *sine = plan->scratch, *cosine = plan->scratch + plan->n_waves;
        x->k->waves(plan->half_step * s, plan->n_waves, sine, cosine);
        for (int k = -most; k <= top; k++)
            out[most + k] = 0.0;
        for (size_t q = plan->n_waves; q-- > 0;) {
            const double odd = 2.0 * (double)q + 1.0, w = odd * plan->half_step * unit;
            const double c = plan->phi[q] / (0.5 * PI * odd);
            /* Derivative j of sin(w s): w^j times sin, cos, -sin, -cos. */
            const double wave[4] = {c * sine[q], c * cosine[q], -c * sine[q], -c * cosine[q]};
            double power = 1.0;
            for (int j = 0; j <= most; j++, power *= w)
                out[most - j] += power * wave[j & 3];
            power = 1.0 / w;
            for (int k = 1; k <= top; k++, power /= w)
                out[most + k] += power * wave[-k & 3];
        }
        for (int k = 0; k <= top; k++, scale /= unit)
            out[most + k] += base_polynomial(plan, k, s) * scale;
    } else {
        double above[ORDERS], below[ORDERS];
        const double half = 0.5 * plan->width[d];
        ex_derivatives(x, plan, unit, d - 1, most, s + half, above);
        ex_derivatives(x, plan, unit, d - 1, most, s - half, below);
        for (int k = -most; k <= top; k++)
            out[most + k] = (above[most + k + 1] - below[most + k + 1]) * (unit / plan->width[d]);
    }
}

/* Error of (5) with K dominant widths above a rest that is off by `base` in its K-fold integral; how
 * often that is evaluated, on average, and how many nodes the recursion has. */
double ex_recursion_error(const double *width, const double *reach, int K, double base,
                          double *leaves, double *nodes)
{
    double e = base;
    *leaves = *nodes = 1.0;
    for (int d = 1; d <= K; d++) {
        const int k = K - d + 1;
        const double far = reach[d] + 0.5 * width[d] + reach[d - 1];
        double beside = EPS * (k + 6);
        for (int i = 1; i <= k; i++)
            beside *= far / i;
        e = 2.0 * (e > beside ? e : beside) / width[d];
        double inner = EPS;
        for (int i = 1; i < k; i++)
            inner *= 2.0 * reach[d] / i;
        e += inner;
        /* Points go in groups of eight neighbours, so a few more than by chance. */
        double share = 2.0 * reach[d - 1] / reach[d] + 0.3;
        share = share < 2.0 ? share : 2.0;
        *nodes = 1.0 + *nodes * share;
        *leaves *= share;
    }
    return e;
}
