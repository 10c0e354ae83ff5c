#include "joint/ei_wide.h"

#include "kernels/ei_kernels.h"
#include "common/ei_math.h"
#include "kernels/ei_wide_kernels.h"
#include "joint/ei_wide_pair.h"

#include <math.h>
#include <string.h>

enum { LANES = EI_WIDE_LANES };

static const double TWO_PI = 6.28318530717958647693;

/* Correlation from which on a pair of sites is integrated instead of expanded, and such pairs a site,
 * at most. */
static const double STRONG = 0.6;
enum { STRONG_EACH = 16 };

/* Of the prior's precision or a posterior's: the least that a cavity keeps. */
static const double LEAST = 1e-10;

static size_t padded(size_t n) { return (n + LANES - 1) / LANES * LANES; }

/* What one sample works on. Sites: the inputs, from 0, then the active outputs, from `n`; both padded
 * with inputs and outputs that change nothing. */
typedef struct {
    const ei_wide_job *job;
    const ei_wide_kernels *kernels;
    size_t n, m;      /* inputs, active outputs, padded */
    size_t active;    /* outputs with a limit */
    size_t dim;       /* of the linear algebra: n, or m where it is less */
    size_t *rows;     /* the active outputs */
    ei_wide_strong *strong;
    double *by_output; /* W in panels of inputs, m rows */
    double *by_input;  /* W^T in panels of outputs, n rows */
    double *scaled;    /* either, scaled */
    double *gram;      /* m < n: W D^-1 W^T, full */
    double *square;    /* what is factorized, dim x dim */
    double *inverse;   /* dim */
    double *q;         /* panels of all sites, dim rows */
    double *target, *zero; /* a panel; zeros */
    double *tau, *nu;  /* sites */
    double *variance, *mean; /* of the sites' variables */
    double *lo, *hi, *h, *l; /* cavities, pieces of the outputs one after the other */
    double *log_mass, *tilted, *spread, *third, *fourth;
    double *root;      /* scratch */
    double log_det, fit;
    void *memory;
} wide;

static size_t sites_of(const wide *w) { return w->n + w->job->pieces * w->m; }

/* Cut one allocation into arrays, or (memory NULL) count what they take. */
static size_t lay_out(wide *w, size_t n, size_t m, double *memory)
{
    const size_t dim = n < m ? n : m, sites = n + w->job->pieces * m;
    struct {
        double **array;
        size_t size;
    } parts[] = {
        {&w->by_output, n * m}, {&w->by_input, n * m}, {&w->scaled, n * m},
        {&w->gram, dim * dim}, {&w->square, dim * dim}, {&w->inverse, dim},
        {&w->q, (n + m) * dim}, {&w->target, dim * LANES}, {&w->zero, n + m},
        {&w->tau, n + m}, {&w->nu, n + m}, {&w->variance, n + m}, {&w->mean, n + m},
        {&w->lo, sites}, {&w->hi, sites}, {&w->h, sites}, {&w->l, sites}, {&w->log_mass, sites},
        {&w->tilted, sites}, {&w->spread, sites}, {&w->third, sites}, {&w->fourth, sites},
        {&w->root, n + m},
    };
    size_t used = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (memory != NULL)
            *parts[i].array = memory + used;
        used += padded(parts[i].size);
    }
    return used;
}

static int open_wide(wide *w, const ei_wide_job *job)
{
    memset(w, 0, sizeof *w);
    w->job = job;
    w->kernels = ei_active()->wide;
    const size_t n = padded(job->n_in), m = padded(job->n_out);
    w->rows = ei_alloc(m, sizeof *w->rows);
    w->strong = ei_alloc(STRONG_EACH * (n + m), sizeof *w->strong);
    w->memory = ei_alloc(lay_out(w, n, m, NULL), sizeof(double));
    return w->rows == NULL || w->strong == NULL || w->memory == NULL ? EI_ENOMEM : EI_OK;
}

static void close_wide(wide *w)
{
    ei_free(w->rows);
    ei_free(w->strong);
    ei_free(w->memory);
}

/* Pick the outputs with a limit, and pack their weights. */
static void pack(wide *w, const double *in_lo, const double *in_hi, const double *out_lo,
                 const double *out_hi)
{
    const ei_wide_job *job = w->job;
    const size_t n_in = job->n_in, n_out = job->n_out;
    w->active = 0;
    for (size_t o = 0; o < n_out; o++) {
        int limited = 1;
        for (size_t p = 0; p < job->pieces; p++)
            limited &= !(out_lo[p * n_out + o] == -INFINITY && out_hi[p * n_out + o] == INFINITY);
        if (limited)
            w->rows[w->active++] = o;
    }
    const size_t n = w->n = padded(n_in), m = w->m = padded(w->active);
    w->dim = n < m ? n : m;
    lay_out(w, n, m, w->memory);
    memset(w->by_output, 0, n * m * sizeof(double));
    memset(w->by_input, 0, n * m * sizeof(double));
    memset(w->zero, 0, (n + m) * sizeof(double));
    for (size_t j = 0; j < w->active; j++)
        for (size_t k = 0; k < n_in; k++) {
            const double value = job->weight[w->rows[j] * n_in + k];
            w->by_output[(k / LANES * m + j) * LANES + k % LANES] = value;
            w->by_input[(j / LANES * n + k) * LANES + j % LANES] = value;
        }
    for (size_t k = 0; k < n; k++) {
        w->lo[k] = k < n_in ? in_lo[k] : -0.5;
        w->hi[k] = k < n_in ? in_hi[k] : 0.5;
    }
    for (size_t p = 0; p < job->pieces; p++)
        for (size_t j = 0; j < m; j++) {
            const int real = j < w->active;
            w->lo[n + p * m + j] = real ? out_lo[p * n_out + w->rows[j]] : -0.5;
            w->hi[n + p * m + j] = real ? out_hi[p * n_out + w->rows[j]] : 0.5;
        }
}

/* Moments of a union of intervals, those of its pieces mixed, in the place of the first piece. */
static void mix(wide *w, size_t j, int cumulants)
{
    const size_t end = sites_of(w), step = w->m;
    double top = -INFINITY, total = 0.0, mean = 0.0, second = 0.0, third = 0.0, fourth = 0.0;
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
        const double weight = w->log_mass[at] / total, d = w->tilted[at] - mean, v = w->spread[at];
        second += weight * (v + d * d);
        if (cumulants) {
            third += weight * (w->third[at] + d * (3.0 * v + d * d));
            fourth += weight * (w->fourth[at] + 3.0 * v * v + 4.0 * d * w->third[at] +
                                d * d * (6.0 * v + d * d));
        }
    }
    w->log_mass[j] = top + ei_log(total);
    w->tilted[j] = mean;
    w->spread[j] = second;
    w->third[j] = third;
    w->fourth[j] = fourth - 3.0 * second * second;
}

/* Moments of all sites' intervals under their cavities. */
static void tilt(wide *w, int cumulants)
{
    const size_t n = w->n, m = w->m, pieces = w->job->pieces;
    for (size_t p = 1; p < pieces; p++) {
        memcpy(w->h + n + p * m, w->h + n, m * sizeof(double));
        memcpy(w->l + n + p * m, w->l + n, m * sizeof(double));
    }
    const ei_wide_sites sites = {sites_of(w), w->h, w->l, w->lo, w->hi, w->log_mass, w->tilted,
                                 w->spread, cumulants ? w->third : NULL, w->fourth};
    w->kernels->tilt(&sites);
    for (size_t j = n; pieces > 1 && j < n + w->active; j++)
        mix(w, j, cumulants);
}

/* The inputs' own intervals make the prior; from it follow the first moments of the outputs. */
static void begin(wide *w)
{
    memset(w->h, 0, sites_of(w) * sizeof(double));
    for (size_t i = 0; i < sites_of(w); i++)
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

/* Scale the rows of a matrix in panels. */
static void scale_rows(const double *from, size_t rows, size_t n_panels, const double *by, double *to)
{
    for (size_t p = 0; p < n_panels; p++)
        for (size_t t = 0; t < rows; t++)
            for (size_t c = 0; c < LANES; c++)
                to[(p * rows + t) * LANES + c] = from[(p * rows + t) * LANES + c] * by[t];
}

/* Precision of the inputs, in the space of inputs. */
static int factor_inputs(wide *w)
{
    const size_t n = w->n, m = w->m;
    scale_rows(w->by_output, m, n / LANES, w->tau + n, w->scaled);
    w->kernels->gram(w->scaled, w->by_output, m, w->tau, n / LANES, w->square);
    if (w->kernels->factor(w->square, n / LANES, w->inverse))
        return -1;
    memset(w->q, 0, n * n * sizeof(double));
    for (size_t k = 0; k < n; k++)
        w->q[(k / LANES * n + k) * LANES + k % LANES] = 1.0;
    memcpy(w->q + n * n, w->by_input, n * m * sizeof(double));
    for (size_t k = 0; k < n; k++) { /* what the factors say together: nu + W^T nu */
        double sum = w->nu[k];
        for (size_t j = 0; j < w->active; j++)
            sum += w->by_output[(k / LANES * m + j) * LANES + k % LANES] * w->nu[n + j];
        w->target[k * LANES] = sum;
    }
    w->log_det = 0.0;
    return 0;
}

/* I + T^1/2 W D^-1 W^T T^1/2, in the space of outputs; T and D the outputs' and inputs' precisions. */
static int factor_outputs(wide *w)
{
    const size_t n = w->n, m = w->m, panels = m / LANES;
    double *part = w->root, *root = w->root + n;
    for (size_t k = 0; k < n; k++)
        part[k] = 1.0 / w->tau[k];
    for (size_t j = 0; j < m; j++)
        root[j] = sqrt(w->tau[n + j]);
    scale_rows(w->by_input, n, panels, part, w->scaled);
    w->kernels->gram(w->scaled, w->by_input, n, w->zero, panels, w->gram);
    for (size_t p = 0; p < panels; p++)
        for (size_t r = p + 1; r < panels; r++)
            for (size_t i = 0; i < LANES; i++)
                for (size_t c = 0; c < LANES; c++)
                    w->gram[(p * m + r * LANES + c) * LANES + i] =
                        w->gram[(r * m + p * LANES + i) * LANES + c];
    double *late = w->q + n * m;
    scale_rows(w->gram, m, panels, root, late);
    for (size_t p = 0; p < panels; p++)
        for (size_t t = 0; t < m; t++)
            for (size_t c = 0; c < LANES; c++) {
                const size_t at = (p * m + t) * LANES + c, column = p * LANES + c;
                w->square[at] = late[at] * root[column] + (column == t ? 1.0 : 0.0);
            }
    if (w->kernels->factor(w->square, panels, w->inverse))
        return -1;
    scale_rows(w->by_output, m, n / LANES, root, w->q);
    for (size_t p = 0; p < n / LANES; p++)
        for (size_t t = 0; t < m; t++)
            for (size_t c = 0; c < LANES; c++)
                w->q[(p * m + t) * LANES + c] *= part[p * LANES + c];
    w->log_det = 0.0;
    for (size_t k = 0; k < n; k++)
        w->log_det += ei_log(w->tau[k]);
    return 0;
}

/* The part of the moments that the outputs' factors do not decide, in the space of outputs: of the
 * Gaussian with precision D and what the factors say together. */
static void outputs_base(wide *w)
{
    const size_t n = w->n, m = w->m;
    const double *part = w->root, *root = w->root + n;
    w->fit = 0.0;
    for (size_t k = 0; k < n; k++) {
        double sum = w->nu[k];
        for (size_t j = 0; j < w->active; j++)
            sum += w->by_output[(k / LANES * m + j) * LANES + k % LANES] * w->nu[n + j];
        w->variance[k] = part[k];
        w->mean[k] = sum * part[k];
        w->fit += sum * w->mean[k];
    }
    for (size_t j = 0; j < m; j++) {
        double sum = 0.0;
        for (size_t k = 0; k < n; k++)
            sum += w->by_input[(j / LANES * n + k) * LANES + j % LANES] * w->mean[k];
        w->mean[n + j] = sum;
        w->variance[n + j] = w->gram[(j / LANES * m + j) * LANES + j % LANES];
        w->target[j * LANES] = sum * root[j];
    }
}

/* Means and variances of all sites' variables under the present factors. */
static int moments(wide *w)
{
    const size_t n = w->n, m = w->m, dim = w->dim, panels = dim / LANES;
    const int small = m < n;
    memset(w->target, 0, dim * LANES * sizeof(double));
    if (small ? factor_outputs(w) : factor_inputs(w))
        return -1;
    if (small)
        outputs_base(w);
    w->kernels->solve(w->square, w->inverse, panels, 0, w->target);
    double *y = w->scaled, length = 0.0; /* what was scaled is not needed any more */
    for (size_t t = 0; t < dim; t++) {
        y[t] = w->target[t * LANES];
        length += y[t] * y[t];
        w->log_det -= 2.0 * ei_log(w->inverse[t]);
    }
    w->fit = small ? w->fit - length : length;
    for (size_t p = 0; p < (n + m) / LANES; p++) {
        const size_t from = !small && p < n / LANES ? p * LANES : 0;
        double *x = w->q + p * dim * LANES, square[LANES] = {0}, along[LANES] = {0};
        w->kernels->solve(w->square, w->inverse, panels, from, x);
        w->kernels->project(x, y, from, dim, square, along);
        for (size_t c = 0; c < LANES; c++) {
            const size_t i = p * LANES + c;
            w->variance[i] = small ? w->variance[i] - square[c] : square[c];
            w->mean[i] = small ? w->mean[i] - along[c] : along[c];
        }
    }
    for (size_t j = n + w->active; j < n + m; j++) {
        w->variance[j] = 1.0;
        w->mean[j] = 0.0;
    }
    return 0;
}

/* Cavities, their tilted moments, and the evidence. */
static double evidence(wide *w, int cumulants)
{
    const size_t n = w->n, sites = n + w->active;
    for (size_t i = 0; i < n + w->m; i++) {
        const double precision = 1.0 / w->variance[i], left = precision - w->tau[i];
        const double least = i < n ? 0.0 : LEAST * precision;
        w->l[i] = left > least ? left : least;
        w->h[i] = w->mean[i] * precision - w->nu[i];
    }
    tilt(w, cumulants);
    double sum = 0.5 * (w->fit - w->log_det);
    for (size_t i = 0; i < sites; i++) {
        const double v = w->variance[i], mean = w->mean[i];
        sum += w->log_mass[i] - 0.5 * (ei_log(i < n ? v : TWO_PI * v) + mean * mean / v);
    }
    return sum;
}

static void update(wide *w, double step)
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

static ei_wide_site site_of(const wide *w, size_t i)
{
    const int own = i < w->n;
    return (ei_wide_site){w->h[i], w->l[i], w->log_mass[i], w->mean[i], w->variance[i], w->lo + i,
                          w->hi + i, own ? 1 : w->job->pieces, own ? 0 : w->m};
}

/* Of the evidence, by what the sites' Gaussians miss: the cumulants of the tilted distributions, and
 * the integral over pairs of sites that are strongly correlated. */
static double correction(wide *w)
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
    const int small = w->m < w->n;
    ei_wide_pairs pairs = {w->dim, all / LANES, w->q, scale, w->third, w->fourth, w->n,
                           small ? w->by_input : NULL, w->root, w->gram, STRONG, w->strong,
                           STRONG_EACH * all, 0};
    double sum = w->kernels->pairs(&pairs);
    for (size_t i = 0; i < pairs.n_strong; i++) {
        const ei_wide_strong *s = w->strong + i;
        const ei_wide_site one = site_of(w, s->i), two = site_of(w, s->j);
        sum += ei_wide_pair(&one, &two, s->correlation);
    }
    return sum;
}

/* Go on until the evidence settles. Returns it, -infinity where the algebra broke down. */
static double settle(wide *w, double damping, uint32_t iterations, double *change)
{
    begin(w);
    double last = evidence(w, 0);
    for (uint32_t i = 0; i < iterations; i++) {
        update(w, i == 0 && damping > 0.5 ? 1.0 : damping);
        if (moments(w))
            return -INFINITY;
        const double now = evidence(w, 0);
        *change = now - last;
        last = now;
        if (fabs(*change) < w->job->tolerance)
            break;
    }
    return last;
}

/* One sample; the results in nats. */
static void run(wide *w, int correct, double *log_mass, double *corrected, double *change)
{
    *change = *corrected = 0.0;
    if (w->active == 0) {
        begin(w);
        *log_mass = evidence(w, 0);
        return;
    }
    *log_mass = settle(w, w->job->damping, w->job->iterations, change);
    if (!(*log_mass > -INFINITY && fabs(*change) < w->job->tolerance))
        *log_mass = settle(w, 0.25, 4 * w->job->iterations, change);
    if (correct && *log_mass > -INFINITY) {
        evidence(w, 1);
        *corrected = correction(w);
    }
}

int ei_wide_run(const ei_wide_job *job, size_t samples, const double *in_lo, const double *in_hi,
                const double *out_lo, const double *out_hi, const uint8_t *correct,
                const ei_wide_out *out, ei_cancel cancel)
{
    wide w;
    int status = open_wide(&w, job);
    const size_t n = job->n_in, m = job->n_out * job->pieces;
    for (size_t s = 0; s < samples && status == EI_OK; s++) {
        if (ei_cancelled(cancel)) {
            status = EI_ECANCELLED;
            break;
        }
        pack(&w, in_lo + s * n, in_hi + s * n, out_lo + s * m, out_hi + s * m);
        run(&w, correct[s], out->evidence + s, out->correction + s, out->change + s);
        if (out->h != NULL) {
            memcpy(out->h + s * n, w.h, n * sizeof(double));
            memcpy(out->l + s * n, w.l, n * sizeof(double));
        }
    }
    close_wide(&w);
    return status;
}
