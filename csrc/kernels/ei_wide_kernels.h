/* Hot loops of the wide engine, in the kernels' tables.
 *
 * Matrices stand in panels of eight columns: entry (t, c) of a matrix of `terms` rows at
 * [(c / 8 * terms + t) * 8 + c % 8]. Sums run over t in its order, whatever the width of a vector.
 */
#ifndef EI_WIDE_KERNELS_H
#define EI_WIDE_KERNELS_H

#include <stddef.h>

/* Columns of a panel; nodes of the quadrature over a site's interval. */
enum { EI_WIDE_LANES = 8, EI_WIDE_NODES = 24 };

/* Sites, `n` of them (a multiple of 8): the density exp(h s - l s^2 / 2) on lo < s < hi, l >= 0.
 * Where l and h are both 0 the interval must be finite. */
typedef struct {
    size_t n;
    const double *h, *l, *lo, *hi;
    /* Logarithm of the integral, mean, variance, and if asked for the third and fourth cumulants. */
    double *log_mass, *mean, *variance, *third, *fourth;
} ei_wide_sites;

/* Columns i before j that are correlated by more than the limit. */
typedef struct {
    size_t i, j;
    double correlation;
} ei_wide_strong;

/* Sum over pairs of columns of Q, i before j: third_i third_j r^3 / 6 + fourth_i fourth_j r^4 / 24,
 * r the columns' correlation; those with |r| > limit are noted instead, as long as there is room. */
typedef struct {
    size_t terms, n_panels;
    const double *q;             /* n_panels panels of `terms` rows */
    const double *scale;         /* one over each column's deviation, 0 for padding */
    const double *third, *fourth; /* standardised cumulants */
    /* The covariance is q_i . q_j, or base_ij - q_i . q_j: between one of the first `split` columns
     * (a multiple of 8) and a later one, prior[(j - split) / 8][i] * part_i; between two later
     * ones, gram; between two early ones 0. NULL without a base. */
    size_t split;
    const double *prior; /* panels of `split` rows */
    const double *part;  /* split */
    const double *gram;  /* panels of n_panels * 8 - split rows */
    double limit;
    ei_wide_strong *strong;
    size_t room, n_strong; /* n_strong is set */
} ei_wide_pairs;

typedef struct ei_wide_kernels {
    /* Moments of sites. third and fourth may be NULL. */
    void (*tilt)(const ei_wide_sites *sites);

    /* out_(i, c) = diagonal_i + sum_t left_(t, i) right_(t, c), for c >= i at least; n_panels panels
     * of n_panels * 8 rows. */
    void (*gram)(const double *left, const double *right, size_t terms, const double *diagonal,
                 size_t n_panels, double *out);

    /* In place A = U^T U, the upper half; inverse_(i) = 1 / U_ii. Returns 0, or -1 where A is not
     * positive definite. n_panels panels of n_panels * 8 rows. */
    int (*factor)(double *a, size_t n_panels, double *inverse);

    /* In place x = U^-T x, for one panel whose first `from` rows (a multiple of 8) are 0. */
    void (*solve)(const double *u, const double *inverse, size_t n_panels, size_t from, double *x);

    /* Of every column of one panel, from row `from` on: square += |x|^2, along += x . y. */
    void (*project)(const double *x, const double *y, size_t from, size_t terms, double *square,
                    double *along);

    double (*pairs)(ei_wide_pairs *pairs);

    /* Of a matrix in rows of `stride` (a multiple of 8), rows first to last (first a multiple of 8): to
     * every entry (i, k), k >= i, one after the other along_t(i) by_t along_t(k) for eight t, along_t at
     * along + t stride. Entries left of that may change. */
    void (*adjust)(double *rows, size_t stride, size_t first, size_t last, const double *along,
                   const double *by);

    /* How far each of n pairs of faces (a multiple of 8), lo and hi, lets a point go that is at z, where a
     * step moves it by one over `inverse`: down and up are narrowed to what all of them let. */
    void (*room)(size_t n, const double *z, const double *lo, const double *hi, const double *inverse,
                 double *down, double *up);

    /* z += step along; n a multiple of 8. */
    void (*move)(size_t n, double step, const double *along, double *z);

    /* Mean of s^2 under exp(-l s^2 / 2) on lo < s < hi, in which l s^2 stays below 1,000. */
    double (*square)(double l, double lo, double hi);
} ei_wide_kernels;

#endif
