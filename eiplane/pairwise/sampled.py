"""The sampled engine of the pairwise measures.

Work is cut by samples where the counts of a whole layer are small, else by outputs; counts are
integers and every sample's random numbers follow from its index, so the cut never shows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _core
from ..network import Channel
from ..results import Pairwise
from ..run import Purpose, Runner, Sampling, cancel_flag, even_cuts
from . import replicated
from .job import Job, evaluation
from .measures import Measure

__all__ = ["DEFAULT_SAMPLES", "ei_parts", "measure", "sensitivity"]

#: Where neither a number of samples nor a tolerance is given.
DEFAULT_SAMPLES = 100_000

#: With a tolerance: where to start, and where to give up.
FIRST_SAMPLES, MOST_SAMPLES = 1 << 14, 1 << 30

_GRAIN = 512  # samples; a vector of the core's masks
_SHARED_BYTES = 8 << 20  # counts of a layer up to here may be cut by samples
_MOST_BYTES = 32 << 20  # the same where there are few outputs to cut by
_SENT_BYTES = 1 << 20  # where they are sent around: up to here they are, always
_FEWEST = 64  # outputs for which drawing all inputs once more is no great matter
_BLOCK_BYTES = 32 << 20  # counts, or output bins, of one unit
_UNIT_EDGES = 1 << 20  # edges of a unit that is sent away: 8 MiB there, 24 MiB back

# What work takes a core, roughly (bench/roofline.py measures it): an increment with masks, one
# without, a draw put in its place in sorted order, a measured edge.
_MASKED, _SCATTERED = 0.2e-9, 1.2e-9
_SORTED, _MEASURED = 3e-9, 2e-6
#: Seconds up to which work is done right here: Ctrl-C is not heard meanwhile.
_SHORT = 0.1


#: What the core finds of every edge, in bits, and in what it travels: errors of errors in half the
#: bytes. See ep_corrected in csrc/pairs/ei_occupancy.h.
_EDGES = {
    "information": np.float64, "excess": np.float64, "variance": np.float64,
    "second": np.float32, "noise": np.float32, "doubt": np.float32,
}  # fmt: skip

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Unit:
    """A job of one layer, with what it takes to run it anywhere and no more.

    ``counts``, those of the whole ``job``, come with units that reduce a ``part`` of it. ``offset``
    is the layer's output that the channel's first one is, where only some rows were sent along; the
    job's ``stream`` is the input that its first column is.
    """

    channel: Channel
    job: Job
    part: Job | None = None
    counts: NDArray[np.uint64] | None = None
    offset: int = 0

    @property
    def whole(self) -> Job:
        """The job (or the part of it) in the layer's own numbering."""
        job = self.part or self.job
        return replace(
            job,
            out_start=job.out_start + self.offset,
            out_stop=job.out_stop + self.offset,
            in_start=job.in_start + job.stream,
            in_stop=job.in_stop + job.stream,
            stream=0,
        )

    @property
    def where(self) -> str:
        """Which unit this is, for errors."""
        return self.whole.where


@dataclass(frozen=True, eq=False)
class Block:
    """The numbers of a block of edges, as they travel: ``job`` in the layer's own numbering."""

    job: Job
    edges: Mapping[str, NDArray[np.floating]]  # see _EDGES
    dropped: NDArray[np.uint64]
    spread: NDArray[np.int64] | None = None
    variances: NDArray[np.float64] | None = None


def _block(unit: Unit, edges: _core.Edges) -> Block:
    found = {name: getattr(edges, name).astype(kind, copy=False) for name, kind in _EDGES.items()}
    return Block(unit.whole, found, edges.dropped, edges.spread)


def count_unit(unit: Unit) -> NDArray[np.uint64]:
    """Return the counts of a unit."""
    return _core.pairs_count(_core.CoreChannel(unit.channel), unit.job, cancel_flag())


def reduce_unit(unit: Unit) -> Block:
    """Return the numbers of a part, from the counts of the whole."""
    assert unit.part is not None and unit.counts is not None
    channel = _core.CoreChannel(unit.channel)
    return _block(
        unit, _core.pairs_reduce(channel, unit.job, unit.part, unit.counts, cancel_flag())
    )


def run_unit(unit: Unit) -> Block:
    """Return the numbers of a unit with every input perturbed."""
    return _block(unit, _core.pairs_run(_core.CoreChannel(unit.channel), unit.job, cancel_flag()))


def single_unit(unit: Unit) -> Block:
    """Return the numbers of a unit with one input perturbed at a time."""
    edges = _core.single_run(_core.CoreChannel(unit.channel), unit.job, cancel_flag())
    return replace(_block(unit, edges), spread=None, variances=edges.variances)


def measure(which: Measure, channel: Channel, sampling: Sampling, runner: Runner) -> Pairwise:
    """Sample ``I(x_A; y_B)`` of every edge.

    Parameters
    ----------
    which : {"ei_parts", "sensitivity"}
        With all inputs perturbed, or with input A perturbed alone.
    channel : Channel
    sampling : Sampling
    runner : Runner

    Returns
    -------
    Pairwise
    """
    purpose, engine = _MEASURES[which]
    key = sampling.key(purpose)

    def run(samples: int) -> Pairwise:
        if which == "ei_parts" and channel.stages and replicated.applies(channel, samples):
            return replicated.ei_parts(channel, key, samples, runner)
        return engine(channel, Job(key, 0, channel.n_out, 0, channel.n_in, 0, samples), runner)

    if sampling.tol is None:
        usual = replicated.DEFAULT_SAMPLES if channel.stages else DEFAULT_SAMPLES
        return run(usual if sampling.samples is None else sampling.samples)
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


def ei_parts(channel: Channel, sampling: Sampling, runner: Runner) -> Pairwise:
    """Sample the EI parts: :func:`measure` with all inputs perturbed."""
    return measure("ei_parts", channel, sampling, runner)


def sensitivity(channel: Channel, sampling: Sampling, runner: Runner) -> Pairwise:
    """Sample the sensitivity: :func:`measure` with one input perturbed at a time."""
    return measure("sensitivity", channel, sampling, runner)


def _measure_pairs(channel: Channel, job: Job, runner: Runner) -> Pairwise:
    core = _core.CoreChannel(channel)
    masked = _core.pairs_masked(core)
    job = replace(job, masks=int(masked))  # the same wherever the units go
    words = _core.pairs_size(core, job)
    what = f"{channel.name}: EI_parts"
    each = evaluation(channel) + channel.n_in * channel.n_out * (_MASKED if masked else _SCATTERED)
    seconds, measuring = job.count * each, channel.n_in * channel.n_out * _MEASURED
    pieces = runner.pieces(seconds)
    if _by_samples(channel, runner, words * 8, pieces):
        if words * 8 > _SHARED_BYTES:  # that many times
            pieces = min(pieces, runner.workers)
        cuts = even_cuts(job.count, pieces, _GRAIN)
        units = [Unit(channel, replace(job, first=a, count=b - a)) for a, b in cuts]
        if pieces > 1 or seconds > _SHORT:
            counts = runner.fold(count_unit, units, np.add, what)
        else:
            counts = count_unit(units[0])
        parts = even_cuts(channel.n_out, runner.pieces(measuring))
        tails = [
            Unit(channel, job, replace(job, out_start=a, out_stop=b), counts) for a, b in parts
        ]
        short = len(tails) == 1 and measuring < _SHORT
        done = runner.map(reduce_unit, tails, what, short, here=True)
        return _assemble(channel, job, done)
    held = _core.pairs_held(core, job)  # bytes that one output takes
    outputs = max(1, _BLOCK_BYTES // held)
    if runner.executor is not None:
        outputs = min(outputs, max(1, _UNIT_EDGES // channel.n_in))
    workers = min(runner.workers, pieces)
    fewest = min(_FEWEST, -(-channel.n_out // workers))
    outputs = min(outputs, max(fewest, -(-channel.n_out // pieces)))
    blocks = -(-channel.n_out // outputs)
    blocks = min(channel.n_out, -(-blocks // workers) * workers)
    # Of the inputs, where even one output is too much.
    slices = -(-(held * -(-channel.n_out // blocks)) // (2 * _BLOCK_BYTES))
    units = [
        Unit(
            channel.rows(a, b),
            replace(job, out_start=0, out_stop=b - a, in_start=start, in_stop=stop),
            offset=a,
        )
        for a, b in even_cuts(channel.n_out, blocks)
        for start, stop in even_cuts(channel.n_in, slices)
    ]
    short = len(units) == 1 and seconds + measuring < _SHORT
    return _assemble(channel, job, runner.map(run_unit, units, what, short))


def _by_samples(channel: Channel, runner: Runner, size: int, pieces: int) -> bool:
    """Whether to cut the samples, every unit counting the whole layer: `size` bytes each."""
    if channel.n_out < _FEWEST * min(pieces, runner.workers):  # too few outputs to go round
        return size <= _MOST_BYTES
    if runner.executor is not None and channel.n_out >= _FEWEST * pieces:
        return size <= _SENT_BYTES
    return size <= _SHARED_BYTES


def _measure_single(channel: Channel, job: Job, runner: Runner) -> Pairwise:
    seconds = channel.n_in * (channel.n_out * _MEASURED + job.count * _SORTED)
    if channel.stages:  # all but the first map is evaluated for every input
        seconds += channel.n_in * job.count * evaluation(channel)
    cuts = even_cuts(channel.n_in, runner.pieces(seconds))
    alone = not channel.stages and channel.baseline == 0.0  # one column says all about its input
    units = [
        Unit(channel.columns(a, b), replace(job, in_start=0, in_stop=b - a, stream=a))
        if alone
        else Unit(channel, replace(job, in_start=a, in_stop=b))
        for a, b in cuts
    ]
    what = f"{channel.name}: sensitivity"
    blocks = runner.map(single_unit, units, what, short=len(units) == 1 and seconds < _SHORT)
    return _assemble(channel, job, blocks)


#: The random numbers of each measure, and what takes a number of samples of it.
_MEASURES: dict[Measure, tuple[Purpose, Callable[[Channel, Job, Runner], Pairwise]]] = {
    "ei_parts": (Purpose.PAIRS, _measure_pairs),
    "sensitivity": (Purpose.SINGLE, _measure_single),
}


def _assemble(channel: Channel, job: Job, blocks: Sequence[Block]) -> Pairwise:
    shape = (channel.n_out, channel.n_in)
    found: dict[str, NDArray[Any]] = {n: np.empty(shape, kind) for n, kind in _EDGES.items()}
    spread = np.zeros(_core.FOLLOWED, np.int64)
    variances = np.zeros(channel.n_in)
    dropped = np.zeros(channel.n_out, np.uint64)
    single = blocks[0].variances is not None
    for block in blocks:
        at = block.job
        where = np.s_[at.out_start : at.out_stop, at.in_start : at.in_stop]
        for name in _EDGES:
            found[name][where] = block.edges[name]
        if block.variances is not None:
            variances[at.in_start : at.in_stop] = block.variances
        elif block.spread is not None:
            spread += block.spread
        if single or at.in_start == 0:
            dropped[at.out_start : at.out_stop] += block.dropped
    if single:
        first_order = float(variances.sum())
        values = job.count * channel.n_in * channel.n_out
    else:
        influence = spread[: min(job.count, _core.FOLLOWED)] * _core.UNIT
        first_order = float(influence.var(ddof=1)) / job.count if len(influence) > 1 else 0.0
        values = job.count * channel.n_out
    edges = found["information"] - found["excess"]
    return Pairwise(
        edges,
        "sample",
        samples=job.count,
        stderr=_error_of_sum(channel, edges, found, first_order, single=single),
        edges_stderr=np.sqrt(found["variance"]),
        edges_plugin=found["information"],
        outlier_fraction=int(dropped.sum()) / values,
    )


def _error_of_sum(
    channel: Channel,
    edges: Array,
    found: Mapping[str, NDArray[Any]],
    first_order: float,
    *,
    single: bool,
) -> float:
    """Return the standard error of the sum of all edges.

    Noise of different edges is independent; the doubt about their bias is not: it has a sign, and
    adds up.
    """
    noise, second, doubt = (float(found[n].sum(dtype=float)) for n in ("noise", "second", "doubt"))
    error = math.hypot(math.sqrt(max(first_order - noise, 0.0) + second), doubt)
    # Inputs share what an output's bins can tell; perturbed one at a time, each has it all.
    each = math.log2(min(channel.in_bins, channel.out_bins)) * channel.n_in
    most = each if single else min(each, math.log2(channel.out_bins))
    return max(error, float(edges.sum()) - most * channel.n_out)
