#if defined(__x86_64__)
#define EI_NAME avx512
#if defined(__clang__) /* knows no width here, and would drop the whole attribute */
#define EI_WIDE ""
#else
#define EI_WIDE ",prefer-vector-width=512"
#endif
#define EI_TARGET \
    __attribute__((target("avx2,bmi,bmi2,lzcnt,popcnt,avx512f,avx512bw,avx512dq,avx512vl,avx512vpopcntdq" EI_WIDE)))
#define EI_VBYTES 64
#define EI_MASK_LIMIT 240
#include "kernels/ei_kernels_impl.h"
#include "kernels/ei_exact_impl.h"
#endif
