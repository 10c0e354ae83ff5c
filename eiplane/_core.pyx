"""The bridge to the compiled core: arrays in, GIL released, status to exception.

Nothing is checked here beyond what keeps memory safe; callers validate. Not public. One extension
module: the parts that follow the folders of csrc are included below.
"""

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

import numpy as np

from ._csrc cimport *

if ei_active() == NULL:
    raise ImportError("this build of eiplane has only kernels that this CPU cannot run: see EIPLANE_ONLY"
                      " in setup.py")

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


include "_core_kernels.pxi"
include "_core_pairs.pxi"
include "_core_exact.pxi"
include "_core_joint.pxi"
include "_core_wide.pxi"
