from libc.stddef cimport size_t
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t


cdef extern from "common/ei_common.h" nogil:
    enum: EI_OK, EI_ENOMEM, EI_ECANCELLED, EI_EOVERFLOW, EI_ELIMIT
    ctypedef const volatile int32_t *ei_cancel

    ctypedef struct ei_memory:
        int n, failed
    int ei_held(const ei_memory *, int)
    void ei_release(ei_memory *)


cdef extern from "common/ei_channel.h" nogil:
    enum: EI_TABLE, EI_POLYNOMIAL

    ctypedef struct ei_function:
        int activation
        double p0, p1
        size_t n_knots
        const double *knots
        const double *polynomials

    ctypedef struct ei_stage:
        size_t n_in, n_out, width
        const double *weight
        const double *bias
        const ei_function *functions
        const int32_t *function

    enum:
        EI_GREATEST
        EI_TOTAL
        EI_SIZES
        EI_SQUARES
        EI_SUMS

    ctypedef struct ei_channel:
        size_t n_in
        double in_lo, in_hi
        uint32_t in_bins, out_bins
        size_t n_stages
        const ei_stage *stages
        size_t n_last, n_out
        const double *weight
        const float *narrow
        const double *bias
        const double *sums
        size_t n_rules
        const int32_t *rule
        size_t n_thresholds
        const double *thresholds
        const int32_t *labels
        int drops
        size_t n_limits
        const double *limits
        const uint16_t *outside
        double baseline


cdef extern from "kernels/ei_kernels.h" nogil:
    ctypedef struct ei_kernels:
        const char *name
        size_t mask_limit
        void (*draw)(uint64_t, uint32_t, uint32_t, uint64_t, size_t, uint32_t *) noexcept nogil
        void (*affine)(const double *, size_t, const double *, size_t, size_t, const double *, double *, size_t) noexcept nogil
        void (*quick_activate)(int, float, float, float *, float *, size_t) nogil
        void (*activate)(int, double, double, double *, size_t) noexcept nogil
        void (*count_masks)(const uint64_t *, size_t, size_t, const uint64_t *, size_t, size_t, size_t, uint64_t *) noexcept nogil
        void (*label)(const double *, size_t, size_t, const double *, size_t, const uint16_t *, uint16_t *) noexcept nogil
        void (*log2)(const double *, size_t, double *) noexcept nogil

    const ei_kernels *ei_active()
    int ei_select(const char *)
    int ei_supported(const char **)


cdef extern from "kernels/ei_eval.h" nogil:
    ctypedef struct ei_eval:
        size_t n_out, block
        double *z
    int ei_eval_open(ei_eval *, const ei_channel *, size_t, size_t)
    void ei_eval_close(ei_eval *)
    void ei_eval_draw(ei_eval *, uint64_t, uint32_t, uint64_t, size_t)
    void ei_eval_forward(ei_eval *, size_t)


cdef extern from "kernels/ei_info.h" nogil:
    ctypedef struct ei_information:
        double information, excess, variance, second
        uint64_t kept
    size_t ei_measure_scratch(size_t, size_t)
    ei_information ei_measure(const ei_kernels *, const uint64_t *, size_t, size_t, size_t, double *, double *)


cdef extern from "kernels/ei_points.h" nogil:
    ctypedef struct ei_points:
        uint64_t key
        uint32_t purpose
        size_t n
        const uint32_t *factor
        const uint32_t *shift
    void ei_points_draw(const ei_kernels *, const ei_points *, size_t, uint64_t, size_t, uint32_t *)


cdef extern from "pairs/ei_pairs.h" nogil:
    ctypedef struct ei_job:
        uint64_t key
        size_t out_start, out_stop, in_start, in_stop
        uint64_t first, count
        size_t stream
        int masks
        const ei_points *points

    ctypedef struct ei_replicates_out:
        double *information
        double *corrected
        double *variance
        double *doubt
        int64_t *first
        int64_t *second
        uint64_t *dropped

    double EI_FINE
    double ei_replicates_variance(const double *, const double *, size_t)
    int ei_replicates_reduce(const ei_channel *, const ei_job *, const ei_job *, size_t, ei_cancel, const uint64_t *, const ei_replicates_out *)

    ctypedef struct ei_pairs_out:
        double *information
        double *excess
        double *variance
        double *second
        double *noise
        double *doubt
        int64_t *spread
        uint64_t *dropped

    enum: EI_FOLLOWED
    double EI_UNIT
    enum: EI_SMALL_CELLS
    void ei_scatter(const uint32_t *, const uint16_t *, size_t, size_t, size_t, size_t, uint16_t *,
                    uint64_t *, size_t)
    int ei_pairs_masked(const ei_channel *)
    size_t ei_pairs_size(const ei_channel *, const ei_job *)
    int ei_pairs_count(const ei_channel *, const ei_job *, ei_cancel, uint64_t *)
    int ei_pairs_count_each(const ei_channel *, const ei_job *, size_t, ei_cancel, uint64_t *)
    int ei_pairs_reduce(const ei_channel *, const ei_job *, const ei_job *, ei_cancel, const uint64_t *, const ei_pairs_out *)
    size_t ei_pairs_held(const ei_channel *, const ei_job *)
    int ei_pairs_run(const ei_channel *, const ei_job *, ei_cancel, const ei_pairs_out *)
    int ei_pairs_table(const ei_channel *, const ei_job *, const uint64_t *, size_t, size_t, uint64_t *)
    int ei_single_run(const ei_channel *, const ei_job *, ei_cancel, const ei_pairs_out *, double *)
    int ei_single_table(const ei_channel *, const ei_job *, uint64_t *)


cdef extern from "pairs/ei_occupancy.h" nogil:
    ctypedef struct ep_occupancy:
        size_t in_bins
    ctypedef struct ep_columns:
        int filled
    ctypedef struct ep_corrected:
        double excess, variance, second, noise, doubt, mean
    void ep_occupancy_open(ep_occupancy *, size_t, size_t, ei_memory *)
    ep_columns *ep_columns_open(size_t, size_t, ei_memory *)
    void ep_columns_fill(ep_columns *, ep_occupancy *, const uint64_t *, size_t, size_t)
    ep_corrected ep_correct(const ep_occupancy *, const ep_columns *, const ei_information *, size_t, size_t, double *, double *)


cdef extern from "kernels/ei_rows.h" nogil:
    ctypedef struct ei_matrix:
        size_t n
        const double *wide
        const float *narrow


cdef extern from "exact/ei_exact.h" nogil:
    ctypedef struct ei_exact_out:
        double *information
        double *total
        double *marginal
        double *bound
        double *outside
    int ei_exact_parts(const ei_channel *, size_t, size_t, ei_cancel, const ei_exact_out *)
    int ei_exact_sensitivity(const ei_channel *, size_t, size_t, ei_cancel, const ei_exact_out *)
    int ei_exact_both(const ei_channel *, size_t, size_t, ei_cancel, const ei_exact_out *, const ei_exact_out *)
    void ei_exact_sums(const ei_matrix *, size_t, double *)
    double ei_exact_total(const double *, size_t, size_t)


cdef extern from "joint/ei_joint.h" nogil:
    ctypedef struct ei_budget:
        int64_t left

    ctypedef struct ei_counter:
        size_t words
        unsigned dense
        uint64_t n
        uint64_t *entries
        ei_budget *budget
    int ei_counter_open(ei_counter *, size_t, unsigned, ei_budget *)
    void ei_counter_close(ei_counter *)
    int ei_counter_add(ei_counter *, const uint64_t *, size_t, size_t, const uint64_t *, size_t, uint32_t *)

    ctypedef struct ei_rows:
        size_t n
        const int32_t *rows
    size_t ei_rows_words(const ei_channel *, const ei_rows *, unsigned *)

    ctypedef struct ei_joint_job:
        uint64_t key
        uint32_t purpose
        uint64_t first, count
        size_t n_sets
        const ei_rows *sets
        size_t n_pairs
        const int32_t *pairs
    int ei_joint_count(const ei_channel *, const ei_joint_job *, ei_counter *, ei_counter *, uint64_t *, uint64_t *, uint64_t *, ei_cancel)

    int ei_joint_draw(const ei_channel *, const ei_joint_job *, uint64_t *const *, size_t, uint64_t *, uint64_t *, uint64_t *, ei_cancel)

    ctypedef struct ei_stretches:
        size_t n
        const uint64_t *ends

    ctypedef struct ei_shard:
        uint32_t number, of
    int ei_shard_vectors(ei_counter *, const uint64_t *, size_t, const ei_stretches *, ei_shard, uint32_t *, ei_cancel)
    int ei_shard_pairs(ei_counter *, const uint32_t *, const uint32_t *, const ei_stretches *, ei_shard, ei_cancel)
    int ei_shard_places(const ei_counter *, const uint64_t *, const uint64_t *, uint32_t, uint64_t *)

    int ei_joint_moments(const uint64_t *, size_t, const int32_t *, size_t, const int32_t *, size_t, int64_t *)

    ctypedef struct ei_cells_job:
        uint64_t key
        uint32_t purpose
        uint64_t first, count
        const uint8_t *given
        size_t n_strata
        const int32_t *strata
        uint32_t draws, attempts
        ei_rows outputs
        size_t n_levels
        const double *gains
    int ei_joint_cells(const ei_channel *, const ei_cells_job *, double *, double *, double *, uint32_t *, uint8_t *, uint64_t *, ei_cancel)


cdef extern from "joint/ei_wide.h" nogil:
    ctypedef struct ei_wide_job:
        size_t n_in, n_out
        const double *weight
        size_t pieces
        uint32_t iterations
        double damping, tolerance
        uint32_t sweeps
        int by_inputs
        uint64_t key
        uint32_t purpose

    ctypedef struct ei_wide_out:
        double *evidence
        double *correction
        double *change
        double *cooled
        double *h
        double *l
    int ei_wide_run(const ei_wide_job *, size_t, const double *, const double *, const double *, const double *, const uint8_t *, const uint32_t *, const ei_wide_out *, ei_cancel)


cdef extern from "joint/ei_given.h" nogil:
    ctypedef struct ei_given_sums:
        size_t n_parts, n_steps
        const double *parts
        const double *steps
        uint32_t bins
    ctypedef struct ei_given_row:
        ei_given_sums sums
        size_t n_cuts
        const double *cuts
        const int32_t *kind
        size_t n_kinds
        double half
        size_t least, start, most
        double good
        size_t n_all
        const double *all_cuts
        const int32_t *all_kind
    ctypedef struct ei_given_found:
        double value, error, kept, normal
    int ei_given_entropy(const ei_given_row *, ei_given_found *, ei_cancel)
    double ei_given_highest(const ei_given_sums *)
    void ei_given_of_u(const ei_given_sums *, double, size_t, double *)
    void ei_given_of_s(const ei_given_sums *, double, size_t, double *)


cdef extern from "joint/ei_bounds.h" nogil:
    ctypedef struct ei_bounds_job:
        size_t n_in, n_out
        const double *weight
        size_t pieces
        double uniform
        uint32_t bins
        size_t block
        uint32_t first, again
        double damping
    int ei_bounds_forward(const ei_bounds_job *, size_t, const double *, const double *, double *, ei_cancel)
    int ei_bounds_backward(const ei_bounds_job *, size_t, const double *, const double *, const double *, double *, ei_cancel)
