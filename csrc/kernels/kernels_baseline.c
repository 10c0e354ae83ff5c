#include "kernels/ei_kernels.h"

#ifdef EI_WITH_BASELINE
#define EI_NAME baseline
#define EI_TARGET
#ifdef EI_GNU
#define EI_VBYTES 16
#else
#define EI_VBYTES 8
#endif
#define EI_MASK_LIMIT 20
#include "kernels/ei_kernels_impl.h"
#endif
