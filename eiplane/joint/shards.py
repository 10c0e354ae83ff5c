"""Counting whole vectors by threads that share memory, with nothing to merge.

First every thread draws a range of the samples and packs their vectors. Then each counts, of all of
them, the vectors of its own shard: equal vectors have equal hashes, and so are of one shard. A pair
is of the shard of its first vector. See csrc/joint/ei_shards.c.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .. import _core
from ..network import Channel
from ..run import Runner, cancel_flag, even_cuts
from .vectors import GROUP, MEMORY, Counted, CountJob, Words, beyond_memory, open_counters

__all__ = ["SharedCounter"]

Places = NDArray[np.uint32]

#: Samples that are drawn before their vectors are counted, and before pairs are, at the most.
_DRAWN, _BATCH = 1 << 18, 1 << 21


@dataclass(frozen=True, eq=False)
class _Drawn:
    """Vectors of samples: (words, samples) of every set, and the stretches of those kept."""

    keys: list[Words]
    ends: Words


@dataclass(frozen=True, eq=False)
class _DrawUnit:
    """A range of samples to draw, and what column of the arrays they begin at."""

    core: _core.CoreChannel
    job: CountJob
    keys: list[Words]
    first: int

    @property
    def where(self) -> str:
        return f"samples {self.job.first}..{self.job.first + self.job.count - 1}"


@dataclass(frozen=True, eq=False)
class _Shard:
    """Counters of a share of the vectors: ``number``, of how many."""

    number: tuple[int, int]
    sets: list[_core.Counter]
    pairs: list[_core.Counter]


def _draw(unit: _DrawUnit) -> tuple[Words | None, int, int]:
    return _core.joint_draw(unit.core, unit.job, unit.keys, unit.first, cancel_flag())


def _count_sets(unit: tuple[_Shard, _Drawn, list[Places]]) -> None:
    shard, drawn, places = unit
    for counter, keys, own in zip(shard.sets, drawn.keys, places, strict=True):
        _core.shard_vectors(counter, keys, drawn.ends, shard.number, own, cancel_flag())


def _count_pairs(unit: tuple[_Shard, list[Places], Words, CountJob]) -> None:
    shard, places, ends, job = unit
    for counter, (one, two) in zip(shard.pairs, job.pairs, strict=True):
        _core.shard_pairs(counter, places[one], places[two], ends, shard.number, cancel_flag())


def _read(unit: tuple[_core.Counter, Words]) -> None:
    counter, out = unit
    counter.read_into(out)


def _read_pairs(unit: tuple[_core.Counter, Words, Words, Words]) -> None:
    counter, one, two, out = unit
    _core.shard_places(counter, one, two, out)


class SharedCounter:
    """Counts vectors over a growing range of samples, as :class:`.vectors.Counter` does.

    What comes out does not depend on threads, but for the order of the vectors.

    Parameters
    ----------
    channel : Channel
    job : CountJob
        Its ``first`` and ``count`` are not used.
    runner : Runner
        Of threads of this process.
    memory : int
        Bytes that the vectors may take.
    """

    def __init__(
        self, channel: Channel, job: CountJob, runner: Runner, memory: int = MEMORY
    ) -> None:
        self._channel, self._job, self._runner, self._memory = channel, job, runner, memory
        self._core = _core.CoreChannel(channel)
        self._words = [_core.vector_size(self._core, rows)[0] for rows in job.sets]
        self._shards: list[_Shard] = []  # from the first sample on
        self._margins: Words | None = None
        self._kept = self._outside = 0
        self.samples = 0

    def extend(self, samples: int) -> None:
        """Go on until so many samples are counted; as :meth:`.vectors.Counter.extend`."""
        each = sum(8 * w + 4 for w in self._words)
        most = max(GROUP, min(_BATCH, self._memory // 4 // each) // GROUP * GROUP)
        while self.samples < samples:
            try:
                self._shards = self._shards or self._open()
                self._batch(min(most, samples - self.samples))
            except MemoryError as error:
                raise beyond_memory(self._channel, samples, self._memory, error) from None

    def _open(self) -> list[_Shard]:
        """Return empty counters.

        A quarter of the memory is for a batch of samples; what is counted has the rest, in equal
        parts.
        """
        shards = self._runner.workers
        budgets = [_core.Budget(3 * self._memory // 4 // shards) for _ in range(shards)]
        return [
            _Shard((k, shards), *open_counters(self._core, self._job, budget))
            for k, budget in enumerate(budgets)
        ]

    def _batch(self, count: int) -> None:
        """Count so many further samples."""
        what, shards = f"{self._channel.name}: whole vectors", self._shards
        size = min(count, _DRAWN)
        keys = [np.empty((w, size), np.uint64) for w in self._words]
        places = [np.empty(count, np.uint32) for _ in self._words]
        ends = []
        for at in range(0, count, size):
            some = min(size, count - at)
            drawn = self._draw([k if some == size else k[:, :some].copy() for k in keys])
            here = [p[at : at + some] for p in places]
            self._runner.map(_count_sets, [(s, drawn, here) for s in shards], what)
            ends.append(drawn.ends + np.uint64(at))
        if self._job.pairs:
            kept = np.concatenate(ends)
            self._runner.map(_count_pairs, [(s, places, kept, self._job) for s in shards], what)

    def _draw(self, keys: list[Words]) -> _Drawn:
        """Draw as many samples as there is room for."""
        count = keys[0].shape[1]
        cuts = even_cuts(count, self._runner.workers, GROUP)
        units = [
            _DrawUnit(self._core, replace(self._job, first=self.samples + a, count=b - a), keys, a)
            for a, b in cuts
        ]
        found = self._runner.map(_draw, units, f"{self._channel.name}: drawing vectors")
        for margins, kept, outside in found:
            self._kept, self._outside = self._kept + kept, self._outside + outside
            if margins is not None:
                self._margins = margins if self._margins is None else self._margins + margins
        self.samples += count
        ends = [(a, a + kept) for (a, _), (_, kept, _) in zip(cuts, found, strict=True)]
        return _Drawn(keys, np.array(ends, np.uint64))

    def result(self) -> Counted:
        """Return what was counted so far."""
        what, shards = f"{self._channel.name}: whole vectors", self._shards
        before: list[Words] = []
        sets, units = [], []
        for i, words in enumerate(self._words):
            at = np.cumsum([0, *(len(s.sets[i]) for s in shards)]).astype(np.uint64)
            before.append(at[:-1].copy())
            sets.append(np.empty((int(at[-1]), words + 1), np.uint64))
            units += [(s.sets[i], sets[i][a : a + len(s.sets[i])])
                      for s, a in zip(shards, at[:-1].tolist(), strict=True)]  # fmt: skip
        pairs, others = [], []
        for i, (one, two) in enumerate(self._job.pairs):
            at = np.cumsum([0, *(len(s.pairs[i]) for s in shards)])
            pairs.append(np.empty((int(at[-1]), 2), np.uint64))
            others += [(s.pairs[i], before[one], before[two], pairs[i][a : a + len(s.pairs[i])])
                       for s, a in zip(shards, at[:-1].tolist(), strict=True)]  # fmt: skip
        self._runner.map(_read, units, what)
        self._runner.map(_read_pairs, others, what)
        return Counted(sets, pairs, self._margins, self._kept, self._outside, self.samples)
