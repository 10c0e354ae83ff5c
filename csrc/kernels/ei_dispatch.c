/* Which table of kernels runs: the best that the CPU has, or the one that was named. */
#include "kernels/ei_kernels.h"

#include <stdlib.h>
#include <string.h>

#ifdef __STDC_NO_ATOMICS__ /* a pointer is then read and written whole, as on every CPU we know */
typedef const ei_kernels *volatile ei_shared_table;
#define atomic_load(at) (*(at))
#define atomic_store(at, value) (*(at) = (value))
#else
#include <stdatomic.h>
typedef _Atomic(const ei_kernels *) ei_shared_table;
#endif

#if defined(EI_WITH_AVX2) || defined(EI_WITH_AVX512)
#include <cpuid.h>

/* Whether the CPU has what the AVX2 (0) or AVX-512 (1) kernels use, and the system keeps its
 * registers. Asked of the CPU itself: __builtin_cpu_supports is always false where the compiler's
 * runtime library does not fill its table, as with zig. */
static int cpu_has(int wide)
{
    unsigned a, b, c, d, low, high;
    if (!__get_cpuid(1, &a, &b, &c, &d))
        return 0;
    const unsigned first = 1u << 23 | 1u << 27 | 1u << 28; /* popcnt, osxsave, avx */
    if ((c & first) != first)
        return 0;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    const unsigned kept = wide ? 0xe6u : 0x6u; /* xmm, ymm; masks and zmm */
    if ((low & kept) != kept)
        return 0;
    if (!__get_cpuid(0x80000001u, &a, &b, &c, &d) || !(c & 1u << 5)) /* lzcnt */
        return 0;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d))
        return 0;
    const unsigned narrow = 1u << 3 | 1u << 5 | 1u << 8; /* bmi, avx2, bmi2 */
    const unsigned more = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31; /* avx512f, dq, bw, vl */
    if ((b & narrow) != narrow)
        return 0;
    return !wide || ((b & more) == more && (c & 1u << 14)); /* vpopcntdq */
}
#endif

static int available(const ei_kernels *tables[8])
{
    int n = 0;
#ifdef EI_WITH_BASELINE
    tables[n++] = &ei_kernels_baseline;
#endif
#ifdef EI_WITH_AVX2
    if (cpu_has(0))
        tables[n++] = &ei_kernels_avx2;
#endif
#ifdef EI_WITH_AVX512
    if (cpu_has(0) && cpu_has(1))
        tables[n++] = &ei_kernels_avx512;
#endif
#ifdef EI_WITH_NEON
    tables[n++] = &ei_kernels_neon;
#endif
    return n;
}

static ei_shared_table active;

int ei_supported(const char *names[8])
{
    const ei_kernels *tables[8];
    int n = available(tables);
    for (int i = 0; i < n; i++)
        names[i] = tables[i]->name;
    return n;
}

int ei_select(const char *name)
{
    const ei_kernels *tables[8];
    int n = available(tables);
    if (n > 0 && (name == NULL || *name == '\0')) {
        atomic_store(&active, tables[n - 1]);
        return 0;
    }
    for (int i = 0; i < n; i++) {
        if (strcmp(name, tables[i]->name) == 0) {
            atomic_store(&active, tables[i]);
            return 0;
        }
    }
    return -1;
}

const ei_kernels *ei_active(void)
{
    const ei_kernels *table = atomic_load(&active);
    if (table == NULL) {
        /* An unknown name falls back here; Python has refused it before. */
        if (ei_select(getenv("EIPLANE_CPU")) != 0)
            ei_select(NULL);
        table = atomic_load(&active);
    }
    return table;
}
