#include "joint/ei_wide_internal.h"

#include "common/ei_common.h"
#include "kernels/ei_kernels.h"

#include <math.h>
#include <string.h>

enum { LANES = EI_WIDE_LANES };

static size_t padded(size_t n) { return (n + LANES - 1) / LANES * LANES; }

/* Cut one allocation into arrays, or (memory NULL) count what they take. */
static size_t lay_out(ei_wide *w, size_t n, size_t m, double *memory)
{
    const size_t dim = n < m || w->job->by_inputs ? n : m, sites = n + w->job->pieces * m;
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

int ei_wide_open(ei_wide *w, const ei_wide_job *job)
{
    memset(w, 0, sizeof *w);
    w->job = job;
    w->kernels = ei_active()->wide;
    const size_t n = padded(job->n_in), m = padded(job->n_out);
    w->rows = ei_alloc(m, sizeof *w->rows);
    w->strong = ei_alloc(EI_WIDE_STRONG_EACH * (n + m), sizeof *w->strong);
    w->memory = ei_alloc(lay_out(w, n, m, NULL), sizeof(double));
    return w->rows == NULL || w->strong == NULL || w->memory == NULL ? EI_ENOMEM : EI_OK;
}

void ei_wide_close(ei_wide *w)
{
    ei_free(w->rows);
    ei_free(w->strong);
    ei_free(w->memory);
}

void ei_wide_pack(ei_wide *w)
{
    const ei_wide_job *job = w->job;
    const size_t n_in = job->n_in, n = w->n = padded(n_in), m = w->m = padded(w->active);
    w->dim = n < m || job->by_inputs ? n : m;
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
}

/* Pick the outputs with a limit, and pack their weights and the limits. */
static void pack(ei_wide *w, const double *in_lo, const double *in_hi, const double *out_lo,
                 const double *out_hi)
{
    const ei_wide_job *job = w->job;
    const size_t n_in = job->n_in, n_out = job->n_out;
    w->active = 0;
    for (size_t o = 0; o < n_out; o++)
        if (!(out_lo[o] == -INFINITY && out_hi[o] == INFINITY))
            w->rows[w->active++] = o;
    ei_wide_pack(w);
    const size_t n = w->n, m = w->m;
    for (size_t k = 0; k < n; k++) {
        w->lo[k] = k < n_in ? in_lo[k] : -0.5;
        w->hi[k] = k < n_in ? in_hi[k] : 0.5;
    }
    for (size_t j = 0; j < m; j++) {
        w->lo[n + j] = j < w->active ? out_lo[w->rows[j]] : -0.5;
        w->hi[n + j] = j < w->active ? out_hi[w->rows[j]] : 0.5;
    }
}

/* Go on until the evidence settles. Returns it, -infinity where the algebra broke down. */
static double settle(ei_wide *w, double damping, uint32_t iterations, double *change)
{
    ei_wide_begin(w);
    double last = ei_wide_evidence(w, 0);
    for (uint32_t i = 0; i < iterations; i++) {
        ei_wide_update(w, i == 0 && damping > 0.5 ? 1.0 : damping);
        if (ei_wide_moments(w))
            return -INFINITY;
        const double now = ei_wide_evidence(w, 0);
        *change = now - last;
        last = now;
        if (fabs(*change) < w->job->tolerance)
            break;
    }
    return last;
}

/* One sample; the results in nats. */
static int run(ei_wide *w, int correct, uint32_t stream, double *log_mass, double *corrected,
               double *change, double *cooled)
{
    *change = *corrected = *cooled = 0.0;
    if (w->active == 0) {
        ei_wide_begin(w);
        *cooled = *log_mass = ei_wide_evidence(w, 0);
        return EI_OK;
    }
    *log_mass = settle(w, w->job->damping, w->job->iterations, change);
    if (!(*log_mass > -INFINITY && fabs(*change) < w->job->tolerance))
        *log_mass = settle(w, 0.25, 4 * w->job->iterations, change);
    if (correct && *log_mass > -INFINITY) {
        ei_wide_evidence(w, 1);
        *corrected = ei_wide_correction(w);
    }
    if (w->job->sweeps == 0)
        return EI_OK;
    *cooled = NAN;
    return *log_mass > -INFINITY ? ei_wide_cool(w, stream, cooled) : EI_OK;
}

int ei_wide_run(const ei_wide_job *job, size_t samples, const double *in_lo, const double *in_hi,
                const double *out_lo, const double *out_hi, const uint8_t *correct,
                const uint32_t *stream, const ei_wide_out *out, ei_cancel cancel)
{
    ei_wide w;
    int status = ei_wide_open(&w, job);
    const size_t n = job->n_in, m = job->n_out;
    for (size_t s = 0; s < samples && status == EI_OK; s++) {
        if (ei_cancelled(cancel)) {
            status = EI_ECANCELLED;
            break;
        }
        pack(&w, in_lo + s * n, in_hi + s * n, out_lo + s * m, out_hi + s * m);
        status = run(&w, correct[s], stream == NULL ? 0 : stream[s], out->evidence + s,
                     out->correction + s, out->change + s, out->cooled + s);
        if (out->h != NULL) {
            memcpy(out->h + s * n, w.h, n * sizeof(double));
            memcpy(out->l + s * n, w.l, n * sizeof(double));
        }
    }
    ei_wide_close(&w);
    return status;
}
