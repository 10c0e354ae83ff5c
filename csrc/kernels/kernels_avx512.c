#include "kernels/ei_kernels.h"

#ifdef EI_WITH_AVX512
#define EI_NAME avx512
#define EI_TARGET __attribute__((target("avx2,bmi,bmi2,lzcnt,popcnt,avx512f,avx512bw,avx512dq,avx512vl,avx512vpopcntdq,prefer-vector-width=512")))
#define EI_VBYTES 64
#define EI_MASK_LIMIT 240
#include "kernels/ei_kernels_impl.h"
#endif
