# Pairs of an input and an output, counted: csrc/pairs. Included by _core.pyx.


cdef ei_job job_of(object job) except *:
    cdef ei_job j
    j.key = job.key
    j.out_start, j.out_stop = job.out_start, job.out_stop
    j.in_start, j.in_stop = job.in_start, job.in_stop
    j.first, j.count = job.first, job.count
    j.stream, j.masks = job.stream, job.masks
    j.points = NULL
    return j


cdef class CorePoints:
    """Where samples are, as C sees it; keeps its arrays alive."""

    cdef ei_points c
    cdef object kept

    def __init__(self, points):
        cdef const uint32_t[::1] factor = points.factors, shift = points.shifts
        if factor.shape[0] != shift.shape[0] or factor.shape[0] == 0:
            raise ValueError("as many shifts as factors, and at least one")
        self.kept = (factor, shift)
        self.c.key, self.c.purpose, self.c.n = points.key, points.purpose, <size_t>factor.shape[0]
        self.c.factor, self.c.shift = &factor[0], &shift[0]

    def draw(self, size_t input, uint64_t first, size_t count):
        """Return an input's draws first .. first + count (multiples of 64), uint32."""
        out = np.empty(count, np.uint32)
        cdef uint32_t[::1] view = out
        if count:
            with nogil:
                ei_points_draw(ei_active(), &self.c, input, first, count, &view[0])
        return out


cdef class Edges:
    """Numbers of every edge of a job, and of their sum."""

    cdef readonly object information, excess, variance, second, noise, doubt
    cdef readonly object spread, variances, dropped
    cdef ei_pairs_out out

    def __init__(self, job):
        shape = (job.out_stop - job.out_start, job.in_stop - job.in_start)
        self.information, self.excess = np.empty(shape), np.empty(shape)
        self.variance, self.second = np.empty(shape), np.empty(shape)
        self.noise, self.doubt = np.empty(shape), np.empty(shape)
        self.spread, self.variances = np.empty(EI_FOLLOWED, np.int64), np.empty(shape[1])
        self.dropped = np.empty(shape[0], np.uint64)
        cdef double[:, ::1] a = self.information, b = self.excess, c = self.variance
        cdef double[:, ::1] d = self.second, g = self.noise, h = self.doubt
        cdef int64_t[::1] e = self.spread
        cdef uint64_t[::1] f = self.dropped
        self.out.information, self.out.excess, self.out.variance = &a[0, 0], &b[0, 0], &c[0, 0]
        self.out.second, self.out.noise, self.out.doubt = &d[0, 0], &g[0, 0], &h[0, 0]
        self.out.spread, self.out.dropped = &e[0], &f[0]


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


def pairs_count(CoreChannel channel, job, int32_t[::1] cancel, CorePoints points=None):
    """Return the counts of a job: 64-bit words, additive over samples."""
    cdef ei_job j = job_of(job)
    cdef int status
    if points is not None:
        j.points = &points.c
    counts = np.zeros(pairs_size(channel, job), np.uint64)
    cdef uint64_t[::1] view = counts
    with nogil:
        status = ei_pairs_count(&channel.c, &j, &cancel[0], &view[0])
    check(status)
    return counts


def pairs_count_each(CoreChannel channel, jobs, points, int32_t[::1] cancel):
    """Return the counts of jobs that differ in their points and numbers of samples alone, in rows."""
    cdef size_t n = len(jobs), r
    cdef int status
    counts = np.zeros((len(jobs), pairs_size(channel, jobs[0])), np.uint64)
    memory = np.empty(n * sizeof(ei_job), np.uint8)
    cdef uint8_t[::1] held = memory
    cdef ei_job *each = <ei_job *>&held[0]
    for r, (job, where) in enumerate(zip(jobs, points, strict=True)):
        each[r] = job_of(job)
        each[r].points = &(<CorePoints?>where).c
    cdef uint64_t[:, ::1] view = counts
    with nogil:
        status = ei_pairs_count_each(&channel.c, each, n, &cancel[0], &view[0, 0])
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


def replicates_reduce(CoreChannel channel, job, part, const uint64_t[:, ::1] counts,
                      int32_t[::1] cancel):
    """Return plug-in information, the corrected one, its variance and doubt of every edge of a part;
    what replicates do to the sum, each and two together; and the numbers of dropped values."""
    cdef ei_job j = job_of(job), k = job_of(part)
    cdef int status
    cdef size_t n = <size_t>counts.shape[0]
    if n < 4 or <size_t>counts.shape[1] != pairs_size(channel, job):
        raise ValueError("counts of at least four replicates of the job")
    shape = (part.out_stop - part.out_start, part.in_stop - part.in_start)
    found = np.empty((4, *shape))
    first, second = np.empty(n, np.int64), np.empty((n, n), np.int64)
    dropped = np.empty(shape[0], np.uint64)
    cdef double[:, :, ::1] edges = found
    cdef int64_t[::1] one = first
    cdef int64_t[:, ::1] two = second
    cdef uint64_t[::1] lost = dropped
    cdef ei_replicates_out out
    out.information, out.corrected = &edges[0, 0, 0], &edges[1, 0, 0]
    out.variance, out.doubt = &edges[2, 0, 0], &edges[3, 0, 0]
    out.first, out.second, out.dropped = &one[0], &two[0, 0], &lost[0]
    with nogil:
        status = ei_replicates_reduce(&channel.c, &j, &k, n, &cancel[0], &counts[0, 0], &out)
    check(status)
    return (*found, first, second, dropped)


def replicates_variance(const double[::1] first, const double[:, ::1] second):
    """Return the variance of a sum of edges from what replicates do to it."""
    cdef size_t n = <size_t>first.shape[0]
    if n < 4 or <size_t>second.shape[0] != n or <size_t>second.shape[1] != n:
        raise ValueError("numbers of at least four replicates, and of each two of them")
    return ei_replicates_variance(&first[0], &second[0, 0], n)


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


def corrected(const uint64_t[:, ::1] table, size_t sharing=1):
    """Return (information, excess, variance, second, noise, doubt) of one table, and the influences."""
    cdef size_t rows = <size_t>table.shape[0], columns = <size_t>table.shape[1]
    scratch, influence = np.empty(ei_measure_scratch(rows, columns)), np.empty((rows, columns))
    cdef double[::1] view = scratch
    cdef double[:, ::1] pointwise = influence
    cdef ei_memory memory
    cdef ep_occupancy occupancy
    cdef ep_columns *sums
    cdef ep_corrected found
    cdef ei_information i
    memset(&memory, 0, sizeof(ei_memory))
    ep_occupancy_open(&occupancy, rows, sharing, &memory)
    sums = ep_columns_open(1, columns, &memory)
    try:
        check(ei_held(&memory, EI_OK))
        i = ei_measure(ei_active(), &table[0, 0], rows, columns, columns, &view[0], &pointwise[0, 0])
        ep_columns_fill(sums, &occupancy, &table[0, 0], columns, columns)
        found = ep_correct(&occupancy, sums, &i, columns, columns, &view[0], &pointwise[0, 0])
    finally:
        ei_release(&memory)
    numbers = (i.information, found.excess, found.variance, found.second, found.noise, found.doubt)
    return numbers, influence - found.mean


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
