/* The recursion (5) of ei_recursion.c over all widths, in double-double. */
#include "exact/ei_few.h"

#include <float.h>

/* What an operation and those leading up to it may be off by; see ei_few_prepare. */
static const double UNIT = 0x1p-100;

/* Error. G_d^(k) with k = n - d is the difference of two values of G_{d-1}^(k+1) over a_d. Within the
 * support of S_d these are taken at |s| <= r_d + a_d / 2, where they are at most q = (2 r_d)^(k+1) /
 * (k+1)!. Each is off by what the recursion is off by or, right of the support, by the rounding of a
 * polynomial of positive terms, u (k + 8) q say; an error u r_d of the place costs u (k + 1) q; and
 * the difference and the quotient add u (q / a_d + (2 r_d)^k / k!). What underflows is counted as
 * DBL_MIN each time. */
static double error_bound(const ei_few_sum *sum)
{
    double e = DBL_MIN;
    for (int d = 1; d <= sum->n; d++) {
        const int k = sum->n - d;
        const double far = 2.0 * sum->reach[d].hi;
        double power = 1.0;
        for (int i = 1; i <= k; i++)
            power *= far / i;
        e = 2.0 * (e + 4.0 * UNIT * (k + 10) * power * far / (k + 1) + DBL_MIN) / sum->width[d].hi +
            4.0 * UNIT * power;
    }
    return e;
}

void ei_few_prepare(ei_few_sum *sum, const dd *width, int n, double place)
{
    dd moment[EI_FEW + 1] = {{1.0, 0.0}}; /* E S_d^l / l! for even l */
    dd factorial[EI_FEW + 2];             /* 1 / l! */
    factorial[0] = (dd){1.0, 0.0};
    for (int l = 1; l <= n; l++)
        factorial[l] = dd_div(factorial[l - 1], (dd){l, 0.0});
    sum->n = n;
    sum->reach[0] = sum->width[0] = sum->inverse[0] = (dd){0.0, 0.0};
    sum->nodes = 1.0;
    for (int d = 0; d <= n; d++) {
        if (d > 0) {
            const dd a = width[d - 1], square = dd_half(dd_half(dd_mul(a, a)));
            sum->width[d] = a;
            sum->inverse[d] = dd_div((dd){1.0, 0.0}, a);
            sum->reach[d] = dd_add(sum->reach[d - 1], dd_half(a));
            for (int l = n - n % 2; l >= 2; l -= 2) {
                dd term = {1.0, 0.0};
                for (int j = 2; j <= l; j += 2) {
                    term = dd_div(dd_mul(term, square), (dd){(double)(j * (j + 1)), 0.0});
                    moment[l] = dd_add(moment[l], dd_mul(moment[l - j], term));
                }
            }
            const double share = 2.0 * sum->reach[d - 1].hi / sum->reach[d].hi;
            sum->nodes = 1.0 + sum->nodes * (share < 2.0 ? share : 2.0);
        }
        for (int l = 0; l <= n - d; l += 2)
            sum->right[d][l / 2] = dd_mul(moment[l], factorial[n - d - l]);
    }
    sum->error = error_bound(sum) + place / width[n - 1].hi;
}

/* G_d of order n - d. */
static dd integral(const ei_few_sum *sum, int d, dd s)
{
    if (!dd_less(s, sum->reach[d])) {
        const int order = sum->n - d;
        const dd square = dd_mul(s, s);
        dd v = sum->right[d][0];
        for (int l = 1; l <= order / 2; l++)
            v = dd_add(dd_mul(v, square), sum->right[d][l]);
        return order % 2 ? dd_mul(v, s) : v;
    }
    if (d == 0 || !dd_less((dd){-sum->reach[d].hi, -sum->reach[d].lo}, s))
        return (dd){0.0, 0.0};
    const dd half = dd_half(sum->width[d]);
    return dd_mul(dd_sub(integral(sum, d - 1, dd_add(s, half)), integral(sum, d - 1, dd_sub(s, half))),
                  sum->inverse[d]);
}

dd ei_few_distribution(const ei_few_sum *sum, dd s) { return integral(sum, sum->n, s); }
