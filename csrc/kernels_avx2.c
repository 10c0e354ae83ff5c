#if defined(__x86_64__)
#define EI_NAME avx2
#define EI_TARGET __attribute__((target("avx2,bmi,bmi2,lzcnt,popcnt")))
#define EI_VBYTES 32
#define EI_MASK_LIMIT 100
#include "ei_kernels_impl.h"
#include "ei_exact_impl.h"
#include "ei_wide_impl.h"
#endif
