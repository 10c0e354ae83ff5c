"""Functions as piecewise polynomials, for the compiled core to evaluate.

The activation of a layer that is measured is never evaluated; those before it, in a span or a
pooling, are. The core knows the common ones itself. Any other is handed to it as a table, right to
about 1e-13 of its size, with every jump between the two doubles where it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from .monotone import Function
from .numeric import evaluated, grid, jumps_in

__all__ = ["TERMS", "Table", "tabulated"]

Array = NDArray[np.float64]

#: Coefficients of a polynomial; see csrc.
TERMS = 8

_ACCURACY = 1e-13
_MOST = 1 << 16  # polynomials
_EACH = 8  # samples of the grid that a first polynomial spans
_LOOK_FOR_JUMPS, _DEEPEST = 5, 60  # halvings

_NODES = chebyshev.chebpts1(TERMS)
_CHECKS = np.append(2.0 * (np.arange(1, 3 * TERMS) * 0.6180339887498949 % 1.0) - 1.0, [-1.0, 1.0])
# From values at the nodes to coefficients of powers.
_FIT = np.linalg.inv(np.vander(_NODES, increasing=True))
_POWERS = np.vander(_CHECKS, TERMS, increasing=True)


@dataclass(frozen=True, eq=False)
class Table:
    """A piecewise polynomial.

    Parameters
    ----------
    knots : ndarray of float64, shape (n - 1,)
        Ascending; polynomial j holds where j knots are ``<= z``.
    polynomials : ndarray of float64, shape (n, 2 + TERMS)
        Centre, one over the half width, and the coefficients of the powers of their
        ``(z - centre) / half width``, the constant one first.
    """

    knots: Array
    polynomials: Array

    def __call__(self, z: Array) -> Array:
        """Return the values, operation for operation as the core computes them."""
        row = self.polynomials[np.searchsorted(self.knots, z, side="right")]
        u = (z - row[..., 0]) * row[..., 1]
        value = row[..., -1]
        for k in range(TERMS - 2, -1, -1):
            value = value * u + row[..., 2 + k]
        return value


def tabulated(function: Function, low: float, high: float, title: str) -> Table:
    """Return a function as a table.

    Parameters
    ----------
    function : callable
    low, high : float
        Where it is needed, finite; ``low <= high``.
    title : str
        What to call it in errors.

    Returns
    -------
    Table

    Raises
    ------
    TypeError, ValueError
        For a function that gives no finite float64 numbers there, or is too rough.
    """
    if not low < high:
        value = evaluated(function, np.array([low]), title)
        return Table(np.empty(0), np.array([[low, 0.0, *value, *np.zeros(TERMS - 1)]]))
    ends = grid(low, high)
    ends = np.unique(np.concatenate([ends[::_EACH], ends[-1:], ends[ends == 0.0]]))
    start, stop = ends[:-1], ends[1:]
    done_start, done = [], []
    size = float(np.abs(evaluated(function, ends, title)).max())
    for depth in range(_DEEPEST):
        middle, half = 0.5 * (start + stop), 0.5 * (stop - start)
        last = np.maximum(np.nextafter(stop, -np.inf), start)  # the end itself is the next one's
        places = np.clip(middle + half * np.append(_NODES, _CHECKS)[:, None], start, last)
        values = evaluated(function, places, title)
        series = _FIT @ values[:TERMS]
        error = np.abs(_POWERS @ series - values[TERMS:]).max(axis=0)
        most = np.abs(values).max(axis=0)
        # Where it is small beside its own size elsewhere a little less will do.
        allowed = _ACCURACY * np.maximum(most, 1e-2 * min(size, 1.0))
        # What the rounding of z makes of it where it is steep.
        spread = values.max(axis=0) - values.min(axis=0)
        allowed += 1e-15 * np.abs(middle) * spread / np.where(half > 0.0, half, 1.0)
        good = (error <= allowed) | (middle <= start) | (middle >= stop)
        done_start.append(start[good])
        scale = np.where(half[good] > 0.0, 1.0 / np.where(half > 0.0, half, 1.0)[good], 0.0)
        done.append(np.concatenate([[middle[good], scale], series[:, good]]).T)
        start, stop, middle = start[~good], stop[~good], middle[~good]
        if not len(start):
            break
        if sum(map(len, done_start)) + 2 * len(start) > _MOST:
            raise ValueError(f"{title}: is too rough to be tabulated from {low:g} to {high:g}")
        after, before = middle.copy(), middle.copy()
        if depth >= _LOOK_FOR_JUMPS:
            found = jumps_in(function, start, stop, title)
            before = np.where(found.real, found.before, middle)
            after = np.where(found.real, found.after, middle)
        start, stop = np.concatenate([start, after]), np.concatenate([before, stop])
        empty = start > stop
        start, stop = start[~empty], stop[~empty]
    starts, rows = np.concatenate(done_start), np.concatenate(done)
    order = np.argsort(starts, kind="stable")
    knots = starts[order][1:]
    return Table(np.ascontiguousarray(knots), np.ascontiguousarray(rows[order]))
