/* From values and draws to bins and bit masks; included by ei_kernels_impl.h. */

#if defined(EI_NEON)

/* 64 bytes, all ones or zero, to a word: NEON has no instruction that gathers the lanes' signs. */
EI_FORCE uint64_t neon_bits(const uint8x16_t bytes[4])
{
    const uint8x16_t place = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201ull));
    const uint8x16_t low = vpaddq_u8(vandq_u8(bytes[0], place), vandq_u8(bytes[1], place));
    const uint8x16_t high = vpaddq_u8(vandq_u8(bytes[2], place), vandq_u8(bytes[3], place));
    const uint8x16_t all = vpaddq_u8(low, high);
    return vgetq_lane_u64(vreinterpretq_u64_u8(vpaddq_u8(all, all)), 0);
}

/* The low halves of the lanes of two masks. */
EI_FORCE uint16x8_t neon_halves(uint32x4_t a, uint32x4_t b)
{
    return vuzp1q_u16(vreinterpretq_u16_u32(a), vreinterpretq_u16_u32(b));
}

EI_FORCE uint8x16_t neon_bytes(uint16x8_t a, uint16x8_t b)
{
    return vuzp1q_u8(vreinterpretq_u8_u16(a), vreinterpretq_u8_u16(b));
}

EI_FORCE uint32x4_t neon_not_below(const double *z, float64x2_t threshold)
{
    return vuzp1q_u32(vreinterpretq_u32_u64(vcgeq_f64(vld1q_f64(z), threshold)),
                      vreinterpretq_u32_u64(vcgeq_f64(vld1q_f64(z + 2), threshold)));
}

#endif

#if defined(__x86_64__) && EI_VBYTES == 64

/* Four masks of 16 to a word. */
EI_FORCE uint64_t avx512_bits(const __mmask16 part[4])
{
    return _cvtmask64_u64(_mm512_kunpackd(_mm512_kunpackw(part[3], part[2]),
                                          _mm512_kunpackw(part[1], part[0])));
}

#endif

/* Which of 64 numbers, doubled so many times (what leaves 32 bits being lost), are at least `edge`. */
EI_FORCE uint64_t mask_from(const uint32_t *r, uint32_t edge, int doubled)
{
    uint64_t bits = 0;
#if defined(__x86_64__) && EI_VBYTES == 64
    const __m512i least = _mm512_set1_epi32((int)edge);
    const __m128i shift = _mm_cvtsi32_si128(doubled);
    __mmask16 past[4];
    for (int s = 0; s < 4; s++) {
        __m512i v = _mm512_loadu_si512(r + 16 * s);
        v = doubled ? _mm512_sll_epi32(v, shift) : v;
        past[s] = _mm512_cmpge_epu32_mask(v, least);
    }
    bits = avx512_bits(past);
#elif defined(__x86_64__) && EI_VBYTES == 32
    const __m256i least = _mm256_set1_epi32((int)edge);
    const __m128i shift = _mm_cvtsi32_si128(doubled);
    for (int s = 0; s < 64; s += 8) {
        __m256i v = _mm256_loadu_si256((const __m256i *)(r + s));
        v = doubled ? _mm256_sll_epi32(v, shift) : v;
        __m256i ge = _mm256_cmpeq_epi32(_mm256_max_epu32(v, least), v);
        bits |= (uint64_t)(uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(ge)) << s;
    }
#elif defined(EI_NEON)
    const uint32x4_t least = vdupq_n_u32(edge);
    const int32x4_t shift = vdupq_n_s32(doubled);
    uint8x16_t bytes[4];
    for (int s = 0; s < 4; s++) {
        uint32x4_t v[4];
        for (int i = 0; i < 4; i++) {
            v[i] = vld1q_u32(r + 16 * s + 4 * i);
            v[i] = doubled ? vshlq_u32(v[i], shift) : v[i];
        }
        bytes[s] = neon_bytes(neon_halves(vcgeq_u32(v[0], least), vcgeq_u32(v[1], least)),
                              neon_halves(vcgeq_u32(v[2], least), vcgeq_u32(v[3], least)));
    }
    bits = neon_bits(bytes);
#else
    for (int s = 0; s < 64; s++)
        bits |= (uint64_t)((r[s] << doubled) >= edge) << s;
#endif
    return bits;
}

enum { MOST_BITS = 6 }; /* of bins whose masks are made from those of the bits of a draw */

/* How many bits of a draw say its bin; 0 where more than those do. */
EI_FORCE int bin_bits(const uint32_t *edges, size_t n_edges)
{
    int bits = 0;
    while (bits < MOST_BITS && ((size_t)1 << bits) <= n_edges)
        bits++;
    int even = bits > 1 && ((size_t)1 << bits) == n_edges + 1;
    for (size_t i = 0; even && i < n_edges; i++)
        even = edges[i] == (uint32_t)(i + 1) << (32 - bits);
    return even ? bits : 0;
}

#if defined(__x86_64__) && EI_VBYTES == 64

/* Masks of edges that the highest eight bits of a draw are enough for: those bits of 64 draws are packed
 * into one register. */
EI_FORCE void byte_masks(const uint32_t *draws, size_t words, const uint32_t *edges, size_t n_edges,
                         uint64_t *masks, size_t ld)
{
    /* Packing keeps to lanes of 128 bits. */
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    for (size_t w = 0; w < words; w++) {
        __m512i v[4];
        for (int s = 0; s < 4; s++)
            v[s] = _mm512_srli_epi32(_mm512_loadu_si512(draws + w * 64 + 16 * s), 24);
        const __m512i bytes = _mm512_permutexvar_epi32(
            order, _mm512_packus_epi16(_mm512_packus_epi32(v[0], v[1]), _mm512_packus_epi32(v[2], v[3])));
        for (size_t i = 0; i < n_edges; i++)
            masks[i * ld + w] =
                _mm512_cmpge_epu8_mask(bytes, _mm512_set1_epi8((char)(edges[i] >> 24)));
    }
}

#endif

EI_FN void draw_masks(const uint32_t *draws, size_t words, const uint32_t *edges, size_t n_edges,
                      uint64_t *masks, size_t ld)
{
    const int n_bits = bin_bits(edges, n_edges);
#if defined(__x86_64__) && EI_VBYTES == 64
    if (n_bits) {
        byte_masks(draws, words, edges, n_edges, masks, ld);
        return;
    }
#endif
    for (size_t w = 0; w < words; w++) {
        const uint32_t *r = draws + w * 64;
        if (!n_bits) {
            for (size_t i = 0; i < n_edges; i++)
                masks[i * ld + w] = mask_from(r, edges[i], 0);
            continue;
        }
        /* With one more bit above, a draw is past an edge of the lower half if that bit is set or the
         * others are past it, and of the upper half if both. */
        uint64_t past[1 << MOST_BITS];
        size_t known = 0;
        for (int bit = n_bits - 1; bit >= 0; bit--) {
            const uint64_t set = mask_from(r, (uint32_t)1 << 31, bit);
            past[known] = set;
            for (size_t i = 0; i < known; i++) {
                past[known + 1 + i] = past[i] & set;
                past[i] |= set;
            }
            known = 2 * known + 1;
        }
        for (size_t i = 0; i < known; i++)
            masks[i * ld + w] = past[i];
    }
}

EI_FN void value_masks(const double *z, size_t stride, size_t words, const double *thresholds,
                       size_t m, uint64_t *masks, size_t ld)
{
    for (size_t w = 0; w < words; w++) {
        const double *v = z + 4 * w * stride;
        for (size_t j = 0; j < m; j++) {
            uint64_t bits = 0;
#if defined(EI_NEON)
            const float64x2_t t = vdupq_n_f64(thresholds[j]);
            uint8x16_t bytes[4];
            for (int p = 0; p < 4; p++) {
                const double *vp = v + (size_t)p * stride;
                bytes[p] = neon_bytes(neon_halves(neon_not_below(vp, t), neon_not_below(vp + 4, t)),
                                      neon_halves(neon_not_below(vp + 8, t),
                                                  neon_not_below(vp + 12, t)));
            }
            bits = neon_bits(bytes);
#else
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
#endif
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
                    sum += V_MASK(value >= thresholds[j]) & step[j];
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
