/* Distribution function of a sum of a few independent uniforms, to about thirty digits. Slow: for the
 * differences of the distribution function between points so close that double precision leaves
 * nothing of them. */
#ifndef EI_FEW_H
#define EI_FEW_H

#include "common/ei_dd.h"

enum { EI_FEW = 16 };

typedef struct {
    int n;
    dd width[EI_FEW + 1];   /* width[d], d = 1 .. n, upwards */
    dd inverse[EI_FEW + 1]; /* 1 / width[d] */
    dd reach[EI_FEW + 1];   /* half the support of the first d */
    dd right[EI_FEW + 1][EI_FEW / 2 + 1];
    double error; /* greatest, of the distribution function */
    double nodes; /* rough work at one point */
} ei_few_sum;

/* width[0 .. n - 1] upwards and positive, the last about 1; 1 <= n <= EI_FEW. The uniforms are centred
 * at zero. An error `place` of the points is counted in. */
void ei_few_prepare(ei_few_sum *sum, const dd *width, int n, double place);

dd ei_few_distribution(const ei_few_sum *sum, dd s);

#endif
