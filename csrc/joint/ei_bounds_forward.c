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

/* The present Gaussian, of outputs or of inputs, and the moments of one output's pieces. */
typedef struct {
    const ei_bounds_job *job;
    const ei_wide_kernels *kernels;
    size_t dim, room; /* pieces, padded */
    double *mean, *square, *start, *along, *floor;
    double *h, *l, *lo, *hi, *log_mass, *centre, *spread;
    ei_memory memory;
} forward;

static int open_forward(forward *f, const ei_bounds_job *job, size_t dim)
{
    memset(f, 0, sizeof *f);
    f->job = job;
    f->kernels = ei_active()->wide;
    f->dim = dim;
    f->room = (job->pieces + LANES - 1) / LANES * LANES;
    double **large[] = {&f->square, &f->start}, **wide[] = {&f->mean, &f->along};
    double **small[] = {&f->h, &f->l, &f->lo, &f->hi, &f->log_mass, &f->centre, &f->spread};
    for (size_t i = 0; i < sizeof large / sizeof *large; i++)
        *large[i] = ei_hold_zeros(&f->memory, dim * dim, sizeof(double));
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++)
        *wide[i] = ei_hold_zeros(&f->memory, dim, sizeof(double));
    f->floor = ei_hold_zeros(&f->memory, job->n_out, sizeof(double));
    for (size_t i = 0; i < sizeof small / sizeof *small; i++)
        *small[i] = ei_hold_zeros(&f->memory, f->room, sizeof(double));
    return ei_held(&f->memory, EI_OK);
}

/* log q of output j, normal with this mean and variance, and how its moments move. */
static double surprise(forward *f, size_t j, const double *lo, const double *hi, double mean,
                       double variance, double *shift, double *change)
{
    const size_t m = f->job->n_out, pieces = f->job->pieces;
    for (size_t p = 0; p < f->room; p++) {
        const int some = p < pieces && lo[p * m + j] < hi[p * m + j];
        f->h[p] = 0.0;
        f->l[p] = 1.0 / variance;
        f->lo[p] = some ? lo[p * m + j] - mean : 0.0;
        f->hi[p] = some ? hi[p * m + j] - mean : 1.0;
    }
    const ei_wide_sites sites = {f->room, f->h, f->l, f->lo, f->hi, f->log_mass, f->centre,
                                 f->spread, NULL, NULL};
    f->kernels->tilt(&sites);
    double top = -INFINITY, total = 0.0, first = 0.0, second = 0.0;
    for (size_t p = 0; p < pieces; p++)
        if (lo[p * m + j] < hi[p * m + j] && f->log_mass[p] > top)
            top = f->log_mass[p];
    for (size_t p = 0; p < pieces; p++) {
        const int some = lo[p * m + j] < hi[p * m + j];
        f->h[p] = some ? ei_exp(f->log_mass[p] - top) : 0.0;
        total += f->h[p];
        first += f->h[p] * f->centre[p];
    }
    first /= total;
    for (size_t p = 0; p < pieces; p++) {
        const double d = f->centre[p] - first;
        second += f->h[p] / total * (f->spread[p] + d * d);
    }
    const double log_q = top + ei_log(total) - 0.5 * ei_log(TWO_PI * variance);
    *shift = first;
    *change = fmin(second / variance, 1.0) - 1.0;
    return ei_log((1.0 - f->job->uniform) * ei_exp(fmin(log_q, 0.0)) +
                  f->job->uniform / f->job->bins);
}

/* The Gaussian of outputs: what is left of it below and right of output j. */
static double in_outputs(forward *f, const double *lo, const double *hi)
{
    const size_t m = f->dim;
    double total = 0.0, scale = 1e-290;
    memcpy(f->square, f->start, m * m * sizeof(double));
    memset(f->mean, 0, m * sizeof(double));
    for (size_t j = 0; j < m; j++)
        scale = fmax(scale, f->start[j * m + j]);
    for (size_t j = 0; j < m; j++) {
        const double *row = f->square + j * m, v = fmax(row[j], LEAST * scale);
        double shift, change;
        total += surprise(f, j, lo, hi, f->mean[j], v, &shift, &change);
        for (size_t i = j + 1; i < m; i++) {
            f->along[i] = row[i] / v;
            f->mean[i] += f->along[i] * shift;
        }
        for (size_t i = j + 1; i < m; i++) {
            double *restrict to = f->square + i * m;
            const double *restrict along = f->along, by = along[i] * (v * change);
            for (size_t k = i; k < m; k++)
                to[k] += by * along[k];
        }
    }
    return total;
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

static double in_inputs(forward *f, const double *lo, const double *hi)
{
    const size_t n = f->dim;
    double total = 0.0;
    memset(f->square, 0, n * n * sizeof(double));
    memset(f->mean, 0, n * sizeof(double));
    for (size_t k = 0; k < n; k++)
        f->square[k * n + k] = OWN;
    for (size_t j = 0; j < f->job->n_out; j++) {
        const double *row = f->job->weight + j * n;
        double shift, change;
        for (size_t k = 0; k < n; k++)
            f->along[k] = dot(f->square + k * n, row, n);
        const double v = fmax(dot(f->along, row, n), f->floor[j]);
        total += surprise(f, j, lo, hi, dot(f->mean, row, n), v, &shift, &change);
        for (size_t k = 0; k < n; k++) {
            f->along[k] /= v;
            f->mean[k] += f->along[k] * shift;
        }
        for (size_t i = 0; i < n; i++) {
            double *restrict to = f->square + i * n;
            const double *restrict along = f->along, by = along[i] * (v * change);
            for (size_t k = 0; k < n; k++)
                to[k] += by * along[k];
        }
    }
    return total;
}

int ei_bounds_forward(const ei_bounds_job *job, size_t samples, const double *lo, const double *hi,
                      double *log_q, ei_cancel cancel)
{
    forward f;
    const size_t n = job->n_in, m = job->n_out;
    const int outputs = m * m < 6 * n * n;
    int status = open_forward(&f, job, outputs ? m : n);
    for (size_t i = 0; i < m && status == EI_OK; i++) {
        const double *row = job->weight + i * n;
        f.floor[i] = LEAST * OWN * dot(row, row, n) + 1e-290;
        for (size_t j = i; j < m && outputs; j++)
            f.start[i * m + j] = OWN * dot(row, job->weight + j * n, n);
    }
    for (size_t s = 0; s < samples && status == EI_OK; s++) {
        const size_t at = s * job->pieces * m;
        if (ei_cancelled(cancel))
            status = EI_ECANCELLED;
        else
            log_q[s] = (outputs ? in_outputs : in_inputs)(&f, lo + at, hi + at);
    }
    ei_release(&f.memory);
    return status;
}
