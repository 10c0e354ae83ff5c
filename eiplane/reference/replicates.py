"""Information of independent replicates of a table, its bias and its error, in NumPy.

The information of the mean of the tables is expanded to the second order in how each replicate
differs from it: ``csrc/pairs/ei_replicates.c`` does the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .occupancy import corrected

__all__ = ["Replicated", "replicated", "replicated_variance"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Replicated:
    """What replicates say of an edge, in bits.

    Parameters
    ----------
    information, corrected, variance, doubt : float
        The plug-in estimate of all together; less its bias; the variance of that; the systematic
        error that may be left.
    first : ndarray, shape (replicates,)
        What each moves the information by, to the first order; the others staying.
    second : ndarray, shape (replicates, replicates)
        The second derivative along each two of them.
    """

    information: float
    corrected: float
    variance: float
    doubt: float
    first: Array
    second: Array


def replicated(tables: NDArray[np.int64], sharing: int = 1) -> Replicated:
    """Return the information of replicates of a table.

    Parameters
    ----------
    tables : ndarray of int64, shape (replicates, rows, columns)
        Counts; at least four replicates.
    sharing : int
        Inputs that are perturbed together; see :func:`eiplane.reference.corrected`.
    """
    n, total = len(tables), tables.sum(axis=0)
    kept = total.sum()
    rare = corrected(total, sharing)
    p = total / kept
    row, column = p.sum(axis=1, keepdims=True), p.sum(axis=0, keepdims=True)
    logs = np.log2(np.divide(p, row * column, out=np.ones_like(p), where=p > 0))
    first = ((logs - rare.information) * tables).sum(axis=(1, 2)) * n / kept
    share = tables.sum(axis=(1, 2), keepdims=True) / kept
    apart = (tables - share * total) * n / kept
    parts = [
        (apart, p, 1.0),
        (apart.sum(axis=2, keepdims=True), row, -1.0),
        (apart.sum(axis=1, keepdims=True), column, -1.0),
    ]
    second = np.zeros((n, n))
    for values, of_all, sign in parts:
        scaled = np.divide(values, np.sqrt(of_all), out=np.zeros(values.shape), where=of_all > 0)
        flat = scaled.reshape(n, -1)
        second += sign * np.log2(np.e) * flat @ flat.T
    occupied = [int((t > 0).sum()) for t in (total, total.sum(axis=0), total.sum(axis=1))]
    usual = (occupied[0] - occupied[1] - occupied[2] + 1) / (2 * kept * np.log(2))
    bias = np.trace(second) / (2 * n * (n - 1)) + rare.excess - usual
    variance = replicated_variance(first, second)
    return Replicated(
        rare.information, float(rare.information - bias), variance, rare.doubt, first, second
    )


def replicated_variance(first: Array, second: Array) -> float:
    """Return the variance of the information, or of a sum of it, from both orders."""
    n = len(first)
    own = np.diag(second)
    moved = first - (own - own.mean()) / (n - 2)
    q = second + (own[:, None] + own) / (n - 2) - own.sum() / ((n - 1) * (n - 2))
    below = np.tril_indices(n, -1)
    interaction = (q[below] ** 2).sum() * 2 / (n * (n - 3))
    left = (moved**2).sum() / (n * (n - 1)) - interaction / (n * (n - 2))
    return float(max(left, 0.0) + interaction / (2 * n * (n - 1)))
