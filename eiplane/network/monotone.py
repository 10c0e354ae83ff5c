"""Monotone pieces of a function, and their inverses by bisection."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Function", "Piece", "bisected", "unbounded"]

Array = NDArray[np.float64]
Function = Callable[[Array], Array]


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
        None on a flat piece. Without ``beyond`` the piece is continuous and strictly monotone, and
        this is its inverse on the open interval between the two values.
    beyond : callable or None
        For a piece that may jump and stand still on its way: ``inverse(y)`` is the first ``z`` of
        the piece at which the value has reached ``y``, ``beyond(y)`` the first at which it has
        passed it. The values at the ends are then taken.
    """

    start: float
    stop: float
    at_start: float
    at_stop: float
    inverse: Function | None = None
    beyond: Function | None = None

    @property
    def rising(self) -> bool:
        """Whether it nowhere falls."""
        return self.at_start <= self.at_stop

    def scaled(self, c: float, d: float) -> Piece:
        """Return the piece of ``c f + d``, for a continuous or flat one."""
        inverse = self.inverse
        return Piece(
            self.start,
            self.stop,
            c * self.at_start + d,
            c * self.at_stop + d,
            None if inverse is None else lambda y: inverse((y - d) / c),
        )


def bisected(
    function: Function, nodes: Array, values: Array, rising: bool
) -> tuple[Function, Function]:
    """Return ``inverse`` and ``beyond`` of a piece, see :class:`Piece`.

    Parameters
    ----------
    function : callable
    nodes : ndarray of float64, shape (n,)
        Ascending points of the piece with both of its ends, or where it is known to.
    values : ndarray of float64, shape (n,)
        The function there.
    rising : bool

    Returns
    -------
    inverse, beyond : callable
        The least double found by bisection between two nodes; the last node where there is none.
    """
    sign = 1.0 if rising else -1.0
    steps = np.maximum.accumulate(sign * values)
    # Next to 0 doubles go on to 1e-308; nobody needs a place to that.
    least = 2.0**-90 * max(abs(float(nodes[0])), abs(float(nodes[-1])))

    def search(y: Array, strict: bool) -> Array:
        wanted = sign * np.asarray(y, dtype=np.float64)
        at = np.searchsorted(steps, wanted, side="right" if strict else "left")
        low, high = nodes[np.maximum(at - 1, 0)], nodes[np.minimum(at, len(nodes) - 1)]
        while True:
            middle = 0.5 * (low + high)
            going = (middle > low) & (middle < high) & (high - low > least)
            if not going.any():
                return high
            value = sign * function(middle)
            there = value > wanted if strict else value >= wanted
            high = np.where(going & there, middle, high)
            low = np.where(going & ~there, middle, low)

    return (lambda y: search(y, False)), (lambda y: search(y, True))


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
            high = np.maximum(start + 1.0, 2.0 * y + 50.0)
        if math.isinf(start):
            low = np.full(y.shape, -800.0)
        for _ in range(1100):
            middle = 0.5 * (low + high)
            above = (function(middle) >= y) == rising
            stuck = (middle <= low) | (middle >= high)
            if stuck.all():
                break
            high = np.where(above, middle, high)
            low = np.where(above, low, middle)
        return high

    return inverse
