/* Samples from draws to pre-activations: inputs, stages, the last affine map, a block at a time. */
#include "kernels/ei_eval.h"

#include <string.h>

/* Inputs of a block stay in a mid-sized L2 cache. */
enum { BLOCK_BYTES = 512 * 1024, WORDS = EI_BLOCK / EI_GROUP };

int ei_eval_open_exactly(ei_eval *eval, const ei_channel *channel, size_t out_start, size_t out_stop)
{
    memset(eval, 0, sizeof *eval);
    size_t widest = channel->n_in;
    for (size_t i = 0; i < channel->n_stages; i++)
        if (channel->stages[i].n_out > widest)
            widest = channel->stages[i].n_out;
    size_t block = BLOCK_BYTES / sizeof(double) / widest / EI_GROUP * EI_GROUP;
    block = block < EI_GROUP ? EI_GROUP : block > EI_BLOCK ? EI_BLOCK : block;
    eval->channel = channel;
    eval->kernels = ei_active();
    eval->out_start = out_start;
    eval->n_out = out_stop - out_start;
    eval->block = block;
    eval->widest = widest;
    size_t cells, outputs;
    if (ei_mul(widest, block, &cells) || ei_mul(eval->n_out, block, &outputs))
        return EI_EOVERFLOW;
    eval->draws = ei_alloc(channel->n_in * block, sizeof *eval->draws);
    eval->x = ei_alloc(channel->n_in * block, sizeof *eval->x);
    eval->hidden = channel->n_stages ? ei_alloc(2 * cells, sizeof *eval->hidden) : NULL;
    eval->z = ei_alloc(outputs, sizeof *eval->z);
    if (!eval->draws || !eval->x || !eval->z || (channel->n_stages && !eval->hidden))
        return EI_ENOMEM;
    return EI_OK;
}

int ei_eval_open(ei_eval *eval, const ei_channel *channel, size_t out_start, size_t out_stop)
{
    const int status = ei_eval_open_exactly(eval, channel, out_start, out_stop);
    if (status != EI_OK)
        return status;
    return ei_quick_open(&eval->quick, channel, out_start, eval->n_out, eval->widest, eval->block);
}

void ei_eval_close(ei_eval *eval)
{
    ei_quick_close(&eval->quick);
    ei_free(eval->draws);
    ei_free(eval->x);
    ei_free(eval->hidden);
    ei_free(eval->z);
    memset(eval, 0, sizeof *eval);
}

void ei_eval_draw(ei_eval *eval, uint64_t key, uint32_t purpose, uint64_t first, size_t n)
{
    for (size_t k = 0; k < eval->channel->n_in; k++)
        eval->kernels->draw(key, purpose, (uint32_t)k, first, n, eval->draws + k * eval->block);
}

static void table(const ei_function *f, double *z, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t at = 0;
        for (size_t left = f->n_knots; left > 0;) {
            const size_t half = left - left / 2;
            at += f->knots[at + half - 1] <= z[i] ? half : 0;
            left -= half;
        }
        const double *row = f->polynomials + at * EI_POLYNOMIAL;
        const double u = (z[i] - row[0]) * row[1];
        double value = row[EI_POLYNOMIAL - 1];
        for (int k = EI_POLYNOMIAL - 2; k >= 2; k--)
            value = value * u + row[k];
        z[i] = value;
    }
}

static void apply(const ei_kernels *k, const ei_function *f, double *z, size_t n)
{
    if (f->activation == EI_TABLE)
        table(f, z, n);
    else
        k->activate(f->activation, f->p0, f->p1, z, n);
}

/* Apply the functions of a stage's outputs. */
static void activate(const ei_kernels *k, const ei_stage *stage, double *z, size_t n_panels)
{
    if (stage->function == NULL) {
        apply(k, stage->functions, z, n_panels * stage->n_out * EI_PANEL);
        return;
    }
    for (size_t p = 0; p < n_panels; p++)
        for (size_t o = 0; o < stage->n_out; o++)
            apply(k, stage->functions + stage->function[o], z + (p * stage->n_out + o) * EI_PANEL,
                  EI_PANEL);
}

/* Everything after the first map, to z. `value` holds its result unless there are no stages. */
static void finish(ei_eval *eval, size_t first_stage, double *value, double *spare, size_t n_panels,
                   double *z)
{
    const ei_channel *c = eval->channel;
    const ei_kernels *k = eval->kernels;
    for (size_t i = first_stage; i < c->n_stages; i++) {
        const ei_stage *stage = c->stages + i;
        if (stage->width)
            k->pool(stage->width, stage->n_out, value, spare, n_panels);
        else
            k->affine(stage->weight, stage->n_in, stage->bias, stage->n_in, stage->n_out, value,
                      spare, n_panels);
        if (!stage->width)
            activate(k, stage, spare, n_panels);
        double *swap = value;
        value = spare;
        spare = swap;
    }
    k->affine(c->weight + eval->out_start * c->n_last, c->n_last, c->bias + eval->out_start,
              c->n_last, eval->n_out, value, z, n_panels);
}

/* n samples in double precision, from draws like the evaluation's own, to z. */
static void forward(ei_eval *eval, const uint32_t *draws, size_t n, double *z)
{
    const ei_channel *c = eval->channel;
    double *x = c->n_stages == 0 ? eval->x : eval->hidden;
    for (size_t k = 0; k < c->n_in; k++)
        eval->kernels->inputs(draws + k * eval->block, n, c->in_lo, ei_scale(c), x + k * EI_PANEL,
                              c->n_in * EI_PANEL);
    double *spare = c->n_stages == 0 ? NULL : eval->hidden + eval->widest * eval->block;
    finish(eval, 0, x, spare, n / EI_PANEL, z);
}

/* Where an output's value of sample s stands in panels. */
static inline size_t place(const ei_eval *e, size_t output, size_t s)
{
    return (s / EI_PANEL * e->n_out + output) * EI_PANEL + s % EI_PANEL;
}

/* Samples after which the quick way ends, where more than a quarter has to be computed again. */
enum { TRIED = 2048 };

/* What quick layers found, with what was computed again, in double precision. */
static void widen(ei_eval *eval, size_t n, size_t again)
{
    const ei_quick *q = &eval->quick;
    for (size_t i = 0; i < n * eval->n_out; i++)
        eval->z[i] = (double)q->z[i];
    for (size_t s = 0; s < again; s++)
        for (size_t o = 0; o < eval->n_out; o++)
            eval->z[place(eval, o, q->at[s])] = q->exact[place(eval, o, s)];
}

void ei_eval_forward(ei_eval *eval, size_t n)
{
    ei_quick *q = &eval->quick;
    eval->single = q->n_maps > 0 && (q->seen < TRIED || q->again <= q->seen / 4);
    if (!eval->single) {
        forward(eval, eval->draws, n, eval->z);
        return;
    }
    eval->near = ei_quick_forward(q, eval->kernels, eval->draws, eval->block, n);
    if (eval->near > 0)
        forward(eval, q->draws, (eval->near + EI_PANEL - 1) / EI_PANEL * EI_PANEL, q->exact);
    if (!eval->masked)
        widen(eval, n, eval->near);
}

/* Masks of quick layers for `count` of an output's cuts, from the one numbered `from`: thresholds `exact`,
 * against which what was computed again is held. */
static void quick_masks(const ei_eval *e, size_t output, size_t n, size_t from, size_t count,
                        const double *exact, uint64_t *masks, size_t ld)
{
    const ei_quick *q = &e->quick;
    e->kernels->quick_masks(q->z + output * EI_PANEL, e->n_out * EI_PANEL, n / EI_GROUP,
                            q->cut + output * q->m + from, count, masks, ld);
    for (size_t s = 0; s < e->near; s++) {
        const double z = q->exact[place(e, output, s)];
        const uint64_t bit = (uint64_t)1 << q->at[s] % EI_GROUP;
        for (size_t j = 0; j < count; j++) {
            uint64_t *word = masks + j * ld + q->at[s] / EI_GROUP;
            *word = z >= exact[j] ? *word | bit : *word & ~bit;
        }
    }
}

void ei_eval_masks(const ei_eval *e, size_t output, size_t n, uint64_t *masks, size_t ld)
{
    const ei_channel *c = e->channel;
    const double *thresholds = ei_thresholds(c, e->out_start + output);
    if (e->single && e->masked)
        quick_masks(e, output, n, 0, c->n_thresholds, thresholds, masks, ld);
    else
        e->kernels->value_masks(e->z + output * EI_PANEL, e->n_out * EI_PANEL, n / EI_GROUP, thresholds,
                                c->n_thresholds, masks, ld);
}

/* ei_eval_outside from masks of the limits. */
static uint64_t outside_of_masks(const ei_eval *e, size_t output, size_t n)
{
    const ei_channel *c = e->channel;
    const uint16_t *flags = ei_outside(c, e->out_start + output);
    uint64_t masks[EI_MOST_CUTS * WORDS], past[EI_MOST_CUTS], all[WORDS], sum = 0;
    memset(masks, 0, c->n_limits * WORDS * sizeof *masks);
    memset(past, 0, c->n_limits * sizeof *past);
    quick_masks(e, output, ei_whole_groups(n), c->n_thresholds, c->n_limits,
                ei_limits(c, e->out_start + output), masks, WORDS);
    for (size_t w = 0; w < WORDS; w++) {
        const size_t left = n > w * EI_GROUP ? n - w * EI_GROUP : 0;
        all[w] = left < EI_GROUP ? ((uint64_t)1 << left) - 1 : ~(uint64_t)0;
    }
    e->kernels->count_masks(all, WORDS, 1, masks, WORDS, c->n_limits, WORDS, past);
    for (size_t j = 0; j <= c->n_limits; j++)
        sum += flags[j] * ((j ? past[j - 1] : n) - (j < c->n_limits ? past[j] : 0));
    return sum;
}

size_t ei_eval_next(ei_eval *eval, uint64_t key, uint32_t purpose, uint64_t first, uint64_t left)
{
    const size_t some = left < eval->block ? (size_t)left : eval->block, n = ei_whole_groups(some);
    ei_eval_draw(eval, key, purpose, first, n);
    ei_eval_forward(eval, n);
    return some;
}

void ei_eval_labels(const ei_eval *e, size_t output, size_t n, const uint16_t *map, uint16_t *labels)
{
    const ei_channel *c = e->channel;
    const size_t o = e->out_start + output;
    e->kernels->label(e->z + output * EI_PANEL, e->n_out * EI_PANEL, n, ei_thresholds(c, o),
                      c->n_thresholds, ei_map_of(c, map, o), labels);
}

uint64_t ei_eval_outside(const ei_eval *e, size_t output, size_t n, uint16_t *flags)
{
    const ei_channel *c = e->channel;
    const size_t o = e->out_start + output;
    if (e->single && e->masked)
        return outside_of_masks(e, output, n);
    e->kernels->label(e->z + output * EI_PANEL, e->n_out * EI_PANEL, n, ei_limits(c, o), c->n_limits,
                      ei_outside(c, o), flags);
    uint64_t sum = 0;
    for (size_t s = 0; s < n; s++)
        sum += flags[s];
    return sum;
}

void ei_eval_single(ei_eval *eval, size_t only, const uint32_t *draws, const double *base, size_t n)
{
    const ei_channel *c = eval->channel;
    size_t n_panels = n / EI_PANEL;
    eval->kernels->inputs(draws, n, c->in_lo, ei_scale(c), eval->x, EI_PANEL);
    if (c->n_stages == 0) {
        eval->kernels->affine(c->weight + eval->out_start * c->n_last + only, c->n_last,
                              base + eval->out_start, 1, eval->n_out, eval->x, eval->z, n_panels);
        return;
    }
    double *a = eval->hidden, *b = eval->hidden + eval->widest * eval->block;
    const ei_stage *stage = c->stages;
    if (stage->width) { /* a pool right on the inputs: nothing to save */
        for (size_t p = 0; p < n_panels; p++)
            for (size_t k = 0; k < c->n_in; k++)
                for (size_t i = 0; i < EI_PANEL; i++)
                    a[(p * c->n_in + k) * EI_PANEL + i] =
                        k == only ? eval->x[p * EI_PANEL + i] : c->baseline;
        finish(eval, 0, a, b, n_panels, eval->z);
        return;
    }
    eval->kernels->affine(stage->weight + only, stage->n_in, base, 1, stage->n_out, eval->x, a,
                          n_panels);
    activate(eval->kernels, stage, a, n_panels);
    finish(eval, 1, a, b, n_panels, eval->z);
}
