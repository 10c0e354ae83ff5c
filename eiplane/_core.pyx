"""The bridge to the compiled core: arrays in, GIL released, status to exception.

Nothing is checked here beyond what keeps memory safe; callers validate. Not public. One extension
module: the parts that follow the folders of csrc are included below.
"""

from libc.math cimport INFINITY, sqrt
from libc.stddef cimport size_t
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

import numpy as np

from ._csrc cimport *

if ei_active() == NULL:
    raise ImportError("this build of eiplane has only kernels that this CPU cannot run: see EIPLANE_ONLY"
                      " in setup.py")

FOLLOWED = EI_FOLLOWED
UNIT = EI_UNIT
FINE = EI_FINE

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


cdef class CoreStages:
    """The stages of a channel as C sees them; keeps their arrays alive."""

    cdef ei_stage *stages
    cdef ei_function *functions
    cdef size_t n
    cdef list kept

    def __cinit__(self):
        self.stages = NULL
        self.functions = NULL

    def __init__(self, stages):
        cdef const double[:, ::1] weight, polynomials
        cdef const double[::1] bias, knots
        cdef const int32_t[::1] rule
        cdef size_t i, used = 0
        self.n, self.kept = <size_t>len(stages), []
        total = sum(len(s.activation.distinct) for s in stages if not s.width)
        self.stages = <ei_stage *>calloc(self.n + 1, sizeof(ei_stage))
        self.functions = <ei_function *>calloc(total + 1, sizeof(ei_function))
        if self.stages == NULL or self.functions == NULL:
            raise MemoryError
        for i, stage in enumerate(stages):
            self.stages[i].n_in, self.stages[i].n_out = stage.n_in, stage.n_out
            self.stages[i].width = stage.width
            if stage.width:
                continue
            weight, bias = stage.weight, stage.bias
            self.kept += [weight, bias]
            self.stages[i].weight, self.stages[i].bias = &weight[0, 0], &bias[0]
            self.stages[i].functions = &self.functions[used]
            if stage.activation.rule is not None:
                rule = stage.activation.rule
                self.kept.append(rule)
                self.stages[i].function = &rule[0]
            for function, table in stage.functions():
                if table is None:
                    if not function.in_core:
                        raise ValueError(f"{function.title} needs a table")
                    parameters = (*function.parameters, 0.0, 0.0)
                    self.functions[used].activation = ACTIVATIONS[function.kind]
                    self.functions[used].p0 = parameters[0]
                    self.functions[used].p1 = parameters[1]
                else:
                    knots, polynomials = table.knots, table.polynomials
                    if polynomials.shape[1] != EI_POLYNOMIAL:
                        raise ValueError("a table's polynomials have another degree")
                    self.kept += [knots, polynomials]
                    self.functions[used].activation = EI_TABLE
                    self.functions[used].n_knots = <size_t>knots.shape[0]
                    self.functions[used].knots = &knots[0] if knots.shape[0] else NULL
                    self.functions[used].polynomials = &polynomials[0, 0]
                used += 1

    def __dealloc__(self):
        free(self.stages)
        free(self.functions)


cdef class CoreChannel:
    """A channel as C sees it; keeps its arrays alive."""

    cdef ei_channel c
    cdef list kept

    def __init__(self, channel, narrow=False):
        """``narrow``: the weights may be of float32, for the exact engine."""
        cdef const double[:, ::1] weight
        cdef const float[:, ::1] narrower
        cdef const double[::1] bias = channel.bias
        cdef const double[::1] thresholds, limits
        cdef const int32_t[::1] labels, rule
        cdef const uint16_t[::1] outside
        cdef const double[:, ::1] sums
        cdef CoreStages stages = CoreStages(channel.stages)
        thresholds, labels, limits, outside = channel.tables()
        if narrow and channel.weight.dtype == np.float32:
            narrower = channel.weight
            self.c.narrow = &narrower[0, 0]
            self.kept = [narrower]
        else:
            weight = channel.weight
            self.c.weight = &weight[0, 0]
            self.kept = [weight]
        self.kept += [bias, thresholds, labels, limits, outside, stages]
        self.c.n_out, self.c.n_last = channel.weight.shape
        self.c.n_in = <size_t>channel.n_in
        self.c.in_lo, self.c.in_hi = channel.in_lo, channel.in_hi
        self.c.in_bins, self.c.out_bins = channel.in_bins, channel.out_bins
        self.c.bias = &bias[0]
        known = channel.own_sums()
        if known is not None:
            sums = known.values
            self.kept.append(sums)
            self.c.sums = &sums[0, 0]
        self.c.n_rules = <size_t>len(channel.rules)
        if channel.rule is not None:
            rule = channel.rule
            self.kept.append(rule)
            self.c.rule = &rule[0]
        self.c.n_thresholds = <size_t>thresholds.shape[0] // self.c.n_rules
        self.c.thresholds = &thresholds[0] if thresholds.shape[0] else &bias[0]  # not read
        self.c.labels = &labels[0]
        self.c.drops = channel.drops
        self.c.n_limits = <size_t>limits.shape[0] // self.c.n_rules
        self.c.limits = &limits[0] if limits.shape[0] else &bias[0]
        self.c.outside = &outside[0]
        self.c.baseline = channel.baseline
        self.c.n_stages, self.c.stages = stages.n, stages.stages


include "_core_kernels.pxi"
include "_core_pairs.pxi"
include "_core_exact.pxi"
include "_core_joint.pxi"
include "_core_wide.pxi"
