#include "joint/ei_bounds_internal.h"

#include "common/ei_math.h"

#include <math.h>
#include <string.h>

enum { LANES = EI_WIDE_LANES };

static size_t padded(size_t n) { return (n + LANES - 1) / LANES * LANES; }

static size_t entry(size_t t, size_t c, size_t terms) { return (c / LANES * terms + t) * LANES + c % LANES; }

/* Of the outputs, by the inputs after the block: their covariance. */
static int share_after(ei_bounds *b, ei_memory *held)
{
    const size_t m = b->w.m, later = b->left - b->size, n = b->left;
    double *rows = ei_hold_zeros(held, later * m + 1, sizeof(double));
    double *zero = ei_hold_zeros(held, m, sizeof(double));
    b->after = ei_hold_zeros(held, m * m, sizeof(double));
    b->inner = ei_hold_zeros(held, m * m, sizeof(double));
    b->inner_inverse = ei_hold_zeros(held, m, sizeof(double));
    b->block = ei_hold_zeros(held, m * b->dim, sizeof(double));
    if (held->failed)
        return EI_ENOMEM;
    const double root = sqrt(1.0 / 12.0);
    for (size_t j = 0; j < b->n_rows; j++) {
        for (size_t k = 0; k < later; k++)
            rows[entry(k, j, later)] = root * b->stage.weight[j * n + k];
        for (size_t k = 0; k < b->size; k++)
            b->block[entry(j, k, m)] = b->stage.weight[j * n + later + k];
    }
    b->w.kernels->gram(rows, rows, later, zero, m / LANES, b->after);
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < i; j++)
            b->after[entry(i, j, m)] = b->after[entry(j, i, m)];
    return EI_OK;
}

int ei_bounds_open_density(ei_bounds *b, ei_memory *held)
{
    const size_t m = b->w.m, own = padded(b->size);
    b->width = b->by_inputs ? b->left : b->size;
    const size_t dim = b->dim = padded(b->width);
    double **site[] = {&b->h, &b->l, &b->from, &b->to, &b->log_mass, &b->mean, &b->variance};
    for (size_t i = 0; i < sizeof site / sizeof *site; i++)
        *site[i] = ei_hold_zeros(held, own, sizeof(double));
    b->precision = ei_hold_zeros(held, dim * dim, sizeof(double));
    b->inverse = ei_hold_zeros(held, dim, sizeof(double));
    b->diagonal = ei_hold_zeros(held, dim, sizeof(double));
    b->target = ei_hold_zeros(held, (dim > m ? dim : m) * LANES, sizeof(double));
    b->scaled = ei_hold_zeros(held, m * dim, sizeof(double));
    if (held->failed)
        return EI_ENOMEM;
    return b->by_inputs ? EI_OK : share_after(b, held);
}

/* Precision of all inputs that are left, and what the sites say together. */
static void precision_left(ei_bounds *b)
{
    const ei_wide *w = &b->w;
    const size_t m = w->m, dim = b->dim;
    for (size_t p = 0; p < dim / LANES; p++)
        for (size_t j = 0; j < m; j++)
            for (size_t c = 0; c < LANES; c++)
                b->scaled[(p * m + j) * LANES + c] =
                    w->by_output[(p * m + j) * LANES + c] * w->tau[w->n + j];
    w->kernels->gram(b->scaled, w->by_output, m, w->tau, dim / LANES, b->precision);
    for (size_t k = 0; k < dim; k++) {
        double sum = k < b->left ? w->nu[k] : 0.0;
        for (size_t j = 0; j < b->n_rows; j++)
            sum += w->by_output[entry(j, k, m)] * w->nu[w->n + j];
        b->target[k * LANES] = sum;
    }
}

/* The same of the block alone, those after it averaged out: by (S + T^-1)^-1, S what they add to the
 * outputs' covariance and T the sites' precision. */
static int precision_block(ei_bounds *b)
{
    const ei_wide *w = &b->w;
    const size_t m = w->m, dim = b->dim, panels = m / LANES;
    const double *tau = w->tau + w->n, *nu = w->nu + w->n;
    double *root = w->root;
    for (size_t j = 0; j < m; j++)
        root[j] = sqrt(tau[j]);
    for (size_t p = 0; p < panels; p++)
        for (size_t t = 0; t < m; t++)
            for (size_t c = 0; c < LANES; c++) {
                const size_t at = (p * m + t) * LANES + c, column = p * LANES + c;
                b->inner[at] = b->after[at] * root[t] * root[column] + (t == column ? 1.0 : 0.0);
            }
    if (w->kernels->factor(b->inner, panels, b->inner_inverse))
        return -1;
    memset(b->target, 0, (dim > m ? dim : m) * LANES * sizeof(double));
    for (size_t p = 0; p < panels; p++)
        for (size_t j = 0; j < m; j++)
            for (size_t c = 0; c < LANES; c++)
                b->target[(p * LANES + c) * LANES] += b->after[(p * m + j) * LANES + c] * nu[j];
    for (size_t j = 0; j < m; j++)
        b->target[j * LANES] *= root[j];
    w->kernels->solve(b->inner, b->inner_inverse, panels, 0, b->target);
    for (size_t j = 0; j < m; j++)
        root[m + j] = b->target[j * LANES];
    for (size_t p = 0; p < dim / LANES; p++) {
        double *x = b->scaled + p * m * LANES, square[LANES] = {0}, along[LANES] = {0};
        double sum[LANES] = {0};
        for (size_t j = 0; j < m; j++)
            for (size_t c = 0; c < LANES; c++) {
                const double value = b->block[(p * m + j) * LANES + c];
                x[j * LANES + c] = value * root[j];
                sum[c] += value * nu[j];
            }
        w->kernels->solve(b->inner, b->inner_inverse, panels, 0, x);
        w->kernels->project(x, root + m, 0, m, square, along);
        for (size_t c = 0; c < LANES; c++) {
            b->diagonal[p * LANES + c] = sum[c] - along[c];
        }
    }
    memset(b->target, 0, dim * LANES * sizeof(double));
    for (size_t k = 0; k < dim; k++) {
        b->target[k * LANES] = b->diagonal[k];
        b->diagonal[k] = 12.0;
    }
    w->kernels->gram(b->scaled, b->scaled, m, b->diagonal, dim / LANES, b->precision);
    return 0;
}

/* Where input k can lie, if all outputs are to be reached by the inputs after it; then it is known. */
static void reachable(ei_bounds *b, size_t k, double v, double *from, double *to)
{
    const size_t m = b->job->n_out, n = b->job->n_in;
    const double *ahead = b->ahead + (k + 1) * m, slack = 1e-9 * 0.5;
    double start = -INFINITY, stop = INFINITY;
    for (size_t i = 0; i < b->n_rows; i++) {
        const size_t j = b->rows[i];
        const double weight = b->job->weight[j * n + k];
        if (weight == 0.0)
            continue;
        const double low = (b->ends[j] - ahead[j]) / weight;
        const double high = (b->ends[m + j] + ahead[j]) / weight;
        start = fmax(start, fmin(low, high));
        stop = fmin(stop, fmax(low, high));
        b->ends[j] -= weight * v;
        b->ends[m + j] -= weight * v;
    }
    /* Rounding must not cut off the input itself. */
    *from = fmin(fmax(start - slack, -0.5), v - slack);
    *to = fmax(fmin(stop + slack, 0.5), v + slack);
}

static void find_ends(ei_bounds *b, size_t s)
{
    const size_t m = b->job->n_out, pieces = b->job->pieces;
    for (size_t j = 0; j < m; j++) {
        double low = INFINITY, high = -INFINITY;
        for (size_t p = 0; p < pieces; p++) {
            const size_t at = (s * pieces + p) * m + j;
            if (b->lo[at] < b->hi[at]) {
                low = fmin(low, b->lo[at]);
                high = fmax(high, b->hi[at]);
            }
        }
        b->ends[j] = low;
        b->ends[m + j] = high;
    }
}

/* Given those before it, an input is normal; without its own site, h and l. */
static void conditionals(ei_bounds *b, const double *v)
{
    const size_t n = b->job->n_in, shift = b->by_inputs ? b->left - b->size : 0;
    for (size_t i = 0; i < b->size; i++) {
        const size_t row = shift + b->size - 1 - i, k = b->at + i;
        double step = -b->target[row * LANES];
        for (size_t c = row; c < b->width; c++) /* of the precision's factor, in the inputs so far */
            step += b->precision[entry(row, c, b->dim)] *
                    v[b->by_inputs ? n - 1 - c : b->at + b->size - 1 - c];
        const double root = b->inverse[row], square = 1.0 / (root * root);
        const double tau = b->by_inputs ? b->w.tau[row] : 12.0;
        const double nu = b->by_inputs ? b->w.nu[row] : 0.0;
        b->l[i] = fmax(square - tau, 0.0);
        b->h[i] = (v[k] - root * step) * square - nu;
    }
}

double ei_bounds_density(ei_bounds *b, size_t s, const double *v)
{
    const ei_wide *w = &b->w;
    const size_t own = padded(b->size);
    int failed = 0;
    memset(b->target, 0, b->dim * LANES * sizeof(double));
    if (b->by_inputs)
        precision_left(b);
    else
        failed = precision_block(b);
    failed = failed || w->kernels->factor(b->precision, b->dim / LANES, b->inverse);
    if (!failed) {
        w->kernels->solve(b->precision, b->inverse, b->dim / LANES, 0, b->target);
        conditionals(b, v);
    }
    find_ends(b, s);
    for (size_t i = 0; i < own; i++) {
        b->from[i] = -0.5;
        b->to[i] = 0.5;
        if (i < b->size)
            reachable(b, b->at + i, v[b->at + i], b->from + i, b->to + i);
        if (i >= b->size || failed)
            b->h[i] = b->l[i] = 0.0;
    }
    const ei_wide_sites sites = {own, b->h, b->l, b->from, b->to, b->log_mass, b->mean, b->variance,
                                 NULL, NULL};
    w->kernels->tilt(&sites);
    const double uniform = b->job->uniform;
    double total = 0.0;
    for (size_t i = 0; i < b->size; i++) {
        const double x = v[b->at + i], flat = -ei_log(b->to[i] - b->from[i]);
        double normal = x * (b->h[i] - 0.5 * b->l[i] * x) - b->log_mass[i];
        normal = isfinite(normal) ? normal : flat;
        const double top = fmax(normal, flat);
        total += top + ei_log((1.0 - uniform) * ei_exp(normal - top) + uniform * ei_exp(flat - top));
    }
    return total;
}
