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

static int available(const ei_kernels *tables[8])
{
    int n = 0;
#ifdef EI_WITH_BASELINE
    tables[n++] = &ei_kernels_baseline;
#endif
#if defined(EI_WITH_AVX2) || defined(EI_WITH_AVX512)
    __builtin_cpu_init();
    const int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2") &&
                     __builtin_cpu_supports("popcnt");
#endif
#ifdef EI_WITH_AVX2
    if (avx2)
        tables[n++] = &ei_kernels_avx2;
#endif
#ifdef EI_WITH_AVX512
    if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512vpopcntdq"))
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
