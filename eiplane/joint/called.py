"""Bounds of whole vectors where only edges are measured: of a part of a module."""

from __future__ import annotations

import math

import numpy as np

from ..results import Pairwise, VectorBounds
from .bounds import WIDEN, lower_bound

__all__ = ["vector_bounds"]


def vector_bounds(
    n_in: int, n_out: int, bins: tuple[int, int], parts: Pairwise | None
) -> VectorBounds:
    """Return bounds of EI and of the outputs' entropy.

    Parameters
    ----------
    n_in, n_out : int
    bins : tuple of int
    parts : Pairwise or None
        ``I(x_A; y_B)`` of every edge, sampled: taken less four standard errors.

    Returns
    -------
    VectorBounds
        Below, what each input tells of the output that knows most of it; above, what the bins of
        all inputs, and of all outputs, can tell.
    """
    high = min(n_in * math.log2(bins[0]), n_out * math.log2(bins[1]))
    low = 0.0
    if parts is not None and parts.edges_stderr is not None:
        least = np.maximum(parts.edges - WIDEN * parts.edges_stderr, 0.0)
        low = lower_bound(least, None)
    return VectorBounds((min(low, high), high), (min(low, high), n_out * math.log2(bins[1])))
