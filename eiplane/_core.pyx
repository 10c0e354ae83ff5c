"""The bridge to the compiled core: arrays in, GIL released, status to exception.

Nothing is checked here beyond what keeps memory safe; callers validate. Not public.
"""

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

import numpy as np

from ._csrc cimport *

FOLLOWED = EI_FOLLOWED
UNIT = EI_UNIT

ACTIVATIONS = {
    "identity": 0, "relu": 1, "leaky_relu": 2, "sigmoid": 3, "tanh": 4, "softplus": 5, "gelu": 6,
    "gelu_tanh": 7, "quick_gelu": 8, "silu": 9, "mish": 10, "elu": 11, "selu": 12, "hardtanh": 13,
    "hardsigmoid": 14, "hardswish": 15, "softsign": 16,
}


cdef int check(int status) except -1:
    if status == EI_OK:
        return 0
    if status == EI_ENOMEM:
        raise MemoryError("not enough memory for this block; use fewer bins, samples or threads")
    if status == EI_ECANCELLED:
        raise KeyboardInterrupt
    if status == EI_EOVERFLOW:
        raise OverflowError("a size or a counter does not fit; use fewer samples")
    if status == EI_ELIMIT:
        raise MemoryError("the memory limit was reached")
    raise SystemError(f"the core returned an unknown status, {status}")


def supported():
    """Return the names of the instruction sets that this CPU runs, plainest first."""
    cdef const char *names[8]
    cdef int n = ei_supported(names)
    return [names[i].decode() for i in range(n)]


def active():
    """Return the name of the instruction set in use."""
    return ei_active().name.decode()


def select(name):
    """Use the kernels of an instruction set; None for the best. Returns the name."""
    cdef bytes text = b"" if name is None else name.encode()
    if ei_select(text):
        raise ValueError(
            f"EIPLANE_CPU: this CPU has no {name!r}; it has {', '.join(supported())}"
        )
    return active()


cdef class CoreChannel:
    """A channel as C sees it; keeps its arrays alive."""

    cdef ei_channel c
    cdef ei_stage *stages
    cdef list kept

    def __cinit__(self):
        self.stages = NULL

    def __init__(self, channel):
        cdef const double[:, ::1] weight = channel.weight
        cdef const double[::1] bias = channel.bias
        cdef const double[::1] thresholds = channel.thresholds
        cdef const int32_t[::1] labels = channel.labels
        cdef const double[::1] limits = channel.limits
        cdef const uint16_t[::1] outside = channel.outside
        cdef const double[:, ::1] w
        cdef const double[::1] b
        cdef size_t i
        self.kept = [weight, bias, thresholds, labels, limits, outside]
        self.c.n_last = <size_t>weight.shape[1]
        self.c.n_in = <size_t>channel.n_in
        self.c.n_out = <size_t>weight.shape[0]
        self.c.in_lo, self.c.in_hi = channel.in_lo, channel.in_hi
        self.c.in_bins, self.c.out_bins = channel.in_bins, channel.out_bins
        self.c.weight, self.c.bias = &weight[0, 0], &bias[0]
        self.c.n_thresholds = <size_t>thresholds.shape[0]
        self.c.thresholds = &thresholds[0] if thresholds.shape[0] else NULL
        self.c.labels = &labels[0]
        self.c.n_limits = <size_t>limits.shape[0]
        self.c.limits = &limits[0] if limits.shape[0] else NULL
        self.c.outside = &outside[0]
        self.c.baseline = channel.baseline
        self.c.n_stages = <size_t>len(channel.stages)
        if self.c.n_stages:
            self.stages = <ei_stage *>calloc(self.c.n_stages, sizeof(ei_stage))
            if self.stages == NULL:
                raise MemoryError
            self.c.stages = self.stages
            for i, stage in enumerate(channel.stages):
                self.stages[i].n_in, self.stages[i].n_out = stage.n_in, stage.n_out
                self.stages[i].width = stage.width
                if stage.width:
                    continue
                w, b = stage.weight, stage.bias
                self.kept += [w, b]
                self.stages[i].weight, self.stages[i].bias = &w[0, 0], &b[0]
                parameters = (*stage.activation.parameters, 0.0, 0.0)
                self.stages[i].activation = ACTIVATIONS[stage.activation.kind]
                self.stages[i].p0, self.stages[i].p1 = parameters[0], parameters[1]

    def __dealloc__(self):
        free(self.stages)


cdef ei_job job_of(object job) except *:
    cdef ei_job j
    j.key = job.key
    j.out_start, j.out_stop = job.out_start, job.out_stop
    j.in_start, j.in_stop = job.in_start, job.in_stop
    j.first, j.count = job.first, job.count
    j.stream, j.masks = job.stream, job.masks
    return j


cdef class Edges:
    """Numbers of every edge of a job, and of their sum."""

    cdef readonly object information, excess, variance, second, spread, variances, dropped
    cdef ei_pairs_out out

    def __init__(self, job):
        shape = (job.out_stop - job.out_start, job.in_stop - job.in_start)
        self.information, self.excess = np.empty(shape), np.empty(shape)
        self.variance, self.second = np.empty(shape), np.empty(shape)
        self.spread, self.variances = np.empty(EI_FOLLOWED, np.int64), np.empty(shape[1])
        self.dropped = np.empty(shape[0], np.uint64)
        cdef double[:, ::1] a = self.information, b = self.excess, c = self.variance
        cdef double[:, ::1] d = self.second
        cdef int64_t[::1] e = self.spread
        cdef uint64_t[::1] f = self.dropped
        self.out.information, self.out.excess, self.out.variance = &a[0, 0], &b[0, 0], &c[0, 0]
        self.out.second, self.out.spread, self.out.dropped = &d[0, 0], &e[0], &f[0]


def pairs_masked(CoreChannel channel):
    """Say whether this channel is counted with bit masks (by the kernels in use)."""
    return ei_pairs_masked(&channel.c) != 0


def pairs_size(CoreChannel channel, job):
    """Return the number of 64-bit words that the counts of a job take."""
    cdef ei_job j = job_of(job)
    cdef size_t size = ei_pairs_size(&channel.c, &j)
    if size == 0:
        raise OverflowError("the counts of this block would not fit in memory")
    return size


def pairs_count(CoreChannel channel, job, int32_t[::1] cancel):
    """Return the counts of a job: 64-bit words, additive over samples."""
    cdef ei_job j = job_of(job)
    cdef int status
    counts = np.zeros(pairs_size(channel, job), np.uint64)
    cdef uint64_t[::1] view = counts
    with nogil:
        status = ei_pairs_count(&channel.c, &j, &cancel[0], &view[0])
    check(status)
    return counts


def pairs_reduce(CoreChannel channel, job, part, const uint64_t[::1] counts, int32_t[::1] cancel):
    """Return the Edges of a part of a job, from the job's complete counts."""
    cdef ei_job j = job_of(job), k = job_of(part)
    cdef int status
    cdef Edges edges = Edges(part)
    with nogil:
        status = ei_pairs_reduce(&channel.c, &j, &k, &cancel[0], &counts[0], &edges.out)
    check(status)
    return edges


def pairs_held(CoreChannel channel, job):
    """Return the bytes that pairs_run holds for one output of a job, roughly."""
    cdef ei_job j = job_of(job)
    return ei_pairs_held(&channel.c, &j)


def pairs_run(CoreChannel channel, job, int32_t[::1] cancel):
    """Count and reduce a job; returns its Edges."""
    cdef ei_job j = job_of(job)
    cdef int status
    cdef Edges edges = Edges(job)
    with nogil:
        status = ei_pairs_run(&channel.c, &j, &cancel[0], &edges.out)
    check(status)
    return edges


def pairs_table(CoreChannel channel, job, const uint64_t[::1] counts, size_t output, size_t input):
    """Return the table of one pair, (in_bins, out_bins + 1); the last column: dropped."""
    cdef ei_job j = job_of(job)
    table = np.zeros((channel.c.in_bins, channel.c.out_bins + 1), np.uint64)
    cdef uint64_t[:, ::1] view = table
    check(ei_pairs_table(&channel.c, &j, &counts[0], output, input, &view[0, 0]))
    return table


def single_run(CoreChannel channel, job, int32_t[::1] cancel):
    """Measure a job with one input perturbed at a time; returns its Edges."""
    cdef ei_job j = job_of(job)
    cdef int status
    cdef Edges edges = Edges(job)
    cdef double[::1] variances = edges.variances
    with nogil:
        status = ei_single_run(&channel.c, &j, &cancel[0], &edges.out, &variances[0])
    check(status)
    return edges


def single_table(CoreChannel channel, job):
    """Return the table of one pair by interval, (in_bins, n_thresholds + 1)."""
    cdef ei_job j = job_of(job)
    table = np.zeros((channel.c.in_bins, channel.c.n_thresholds + 1), np.uint64)
    cdef uint64_t[:, ::1] view = table
    check(ei_single_table(&channel.c, &j, &view[0, 0]))
    return table


def evaluate(CoreChannel channel, uint64_t key, uint64_t first, size_t count):
    """Return z of samples first .. first + count (multiples of 64), shape (n_out, count)."""
    cdef ei_eval e
    cdef size_t at, n, s, o
    z = np.empty((channel.c.n_out, count))
    cdef double[:, ::1] view = z
    try:
        check(ei_eval_open(&e, &channel.c, 0, channel.c.n_out))
        at = 0
        while at < count:
            n = min(e.block, count - at)
            ei_eval_draw(&e, key, 0, first + at, n)
            ei_eval_forward(&e, n)
            for o in range(e.n_out):
                for s in range(n):
                    view[o, at + s] = e.z[(s // 16 * e.n_out + o) * 16 + s % 16]
            at += n
    finally:
        ei_eval_close(&e)
    return z


def draw(uint64_t key, uint32_t purpose, uint32_t stream, uint64_t first, size_t count):
    """Return the draws first .. first + count (multiples of 64) of a stream, uint32."""
    out = np.empty(count, np.uint32)
    cdef uint32_t[::1] view = out
    if count:
        with nogil:
            ei_active().draw(key, purpose, stream, first, count, &view[0])
    return out


def activate(name, parameters, values):
    """Return an activation's values as the core computes them."""
    cdef size_t n = <size_t>len(values)
    padded = np.zeros((n + 15) // 16 * 16)
    padded[:n] = values
    cdef double[::1] view = padded
    p = (*parameters, 0.0, 0.0)
    ei_active().activate(ACTIVATIONS[name], p[0], p[1], &view[0], <size_t>len(padded))
    return padded[:n]


def log2(const double[::1] x):
    """Return the core's base-2 logarithm; 0 where x is 0."""
    out = np.empty(x.shape[0])
    cdef double[::1] view = out
    if x.shape[0]:
        ei_active().log2(&x[0], <size_t>x.shape[0], &view[0])
    return out


def count_masks(const uint64_t[:, ::1] x, const uint64_t[:, ::1] y):
    """Return the numbers of common bits, (len(x), len(y)); words a multiple of 8."""
    counts = np.zeros((x.shape[0], y.shape[0]), np.uint64)
    cdef uint64_t[:, ::1] view = counts
    cdef size_t words = <size_t>x.shape[1]
    with nogil:
        ei_active().count_masks(&x[0, 0], words, <size_t>x.shape[0], &y[0, 0], words,
                                <size_t>y.shape[0], words, &view[0, 0])
    return counts


def scatter(const uint32_t[::1] offsets, const uint16_t[:, ::1] labels, size_t cells):
    """Return the tables (outputs, cells) of one input's row offsets and the outputs' labels."""
    cdef size_t n = <size_t>labels.shape[1], n_out = <size_t>labels.shape[0]
    if n >= 65536 or offsets.shape[0] != labels.shape[1]:
        raise ValueError("fewer than 65536 samples, as many offsets as labels")
    tables = np.zeros((n_out, cells), np.uint64)
    small = np.empty(4 * EI_SMALL_CELLS, np.uint16)
    cdef uint64_t[:, ::1] view = tables
    cdef uint16_t[::1] scratch = small
    with nogil:
        ei_scatter(&offsets[0], &labels[0, 0], n, n, n_out, cells, &scratch[0], &view[0, 0], cells)
    return tables


def label(const double[::1] values, const double[::1] thresholds):
    """Return the number of thresholds <= each value, uint16."""
    cdef size_t n = <size_t>values.shape[0], m = <size_t>thresholds.shape[0]
    out = np.empty(n, np.uint16)
    identity = np.arange(m + 1, dtype=np.uint16)
    cdef uint16_t[::1] view = out, map_ = identity
    if n and m:
        with nogil:
            ei_active().label(&values[0], 16, n, &thresholds[0], m, &map_[0], &view[0])
    elif n:
        out[:] = 0
    return out


def information(const uint64_t[:, ::1] table):
    """Return (plug-in mutual information, Miller-Madow excess, variance) of a table, bits."""
    cdef size_t rows = <size_t>table.shape[0], columns = <size_t>table.shape[1]
    scratch = np.empty(ei_measure_scratch(rows, columns))
    cdef double[::1] view = scratch
    cdef ei_information i
    with nogil:
        i = ei_measure(ei_active(), &table[0, 0], rows, columns, columns, &view[0], NULL)
    return i.information, i.excess, i.variance


cdef class ExactRows:
    """Numbers of a run of rows by the exact engine."""

    cdef readonly object information, marginal, bound, outside
    cdef ei_exact_out out

    def __init__(self, size_t rows, size_t n_in, size_t out_bins):
        self.information, self.marginal = np.zeros((rows, n_in)), np.zeros((rows, out_bins))
        self.bound, self.outside = np.zeros(rows), np.zeros(rows)
        cdef double[:, ::1] a = self.information, b = self.marginal
        cdef double[::1] c = self.bound, d = self.outside
        self.out.information = &a[0, 0] if n_in else NULL
        self.out.marginal, self.out.bound, self.out.outside = &b[0, 0], &c[0], &d[0]


def exact_parts(CoreChannel channel, size_t start, size_t stop, int32_t[::1] cancel):
    """Return the ExactRows of outputs start .. stop, every input perturbed."""
    cdef ExactRows rows = ExactRows(stop - start, channel.c.n_in, channel.c.out_bins)
    cdef int status
    with nogil:
        status = ei_exact_parts(&channel.c, start, stop, &cancel[0], &rows.out)
    check(status)
    return rows


def exact_marginals(CoreChannel channel, size_t start, size_t stop, int32_t[::1] cancel):
    """Return the ExactRows of outputs start .. stop without information."""
    cdef ExactRows rows = ExactRows(stop - start, 0, channel.c.out_bins)
    cdef int status
    with nogil:
        status = ei_exact_parts(&channel.c, start, stop, &cancel[0], &rows.out)
    check(status)
    return rows


def exact_sensitivity(CoreChannel channel, size_t start, size_t stop, int32_t[::1] cancel):
    """Return the ExactRows of outputs start .. stop, one input perturbed at a time."""
    cdef ExactRows rows = ExactRows(stop - start, channel.c.n_in, channel.c.out_bins)
    cdef int status
    with nogil:
        status = ei_exact_sensitivity(&channel.c, start, stop, &cancel[0], &rows.out)
    check(status)
    return rows


# ---- whole vectors ----------------------------------------------------------------------------

#: One-word vectors below so many bits are looked up in a table.
DENSE_BITS = 20


cdef class Budget:
    """Bytes that the counters of one thread may take together."""

    cdef ei_budget b

    def __init__(self, limit):
        self.b.left = limit


cdef class Counter:
    """Distinct vectors of 64-bit words and how often each occurred, in order of appearance."""

    cdef ei_counter c
    cdef Budget budget
    cdef Py_ssize_t shape[2]
    cdef Py_ssize_t strides[2]
    cdef int lent  # arrays that look into its memory

    def __init__(self, size_t words, unsigned bits, Budget budget):
        if words < 1 or bits < 1 or bits > 64:
            raise ValueError("a vector has at least one word of 1 to 64 bits")
        self.close()
        self.budget = budget
        check(ei_counter_open(&self.c, words, bits if words == 1 and bits <= DENSE_BITS else 0,
                              &budget.b))

    def __dealloc__(self):
        self.close()

    def close(self):
        """Release the memory; the counter is then empty and of no more use."""
        if self.lent:
            raise BufferError("arrays still look into this counter")
        ei_counter_close(&self.c)

    def __len__(self):
        return self.c.n

    def add(self, const uint64_t[:, ::1] keys, const uint64_t[::1] weights):
        """Count vectors, (n, words), so many times each; return their positions, uint32."""
        cdef size_t n = <size_t>keys.shape[0]
        cdef int status
        if <size_t>keys.shape[1] != self.c.words or <size_t>weights.shape[0] != n:
            raise ValueError("vectors and weights do not fit the counter")
        if self.c.dense and n and np.max(keys) >> self.c.dense:
            raise ValueError("a vector is beyond the counter's table")
        if self.lent:
            raise BufferError("arrays look into this counter; it cannot count on")
        ids = np.empty(n, np.uint32)
        cdef uint32_t[::1] view = ids
        if n:
            with nogil:
                status = ei_counter_add(&self.c, &keys[0, 0], 1, self.c.words, &weights[0], n,
                                        &view[0])
            check(status)
        return ids

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        if self.c.n == 0:
            raise BufferError("an empty counter has no memory to show")
        self.shape[0], self.shape[1] = self.c.n, self.c.words + 1
        self.strides[0], self.strides[1] = 8 * self.shape[1], 8
        buffer.buf = self.c.entries
        buffer.obj = self
        buffer.len = self.shape[0] * self.strides[0]
        buffer.readonly = 1
        buffer.itemsize = 8
        buffer.format = "Q"
        buffer.ndim = 2
        buffer.shape, buffer.strides = self.shape, self.strides
        buffer.suboffsets = NULL
        buffer.internal = NULL
        self.lent += 1

    def __releasebuffer__(self, Py_buffer *buffer):
        self.lent -= 1

    def view(self):
        """Return the entries without a copy; the counter cannot count on while it is alive."""
        return np.asarray(self) if self.c.n else self.entries()

    def entries(self):
        """Return the vectors and, in the last column, how often each occurred: (n, words + 1)."""
        out = np.empty((self.c.n, self.c.words + 1), np.uint64)
        cdef uint64_t[:, ::1] view = out
        if self.c.n:
            memcpy(&view[0, 0], self.c.entries, self.c.n * (self.c.words + 1) * 8)
        return out


cdef class RowSets:
    """Sets of rows as C sees them."""

    cdef ei_rows *sets
    cdef size_t n
    cdef list kept

    def __cinit__(self):
        self.sets = NULL

    def __init__(self, CoreChannel channel, sets):
        cdef int32_t[::1] view
        cdef size_t i
        self.n = <size_t>len(sets)
        self.kept = []
        self.sets = <ei_rows *>calloc(self.n + 1, sizeof(ei_rows))
        if self.sets == NULL:
            raise MemoryError
        limit = channel.c.n_in + channel.c.n_out
        for i, rows in enumerate(sets):
            array = np.ascontiguousarray(rows, dtype=np.int32)
            if array.ndim != 1 or not len(array) or array.min() < 0 or array.max() >= limit:
                raise ValueError("a set of rows must be inputs and outputs of the channel")
            view = array
            self.kept.append(view)
            self.sets[i].n, self.sets[i].rows = <size_t>len(array), &view[0]

    def __dealloc__(self):
        free(self.sets)


def vector_size(CoreChannel channel, rows):
    """Return (words, bits in use where there is one word) of the vectors of a set of rows."""
    cdef RowSets sets = RowSets(channel, [rows])
    cdef unsigned bits
    words = ei_rows_words(&channel.c, &sets.sets[0], &bits)
    return words, bits


def joint_count(CoreChannel channel, job, int32_t[::1] cancel):
    """Count the vectors of a job's samples.

    The job has key, purpose, first (a multiple of 64), count, sets (of rows), pairs (of sets), a
    list of counters of each, and whether it wants margins. Returns (margins (n_out, out_bins) or
    None, kept, outside).
    """
    cdef RowSets sets = RowSets(channel, job.sets)
    cdef size_t n_sets = sets.n, n_pairs = <size_t>len(job.pairs), i
    cdef ei_joint_job j
    cdef ei_counter *counters = NULL
    cdef int status
    cdef uint64_t kept = 0, outside = 0
    cdef uint64_t *margins = NULL
    cdef uint64_t[:, ::1] margins_view
    cdef int32_t[:, ::1] pairs_view = np.array(job.pairs, np.int32).reshape(-1, 2)
    counted = [*job.set_counters, *job.pair_counters]
    if len(counted) != n_sets + n_pairs:
        raise ValueError("every set and pair needs a counter")
    for i in range(n_sets):
        words, bits = vector_size(channel, job.sets[i])
        if (<Counter>counted[i]).c.words != words or (
                (<Counter>counted[i]).c.dense and (<Counter>counted[i]).c.dense < bits):
            raise ValueError("a counter does not fit its set")
    for i in range(n_pairs):
        if (<Counter>counted[n_sets + i]).c.words != 1 or (<Counter>counted[n_sets + i]).c.dense:
            raise ValueError("a counter does not fit its pair")
        if not (0 <= pairs_view[i, 0] < n_sets and 0 <= pairs_view[i, 1] < n_sets):
            raise ValueError("a pair is of two sets")
    j.key, j.purpose, j.first, j.count = job.key, job.purpose, job.first, job.count
    j.n_sets, j.sets = n_sets, sets.sets
    j.n_pairs, j.pairs = n_pairs, &pairs_view[0, 0] if n_pairs else NULL
    result = None
    if job.margins:
        result = np.zeros((channel.c.n_out, channel.c.out_bins), np.uint64)
        margins_view = result
        margins = &margins_view[0, 0]
    for i in range(n_sets + n_pairs):
        if (<Counter>counted[i]).lent:
            raise BufferError("arrays look into a counter; it cannot count on")
    counters = <ei_counter *>calloc(n_sets + n_pairs, sizeof(ei_counter))
    if counters == NULL:
        raise MemoryError
    for i in range(n_sets + n_pairs):
        counters[i] = (<Counter>counted[i]).c
    with nogil:
        status = ei_joint_count(&channel.c, &j, counters, counters + n_sets, margins, &kept,
                                &outside, &cancel[0])
    for i in range(n_sets + n_pairs):
        (<Counter>counted[i]).c = counters[i]
    free(counters)
    check(status)
    return result, kept, outside


def joint_moments(const uint64_t[:, ::1] entries, const int32_t[::1] one, const int32_t[::1] two):
    """Sum number * v and number * v**2 over a pair's entries; see ei_joint.h. Units of 2**-16."""
    cdef int64_t[2] sums
    cdef size_t n = <size_t>entries.shape[0], n_one = <size_t>one.shape[0]
    cdef size_t n_two = <size_t>two.shape[0]
    cdef int status
    if entries.shape[1] != 2:
        raise ValueError("a pair's entries have two columns")
    if n == 0 or n_one == 0 or n_two == 0:
        return 0, 0
    with nogil:
        status = ei_joint_moments(&entries[0, 0], n, &one[0], n_one, &two[0], n_two, &sums[0])
    check(status)
    return sums[0], sums[1]


def joint_cells(CoreChannel channel, job, bint each, int32_t[::1] cancel):
    """Draw within cells; see ei_joint.h.

    The job has key, purpose, first (a multiple of 64), count, given, strata, draws, attempts,
    outputs (rows) and gains. Returns (whole, parts, each or None, singles, ok, spent).
    """
    cdef const double[:, ::1] gains = job.gains
    cdef RowSets outputs = RowSets(channel, [job.outputs])
    cdef uint8_t[::1] given = np.ascontiguousarray(job.given, dtype=np.uint8)
    cdef int32_t[::1] strata = np.array([*job.strata, 0], np.int32)
    cdef size_t n = job.count, levels = <size_t>gains.shape[0], width = outputs.sets[0].n
    cdef ei_cells_job j
    cdef int status
    cdef uint64_t spent = 0
    if <size_t>given.shape[0] != channel.c.n_in or n < 1 or levels < 1:
        raise ValueError("the job does not fit the channel")
    if <int64_t>gains.shape[1] != job.draws or job.draws & (job.draws - 1) or not (
            16 <= job.draws <= 65536):
        raise ValueError("draws must be a power of two, 16 to 65536, with a gain each")
    if min(job.outputs) < channel.c.n_in or not all(0 <= s < channel.c.n_in for s in job.strata):
        raise ValueError("outputs and strata must be rows of their kind")
    whole, parts = np.empty((n, levels)), np.empty((n, levels))
    apart = np.empty((n, levels, width)) if each else np.empty((1, 1, 1))
    singles, ok = np.empty(n, np.uint32), np.empty(n, np.uint8)
    cdef double[:, ::1] whole_view = whole, parts_view = parts
    cdef double[:, :, ::1] apart_view = apart
    cdef uint32_t[::1] singles_view = singles
    cdef uint8_t[::1] ok_view = ok
    j.key, j.purpose, j.first, j.count = job.key, job.purpose, job.first, job.count
    j.given, j.n_strata, j.strata = &given[0], <size_t>len(job.strata), &strata[0]
    j.draws, j.attempts = job.draws, job.attempts
    j.outputs = outputs.sets[0]
    j.n_levels, j.gains = levels, &gains[0, 0]
    with nogil:
        status = ei_joint_cells(&channel.c, &j, &whole_view[0, 0], &parts_view[0, 0],
                                &apart_view[0, 0, 0] if each else NULL, &singles_view[0],
                                &ok_view[0], &spent, &cancel[0])
    check(status)
    return whole, parts, apart if each else None, singles, ok.astype(bool), spent


# ---- the wide engine --------------------------------------------------------------------------


def affine(const double[:, ::1] weight, const double[::1] bias, const double[:, ::1] x):
    """Return bias + W x of samples, (n_out, samples), added up in the order of the inputs."""
    cdef size_t n_out = <size_t>weight.shape[0], n_in = <size_t>weight.shape[1]
    cdef size_t count = <size_t>x.shape[1], panels = (count + 15) // 16, p, k, s
    panel_x, panel_z = np.zeros((panels, n_in, 16)), np.empty((panels, n_out, 16))
    z = np.empty((n_out, count))
    cdef double[:, :, ::1] a = panel_x, b = panel_z
    cdef double[:, ::1] view = z
    if count and n_out:
        with nogil:
            for p in range(panels):
                for k in range(n_in):
                    for s in range(min(16, count - 16 * p)):
                        a[p, k, s] = x[k, 16 * p + s]
            ei_active().affine(&weight[0, 0], n_in, &bias[0], n_in, n_out, &a[0, 0, 0],
                               &b[0, 0, 0], panels)
            for p in range(panels):
                for k in range(n_out):
                    for s in range(min(16, count - 16 * p)):
                        view[k, 16 * p + s] = b[p, k, s]
    return z


def wide_run(job, const double[:, ::1] weight, const double[:, ::1] in_lo,
             const double[:, ::1] in_hi, const double[:, :, ::1] out_lo,
             const double[:, :, ::1] out_hi, const uint8_t[::1] correct, int32_t[::1] cancel):
    """Return (evidence, correction, change, h, l) of samples; see csrc/ei_wide.h."""
    cdef size_t samples = <size_t>in_lo.shape[0], n_in = <size_t>weight.shape[1]
    cdef ei_wide_job j
    cdef ei_wide_out o
    cdef int status
    totals, cavities = np.zeros((3, samples)), np.zeros((2, samples, n_in))
    cdef double[:, ::1] t = totals
    cdef double[:, :, ::1] c = cavities
    if samples:
        j.n_in, j.n_out, j.pieces = n_in, <size_t>weight.shape[0], <size_t>out_lo.shape[1]
        j.weight = &weight[0, 0] if j.n_out else NULL
        j.iterations, j.damping, j.tolerance = job.iterations, job.damping, job.tolerance
        o.evidence, o.correction, o.change = &t[0, 0], &t[1, 0], &t[2, 0]
        o.h, o.l = &c[0, 0, 0], &c[1, 0, 0]
        with nogil:
            status = ei_wide_run(&j, samples, &in_lo[0, 0], &in_hi[0, 0],
                                 &out_lo[0, 0, 0] if j.n_out else NULL,
                                 &out_hi[0, 0, 0] if j.n_out else NULL, &correct[0], &o, &cancel[0])
        check(status)
    return totals[0], totals[1], totals[2], cavities[0], cavities[1]
