/* Points in the cube of inputs that are spread more evenly than random ones.
 *
 * A rank-1 lattice with a random shift (I. H. Sloan and S. Joe, Lattice Methods for Multiple Integration,
 * 1994), its points in the order of van der Corput, so that any number of them is spread out (F. J.
 * Hickernell, H. S. Hong, P. L'Ecuyer, C. Lemieux, SIAM J. Sci. Comput. 22(3), 2000), bent by the tent map
 * (F. J. Hickernell, MCQMC 2000): coordinate k of point i is tent(mirrored(i) factor_k + shift_k), modulo
 * 2^32. Inputs beyond the factors are random.
 */
#ifndef EI_POINTS_H
#define EI_POINTS_H

#include "kernels/ei_kernels.h"

typedef struct {
    uint64_t key;     /* of the random inputs, and the number of their purpose */
    uint32_t purpose;
    size_t n;         /* inputs that follow the lattice: the first */
    const uint32_t *factor, *shift; /* n */
} ei_points;

/* Draws of an input for samples first .. first + n, multiples of 64. */
static inline void ei_points_draw(const ei_kernels *kernels, const ei_points *p, size_t input,
                                  uint64_t first, size_t n, uint32_t *out)
{
    if (input < p->n)
        kernels->lattice(p->factor[input], p->shift[input], first, n, out);
    else
        kernels->draw(p->key, p->purpose, (uint32_t)input, first, n, out);
}

#endif
