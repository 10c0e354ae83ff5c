#define EI_NAME baseline
#define EI_TARGET 
#define EI_VBYTES 16
#define EI_MASK_LIMIT 20
#include "ei_kernels_impl.h"
#include "ei_exact_impl.h"
#include "ei_wide_impl.h"
