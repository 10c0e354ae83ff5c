#include "kernels/ei_kernels.h"

#ifdef EI_WITH_NEON
#define EI_NAME neon
#define EI_TARGET /* every 64-bit Arm has it */
#define EI_VBYTES 16
#define EI_NEON
/* Not measured on such a CPU: the baseline's limit, times how many fewer instructions count a bit. */
#define EI_MASK_LIMIT 60
#include "kernels/ei_kernels_impl.h"
#endif
