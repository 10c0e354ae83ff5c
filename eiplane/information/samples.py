"""Mutual information of two samples, by the kernel's own binning and counting."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _core
from ..network import real_array
from ..run import Range, checked_bins, checked_range

__all__ = ["mutual_information"]


def mutual_information(
    x: ArrayLike, y: ArrayLike, bins: int | tuple[int, int] = 8, range: Any = None
) -> float:
    """Return the plug-in mutual information of two samples, in bits.

    Both are put in bins of fixed width: bin k of ``[lo, hi]`` holds
    ``lo + k w <= v < lo + (k+1) w``, the last one ``hi`` too; values outside fall in the end bins.

    Parameters
    ----------
    x, y : array_like of real numbers, shape (n,)
        Paired observations.
    bins : int or (int, int)
        Number of bins of both, or of x and of y; 2 to 1024.
    range : (float, float) or ((float, float), (float, float)), optional
        Range of both, or of x and of y. Each sample's own least and greatest value when left out.

    Returns
    -------
    float
        ``sum p(i,j) log2 (p(i,j) / (p(i) p(j)))``, with the observed frequencies.

    Raises
    ------
    TypeError, ValueError
        For arrays that are not real, finite, one-dimensional, of one length and not empty, or a
        range or number of bins that is none.

    Examples
    --------
    >>> import eiplane
    >>> eiplane.mutual_information([0, 0, 1, 1], [0, 0, 1, 1], bins=2)
    1.0
    """
    first, second = (
        np.require(real_array(v, name), np.float64, ("C", "A")) for v, name in ((x, "x"), (y, "y"))
    )
    if first.ndim != 1 or first.shape != second.shape:
        raise ValueError(
            f"x and y must be one-dimensional and of one length, got shapes {first.shape} and "
            f"{second.shape}"
        )
    if not len(first):
        raise ValueError("x and y are empty")
    x_bins, y_bins = checked_bins(bins)
    if range is None:
        first, second = _moderate(first), _moderate(second)
    x_range, y_range = _ranges(range, first, second)
    table = np.zeros((x_bins, y_bins), np.uint64)
    np.add.at(table, (_binned(first, x_bins, x_range), _binned(second, y_bins, y_range)), 1)
    return float(_core.information(table)[0])


def _ranges(given: Any, x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[Range, Range]:
    if given is None:
        return _own(x), _own(y)
    pair = tuple(given) if not np.isscalar(given) else (given,)
    if len(pair) == 2 and all(np.ndim(v) == 1 for v in pair):
        return checked_range(pair[0], "range of x"), checked_range(pair[1], "range of y")
    both = checked_range(given, "range")
    return both, both


def _moderate(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return numbers near the ends of the double range in another unit, a power of two."""
    exponent = int(np.frexp(max(float(values.max()), -float(values.min())))[1])
    return np.ldexp(values, -exponent) if abs(exponent) > 1000 else values


def _own(values: NDArray[np.float64]) -> Range:
    lo, hi = float(values.min()), float(values.max())
    return (lo, hi) if lo < hi else (lo - 0.5, hi + 0.5)


def _binned(values: NDArray[np.float64], bins: int, limits: Range) -> NDArray[np.intp]:
    edges = np.linspace(*limits, bins + 1)
    return _core.label(values, edges[1:-1]).astype(np.intp)
