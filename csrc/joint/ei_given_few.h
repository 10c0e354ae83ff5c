/* The distribution function of a sum of few uniforms in closed form, for ei_given.c. */
#ifndef EI_GIVEN_FEW_H
#define EI_GIVEN_FEW_H

#include "joint/ei_given.h"
#include "kernels/ei_exact_kernels.h"

/* As many uniforms are few. */
enum { EI_GIVEN_FEW = 12 };

typedef struct {
    int n;
    double unit;  /* lengths below are in this one, a power of two */
    double reach; /* half the support */
    double error; /* of the distribution function */
    double width[EI_GIVEN_FEW + 1], far[EI_GIVEN_FEW + 1];
    double right[EI_GIVEN_FEW + 1][EI_EXACT_DOMINANT / 2 + 1], base[EI_GIVEN_FEW + 1];
} ei_given_few;

/* At most EI_GIVEN_FEW parts. */
void ei_given_few_open(ei_given_few *few, const ei_given_sums *sums);

/* out[i] = P(u < points[i]), i < n, both with room for n to the next multiple of 8; changes points. */
void ei_given_few_below(const ei_given_few *few, double *points, size_t n, double *out);

#endif
