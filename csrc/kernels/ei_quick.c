/* Layers in single precision: preparing, and bounds of their errors. See ei_quick.h. */
#include "kernels/ei_quick.h"

#include <math.h>
#include <string.h>

enum {
    WIDEST = 4096   /* inputs of a map: sums of so many errors are off by a thousandth at most */
};

static const double unit = 1.0 / 16777216.0; /* half a unit in the last place, relative */
static const double most = 1e18;   /* numbers up to here: products of two stay in single precision */
static const double least = 1e-30; /* more than anything below its normal numbers */

/* The error that a map adds to an output: of weights, products and sums. `size`: of each of its inputs
 * at most. The size of the output goes to *reach. */
static double of_map(const double *weight, double bias, size_t n_in, const double *size, double *reach)
{
    double sum = fabs(bias);
    for (size_t k = 0; k < n_in; k++)
        sum += fabs(weight[k]) * size[k];
    *reach = sum * 1.01 + least; /* with all errors: those that are more than that do not fit */
    return 1.03 * ((double)n_in + 3.0) * unit * sum + least * ((double)n_in + 1.0);
}

static int has_form(const ei_stage *stage)
{
    if (stage->width || stage->function)
        return 0;
    switch (stage->functions->activation) {
    case EI_IDENTITY:
    case EI_RELU:
    case EI_LEAKY_RELU:
    case EI_SIGMOID:
    case EI_TANH:
    case EI_HARDTANH:
    case EI_HARDSIGMOID: return 1;
    default: return 0;
    }
}

/* How large a value can be after a function. */
static double size_after(const ei_function *f, double size)
{
    switch (f->activation) {
    case EI_LEAKY_RELU: return size * fmax(1.0, fabs(f->p0));
    case EI_SIGMOID:
    case EI_TANH:
    case EI_HARDSIGMOID: return 1.01;
    case EI_HARDTANH: return 1.01 * fmax(fabs(f->p0), fabs(f->p1));
    default: return size;
    }
}

static float up(double v) { return (float)(v * 1.000001); }

/* Take up a map of so many inputs and outputs, its numbers into `into`; `from` is how large its inputs
 * are, `to` becomes how large its outputs are. Whether single precision holds all. */
static int take_map(ei_quick_map *map, float *into, const double *weight, const double *bias,
                    const ei_function *f, const double *from, double *to)
{
    const size_t cells = map->n_in * map->n_out;
    float *w = into, *size = w + cells, *b = size + cells, *own = b + map->n_out;
    int fits = !f || (fabs(f->p0) < most && fabs(f->p1) < most);
    for (size_t o = 0; o < map->n_out; o++) {
        const double *row = weight + o * map->n_in, error = of_map(row, bias[o], map->n_in, from, to + o);
        for (size_t k = 0; k < map->n_in; k++) {
            fits = fits && fabs(row[k]) < most;
            w[o * map->n_in + k] = fits ? (float)row[k] : 0.0f;
            size[o * map->n_in + k] = fits ? up(1.001 * fabs(row[k]) + least) : 0.0f;
        }
        if (f)
            to[o] = size_after(f, to[o]);
        fits = fits && to[o] < most;
        b[o] = fits ? (float)bias[o] : 0.0f;
        own[o] = fits ? up(error) : 0.0f;
    }
    map->weight = w;
    map->size = size;
    map->bias = b;
    map->own = own;
    map->activation = f ? f->activation : EI_IDENTITY;
    map->p0 = f && fits ? (float)f->p0 : 0.0f;
    map->p1 = f && fits ? (float)f->p1 : 0.0f;
    return fits;
}

/* Cuts, and how near is too near. One that single precision cannot hold is far out: no value is near. */
static void take_cuts(ei_quick *q, const ei_channel *c, size_t out_start)
{
    for (size_t o = 0; o < q->n_out; o++) {
        double size = 0.0;
        for (size_t j = 0; j < q->m; j++) {
            const double t = j < c->n_thresholds
                                 ? ei_thresholds(c, out_start + o)[j]
                                 : ei_limits(c, out_start + o)[j - c->n_thresholds];
            const int here = fabs(t) < most;
            q->cut[o * q->m + j] = here ? (float)t : t < 0.0 ? -3e38f : 3e38f;
            size = here ? fmax(size, fabs(t)) : size;
        }
        /* What rounding a cut and the difference can do. */
        q->more[o] = up(8.0 * unit * size + 1e-18);
    }
}

static int suits(const ei_channel *c)
{
    int form = c->n_stages > 0 && c->n_last <= WIDEST && c->n_thresholds + c->n_limits <= EI_MOST_CUTS;
    for (size_t i = 0; form && i < c->n_stages; i++)
        form = has_form(c->stages + i) && c->stages[i].n_in <= WIDEST;
    return form;
}

int ei_quick_open(ei_quick *q, const ei_channel *c, size_t out_start, size_t n_out, size_t widest,
                  size_t block)
{
    memset(q, 0, sizeof *q);
    if (!suits(c) || n_out == 0)
        return EI_OK;
    if (n_out > widest)
        widest = n_out;
    q->n_out = n_out;
    q->m = c->n_thresholds + c->n_limits;
    q->maps = ei_hold(&q->memory, c->n_stages + 1, sizeof *q->maps);
    q->cut = ei_hold(&q->memory, n_out * q->m, sizeof *q->cut);
    q->more = ei_hold(&q->memory, n_out, sizeof *q->more);
    q->value = ei_hold(&q->memory, widest, block * sizeof *q->value);
    q->spare = ei_hold(&q->memory, widest, block * sizeof *q->spare);
    q->error = ei_hold(&q->memory, widest, block * sizeof *q->error);
    q->errors = ei_hold(&q->memory, widest, block * sizeof *q->errors);
    q->begin = ei_hold(&q->memory, widest, EI_PANEL * sizeof *q->begin);
    q->near = ei_hold(&q->memory, block, sizeof *q->near);
    q->at = ei_hold(&q->memory, block, sizeof *q->at);
    q->draws = ei_hold_zeros(&q->memory, c->n_in, block * sizeof *q->draws);
    q->exact = ei_hold(&q->memory, n_out, block * sizeof *q->exact);
    double *from = ei_hold(&q->memory, widest, sizeof *from);
    double *to = ei_hold(&q->memory, widest, sizeof *to);
    size_t total = 2 * n_out * (c->n_last + 1);
    for (size_t i = 0; i < c->n_stages; i++)
        total += 2 * c->stages[i].n_out * (c->stages[i].n_in + 1);
    float *numbers = ei_hold(&q->memory, total, sizeof *numbers);
    int status = ei_held(&q->memory, EI_OK);
    if (status != EI_OK)
        return status;
    float *into = numbers;
    const double range = c->in_hi - c->in_lo, size = fmax(fabs(c->in_lo), fabs(c->in_hi));
    for (size_t k = 0; k < c->n_in; k++)
        from[k] = size;
    int fits = size < most && range < most;
    q->lo = fits ? (float)(c->in_lo + range / 33554432.0) : 0.0f; /* halfway through 256 draws */
    q->scale = fits ? (float)(range / 16777216.0) : 0.0f;
    q->wrong = fits ? up(4.0 * unit * (range + size) + least) : 0.0f;
    for (size_t i = 0; fits && i <= c->n_stages; i++) {
        ei_quick_map *map = q->maps + i;
        memset(map, 0, sizeof *map);
        if (i < c->n_stages) {
            const ei_stage *stage = c->stages + i;
            map->n_in = stage->n_in;
            map->n_out = stage->n_out;
            fits = take_map(map, into, stage->weight, stage->bias, stage->functions, from, to);
        } else {
            map->n_in = c->n_last;
            map->n_out = n_out;
            fits = take_map(map, into, c->weight + out_start * c->n_last, c->bias + out_start, NULL,
                            from, to);
        }
        into += 2 * map->n_out * (map->n_in + 1);
        double *swap = from;
        from = to;
        to = swap;
    }
    if (!fits)
        return EI_OK;
    take_cuts(q, c, out_start);
    for (size_t o = 0; o < q->maps->n_out; o++) {
        double sum = q->maps->own[o];
        for (size_t k = 0; k < c->n_in; k++)
            sum += (double)q->maps->size[o * c->n_in + k] * q->wrong;
        for (size_t i = 0; i < EI_PANEL; i++)
            q->begin[o * EI_PANEL + i] = up(sum);
    }
    q->n_maps = c->n_stages + 1;
    return EI_OK;
}

void ei_quick_close(ei_quick *q)
{
    ei_release(&q->memory);
    memset(q, 0, sizeof *q);
}

size_t ei_quick_forward(ei_quick *q, const ei_kernels *kernels, const uint32_t *draws, size_t block,
                        size_t n)
{
    const size_t n_in = q->maps->n_in, n_panels = n / EI_PANEL;
    float *value = q->value, *spare = q->spare, *error = q->error, *errors = q->errors;
    for (size_t k = 0; k < n_in; k++)
        kernels->quick_inputs(draws + k * block, n, q->lo, q->scale, value + k * EI_PANEL,
                              n_in * EI_PANEL);
    for (size_t i = 0; i < q->n_maps; i++) {
        const ei_quick_map *map = q->maps + i;
        kernels->quick_affine(map->weight, map->bias, map->n_in, map->n_out, value, spare, n_panels);
        if (i == 0) /* the errors of all samples are the same */
            for (size_t p = 0; p < n_panels; p++)
                memcpy(errors + p * map->n_out * EI_PANEL, q->begin,
                       map->n_out * EI_PANEL * sizeof *errors);
        else
            kernels->quick_affine(map->size, map->own, map->n_in, map->n_out, error, errors, n_panels);
        kernels->quick_activate(map->activation, map->p0, map->p1, spare, errors,
                                n_panels * map->n_out * EI_PANEL);
        float *swap = value;
        value = spare;
        spare = swap;
        swap = error;
        error = errors;
        errors = swap;
    }
    q->z = value;
    memset(q->near, 0, n * sizeof *q->near);
    for (size_t o = 0; o < q->n_out; o++)
        kernels->quick_near(value + o * EI_PANEL, q->n_out * EI_PANEL, n, q->cut + o * q->m, q->m,
                            error + o * EI_PANEL, q->more[o], q->near);
    size_t again = 0;
    for (size_t p = 0; p < n; p += EI_PANEL) {
        uint32_t some = 0;
        for (size_t i = 0; i < EI_PANEL; i++)
            some |= q->near[p + i];
        for (size_t s = p; some && s < p + EI_PANEL; s++) {
            q->at[again] = s;
            again += q->near[s];
        }
    }
    for (size_t k = 0; k < n_in; k++)
        for (size_t s = 0; s < again; s++)
            q->draws[k * block + s] = draws[k * block + q->at[s]];
    q->seen += n;
    q->again += again;
    return again;
}
