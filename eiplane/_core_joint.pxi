# Whole vectors: csrc/joint. Included by _core.pyx.

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
        self.read_into(out)
        return out

    def read_into(self, uint64_t[:, ::1] out):
        """Write to an array what :meth:`entries` returns."""
        cdef size_t bytes = self.c.n * (self.c.words + 1) * 8
        if <size_t>out.shape[0] != self.c.n or <size_t>out.shape[1] != self.c.words + 1:
            raise ValueError("the array does not fit the counter")
        if bytes:
            with nogil:
                memcpy(&out[0, 0], self.c.entries, bytes)


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
    list of counters of each, and whether it wants margins. Returns (margins (n_out, out_bins) or None,
    kept, outside).
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


def joint_draw(CoreChannel channel, job, keys, uint64_t first, int32_t[::1] cancel):
    """Pack the vectors of a job's samples, one array (words, all samples) a set, from column ``first`` on.

    The job is that of joint_count, without pairs and counters. Returns (margins or None, kept, outside).
    """
    cdef RowSets sets = RowSets(channel, job.sets)
    cdef ei_joint_job j
    cdef uint64_t[:, ::1] view, margins_view
    cdef uint64_t *margins = NULL
    cdef uint64_t **places = NULL
    cdef uint64_t kept = 0, outside = 0
    cdef size_t ld = <size_t>keys[0].shape[1], i
    cdef int status
    memset(&j, 0, sizeof(ei_joint_job))
    j.key, j.purpose, j.first, j.count = job.key, job.purpose, job.first, job.count
    j.n_sets, j.sets = sets.n, sets.sets
    if first + j.count > ld or <size_t>len(keys) != sets.n:
        raise ValueError("the arrays do not fit the samples")
    result = None
    if job.margins:
        result = np.zeros((channel.c.n_out, channel.c.out_bins), np.uint64)
        margins_view = result
        margins = &margins_view[0, 0]
    places = <uint64_t **>calloc(sets.n, sizeof(uint64_t *))
    if places == NULL:
        raise MemoryError
    try:
        for i in range(sets.n):
            view = keys[i]
            if <size_t>view.shape[0] != ei_rows_words(&channel.c, &sets.sets[i], NULL) or (
                    <size_t>view.shape[1] != ld):
                raise ValueError("an array does not fit its set")
            places[i] = &view[0, first]
        with nogil:
            status = ei_joint_draw(&channel.c, &j, places, ld, margins, &kept, &outside, &cancel[0])
    finally:
        free(places)
    check(status)
    return result, kept, outside


cdef ei_stretches stretches_of(const uint64_t[:, ::1] ends, size_t length) except *:
    """Stretches of an array of this length."""
    cdef ei_stretches of
    of.n, of.ends = <size_t>ends.shape[0], &ends[0, 0]
    if ends.shape[1] != 2 or np.max(ends) > length:
        raise ValueError("the stretches do not fit the arrays")
    return of


cdef ei_shard shard_of(shard) except *:
    cdef ei_shard s
    s.number, s.of = shard
    if s.number >= s.of or s.of > 1 << 16:
        raise ValueError("there is no such shard")
    return s


def shard_vectors(Counter counter, const uint64_t[:, ::1] keys, const uint64_t[:, ::1] ends, shard,
                  uint32_t[::1] places, int32_t[::1] cancel):
    """Count the vectors (words, samples) of a shard (number, of); see csrc/joint/ei_joint.h."""
    cdef size_t ld = <size_t>keys.shape[1]
    cdef ei_stretches of = stretches_of(ends, ld)
    cdef ei_shard s = shard_of(shard)
    cdef int status
    if <size_t>keys.shape[0] != counter.c.words or <size_t>places.shape[0] != ld or counter.lent:
        raise ValueError("the arrays do not fit the counter")
    with nogil:
        status = ei_shard_vectors(&counter.c, &keys[0, 0], ld, &of, s, &places[0], &cancel[0])
    check(status)


def shard_pairs(Counter counter, const uint32_t[::1] one, const uint32_t[::1] two,
                const uint64_t[:, ::1] ends, shard, int32_t[::1] cancel):
    """Count the pairs of places of a shard (number, of); see csrc/joint/ei_joint.h."""
    cdef ei_stretches of = stretches_of(ends, min(one.shape[0], two.shape[0]))
    cdef ei_shard s = shard_of(shard)
    cdef int status
    if counter.c.words != 1 or counter.c.dense or counter.lent:
        raise ValueError("the counter does not fit pairs")
    with nogil:
        status = ei_shard_pairs(&counter.c, &one[0], &two[0], &of, s, &cancel[0])
    check(status)


def shard_places(Counter counter, const uint64_t[::1] one, const uint64_t[::1] two,
                 uint64_t[:, ::1] out):
    """Write a shard's pairs to ``out``, (n, 2), with places in all shards together."""
    cdef int status
    if out.shape[0] != <Py_ssize_t>counter.c.n or out.shape[1] != 2 or counter.c.words != 1 or (
            one.shape[0] != two.shape[0] or not one.shape[0]):
        raise ValueError("the arrays do not fit the counter")
    if counter.c.n == 0:
        return
    with nogil:
        status = ei_shard_places(&counter.c, &one[0], &two[0], <uint32_t>one.shape[0], &out[0, 0])
    check(status)


def joint_moments(const uint64_t[:, ::1] entries, const int32_t[::1] one, const int32_t[::1] two):
    """Sum number * v and number * v**2 over a pair's entries; see csrc/joint/ei_joint.h. Units of 2**-16."""
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
    """Draw within cells; see csrc/joint/ei_joint.h.

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
