/* Draws, inputs and the layers' maps; included by ei_kernels_impl.h. */

/* Product of the low halves of the lanes. */
EI_FORCE vu mul_low(vu a, vu b)
{
#if defined(__x86_64__) && EI_VBYTES == 64
    return (vu)_mm512_mul_epu32((__m512i)a, (__m512i)b);
#elif defined(__x86_64__) && EI_VBYTES == 32
    return (vu)_mm256_mul_epu32((__m256i)a, (__m256i)b);
#elif defined(__x86_64__) && EI_VBYTES == 16
    return (vu)_mm_mul_epu32((__m128i)a, (__m128i)b);
#elif defined(EI_NEON)
    return (vu)vmull_u32(vmovn_u64((uint64x2_t)a), vmovn_u64((uint64x2_t)b));
#else
    return (a & 0xffffffffull) * (b & 0xffffffffull);
#endif
}

EI_FN void draw(uint64_t key, uint32_t purpose, uint32_t stream, uint64_t first, size_t n,
                uint32_t *out)
{
    vu lane = {0};
    for (int i = 0; i < VD; i++)
        V_LANE(lane, i) = (uint64_t)i;
    const vu m0 = (vu){0} + 0xD2511F53ull, m1 = (vu){0} + 0xCD9E8D57ull;
    const uint64_t group = first / EI_GROUP;
    for (size_t g = 0; g < n / EI_GROUP; g++) {
        for (int b = 0; b < 16; b += VD) {
            /* Only the low half of a lane counts; what is above it is rubbish. */
            vu block = lane + ((group + g) * 16 + (uint64_t)b);
            vu c0 = block, c1 = block >> 32;
            vu c2 = (vu){0} + stream, c3 = (vu){0} + purpose;
            uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
            EI_UNROLL(10)
            for (int round = 0; round < 10; round++) {
                vu p0 = mul_low(c0, m0), p1 = mul_low(c2, m1);
                c0 = (p1 >> 32) ^ c1 ^ ((vu){0} + k0);
                c1 = p1;
                c2 = (p0 >> 32) ^ c3 ^ ((vu){0} + k1);
                c3 = p0;
                k0 += 0x9E3779B9u;
                k1 += 0xBB67AE85u;
            }
            const vu even = (c0 & 0xffffffffull) | (c1 << 32);
            const vu odd = (c2 & 0xffffffffull) | (c3 << 32);
            memcpy(out + g * 64 + 2 * b, &even, sizeof even);
            memcpy(out + g * 64 + 32 + 2 * b, &odd, sizeof odd);
        }
    }
}

/* Twice the distance to the nearest of 0 and 2^32. */
EI_FORCE uint32_t tent(uint32_t v) { return (v << 1) ^ (uint32_t)(0 - (v >> 31)); }

EI_FN void lattice(uint32_t factor, uint32_t shift, uint64_t first, size_t n, uint32_t *out)
{
    uint32_t step[EI_GROUP];
    for (uint32_t l = 0; l < EI_GROUP; l++)
        step[l] = ei_mirrored(l) * factor;
    for (size_t g = 0; g < n; g += EI_GROUP) {
        /* The lowest bits of a point's number are the highest of the mirrored one. */
        const uint32_t here = ei_mirrored((uint32_t)(first + g)) * factor + shift;
        for (size_t l = 0; l < EI_GROUP; l++)
            out[g + l] = tent(here + step[l]);
    }
}

EI_FN void inputs(const uint32_t *draws, size_t n, double lo, double scale, double *out,
                  size_t stride)
{
    for (size_t p = 0; p < n / EI_PANEL; p++)
        for (size_t i = 0; i < EI_PANEL; i++) {
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
        EI_UNROLL(4)
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
                for (size_t i = 0; i < EI_PANEL; i++) {
                    double v = from[j * EI_PANEL + i];
                    to[i] = v > to[i] ? v : to[i];
                }
        }
}
