/* Hot loops for entropies of single outputs given cells of inputs (joint/ei_given.h), in the kernels'
 * tables. Every table returns the same bits: lanes are independent, and eight lanes are added up in one
 * order.
 */
#ifndef EI_GIVEN_KERNELS_H
#define EI_GIVEN_KERNELS_H

#include <stddef.h>

enum { EI_GIVEN_LANES = 8 };

/* A characteristic function below this is zero. */
#define EI_GIVEN_ZERO 1e-17

typedef struct ei_given_kernels {
    /* out[q], first <= q < last: prod_k f(q step size[k]), sizes downwards and positive; 0 where less
     * than EI_GIVEN_ZERO. f(x) = sin(x) / x, or with bins > 0, sin(bins x) / (bins sin x). Arguments
     * times max(bins, 1) below 2^20. first and last multiples of 8. */
    void (*products)(const double *size, size_t n, double bins, double step, size_t first,
                     size_t last, double *out);

    /* Sines and cosines of q angle, q < n, a multiple of 8. */
    void (*turns)(double angle, size_t n, double *sine, double *cosine);

    /* Eight discrete Fourier transforms of n terms, a power of two, in place: sum_q z_q exp(2 pi i q j /
     * n). z_q lies at the place of q's bits in reverse, eight lanes wide. sine and cosine of 2 pi q / n,
     * q < n / 2. */
    void (*transform)(double *re, double *im, size_t n, const double *sine, const double *cosine);

    /* h[j] -= sum over lanes of p log2 p, total[j] += sum of p, p = max(lane, 0). */
    void (*surprise)(const double *lanes, size_t n, double *h, double *total);
} ei_given_kernels;

#endif
