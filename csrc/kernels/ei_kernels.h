/* The hot loops, one table of functions for every instruction set.
 *
 * Each is written once, in ei_kernels_impl.h (and the other *_impl.h), and compiled by kernels_*.c
 * for its target. All targets return the same bits: integer work, and floating-point sums in an order
 * that does not depend on the width of a vector. Quick layers alone do not, which may do what each target
 * does best within their bounds: what is counted does not depend on it (ei_quick.h).
 */
#ifndef EI_KERNELS_H
#define EI_KERNELS_H

#include "common/ei_channel.h"

/* The tables of this build: one, if EI_ONLY_... names it (see setup.py), else all of the CPU's kind. */
#if defined(EI_ONLY_BASELINE)
#define EI_WITH_BASELINE
#elif defined(EI_ONLY_AVX2)
#define EI_WITH_AVX2
#elif defined(EI_ONLY_AVX512)
#define EI_WITH_AVX512
#elif defined(EI_ONLY_NEON)
#define EI_WITH_NEON
#else
#define EI_WITH_BASELINE
#if defined(EI_GNU) && defined(__x86_64__)
#define EI_WITH_AVX2
#define EI_WITH_AVX512
#elif defined(EI_GNU) && defined(__aarch64__)
#define EI_WITH_NEON
#endif
#endif

/* The bits of a number in the opposite order. */
static inline uint32_t ei_mirrored(uint32_t v)
{
    v = (v >> 16) | (v << 16);
    v = ((v >> 8) & 0x00ff00ffu) | ((v & 0x00ff00ffu) << 8);
    v = ((v >> 4) & 0x0f0f0f0fu) | ((v & 0x0f0f0f0fu) << 4);
    v = ((v >> 2) & 0x33333333u) | ((v & 0x33333333u) << 2);
    return ((v >> 1) & 0x55555555u) | ((v & 0x55555555u) << 1);
}

/* Error of a quick sigmoid or tanh of a value that is right; tests/test_quick.py. */
#define EI_CURVE 5e-7f

typedef struct {
    const char *name;

    /* Pairs of masks up to which counting bits beats scattering (bench/test_bench_kernels.py). */
    size_t mask_limit;

    /* Draws of one stream: Philox4x32-10 (Salmon et al., SC 2011, section 3.3), key `key`, counter
     * (block lo, block hi, stream, purpose). Sixteen blocks b make the 64 samples of a group: sample
     * 2 b + i is word i, sample 32 + 2 b + i word 2 + i. first and n are multiples of 64. */
    void (*draw)(uint64_t key, uint32_t purpose, uint32_t stream, uint64_t first, size_t n,
                 uint32_t *out);

    /* Coordinate of points first .. first + n (multiples of 64) of a shifted rank-1 lattice, bent by the
     * tent map: ei_points.h. */
    void (*lattice)(uint32_t factor, uint32_t shift, uint64_t first, size_t n, uint32_t *out);

    /* Inputs from draws. Value of sample 16 p + i goes to out[p * stride + i]; n a multiple of 16. */
    void (*inputs)(const uint32_t *draws, size_t n, double lo, double scale, double *out,
                   size_t stride);

    /* z = bias + W x, summed over the inputs in their order. Panels: x[p][n_in][16], z[p][n_out][16].
     * ldw: distance of rows in weight. */
    void (*affine)(const double *weight, size_t ldw, const double *bias, size_t n_in, size_t n_out,
                   const double *x, double *z, size_t n_panels);

    /* Apply an activation to n values in place (n a multiple of 16). */
    void (*activate)(int activation, double p0, double p1, double *z, size_t n);

    /* Maximum over groups of `width` neighbouring neurons: z[p][n_out * width][16] to out[p][n_out][16]. */
    void (*pool)(size_t width, size_t n_out, const double *z, double *out, size_t n_panels);

    /* The same in single precision, for ei_quick.h; of every 256 draws all are alike. No ldw. Of the
     * activations those that it has; the others are the identity. `error`, a bound of how far each value
     * is off, goes through with them. */
    void (*quick_inputs)(const uint32_t *draws, size_t n, float lo, float scale, float *out,
                         size_t stride);
    void (*quick_affine)(const float *weight, const float *bias, size_t n_in, size_t n_out,
                         const float *x, float *z, size_t n_panels);
    void (*quick_activate)(int activation, float p0, float p1, float *z, float *error, size_t n);

    /* near[s] |= whether z is within its error, and `more`, of one of m cuts. Strided as z of `inputs` is,
     * so is error. */
    void (*quick_near)(const float *z, size_t stride, size_t n, const float *cut, size_t m,
                       const float *error, float more, uint32_t *near);

    /* As value_masks below. */
    void (*quick_masks)(const float *z, size_t stride, size_t words, const float *cut, size_t m,
                        uint64_t *masks, size_t ld);

    /* Bit masks of draws: bit s of masks[i * ld + w] says draw 64 w + s >= edges[i]. */
    void (*draw_masks)(const uint32_t *draws, size_t words, const uint32_t *edges, size_t n_edges,
                       uint64_t *masks, size_t ld);

    /* Bit masks of one output: bit s of masks[j * ld + w] says z >= thresholds[j];
     * z of sample 16 p + i at z[p * stride + i]. */
    void (*value_masks)(const double *z, size_t stride, size_t words, const double *thresholds,
                        size_t m, uint64_t *masks, size_t ld);

    /* counts[i * m + j] += number of common bits of x mask i and y mask j, `words` words each
     * (a multiple of 8, at most 4096; the tail zero). */
    void (*count_masks)(const uint64_t *x, size_t ldx, size_t k, const uint64_t *y, size_t ldy,
                        size_t m, size_t words, uint64_t *counts);

    /* Interval of every value: number of thresholds <= z, through `map`; strided like value_masks. */
    void (*label)(const double *z, size_t stride, size_t n, const double *thresholds, size_t m,
                  const uint16_t *map, uint16_t *out);

    /* Row offset of every draw's input bin: bin * row. */
    void (*offsets)(const uint32_t *draws, size_t n, uint32_t bins, uint32_t row, uint32_t *out);

    /* Counts (below 2^52) of n cells as doubles, added to the columns' sums too; returns the row's
     * sum, and adds the numbers of cells that are not 0, and that are 1, to occupied. */
    uint64_t (*convert)(const uint64_t *counts, size_t n, double *out, double *column,
                        uint64_t occupied[2]);

    /* Pointwise information of n cells of a row, ((log - log_row) - log_column) + log_total, 0 where
     * the count is 0, to `pointwise`; count times it, and times its square, are added to the eight
     * partial sums of sum and of square, cell i to partial sum i mod 8. */
    void (*pointwise)(const double *count, const double *log, const double *log_column, size_t n,
                      double log_row, double log_total, double *pointwise, double sum[8],
                      double square[8]);

    /* out[i] = log2(x[i]), with 0 for x[i] = 0; x finite, not negative. */
    void (*log2)(const double *x, size_t n, double *out);

    /* Those of the wide engine. */
    const struct ei_wide_kernels *wide;

    /* Those for outputs given cells of inputs. */
    const struct ei_given_kernels *given;

    /* Those of the exact engine. */
    const struct ei_exact_kernels *exact;
} ei_kernels;

#ifdef EI_WITH_BASELINE
extern const ei_kernels ei_kernels_baseline;
#endif
#ifdef EI_WITH_AVX2
extern const ei_kernels ei_kernels_avx2;
#endif
#ifdef EI_WITH_AVX512
extern const ei_kernels ei_kernels_avx512;
#endif
#ifdef EI_WITH_NEON
extern const ei_kernels ei_kernels_neon;
#endif

/* The table in use: the best that this CPU has, or the one that EIPLANE_CPU or ei_select named. NULL
 * where ei_supported finds none, in a build for an instruction set that the CPU lacks. */
const ei_kernels *ei_active(void);

/* Choose by name; NULL chooses the best. Returns 0, or -1 if this CPU or build has no such table. */
int ei_select(const char *name);

/* Names of the tables that this CPU can run, from the plainest to the best; returns their number. */
int ei_supported(const char *names[8]);

#endif
