/* What the files of the wide engine share. */
#ifndef EI_WIDE_INTERNAL_H
#define EI_WIDE_INTERNAL_H

#include "joint/ei_wide.h"
#include "kernels/ei_wide_kernels.h"

enum { EI_WIDE_STRONG_EACH = 16 }; /* pairs of sites that are integrated, at most, a site */

/* What one sample works on. Sites: the inputs, from 0, then the active outputs, from `n`; both padded
 * with inputs and outputs that change nothing. */
typedef struct {
    const ei_wide_job *job;
    const ei_wide_kernels *kernels;
    size_t n, m;      /* inputs, active outputs, padded */
    size_t active;    /* outputs with a limit */
    size_t dim;       /* of the linear algebra: n, or m where it is less and not n is asked for */
    size_t *rows;     /* the active outputs */
    ei_wide_strong *strong;
    double *by_output; /* W in panels of inputs, m rows */
    double *by_input;  /* W^T in panels of outputs, n rows */
    double *scaled;    /* either, scaled */
    double *gram;      /* m < n: W D^-1 W^T, full */
    double *square;    /* what is factorized, dim x dim */
    double *inverse;   /* dim */
    double *q;         /* panels of all sites, dim rows */
    double *target, *zero; /* a panel; zeros */
    double *tau, *nu;  /* sites */
    double *variance, *mean; /* of the sites' variables */
    double *lo, *hi, *h, *l; /* cavities, pieces of the outputs one after the other */
    double *log_mass, *tilted, *spread, *third, *fourth;
    double *root;      /* scratch */
    double log_det, fit;
    size_t first;      /* site whose moments are the first to be found: 0, or n, where the inputs' factors
                          stay as they began; the Gram matrix of one sample then serves all */
    int gram_known;
    void *memory;
} ei_wide;

/* Memory for a job, released with ei_wide_close. */
int ei_wide_open(ei_wide *w, const ei_wide_job *job);
void ei_wide_close(ei_wide *w);

/* Pack the weights of the active outputs, w->rows. */
void ei_wide_pack(ei_wide *w);

/* All sites, a union's intervals one by one. */
static inline size_t ei_wide_sites_of(const ei_wide *w) { return w->n + w->job->pieces * w->m; }

/* The inputs' own intervals make the prior; from it follow the first moments of the outputs. */
void ei_wide_begin(ei_wide *w);

/* Cavities, their tilted moments (with the cumulants, if asked for: of one piece an output), and the
 * evidence. */
double ei_wide_evidence(ei_wide *w, int cumulants);

/* Adjust the factors by a step, at most 1, towards what the tilted moments ask for. */
void ei_wide_update(ei_wide *w, double step);

/* Means and variances of all sites' variables under the present factors. -1 where the precision is not
 * positive definite. */
int ei_wide_moments(ei_wide *w);

/* What to add to the evidence, after ei_wide_evidence with cumulants: what the sites' Gaussians miss.
 * The factors are lost. */
double ei_wide_correction(ei_wide *w);

/* The logarithm of the volume, after ei_wide_moments; by cooling. NaN where the approximation's mean is
 * not well inside. */
int ei_wide_cool(ei_wide *w, uint32_t stream, double *log_volume);

#endif
