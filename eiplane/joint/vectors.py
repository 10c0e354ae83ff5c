"""Counting whole binned vectors: units of work, their merging, the memory they may take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .. import _core
from ..information import Multiplicities, multiplicities
from ..network import Channel
from ..run import Runner, cancel_flag
from .budget import multiplications

__all__ = [
    "GROUP",
    "MEMORY",
    "CountJob",
    "Counted",
    "Counter",
    "rows_of",
    "unpack",
    "whole_groups",
]

Words = NDArray[np.uint64]
Places = NDArray[np.uint32] | int

#: Bytes that counting may take, unless the user says otherwise.
MEMORY = 4 << 30

#: Samples of a group; units start at multiples of it.
GROUP = 64

_SMALLEST, _LARGEST = 1 << 14, 1 << 22  # samples of a unit

#: Multiplications of a sample up to which drawing it once for every worker is cheaper than merging,
#: and workers for which that is so.
_CHEAP, _MOST_SHARDS = 256, 8


@dataclass(frozen=True)
class CountJob:
    """What to count.

    Parameters
    ----------
    key, purpose : int
        Of the random numbers.
    first, count : int
        Samples; ``first`` is a multiple of 64.
    sets : tuple of tuple of int
        Rows of each vector: r below n_in is the bin of input r, n_in + o that of output o.
    pairs : tuple of (int, int)
        Sets to be counted together.
    margins : bool
        Whether to count the bins of every output, too.
    by : int or None
        A set, one of every pair, whose vectors may be shared out among workers. Every worker then
        draws all samples and counts those that are its own, and next to nothing has to be merged;
        vectors come out in an order that depends on the number of workers. None: in order of
        appearance.
    shard, shards : int
        Which share to count, of how many.
    """

    key: int
    purpose: int
    first: int
    count: int
    sets: tuple[tuple[int, ...], ...]
    pairs: tuple[tuple[int, int], ...] = ()
    margins: bool = False
    by: int | None = None
    shard: int = 0
    shards: int = 1


def whole_groups(samples: int) -> int:
    """Return a whole number of groups of samples, at least one."""
    return max(GROUP, samples // GROUP * GROUP)


def rows_of(
    channel: Channel, inputs: Sequence[int] | None, outputs: Sequence[int] | None
) -> tuple[int, ...]:
    """Return the rows of some inputs and outputs; None for all of them."""
    n = channel.n_in
    ins = range(n) if inputs is None else inputs
    outs = range(channel.n_out) if outputs is None else outputs
    return (*ins, *(n + o for o in outs))


@dataclass(frozen=True, eq=False)
class Counted:
    """What was counted.

    Parameters
    ----------
    sets : list of ndarray of uint64, shape (distinct, words + 1)
        The vectors of every set and, in the last column, how often each occurred.
    pairs : list of ndarray of uint64, shape (distinct, 2)
        ``place in the first set << 32 | place in the second``, and how often.
    margins : ndarray of uint64, shape (n_out, out_bins), or None
    kept, outside, samples : int
        Samples counted; of which any output lay outside the output range; drawn.
    """

    sets: list[Words]
    pairs: list[Words]
    margins: Words | None
    kept: int
    outside: int
    samples: int

    def of_set(self, i: int) -> Multiplicities:
        """Return the counts of counts of a set."""
        return _multiplicities(self.sets[i][:, -1])

    def of_pair(self, i: int) -> Multiplicities:
        """Return the counts of counts of a pair of sets."""
        return _multiplicities(self.pairs[i][:, -1])


def _multiplicities(counts: Words) -> Multiplicities:
    # A table is quicker than sorting, where it is not much larger than what it counts.
    if len(counts) and counts.max() < 4 * len(counts) + 1024:
        number = np.bincount(counts.astype(np.int64))
        values = np.flatnonzero(number)
        return Multiplicities(values.astype(np.float64), number[values].astype(np.float64))
    return multiplicities(counts)


@dataclass(frozen=True)
class CountUnit:
    """A range of samples to count, and the memory for it."""

    channel: Channel
    job: CountJob
    memory: int

    @property
    def where(self) -> str:
        """Which unit this is, for errors."""
        return f"samples {self.job.first}..{self.job.first + self.job.count - 1}"


@dataclass(frozen=True)
class _CoreJob:
    key: int
    purpose: int
    first: int
    count: int
    sets: tuple[tuple[int, ...], ...]
    pairs: tuple[tuple[int, int], ...]
    margins: bool
    set_counters: list[_core.Counter]
    pair_counters: list[_core.Counter]
    by: int
    shard: int
    shards: int


def count_unit(unit: CountUnit) -> Counted:
    """Count the vectors of a unit."""
    core = _core.CoreChannel(unit.channel)
    job = unit.job
    budget = _core.Budget(unit.memory)
    sets, pairs = _counters(core, job, budget)
    margins, kept, outside = _core.joint_count(
        core,
        _CoreJob(
            job.key,
            job.purpose,
            job.first,
            job.count,
            job.sets,
            job.pairs,
            job.margins,
            sets,
            pairs,
            job.by or 0,
            job.shard,
            job.shards,
        ),
        cancel_flag(),
    )
    return Counted(
        [c.view() for c in sets],
        [c.view() for c in pairs],
        margins,
        kept,
        outside,
        job.count,
    )


def _counters(
    core: _core.CoreChannel, job: CountJob, budget: _core.Budget
) -> tuple[list[_core.Counter], list[_core.Counter]]:
    sets = [_core.Counter(*_core.vector_size(core, rows), budget) for rows in job.sets]
    return sets, [_core.Counter(1, 64, budget) for _ in job.pairs]


class Counter:
    """Counts vectors over a growing range of samples.

    What comes out does not depend on threads or on how the samples were cut, but for the order of
    the vectors.

    Parameters
    ----------
    channel : Channel
    job : CountJob
        Its ``first`` and ``count`` are not used.
    runner : Runner
    memory : int
        Bytes that the vectors may take.
    """

    def __init__(
        self, channel: Channel, job: CountJob, runner: Runner, memory: int = MEMORY
    ) -> None:
        self._channel, self._job, self._runner, self._memory = channel, job, runner, memory
        self._only: Counted | None = None  # until there is anything to merge
        self._sets: list[_core.Counter] = []
        self._pairs: list[_core.Counter] = []
        self._budget: _core.Budget | None = None
        self._margins: Words | None = None
        self._kept = self._outside = 0
        self.samples = 0

    def extend(self, samples: int) -> None:
        """Go on until so many samples are counted.

        Parameters
        ----------
        samples : int
            The total number; before this call, a multiple of 64 were counted.

        Raises
        ------
        MemoryError
            If the vectors would take more than the memory allowed. Nothing is spilled or dropped.
        """
        runner = self._runner
        workers = runner.workers
        # Units in flight may take a quarter of the memory; the rest is for what is merged.
        words = [2 + len(rows) // 6 for rows in self._job.sets] + [2] * len(self._job.pairs)
        bytes_each = sum(24 * w + 64 for w in words)
        if self._shared_out(samples - self.samples, bytes_each):
            shards = [replace(self._job, count=samples, shard=k, shards=workers)
                      for k in range(workers)]  # fmt: skip
            units = [CountUnit(self._channel, job, self._memory) for job in shards]
            parts = runner.map(count_unit, units, f"{self._channel.name}: whole vectors")
            self._merge(self._together(parts, samples))
            self.samples = samples
            return
        bound = max(_SMALLEST, self._memory // 4 // max(workers, 1) // bytes_each)
        largest = 1 << (min(_LARGEST, bound).bit_length() - 1)
        while self.samples < samples:
            units = []
            left = samples - self.samples
            each = min(largest, max(_SMALLEST, -(-left // workers)))
            each = -(-each // GROUP) * GROUP
            for _ in range(workers):
                count = min(each, samples - self.samples)
                if count <= 0:
                    break
                job = replace(self._job, first=self.samples, count=count)
                units.append(CountUnit(self._channel, job, self._memory))
                self.samples += count
            try:
                for part in runner.map(count_unit, units, f"{self._channel.name}: whole vectors"):
                    self._merge(part)
            except MemoryError as error:
                raise MemoryError(
                    f"layer {self._channel.name!r}: the distinct vectors of {samples} samples need "
                    f"more than the memory limit of {self._memory / 2**20:.0f} MiB ({error}); "
                    "use fewer samples or raise memory_limit"
                ) from None

    def _shared_out(self, samples: int, bytes_each: int) -> bool:
        """Whether workers are to have shards of the vectors, not ranges of the samples."""
        new = self.samples == 0 and self._job.by is not None
        cheap = multiplications(self._channel) <= _CHEAP and samples >= 2 * _SMALLEST
        room = samples * bytes_each <= self._memory // 4
        return new and cheap and room and 1 < self._runner.workers <= _MOST_SHARDS

    def _together(self, parts: list[Counted], samples: int) -> Counted:
        """Put shards together: what they are by, and so every pair, has nothing to merge."""
        by, core = self._job.by, _core.CoreChannel(self._channel)
        counters, _ = _counters(core, self._job, _core.Budget(self._memory))
        rows: list[list[Words]] = [[] for _ in self._job.pairs]
        before = 0
        for part in parts:
            places: list[Places] = [
                before
                if i == by
                else counter.add(np.ascontiguousarray(e[:, :-1]), np.ascontiguousarray(e[:, -1]))
                for i, (counter, e) in enumerate(zip(counters, part.sets, strict=True))
            ]
            for own, entries, (one, two) in zip(rows, part.pairs, self._job.pairs, strict=True):
                own.append(_renumbered(entries, places[one], places[two]))
            before += 0 if by is None else len(part.sets[by])
        sets = [
            np.concatenate([p.sets[i] for p in parts]) if i == by else counter.entries()
            for i, counter in enumerate(counters)
        ]
        pairs = [np.concatenate(own) for own in rows]
        kept = sum(p.kept for p in parts)
        return Counted(sets, pairs, parts[0].margins, kept, parts[0].outside, samples)

    def _merge(self, part: Counted) -> None:
        self._kept += part.kept
        self._outside += part.outside
        if part.margins is not None:
            self._margins = part.margins if self._margins is None else self._margins + part.margins
        if self._only is None and self._budget is None:
            self._only = part
            return
        if self._budget is None:
            core = _core.CoreChannel(self._channel)
            self._budget = _core.Budget(self._memory)
            self._sets, self._pairs = _counters(core, self._job, self._budget)
            assert self._only is not None
            self._add(self._only)
            self._only = None
        self._add(part)

    def _add(self, part: Counted) -> None:
        places = [
            counter.add(np.ascontiguousarray(e[:, :-1]), np.ascontiguousarray(e[:, -1]))
            for counter, e in zip(self._sets, part.sets, strict=True)
        ]
        for counter, entries, (one, two) in zip(
            self._pairs, part.pairs, self._job.pairs, strict=True
        ):
            own = _renumbered(entries, places[one], places[two])
            counter.add(np.ascontiguousarray(own[:, :1]), np.ascontiguousarray(own[:, 1]))

    def result(self) -> Counted:
        """Return what was counted so far."""
        if self._only is not None:
            sets, pairs = self._only.sets, self._only.pairs
        else:
            sets = [c.entries() for c in self._sets]
            pairs = [c.entries() for c in self._pairs]
        return Counted(sets, pairs, self._margins, self._kept, self._outside, self.samples)


def _renumbered(entries: Words, one: Places, two: Places) -> Words:
    """Return the entries of a pair with other places of its two sets' vectors.

    Parameters
    ----------
    entries : ndarray of uint64, shape (n, 2)
    one, two : ndarray of int or int
        The place of each vector, or what is to be added to all of them.
    """
    found = entries.copy()
    # A signed view: an index of another type would be copied.
    pair = entries[:, 0]
    first, second = (pair >> np.uint64(32)), (pair & np.uint64(0xFFFFFFFF))
    for place, own in ((first, one), (second, two)):
        if isinstance(own, int):
            place += np.uint64(own)
        else:
            place[:] = own[place.view(np.int64)]
    np.left_shift(first, np.uint64(32), out=first)
    np.bitwise_or(first, second, out=found[:, 0])
    return found


def unpack(vectors: Words, bins: Sequence[int]) -> NDArray[np.uint16]:
    """Return the bins of packed vectors.

    Parameters
    ----------
    vectors : ndarray of uint64, shape (n, words)
    bins : sequence of int
        Number of bins of each row of the vector.

    Returns
    -------
    ndarray of uint16, shape (rows, n)
    """
    result = np.empty((len(bins), len(vectors)), np.uint16)
    word = used = 0
    for i, b in enumerate(bins):
        bits = max(1, (b - 1).bit_length())
        if used + bits > 64:
            word, used = word + 1, 0
        result[i] = (vectors[:, word] >> np.uint64(used)) & np.uint64((1 << bits) - 1)
        used += bits
    return result
