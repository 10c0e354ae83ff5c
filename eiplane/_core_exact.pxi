# Pairs of an input and an output, computed: csrc/exact. Included by _core.pyx.


cdef class ExactRows:
    """Numbers of a run of rows by the exact engine."""

    cdef readonly object information, marginal, bound, outside
    cdef ei_exact_out out

    def __init__(self, size_t rows, size_t n_in, size_t out_bins, into):
        self.information = np.empty((rows, n_in)) if into is None else into
        if self.information.shape != (rows, n_in):
            raise ValueError(f"room for {self.information.shape}, not {(rows, n_in)}")
        self.marginal = np.zeros((rows, out_bins))
        self.bound, self.outside = np.zeros(rows), np.zeros(rows)
        cdef double[:, ::1] a = self.information, b = self.marginal
        cdef double[::1] c = self.bound, d = self.outside
        self.out.information = &a[0, 0] if n_in else NULL
        self.out.marginal, self.out.bound, self.out.outside = &b[0, 0], &c[0], &d[0]


cdef ExactRows exact_rows(CoreChannel channel, size_t start, size_t stop, int32_t[::1] cancel,
                          bint information, bint alone, into):
    """Run the exact engine; `alone`: one input perturbed at a time."""
    cdef ExactRows rows = ExactRows(stop - start, channel.c.n_in if information else 0,
                                    channel.c.out_bins, into)
    cdef int status
    with nogil:
        if alone:
            status = ei_exact_sensitivity(&channel.c, start, stop, &cancel[0], &rows.out)
        else:
            status = ei_exact_parts(&channel.c, start, stop, &cancel[0], &rows.out)
    check(status)
    return rows


def exact_parts(CoreChannel channel, size_t start, size_t stop, int32_t[::1] cancel, into=None):
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
