# Whole samples, filtered: csrc/joint/ei_wide.h. Included by _core.pyx.


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
             const double[:, ::1] in_hi, const double[:, ::1] out_lo,
             const double[:, ::1] out_hi, const uint8_t[::1] correct,
             const uint32_t[::1] stream, int32_t[::1] cancel):
    """Return (evidence, correction, change, cooled, h, l) of samples; see csrc/joint/ei_wide.h."""
    cdef size_t samples = <size_t>in_lo.shape[0], n_in = <size_t>weight.shape[1]
    cdef ei_wide_job j
    cdef ei_wide_out o
    cdef int status
    totals, cavities = np.zeros((4, samples)), np.zeros((2, samples, n_in))
    cdef double[:, ::1] t = totals
    cdef double[:, :, ::1] c = cavities
    if samples:
        j.n_in, j.n_out, j.pieces = n_in, <size_t>weight.shape[0], 1
        j.weight = &weight[0, 0] if j.n_out else NULL
        j.iterations, j.damping, j.tolerance = job.iterations, job.damping, job.tolerance
        j.sweeps, j.by_inputs = job.sweeps, job.by_inputs
        j.key, j.purpose = job.key, job.purpose
        o.evidence, o.correction, o.change, o.cooled = &t[0, 0], &t[1, 0], &t[2, 0], &t[3, 0]
        o.h, o.l = &c[0, 0, 0], &c[1, 0, 0]
        with nogil:
            status = ei_wide_run(&j, samples, &in_lo[0, 0], &in_hi[0, 0],
                                 &out_lo[0, 0] if j.n_out else NULL,
                                 &out_hi[0, 0] if j.n_out else NULL, &correct[0],
                                 &stream[0], &o, &cancel[0])
        check(status)
    return *totals, cavities[0], cavities[1]


cdef bounds_job(ei_bounds_job *j, job, const double[:, ::1] weight, const double[:, :, ::1] lo):
    j.n_out, j.n_in = <size_t>weight.shape[0], <size_t>weight.shape[1]
    j.weight, j.pieces = &weight[0, 0], <size_t>lo.shape[1]
    j.uniform, j.bins, j.block = job.uniform, job.bins, job.block
    j.first, j.again, j.damping = job.first, job.again, job.damping


def bounds_forward(job, const double[:, ::1] weight, const double[:, :, ::1] lo,
                   const double[:, :, ::1] hi, int32_t[::1] cancel):
    """Return log q(y) of samples, in nats; see csrc/joint/ei_bounds.h. Nothing is empty."""
    cdef ei_bounds_job j
    cdef size_t samples = <size_t>lo.shape[0]
    cdef int status
    bounds_job(&j, job, weight, lo)
    logs = np.empty(samples)
    cdef double[::1] view = logs
    with nogil:
        status = ei_bounds_forward(&j, samples, &lo[0, 0, 0], &hi[0, 0, 0], &view[0], &cancel[0])
    check(status)
    return logs


def bounds_backward(job, const double[:, ::1] weight, const double[:, :, ::1] lo,
                    const double[:, :, ::1] hi, const double[:, ::1] v, int32_t[::1] cancel):
    """Return log r(v | y) of samples, in nats; see csrc/joint/ei_bounds.h. Nothing is empty."""
    cdef ei_bounds_job j
    cdef size_t samples = <size_t>lo.shape[0]
    cdef int status
    bounds_job(&j, job, weight, lo)
    logs = np.empty(samples)
    cdef double[::1] view = logs
    with nogil:
        status = ei_bounds_backward(&j, samples, &lo[0, 0, 0], &hi[0, 0, 0], &v[0, 0], &view[0],
                                    &cancel[0])
    check(status)
    return logs


cdef ei_given_sums given_sums(const double[::1] parts, const double[::1] steps, bins):
    cdef ei_given_sums s
    s.n_parts, s.n_steps = <size_t>parts.shape[0], <size_t>steps.shape[0]
    s.parts = &parts[0] if s.n_parts else NULL
    s.steps = &steps[0] if s.n_steps else NULL
    s.bins = bins
    return s


def given_entropy(const double[::1] parts, const double[::1] steps, bins, const double[::1] cuts,
                  const int32_t[::1] kind, kinds, double half, points, double good,
                  const double[::1] all_cuts, const int32_t[::1] all_kind, int32_t[::1] cancel):
    """Return (value, error, kept, normal) of one output; see csrc/joint/ei_given.h.

    points: the fewest, those to start with, the most.
    """
    cdef ei_given_row row
    cdef ei_given_found found
    cdef int status
    row.sums = given_sums(parts, steps, bins)
    row.n_cuts, row.cuts = <size_t>cuts.shape[0], &cuts[0]
    row.kind, row.n_kinds = &kind[0], kinds
    row.half, row.good = half, good
    row.least, row.start, row.most = points
    row.n_all = <size_t>all_cuts.shape[0]
    row.all_cuts = &all_cuts[0] if row.n_all else NULL
    row.all_kind = &all_kind[0] if row.n_all else NULL
    with nogil:
        status = ei_given_entropy(&row, &found, &cancel[0])
    check(status)
    return found.value, found.error, found.kept, found.normal


def sums_highest(const double[::1] parts):
    """Return a frequency from which on the characteristic function of uniforms is negligible."""
    cdef ei_given_sums s = given_sums(parts, parts[:0], 2)
    return ei_given_highest(&s)


def sums_waves(const double[::1] parts, const double[::1] steps, bins, double step, count):
    """Return both characteristic functions at so many multiples of a frequency, from 0 on."""
    cdef ei_given_sums s = given_sums(parts, steps, bins)
    cdef size_t n = (<size_t>count + 7) // 8 * 8
    waves = np.empty((2, n))
    cdef double[:, ::1] view = waves
    with nogil:
        ei_given_of_u(&s, step, n, &view[0, 0])
        ei_given_of_s(&s, step, n, &view[1, 0])
    return waves[:, :count]
