/* The sampled pairwise engine: joint histograms of every (input, output) pair.
 *
 * Two ways to count, giving the same integers. Bit-sliced: a chunk of samples is kept as
 * thermometer masks of both sides, and a cumulative joint count is the population count of two
 * masks ANDed. Scattered: output bins of all samples are kept, and each pair increments a table.
 */
#ifndef EI_PAIRS_H
#define EI_PAIRS_H

#include "kernels/ei_eval.h"
#include "kernels/ei_points.h"

/* Which part of the work: outputs and inputs (half-open), and samples (first a multiple of 64). */
typedef struct {
    uint64_t key;
    size_t out_start, out_stop, in_start, in_stop;
    uint64_t first, count;
    size_t stream; /* ei_single_run: random numbers of the channel's first input, where the channel
                      has only some of the layer's columns */
    int masks;     /* count with bit masks (1) or not (0): the layout of the counts depends on it, and
                      the machines of a cluster might choose differently. -1: what suits this CPU */
    const ei_points *points; /* of ei_pairs_count: where samples are; NULL: at random, by the key */
} ei_job;

/* Where results go; arrays of (out_stop - out_start) x (in_stop - in_start), row by row. */
typedef struct {
    double *information;                                /* the plug-in one */
    double *excess, *variance, *second, *noise, *doubt; /* as in ep_corrected */
    /* EI_FOLLOWED: influence of single samples on the sum of all edges, in units of EI_UNIT bits:
     * integers, so that the sum over blocks does not depend on how the work was cut. */
    int64_t *spread;
    uint64_t *dropped; /* one an output: values outside its range */
} ei_pairs_out;

/* Samples whose influence is followed, for the standard error of a sum of edges. */
enum { EI_FOLLOWED = 512 };
#define EI_UNIT (1.0 / 1048576.0)

/* Tables up to this size are counted with 16-bit counters in L1. */
enum { EI_SMALL_CELLS = 8192 };

/* The scattered way's hot loop: add n samples (below 2^16) of one input and n_out outputs to tables
 * of 64-bit counters, table_step apart. offset: place of the input bin's row in a table; y: labels
 * of output b at y + b * ld; small: 4 x EI_SMALL_CELLS counters of scratch. */
void ei_scatter(const uint32_t *offset, const uint16_t *y, size_t ld, size_t n, size_t n_out,
                size_t cells, uint16_t *small, uint64_t *tables, size_t table_step);

/* Non-zero if it suits this CPU to count the channel with bit masks. */
int ei_pairs_masked(const ei_channel *channel);

/* 64-bit words of the counts of a job: additive over samples. 0 if it would overflow. */
size_t ei_pairs_size(const ei_channel *channel, const ei_job *job);

/* Add the job's counts to `tables` (ei_pairs_size words, initialised by the caller). */
int ei_pairs_count(const ei_channel *channel, const ei_job *job, ei_cancel cancel, uint64_t *tables);

/* The same of jobs that differ in points and numbers of samples alone, at least one: the counts of job r to
 * tables + r ei_pairs_size. */
int ei_pairs_count_each(const ei_channel *channel, const ei_job *jobs, size_t n_jobs, ei_cancel cancel,
                        uint64_t *tables);

/* Reduce complete counts of `job` to information, for the outputs and inputs of `part`, which lie
 * within the job's; out is shaped for the part. The job's samples are those counted in all. */
int ei_pairs_reduce(const ei_channel *channel, const ei_job *job, const ei_job *part,
                    ei_cancel cancel, const uint64_t *tables, const ei_pairs_out *out);

/* Where results of replicates go; shaped like those of ei_pairs_out. */
typedef struct {
    double *information; /* plug-in, of all counts together */
    double *corrected;   /* less its bias */
    double *variance;    /* of that, up to Student's widening */
    double *doubt;       /* as in ep_corrected */
    int64_t *first;      /* replicates: what each moves the sum of all edges by, to the first order; all in */
    int64_t *second;     /* replicates x replicates: and two together; units of EI_FINE bits */
    uint64_t *dropped;   /* one an output: values outside its range */
} ei_replicates_out;

#define EI_FINE (1.0 / 4294967296.0)

/* Reduce the complete counts of replicates of `job`, independent of each other, for the outputs and
 * inputs of `part`. At least four replicates; tables: their counts, ei_pairs_size words each.
 *
 * The information of the mean of all tables, d_r being how that of replicate r differs from it, has to
 * the second order the bias sum_r d_r H d_r / 2 n (n - 1), H the second derivative; what cells that hardly
 * occur add beyond that is as of independent samples (ei_occupancy.h). The variance is that of the first
 * order, L without what r itself did to it, and that of the second order. */
int ei_replicates_reduce(const ei_channel *channel, const ei_job *job, const ei_job *part,
                         size_t replicates, ei_cancel cancel, const uint64_t *tables,
                         const ei_replicates_out *out);

/* The variance from the first order of n replicates and the second of each two, n x n; n at least 4.
 *
 * Less its bias the information is, to the second order, a U statistic: without replicate r it moves by
 * (L d_r - (d_r H d_r - mean) / (n - 2)) / (n - 1), since L, of all counts, knows r's own too. The mean
 * square of d_r H d_s is in the squares of that with 1 / n (n - 2), and in the variance with half. */
double ei_replicates_variance(const double *first, const double *second, size_t n);

/* The table of one pair (counted from out_start, in_start), in_bins x (out_bins + 1), the last column
 * for dropped samples; for the tests. */
int ei_pairs_table(const ei_channel *channel, const ei_job *job, const uint64_t *tables,
                   size_t output, size_t input, uint64_t *table);

/* Bytes that ei_pairs_run holds for one output of the job, roughly. */
size_t ei_pairs_held(const ei_channel *channel, const ei_job *job);

/* Count and reduce, holding the tables of few inputs at a time where it can. */
int ei_pairs_run(const ei_channel *channel, const ei_job *job, ei_cancel cancel,
                 const ei_pairs_out *out);

/* The sensitivity: each input perturbed alone, all others at the baseline.
 *
 * Without stages z is monotone in the draw, rounding included, so a threshold is crossed at one
 * integer, and the whole table follows from the numbers of draws below the crossings and the bin edges:
 * nothing is evaluated sample by sample. Inputs in_start .. in_stop and outputs out_start ..
 * out_stop of the job. The inputs' streams are independent, so the variance of the sum of all edges is
 * a sum over the inputs: one number each in `variances`; out->spread is not used. */
int ei_single_run(const ei_channel *channel, const ei_job *job, ei_cancel cancel,
                  const ei_pairs_out *out, double *variances);

/* Counts of one pair of ei_single_run, in_bins x (n_thresholds + 1) intervals, for the tests.
 * A channel without stages; input in_start and output out_start of the job. */
int ei_single_table(const ei_channel *channel, const ei_job *job, uint64_t *table);

#endif
