/* Vectors of EI_VBYTES / 8 lanes; included by ei_kernels_impl.h. Their arithmetic is written with C's
 * operators. What operators cannot say the same way of a vector and of a single number has a macro:
 * with EI_VBYTES of 8, a compiler without vector extensions compiles the same loops.
 */

enum { VD = EI_VBYTES / 8 };

#if EI_VBYTES > 8
typedef double vd __attribute__((vector_size(EI_VBYTES), aligned(8), may_alias));
typedef uint64_t vu __attribute__((vector_size(EI_VBYTES), aligned(8), may_alias));
#define V_BITS(x) ((vu)(x)) /* of the doubles x */
#define V_REAL(x) ((vd)(x)) /* whose bits are x */
#define V_MASK(comparison) ((vu)(comparison)) /* all bits of a lane where it holds, else none */
#define V_LANE(x, i) ((x)[i])
#else
typedef double vd;
typedef uint64_t vu;
#define V_BITS(x) ei_to_bits(x)
#define V_REAL(x) ei_from_bits(x)
#define V_MASK(comparison) ((uint64_t)0 - (uint64_t)(comparison))
#define V_LANE(x, i) ((&(x))[i])
#endif

EI_FORCE vd v_select(vu mask, vd yes, vd no)
{
    return V_REAL((V_BITS(yes) & mask) | (V_BITS(no) & ~mask));
}
