/* Points in the cube of inputs that are spread more evenly than random ones.
 *
 * A rank-1 lattice with a random shift (I. H. Sloan and S. Joe, Lattice Methods for Multiple Integration,
 * 1994), its points in the order of van der Corput, so that any number of them is spread out (F. J.
 * Hickernell, H. S. Hong, P. L'Ecuyer, C. Lemieux, SIAM J. Sci. Comput. 22(3), 2000), bent by the tent map
 * (F. J. Hickernell, MCQMC 2000): coordinate k of point i is tent(mirrored(i) factor_k + shift_k), modulo
 * 2^32. Inputs beyond the factors are random.
 *
 * Or one input is swept: a group of 64 samples is one point of the others, and that input lies once in each
 * 64th of its range, all at the same place there, which is its own coordinate of the point. */
#ifndef EI_POINTS_H
#define EI_POINTS_H

#include "kernels/ei_kernels.h"

enum { EI_NOT_SWEPT = -1 };

typedef struct {
    uint64_t key;     /* of the random inputs, and the number of their purpose */
    uint32_t purpose;
    size_t n;         /* inputs that follow the lattice: the first */
    const uint32_t *factor, *shift; /* n */
    int64_t swept;    /* an input, or EI_NOT_SWEPT; all follow the lattice then */
} ei_points;

/* Draws of an input for samples first .. first + n, multiples of 64. */
static inline void ei_points_draw(const ei_kernels *kernels, const ei_points *p, size_t input,
                                  uint64_t first, size_t n, uint32_t *out)
{
    if (input >= p->n) {
        kernels->draw(p->key, p->purpose, (uint32_t)input, first, n, out);
        return;
    }
    const int kind = p->swept == EI_NOT_SWEPT       ? EI_POINTS
                     : p->swept == (int64_t)input ? EI_SWEPT_POINT
                                                  : EI_HELD_POINT;
    kernels->lattice(p->factor[input], p->shift[input], kind, first, n, out);
}

#endif
