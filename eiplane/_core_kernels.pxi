# The kernels by themselves, for tests and for single values: csrc/kernels. Included by _core.pyx.


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


def quick_activate(name, const float[::1] values):
    """Return an activation's values in single precision, and how far they can be off if `values` are right."""
    cdef size_t n = (<size_t>values.shape[0] + 15) // 16 * 16
    padded, wrong = np.zeros(n, np.float32), np.zeros(n, np.float32)
    padded[:len(values)] = values
    cdef float[::1] z = padded, error = wrong
    ei_active().quick_activate(ACTIVATIONS[name], 0.0, 0.0, &z[0], &error[0], n)
    return padded[:len(values)], wrong[:len(values)]


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
