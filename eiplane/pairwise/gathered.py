"""Edges counted in replicates, put together: values, errors of edges and of their sum."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .. import _core
from ..information import never_seen
from ..network import Channel
from ..results import Pairwise
from ..run import REPLICATES, cancel_flag
from .job import Job

__all__ = ["Found", "Gathered", "Reduced", "reduce_replicates"]

#: Of Student's distribution: its variance is that much greater than a normal one's.
_FEW = (REPLICATES - 1) / (REPLICATES - 3)

_EDGES = ("plugin", "corrected", "variance", "doubt")

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Reduced:
    """A part of the edges, with the counts of all replicates."""

    channel: Channel
    job: Job
    part: Job
    counts: NDArray[np.uint64]

    @property
    def where(self) -> str:
        """Which unit this is, for errors."""
        return self.part.where


@dataclass(frozen=True, eq=False)
class Found:
    """What the replicates say of a part of the edges."""

    part: Job
    plugin: Array
    corrected: Array
    variance: Array
    doubt: Array
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    dropped: NDArray[np.uint64]


def reduce_replicates(unit: Reduced) -> Found:
    """Return the numbers of a unit."""
    channel = _core.CoreChannel(unit.channel)
    found = _core.replicates_reduce(channel, unit.job, unit.part, unit.counts, cancel_flag())
    return Found(unit.part, *found)


class Gathered:
    """Numbers of parts, added one after the other.

    Parameters
    ----------
    n_out, n_in, in_bins : int
    samples : int
        Of all replicates together.
    """

    def __init__(self, n_out: int, n_in: int, in_bins: int, samples: int) -> None:
        self._edges = {name: np.empty((n_out, n_in)) for name in _EDGES}
        self._first = np.zeros(REPLICATES, np.int64)
        self._second = np.zeros((REPLICATES, REPLICATES), np.int64)
        self._in_bins, self._samples = in_bins, samples

    def add(self, found: Found, first_out: int = 0) -> None:
        """Take up a part; ``first_out``: the output that its job counts from."""
        at = found.part
        outputs = slice(first_out + at.out_start, first_out + at.out_stop)
        for name, values in self._edges.items():
            values[outputs, at.in_start : at.in_stop] = getattr(found, name)
        self._first += found.first
        self._second += found.second

    def pairwise(self, outlier_fraction: float) -> Pairwise:
        """Return the edges when all were added."""
        edges, fine = self._edges, np.float64(_core.FINE)
        one, two = (sums.astype(np.float64) * fine for sums in (self._first, self._second))
        variance = _core.replicates_variance(one, two)
        still, doubt = edges["variance"] == 0.0, edges["doubt"]
        edge, row = never_seen(self._samples, still.shape[1], self._in_bins)
        never = int(still.all(axis=1).sum()) * row**2
        return Pairwise(
            edges["corrected"],
            "sample",
            samples=self._samples,
            stderr=math.sqrt(_FEW * variance + never + float(doubt.sum()) ** 2),
            edges_stderr=np.sqrt(np.where(still, edge**2, _FEW * edges["variance"]) + doubt**2),
            edges_plugin=edges["plugin"],
            outlier_fraction=outlier_fraction,
        )
