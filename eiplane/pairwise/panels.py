"""Panels on which a function is as good as its interpolant, and their nodes.

Panels begin between the places where pieces of the function are known to meet, and are cut in
halves until the polynomial through the nodes agrees with the function in between, and the function
moves by little more than one standard deviation of the noise. About a jump or a kink that nobody
told of they get shorter and shorter, until what is on them is next to nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["MOVED", "NODES", "legendre", "nodes_of", "panel_edges"]

Array = NDArray[np.float64]

#: Nodes of a panel; of the function's movement on it, at most, in standard deviations.
NODES, MOVED = 16, 1.5
#: How far an interpolant may be off, in standard deviations and beside the function's own size.
_OFF, _ROUNDING = 1e-11, 1e-14
#: Panels at first, about, and at most; shortest, of the whole.
_FIRST, _MOST, _SHORTEST = 8, 1 << 16, 1e-14


@lru_cache(maxsize=4)
def legendre(count: int) -> tuple[Array, Array]:
    """Return the nodes and weights of Gauss and Legendre on (-1, 1)."""
    points, weights = np.polynomial.legendre.leggauss(count)
    return points, weights


@lru_cache(maxsize=1)
def _between() -> tuple[Array, Array]:
    """Return places between the nodes, and what makes an interpolant's values there."""
    places = legendre(NODES + 1)[0]
    powers = np.polynomial.legendre.legvander(legendre(NODES)[0], NODES - 1)
    return places, np.polynomial.legendre.legvander(places, NODES - 1) @ np.linalg.inv(powers)


def panel_edges(
    function: Callable[[Array], Array], places: Array, std: float, longest: float = np.inf
) -> Array:
    """Return where panels meet.

    Parameters
    ----------
    function : callable
        Of an array of any shape.
    places : ndarray of float64
        Both ends, and what panels must not cross.
    std : float
        Of the noise.
    longest : float
        Length of a panel at most.

    Returns
    -------
    ndarray of float64, ascending

    Raises
    ------
    ValueError
        If there are too many.
    """
    cuts = np.unique(places)
    shortest = _SHORTEST * float(max(cuts[-1] - cuts[0], abs(cuts[0]), abs(cuts[-1])))
    longest = min(longest, float(cuts[-1] - cuts[0]) / _FIRST)
    pieces = np.ceil(np.diff(cuts) / longest)
    if not pieces.sum() <= _MOST:
        raise _too_many()
    parts = [
        np.linspace(a, b, int(n), endpoint=False)
        for a, b, n in zip(cuts[:-1], cuts[1:], pieces, strict=True)
    ]
    left = np.concatenate([*parts, cuts[-1:]])
    low, high = left[:-1], left[1:]
    done = [left]
    between, weights = _between()
    while len(low):
        middle, half = 0.5 * (low + high)[:, None], 0.5 * (high - low)[:, None]
        own = function(middle + half * legendre(NODES)[0])
        others = function(middle + half * between)
        moved = own.max(axis=1) - own.min(axis=1)
        off = np.abs(own @ weights.T - others).max(axis=1)
        allowed = _OFF * std + _ROUNDING * np.abs(own).max(axis=1)
        again = ((moved > MOVED * std) | (off > allowed)) & (half[:, 0] > shortest)
        low, high, middle = low[again], high[again], middle[again, 0]
        done.append(middle)
        if sum(map(len, done)) > _MOST:
            raise _too_many()
        low, high = np.concatenate([low, middle]), np.concatenate([middle, high])
    return np.sort(np.concatenate(done))


def _too_many() -> ValueError:
    return ValueError("its noise is too little for so wide inputs; take noise='dither'")


def nodes_of(edges: Array) -> tuple[Array, Array]:
    """Return nodes and weights of Gauss and Legendre on panels."""
    points, weights = legendre(NODES)
    half = 0.5 * np.diff(edges)[:, None]
    nodes = edges[:-1, None] + half * (points + 1.0)
    return nodes.ravel(), (half * weights).ravel()
