#include "joint/ei_given_few.h"

#include "kernels/ei_kernels.h"

#include <math.h>
#include <string.h>

/* The recursion of exact/ei_recursion.c, (5) there, with no rest: its moments, and what it may be off by. */

static const double EPS = 0x1p-53;

static double factorial(int k) { return k > 1 ? k * factorial(k - 1) : 1.0; }

static double power(double x, int k) { return k > 0 ? x * power(x, k - 1) : 1.0; }

static double error_of(const ei_given_few *f)
{
    double e = 0.0;
    for (int d = 1; d <= f->n; d++) {
        const int k = f->n - d + 1;
        const double far = f->far[d] + 0.5 * f->width[d] + f->far[d - 1];
        const double beside = EPS * (k + 6) * power(far, k) / factorial(k);
        e = 2.0 * fmax(e, beside) / f->width[d];
        e += EPS * power(2.0 * f->far[d], k - 1) / factorial(k - 1);
    }
    return e;
}

void ei_given_few_open(ei_given_few *few, const ei_given_sums *sums)
{
    const int n = (int)sums->n_parts;
    double moment[EI_GIVEN_FEW + 1] = {1.0}; /* E S^l / l!, of the first d */
    int exponent;
    memset(few, 0, sizeof *few);
    (void)frexp(sums->parts[0], &exponent);
    few->n = n;
    few->unit = ldexp(1.0, exponent);
    for (int d = 0; d <= n; d++) {
        if (d > 0) { /* upwards */
            const double w = few->width[d] = sums->parts[n - d] / few->unit;
            few->far[d] = few->far[d - 1] + 0.5 * w;
            for (int l = n - n % 2; l >= 2; l -= 2)
                for (int j = 2; j <= l; j += 2)
                    moment[l] += moment[l - j] * power(0.5 * w, j) / factorial(j + 1);
        }
        for (int l = 0; l <= n - d; l += 2)
            few->right[d][l / 2] = moment[l] / factorial(n - d - l);
    }
    few->reach = few->far[n] * few->unit;
    few->error = error_of(few);
}

void ei_given_few_below(const ei_given_few *few, double *points, size_t n, double *out)
{
    const ei_exact_sum sum = {few->n, few->width, few->far, few->right[0], few->base, 0, 0.0, NULL};
    const size_t whole = (n + 7) / 8 * 8;
    for (size_t i = 0; i < whole; i++)
        points[i] = i < n ? points[i] / few->unit : points[n - 1];
    if (n > 0)
        ei_active()->exact->distribution(&sum, points, whole, out);
}
