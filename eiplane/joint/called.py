"""Bounds of whole vectors where only edges are measured: of a part of a module."""

from __future__ import annotations

import math

import numpy as np

from ..pairwise import Called
from ..pairwise.called import DEFAULT_SAMPLES
from ..results import Pairwise, VectorBounds
from ..run import Runner
from .bounds import WIDEN, WholeBounds, lower_bound
from .modelled import Effort, modelled_bounds
from .source import FunctionSource

__all__ = ["vector_bounds"]


def vector_bounds(
    called: Called,
    parts: Pairwise | None,
    key: int | None,
    samples: int | None,
    runner: Runner,
) -> VectorBounds:
    """Return bounds of EI and of the outputs' entropy.

    Parameters
    ----------
    called : Called
    parts : Pairwise or None
        ``I(x_A; y_B)`` of every edge, sampled: taken less four standard errors.
    key : int or None
        Of the random numbers of samples of whole vectors (:mod:`.modelled`); None: none are taken.
    samples : int or None
        Calls for each of the measures; as :meth:`.pairwise.Called.measure` takes it.
    runner : Runner

    Returns
    -------
    VectorBounds
        Below, what each input tells of the output that knows most of it; above, what the bins of
        all inputs, and of all outputs, can tell; and what models of samples prove.
    """
    n_in, n_out, bins = called.n_in, called.n_out, called.bins
    high = min(n_in * math.log2(bins[0]), n_out * math.log2(bins[1]))
    low = 0.0
    if parts is not None and parts.edges_stderr is not None:
        least = np.maximum(parts.edges - WIDEN * parts.edges_stderr, 0.0)
        low = min(lower_bound(least, None), high)
    most = n_out * math.log2(bins[1])
    bounds = WholeBounds((low, high), (low, most), (0.0, most))
    if key is not None and not called.drop:
        source = FunctionSource(
            n_in, n_out, bins, np.ones(n_in, bool),
            function=called.function, in_range=called.in_range, out_range=called.out_range,
        )  # fmt: skip
        effort = Effort.of(2.0 * (DEFAULT_SAMPLES if samples is None else samples))
        bounds = bounds.within(modelled_bounds(source, key, runner, called.name, effort))
    return VectorBounds(bounds.information, bounds.entropy)
