#include "joint/ei_wide_internal.h"

#include "common/ei_math.h"

#include <math.h>
#include <string.h>

enum { LANES = EI_WIDE_LANES };

/* Scale the rows of a matrix in panels. */
static void scale_rows(const double *from, size_t rows, size_t n_panels, const double *by, double *to)
{
    for (size_t p = 0; p < n_panels; p++)
        for (size_t t = 0; t < rows; t++)
            for (size_t c = 0; c < LANES; c++)
                to[(p * rows + t) * LANES + c] = from[(p * rows + t) * LANES + c] * by[t];
}

/* Precision of the inputs, in the space of inputs. */
static int factor_inputs(ei_wide *w)
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

/* W D^-1 W^T, both halves. */
static void full_gram(ei_wide *w, const double *part)
{
    const size_t n = w->n, m = w->m, panels = m / LANES;
    scale_rows(w->by_input, n, panels, part, w->scaled);
    w->kernels->gram(w->scaled, w->by_input, n, w->zero, panels, w->gram);
    for (size_t p = 0; p < panels; p++)
        for (size_t r = p + 1; r < panels; r++)
            for (size_t i = 0; i < LANES; i++)
                for (size_t c = 0; c < LANES; c++)
                    w->gram[(p * m + r * LANES + c) * LANES + i] =
                        w->gram[(r * m + p * LANES + i) * LANES + c];
}

/* I + T^1/2 W D^-1 W^T T^1/2, in the space of outputs; T and D the outputs' and inputs' precisions. */
static int factor_outputs(ei_wide *w)
{
    const size_t n = w->n, m = w->m, panels = m / LANES;
    double *part = w->root, *root = w->root + n;
    for (size_t k = 0; k < n; k++)
        part[k] = 1.0 / w->tau[k];
    for (size_t j = 0; j < m; j++)
        root[j] = sqrt(w->tau[n + j]);
    if (!(w->first && w->gram_known))
        full_gram(w, part);
    w->gram_known = 1;
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
    const size_t wanted = w->first ? 0 : n / LANES;
    scale_rows(w->by_output, m, wanted, root, w->q);
    for (size_t p = 0; p < wanted; p++)
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
static void outputs_base(ei_wide *w)
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

int ei_wide_moments(ei_wide *w)
{
    const size_t n = w->n, m = w->m, dim = w->dim, panels = dim / LANES;
    const int small = w->dim < n;
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
    for (size_t p = w->first / LANES; p < (n + m) / LANES; p++) {
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
