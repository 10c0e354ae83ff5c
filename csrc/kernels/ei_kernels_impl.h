/* The hot loops, written once. Included by kernels_*.c, which define
 *   EI_NAME    suffix and name of the table,
 *   EI_TARGET  function attribute that allows the instruction set,
 *   EI_VBYTES  width of its vectors in bytes: 16, 32 or 64; or 8 (see ei_vector_impl.h),
 *   EI_MASK_LIMIT  see mask_limit in ei_kernels.h,
 *   EI_NEON    if NEON's intrinsics are to be used.
 * The loops themselves are in the files included here, which use this one's types and macros; a new
 * one is a function in one of them, a member of ei_kernels and a line in the table.
 */
#include "common/ei_math.h"
#include "kernels/ei_exact_kernels.h"
#include "kernels/ei_kernels.h"

#include <math.h>
#include <string.h>

#if EI_VBYTES == 8
#elif defined(__x86_64__)
#include <immintrin.h>
#elif defined(EI_NEON)
#include <arm_neon.h>
#endif

#define EI_CAT_(a, b) a##_##b
#define EI_CAT(a, b) EI_CAT_(a, b)
#define EI_STR_(a) #a
#define EI_STR(a) EI_STR_(a)
#define EI_FN static EI_TARGET
#define EI_FORCE static EI_TARGET EI_ALWAYS_INLINE

#include "kernels/ei_vector_impl.h"
#include "kernels/ei_binning_impl.h"
#include "kernels/ei_counting_impl.h"
#include "kernels/ei_exact_impl.h"
#include "kernels/ei_given_impl.h"
#include "kernels/ei_info_impl.h"
#include "kernels/ei_layers_impl.h"
#include "kernels/ei_quick_impl.h"
#include "kernels/ei_wide_impl.h"

const ei_kernels EI_CAT(ei_kernels, EI_NAME) = {
    .name = EI_STR(EI_NAME),
    .mask_limit = EI_MASK_LIMIT,
    .exact = &EI_CAT(ei_exact_kernels, EI_NAME),
    .given = &EI_CAT(ei_given_kernels, EI_NAME),
    .wide = &EI_CAT(ei_wide_kernels, EI_NAME),
    .draw = draw,
    .lattice = lattice,
    .inputs = inputs,
    .affine = affine,
    .activate = activate,
    .pool = pool,
    .quick_inputs = quick_inputs,
    .quick_affine = quick_affine,
    .quick_activate = quick_activate,
    .quick_near = quick_near,
    .quick_masks = quick_masks,
    .draw_masks = draw_masks,
    .value_masks = value_masks,
    .count_masks = count_masks,
    .label = label,
    .offsets = offsets,
    .convert = convert,
    .pointwise = pointwise,
    .log2 = log2_of,
};
