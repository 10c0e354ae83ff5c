"""What float64 can hold of a layer: how large numbers may be, and how narrow ranges."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["FAR", "LEAST", "MAX_BINS", "MOST", "as_float", "resolved"]

#: The greatest size of a weight, a bias, an end of a range or a pre-activation, and the least width
#: of a range: beyond them squares leave float64.
MOST, LEAST = 1e150, 1e-150

#: The greatest number of single precision: that a computed range ends beyond it says nothing.
FAR = 2.0**128

#: The largest number of bins; the paper goes to 256.
MAX_BINS = 1024

#: The least width of a bin in units in the last place, so that numbers tell bins apart.
_UNITS = 1024.0


def as_float(value: Any) -> float:
    """Return a real number as a float.

    Parameters
    ----------
    value : real number
        Of Python or of NumPy, whose half and single precision cannot be held against :data:`MOST`.

    Returns
    -------
    float
        Infinite where a float cannot be as large.
    """
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def resolved(pair: tuple[float, float], bins: int) -> bool:
    """Return whether float64 tells apart the bins of a range, and enough numbers in each.

    Parameters
    ----------
    pair : tuple of float
        Finite, low below high.
    bins : int

    Returns
    -------
    bool
    """
    lo, hi = pair
    return hi - lo >= max(LEAST, bins * _UNITS * math.ulp(max(abs(lo), abs(hi))))
