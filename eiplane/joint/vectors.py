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

__all__ = [
    "GROUP",
    "MEMORY",
    "CountJob",
    "Counted",
    "Counter",
    "beyond_memory",
    "open_counters",
    "rows_of",
    "unpack",
    "whole_groups",
]

Words = NDArray[np.uint64]

#: Bytes that counting may take, unless the user says otherwise.
MEMORY = 4 << 30

#: Samples of a group; units start at multiples of it.
GROUP = 64

_SMALLEST, _LARGEST = 1 << 14, 1 << 22  # samples of a unit


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
    """

    key: int
    purpose: int
    first: int
    count: int
    sets: tuple[tuple[int, ...], ...]
    pairs: tuple[tuple[int, int], ...] = ()
    margins: bool = False


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


def count_unit(unit: CountUnit) -> Counted:
    """Count the vectors of a unit."""
    core = _core.CoreChannel(unit.channel)
    job = unit.job
    budget = _core.Budget(unit.memory)
    sets, pairs = open_counters(core, job, budget)
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


def open_counters(
    core: _core.CoreChannel, job: CountJob, budget: _core.Budget
) -> tuple[list[_core.Counter], list[_core.Counter]]:
    """Return empty counters of a job's sets, and of its pairs."""
    sets = [_core.Counter(*_core.vector_size(core, rows), budget) for rows in job.sets]
    return sets, [_core.Counter(1, 64, budget) for _ in job.pairs]


def beyond_memory(channel: Channel, samples: int, memory: int, error: MemoryError) -> MemoryError:
    """Return the error of vectors that take more memory than is allowed."""
    return MemoryError(
        f"layer {channel.name!r}: the distinct vectors of {samples} samples need "
        f"more than the memory limit of {memory / 2**20:.0f} MiB ({error}); "
        "use fewer samples or raise memory_limit"
    )


class Counter:
    """Counts vectors over a growing range of samples.

    What comes out does not depend on threads or on how the samples were cut.

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
                raise beyond_memory(self._channel, samples, self._memory, error) from None

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
            self._sets, self._pairs = open_counters(core, self._job, self._budget)
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


def _renumbered(entries: Words, one: NDArray[np.uint32], two: NDArray[np.uint32]) -> Words:
    """Return the entries of a pair with other places of its two sets' vectors."""
    found = entries.copy()
    # A signed view: an index of another type would be copied.
    pair = entries[:, 0]
    first, second = (pair >> np.uint64(32)), (pair & np.uint64(0xFFFFFFFF))
    for place, own in ((first, one), (second, two)):
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
