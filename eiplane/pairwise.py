"""The sampled engine of the pairwise measures.

Work is cut by samples where the counts of a whole layer are small, else by outputs; counts are
integers and every sample's random numbers follow from its index, so the cut never shows.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from . import _core
from .channel import Channel
from .parallel import Runner, cancel_flag
from .result import Pairwise
from .sampling import Purpose, Sampling

__all__ = ["DEFAULT_SAMPLES", "ei_parts", "sensitivity"]

#: Where neither a number of samples nor a tolerance is given.
DEFAULT_SAMPLES = 100_000

#: With a tolerance: where to start, and where to give up.
FIRST_SAMPLES, MOST_SAMPLES = 1 << 14, 1 << 30

_CHUNK = 8192  # samples; the core's own
_SHARED_BYTES = 8 << 20  # counts of a layer up to here are cut by samples
_BLOCK_BYTES = 32 << 20  # counts, or output bins, of one unit
_STORED = 1 << 22  # samples whose output bins the core keeps at once


@dataclass(frozen=True)
class Job:
    """A block of work, as the core takes it: outputs, inputs (half-open) and samples."""

    key: int
    out_start: int
    out_stop: int
    in_start: int
    in_stop: int
    first: int
    count: int


@dataclass(frozen=True)
class Unit:
    """A job of one layer, with what it takes to run it anywhere.

    ``counts``, those of the whole ``job``, come with units that reduce a ``part`` of it. ``offset``
    is the layer's output that the channel's first one is, where only some rows were sent along.
    """

    channel: Channel
    job: Job
    part: Job | None = None
    counts: NDArray[np.uint64] | None = None
    offset: int = 0


@dataclass(frozen=True)
class Block:
    """The numbers of a block of edges."""

    job: Job
    information: NDArray[np.float64]
    excess: NDArray[np.float64]
    variance: NDArray[np.float64]
    second: NDArray[np.float64]
    spread: NDArray[np.int64]
    variances: NDArray[np.float64]
    dropped: NDArray[np.uint64]


def _block(job: Job, edges: _core.Edges) -> Block:
    return Block(
        job,
        edges.information,
        edges.excess,
        edges.variance,
        edges.second,
        edges.spread,
        edges.variances,
        edges.dropped,
    )


def count_unit(unit: Unit) -> NDArray[np.uint64]:
    """Return the counts of a unit."""
    return _core.pairs_count(_core.CoreChannel(unit.channel), unit.job, cancel_flag())


def reduce_unit(unit: Unit) -> Block:
    """Return the numbers of a part, from the counts of the whole."""
    assert unit.part is not None and unit.counts is not None
    channel = _core.CoreChannel(unit.channel)
    edges = _core.pairs_reduce(channel, unit.job, unit.part, unit.counts, cancel_flag())
    return _block(unit.part, edges)


def run_unit(unit: Unit) -> Block:
    """Return the numbers of a unit with every input perturbed."""
    job = unit.job
    edges = _core.pairs_run(_core.CoreChannel(unit.channel), job, cancel_flag())
    start, stop = job.out_start + unit.offset, job.out_stop + unit.offset
    return _block(replace(job, out_start=start, out_stop=stop), edges)


def single_unit(unit: Unit) -> Block:
    """Return the numbers of a unit with one input perturbed at a time."""
    edges = _core.single_run(_core.CoreChannel(unit.channel), unit.job, cancel_flag())
    return _block(unit.job, edges)


def even_cuts(total: int, parts: int, step: int = 1) -> list[tuple[int, int]]:
    """Cut ``range(total)`` into at most ``parts`` nearly equal ranges at multiples of ``step``.

    Parameters
    ----------
    total, parts, step : int

    Returns
    -------
    list of tuple of int
        Start and stop of every range; none is empty.
    """
    steps = -(-total // step)
    parts = max(1, min(parts, steps))
    bounds = [min(total, step * (steps * i // parts)) for i in range(parts + 1)]
    return [(a, b) for a, b in itertools.pairwise(bounds) if b > a]


def ei_parts(channel: Channel, sampling: Sampling, runner: Runner) -> Pairwise:
    """Sample ``I(x_A; y_B)`` of every edge with all inputs perturbed.

    Parameters
    ----------
    channel : Channel
    sampling : Sampling
    runner : Runner

    Returns
    -------
    Pairwise
    """
    return _until(channel, sampling, runner, Purpose.PAIRS, _measure_pairs)


def sensitivity(channel: Channel, sampling: Sampling, runner: Runner) -> Pairwise:
    """Sample ``I(x_A; y_B)`` of every edge with input A perturbed alone.

    Parameters
    ----------
    channel : Channel
    sampling : Sampling
    runner : Runner

    Returns
    -------
    Pairwise
    """
    return _until(channel, sampling, runner, Purpose.SINGLE, _measure_single)


def _until(
    channel: Channel,
    sampling: Sampling,
    runner: Runner,
    purpose: Purpose,
    measure: Callable[[Channel, Job, Runner], Pairwise],
) -> Pairwise:
    key = sampling.key(purpose)

    def run(samples: int) -> Pairwise:
        return measure(channel, Job(key, 0, channel.n_out, 0, channel.n_in, 0, samples), runner)

    if sampling.tol is None:
        return run(DEFAULT_SAMPLES if sampling.samples is None else sampling.samples)
    most = MOST_SAMPLES if sampling.samples is None else sampling.samples
    samples = min(FIRST_SAMPLES, most)
    while True:
        result = run(samples)
        error = result.stderr or 0.0
        if error <= sampling.tol or samples >= most:
            return result
        # The error falls as one over the root; a little more, so as not to miss by a hair.
        wanted = samples * (error / sampling.tol) ** 2 * 1.1
        samples = min(most, max(2 * samples, math.ceil(min(wanted, 64.0 * samples))))


def _measure_pairs(channel: Channel, job: Job, runner: Runner) -> Pairwise:
    core = _core.CoreChannel(channel)
    words = _core.pairs_size(core, job)
    masked = _core.pairs_masked(core)
    what = f"{channel.name}: EI_parts"
    if words * 8 <= _SHARED_BYTES:
        cuts = even_cuts(job.count, _workers(runner, 4), _CHUNK)
        units = [Unit(channel, replace(job, first=a, count=b - a)) for a, b in cuts]
        counts = reduce(np.add, runner.map(count_unit, units, what))
        parts = even_cuts(job.out_stop, _workers(runner, 2))
        tails = [
            Unit(channel, job, replace(job, out_start=a, out_stop=b), counts) for a, b in parts
        ]
        return _assemble(channel, job, runner.map(reduce_unit, tails, what))
    # Bytes that one output takes: its counts with every input, or its bins for all samples.
    cells = words * 8 // channel.n_out
    held = cells if masked or job.count > _STORED else 2 * job.count + cells // channel.n_in
    outputs = max(1, _BLOCK_BYTES // max(held, 1))
    blocks = -(-channel.n_out // outputs)
    workers = _workers(runner, 2)
    blocks = min(channel.n_out, -(-blocks // workers) * workers)
    slices = 1  # of the inputs, where even one output is too much
    if job.count > _STORED:
        slices = max(1, -(-(cells * -(-channel.n_out // blocks)) // (2 * _BLOCK_BYTES)))
    units = [
        Unit(
            channel.rows(a, b),
            replace(job, out_start=0, out_stop=b - a, in_start=start, in_stop=stop),
            offset=a,
        )
        for a, b in even_cuts(channel.n_out, blocks)
        for start, stop in even_cuts(channel.n_in, slices)
    ]
    return _assemble(channel, job, runner.map(run_unit, units, what))


def _measure_single(channel: Channel, job: Job, runner: Runner) -> Pairwise:
    cuts = even_cuts(channel.n_in, _workers(runner, 4))
    units = [Unit(channel, replace(job, in_start=a, in_stop=b)) for a, b in cuts]
    blocks = runner.map(single_unit, units, f"{channel.name}: sensitivity")
    return _assemble(channel, job, blocks, single=True)


def _workers(runner: Runner, each: int) -> int:
    """How many units to make: one for a single thread, else a few for every worker."""
    if runner.executor is None and runner.threads == 1:
        return 1
    return each * runner.threads


def _assemble(
    channel: Channel, job: Job, blocks: Sequence[Block], single: bool = False
) -> Pairwise:
    shape = (channel.n_out, channel.n_in)
    edges, excess, variance, second = (np.empty(shape) for _ in range(4))
    spread = np.zeros(_core.FOLLOWED, np.int64)
    variances = np.zeros(channel.n_in)
    dropped = 0
    for block in blocks:
        at = block.job
        where = np.s_[at.out_start : at.out_stop, at.in_start : at.in_stop]
        edges[where], excess[where] = block.information, block.excess
        variance[where], second[where] = block.variance, block.second
        if single:
            variances[at.in_start : at.in_stop] = block.variances
        else:
            spread += block.spread
        if single or at.in_start == 0:
            dropped += int(block.dropped.sum())
    if single:
        first_order = float(variances.sum())
        values = job.count * channel.n_in * channel.n_out
    else:
        influence = spread[: min(job.count, _core.FOLLOWED)] * _core.UNIT
        first_order = float(influence.var(ddof=1)) / job.count if len(influence) > 1 else 0.0
        values = job.count * channel.n_out
    # See ei_measure in csrc/ei_info.c: what noise adds to the spread, and what weak edges vary.
    noise = 2.0 * float(np.maximum(second, 0.0).sum())
    return Pairwise(
        edges - excess,
        "sample",
        samples=job.count,
        stderr=math.sqrt(max(first_order - noise, 0.0) + float(np.abs(second).sum())),
        edges_stderr=np.sqrt(variance),
        edges_plugin=edges,
        outlier_fraction=dropped / values,
    )
