#include "joint/ei_bounds.h"

#include "common/ei_math.h"
#include "joint/ei_bounds_internal.h"

#include <math.h>
#include <string.h>

enum { LANES = EI_WIDE_LANES };

/* Where samples stand. */
static int open_states(ei_bounds *b, const ei_bounds_job *job, size_t samples, const double *lo,
                       const double *hi)
{
    const size_t n = job->n_in, m = job->n_out, all = job->pieces * m;
    memset(b, 0, sizeof *b);
    b->job = job;
    b->tau = ei_hold_zeros(&b->memory, samples * (n + m), sizeof(double));
    b->nu = ei_hold_zeros(&b->memory, samples * (n + m), sizeof(double));
    b->lo = ei_hold(&b->memory, samples * all, sizeof(double));
    b->hi = ei_hold(&b->memory, samples * all, sizeof(double));
    b->ahead = ei_hold_zeros(&b->memory, m * (n + 1), sizeof(double));
    b->ends = ei_hold_zeros(&b->memory, 2 * m, sizeof(double));
    b->rows = ei_hold_zeros(&b->memory, m, sizeof *b->rows);
    if (b->memory.failed)
        return EI_ENOMEM;
    memcpy(b->lo, lo, samples * all * sizeof(double));
    memcpy(b->hi, hi, samples * all * sizeof(double));
    for (size_t s = 0; s < samples; s++)
        for (size_t k = 0; k < n; k++)
            b->tau[s * (n + m) + k] = 12.0;
    for (size_t k = n; k > 0; k--)
        for (size_t j = 0; j < m; j++)
            b->ahead[(k - 1) * m + j] = b->ahead[k * m + j] + 0.5 * fabs(job->weight[j * n + k - 1]);
    return EI_OK;
}

/* The inputs that are left, the last one first, and the outputs that they can still move. */
static int open_stage(ei_bounds *b, ei_memory *held)
{
    const ei_bounds_job *job = b->job;
    const size_t n = job->n_in, left = b->left = n - b->at;
    b->size = ei_least(job->block, left);
    b->by_inputs = 2 * left <= 3 * job->n_out;
    b->n_rows = 0;
    double *weight = ei_hold_zeros(held, job->n_out * left, sizeof(double));
    if (weight == NULL)
        return EI_ENOMEM;
    for (size_t j = 0; j < job->n_out; j++) {
        int live = 0;
        for (size_t k = 0; k < left; k++) {
            weight[b->n_rows * left + k] = job->weight[j * n + n - 1 - k];
            live |= weight[b->n_rows * left + k] != 0.0;
        }
        if (live)
            b->rows[b->n_rows++] = j;
    }
    b->stage = (ei_wide_job){.n_in = left, .n_out = b->n_rows, .weight = weight, .pieces = job->pieces,
                             .iterations = 1, .damping = 1.0, .tolerance = 1.0};
    if (b->n_rows == 0)
        return EI_OK;
    const int status = ei_wide_open(&b->w, &b->stage);
    if (status != EI_OK)
        return status;
    for (size_t j = 0; j < b->n_rows; j++)
        b->w.rows[j] = j;
    b->w.active = b->n_rows;
    ei_wide_pack(&b->w);
    b->w.first = b->by_inputs ? 0 : b->w.n;
    return ei_bounds_open_density(b, held);
}

/* Sites and limits of a sample, as it stands. */
static void load(ei_bounds *b, size_t s)
{
    ei_wide *w = &b->w;
    const size_t n = b->job->n_in, m = b->job->n_out;
    const double *tau = b->tau + s * (n + m), *nu = b->nu + s * (n + m);
    for (size_t k = 0; k < w->n; k++) {
        w->lo[k] = -0.5;
        w->hi[k] = 0.5;
    }
    for (size_t p = 0; p < b->job->pieces; p++)
        for (size_t j = 0; j < w->m; j++) {
            const int real = j < b->n_rows;
            const size_t from = (s * b->job->pieces + p) * m + (real ? b->rows[j] : 0);
            w->lo[w->n + p * w->m + j] = real ? b->lo[from] : -0.5;
            w->hi[w->n + p * w->m + j] = real ? b->hi[from] : 0.5;
        }
    ei_wide_begin(w);
    for (size_t k = 0; k < b->left; k++) {
        w->tau[k] = tau[n - 1 - k];
        w->nu[k] = nu[n - 1 - k];
    }
    for (size_t j = 0; j < b->n_rows; j++) {
        w->tau[w->n + j] = tau[n + b->rows[j]];
        w->nu[w->n + j] = nu[n + b->rows[j]];
    }
}

static void store(ei_bounds *b, size_t s)
{
    const ei_wide *w = &b->w;
    const size_t n = b->job->n_in, m = b->job->n_out;
    double *tau = b->tau + s * (n + m), *nu = b->nu + s * (n + m);
    for (size_t k = 0; k < b->left; k++) {
        tau[n - 1 - k] = w->tau[k];
        nu[n - 1 - k] = w->nu[k];
    }
    for (size_t j = 0; j < b->n_rows; j++) {
        tau[n + b->rows[j]] = w->tau[w->n + j];
        nu[n + b->rows[j]] = w->nu[w->n + j];
    }
}

/* Rounding may leave a variance that is not positive. */
static void mend(ei_wide *w)
{
    for (size_t i = w->first; i < w->n + w->active; i++) {
        const size_t j = i - w->n;
        double least = 1e-290;
        if (w->m < w->n)
            least += 1e-14 * (i < w->n ? 1.0 / w->tau[i]
                                       : w->gram[(j / LANES * w->m + j) * LANES + j % LANES]);
        if (!(w->variance[i] > least))
            w->variance[i] = least;
    }
}

/* As ei_wide_update, but a site that would not be finite stays. */
static void update(ei_wide *w, double step)
{
    for (size_t i = w->first; i < w->n + w->active; i++) {
        double tau = 1.0 / w->spread[i] - w->l[i];
        tau = tau > 0.0 ? tau : 0.0;
        const double nu = w->tilted[i] * (tau + w->l[i]) - w->h[i];
        if (!isfinite(tau) || !isfinite(nu))
            continue;
        w->tau[i] += step * (tau - w->tau[i]);
        w->nu[i] += step * (nu - w->nu[i]);
        if (i < w->n && !(w->tau[i] > 1.0))
            w->tau[i] = 1.0;
    }
}

static void refine(ei_bounds *b)
{
    ei_wide *w = &b->w;
    const uint32_t steps = b->at == 0 ? b->job->first : b->job->again;
    for (uint32_t i = 0; i < steps; i++) {
        if (i > 0 || b->at > 0) { /* the first moments are those of the box */
            if (ei_wide_moments(w))
                break;
            mend(w); /* by the Gram matrix, which the moments have found */
        }
        ei_wide_evidence(w, 0);
        update(w, i == 0 && b->at == 0 ? 1.0 : b->job->damping);
    }
}

/* Inputs of the block are known from here on: what is left begins at zero again. */
static void fill_in(ei_bounds *b, size_t s, const double *v)
{
    const size_t n = b->job->n_in, m = b->job->n_out;
    for (size_t j = 0; j < m; j++) {
        double moved = 0.0;
        for (size_t k = b->at; k < b->at + b->size; k++)
            moved += b->job->weight[j * n + k] * v[k];
        for (size_t p = 0; p < b->job->pieces; p++) {
            b->lo[(s * b->job->pieces + p) * m + j] -= moved;
            b->hi[(s * b->job->pieces + p) * m + j] -= moved;
        }
        b->nu[s * (n + m) + n + j] -= b->tau[s * (n + m) + n + j] * moved;
    }
}

int ei_bounds_backward(const ei_bounds_job *job, size_t samples, const double *lo, const double *hi,
                       const double *v, double *log_r, ei_cancel cancel)
{
    ei_bounds b;
    int status = open_states(&b, job, samples, lo, hi);
    memset(log_r, 0, samples * sizeof(double));
    while (b.at < job->n_in && status == EI_OK) {
        ei_memory held = {0};
        memset(&b.w, 0, sizeof b.w);
        status = open_stage(&b, &held);
        for (size_t s = 0; s < samples && status == EI_OK && b.n_rows > 0; s++) {
            if (ei_cancelled(cancel)) {
                status = EI_ECANCELLED;
                break;
            }
            load(&b, s);
            refine(&b);
            log_r[s] += ei_bounds_density(&b, s, v + s * job->n_in);
            store(&b, s);
            fill_in(&b, s, v + s * job->n_in);
        }
        ei_wide_close(&b.w);
        ei_release(&held);
        b.at += b.size;
    }
    ei_release(&b.memory);
    return status;
}
