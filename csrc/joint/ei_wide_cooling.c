#include "joint/ei_wide_internal.h"

#include "common/ei_math.h"
#include "kernels/ei_kernels.h"

#include <math.h>
#include <string.h>

/* The volume of a polytope K by cooling. With v such that the Gaussian of expectation propagation is the
 * standard one about 0, f(b) is the integral of exp(-b |v|^2 / 2) over K. For a large b nearly all of
 * that lies in K and f is known; and log f(0) - log f(b) is the integral of E |v|^2 / 2 over b, E the mean
 * under that density, K's own shape included (Gelman and Meng, Statistical Science 13, 163, 1998;
 * Cousins and Vempala, SIAM J. Comput. 47, 1237, 2018, cool so too). The means are those of a chain that
 * goes through the coordinates of v one by one; of each it takes the mean given the others, which for a
 * box leaves no noise. The logarithm itself is estimated, so that noise makes no bias. */

enum {
    LANES = EI_WIDE_LANES,
    PANEL = 7,   /* nodes of b's logarithm in a panel */
    PANELS = 8,  /* at most */
    BURN = 2,    /* sweeps of every node that do not count */
    DRAWS = EI_GROUP
};

static const double FAR = 5.5;    /* deviations from 0 to the nearest face, where f is known */
static const double LEAST = 0.01; /* that distance at 1 for all: a polytope that is met less well is left alone */
static const double START = -5.0; /* logarithm of b below which the mean no longer changes */
static const double WIDTH = 4.0;  /* of a panel, at most */

/* Gauss-Legendre on (0, 1), from 30 digits. */
static const double node[PANEL] = {
    0.0254460438286207377, 0.129234407200302780, 0.297077424311301417, 0.5,
    0.702922575688698583, 0.870765592799697220, 0.974553956171379262,
};
static const double weight[PANEL] = {
    0.0647424830844348466, 0.139852695744638334, 0.190915025252559472, 0.208979591836734694,
    0.190915025252559472, 0.139852695744638334, 0.0647424830844348466,
};

typedef struct {
    size_t n, rows;            /* coordinates; faces in pairs, padded */
    const double *along;       /* n columns of what a coordinate moves the pairs by */
    const double *inverse;     /* one over that */
    const double *lo, *hi;     /* rows */
    const double *own_lo, *own_hi; /* n: limits of each coordinate itself */
    double *z, *v;             /* rows, n */
    uint32_t draws[DRAWS];
    uint64_t drawn;
    uint64_t key;
    uint32_t purpose, stream;
} chain;

static double uniform(chain *c)
{
    if (c->drawn % DRAWS == 0)
        ei_active()->draw(c->key, c->purpose, c->stream, c->drawn, DRAWS, c->draws);
    return (c->draws[c->drawn++ % DRAWS] + 0.5) * 0x1p-32;
}

/* Go through all coordinates once; returns the mean of |v|^2, each given the others. */
static double sweep(chain *c, double cold, const ei_wide_kernels *kernels)
{
    const double reach = 6.5 / sqrt(cold);
    double sum = 0.0;
    for (size_t k = 0; k < c->n; k++) {
        const double old = c->v[k], chance = uniform(c), place = uniform(c);
        double down = -INFINITY, up = INFINITY;
        kernels->room(c->rows, c->z, c->lo, c->hi, c->inverse + k * c->rows, &down, &up);
        double a = old + down, b = old + up;
        a = a > c->own_lo[k] ? a : c->own_lo[k];
        b = b < c->own_hi[k] ? b : c->own_hi[k];
        if (!(a < b)) { /* at a face, by rounding */
            sum += old * old;
            continue;
        }
        const double from = a > -reach ? a : -reach, to = b < reach ? b : reach;
        sum += from < to ? kernels->square(cold, from, to) : old * old;
        const double slice = sqrt(old * old - 2.0 * ei_log(chance) / cold);
        a = a > -slice ? a : -slice;
        b = b < slice ? b : slice;
        c->v[k] = a + (b - a) * place;
        kernels->move(c->rows, c->v[k] - old, c->along + k * c->rows, c->z);
    }
    return sum;
}

/* log f(0), v from 0 on; nearest is the distance of the nearest face. */
static double cool(chain *c, double nearest, uint32_t sweeps, const ei_wide_kernels *kernels)
{
    const double coldest = (FAR / nearest) * (FAR / nearest), top = ei_log(coldest);
    const size_t panels = (size_t)fmin(fmax(ceil((top - START) / WIDTH), 1.0), PANELS);
    const double width = (top - START) / (double)panels;
    double sum = 0.0, mean = 0.0;
    for (size_t p = panels; p-- > 0;)
        for (size_t i = PANEL; i-- > 0;) {
            const double cold = ei_exp(START + width * ((double)p + node[i]));
            mean = 0.0;
            for (uint32_t s = 0; s < BURN + sweeps; s++) {
                const double now = sweep(c, cold, kernels);
                mean += s < BURN ? 0.0 : now;
            }
            mean /= sweeps;
            sum += 0.5 * width * weight[i] * cold * mean;
        }
    return sum + 0.5 * ei_exp(START) * mean +
           0.5 * (double)c->n * ei_log(6.28318530717958647693 / coldest);
}

/* The coordinates in which the inputs' covariance is the unit one; where the algebra ran in the space of
 * outputs, those in which each input's own variance is 1. Returns the logarithm of their volume. */
static double coordinates(const ei_wide *w, double *along)
{
    const size_t n = w->n, m = w->m, rows = w->dim < n ? m : n + m;
    double log_volume = 0.0;
    if (w->dim < n) {
        for (size_t k = 0; k < w->job->n_in; k++) {
            const double deviation = sqrt(w->variance[k]);
            log_volume += ei_log(deviation);
            for (size_t j = 0; j < m; j++)
                along[k * rows + j] =
                    deviation * w->by_input[(j / LANES * n + k) * LANES + j % LANES];
        }
        return log_volume;
    }
    for (size_t k = 0; k < w->job->n_in; k++) { /* padded inputs come last, and are alone */
        log_volume += ei_log(w->inverse[k]);
        for (size_t i = 0; i < rows; i++)
            along[k * rows + i] = w->q[(i / LANES * n + k) * LANES + i % LANES];
    }
    return log_volume;
}

/* Limits of the pairs about the mean, and the distance of the nearest one. */
static double limits(const ei_wide *w, const double *along, double *lo, double *hi, double *own_lo,
                     double *own_hi)
{
    const size_t n = w->n, m = w->m, whole = w->dim >= n, rows = whole ? n + m : m;
    const size_t dim = w->job->n_in, first = whole ? 0 : n;
    double nearest = 1.0;
    for (size_t i = 0; i < rows; i++) {
        const size_t site = first + i;
        const int real = site < dim || (site >= n && site < n + w->active);
        lo[i] = real ? w->lo[site] - w->mean[site] : -INFINITY;
        hi[i] = real ? w->hi[site] - w->mean[site] : INFINITY;
        double square = 0.0;
        for (size_t k = 0; k < dim; k++)
            square += along[k * rows + i] * along[k * rows + i];
        if (real)
            nearest = fmin(nearest, fmin(hi[i], -lo[i]) / sqrt(square));
    }
    for (size_t k = 0; k < dim; k++) {
        const double deviation = sqrt(w->variance[k]);
        own_lo[k] = whole ? -INFINITY : (w->lo[k] - w->mean[k]) / deviation;
        own_hi[k] = whole ? INFINITY : (w->hi[k] - w->mean[k]) / deviation;
        if (!whole)
            nearest = fmin(nearest, fmin(own_hi[k], -own_lo[k]));
    }
    return nearest;
}

int ei_wide_cool(ei_wide *w, uint32_t stream, double *log_volume)
{
    const size_t rows = w->dim < w->n ? w->m : w->n + w->m, dim = w->job->n_in;
    double *memory = ei_alloc(2 * dim * rows + 3 * rows + 3 * dim, sizeof(double));
    if (memory == NULL)
        return EI_ENOMEM;
    double *along = memory, *inverse = along + dim * rows, *lo = inverse + dim * rows,
           *hi = lo + rows, *z = hi + rows, *own_lo = z + rows, *own_hi = own_lo + dim,
           *v = own_hi + dim;
    const double volume = coordinates(w, along);
    const double nearest = limits(w, along, lo, hi, own_lo, own_hi);
    for (size_t i = 0; i < dim * rows; i++)
        inverse[i] = 1.0 / (fabs(along[i]) > 1e-30 ? along[i] : 1e-30);
    memset(z, 0, rows * sizeof(double));
    memset(v, 0, dim * sizeof(double));
    chain c = {dim, rows, along, inverse, lo, hi, own_lo, own_hi, z, v, {0}, 0, w->job->key,
               w->job->purpose, stream};
    *log_volume = nearest > LEAST ? volume + cool(&c, nearest, w->job->sweeps, w->kernels) : NAN;
    ei_free(memory);
    return EI_OK;
}
