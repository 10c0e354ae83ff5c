"""Quantiles of a stream of numbers that is too long to be kept.

A summary of Greenwald and Khanna (*Space-efficient online computation of quantile summaries*,
SIGMOD 2001): some of the numbers, in order, each with the least and the greatest rank that it can
have in the stream. Summaries are merged (the same, *Power-conserving computation of
order-statistics over sensor networks*, PODS 2004), and thinned so that the gaps between ranks grow
with the distance from the nearer end (Cormode, Korn, Muthukrishnan and Srivastava, *Effective
computation of biased quantiles over data streams*, ICDE 2005). Nothing is random, and the error of
every answer is known.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["QuantileSketch"]

Array = NDArray[np.float64]
Ranks = NDArray[np.int64]
Places = NDArray[np.intp]

#: Numbers that are collected before they are sorted in.
_WAITING = 1 << 15

#: A gap between ranks may be wide as this share of the distance from the stream's nearer end: at
#: the first thinning, and in what is sorted in. (An answer is off by half a gap.)
_FIRST, _FINEST = 1 / 32, 1 / 128

#: Beyond this share of the stream its ends are no longer nearer.
_MIDDLE = 1 / 16


class QuantileSketch:
    """Quantiles of a stream, in memory that does not grow with it.

    Up to ``capacity`` numbers are kept as they are, and quantiles then are those of
    :func:`numpy.quantile`. Of more, the answer is a number of the stream, and :meth:`rank_error`
    bounds how far its rank can be from the right one, whatever the numbers and their order were. It
    is at most 1/64 of the distance from the nearer end (what is given for the quantile 0.001 lies
    between the quantiles 0.00098 and 0.00102), and at most 1/1024 of the count. Should a stream
    need more than ``capacity`` numbers for that, it is less sharp, and :meth:`rank_error` says so;
    none that was tried does, sorted ones and such as were made to be hard among them. The least and
    the greatest are exact. The same stream in the same batches gives the same answers.

    Parameters
    ----------
    capacity : int
        The most numbers to keep, besides those that wait to be sorted in.

    Attributes
    ----------
    count : int
        Length of the stream so far.
    """

    def __init__(self, capacity: int = 1 << 13) -> None:
        self.count = 0
        self._capacity = capacity
        self._share = _FIRST
        self._waiting: list[NDArray[Any]] = []
        self._many = 0  # of those that wait
        self._values: Array = np.empty(0)
        self._first: Ranks = np.empty(0, np.int64)  # least and greatest rank, from 1
        self._last: Ranks = np.empty(0, np.int64)

    def add(self, values: Any) -> None:
        """Continue the stream.

        Parameters
        ----------
        values : array_like
            Of any shape; not kept.

        Raises
        ------
        ValueError
            If one of them is not finite.
        """
        flat = np.asarray(values).reshape(-1)
        if not flat.size:
            return
        if not (np.isfinite(flat.min()) and np.isfinite(flat.max())):  # NaN spreads to both
            raise ValueError("a stream with NaN or infinite numbers has no quantiles")
        self.count += flat.size
        self._waiting.append(np.sort(flat))
        self._many += flat.size
        if self._many >= _WAITING:
            self._sort_in()

    def quantile(self, q: float) -> float:
        """Return a quantile of the stream so far.

        Parameters
        ----------
        q : float
            From 0 to 1.

        Returns
        -------
        float

        Raises
        ------
        ValueError
            If the stream is empty.
        """
        at = self._place(q)
        if len(self._values) == self.count:
            return float(np.quantile(self._values, q))
        return float(self._values[at])

    def rank_error(self, q: float) -> float:
        """Return how far the rank of :meth:`quantile` can be from the right one.

        Parameters
        ----------
        q : float

        Returns
        -------
        float
            As a share of the count; 0 where the quantile is exact.
        """
        at = self._place(q)
        if len(self._values) == self.count:
            return 0.0
        rank = 1.0 + q * (self.count - 1)
        return float(max(self._last[at] - rank, rank - self._first[at])) / self.count

    def __len__(self) -> int:
        """Return how many numbers are kept."""
        return len(self._values) + self._many

    def _place(self, q: float) -> int:
        """Return which of the kept numbers is surest to have the quantile's rank."""
        if not self.count:
            raise ValueError("an empty stream has no quantiles")
        self._sort_in()
        rank = 1.0 + q * (self.count - 1)
        return int(np.argmin(np.maximum(self._last - rank, rank - self._first)))

    def _sort_in(self) -> None:
        if not self._many:
            return
        fresh = np.sort(np.concatenate(self._waiting)) if self._waiting[1:] else self._waiting[0]
        self._waiting, self._many = [], 0
        ranks = np.arange(1, fresh.size + 1)
        if len(self._values) + fresh.size > self._capacity:  # of exact ranks some are enough
            every = range(1, fresh.size + 1)
            ranks = _kept(every, every, fresh.size, _FINEST) + 1
        self._merge(fresh[ranks - 1].astype(np.float64), ranks, fresh.size)
        if len(self._values) > self._capacity:
            self._thin()

    def _thin(self) -> None:
        """Keep so few that there is room for what comes."""
        starts, stops = self._first.tolist(), self._last.tolist()
        while True:
            at = _kept(starts, stops, self.count, self._share)
            if len(at) <= self._capacity // 2:
                break
            self._share *= 1.25
        self._values = self._values[at]
        self._first, self._last = self._first[at], self._last[at]

    def _merge(self, values: Array, ranks: Ranks, count: int) -> None:
        """Take in part of ``count`` sorted numbers, whose ranks among those are known."""
        before = self.count - count  # what the older summary is of
        # Of equals the older come first.
        left = np.searchsorted(values, self._values, side="left")
        right = np.searchsorted(self._values, values, side="right")
        one, other = np.concatenate([[0], ranks]), np.concatenate([ranks, [count + 1]])
        old_first = self._first + one[left]
        old_last = self._last + other[left] - 1
        one = np.concatenate([[0], self._first])
        other = np.concatenate([self._last, [before + 1]])
        new_first, new_last = ranks + one[right], ranks + other[right] - 1
        self._values = np.concatenate([self._values, values])
        order = np.argsort(self._values, kind="stable")
        self._values = self._values[order]
        self._first = np.concatenate([old_first, new_first])[order]
        self._last = np.concatenate([old_last, new_last])[order]


def _kept(starts: Sequence[int], stops: Sequence[int], count: int, share: float) -> Places:
    """Return which numbers suffice: the fewest between whose ranks no gap is too wide.

    Parameters
    ----------
    starts, stops : sequence of int
        Each number's least and greatest rank, ascending.
    count : int
        Length of the stream.
    share : float
        Of the distance from the nearer end that a gap may be wide.
    """
    at, end = 0, len(starts) - 1
    kept = [0]
    while at < end:
        rank = starts[at]
        widest = rank + share * min(rank, _MIDDLE * count)
        from_above = (rank + share * (count + 1)) / (1.0 + share)
        at = max(at + 1, bisect_right(stops, min(widest, from_above), at + 1) - 1)
        kept.append(at)
    return np.array(kept, dtype=np.intp)
