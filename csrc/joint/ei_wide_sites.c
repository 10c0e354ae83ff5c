#include "joint/ei_wide_internal.h"

#include "common/ei_math.h"
#include "joint/ei_wide_pair.h"

#include <math.h>
#include <string.h>

enum { LANES = EI_WIDE_LANES };

static const double TWO_PI = 6.28318530717958647693;

/* Correlation from which on a pair of sites is integrated instead of expanded. */
static const double STRONG = 0.6;

/* Of a variable's precision, the least that an output's cavity keeps. */
static const double LEAST = 1e-10;

/* Moments of a union of intervals, those of its pieces mixed, in the place of the first piece. */
static void mix(ei_wide *w, size_t j)
{
    const size_t end = ei_wide_sites_of(w), step = w->m;
    double top = -INFINITY, total = 0.0, mean = 0.0, second = 0.0;
    for (size_t at = j; at < end; at += step)
        if (w->lo[at] < w->hi[at] && w->log_mass[at] > top)
            top = w->log_mass[at];
    for (size_t at = j; at < end; at += step)
        if (w->lo[at] < w->hi[at]) {
            w->log_mass[at] = ei_exp(w->log_mass[at] - top); /* now a weight */
            total += w->log_mass[at];
            mean += w->log_mass[at] * w->tilted[at];
        }
    mean /= total;
    for (size_t at = j; at < end; at += step) {
        if (!(w->lo[at] < w->hi[at]))
            continue;
        const double d = w->tilted[at] - mean;
        second += w->log_mass[at] / total * (w->spread[at] + d * d);
    }
    w->log_mass[j] = top + ei_log(total);
    w->tilted[j] = mean;
    w->spread[j] = second;
}

/* Moments of all sites' intervals under their cavities. */
static void tilt(ei_wide *w, int cumulants)
{
    const size_t n = w->n, m = w->m, pieces = w->job->pieces;
    for (size_t p = 1; p < pieces; p++) {
        memcpy(w->h + n + p * m, w->h + n, m * sizeof(double));
        memcpy(w->l + n + p * m, w->l + n, m * sizeof(double));
    }
    const ei_wide_sites sites = {ei_wide_sites_of(w), w->h, w->l, w->lo, w->hi, w->log_mass, w->tilted,
                                 w->spread, cumulants ? w->third : NULL, w->fourth};
    w->kernels->tilt(&sites);
    for (size_t j = n; pieces > 1 && j < n + w->active; j++)
        mix(w, j);
}

void ei_wide_begin(ei_wide *w)
{
    memset(w->h, 0, ei_wide_sites_of(w) * sizeof(double));
    for (size_t i = 0; i < ei_wide_sites_of(w); i++)
        w->l[i] = i < w->n ? 0.0 : 1.0;
    tilt(w, 0);
    w->log_det = w->fit = 0.0;
    for (size_t k = 0; k < w->n; k++) {
        w->mean[k] = w->tilted[k];
        w->variance[k] = w->spread[k];
        w->tau[k] = 1.0 / w->spread[k];
        w->nu[k] = w->tilted[k] * w->tau[k];
        w->log_det += ei_log(w->tau[k]);
        w->fit += w->nu[k] * w->tilted[k];
    }
    for (size_t j = 0; j < w->m; j++) {
        double mean = 0.0, variance = 0.0;
        for (size_t k = 0; k < w->n; k++) {
            const double v = w->by_input[(j / LANES * w->n + k) * LANES + j % LANES];
            mean += v * w->mean[k];
            variance += v * v * w->variance[k];
        }
        w->mean[w->n + j] = mean;
        w->variance[w->n + j] = j < w->active ? variance : 1.0;
        w->tau[w->n + j] = w->nu[w->n + j] = 0.0;
    }
}

double ei_wide_evidence(ei_wide *w, int cumulants)
{
    const size_t n = w->n, sites = n + w->active;
    for (size_t i = w->first; i < n + w->m; i++) {
        const double precision = 1.0 / w->variance[i], left = precision - w->tau[i];
        const double least = i < n ? 0.0 : LEAST * precision;
        w->l[i] = left > least ? left : least;
        w->h[i] = w->mean[i] * precision - w->nu[i];
    }
    tilt(w, cumulants);
    double sum = 0.5 * (w->fit - w->log_det);
    for (size_t i = w->first; i < sites; i++) {
        const double v = w->variance[i], mean = w->mean[i];
        sum += w->log_mass[i] - 0.5 * (ei_log(i < n ? v : TWO_PI * v) + mean * mean / v);
    }
    return sum;
}

void ei_wide_update(ei_wide *w, double step)
{
    for (size_t i = 0; i < w->n + w->active; i++) {
        const double precision = 1.0 / w->spread[i];
        double tau = precision - w->l[i];
        tau = tau > 0.0 ? tau : 0.0; /* a union may be wider than its cavity */
        const double nu = w->tilted[i] * (tau + w->l[i]) - w->h[i];
        w->tau[i] += step * (tau - w->tau[i]);
        w->nu[i] += step * (nu - w->nu[i]);
        if (i < w->n && !(w->tau[i] > 1.0))
            w->tau[i] = 1.0; /* a unit interval's own is 12 */
    }
}

static ei_wide_site site_of(const ei_wide *w, size_t i)
{
    return (ei_wide_site){w->h[i], w->l[i], w->log_mass[i], w->mean[i], w->variance[i], w->lo[i],
                          w->hi[i]};
}

/* Of the evidence, by what the sites' Gaussians miss: the cumulants of the tilted distributions, and
 * the integral over pairs of sites that are strongly correlated. */
double ei_wide_correction(ei_wide *w)
{
    const size_t all = w->n + w->m;
    double *scale = w->tau; /* not needed any more */
    for (size_t i = 0; i < all; i++) {
        const int real = i < w->job->n_in || (i >= w->n && i < w->n + w->active);
        const double v = w->variance[i], one = real ? 1.0 / sqrt(v) : 0.0;
        scale[i] = one;
        w->third[i] = real ? w->third[i] * one / v : 0.0;
        w->fourth[i] = real ? w->fourth[i] / (v * v) : 0.0;
    }
    const int small = w->dim < w->n;
    ei_wide_pairs pairs = {w->dim, all / LANES, w->q, scale, w->third, w->fourth, w->n,
                           small ? w->by_input : NULL, w->root, w->gram, STRONG, w->strong,
                           EI_WIDE_STRONG_EACH * all, 0};
    double sum = w->kernels->pairs(&pairs);
    for (size_t i = 0; i < pairs.n_strong; i++) {
        const ei_wide_strong *s = w->strong + i;
        const ei_wide_site one = site_of(w, s->i), two = site_of(w, s->j);
        sum += ei_wide_pair(&one, &two, s->correlation);
    }
    return sum;
}

