/* What the files of the reverse density share. */
#ifndef EI_BOUNDS_INTERNAL_H
#define EI_BOUNDS_INTERNAL_H

#include "joint/ei_bounds.h"
#include "joint/ei_wide_internal.h"

/* Samples on their way: inputs before `at` are known, and what they add is taken off the limits. */
typedef struct {
    const ei_bounds_job *job;
    double *tau, *nu; /* of each sample: sites of the inputs, then of the outputs */
    double *lo, *hi;  /* of each sample: limits of the outputs by what is left */
    double *ahead;    /* (n_in + 1) x n_out: what the inputs from k on can add to z at most */
    double *ends;     /* scratch: least and greatest limit of every output */
    ei_memory memory;

    /* The stage: the inputs that are left, the last one first. */
    size_t at, left, size; /* of which the next are filled in */
    int by_inputs;         /* inputs have sites of their own, refined too */
    size_t *rows, n_rows;  /* outputs that can still move */
    ei_wide_job stage;
    ei_wide w;

    /* The next inputs' precision: of all that are left, or of the block. */
    size_t dim, width;     /* padded; real columns */
    double *precision, *inverse, *target, *scaled, *diagonal;
    double *after, *inner, *inner_inverse, *block; /* not by_inputs */
    double *h, *l, *from, *to, *log_mass, *mean, *variance;
} ei_bounds;

/* Memory of a stage, and what its samples share. */
int ei_bounds_open_density(ei_bounds *b, ei_memory *held);

/* Logarithm of the density of the next inputs, given those before. */
double ei_bounds_density(ei_bounds *b, size_t s, const double *v);

#endif
