/* What bounds the entropy of whole output vectors, of simulated samples. The methods are described
 * with the twins, eiplane/reference/forward.py and eiplane/reference/backward.py.
 *
 * Inputs v_k are uniform on (-1/2, 1/2), outputs z = W v.
 */
#ifndef EI_BOUNDS_H
#define EI_BOUNDS_H

#include "common/ei_common.h"

typedef struct {
    size_t n_in, n_out;   /* both at least 1 */
    const double *weight; /* n_out x n_in; no row is 0 */
    size_t pieces;        /* intervals of an output whose union counts, at least 1 */
    double uniform;       /* share of the uniform distribution that is mixed in, in (0, 1) */
    uint32_t bins;        /* forward: of an output */
    size_t block;         /* backward: inputs that are filled in at a time, at least 1 */
    uint32_t first, again; /* backward: steps of propagation in the first and in later stages */
    double damping;        /* backward: share of a step that is taken from the second one on */
} ei_bounds_job;

/* lo, hi: samples x pieces x n_out, infinite where there is no limit; an interval with lo >= hi counts
 * for nothing, at least one piece of an output is not empty. */

/* log q(y) of every sample in nats, q normalised over the bins. */
int ei_bounds_forward(const ei_bounds_job *job, size_t samples, const double *lo, const double *hi,
                      double *log_q, ei_cancel cancel);

/* log r(v | y) of every sample in nats, r a density on the cube. v: samples x n_in. */
int ei_bounds_backward(const ei_bounds_job *job, size_t samples, const double *lo, const double *hi,
                       const double *v, double *log_r, ei_cancel cancel);

#endif
