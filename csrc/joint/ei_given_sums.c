/* Characteristic functions of sums of uniform variables, continuous and on equidistant places. */
#include "joint/ei_given.h"

#include "common/ei_math.h"
#include "kernels/ei_given_kernels.h"
#include "kernels/ei_kernels.h"

#include <math.h>
#include <string.h>

enum { POWERS = 14, FEW = 32, LANES = EI_GIVEN_LANES };

/* log sinc x = -sum_m LOG_SINC[m - 1] x^(2 m): zeta(2 m) / (m pi^(2 m)). */
static const double LOG_SINC[POWERS] = {
    0.16666666666666666667,
    0.0055555555555555555556,
    0.00035273368606701940035,
    0.000026455026455026455026,
    2.1377799155576933355e-6,
    1.8036702340053310071e-7,
    1.5661391322766984143e-8,
    1.3884130493737299423e-9,
    1.250435917600499603e-10,
    1.1402575602296091433e-11,
    1.0502923908637556408e-12,
    9.7548778415937016497e-14,
    9.1234682308590978058e-15,
    8.5837197618956093497e-16,
};

/* A bound of the logarithm of u's characteristic function at w, and of how fast it falls there:
 * |sinc x| is at most exp(-x^2 / 6) up to x^2 = 3, and exp(-1/2) sqrt(3) / x beyond; the slope is
 * -d log / d log w, which never falls. */
static double envelope(const ei_given_sums *s, double w, double *slope)
{
    double near = 0.0, log_far = 0.0, far = 1.0;
    for (size_t k = 0; k < s->n_parts; k++) {
        const double x = fmin(0.5 * w * s->parts[k], 1e150);
        const double square = x * x / 3.0;
        near += fmin(square, 1.0);
        if (square > 1.0) {
            far *= fmin(x, 1e100) * 0.57735026918962576451;
            if (far > 1e150) {
                log_far += ei_log(far);
                far = 1.0;
            }
        }
    }
    *slope = near;
    return -0.5 * near - (log_far + ei_log(far));
}

double ei_given_highest(const ei_given_sums *s)
{
    const double aim = -39.143946581408968; /* log EI_GIVEN_ZERO */
    double squares = 0.0, slope;
    for (size_t k = 0; k < s->n_parts; k++)
        squares += s->parts[k] * s->parts[k];
    const double low = sqrt(-24.0 * aim / squares);
    double high = low;
    while (envelope(s, high, &slope) > aim && high < 1e7 * low)
        high *= 1.25;
    return high;
}

double ei_given_rest(const ei_given_sums *s, double w, size_t waves)
{
    double slope;
    const double size = envelope(s, w, &slope);
    return ei_exp(size) / 3.14159265358979323846 * (1.0 / (double)waves + 1.0 / fmax(slope, 1e-9));
}

/* exp(-sum_m c_m P_m y^m) for y = (q step / unit)^2 while that is at most 1, from q = 0 on: the product
 * over sizes by the series of its logarithm, P_m the sum of their powers 2 m. Returns how many. */
static size_t by_powers(const double *size, size_t n, double bins, double step, size_t last,
                        double *out)
{
    const double limit = 2.0 / (size[0] * fmax(bins, 1.0)); /* arguments are half of w size */
    const double unit = limit * fmax(bins, 1.0);
    double sums[POWERS] = {0};
    for (size_t k = 0; k < n; k++) {
        const double square = size[k] / size[0] * (size[k] / size[0]);
        double power = 1.0;
        for (size_t m = 0; m < POWERS; m++) {
            power *= square;
            sums[m] += power;
        }
    }
    double square = 1.0;
    for (size_t m = 0; m < POWERS; m++) {
        square *= bins * bins;
        sums[m] *= LOG_SINC[m] * (bins > 0.0 ? square - 1.0 : 1.0);
    }
    size_t q = 0;
    for (; q < last && (double)q * step <= limit; q++) {
        const double x = (double)q * step / unit, y = x * x;
        double total = 0.0;
        for (size_t m = POWERS; m-- > 0;)
            total = (total + sums[m]) * y;
        const double value = total < 40.0 ? ei_exp(-total) : 0.0;
        out[q] = value > EI_GIVEN_ZERO ? value : 0.0;
    }
    return q;
}

/* The sizes, downwards, as a block of frequencies sees them. */
typedef struct {
    const double *size;
    size_t n, wide, first; /* arguments beyond 2, and beyond 1 / bins, are those before */
    double squares;        /* of the sizes from `first` on */
} view;

/* Whether the product is zero at frequencies w to top: a factor is at most exp(-(bins^2 - 1) x^2 / 6)
 * while bins x <= 1 (exp(-x^2 / 6) of a sinc), and up to x = 2 at most its value there, below 0.88. w
 * rises from call to call. */
static int negligible(view *v, double bins, double w, double top)
{
    const double scale = fmax(bins, 1.0), gain = bins > 0.0 ? bins * bins - 1.0 : 1.0;
    for (; v->first < v->n && 0.5 * scale * top * v->size[v->first] > 1.0; v->first++)
        v->squares -= v->size[v->first] * v->size[v->first];
    while (v->wide < v->first && 0.5 * top * v->size[v->wide] > 2.0)
        v->wide++;
    const double some = (double)(v->first - v->wide) * 0.1278; /* -log 0.88 */
    return some + gain * w * w * fmax(v->squares, 0.0) / 24.0 > 39.5;
}

static void product(const double *size, size_t n, double bins, double step, size_t last, double *out)
{
    view v = {size, n, 0, 0, 0.0};
    for (size_t k = 0; k < n; k++)
        v.squares += size[k] * size[k];
    const size_t done = n > FEW ? by_powers(size, n, bins, step, last, out) / LANES * LANES : 0;
    for (size_t q = done; q < last; q += LANES) {
        if (negligible(&v, bins, (double)q * step, (double)(q + LANES) * step))
            memset(out + q, 0, LANES * sizeof *out);
        else
            ei_active()->given->products(size, n, bins, 0.5 * step, q, q + LANES, out);
    }
    out[0] = 1.0;
}

void ei_given_of_u(const ei_given_sums *s, double step, size_t n, double *out)
{
    product(s->parts, s->n_parts, 0.0, step, n, out);
}

void ei_given_of_s(const ei_given_sums *s, double step, size_t n, double *out)
{
    product(s->steps, s->n_steps, (double)s->bins, step, n, out);
}
