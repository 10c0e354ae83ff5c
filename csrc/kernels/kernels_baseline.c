#include "kernels/ei_kernels.h"

#ifdef EI_WITH_BASELINE
#define EI_NAME baseline
#define EI_TARGET
#define EI_VBYTES 16
#define EI_MASK_LIMIT 20
#include "kernels/ei_kernels_impl.h"
#endif
