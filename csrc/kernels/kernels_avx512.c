#include "kernels/ei_kernels.h"

#ifdef EI_WITH_AVX512
#define EI_NAME avx512
#define EI_FEATURES "avx2,bmi,bmi2,lzcnt,popcnt,avx512f,avx512bw,avx512dq,avx512vl,avx512vpopcntdq"
#ifdef __clang__ /* which ignores the whole attribute for a word that it does not know */
#define EI_TARGET __attribute__((target(EI_FEATURES)))
#else
#define EI_TARGET __attribute__((target(EI_FEATURES ",prefer-vector-width=512")))
#endif
#define EI_VBYTES 64
#define EI_MASK_LIMIT 240
#include "kernels/ei_kernels_impl.h"
#endif
