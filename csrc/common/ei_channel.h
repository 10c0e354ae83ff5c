/* The discrete channel of a layer, or of a chain of layers, under maximum-entropy noise.
 *
 * Input k of sample s is x = in_lo + (r + 1/2) * ((in_hi - in_lo) / 2^32), r the 32-bit draw of
 * stream k (ei_kernels.h); its bin is (r * in_bins) >> 32. The stages run first, then the last
 * affine map gives the pre-activations z. z lies in interval j when j thresholds are <= z;
 * labels[j] is its output bin, or -1 where the sample is dropped. Outputs may have different rules,
 * that is, thresholds and labels: those with fewer thresholds are filled up with infinite ones.
 *
 * Preconditions: sizes positive, stages chain, thresholds not NaN and strictly increasing where
 * finite, weights finite, 2 <= in_bins, out_bins <= 1024, n_thresholds <= 4096, labels in
 * -1 .. out_bins - 1, n_in below 2^32, rules and functions below their numbers.
 */
#ifndef EI_CHANNEL_H
#define EI_CHANNEL_H

#include "common/ei_common.h"

enum ei_activation {
    EI_IDENTITY = 0,
    EI_RELU,
    EI_LEAKY_RELU, /* p0: slope */
    EI_SIGMOID,
    EI_TANH,
    EI_SOFTPLUS, /* p0: beta */
    EI_GELU,
    EI_GELU_TANH,
    EI_QUICK_GELU,
    EI_SILU,
    EI_MISH,
    EI_ELU, /* p0: alpha */
    EI_SELU,
    EI_HARDTANH, /* p0, p1: bounds */
    EI_HARDSIGMOID,
    EI_HARDSWISH,
    EI_SOFTSIGN,
    EI_TABLE /* a piecewise polynomial */
};

/* What is known of a row of weights: the greatest size, the sum of the weights, scaled by two to minus
 * the greatest's exponent and in two parts, the same sum as it is, those of sizes and of squares. */
enum { EI_GREATEST, EI_SUM, EI_SUM_LOW, EI_TOTAL, EI_SIZES, EI_SQUARES, EI_SUMS };

/* Coefficients of a polynomial; before them stand its centre and one over its half width. */
enum { EI_TERMS = 8, EI_POLYNOMIAL = EI_TERMS + 2 };

typedef struct {
    int activation; /* enum ei_activation */
    double p0, p1;
    size_t n_knots; /* of a table: polynomial j holds where j knots are <= z */
    const double *knots;
    const double *polynomials; /* n_knots + 1: in (z - centre) / half width, the constant first */
} ei_function;

typedef struct {
    size_t n_in, n_out;
    size_t width;         /* 0: affine map and activation; else: maximum of `width` neighbours */
    const double *weight; /* n_out x n_in, row by row (affine) */
    const double *bias;   /* n_out (affine) */
    const ei_function *functions; /* what is applied to the outputs (affine) */
    const int32_t *function;      /* n_out: which to each; NULL: the first to all */
} ei_stage;

typedef struct {
    size_t n_in; /* perturbed inputs */
    double in_lo, in_hi;
    uint32_t in_bins, out_bins;
    size_t n_stages; /* before the last map */
    const ei_stage *stages;
    size_t n_last; /* inputs of the last map: n_in without stages */
    size_t n_out;
    const double *weight; /* n_out x n_last */
    const float *narrow;  /* the same in float32, weight being NULL: the exact engine alone takes it */
    const double *bias;   /* n_out */
    const double *sums;   /* n_out x EI_SUMS: of its rows, as ei_exact_sums has them, or NULL */
    size_t n_rules;
    const int32_t *rule; /* n_out: which each has; NULL: all the first */
    size_t n_thresholds; /* of every rule */
    const double *thresholds; /* n_rules x n_thresholds */
    const int32_t *labels;    /* n_rules x (n_thresholds + 1) */
    int drops;                /* whether a label is -1 */
    size_t n_limits; /* intervals of z that lie outside the output's range: as above, with */
    const double *limits;
    const uint16_t *outside; /* n_rules x (n_limits + 1) flags */
    double baseline;         /* of the inputs that are not perturbed */
} ei_channel;

/* Rule of an output. */
static inline size_t ei_rule(const ei_channel *c, size_t output)
{
    return c->rule ? (size_t)c->rule[output] : 0;
}

static inline const double *ei_thresholds(const ei_channel *c, size_t output)
{
    return c->thresholds + ei_rule(c, output) * c->n_thresholds;
}

static inline const double *ei_limits(const ei_channel *c, size_t output)
{
    return c->limits + ei_rule(c, output) * c->n_limits;
}

static inline const uint16_t *ei_outside(const ei_channel *c, size_t output)
{
    return c->outside + ei_rule(c, output) * (c->n_limits + 1);
}

/* Whether an output can lie outside its range. */
static inline int ei_may_leave(const ei_channel *c)
{
    return c->n_limits > 0 || c->n_rules > 1 || c->outside[0];
}

/* Length of a table's row: the output bins, and one column for dropped samples. */
static inline size_t ei_row_length(const ei_channel *c) { return c->out_bins + (size_t)c->drops; }

/* Columns of the intervals of all rules: their labels, out_bins where dropped. ei_map_size of them. */
static inline size_t ei_map_size(const ei_channel *c) { return c->n_rules * (c->n_thresholds + 1); }

static inline void ei_label_map(const ei_channel *c, uint16_t *map)
{
    for (size_t j = 0; j < ei_map_size(c); j++)
        map[j] = (uint16_t)(c->labels[j] < 0 ? (int32_t)c->out_bins : c->labels[j]);
}

/* An output's part of the map. */
static inline const uint16_t *ei_map_of(const ei_channel *c, const uint16_t *map, size_t output)
{
    return map + ei_rule(c, output) * (c->n_thresholds + 1);
}

/* Smallest draw of input bin k, 0 .. bins; that of `bins` is 2^32. */
static inline uint64_t ei_bin_start(uint32_t bins, uint64_t k)
{
    return ((k << 32) + bins - 1) / bins;
}

/* Input bin of a draw. */
static inline size_t ei_bin_of(uint32_t bins, uint32_t draw)
{
    return (size_t)(((uint64_t)draw * bins) >> 32);
}

#endif
