#include "joint/ei_wide_pair.h"

#include "common/ei_math.h"
#include "kernels/ei_wide_nodes.h"

#include <math.h>

enum { MOST_TURNS = 6 };

/* The second site's factor, averaged over it given the first one's value x: a product of an exponential
 * and a normal probability. Values are counted from the sites' means. */
typedef struct {
    const ei_wide_site *site;
    double slope;             /* of the conditional mean in x */
    double precision;         /* of the conditional normal */
    double total, root;       /* precision with the factor's own, its root */
    double gain, linear, constant; /* of the factor's exponent, quadratic, linear and constant */
} inner;

static inner inner_of(const ei_wide_site *one, const ei_wide_site *two, double correlation)
{
    inner f;
    f.site = two;
    f.slope = correlation * sqrt(two->variance / one->variance);
    f.precision = 1.0 / (two->variance * ((1.0 - correlation) * (1.0 + correlation)));
    f.gain = 1.0 / two->variance - two->l; /* what the factor takes off the precision */
    f.total = f.precision - f.gain;
    f.root = sqrt(f.total);
    f.linear = two->h - two->l * two->mean;
    f.constant = 0.5 * ei_log(6.28318530717958647693 * two->variance) - two->log_mass +
                 two->mean * (two->h - 0.5 * two->l * two->mean) +
                 0.5 * ei_log(f.precision / f.total);
    return f;
}

/* Probability that a standard normal lies between. */
static double between(double a, double b)
{
    if (a + b > 0.0) {
        const double c = a;
        a = -b;
        b = -c;
    }
    const double root = 0.70710678118654752440;
    const double low = a < -26.0 ? 0.0 : 0.5 * ei_erfc(-a * root);
    const double high = b > 26.0 ? 1.0 : b < -26.0 ? 0.0 : 0.5 * ei_erfc(-b * root);
    return high > low ? high - low : 0.0;
}

static double inner_at(const inner *f, double x)
{
    const double mean = f->slope * x, part = f->precision / f->total;
    const double at = mean * part + f->linear / f->total;
    const double share = between((f->site->lo - f->site->mean - at) * f->root,
                                 (f->site->hi - f->site->mean - at) * f->root);
    /* (mean precision + linear)^2 / (2 total) - mean^2 precision / 2, without what cancels. */
    const double exponent = f->constant + part * mean * (0.5 * f->gain * mean + f->linear) +
                            0.5 * f->linear * f->linear / f->total;
    return share * ei_exp(exponent);
}

/* Places where the inner function may turn sharply, upwards: the ends of the second site's interval,
 * as x sees them, and six deviations to either side. */
static size_t turns(const inner *f, double from, double to, double out[MOST_TURNS])
{
    const double rate = f->slope * f->precision / f->total;
    size_t n = 0;
    if (rate == 0.0)
        return 0;
    const double width = fabs(6.0 / (f->root * rate));
    if (width > 0.5 * (to - from)) /* the nodes are close enough */
        return 0;
    for (int side = 0; side < 2; side++) {
        const double end = side ? f->site->hi : f->site->lo;
        const double x = (end - f->site->mean - f->linear / f->total) / rate;
        for (int k = -1; k <= 1; k++)
            if (x + k * width > from && x + k * width < to)
                out[n++] = x + k * width;
    }
    for (size_t i = 1; i < n; i++) /* few: insertion */
        for (size_t j = i; j > 0 && out[j] < out[j - 1]; j--) {
            const double swap = out[j];
            out[j] = out[j - 1];
            out[j - 1] = swap;
        }
    return n;
}

/* Over the first site's interval, as far as it matters. */
static double outer(const ei_wide_site *one, const inner *f)
{
    const double lo = one->lo, hi = one->hi;
    const double free = one->l > 1e-290 ? one->h / one->l : one->h > 0.0 ? hi : lo;
    const double mode = free < lo ? lo : free > hi ? hi : free;
    const double slope = mode == free ? 0.0 : one->h - one->l * mode;
    const double reach = 49.0 / (fabs(slope) + sqrt(slope * slope + 49.0 * one->l) + 1e-290);
    const double from = fmax(lo, mode - reach) - one->mean, to = fmin(hi, mode + reach) - one->mean;
    double cuts[MOST_TURNS + 1];
    size_t n = turns(f, from, to, cuts);
    cuts[n] = to;
    double sum = 0.0, start = from;
    for (size_t c = 0; c <= n; c++) {
        const double width = cuts[c] - start;
        for (int i = 0; i < EI_WIDE_NODES && width > 0.0; i++) {
            const double x = start + width * ei_wide_node[i], s = one->mean + x;
            const double weight = ei_exp(s * (one->h - 0.5 * one->l * s) - one->log_mass);
            sum += width * ei_wide_weight[i] * weight * inner_at(f, x);
        }
        start = cuts[c];
    }
    return sum;
}

double ei_wide_pair(const ei_wide_site *one, const ei_wide_site *two, double correlation)
{
    const double most = 1.0 - 1e-12;
    correlation = correlation > most ? most : correlation < -most ? -most : correlation;
    const inner f = inner_of(one, two, correlation);
    const double sum = outer(one, &f);
    return sum > 1e-300 && f.total > 0.0 ? ei_log(sum) : 0.0;
}
