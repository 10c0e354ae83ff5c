/* Samples as vectors: bins of a block, packed into words. */
#include "joint/ei_joint_internal.h"

#include <string.h>

static unsigned bits_of(uint32_t bins)
{
    unsigned bits = 1;
    while (((uint32_t)1 << bits) < bins)
        bits++;
    return bits;
}

static unsigned row_bits(const ei_channel *c, int32_t row)
{
    return bits_of((size_t)row < c->n_in ? c->in_bins : c->out_bins);
}

size_t ei_rows_words(const ei_channel *channel, const ei_rows *rows, unsigned *bits)
{
    size_t words = 1;
    unsigned used = 0;
    for (size_t i = 0; i < rows->n; i++) {
        const unsigned b = row_bits(channel, rows->rows[i]);
        if (used + b > 64) {
            words++;
            used = 0;
        }
        used += b;
    }
    if (bits)
        *bits = words == 1 ? used : 64;
    return words;
}

void ej_bins_close(ej_bins *b)
{
    ei_eval_close(&b->eval);
    ei_release(&b->memory);
}

int ej_bins_open(ej_bins *b, const ei_channel *c, int with_inputs)
{
    memset(b, 0, sizeof *b);
    ei_memory *memory = &b->memory;
    int status = ei_eval_open(&b->eval, c, 0, c->n_out);
    b->map = ei_hold(memory, ei_map_size(c), sizeof *b->map);
    b->inputs = with_inputs ? ei_hold(memory, c->n_in * LOTS, sizeof *b->inputs) : NULL;
    b->outputs = ei_hold(memory, c->n_out * LOTS, sizeof *b->outputs);
    b->scratch = ei_hold(memory, LOTS, sizeof *b->scratch);
    b->kept = ei_hold(memory, LOTS, 1);
    b->outside = ei_hold(memory, LOTS, 1);
    status = ei_held(memory, status);
    if (status == EI_OK)
        ei_label_map(c, b->map);
    b->drops = c->drops;
    return status;
}

void ej_bins_fill(ej_bins *b, size_t n)
{
    ei_eval *e = &b->eval;
    const ei_channel *c = e->channel;
    ei_eval_forward(e, n);
    for (size_t o = 0; o < c->n_out; o++)
        ei_eval_labels(e, o, n, b->map, b->outputs + o * LOTS);
    if (b->inputs)
        for (size_t k = 0; k < c->n_in; k++)
            e->kernels->offsets(e->draws + k * e->block, n, c->in_bins, 1, b->inputs + k * LOTS);
    if (b->drops) {
        memset(b->kept, 1, n);
        for (size_t o = 0; o < c->n_out; o++)
            for (size_t s = 0; s < n; s++)
                b->kept[s] &= b->outputs[o * LOTS + s] != c->out_bins;
    }
}

size_t ej_pack(const ej_bins *b, const ei_rows *rows, size_t n, uint64_t *keys)
{
    const ei_channel *c = b->eval.channel;
    size_t word = 0;
    unsigned used = 0;
    memset(keys, 0, n * sizeof *keys);
    for (size_t i = 0; i < rows->n; i++) {
        const size_t row = (size_t)rows->rows[i];
        const unsigned bits = row_bits(c, rows->rows[i]);
        if (used + bits > 64) {
            word++;
            used = 0;
            memset(keys + word * LOTS, 0, n * sizeof *keys);
        }
        uint64_t *key = keys + word * LOTS;
        if (row < c->n_in) {
            const uint32_t *in = b->inputs + row * LOTS;
            for (size_t s = 0; s < n; s++)
                key[s] |= (uint64_t)in[s] << used;
        } else {
            const uint16_t *out = b->outputs + (row - c->n_in) * LOTS;
            for (size_t s = 0; s < n; s++)
                key[s] |= (uint64_t)out[s] << used;
        }
        used += bits;
    }
    return word + 1;
}

size_t ej_compact(uint64_t *keys, size_t words, const uint8_t *kept, size_t n)
{
    size_t to = 0;
    for (size_t w = 0; w < words; w++) {
        uint64_t *word = keys + w * LOTS;
        to = 0;
        for (size_t s = 0; s < n; s++) { /* without a branch: none could be foretold */
            word[to] = word[s];
            to += kept[s] != 0;
        }
    }
    return to;
}

int ej_with_inputs(const ei_channel *channel, const ei_joint_job *job)
{
    int any = 0;
    for (size_t i = 0; i < job->n_sets; i++)
        for (size_t r = 0; r < job->sets[i].n; r++)
            any |= (size_t)job->sets[i].rows[r] < channel->n_in;
    return any;
}

uint64_t ej_count_outside(ej_bins *b, size_t some)
{
    uint64_t sum = 0;
    memset(b->outside, 0, some);
    for (size_t o = 0; o < b->eval.n_out; o++) {
        (void)ei_eval_outside(&b->eval, o, some, b->scratch);
        for (size_t s = 0; s < some; s++)
            b->outside[s] |= (uint8_t)b->scratch[s];
    }
    for (size_t s = 0; s < some; s++)
        sum += b->outside[s];
    return sum;
}

void ej_count_margins(const ej_bins *b, size_t some, uint64_t *margins)
{
    const ei_channel *c = b->eval.channel;
    for (size_t o = 0; o < c->n_out; o++)
        for (size_t s = 0; s < some; s++)
            if (!b->drops || b->kept[s])
                margins[o * c->out_bins + b->outputs[o * LOTS + s]]++;
}
