"""Edges of a function that is only known by calling it: a part of a module.

EI parts come from points on shifted lattices, in independent replicates, as those of several layers
do (:mod:`.gathered`); for the sensitivity one input at a time is swept through its range on
shifted grids, everything else held. Nothing runs in parallel but what the function does itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .. import _core
from ..information import jackknife, never_seen
from ..network import Channel, Rule
from ..results import Pairwise
from ..run import REPLICATES, Progress, Range, points_of
from .gathered import Found, Gathered, Reduced, reduce_replicates
from .job import Job
from .measures import Measure

__all__ = ["DEFAULT_SAMPLES", "Called"]

#: Calls where no number of samples is given; edges at most; numbers of tables held at once.
DEFAULT_SAMPLES, _MOST_EDGES, _TABLES = 1 << 14, 1 << 22, 1 << 24
#: With a tolerance: where to give up.
_MOST_SAMPLES = 1 << 20
#: Points of a sweep in a bin of the input, of each of the grids.
_IN_A_BIN = 2

Array = NDArray[np.float64]
Labels = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Called:
    """A function and how its two ends are binned.

    Parameters
    ----------
    name : str
    function : callable
        Of values of shape (samples, n_in) makes those of shape (samples, n_out).
    n_in, n_out : int
    in_range, out_range : tuple of float
    bins : tuple of int
    drop : bool
        Whether outputs outside their range are left out, or put in the end bins.
    baseline : float
        Where the inputs that are not perturbed are held, for the sensitivity.
    progress : callable or None
    """

    name: str
    function: Callable[[Array], Array]
    n_in: int
    n_out: int
    in_range: Range
    out_range: Range
    bins: tuple[int, int]
    drop: bool
    baseline: float
    progress: Progress | None = None

    def __post_init__(self) -> None:
        if self.n_in * self.n_out > _MOST_EDGES:
            raise ValueError(
                f"layer {self.name!r}: from {self.n_in} to {self.n_out} numbers there are "
                f"{self.n_in * self.n_out} edges, and at most {_MOST_EDGES} are measured; take a "
                "smaller input_size or a shorter span"
            )

    def measure(
        self, which: Measure, key: int, samples: int | None, tol: float | None = None
    ) -> Pairwise:
        """Return ``I(x_A; y_B)`` of every edge, with all inputs perturbed or one at a time.

        Parameters
        ----------
        which : {"ei_parts", "sensitivity"}
        key : int
            Of the random numbers.
        samples : int or None
            Calls in all, about; a sweep takes at least two points in a bin for each of 16 grids.
        tol : float, optional
            Take four times as many until the error of the sum is below this, up to ``samples``.
        """
        run = self._parts if which == "ei_parts" else self._sweeps
        count = DEFAULT_SAMPLES if samples is None or tol is not None else samples
        found = run(key, count)
        most = _MOST_SAMPLES if samples is None else samples
        while tol is not None and found.total_stderr > tol and count < most:
            count = min(4 * count, most)
            found = run(key, count)
        return found

    # -- all inputs perturbed

    def _parts(self, key: int, samples: int) -> Pairwise:
        each = -(-samples // REPLICATES)
        given, found, outside = [], [], 0
        for r in range(REPLICATES):
            self._tell(r, REPLICATES, "EI_parts")
            points = _core.CorePoints(points_of(key, r, self.n_in))
            padded = -(-each // 64) * 64
            draws = np.stack([points.draw(k, 0, padded)[:each] for k in range(self.n_in)])
            given.append(_bins_of(draws, self.bins[0]))
            labels, out = self._labels(self.function(self._values(draws).T))
            found.append(labels)
            outside += out
        self._tell(REPLICATES, REPLICATES, "EI_parts")
        cells = self.bins[0] * (self.bins[1] + 1)
        step = max(1, _TABLES // (cells * self.n_in * REPLICATES))
        used = each * REPLICATES
        gathered = Gathered(self.n_out, self.n_in, self.bins[0], used)
        for first in range(0, self.n_out, step):
            some = slice(first, first + step)
            tables = [self._tables(x, y[some]) for x, y in zip(given, found, strict=True)]
            gathered.add(self._reduced(np.stack(tables), each), first)
        return gathered.pairwise(outside / (used * self.n_out))

    def _reduced(self, tables: Array, each: int) -> Found:
        """Return what replicates' tables say, (replicates, outputs, inputs, in_bins, out_bins)."""
        n_out, (in_bins, out_bins) = tables.shape[1], self.bins
        rule = Rule(np.arange(1.0, out_bins), np.arange(out_bins, dtype=np.int32))
        channel = Channel(
            self.name, np.zeros((n_out, self.n_in)), np.zeros(n_out), 0.0, 1.0, in_bins, out_bins,
            (rule,),
        )  # fmt: skip
        job = Job(0, 0, n_out, 0, self.n_in, 0, each, masks=0)
        outside = np.zeros((REPLICATES, n_out), np.uint64)
        counts = np.concatenate([tables.reshape(REPLICATES, -1), outside], axis=1, dtype=np.uint64,
                                casting="unsafe")  # fmt: skip
        return reduce_replicates(Reduced(channel, job, job, counts))

    def _values(self, draws: NDArray[np.uint32]) -> Array:
        scale = (self.in_range[1] - self.in_range[0]) / 4294967296.0
        return np.asarray(self.in_range[0] + (draws + 0.5) * scale, np.float64)

    def _labels(self, values: Array) -> tuple[Labels, int]:
        """Return the outputs' bins, (n_out, samples), and how many values lay outside."""
        low, high = self.out_range
        at = np.floor((values.T - low) * (self.bins[1] / (high - low)))
        beyond = (low > values.T) | (high < values.T)
        labels = np.clip(at, 0, self.bins[1] - 1)
        if self.drop:
            labels[beyond] = self.bins[1]
        return labels.astype(np.int32), int(np.count_nonzero(beyond))

    def _tables(self, given: Labels, found: Labels) -> Array:
        """Return the counts of all edges; shape (outputs, inputs, in_bins, out_bins)."""
        x, y = _one_hot(given, self.bins[0]), _one_hot(found, self.bins[1])
        counts = (y @ x.T).reshape(len(found), self.bins[1], len(given), self.bins[0])
        return np.asarray(counts.transpose(0, 2, 3, 1), np.float64)

    # -- one at a time

    def _sweeps(self, key: int, samples: int) -> Pairwise:
        least = REPLICATES * self.bins[0] * _IN_A_BIN
        each = max(samples // self.n_in, least) // REPLICATES // self.bins[0] * self.bins[0]
        columns, outside = [], 0
        for a in range(self.n_in):
            self._tell(a, self.n_in, "sensitivity")
            seed = np.random.SeedSequence([key, a])
            offset = seed.generate_state(REPLICATES, np.uint32)[:, None] / 4294967296.0
            u = ((np.arange(each) + offset) / each).ravel()
            values = np.full((len(u), self.n_in), self.baseline)
            values[:, a] = self.in_range[0] + u * (self.in_range[1] - self.in_range[0])
            labels, out = self._labels(self.function(values))
            outside += out
            given = np.minimum(u * self.bins[0], self.bins[0] - 1).astype(np.int32)[None]
            tables = [
                self._tables(given[:, cut], labels[:, cut])
                for cut in (slice(r * each, (r + 1) * each) for r in range(REPLICATES))
            ]
            columns.append(jackknife(np.stack(tables)))
        self._tell(self.n_in, self.n_in, "sensitivity")
        used = each * REPLICATES
        plugin, corrected, variance = (
            np.concatenate([getattr(c, part) for c in columns], axis=1)
            for part in ("plugin", "corrected", "variance")
        )
        still = variance == 0.0
        unseen, _ = never_seen(used, 1, self.bins[0])
        # Grids of different inputs are independent.
        whole = sum(c.sum_variance for c in columns) + int(still.sum()) * unseen**2
        return Pairwise(
            corrected,
            "sample",
            samples=used,
            stderr=math.sqrt(whole),
            edges_stderr=np.sqrt(np.where(still, unseen**2, variance)),
            edges_plugin=plugin,
            outlier_fraction=outside / (used * self.n_in * self.n_out),
        )

    def _tell(self, done: int, total: int, what: str) -> None:
        if self.progress is not None:
            self.progress(done, total, f"{self.name}: {what}")


def _bins_of(draws: NDArray[np.uint32], bins: int) -> Labels:
    return ((draws.astype(np.uint64) * np.uint64(bins)) >> np.uint64(32)).astype(np.int32)


def _one_hot(labels: Labels, bins: int) -> NDArray[np.float32]:
    """Return ones where a neuron is in a bin, (neurons * bins, samples); counts are exact so."""
    hot = labels[:, None, :] == np.arange(bins, dtype=np.int32)[:, None]
    return np.asarray(hot.reshape(-1, labels.shape[1]), np.float32)
