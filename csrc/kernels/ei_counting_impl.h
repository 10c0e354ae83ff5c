/* Numbers of common bits of masks, one way for every width of a vector; included by
 * ei_kernels_impl.h. */

#if defined(__x86_64__) && EI_VBYTES == 64

/* Sums of the lanes of eight vectors. */
EI_FORCE __m512i sums_of(const __m512i v[8])
{
    __m512i two[4], four[2];
    for (int i = 0; i < 4; i++) /* pairs of lanes: of vector 2 i in the even, of 2 i + 1 in the odd */
        two[i] = _mm512_add_epi64(_mm512_unpacklo_epi64(v[2 * i], v[2 * i + 1]),
                                  _mm512_unpackhi_epi64(v[2 * i], v[2 * i + 1]));
    for (int i = 0; i < 2; i++) /* halves of both, those of the first in the lower one */
        four[i] = _mm512_add_epi64(_mm512_shuffle_i64x2(two[2 * i], two[2 * i + 1], 0x44),
                                   _mm512_shuffle_i64x2(two[2 * i], two[2 * i + 1], 0xee));
    return _mm512_add_epi64(_mm512_shuffle_i64x2(four[0], four[1], 0x88),
                            _mm512_shuffle_i64x2(four[0], four[1], 0xdd));
}

/* One mask against n others, n at most 8 and known when this is inlined. */
EI_FORCE void count_some(const uint64_t *x, const uint64_t *y, size_t ldy, size_t words,
                         uint64_t *counts, const size_t n)
{
    __m512i sum[8];
    for (size_t a = 0; a < 8; a++)
        sum[a] = _mm512_setzero_si512();
    for (size_t w = 0; w < words; w += 8) {
        const __m512i v = _mm512_loadu_si512(x + w);
        EI_UNROLL(8)
        for (size_t a = 0; a < n; a++)
            sum[a] = _mm512_add_epi64(
                sum[a],
                _mm512_popcnt_epi64(_mm512_and_si512(v, _mm512_loadu_si512(y + a * ldy + w))));
    }
    const __mmask8 some = (__mmask8)((1u << n) - 1);
    _mm512_mask_storeu_epi64(
        counts, some, _mm512_add_epi64(sums_of(sum), _mm512_maskz_loadu_epi64(some, counts)));
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

#elif defined(EI_NEON)

/* One mask against n others, n at most 4 and known when this is inlined. A 16-bit lane is given at
 * most 64 by every eight words, of which there are 512. */
EI_FORCE void count_some(const uint64_t *x, const uint64_t *y, size_t ldy, size_t words,
                         uint64_t *counts, const size_t n)
{
    uint16x8_t sum[4];
    for (size_t a = 0; a < n; a++)
        sum[a] = vdupq_n_u16(0);
    for (size_t w = 0; w < words; w += 8) {
        uint8x16_t v[4];
        for (size_t q = 0; q < 4; q++)
            v[q] = vreinterpretq_u8_u64(vld1q_u64(x + w + 2 * q));
        EI_UNROLL(4)
        for (size_t a = 0; a < n; a++) {
            const uint64_t *at = y + a * ldy + w;
            uint8x16_t c[4];
            for (size_t q = 0; q < 4; q++)
                c[q] = vcntq_u8(vandq_u8(v[q], vreinterpretq_u8_u64(vld1q_u64(at + 2 * q))));
            sum[a] = vpadalq_u8(sum[a], vaddq_u8(vaddq_u8(c[0], c[1]), vaddq_u8(c[2], c[3])));
        }
    }
    for (size_t a = 0; a < n; a++)
        counts[a] += vaddlvq_u16(sum[a]);
}

EI_FN void count_masks(const uint64_t *x, size_t ldx, size_t k, const uint64_t *y, size_t ldy,
                       size_t m, size_t words, uint64_t *counts)
{
    for (size_t i = 0; i < k; i++) {
        size_t j = 0;
        for (; j + 4 <= m; j += 4)
            count_some(x + i * ldx, y + j * ldy, ldy, words, counts + i * m + j, 4);
        for (; j < m; j++)
            count_some(x + i * ldx, y + j * ldy, ldy, words, counts + i * m + j, 1);
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
                sum += V_LANE(total, q);
            counts[i * m + j] += sum;
        }
}

#endif
