#include "joint/ei_bounds.h"

#include "common/ei_math.h"
#include "kernels/ei_kernels.h"
#include "kernels/ei_wide_kernels.h"

#include <math.h>
#include <string.h>

enum { LANES = EI_WIDE_LANES };

static const double TWO_PI = 6.28318530717958647693;

/* Variance of an input; of a variance's scale, the least that rounding may leave. */
static const double OWN = 1.0 / 12.0, LEAST = 1e-13;

/* Samples that are worked on side by side, each with its present Gaussian, of outputs or of inputs; and
 * the moments of one output's pieces, LANES samples at once. */
typedef struct {
    const ei_bounds_job *job;
    const ei_wide_kernels *kernels;
    size_t dim, pad, batch; /* of the Gaussian, padded; samples at once */
    double *start, *square, *mean, *along, *by; /* batch each but for start: pad x dim, dim, ... */
    double *floor;
    double *h, *l, *lo, *hi, *log_mass, *centre, *spread; /* pieces x LANES */
    double variance[LANES], middle[LANES], shift[LANES], change[LANES], total[LANES];
    ei_memory memory;
} forward;

/* Numbers of the matrices of a batch. */
static const size_t ROOM = (size_t)1 << 23;

static int open_forward(forward *f, const ei_bounds_job *job, size_t dim)
{
    memset(f, 0, sizeof *f);
    f->job = job;
    f->kernels = ei_active()->wide;
    f->dim = dim;
    f->pad = (dim + LANES - 1) / LANES * LANES;
    const size_t matrix = f->pad * f->pad, sites = job->pieces * LANES;
    f->batch = matrix * LANES <= ROOM ? LANES : ei_least(LANES, ROOM / matrix + 1);
    f->start = ei_hold_zeros(&f->memory, matrix, sizeof(double));
    f->square = ei_hold_zeros(&f->memory, f->batch * matrix, sizeof(double));
    f->mean = ei_hold_zeros(&f->memory, f->batch * f->pad, sizeof(double));
    f->along = ei_hold_zeros(&f->memory, f->batch * LANES * f->pad, sizeof(double));
    f->by = ei_hold_zeros(&f->memory, f->batch * LANES, sizeof(double));
    f->floor = ei_hold_zeros(&f->memory, job->n_out, sizeof(double));
    double **small[] = {&f->h, &f->l, &f->lo, &f->hi, &f->log_mass, &f->centre, &f->spread};
    for (size_t i = 0; i < sizeof small / sizeof *small; i++)
        *small[i] = ei_hold_zeros(&f->memory, sites, sizeof(double));
    return ei_held(&f->memory, EI_OK);
}

/* Mix the pieces of lane i: the logarithm of its mass, mean and variance. */
static double mix(const forward *f, size_t i, double *first, double *second)
{
    double top = -INFINITY, total = 0.0;
    *first = *second = 0.0;
    for (size_t at = i; at < f->job->pieces * LANES; at += LANES)
        if (f->h[at] == 0.0 && f->log_mass[at] > top)
            top = f->log_mass[at];
    for (size_t at = i; at < f->job->pieces * LANES; at += LANES) {
        const double weight = f->h[at] == 0.0 ? ei_exp(f->log_mass[at] - top) : 0.0;
        f->log_mass[at] = weight;
        total += weight;
        *first += weight * f->centre[at];
    }
    *first /= total;
    for (size_t at = i; at < f->job->pieces * LANES; at += LANES) {
        const double d = f->centre[at] - *first;
        *second += f->log_mass[at] / total * (f->spread[at] + d * d);
    }
    return top + ei_log(total);
}

/* log q of output j of `count` samples, normal with these means and variances, and how its moments move.
 * A piece that counts for nothing is marked by a slope. */
static void surprise(forward *f, size_t j, size_t count, const double *lo, const double *hi)
{
    const size_t m = f->job->n_out, pieces = f->job->pieces;
    for (size_t p = 0; p < pieces; p++)
        for (size_t i = 0; i < LANES; i++) {
            const size_t at = p * LANES + i, from = (ei_least(i, count - 1) * pieces + p) * m + j;
            const size_t own = ei_least(i, count - 1);
            const int some = lo[from] < hi[from];
            f->h[at] = some ? 0.0 : 1.0;
            f->l[at] = 1.0 / f->variance[own];
            f->lo[at] = some ? lo[from] - f->middle[own] : 0.0;
            f->hi[at] = some ? hi[from] - f->middle[own] : 1.0;
        }
    const ei_wide_sites sites = {pieces * LANES, f->h, f->l, f->lo, f->hi, f->log_mass, f->centre,
                                 f->spread, NULL, NULL};
    f->kernels->tilt(&sites);
    for (size_t i = 0; i < count; i++) {
        double second = f->spread[i], log_mass = f->log_mass[i];
        f->shift[i] = f->centre[i];
        if (pieces > 1)
            log_mass = mix(f, i, f->shift + i, &second);
        const double log_q = log_mass - 0.5 * ei_log(TWO_PI * f->variance[i]);
        f->change[i] = fmin(second / f->variance[i], 1.0) - 1.0;
        f->total[i] += ei_log((1.0 - f->job->uniform) * ei_exp(fmin(log_q, 0.0)) +
                              f->job->uniform / f->job->bins);
    }
}

/* What is left of sample s's Gaussian of outputs below and right of output j, in the rows up to `last`;
 * those after are adjusted for eight outputs at once. */
static void condition_outputs(forward *f, size_t s, size_t j, size_t last)
{
    const size_t m = f->dim, pad = f->pad, term = j % LANES;
    double *square = f->square + s * pad * pad, *mean = f->mean + s * pad;
    double *along = f->along + (s * LANES + term) * pad;
    const double *row = square + j * pad, v = f->variance[s];
    const double by = v * f->change[s];
    f->by[s * LANES + term] = by;
    for (size_t i = j + 1; i < m; i++) {
        along[i] = row[i] / v;
        mean[i] += along[i] * f->shift[s];
    }
    for (size_t i = j + 1; i < last; i++) {
        double *restrict to = square + i * pad;
        const double *restrict from = along, by_row = along[i] * by;
        for (size_t k = i; k < m; k++)
            to[k] += by_row * from[k];
    }
}

static void in_outputs(forward *f, size_t count, const double *lo, const double *hi)
{
    const size_t m = f->dim, pad = f->pad, matrix = pad * pad;
    double scale = 1e-290;
    for (size_t j = 0; j < m; j++)
        scale = fmax(scale, f->start[j * pad + j]);
    for (size_t s = 0; s < count; s++) {
        memcpy(f->square + s * matrix, f->start, matrix * sizeof(double));
        memset(f->mean + s * pad, 0, pad * sizeof(double));
    }
    for (size_t first = 0; first < m; first += LANES) {
        const size_t last = ei_least(first + LANES, m);
        for (size_t j = first; j < last; j++) {
            for (size_t s = 0; s < count; s++) {
                f->variance[s] = fmax(f->square[s * matrix + j * pad + j], LEAST * scale);
                f->middle[s] = f->mean[s * pad + j];
            }
            surprise(f, j, count, lo, hi);
            for (size_t s = 0; s < count; s++)
                condition_outputs(f, s, j, last);
        }
        for (size_t s = 0; s < count && last < m; s++)
            f->kernels->adjust(f->square + s * matrix, pad, last, m,
                               f->along + s * LANES * pad, f->by + s * LANES);
    }
}

static double dot(const double *a, const double *b, size_t n)
{
    double sum[LANES] = {0}, total = 0.0;
    size_t k = 0;
    for (; k + LANES <= n; k += LANES)
        for (size_t c = 0; c < LANES; c++)
            sum[c] += a[k + c] * b[k + c];
    for (size_t c = 0; c < LANES; c++)
        total += sum[c];
    for (; k < n; k++)
        total += a[k] * b[k];
    return total;
}

static void condition_inputs(forward *f, size_t s)
{
    const size_t n = f->dim, pad = f->pad;
    double *along = f->along + s * LANES * pad, *mean = f->mean + s * pad;
    for (size_t k = 0; k < n; k++) {
        along[k] /= f->variance[s];
        mean[k] += along[k] * f->shift[s];
    }
    for (size_t i = 0; i < n; i++) {
        double *restrict to = f->square + (s * pad + i) * pad;
        const double *restrict from = along, by = along[i] * (f->variance[s] * f->change[s]);
        for (size_t k = 0; k < n; k++)
            to[k] += by * from[k];
    }
}

static void in_inputs(forward *f, size_t count, const double *lo, const double *hi)
{
    const size_t n = f->dim, pad = f->pad;
    memset(f->square, 0, count * pad * pad * sizeof(double));
    memset(f->mean, 0, count * pad * sizeof(double));
    for (size_t s = 0; s < count; s++)
        for (size_t k = 0; k < n; k++)
            f->square[(s * pad + k) * pad + k] = OWN;
    for (size_t j = 0; j < f->job->n_out; j++) {
        const double *row = f->job->weight + j * n;
        for (size_t s = 0; s < count; s++) {
            double *along = f->along + s * LANES * pad;
            for (size_t k = 0; k < n; k++)
                along[k] = dot(f->square + (s * pad + k) * pad, row, n);
            f->variance[s] = fmax(dot(along, row, n), f->floor[j]);
            f->middle[s] = dot(f->mean + s * pad, row, n);
        }
        surprise(f, j, count, lo, hi);
        for (size_t s = 0; s < count; s++)
            condition_inputs(f, s);
    }
}

/* The outputs' covariance. */
static int find_start(forward *f)
{
    const size_t n = f->job->n_in, m = f->dim, pad = f->pad;
    double *panels = ei_zalloc(n * pad, sizeof(double)), *gram = ei_alloc(pad * pad, sizeof(double));
    double *zero = ei_zalloc(pad, sizeof(double));
    const int good = panels != NULL && gram != NULL && zero != NULL;
    if (good) {
        for (size_t j = 0; j < m; j++)
            for (size_t k = 0; k < n; k++)
                panels[(j / LANES * n + k) * LANES + j % LANES] = f->job->weight[j * n + k];
        f->kernels->gram(panels, panels, n, zero, pad / LANES, gram);
        for (size_t i = 0; i < m; i++)
            for (size_t j = i; j < m; j++)
                f->start[i * pad + j] = OWN * gram[(j / LANES * pad + i) * LANES + j % LANES];
    }
    ei_free(panels);
    ei_free(gram);
    ei_free(zero);
    return good ? EI_OK : EI_ENOMEM;
}

int ei_bounds_forward(const ei_bounds_job *job, size_t samples, const double *lo, const double *hi,
                      double *log_q, ei_cancel cancel)
{
    forward f;
    const size_t n = job->n_in, m = job->n_out;
    const int outputs = m < 6 * n;
    int status = open_forward(&f, job, outputs ? m : n);
    if (status == EI_OK && outputs)
        status = find_start(&f);
    for (size_t i = 0; i < m && status == EI_OK; i++)
        f.floor[i] = LEAST * OWN * dot(job->weight + i * n, job->weight + i * n, n) + 1e-290;
    for (size_t s = 0; s < samples && status == EI_OK; s += f.batch) {
        const size_t at = s * job->pieces * m, count = ei_least(f.batch, samples - s);
        if (ei_cancelled(cancel)) {
            status = EI_ECANCELLED;
            break;
        }
        memset(f.total, 0, sizeof f.total);
        (outputs ? in_outputs : in_inputs)(&f, count, lo + at, hi + at);
        memcpy(log_q + s, f.total, count * sizeof(double));
    }
    ei_release(&f.memory);
    return status;
}
