# Pairs of an input and an output, computed: csrc/exact. Included by _core.pyx.


cdef class ExactRows:
    """Numbers of a run of rows by the exact engine."""

    cdef readonly object information, total, marginal, bound, outside
    cdef ei_exact_out out

    def __init__(self, size_t rows, size_t n_in, size_t out_bins, bint edges, into):
        self.information = np.empty((rows if edges else 0, n_in)) if into is None else into
        if edges and self.information.shape != (rows, n_in):
            raise ValueError(f"room for {self.information.shape}, not {(rows, n_in)}")
        self.marginal = np.zeros((rows, out_bins))
        self.total, self.bound, self.outside = np.zeros((3, rows))
        cdef double[:, ::1] a = self.information, b = self.marginal
        cdef double[::1] c = self.bound, d = self.outside, e = self.total
        self.out.information = &a[0, 0] if edges and n_in else NULL
        self.out.total = &e[0] if n_in else NULL
        self.out.marginal, self.out.bound, self.out.outside = &b[0, 0], &c[0], &d[0]


cdef ExactRows exact_rows(CoreChannel channel, size_t start, size_t stop, int32_t[::1] cancel,
                          bint information, bint alone, into):
    """Run the exact engine; `alone`: one input perturbed at a time."""
    cdef ExactRows rows = ExactRows(stop - start, channel.c.n_in if information else 0,
                                    channel.c.out_bins, True, into)
    cdef int status
    with nogil:
        if alone:
            status = ei_exact_sensitivity(&channel.c, start, stop, &cancel[0], &rows.out)
        else:
            status = ei_exact_parts(&channel.c, start, stop, &cancel[0], &rows.out)
    check(status)
    return rows


def exact_parts(CoreChannel channel, size_t start, size_t stop, int32_t[::1] cancel,
                into=None):
    """Return the ExactRows of outputs start .. stop, every input perturbed.

    The information goes to the array ``into``, if one is given.
    """
    return exact_rows(channel, start, stop, cancel, True, False, into)


def exact_marginals(CoreChannel channel, size_t start, size_t stop, int32_t[::1] cancel):
    """Return the ExactRows of outputs start .. stop without information."""
    return exact_rows(channel, start, stop, cancel, False, False, None)


def exact_sensitivity(CoreChannel channel, size_t start, size_t stop, int32_t[::1] cancel,
                      into=None):
    """Return the ExactRows of outputs start .. stop, one input perturbed at a time."""
    return exact_rows(channel, start, stop, cancel, True, True, into)


def exact_totals(CoreChannel channel, size_t start, size_t stop, int32_t[::1] cancel, bint alone,
                 bint together):
    """Return ExactRows without edges: one input perturbed at a time, and all of them.

    None for what is not wanted.
    """
    cdef size_t n = channel.c.n_in, bins = channel.c.out_bins
    cdef ExactRows first = ExactRows(stop - start, n, bins, False, None) if alone else None
    cdef ExactRows second = ExactRows(stop - start, n, bins, False, None) if together else None
    cdef int status
    cdef const ei_exact_out *one = NULL
    cdef const ei_exact_out *all_inputs = NULL
    if alone:
        one = &first.out
    if together:
        all_inputs = &second.out
    with nogil:
        status = ei_exact_both(&channel.c, start, stop, &cancel[0], one, all_inputs)
    check(status)
    return first, second


def row_sums(weight):
    """Return what a channel may know of the rows of a matrix, (n, EI_SUMS).

    The matrix is C-contiguous, of float64 or float32.
    """
    cdef const double[:, ::1] wide
    cdef const float[:, ::1] narrow
    cdef ei_matrix rows
    cdef size_t n = <size_t>weight.shape[0]
    rows.n = <size_t>weight.shape[1]
    rows.wide, rows.narrow = NULL, NULL
    if weight.dtype == np.float32:
        narrow = weight
        rows.narrow = &narrow[0, 0]
    else:
        wide = weight
        rows.wide = &wide[0, 0]
    out = np.empty((n, EI_SUMS))
    cdef double[:, ::1] view = out
    with nogil:
        ei_exact_sums(&rows, n, &view[0, 0])
    return out


def row_extremes(const double[:, ::1] sums):
    """Return the greatest size of all rows, the least that is not 0, and the sum of all sizes."""
    cdef double greatest = 0.0, least = INFINITY, sizes = 0.0, most
    cdef size_t i
    for i in range(<size_t>sums.shape[0]):
        most = sums[i, EI_GREATEST]
        greatest = most if most > greatest else greatest
        least = most if 0.0 < most < least else least
        sizes += sums[i, EI_SIZES]
    return greatest, least, sizes


def row_ends(const double[:, ::1] sums, const double[::1] bias, double lo, double hi):
    """Return the least and the greatest end of mean +- 4 deviations of the rows' values.

    Inputs are uniform from lo to hi, and no row is taken further than it reaches.
    """
    cdef double low = INFINITY, high = -INFINITY, mean, half, reach
    cdef size_t i
    for i in range(<size_t>sums.shape[0]):
        mean = bias[i] + 0.5 * (lo + hi) * sums[i, EI_TOTAL]
        reach = 0.5 * (hi - lo) * sums[i, EI_SIZES]
        half = 4.0 * ((hi - lo) * sqrt(sums[i, EI_SQUARES] / 12.0))
        half = reach if reach < half else half
        low = mean - half if mean - half < low else low
        high = mean + half if mean + half > high else high
    return low, high


def total(const double[:, ::1] x):
    """Return the sum of a matrix's numbers, rows of any cut one after the other."""
    cdef size_t rows = <size_t>x.shape[0], n = <size_t>x.shape[1]
    cdef double found = 0.0
    if rows and n:
        with nogil:
            found = ei_exact_total(&x[0, 0], rows, n)
    return found


def summary(const double[::1] total, const double[::1] bound, const double[::1] outside):
    """Return the sum of totals, the greatest bound and the mean of what lies outside, row by row."""
    cdef double added = 0.0, most = 0.0, left = 0.0
    cdef size_t i, n = <size_t>total.shape[0]
    for i in range(n):
        added += total[i]
        most = bound[i] if bound[i] > most else most
        left += outside[i]
    return added, most, left / n
