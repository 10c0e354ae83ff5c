/* What a Gaussian misses of two sites that are strongly correlated. */
#ifndef EI_WIDE_PAIR_H
#define EI_WIDE_PAIR_H

/* A site: the density exp(h s - l s^2 / 2) on an interval, of which log_mass is the logarithm of the
 * integral, stands for a normal one of this mean and variance. */
typedef struct {
    double h, l, log_mass, mean, variance, lo, hi;
} ei_wide_site;

/* Logarithm of the expectation, under the joint normal with this correlation, of the product of both
 * sites' densities over their normal ones. |correlation| < 1. */
double ei_wide_pair(const ei_wide_site *one, const ei_wide_site *two, double correlation);

#endif
