/* What this processor can do at most, measured: loops that do one thing, as fast as it goes.
 *
 *     ceilings
 *
 * prints, line by line, a name, and the least and the median nanoseconds of one operation. Compiled
 * once for every instruction set (bench/roofline.py). An operation is one on a whole vector.
 */
#define _POSIX_C_SOURCE 200112L
#include <immintrin.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#if defined(__AVX512F__)
enum { BYTES = 64 };
#define IN_REGISTER "+v"
#elif defined(__AVX2__)
enum { BYTES = 32 };
#define IN_REGISTER "+x"
#else
enum { BYTES = 16 };
#define IN_REGISTER "+x"
#endif

typedef double vd __attribute__((vector_size(BYTES)));
typedef uint64_t vu __attribute__((vector_size(BYTES)));

/* Independent chains: enough to hide latency, few enough for sixteen registers. */
enum { CHAINS = 12, TURNS = 20000, BATCHES = 41, FAR = 1 << 26 };

/* The compiler must keep x here, and knows nothing of it. */
#define KEEP(x) __asm__ volatile("" : IN_REGISTER(x))

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

#define MEASURE(name, operations, ...)                                                             \
    do {                                                                                           \
        double times[BATCHES];                                                                     \
        for (int batch = 0; batch < BATCHES; batch++) {                                            \
            double start = now();                                                                  \
            __VA_ARGS__                                                                            \
            times[batch] = (now() - start) / (double)(operations);                                 \
        }                                                                                          \
        qsort(times, BATCHES, sizeof *times, compare);                                             \
        printf("%s %g %g\n", name, times[0], times[BATCHES / 2]);                                   \
    } while (0)

/* Twelve variables, not an array: an array would live in memory. */
#define EACH(step)                                                                                 \
    step(x0) step(x1) step(x2) step(x3) step(x4) step(x5) step(x6) step(x7) step(x8) step(x9)      \
        step(x10) step(x11)

#define CHAINED(name, type, first, step)                                                           \
    do {                                                                                           \
        type x0 = first, x1 = first, x2 = first, x3 = first, x4 = first, x5 = first, x6 = first,   \
             x7 = first, x8 = first, x9 = first, x10 = first, x11 = first;                         \
        EACH(KEEP_STEP)                                                                            \
        MEASURE(name, (double)TURNS *CHAINS, for (int t = 0; t < TURNS; t++) { EACH(step) });      \
    } while (0)

#define KEEP_STEP(x) KEEP(x);

static void arithmetic(void)
{
    vd y = (vd){0} + 0.999999, z = (vd){0} + 1e-9, one = (vd){0} + 1.0;
    KEEP(y);
    KEEP(z);
#define MULTIPLY_ADD(x) x += y * z; KEEP(x); KEEP(y);
    CHAINED("multiply-add", vd, one, MULTIPLY_ADD);
#if defined(__AVX512F__)
#define FUSED(x) x = _mm512_fmadd_pd(x, y, z); KEEP(x);
    CHAINED("fused", vd, one, FUSED);
#elif defined(__AVX2__)
#define FUSED(x) x = _mm256_fmadd_pd(x, y, z); KEEP(x);
    CHAINED("fused", vd, one, FUSED);
#endif
}

static void integers(void)
{
    vu y = (vu){0} + 0x123456789abcdefull, one = (vu){0} + 1;
    KEEP(y);
#define BIT(x) x ^= y; KEEP(x);
    CHAINED("bit operation", vu, one, BIT);
#if defined(__AVX512F__)
#define PRODUCT(x) x = (vu)_mm512_mul_epu32((__m512i)x, (__m512i)y); KEEP(x);
#define POPCOUNT(x) x += (vu)_mm512_popcnt_epi64((__m512i)(y & one)); KEEP(x); KEEP(y);
    CHAINED("and-popcount-add", vu, one, POPCOUNT);
#elif defined(__AVX2__)
#define PRODUCT(x) x = (vu)_mm256_mul_epu32((__m256i)x, (__m256i)y); KEEP(x);
#else
#define PRODUCT(x) x = (vu)_mm_mul_epu32((__m128i)x, (__m128i)y); KEEP(x);
#endif
    CHAINED("product", vu, one, PRODUCT);
}

/* Comparisons of vectors of doubles, the bits put into a general register. */
static void comparisons(void)
{
    vd y = (vd){0} + 0.5, one = (vd){0} + 1.0;
    uint64_t bits = 0;
    KEEP(y);
#if defined(__AVX512F__)
#define MASK(v) _mm512_cmp_pd_mask((v), y, _CMP_GE_OQ)
#elif defined(__AVX2__)
#define MASK(v) _mm256_movemask_pd(_mm256_cmp_pd((v), y, _CMP_GE_OQ))
#else
#define MASK(v) _mm_movemask_pd(_mm_cmpge_pd((v), y))
#endif
#define COMPARE(x) bits += (uint64_t)MASK(x); KEEP(x);
    CHAINED("comparison", vd, one, COMPARE);
    __asm__ volatile("" : "+r"(bits));
}

static void memory(void)
{
    static uint16_t counters[4][2048] __attribute__((aligned(64)));
    static uint64_t near[2048] __attribute__((aligned(64)));
    uint64_t *far = aligned_alloc(64, FAR);
    /* Increments, each of another counter than those shortly before: what is in L1 at best. */
    MEASURE("increment", 4.0 * 2048 * 20, for (int t = 0; t < 20; t++) {
        for (int i = 0; i < 2048; i++) {
            __asm__ volatile("incw (%0)" : : "r"(&counters[0][i ^ 5]) : "memory");
            __asm__ volatile("incw (%0)" : : "r"(&counters[1][i ^ 9]) : "memory");
            __asm__ volatile("incw (%0)" : : "r"(&counters[2][i ^ 3]) : "memory");
            __asm__ volatile("incw (%0)" : : "r"(&counters[3][i ^ 6]) : "memory");
        }
    });
    vu x0 = {0}, x1 = {0}, x2 = {0}, x3 = {0};
#define LOAD(x, from) x ^= from; KEEP(x);
#define LOADS(p, i) LOAD(x0, p[i]) LOAD(x1, p[i + 1]) LOAD(x2, p[i + 2]) LOAD(x3, p[i + 3])
    const size_t lines = sizeof near / BYTES;
    MEASURE("near load", 200.0 * lines, for (int t = 0; t < 200; t++) {
        const vu *p = (const vu *)near;
        for (size_t i = 0; i < lines; i += 4) {
            LOADS(p, i)
        }
    });
    if (far == NULL)
        exit(1);
    for (size_t i = 0; i < FAR / 8; i++)
        far[i] = i;
    MEASURE("far byte", (double)FAR, {
        const vu *p = (const vu *)far;
        for (size_t i = 0; i < FAR / BYTES; i += 4) {
            LOADS(p, i)
        }
    });
    free(far);
}

int main(void)
{
    arithmetic();
    integers();
    comparisons();
    memory();
    return 0;
}
