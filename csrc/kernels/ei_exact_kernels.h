/* The hot loops of the exact engine, one table for every instruction set (see csrc/exact for what
 * they are for). They are written once, in ei_exact_impl.h. Every table returns the same bits: lanes
 * are independent, and where lanes are summed there are eight of them whatever the vectors' width.
 *
 * "Blocks of 8": an array over cells or frequencies is padded to a multiple of 8 (EI_EXACT_LANES).
 */
#ifndef EI_EXACT_KERNELS_H
#define EI_EXACT_KERNELS_H

#include "common/ei_common.h"

enum {
    EI_EXACT_LANES = 8,
    EI_EXACT_POWERS = 16, /* terms of log sinc's polynomial, see ei_plan.c */
    EI_EXACT_TERMS = 24,  /* most terms of the Bernoulli expansion */
    EI_EXACT_DOMINANT = 20, /* most dominant widths */
    EI_EXACT_PANEL = 8,   /* input bins (counted from the middle) between two direct sines */
    EI_EXACT_NODES = 6,   /* of a mean over many bins, on either side of the middle */
    EI_EXACT_RIMS = 2,    /* ellipses on which a bound is tried */
    EI_EXACT_FEW = 7      /* most widths of a row whose subsets are summed up */
};

/* What a small error of the probabilities costs (exact/ei_agree.c): the distance of log2 p(i, c) from
 * log2 of the cell's mean; `price`, if p(i, c) is below `least`. */
typedef struct {
    const double *log_mean, *price; /* n_cells */
    double least;
} ei_exact_costs;

/* The mean over the bins by a few of their places (exact/ei_nodes.c), n = 2 EI_EXACT_NODES of them, half of
 * them on either side of the middle of the input's range. That is 1 long. */
typedef struct {
    double place[EI_EXACT_NODES], weight[EI_EXACT_NODES];
    double even[EI_EXACT_NODES][EI_EXACT_NODES]; /* Chebyshev's coefficients 0, 2, ... of the interpolant, */
    double odd[EI_EXACT_NODES][EI_EXACT_NODES];  /* 1, 3, ..., from sums and differences of the two sides */
    double lebesgue;                             /* 1 and the interpolant's greatest at any bin */
    double rim[EI_EXACT_RIMS][2 * EI_EXACT_NODES]; /* greatest size of Chebyshev's polynomials on the ellipse */
    double far[EI_EXACT_RIMS], near[EI_EXACT_RIMS]; /* what a function's greatest size there makes of its
                                                       mean's error, and of its distance from degree n - 1 */
    double least_log;                               /* of a cell's mean probability that is worth a trial */
    double limit;                                   /* of the error of eight cells, bits */
    double beta[EI_EXACT_NODES][EI_EXACT_TERMS];    /* as in ei_exact_expansion */
} ei_exact_nodes;

/* One row's probabilities as functions of an edge's width: p(i, c) = base(c) + sum_k
 * width^k beta(i, k) term(k, c). */
typedef struct {
    size_t n_cells;     /* padded */
    const double *base; /* n_cells: probability of every cell */
    const double *sign; /* n_cells: +1, -1 or, for padding, 0 */
    const double *term; /* [n_cells / 8][EI_EXACT_TERMS][8] */
    size_t n_pairs;     /* in_bins / 2 */
    int middle;         /* in_bins is odd: there is one more bin, its own mirror image */
    const double *beta; /* [n_pairs + middle][EI_EXACT_TERMS] */
    ei_exact_costs costs;
    const ei_exact_nodes *nodes; /* tried before all bins are; or NULL */
} ei_exact_expansion;

/* One row's probabilities as a sine series: p(x, c) = base(c) + sum_q phi(q) [sine(q, c)
 * cos(w_q x) - cosine(q, c) sin(w_q x)], phi(q) = rest(q) sinc(w_q width / (2 n_bins)). */
typedef struct {
    size_t n_cells;
    const double *base, *sign;
    size_t n_waves;       /* padded */
    const double *sine;   /* [n_cells / 8][n_waves][8] */
    const double *cosine; /* as sine */
    double half_step;     /* w_q = (2 q + 1) half_step */
    size_t n_bins;        /* in_bins */
    double *u, *v;        /* scratch, EI_EXACT_PANEL * n_waves each */
    double *phi;          /* scratch, n_waves */
    ei_exact_costs costs;
    const ei_exact_nodes *nodes; /* tried before all bins are; or NULL */
} ei_exact_series;

/* What comes of an edge. */
typedef struct {
    double sum;   /* over bins and cells of sign p log2 p */
    double costs; /* over bins and cells, of those of sign 1 */
    double missed;            /* what the nodes may have missed, bits */
    double heights, weighted; /* of a series: sum of |phi(q)|, and of |phi(q)| / (pi (q + 1/2)) */
} ei_exact_edge;

/* The distribution function of a sum of uniforms, by recursion over `dominant` widths (ei_recursion.c).
 * Index d counts the dominant widths taken in, from the least. */
typedef struct {
    int dominant;
    const double *width; /* width[1 .. dominant] */
    const double *reach; /* reach[0 .. dominant] */
    const double *right; /* [dominant + 1][EI_EXACT_DOMINANT / 2 + 1]: right of the reach, order
                            dominant - d: from the highest power of s, which is that order, in twos */
    const double *base;  /* within reach[0]: powers 0 .. dominant of s, beside the series */
    size_t n_waves;      /* 0: nothing lies within reach[0] */
    double half_step;
    const double *coefficient; /* of the sines; of the cosines where `dominant` is odd */
} ei_exact_sum;

/* Intervals of outputs, as pairs of thresholds: `from` and `to` count thresholds, -1 and n being the
 * ends of the line. */
typedef struct {
    size_t n_thresholds;
    const double *t_hi, *t_lo; /* thresholds less the part of z that all edges share: double-double */
    size_t n_pieces;
    const int32_t *from, *to;
    const double *sign;
    int32_t kept_from, kept_to; /* the run of kept intervals */
    double lo_hi, lo_lo;        /* in_lo - baseline, double-double */
    double hi_hi, hi_lo;        /* in_hi - baseline */
    double range;               /* in_hi - in_lo */
    double n_bins;
    double *scratch; /* n_thresholds * 8 */
} ei_exact_steps;

/* An edge of a row of few widths: some small ones together, the others' subsets (ei_subsets.c). */
typedef struct {
    int degree;            /* how many others there are, below EI_EXACT_FEW */
    size_t n_subsets;
    const double *sum;     /* of a subset's widths */
    const double *factor;  /* of its term */
    double reach;          /* half the support, one bin of the edge's input included */
    int n_small;           /* at least 1; they are counted from 1 on, upwards */
    double small[EI_EXACT_FEW + 1], length[EI_EXACT_FEW + 1]; /* length: of the first d together */
    double part;           /* 1 / ((degree + n_small)! small[1]) */
    double power[EI_EXACT_FEW + 1][EI_EXACT_FEW / 2 + 1]; /* of the first d: from the highest power,
                              which is degree + n_small - d, in twos */
    size_t n_bins;
    const double *centre;  /* of the bins, upwards, padded */
    size_t n_thresholds;
    const double *threshold;
    const int32_t *left, *right; /* cells on either side of each; -1 none */
    int32_t kept_cell;     /* the union of the kept ones; -1 if all are kept */
    size_t n_cells;        /* not padded */
    const double *base, *sign; /* n_cells: 1 in the cell behind the last threshold */
    double *cells;         /* [n_cells][n_bins, padded]: the probabilities */
} ei_exact_subsets;

typedef struct ei_exact_kernels {
    const char *name;

    /* An edge by the expansion. powers[k] = width^(k + 1); n_terms even, at least 2. */
    ei_exact_edge (*expansion)(const ei_exact_expansion *row, const double *powers, size_t n_terms);

    /* An edge by the series; rest[n_waves] is that of the other inputs, width its own input's. */
    ei_exact_edge (*series)(const ei_exact_series *row, const double *rest, double width);

    /* sine[q stride + i], cosine[q stride + i]: those of w_q points[i], w_q = (2 q + 1) half_step, over
     * pi (q + 1/2); n points, a multiple of 8. */
    void (*tables)(const double *points, size_t n, double half_step, size_t n_waves, size_t stride,
                   double *sine, double *cosine);

    /* out[n_cells / 8][n_waves][8], cell c being waves[q stride + c] - waves[q stride + c - 1]. */
    void (*between)(const double *waves, size_t stride, size_t n_waves, size_t n_cells, double *out);

    /* out[q] = sinc((2 q + 1) angle), angle positive. */
    void (*sinc)(double angle, size_t n_waves, double *out);

    /* out[q] = prod_k sinc((2 q + 1) scale width[k]), all widths positive. */
    void (*sinc_product)(const double *width, size_t n, double scale, size_t n_waves, double *out);

    /* out[k] = |w[k]| / divisor, or 0 if that is below `negligible`; sums: of them, of their squares, and
     * how many are not 0. w and out may be one. Where w is NULL, `narrow` has the weights. */
    void (*widths)(const double *w, const float *narrow, size_t n, double divisor, double negligible, double *out,
                   double sums[3]);

    /* out: sum of |w[k]|, of w[k]^2. */
    void (*sizes)(const double *w, size_t n, double out[2]);

    /* The greatest size; and all that is known of a row of floats: as `sum`, unscaled, and as `sizes`. */
    double (*float_sums)(const float *w, size_t n, double hi[EI_EXACT_LANES], double lo[EI_EXACT_LANES],
                         double out[2]);

    /* Sum of x[k]. */
    double (*total)(const double *x, size_t n);

    /* sum_k min(width[k]^2 scale, 1). */
    double (*envelope)(const double *width, size_t n, double scale);

    /* out[m - 1] = sum_k (scale width[k])^(2 m), m = 1 .. n_powers or more, EI_EXACT_POWERS at most, over
     * those that are not above 1 after scaling. */
    void (*power_sums)(const double *width, size_t n, double scale, size_t n_powers, double *out);

    /* phi[q] *= exp(-sum over m < n_powers of coefficient[m] u^(2 m + 2)), u = (2 q + 1) / last. */
    void (*damp)(const double *coefficient, size_t n_powers, size_t n_waves, double last, double *phi);

    /* out[k] = sum_q |phi[q]| / (pi (q + 1/2)) y^k / (1 - y), y = (2 q + 1) step, below 1 where phi is not 0; k below n, which is
     * EI_EXACT_TERMS + 2 at most. */
    void (*moments)(const double *phi, size_t n_waves, double step, size_t n, double *out);

    /* out[k][b], k = 0 .. n_terms (even): derivative k of sum_q phi[q] sin(w_q s) / (pi (q + 1/2)) at
     * point b, times unit^k, from what `tables` says of n points; step = half_step unit. */
    void (*derivatives)(const double *sine, const double *cosine, size_t stride, size_t n, double step,
                        const double *phi, size_t n_waves, size_t n_terms, double *out);

    /* Cells as functions of an edge's width, complex ones too: p(i, c) = base(c) exp(width b(i, c))
     * (1 + y(i, c)), b from the first term. slope[c]: the greatest |b|; rest[r][c]: a bound of |y| for
     * |width| <= radius[r], of all bins, or 0 behind the first that is not above `enough`. most_beta[k]: the
     * greatest |beta(i, k)| of any bin. */
    void (*tilted)(const ei_exact_expansion *row, size_t n_terms, const double *most_beta,
                   const double *radius, size_t n_radii, double enough, double *slope, double *rest);

    /* Sines and cosines of (2 q + 1) angle. */
    void (*waves)(double angle, size_t n_waves, double *sine, double *cosine);

    /* Greatest |w|, 0 for none. */
    double (*greatest)(const double *w, size_t n);

    /* hi[l] + lo[l]: sum over i = l mod 8 of w[i] scale more, to twice the precision. */
    void (*sum)(const double *w, size_t n, double scale, double more, double hi[EI_EXACT_LANES],
                double lo[EI_EXACT_LANES]);

    /* Distribution function at n points (a multiple of 8). */
    void (*distribution)(const ei_exact_sum *sum, const double *points, size_t n, double *out);

    /* sum_c sign p log2 p. */
    double (*entropy)(const double *p, const double *sign, size_t n_cells);

    /* out[i] = x^2 sum over k of c[k] (2 x^2 / most^2 - 1)^k, x = width[i], between 0 and `top`; 0 where
     * x is above `most`. Their total. */
    double (*interpolant)(const double *c, size_t n_terms, double most, double top, const double *width,
                          size_t n, double *out);

    /* Fill the cells; their sum over bins and cells of sign p log2 p. */
    double (*subsets)(const ei_exact_subsets *row);

    /* Mutual information of eight edges whose other inputs are held, and the probability that their
     * output is kept. What comes out for a weight of zero means nothing. */
    void (*steps)(const ei_exact_steps *row, const double *weight, double *information, double *kept);
} ei_exact_kernels;

#endif
