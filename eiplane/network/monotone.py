"""Monotone pieces of a function, and their inverses by bisection."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Function", "Piece", "Samples", "Search", "places", "searched", "unbounded"]

Array = NDArray[np.float64]
Function = Callable[[Array], Array]

#: Points at which a function is evaluated at once, where few places are looked for.
_AT_ONCE = 512


@dataclass(frozen=True, eq=False)
class Samples:
    """Values of a function on a piece, between which it is found by bisection.

    Parameters
    ----------
    function : callable
    nodes : ndarray of float64, shape (n,)
        Ascending points of the piece, with the ends of it (or of what is known of it).
    values : ndarray of float64, shape (n,)
        The function there.
    """

    function: Function
    nodes: Array
    values: Array


@dataclass(frozen=True)
class Piece:
    """A stretch of ``z`` on which an activation is monotone.

    Parameters
    ----------
    start, stop : float
        Where the piece begins and ends; may be infinite.
    at_start, at_stop : float
        The activation's value, or limit, there. Equal on a flat piece.
    inverse : callable or None
        Of a continuous and strictly monotone piece in closed form: the inverse on the open interval
        between the two values.
    samples : Samples or None
        Of a piece that was found numerically. It may jump and stand still on its way, and takes the
        values at its ends.
    """

    start: float
    stop: float
    at_start: float
    at_stop: float
    inverse: Function | None = None
    samples: Samples | None = None

    @property
    def rising(self) -> bool:
        """Whether it nowhere falls."""
        return self.at_start <= self.at_stop

    def scaled(self, c: float, d: float) -> Piece:
        """Return the piece of ``c f + d``, for one in closed form."""
        inverse = self.inverse
        return Piece(
            self.start,
            self.stop,
            c * self.at_start + d,
            c * self.at_stop + d,
            None if inverse is None else lambda y: inverse((y - d) / c),
        )


@dataclass(frozen=True, eq=False)
class Search:
    """Values whose places on pieces are looked for, all at once: see :func:`places`.

    Parameters
    ----------
    low, high : ndarray of float64, shape (n,)
        Neighbouring nodes that hold the place; equal where it is a node.
    wanted : ndarray of float64, shape (n,)
        The value, times ``sign``.
    sign : ndarray of float64, shape (n,)
        1 on a rising piece, -1 on a falling one.
    strict : ndarray of bool, shape (n,)
        Whether the value must be passed, not only reached.
    """

    low: Array
    high: Array
    wanted: Array
    sign: Array
    strict: NDArray[np.bool_]


def searched(piece: Piece, reached: Array, passed: Array) -> Search:
    """Prepare the search for where a piece reaches some values and passes others, in this order."""
    assert piece.samples is not None
    sign = 1.0 if piece.rising else -1.0
    nodes = piece.samples.nodes
    steps = np.maximum.accumulate(sign * piece.samples.values)
    at = np.concatenate(
        [
            np.searchsorted(steps, sign * reached, side="left"),
            np.searchsorted(steps, sign * passed, side="right"),
        ]
    )
    wanted = sign * np.concatenate([reached, passed])
    strict = np.repeat([False, True], [len(reached), len(passed)])
    low, high = nodes[np.maximum(at - 1, 0)], nodes[np.minimum(at, len(nodes) - 1)]
    return Search(low, high, wanted, np.full(len(at), sign), strict)


def places(function: Function, searches: Sequence[Search], least: float) -> Array:
    """Return where a function first reaches, or passes, the values of searches.

    Parameters
    ----------
    function : callable
    searches : sequence of Search
    least : float
        The accuracy wanted next to 0, where doubles go on to 1e-308.

    Returns
    -------
    ndarray of float64
        For one search after the other: the least double, found by bisection.
    """
    low, high, wanted, sign = (
        np.concatenate([getattr(s, part) for s in searches])
        for part in ("low", "high", "wanted", "sign")
    )
    strict = np.concatenate([s.strict for s in searches])

    def there(middle: Array) -> NDArray[np.bool_]:
        value = sign * function(middle.ravel()).reshape(middle.shape)
        return np.asarray((value > wanted) | (~strict & (value == wanted)))

    return _halved(there, low, high, least)


def unbounded(function: Function, start: float, stop: float, rising: bool) -> Function:
    """Return the inverse of a smooth, strictly monotone function on a half line, by bisection.

    Parameters
    ----------
    function : callable
        Towards ``stop = inf`` it rises at least like z / 2; towards ``start = -inf`` it has
        vanished long before -800.
    start, stop : float
    rising : bool
    """

    def inverse(y: Array) -> Array:
        y = np.asarray(y, dtype=np.float64)
        low = np.full(y.shape, start)
        high = np.full(y.shape, stop)
        if math.isinf(stop):
            with np.errstate(over="ignore"):
                high = np.maximum(start + 1.0, 2.0 * y + 50.0)
        if math.isinf(start):
            low = np.full(y.shape, -800.0)

        def there(middle: Array) -> NDArray[np.bool_]:
            value = function(middle.ravel()).reshape(middle.shape)
            return np.asarray((value >= y) == rising)

        # Halves of numbers of doubles: next to 0 halves of lengths go on for a thousand steps.
        return _halved(there, low, high, 0.0, _between_doubles)

    return inverse


def _between(low: Array, high: Array) -> Array:
    """Return the middles of intervals."""
    return 0.5 * (low + high)


def _between_doubles(low: Array, high: Array) -> Array:
    """Return the doubles with as many doubles of an interval below as above."""
    a, b = _counted(low), _counted(high)
    middle = (a >> 1) + (b >> 1) + (a & b & 1)
    sizes: Array = np.abs(middle).view(np.float64)
    return np.where(middle < 0, -sizes, sizes)


def _counted(values: Array) -> NDArray[np.int64]:
    """Return the numbers of doubles, with 0 as number 0."""
    return np.where(np.signbit(values), -1, 1) * np.abs(values).view(np.int64)


def _halved(
    there: Callable[[Array], NDArray[np.bool_]],
    low: Array,
    high: Array,
    least: float,
    middle_of: Callable[[Array, Array], Array] = _between,
) -> Array:
    """Return the upper ends of intervals halved until no double, or less than asked, is inside.

    Few intervals are cheap to evaluate beside what a call of a function costs: all the middles that
    the next halvings can ask for are evaluated at once, and no decision is another one for it.

    Parameters
    ----------
    there : callable
        Says of points, (k, n), whether the place looked for is at or before them.
    low, high : ndarray of float64, shape (n,)
    least : float
        Narrower intervals are left as they are.
    middle_of : callable
        Gives the middles of intervals.
    """
    if not len(low):
        return high
    levels = max(1, int(math.log2(_AT_ONCE / len(low) + 1.0)))
    columns = np.arange(len(low))
    while True:
        points = _points(low, high, levels, middle_of)
        with np.errstate(all="ignore"):
            says = there(points)
        at = np.full(len(low), 1 << (levels - 1))
        for level in reversed(range(levels)):
            middle = points[at, columns]
            going = (middle > low) & (middle < high) & (high - low > least)
            if not going.any():
                return high
            here = says[at, columns]
            high = np.where(going & here, middle, high)
            low = np.where(going & ~here, middle, low)
            at += np.where(here, -((1 << level) >> 1), (1 << level) >> 1)


def _points(
    low: Array, high: Array, levels: int, middle_of: Callable[[Array, Array], Array]
) -> Array:
    """Return the ends of intervals and all middles of so many halvings between, ascending."""
    points = np.empty(((1 << levels) + 1, len(low)))
    points[0], points[-1] = low, high
    for level in reversed(range(levels)):
        half, step = 1 << level, 2 << level
        points[half::step] = middle_of(points[:-1:step], points[step::step])
    return points
