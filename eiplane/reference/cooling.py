"""The volume of a polytope by cooling, slowly: the twin of csrc/joint/ei_wide_cooling.c."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from .generator import draws

__all__ = ["cooled_volume"]

Array = NDArray[np.float64]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(7)
_NODES, _WEIGHTS = 0.5 * (_NODES + 1.0), 0.5 * _WEIGHTS
_INNER, _SHARES = np.polynomial.legendre.leggauss(24)
_INNER, _SHARES = 0.5 * (_INNER + 1.0), 0.5 * _SHARES
_BURN, _FAR, _START, _WIDTH, _PANELS = 2, 5.5, -5.0, 4.0, 8


def cooled_volume(
    faces: Array,
    limits: tuple[Array, Array],
    mean: Array,
    precision: Array | None,
    deviation: Array,
    sweeps: int,
    stream: tuple[int, int, int],
) -> float:
    """Return the logarithm of the volume of ``lo < faces u < hi``.

    Parameters
    ----------
    faces : ndarray of float64, shape (pairs, n)
    limits : tuple of ndarray of float64, shape (pairs,)
    mean : ndarray of float64, shape (n,)
        Inside.
    precision : ndarray of float64, shape (n, n), or None
        The chain takes steps along the axes of this Gaussian; None: along single inputs.
    deviation : ndarray of float64, shape (n,)
        The inputs' units, without a precision.
    sweeps : int
    stream : tuple of int
        Key, purpose and stream of the random numbers.

    Returns
    -------
    float
        In nats; right but for noise.
    """
    n = len(mean)
    units = np.diag(deviation)
    if precision is not None:
        units = np.linalg.inv(np.linalg.cholesky(precision)).T
    along = faces @ units
    lo, hi = (end - faces @ mean for end in limits)
    nearest = min(1.0, float((np.minimum(hi, -lo) / np.linalg.norm(along, axis=1)).min()))
    top = 2.0 * math.log(_FAR / nearest)
    panels = min(max(math.ceil((top - _START) / _WIDTH), 1), _PANELS)
    width = (top - _START) / panels
    key, purpose, which = stream
    count = 2 * n * (_BURN + sweeps) * panels * len(_NODES)
    words = draws(key, which, 0, -(-count // 64) * 64, purpose)
    chances = iter((words.astype(float) + 0.5) / 2.0**32)
    v, total, mean_square = np.zeros(n), 0.0, 0.0
    for p in range(panels)[::-1]:
        for node, weight in zip(_NODES[::-1], _WEIGHTS[::-1], strict=True):
            cold, seen = math.exp(_START + width * (p + node)), []
            for _ in range(_BURN + sweeps):
                seen.append(_sweep(v, cold, along, lo, hi, chances))
            mean_square = float(np.mean(seen[_BURN:]))
            total += 0.5 * width * weight * cold * mean_square
    total += 0.5 * math.exp(_START) * mean_square
    total += 0.5 * n * (math.log(2.0 * math.pi) - top)
    return total + float(np.log(np.abs(np.linalg.det(units))))


def _sweep(
    v: Array, cold: float, along: Array, lo: Array, hi: Array, chances: Iterator[float]
) -> float:
    """Go through the coordinates once, in place; return the mean of ``|v|**2``."""
    total, reach = 0.0, 6.5 / math.sqrt(cold)
    for k in range(len(v)):
        chance, place = next(chances), next(chances)
        z = along @ v
        moving = along[:, k] != 0.0
        ends = np.stack([lo - z, hi - z])[:, moving] / along[moving, k]
        a, b = v[k] + ends.min(axis=0).max(), v[k] + ends.max(axis=0).min()
        s = max(a, -reach) + (min(b, reach) - max(a, -reach)) * _INNER
        mass = _SHARES * np.exp(-0.5 * cold * s * s)
        total += float(mass @ (s * s) / mass.sum())
        slice_ = math.sqrt(v[k] ** 2 - 2.0 * math.log(chance) / cold)
        a, b = max(a, -slice_), min(b, slice_)
        v[k] = a + (b - a) * place
    return total
