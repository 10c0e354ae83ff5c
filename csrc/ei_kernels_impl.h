/* The hot loops, written once. Included by kernels_*.c, which define
 *   EI_NAME    suffix and name of the table,
 *   EI_TARGET  function attribute that allows the instruction set,
 *   EI_VBYTES  width of its vectors in bytes: 16, 32 or 64,
 *   EI_MASK_LIMIT  see mask_limit in ei_kernels.h.
 */
#include "ei_exact_kernels.h"
#include "ei_kernels.h"
#include "ei_wide_kernels.h"
#include "ei_math.h"

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define EI_CAT_(a, b) a##_##b
#define EI_CAT(a, b) EI_CAT_(a, b)
#define EI_STR_(a) #a
#define EI_STR(a) EI_STR_(a)
#define EI_FN static EI_TARGET
#define EI_FORCE static inline EI_TARGET __attribute__((always_inline))

enum { VD = EI_VBYTES / 8 };

typedef double vd __attribute__((vector_size(EI_VBYTES), aligned(8), may_alias));
typedef uint64_t vu __attribute__((vector_size(EI_VBYTES), aligned(8), may_alias));

/* ---- draws ---------------------------------------------------------------------------------- */

/* Product of the low halves of the lanes. */
EI_FORCE vu mul_low(vu a, vu b)
{
#if defined(__x86_64__) && EI_VBYTES == 64
    return (vu)_mm512_mul_epu32((__m512i)a, (__m512i)b);
#elif defined(__x86_64__) && EI_VBYTES == 32
    return (vu)_mm256_mul_epu32((__m256i)a, (__m256i)b);
#elif defined(__x86_64__)
    return (vu)_mm_mul_epu32((__m128i)a, (__m128i)b);
#else
    return (a & 0xffffffffull) * (b & 0xffffffffull);
#endif
}

EI_FN void draw(uint64_t key, uint32_t purpose, uint32_t stream, uint64_t first, size_t n,
                uint32_t *out)
{
    vu lane;
    for (int i = 0; i < VD; i++)
        lane[i] = (uint64_t)i;
    const vu m0 = (vu){0} + 0xD2511F53ull, m1 = (vu){0} + 0xCD9E8D57ull;
    const uint64_t group = first / EI_GROUP;
    for (size_t g = 0; g < n / EI_GROUP; g++) {
        for (int b = 0; b < 16; b += VD) {
            /* Only the low half of a lane counts; what is above it is rubbish. */
            vu block = lane + ((group + g) * 16 + (uint64_t)b);
            vu c0 = block, c1 = block >> 32;
            vu c2 = (vu){0} + stream, c3 = (vu){0} + purpose;
            uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
#pragma GCC unroll 10
            for (int round = 0; round < 10; round++) {
                vu p0 = mul_low(c0, m0), p1 = mul_low(c2, m1);
                c0 = (p1 >> 32) ^ c1 ^ ((vu){0} + k0);
                c1 = p1;
                c2 = (p0 >> 32) ^ c3 ^ ((vu){0} + k1);
                c3 = p0;
                k0 += 0x9E3779B9u;
                k1 += 0xBB67AE85u;
            }
            *(vu *)(out + g * 64 + 2 * b) = (c0 & 0xffffffffull) | (c1 << 32);
            *(vu *)(out + g * 64 + 32 + 2 * b) = (c2 & 0xffffffffull) | (c3 << 32);
        }
    }
}

EI_FN void inputs(const uint32_t *draws, size_t n, double lo, double scale, double *out,
                  size_t stride)
{
    for (size_t p = 0; p < n / EI_PANEL; p++)
        for (int i = 0; i < EI_PANEL; i++) {
            /* An exact conversion that every instruction set has: bits below 2^52, minus 2^52. */
            double r = ei_from_bits(0x4330000000000000ull | draws[p * EI_PANEL + i]);
            out[p * stride + i] = lo + ((r - 4503599627370496.0) + 0.5) * scale;
        }
}

/* ---- layers --------------------------------------------------------------------------------- */

/* Four outputs by two vectors of samples: eight sums, enough to hide an addition's latency. */
EI_FORCE void affine_tile(const double *weight, size_t ldw, const double *bias, size_t n_in,
                          size_t n_rows, const double *x, double *z)
{
    vd a0[4], a1[4];
    for (size_t r = 0; r < n_rows; r++)
        a0[r] = a1[r] = (vd){0} + bias[r];
    for (size_t k = 0; k < n_in; k++) {
        vd x0 = *(const vd *)(x + k * EI_PANEL), x1 = *(const vd *)(x + k * EI_PANEL + VD);
#pragma GCC unroll 4
        for (size_t r = 0; r < n_rows; r++) {
            double w = weight[r * ldw + k];
            a0[r] += x0 * w;
            a1[r] += x1 * w;
        }
    }
    for (size_t r = 0; r < n_rows; r++) {
        *(vd *)(z + r * EI_PANEL) = a0[r];
        *(vd *)(z + r * EI_PANEL + VD) = a1[r];
    }
}

EI_FN void affine(const double *weight, size_t ldw, const double *bias, size_t n_in, size_t n_out,
                  const double *x, double *z, size_t n_panels)
{
    for (size_t p = 0; p < n_panels; p++) {
        const double *xp = x + p * n_in * EI_PANEL;
        double *zp = z + p * n_out * EI_PANEL;
        size_t o = 0;
        for (; o + 4 <= n_out; o += 4)
            for (int i = 0; i < EI_PANEL; i += 2 * VD)
                affine_tile(weight + o * ldw, ldw, bias + o, n_in, 4, xp + i, zp + o * EI_PANEL + i);
        for (; o < n_out; o++)
            for (int i = 0; i < EI_PANEL; i += 2 * VD)
                affine_tile(weight + o * ldw, ldw, bias + o, n_in, 1, xp + i, zp + o * EI_PANEL + i);
    }
}

EI_FORCE double sigmoid(double z)
{
    double e = ei_exp(z < 0.0 ? z : -z);
    return (z < 0.0 ? e : 1.0) / (1.0 + e);
}

EI_FORCE double tanh_of(double z)
{
    double e = ei_exp(z < 0.0 ? 2.0 * z : -2.0 * z);
    double t = (1.0 - e) / (1.0 + e);
    return z < 0.0 ? -t : t;
}

EI_FORCE double softplus(double z)
{
    double e = ei_exp(z < 0.0 ? z : -z);
    return (z < 0.0 ? 0.0 : z) + ei_log(1.0 + e);
}

/* tanh(log(1 + e)) = n / (n + 2), n = e (e + 2). */
EI_FORCE double mish(double z)
{
    double e = ei_exp(z < 30.0 ? z : 30.0), n = e * (e + 2.0);
    return z * (n / (n + 2.0));
}

EI_FORCE double clamp(double z, double lo, double hi)
{
    z = z < lo ? lo : z;
    return z > hi ? hi : z;
}

#define EI_EACH(expression)                                                                        \
    for (size_t i = 0; i < n; i++) {                                                               \
        double v = z[i];                                                                           \
        z[i] = (expression);                                                                       \
    }                                                                                              \
    break

EI_FN void activate(int activation, double p0, double p1, double *z, size_t n)
{
    switch (activation) {
    case EI_RELU: EI_EACH(v < 0.0 ? 0.0 : v);
    case EI_LEAKY_RELU: EI_EACH(v < 0.0 ? v * p0 : v);
    case EI_SIGMOID: EI_EACH(sigmoid(v));
    case EI_TANH: EI_EACH(tanh_of(v));
    case EI_SOFTPLUS: EI_EACH(softplus(p0 * v) / p0);
    case EI_GELU: EI_EACH(0.5 * v * ei_erfc(v * -0.70710678118654752440));
    case EI_GELU_TANH:
        EI_EACH(v * sigmoid(1.5957691216057307118 * (v + 0.044715 * v * v * v)));
    case EI_QUICK_GELU: EI_EACH(v * sigmoid(1.702 * v));
    case EI_SILU: EI_EACH(v * sigmoid(v));
    case EI_MISH: EI_EACH(mish(v));
    case EI_ELU: EI_EACH(v > 0.0 ? v : p0 * (ei_exp(v > 0.0 ? 0.0 : v) - 1.0));
    case EI_SELU:
        EI_EACH(1.0507009873554804934 *
                (v > 0.0 ? v : 1.6732632423543772848 * (ei_exp(v > 0.0 ? 0.0 : v) - 1.0)));
    case EI_HARDTANH: EI_EACH(clamp(v, p0, p1));
    case EI_HARDSIGMOID: EI_EACH(clamp(v / 6.0 + 0.5, 0.0, 1.0));
    case EI_HARDSWISH: EI_EACH(v * clamp(v / 6.0 + 0.5, 0.0, 1.0));
    case EI_SOFTSIGN: EI_EACH(v / (1.0 + (v < 0.0 ? -v : v)));
    default: break;
    }
}

EI_FN void pool(size_t width, size_t n_out, const double *z, double *out, size_t n_panels)
{
    for (size_t p = 0; p < n_panels; p++)
        for (size_t o = 0; o < n_out; o++) {
            const double *from = z + (p * n_out + o) * width * EI_PANEL;
            double *to = out + (p * n_out + o) * EI_PANEL;
            memcpy(to, from, EI_PANEL * sizeof *to);
            for (size_t j = 1; j < width; j++)
                for (int i = 0; i < EI_PANEL; i++) {
                    double v = from[j * EI_PANEL + i];
                    to[i] = v > to[i] ? v : to[i];
                }
        }
}

/* ---- binning -------------------------------------------------------------------------------- */

EI_FN void draw_masks(const uint32_t *draws, size_t words, const uint32_t *edges, size_t n_edges,
                      uint64_t *masks, size_t ld)
{
    for (size_t w = 0; w < words; w++) {
        const uint32_t *r = draws + w * 64;
        for (size_t i = 0; i < n_edges; i++) {
            uint64_t bits = 0;
#if defined(__x86_64__) && EI_VBYTES == 64
            const __m512i edge = _mm512_set1_epi32((int)edges[i]);
            for (int s = 0; s < 64; s += 16)
                bits |= (uint64_t)_mm512_cmpge_epu32_mask(_mm512_loadu_si512(r + s), edge) << s;
#elif defined(__x86_64__) && EI_VBYTES == 32
            const __m256i edge = _mm256_set1_epi32((int)edges[i]);
            for (int s = 0; s < 64; s += 8) {
                __m256i v = _mm256_loadu_si256((const __m256i *)(r + s));
                __m256i ge = _mm256_cmpeq_epi32(_mm256_max_epu32(v, edge), v);
                bits |= (uint64_t)(uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(ge)) << s;
            }
#else
            for (int s = 0; s < 64; s++)
                bits |= (uint64_t)(r[s] >= edges[i]) << s;
#endif
            masks[i * ld + w] = bits;
        }
    }
}

EI_FN void value_masks(const double *z, size_t stride, size_t words, const double *thresholds,
                       size_t m, uint64_t *masks, size_t ld)
{
    for (size_t w = 0; w < words; w++) {
        const double *v = z + 4 * w * stride;
        for (size_t j = 0; j < m; j++) {
            uint64_t bits = 0;
            for (int p = 0; p < 4; p++) {
                const double *vp = v + (size_t)p * stride;
#if defined(__x86_64__) && EI_VBYTES == 64
                const __m512d t = _mm512_set1_pd(thresholds[j]);
                uint64_t a = _mm512_cmp_pd_mask(_mm512_loadu_pd(vp), t, _CMP_GE_OQ);
                uint64_t b = _mm512_cmp_pd_mask(_mm512_loadu_pd(vp + 8), t, _CMP_GE_OQ);
                bits |= (a | b << 8) << (16 * p);
#elif defined(__x86_64__) && EI_VBYTES == 32
                const __m256d t = _mm256_set1_pd(thresholds[j]);
                for (int i = 0; i < 16; i += 4) {
                    __m256d ge = _mm256_cmp_pd(_mm256_loadu_pd(vp + i), t, _CMP_GE_OQ);
                    bits |= (uint64_t)(uint32_t)_mm256_movemask_pd(ge) << (16 * p + i);
                }
#else
                for (int i = 0; i < 16; i++)
                    bits |= (uint64_t)(vp[i] >= thresholds[j]) << (16 * p + i);
#endif
            }
            masks[j * ld + w] = bits;
        }
    }
}

EI_FN void label(const double *z, size_t stride, size_t n, const double *thresholds, size_t m,
                 const uint16_t *map, uint16_t *out)
{
    enum { FEW = 24 };
    uint64_t step[FEW], label[EI_PANEL]; /* what each threshold adds to the label, modulo 2^64 */
    for (size_t j = 0; m <= FEW && j < m; j++)
        step[j] = (uint64_t)map[j + 1] - map[j];
    for (size_t s = 0; s < n; s += EI_PANEL, z += stride) {
        size_t end = n - s < EI_PANEL ? n - s : EI_PANEL;
        if (m <= FEW && end == EI_PANEL) {
            for (int i = 0; i < EI_PANEL; i += VD) {
                const vd value = *(const vd *)(z + i);
                vu sum = (vu){0} + map[0];
                for (size_t j = 0; j < m; j++)
                    sum += (vu)(value >= thresholds[j]) & step[j];
                *(vu *)(label + i) = sum;
            }
            for (int i = 0; i < EI_PANEL; i++)
                out[s + (size_t)i] = (uint16_t)label[i];
        } else {
            for (size_t i = 0; i < end; i++) {
                /* Binary search without branches: `at` thresholds are known to be <= z. */
                size_t at = 0, left = m;
                while (left > 0) {
                    size_t half = (left + 1) / 2;
                    at += thresholds[at + half - 1] <= z[i] ? half : 0;
                    left -= half;
                }
                out[s + i] = map[at];
            }
        }
    }
}

EI_FN void offsets(const uint32_t *draws, size_t n, uint32_t bins, uint32_t row, uint32_t *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (uint32_t)(((uint64_t)draws[i] * bins) >> 32) * row;
}

/* ---- counting ------------------------------------------------------------------------------- */

#if defined(__x86_64__) && EI_VBYTES == 64

/* One mask against n others, n at most 8 and known when this is inlined. */
EI_FORCE void count_some(const uint64_t *x, const uint64_t *y, size_t ldy, size_t words,
                         uint64_t *counts, const size_t n)
{
    __m512i sum[8];
#pragma GCC unroll 8
    for (size_t a = 0; a < n; a++)
        sum[a] = _mm512_setzero_si512();
    for (size_t w = 0; w < words; w += 8) {
        const __m512i v = _mm512_loadu_si512(x + w);
#pragma GCC unroll 8
        for (size_t a = 0; a < n; a++)
            sum[a] = _mm512_add_epi64(
                sum[a],
                _mm512_popcnt_epi64(_mm512_and_si512(v, _mm512_loadu_si512(y + a * ldy + w))));
    }
#pragma GCC unroll 8
    for (size_t a = 0; a < n; a++)
        counts[a] += (uint64_t)_mm512_reduce_add_epi64(sum[a]);
}

EI_FN void count_masks(const uint64_t *x, size_t ldx, size_t k, const uint64_t *y, size_t ldy,
                       size_t m, size_t words, uint64_t *counts)
{
    for (size_t i = 0; i < k; i++) {
        const uint64_t *xi = x + i * ldx;
        uint64_t *to = counts + i * m;
        size_t j = 0;
        for (; j + 8 <= m; j += 8)
            count_some(xi, y + j * ldy, ldy, words, to + j, 8);
        switch (m - j) {
        case 7: count_some(xi, y + j * ldy, ldy, words, to + j, 7); break;
        case 6: count_some(xi, y + j * ldy, ldy, words, to + j, 6); break;
        case 5: count_some(xi, y + j * ldy, ldy, words, to + j, 5); break;
        case 4: count_some(xi, y + j * ldy, ldy, words, to + j, 4); break;
        case 3: count_some(xi, y + j * ldy, ldy, words, to + j, 3); break;
        case 2: count_some(xi, y + j * ldy, ldy, words, to + j, 2); break;
        case 1: count_some(xi, y + j * ldy, ldy, words, to + j, 1); break;
        default: break;
        }
    }
}

#elif defined(__x86_64__) && EI_VBYTES == 32

/* Carry-save adder: three words of weight 1 to one of weight 2 and one of weight 1. */
#define EI_CSA(high, low, a, b)                                                                    \
    do {                                                                                           \
        __m256i u_ = _mm256_xor_si256(low, a);                                                     \
        high = _mm256_or_si256(_mm256_and_si256(low, a), _mm256_and_si256(u_, b));                 \
        low = _mm256_xor_si256(u_, b);                                                             \
    } while (0)

EI_FORCE __m256i popcount_bytes(__m256i v)
{
    const __m256i table = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1, 2,
                                           1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
    const __m256i low = _mm256_set1_epi8(15);
    return _mm256_add_epi8(
        _mm256_shuffle_epi8(table, _mm256_and_si256(v, low)),
        _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi64(v, 4), low)));
}

/* Harley and Seal's population count of the common bits, eight vectors at a time (Mula, Kurz,
 * Lemire, Computer Journal 61(1), 2018). */
EI_FN void count_masks(const uint64_t *x, size_t ldx, size_t k, const uint64_t *y, size_t ldy,
                       size_t m, size_t words, uint64_t *counts)
{
    const __m256i zero = _mm256_setzero_si256();
    for (size_t i = 0; i < k; i++)
        for (size_t j = 0; j < m; j++) {
            const __m256i *a = (const __m256i *)(x + i * ldx);
            const __m256i *b = (const __m256i *)(y + j * ldy);
            size_t n = words / 4, v = 0;
            __m256i total = zero, ones = zero, twos = zero, fours = zero;
#define EI_AND(q) _mm256_and_si256(_mm256_loadu_si256(a + v + (q)), _mm256_loadu_si256(b + v + (q)))
            for (; v + 8 <= n; v += 8) {
                __m256i t0, t1, f0, f1, eights;
                EI_CSA(t0, ones, EI_AND(0), EI_AND(1));
                EI_CSA(t1, ones, EI_AND(2), EI_AND(3));
                EI_CSA(f0, twos, t0, t1);
                EI_CSA(t0, ones, EI_AND(4), EI_AND(5));
                EI_CSA(t1, ones, EI_AND(6), EI_AND(7));
                EI_CSA(f1, twos, t0, t1);
                EI_CSA(eights, fours, f0, f1);
                total = _mm256_add_epi64(total, _mm256_sad_epu8(popcount_bytes(eights), zero));
            }
            total = _mm256_slli_epi64(total, 3);
            total = _mm256_add_epi64(
                total, _mm256_slli_epi64(_mm256_sad_epu8(popcount_bytes(fours), zero), 2));
            total = _mm256_add_epi64(
                total, _mm256_slli_epi64(_mm256_sad_epu8(popcount_bytes(twos), zero), 1));
            total = _mm256_add_epi64(total, _mm256_sad_epu8(popcount_bytes(ones), zero));
            for (; v < n; v++)
                total = _mm256_add_epi64(total, _mm256_sad_epu8(popcount_bytes(EI_AND(0)), zero));
#undef EI_AND
            __m128i half = _mm_add_epi64(_mm256_castsi256_si128(total),
                                         _mm256_extracti128_si256(total, 1));
            counts[i * m + j] += (uint64_t)_mm_cvtsi128_si64(half) +
                                 (uint64_t)_mm_cvtsi128_si64(_mm_unpackhi_epi64(half, half));
        }
}

#else

/* Bits of each lane's fields added pairwise (Hacker's Delight, 5-1), in vectors of two words. */
EI_FN void count_masks(const uint64_t *x, size_t ldx, size_t k, const uint64_t *y, size_t ldy,
                       size_t m, size_t words, uint64_t *counts)
{
    for (size_t i = 0; i < k; i++)
        for (size_t j = 0; j < m; j++) {
            const uint64_t *a = x + i * ldx, *b = y + j * ldy;
            vu total = {0};
            for (size_t w = 0; w < words; w += 8) {
                vu bytes = {0};
                for (size_t q = w; q < w + 8; q += VD) {
                    vu v = *(const vu *)(a + q) & *(const vu *)(b + q);
                    v = v - ((v >> 1) & 0x5555555555555555ull);
                    v = (v & 0x3333333333333333ull) + ((v >> 2) & 0x3333333333333333ull);
                    bytes += (v + (v >> 4)) & 0x0f0f0f0f0f0f0f0full;
                }
                /* At most 32 in a byte: add neighbours until the lane is one sum. */
                bytes = (bytes & 0x00ff00ff00ff00ffull) + ((bytes >> 8) & 0x00ff00ff00ff00ffull);
                bytes = bytes + (bytes >> 16);
                total += (bytes + (bytes >> 32)) & 0xffffull;
            }
            uint64_t sum = 0;
            for (int q = 0; q < VD; q++)
                sum += total[q];
            counts[i * m + j] += sum;
        }
}

#endif

/* ---- information ---------------------------------------------------------------------------- */

EI_FN void log2_of(const double *x, size_t n, double *out)
{
    for (size_t i = 0; i < n; i++) {
        double v = x[i], l = ei_log2(v > 0.0 ? v : 1.0);
        out[i] = l;
    }
}

EI_FN uint64_t convert(const uint64_t *counts, size_t n, double *out, double *column,
                       uint64_t *occupied)
{
    uint64_t sum = 0, some = 0;
    for (size_t i = 0; i < n; i++) {
        double v = ei_from_bits(0x4330000000000000ull | counts[i]) - 4503599627370496.0;
        out[i] = v;
        column[i] += v;
        sum += counts[i];
        some += counts[i] != 0;
    }
    *occupied += some;
    return sum;
}

EI_FN void pointwise(const double *count, const double *log, const double *log_column, size_t n,
                     double log_row, double log_total, double *out, double sum[8],
                     double square[8])
{
    const vd none = {0};
    double s[8], q[8];
    memcpy(s, sum, sizeof s);
    memcpy(q, square, sizeof q);
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (size_t l = 0; l < 8; l += VD) {
            const vd c = *(const vd *)(count + i + l);
            vd p = ((*(const vd *)(log + i + l) - log_row) - *(const vd *)(log_column + i + l)) +
                   log_total;
            p = (vd)((vu)p & (vu)(c > none));
            *(vd *)(out + i + l) = p;
            *(vd *)(s + l) += c * p;
            *(vd *)(q + l) += c * p * p;
        }
    for (size_t l = 0; i + l < n; l++) {
        double c = count[i + l];
        double p = ((log[i + l] - log_row) - log_column[i + l]) + log_total;
        p = c > 0.0 ? p : 0.0;
        out[i + l] = p;
        s[l] += c * p;
        q[l] += c * p * p;
    }
    memcpy(sum, s, sizeof s);
    memcpy(square, q, sizeof q);
}

const ei_kernels EI_CAT(ei_kernels, EI_NAME) = {
    .name = EI_STR(EI_NAME),
    .mask_limit = EI_MASK_LIMIT,
    .exact = &EI_CAT(ei_exact_kernels, EI_NAME),
    .wide = &EI_CAT(ei_wide_kernels, EI_NAME),
    .draw = draw,
    .inputs = inputs,
    .affine = affine,
    .activate = activate,
    .pool = pool,
    .draw_masks = draw_masks,
    .value_masks = value_masks,
    .count_masks = count_masks,
    .label = label,
    .offsets = offsets,
    .convert = convert,
    .pointwise = pointwise,
    .log2 = log2_of,
};
