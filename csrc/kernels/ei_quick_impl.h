/* Layers in single precision, for ei_quick.h; included by ei_kernels_impl.h. */

#if EI_VBYTES > 8
typedef float vf __attribute__((vector_size(EI_VBYTES), aligned(4), may_alias));
typedef int32_t vi __attribute__((vector_size(EI_VBYTES), aligned(4), may_alias));
#else
typedef float vf;
typedef int32_t vi;
#endif
enum { VF = sizeof(vf) / sizeof(float) };

EI_FORCE vf vf_all(float a)
{
#if defined(__x86_64__) && EI_VBYTES == 64
    return (vf)_mm512_set1_ps(a);
#else
    return (vf){0} + a;
#endif
}

/* a b + c, rounded once where the instruction set can. */
EI_FORCE vf vf_multiply_add(vf a, vf b, vf c)
{
#if defined(__x86_64__) && EI_VBYTES == 64
    return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#else
    return a * b + c;
#endif
}

/* The smaller of a distance and of the size of another. */
EI_FORCE vf vf_nearer(vf distance, vf other)
{
#if defined(__x86_64__) && EI_VBYTES == 64
    return (vf)_mm512_range_ps((__m512)distance, (__m512)other, 0x0a);
#elif EI_VBYTES > 8
    const vi size = (vi)other & 0x7fffffff, mask = (vi)distance < size; /* as integers, in the same order */
    return (vf)(((vi)distance & mask) | (size & ~mask));
#else
    other = other < 0.0f ? -other : other;
    return distance < other ? distance : other;
#endif
}

EI_FN void quick_inputs(const uint32_t *draws, size_t n, float lo, float scale, float *out,
                        size_t stride)
{
    for (size_t p = 0; p < n / EI_PANEL; p++)
        for (size_t i = 0; i < EI_PANEL; i++)
            out[p * stride + i] = lo + (float)(int32_t)(draws[p * EI_PANEL + i] >> 8) * scale;
}

/* Up to six outputs by two vectors of samples, `apart` from each other in x and `beyond` in z. */
EI_FORCE void quick_tile(const float *weight, const float *bias, size_t n_in, size_t n_rows,
                         const float *x, size_t apart, float *z, size_t beyond)
{
    vf a0[6], a1[6];
    for (size_t r = 0; r < n_rows; r++)
        a0[r] = a1[r] = vf_all(bias[r]);
    EI_UNROLL(3)
    for (size_t k = 0; k < n_in; k++) {
        const vf x0 = *(const vf *)(x + k * EI_PANEL), x1 = *(const vf *)(x + k * EI_PANEL + apart);
        EI_UNROLL(6)
        for (size_t r = 0; r < n_rows; r++) {
            const vf w = vf_all(weight[r * n_in + k]);
            a0[r] = vf_multiply_add(x0, w, a0[r]);
            a1[r] = vf_multiply_add(x1, w, a1[r]);
        }
    }
    for (size_t r = 0; r < n_rows; r++) {
        *(vf *)(z + r * EI_PANEL) = a0[r];
        *(vf *)(z + r * EI_PANEL + beyond) = a1[r];
    }
}

/* The number of rows known to the compiler. */
EI_FORCE void quick_rows(size_t n_rows, const float *w, const float *b, size_t n_in, const float *x,
                         size_t apart, float *z, size_t beyond)
{
    switch (n_rows) {
    case 1: quick_tile(w, b, n_in, 1, x, apart, z, beyond); break;
    case 2: quick_tile(w, b, n_in, 2, x, apart, z, beyond); break;
    case 3: quick_tile(w, b, n_in, 3, x, apart, z, beyond); break;
    case 4: quick_tile(w, b, n_in, 4, x, apart, z, beyond); break;
    case 5: quick_tile(w, b, n_in, 5, x, apart, z, beyond); break;
    default: quick_tile(w, b, n_in, 6, x, apart, z, beyond); break;
    }
}

EI_FN void quick_affine(const float *weight, const float *bias, size_t n_in, size_t n_out,
                        const float *x, float *z, size_t n_panels)
{
    /* Two vectors are one of each of two panels, or neighbours in one. */
    const size_t pair = (size_t)VF == (size_t)EI_PANEL, step = pair ? 2 : 1;
    const size_t apart = pair ? n_in * EI_PANEL : VF;
    const size_t beyond = pair ? n_out * EI_PANEL : VF;
    for (size_t p = 0; p < n_panels; p += step)
        for (size_t i = 0; i < EI_PANEL; i += pair ? EI_PANEL : 2 * VF) {
            const float *xp = x + p * n_in * EI_PANEL + i;
            float *zp = z + p * n_out * EI_PANEL + i;
            for (size_t o = 0, rows; o < n_out; o += rows) {
                const size_t left = n_out - o;
                rows = left <= 6 ? left : left < 12 ? left - left / 2 : 6;
                quick_rows(rows, weight + o * n_in, bias + o, n_in, xp, apart, zp + o * EI_PANEL,
                           beyond);
            }
        }
}

/* exp(x) for x <= 0; below -87 that of -87. */
EI_FORCE float quick_exp(float x)
{
    x = x < -87.0f ? -87.0f : x;
    float k = x * 1.44269504f + 12582912.0f; /* rounds to an integer */
    uint32_t bits;
    memcpy(&bits, &k, sizeof bits);
    k -= 12582912.0f;
    const float r = (x - k * 0.693359375f) + k * 2.12194440e-4f;
    float p = 1.0f / 720.0f;
    p = p * r + 1.0f / 120.0f;
    p = p * r + 1.0f / 24.0f;
    p = p * r + 1.0f / 6.0f;
    p = p * r + 0.5f;
    p = p * (r * r) + r;
    bits = (bits + 127u) << 23;
    float power;
    memcpy(&power, &bits, sizeof power);
    return power + power * p;
}

EI_FORCE float quick_sigmoid(float z)
{
    const float e = quick_exp(z < 0.0f ? z : -z);
    return (z < 0.0f ? e : 1.0f) / (1.0f + e);
}

EI_FORCE float quick_tanh(float z)
{
    const float e = quick_exp(z < 0.0f ? 2.0f * z : -2.0f * z), t = (1.0f - e) / (1.0f + e);
    return z < 0.0f ? -t : t;
}

EI_FORCE float quick_clamp(float z, float lo, float hi)
{
    z = z < lo ? lo : z;
    return z > hi ? hi : z;
}

#include "kernels/ei_quick_curve_impl.h"

/* `wrong` is how far the value v can be off, `value` what becomes of it. */
#define EI_QUICK(expression, off)                                                                  \
    for (size_t i = 0; i < n; i++) {                                                               \
        const float v = z[i], value = (expression), wrong = error[i];                              \
        z[i] = value;                                                                              \
        error[i] = (off);                                                                          \
    }                                                                                              \
    break

EI_FN void quick_activate(int activation, float p0, float p1, float *z, float *error, size_t n)
{
#if defined(__x86_64__) && EI_VBYTES == 64
    if (activation == EI_SIGMOID || activation == EI_TANH) {
        quick_curves(activation, z, error, n);
        return;
    }
#endif
    const float steep = p0 > 1.0f ? p0 : p0 < -1.0f ? -p0 : 1.0f;
    switch (activation) {
    case EI_RELU: EI_QUICK(v < 0.0f ? 0.0f : v, v < -wrong ? 0.0f : wrong);
    case EI_LEAKY_RELU:
        EI_QUICK(v < 0.0f ? v * p0 : v,
                 steep * (wrong + 3e-7f * (v < 0.0f ? -v : v)) * 1.000001f);
    case EI_SIGMOID:
        EI_QUICK(quick_sigmoid(v), wrong * (value * (1.0f - value) + wrong + 2e-6f) + EI_CURVE);
    case EI_TANH:
        EI_QUICK(quick_tanh(v), wrong * (1.0f - value * value + 2.0f * wrong + 4e-6f) + EI_CURVE);
    case EI_HARDTANH:
        EI_QUICK(quick_clamp(v, p0, p1), wrong + 1e-7f * (value < 0.0f ? -value : value));
    case EI_HARDSIGMOID:
        EI_QUICK(quick_clamp(v * (1.0f / 6.0f) + 0.5f, 0.0f, 1.0f),
                 wrong * 0.17f + 3e-7f * (1.0f + (v < 0.0f ? -v : v)));
    default: break;
    }
}

/* Odd numbers where it holds. */
EI_FORCE vi vf_at_most(vf a, vf b)
{
    return (vi)(a <= b);
}

EI_FN void quick_near(const float *z, size_t stride, size_t n, const float *cut, size_t m,
                      const float *error, float more, uint32_t *near)
{
    for (size_t p = 0; p < n / EI_PANEL; p++) {
        const float *here = z + p * stride;
        for (size_t i = 0; i < EI_PANEL; i += VF) {
            const vf value = *(const vf *)(here + i);
            vf closest = (vf){0} + 3e38f;
            for (size_t j = 0; j < m; j++)
                closest = vf_nearer(closest, value - cut[j]);
            const vf radius = *(const vf *)(error + p * stride + i) * 1.001f + more;
            *(vi *)(near + p * EI_PANEL + i) |= vf_at_most(closest, radius) & 1;
        }
    }
}

/* Which of 64 values, those of four panels, are at least t. */
EI_FORCE uint64_t quick_past(const float *z, size_t stride, float t)
{
#if defined(__x86_64__) && EI_VBYTES == 64
    const __m512 least = _mm512_set1_ps(t);
    __mmask16 past[4];
    for (int p = 0; p < 4; p++)
        past[p] = _mm512_cmp_ps_mask(_mm512_loadu_ps(z + (size_t)p * stride), least, _CMP_GE_OQ);
    return avx512_bits(past);
#elif defined(EI_NEON)
    const float32x4_t least = vdupq_n_f32(t);
    uint8x16_t bytes[4];
    for (int p = 0; p < 4; p++) {
        const float *v = z + (size_t)p * stride;
        bytes[p] = neon_bytes(
            neon_halves(vcgeq_f32(vld1q_f32(v), least), vcgeq_f32(vld1q_f32(v + 4), least)),
            neon_halves(vcgeq_f32(vld1q_f32(v + 8), least), vcgeq_f32(vld1q_f32(v + 12), least)));
    }
    return neon_bits(bytes);
#else
    uint64_t bits = 0;
    for (int p = 0; p < 4; p++) {
        const float *v = z + (size_t)p * stride;
#if defined(__x86_64__) && EI_VBYTES == 32
        for (int i = 0; i < EI_PANEL; i += 8) {
            const __m256 past = _mm256_cmp_ps(_mm256_loadu_ps(v + i), _mm256_set1_ps(t), _CMP_GE_OQ);
            bits |= (uint64_t)(uint32_t)_mm256_movemask_ps(past) << (16 * p + i);
        }
#else
        for (int i = 0; i < EI_PANEL; i++)
            bits |= (uint64_t)(v[i] >= t) << (16 * p + i);
#endif
    }
    return bits;
#endif
}

EI_FN void quick_masks(const float *z, size_t stride, size_t words, const float *cut, size_t m,
                       uint64_t *masks, size_t ld)
{
    for (size_t w = 0; w < words; w++)
        for (size_t j = 0; j < m; j++)
            masks[j * ld + w] = quick_past(z + 4 * w * stride, stride, cut[j]);
}
