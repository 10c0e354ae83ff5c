"""Where a layer's inputs and outputs live: interval arithmetic between layers.

What lies between two layers is a tree of :class:`RangeRule`; its leaves are the network's input,
the outputs of layers and constants. A rule is evaluated when the ranges of those are known, which
the user's settings decide. Every interval has its source: what its ends follow from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "SOURCES",
    "Context",
    "Gather",
    "Interval",
    "Join",
    "Known",
    "LayerOutput",
    "Mapped",
    "Mixture",
    "NetworkInput",
    "Norm",
    "Pairwise",
    "RangeRule",
    "Rows",
    "Scaled",
    "Unknown",
]

Array = NDArray[np.float64]

#: What a range follows from; of several the last counts.
SOURCES = ("given", "activation", "interval", "norm", "data", "assumed")

_INF = math.inf

_RANKS = {source: np.array([rank]) for rank, source in enumerate(SOURCES)}
for _rank in _RANKS.values():
    _rank.setflags(write=False)


@dataclass(frozen=True, eq=False)
class Interval:
    """An interval, or one for each row.

    Parameters
    ----------
    low, high : ndarray of float64, shape (1,) or (rows,)
        Infinite where nothing is known.
    ranks : ndarray of int, shape (1,) or (rows,)
        Where it comes from: positions in :data:`SOURCES`.
    """

    low: Array
    high: Array
    ranks: NDArray[np.intp]

    @staticmethod
    def of(low: Any, high: Any, source: str) -> Interval:
        """Return the interval of one source."""
        if isinstance(low, float) and isinstance(high, float):  # as nearly always
            low, high = np.array([low]), np.array([high])
        else:
            low = np.atleast_1d(np.asarray(low, dtype=np.float64))
            high = np.atleast_1d(np.asarray(high, dtype=np.float64))
        return Interval(low, high, _RANKS[source])

    @property
    def source(self) -> str:
        """One of :data:`SOURCES`."""
        return SOURCES[int(self.ranks.max())]

    @property
    def known(self) -> bool:
        """Whether both ends are finite everywhere."""
        return bool(np.isfinite(self.low).all() and np.isfinite(self.high).all())


class Context(Protocol):
    """What evaluating a rule needs to know."""

    @property
    def in_range_of_network(self) -> tuple[float, float]:
        """The range of the network's input."""

    def output(self, name: str, feed: Interval | None) -> tuple[float, float, str] | None:
        """Return a layer's output range and its source; None if that takes the input's range."""


@dataclass(frozen=True, eq=False)
class RangeRule:
    """How an interval follows from others."""

    operands: tuple[RangeRule, ...] = field(default=(), kw_only=True)

    def ready(self, context: Context) -> Interval | None:
        """Return the interval if it can be had without the operands."""
        return None

    def interval(self, operands: Sequence[Interval], context: Context) -> Interval:
        """Return the interval.

        Parameters
        ----------
        operands : sequence of Interval
        context : Context

        Returns
        -------
        Interval
        """
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class Unknown(RangeRule):
    """Anything."""

    def interval(self, operands: Sequence[Interval], context: Context) -> Interval:
        """Return the whole line."""
        return Interval.of(-_INF, _INF, "assumed")


@dataclass(frozen=True, eq=False)
class NetworkInput(RangeRule):
    """The network's input."""

    def interval(self, operands: Sequence[Interval], context: Context) -> Interval:
        """Return its range."""
        low, high = context.in_range_of_network
        return Interval.of(low, high, "given")


@dataclass(frozen=True, eq=False)
class Known(RangeRule):
    """A constant, or a range that something cannot leave.

    Parameters
    ----------
    low, high : array_like, shape () or (rows,)
    source : str
    """

    low: Any
    high: Any
    source: str = "interval"

    def interval(self, operands: Sequence[Interval], context: Context) -> Interval:
        """Return it."""
        return Interval.of(self.low, self.high, self.source)


@dataclass(frozen=True, eq=False)
class LayerOutput(RangeRule):
    """The outputs of a layer; the operand is the range of its inputs, of this use alone."""

    name: str

    def ready(self, context: Context) -> Interval | None:
        """Return the range that was chosen, or the activation's own."""
        found = context.output(self.name, None)
        return None if found is None else _of(found)

    def interval(self, operands: Sequence[Interval], context: Context) -> Interval:
        """Return what the layer makes of its inputs' range."""
        found = context.output(self.name, operands[0])
        assert found is not None
        return _of(found)


def _of(found: tuple[float, float, str]) -> Interval:
    return Interval.of(*found)


@dataclass(frozen=True, eq=False)
class Rows(RangeRule):
    """Some rows of the operand, in some order."""

    index: NDArray[np.intp]

    def interval(self, operands: Sequence[Interval], context: Context) -> Interval:
        """Return those rows."""
        (x,) = operands

        def taken(a: NDArray[Any]) -> NDArray[Any]:
            return a if len(a) == 1 else a[self.index]

        return Interval(taken(x.low), taken(x.high), taken(x.ranks))


@dataclass(frozen=True, eq=False)
class Gather(RangeRule):
    """Rows of several operands.

    Parameters
    ----------
    owner, index : ndarray of int, shape (rows,)
        Each row's operand, and which of its rows it is.
    """

    owner: NDArray[np.intp]
    index: NDArray[np.intp]

    def interval(self, operands: Sequence[Interval], context: Context) -> Interval:
        """Return those rows."""
        low, high = np.empty(len(self.owner)), np.empty(len(self.owner))
        ranks = np.empty(len(self.owner), dtype=np.intp)
        for k, x in enumerate(operands):
            mine = self.owner == k
            for made, known in ((low, x.low), (high, x.high), (ranks, x.ranks)):
                made[mine] = known[0] if len(known) == 1 else known[self.index[mine]]
        return Interval(low, high, ranks)


@dataclass(frozen=True, eq=False)
class Join(RangeRule):
    """The smallest interval that holds all rows of all operands, or each row's."""

    by_row: bool = False

    def interval(self, operands: Sequence[Interval], context: Context) -> Interval:
        """Return it."""
        if not operands:
            return Interval.of(-_INF, _INF, "assumed")
        if self.by_row:
            low, high = operands[0].low, operands[0].high
            for x in operands[1:]:
                low, high = np.minimum(low, x.low), np.maximum(high, x.high)
            return Interval(low, high, _worst(operands))
        low = np.array([min(x.low.min() for x in operands)])
        high = np.array([max(x.high.max() for x in operands)])
        return Interval(low, high, np.array([max(x.ranks.max() for x in operands)]))


@dataclass(frozen=True, eq=False)
class Scaled(RangeRule):
    """A scale and a shift, one or one for each row.

    Parameters
    ----------
    scale, shift : array_like, shape () or (rows,)
    """

    scale: Any
    shift: Any = 0.0

    def interval(self, operands: Sequence[Interval], context: Context) -> Interval:
        """Return the image."""
        (x,) = operands
        scale = np.atleast_1d(np.asarray(self.scale, dtype=np.float64))
        shift = np.atleast_1d(np.asarray(self.shift, dtype=np.float64))
        ends = _product(scale, x.low) + shift, _product(scale, x.high) + shift
        return Interval(np.minimum(*ends), np.maximum(*ends), _passed(x.ranks))


@dataclass(frozen=True, eq=False)
class Pairwise(RangeRule):
    """The sum, product, quotient, maximum or minimum of two signals."""

    kind: str

    def interval(self, operands: Sequence[Interval], context: Context) -> Interval:
        """Return what its corners span."""
        a, b = operands
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            if self.kind == "add":
                low, high = a.low + b.low, a.high + b.high
            elif self.kind == "sub":
                low, high = a.low - b.high, a.high - b.low
            elif self.kind == "maximum":
                low, high = np.maximum(a.low, b.low), np.maximum(a.high, b.high)
            elif self.kind == "minimum":
                low, high = np.minimum(a.low, b.low), np.minimum(a.high, b.high)
            elif self.kind == "div":
                clear = (b.low > 0) | (b.high < 0)
                c_low = np.where(clear, 1.0 / b.high, -_INF)
                c_high = np.where(clear, 1.0 / b.low, _INF)
                low, high = _spanned(a.low, a.high, c_low, c_high)
            else:
                low, high = _spanned(a.low, a.high, b.low, b.high)
        unknown = np.isnan(low) | np.isnan(high)
        low, high = np.where(unknown, -_INF, low), np.where(unknown, _INF, high)
        return Interval(low, high, _passed(_worst(operands), low, high))


@dataclass(frozen=True, eq=False)
class Mixture(RangeRule):
    """``share * a + (1 - share) * b`` of three signals: with a share in [0, 1] between a and b."""

    def interval(self, operands: Sequence[Interval], context: Context) -> Interval:
        """Return what its corners span: it is linear in each of the three."""
        share, a, b = operands
        with np.errstate(invalid="ignore", over="ignore"):
            corners = [
                _product(s, x) + _product(1.0 - s, y)
                for s in (share.low, share.high)
                for x in (a.low, a.high)
                for y in (b.low, b.high)
            ]
            low, high = np.min(corners, axis=0), np.max(corners, axis=0)
        inside = (share.low >= 0.0) & (share.high <= 1.0)  # rounding must not leave it
        low = np.where(inside, np.maximum(low, np.minimum(a.low, b.low)), low)
        high = np.where(inside, np.minimum(high, np.maximum(a.high, b.high)), high)
        unknown = np.isnan(low) | np.isnan(high)
        low, high = np.where(unknown, -_INF, low), np.where(unknown, _INF, high)
        return Interval(low, high, _passed(_worst(operands), low, high))


@dataclass(frozen=True, eq=False)
class Norm(RangeRule):
    """A layer, group or RMS norm: mean square 1 over ``size`` entries, scaled and shifted.

    Parameters
    ----------
    size : int
    centred : bool
        Whether the mean is 0 too.
    scale, shift : array_like, shape () or (rows,)
    """

    size: int
    centred: bool = True
    scale: Any = 1.0
    shift: Any = 0.0

    def interval(self, operands: Sequence[Interval], context: Context) -> Interval:
        """Return +-4, or what cannot be passed if that is less, scaled and shifted."""
        most = math.sqrt(max(self.size - 1, 0) if self.centred else self.size)
        reach = min(4.0, most) * np.abs(np.atleast_1d(np.asarray(self.scale, dtype=np.float64)))
        shift = np.atleast_1d(np.asarray(self.shift, dtype=np.float64))
        return Interval.of(shift - reach, shift + reach, "norm")


@dataclass(frozen=True, eq=False)
class Mapped(RangeRule):
    """An elementwise function of the operand.

    Parameters
    ----------
    function : callable
        Takes values of shape (rows or 1, k); returns as many, perhaps for more rows.
    rising : bool
        Whether it is known to be monotone: the ends are enough.
    """

    function: Callable[[Array], Array]
    monotone: bool = False

    def interval(self, operands: Sequence[Interval], context: Context) -> Interval:
        """Return the image."""
        (x,) = operands
        if self.monotone:
            ends = self._at(np.stack([x.low, x.high], axis=1))
            low, high = ends.min(axis=1), ends.max(axis=1)
        else:
            low, high = self._searched(x.low, x.high)
        low, high = np.where(np.isnan(low), -_INF, low), np.where(np.isnan(high), _INF, high)
        return Interval(low, high, _passed(x.ranks, low, high))

    def _at(self, points: Array) -> Array:
        with np.errstate(all="ignore"):
            return np.asarray(self.function(points), dtype=np.float64)

    def _searched(self, low: Array, high: Array, count: int = 513) -> tuple[Array, Array]:
        """Return the extremes on intervals: a grid, and finer ones around its extremes."""
        points = _grid(low, high, count if len(low) <= 64 else 129)
        values = self._at(points)
        found = []
        for sign in (1.0, -1.0):
            at, now = points, sign * values
            best = np.nanmin(np.where(np.isnan(now), _INF, now), axis=1)
            for _ in range(12):
                i = np.argmin(np.where(np.isnan(now), _INF, now), axis=1)
                rows = np.arange(len(i))
                wide = np.broadcast_to(at, (len(i), at.shape[1]))
                left = wide[rows, np.maximum(i - 1, 0)]
                right = wide[rows, np.minimum(i + 1, at.shape[1] - 1)]
                inside = np.isfinite(left) & np.isfinite(right)
                left, right = np.where(inside, left, 0.0), np.where(inside, right, 0.0)
                at = left[:, None] + (right - left)[:, None] * np.linspace(0.0, 1.0, 33)
                now = sign * self._at(at)
                now = np.where(inside[:, None] & ~np.isnan(now), now, _INF)
                best = np.minimum(best, now.min(axis=1))
                if not inside.any() or (right - left).max() == 0:
                    break
            found.append(sign * best)
        return found[0], found[1]


def _grid(low: Array, high: Array, count: int) -> Array:
    """Return points from low to high, ends and 0 among them, even where those are infinite."""
    far = np.geomspace(1e-3, 1e12, count // 2)
    whole = np.concatenate([-far[::-1], [0.0], far])
    finite = np.isfinite(low) & np.isfinite(high)
    span = np.linspace(0.0, 1.0, len(whole))
    with np.errstate(invalid="ignore"):
        points = np.where(
            finite[:, None], low[:, None] + (high - low)[:, None] * span, whole[None, :]
        )
    points = np.concatenate([points, np.broadcast_to(whole[:: max(1, count // 64)],
                            (len(low), len(whole[:: max(1, count // 64)])))], axis=1)  # fmt: skip
    points = np.clip(points, low[:, None], high[:, None])
    points = np.sort(np.concatenate([points, low[:, None], high[:, None]], axis=1), axis=1)
    return np.asarray(points)


def _product(a: Array, b: Array) -> Array:
    with np.errstate(invalid="ignore"):
        return np.where((a == 0) | (b == 0), 0.0, a * b)


def _spanned(a_low: Array, a_high: Array, b_low: Array, b_high: Array) -> tuple[Array, Array]:
    corners = [_product(x, y) for x in (a_low, a_high) for y in (b_low, b_high)]
    return np.minimum.reduce(corners), np.maximum.reduce(corners)


def _worst(intervals: Sequence[Interval]) -> NDArray[np.intp]:
    ranks = np.broadcast_arrays(*(x.ranks for x in intervals))
    return np.asarray(np.maximum.reduce(ranks), dtype=np.intp)


_INTERVAL, _ASSUMED = SOURCES.index("interval"), SOURCES.index("assumed")


def _passed(
    ranks: NDArray[np.intp], low: Array | None = None, high: Array | None = None
) -> NDArray[np.intp]:
    """Return the sources of what was computed from intervals of some sources."""
    ranks = np.maximum(ranks, _INTERVAL)
    if low is None or high is None:
        return ranks
    bounded = np.isfinite(low) & np.isfinite(high)  # whatever it is of
    return np.where(bounded & (ranks == _ASSUMED), _INTERVAL, ranks)
