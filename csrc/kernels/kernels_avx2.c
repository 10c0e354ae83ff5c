#include "kernels/ei_kernels.h"

#ifdef EI_WITH_AVX2
#define EI_NAME avx2
#define EI_TARGET __attribute__((target("avx2,bmi,bmi2,lzcnt,popcnt")))
#define EI_VBYTES 32
#define EI_MASK_LIMIT 100
#include "kernels/ei_kernels_impl.h"
#endif
