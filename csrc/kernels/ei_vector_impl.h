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

/* exp(x) for -700 <= x <= 0, as ei_exp. */
EI_FORCE vd v_exp(vd x)
{
    vd k = x * 1.4426950408889634074 + 6755399441055744.0;
    vu n = V_BITS(k);
    k -= 6755399441055744.0;
    vd r = (x - k * 0.69314718036912381649) - k * 1.90821492927058770002e-10;
    vd p = (vd){0} + 1.0 / 479001600.0;
    p = p * r + 1.0 / 39916800.0;
    p = p * r + 1.0 / 3628800.0;
    p = p * r + 1.0 / 362880.0;
    p = p * r + 1.0 / 40320.0;
    p = p * r + 1.0 / 5040.0;
    p = p * r + 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    p = p * r + 0.5;
    p = p * (r * r) + r;
    return (1.0 + p) * V_REAL((n + 1023) << 52);
}
