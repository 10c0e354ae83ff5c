"""The exact engine of the pairwise measures: single layers, without sampling.

The mathematics, and the bound of the error, is in ``csrc/exact``. Outputs are independent of
each other, so work is cut by outputs and the cut never shows.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from .. import _core
from ..network import Channel
from ..results import Pairwise, Totals
from ..run import EACH, Runner, cancel_flag, even_cuts
from .measures import Measure

__all__ = [
    "applies",
    "ei_parts",
    "is_small",
    "measure",
    "output_marginals",
    "sensitivity",
    "totals",
]

Array = NDArray[np.float64]
Result = TypeVar("Result")

#: Edges times cells of their tables: those of one unit of work, some milliseconds; those below
#: which starting threads costs more than the work; and those below which Ctrl-C need not be heard.
_UNIT, _SHORT, _ALONE = 1 << 24, 1 << 17, 1 << 24

#: The first unit is that much smaller where it tells how long the others take.
_PROBE = 16

#: Inputs that take as long as what is done once a row, and units for each worker where threads are
#: there already.
_ROW, _SHARES = 4000, 3

#: Inputs up to which every row is quick. An output that is hardly ever kept takes seconds of more.
_QUICK = 7


@dataclass(frozen=True)
class Rows:
    """Some outputs of a layer: what one unit computes."""

    channel: Channel
    start: int
    stop: int
    offset: int = 0  # the layer's output that the channel's first one is
    core: _core.CoreChannel | None = None  # the channel's, where the unit does not travel
    wanted: tuple[Measure, ...] = ()  # of which sums are, where no edges are kept

    @property
    def where(self) -> str:
        """Which unit this is, for errors."""
        return f"outputs {self.start + self.offset}..{self.stop + self.offset - 1}"


@dataclass(frozen=True)
class Block:
    """What came out of a unit; see ``csrc/exact/ei_exact.h``."""

    information: Array
    total: Array
    marginal: Array
    bound: Array
    outside: Array


def _block(rows: _core.ExactRows) -> Block:
    return Block(rows.information, rows.total, rows.marginal, rows.bound, rows.outside)


def _is_ready(channel: Channel) -> bool:
    """Say whether the core takes the channel's weights as they are."""
    weight = channel.weight
    return weight.dtype in (np.float64, np.float32) and weight.flags.carray


def _core_of(rows: Rows) -> tuple[_core.CoreChannel, int, int]:
    """Return the channel for the core, in float64 no more of it than is needed, and which rows."""
    if rows.core is not None:
        return rows.core, rows.start, rows.stop
    if _is_ready(rows.channel):
        return _core.CoreChannel(rows.channel, narrow=True), rows.start, rows.stop
    part = rows.channel.rows(rows.start, rows.stop)
    return _core.CoreChannel(part.widened()), 0, part.n_out


def parts_rows(rows: Rows, into: Array | None = None) -> Block:
    """Return the numbers of a unit with every input perturbed; the information in ``into``."""
    return _block(_core.exact_parts(*_core_of(rows), cancel_flag(), into))


def sensitivity_rows(rows: Rows, into: Array | None = None) -> Block:
    """Return the numbers of a unit with one input perturbed at a time."""
    return _block(_core.exact_sensitivity(*_core_of(rows), cancel_flag(), into))


def total_rows(rows: Rows) -> tuple[Block, ...]:
    """Return the numbers of a unit of all measures that are wanted, their edges summed up."""
    alone, together = ("sensitivity" in rows.wanted), ("ei_parts" in rows.wanted)
    found = _core.exact_totals(*_core_of(rows), cancel_flag(), alone, together)
    return tuple(_block(block) for block in found if block is not None)


def marginal_rows(rows: Rows) -> Block:
    """Return the probabilities of the output bins of a unit."""
    return _block(_core.exact_marginals(*_core_of(rows), cancel_flag()))


#: That in which a unit's measures come, where it has several.
_ORDER: tuple[Measure, ...] = ("sensitivity", "ei_parts")

#: What a unit of each measure runs, and what the progress calls it.
_MEASURES: dict[Measure, tuple[Callable[..., Block], str]] = {
    "ei_parts": (parts_rows, "EI_parts"),
    "sensitivity": (sensitivity_rows, "sensitivity"),
}


def applies(channel: Channel) -> bool:
    """Say whether a channel can be computed exactly: one affine map and an elementwise activation.

    Parameters
    ----------
    channel : Channel

    Returns
    -------
    bool
    """
    return not channel.stages


def measure(which: Measure, channel: Channel, runner: Runner) -> Pairwise:
    """Compute ``I(x_A; y_B)`` of every edge.

    Parameters
    ----------
    which : {"ei_parts", "sensitivity"}
        With all inputs perturbed, or with input A perturbed alone.
    channel : Channel
        One for which :func:`applies` holds.
    runner : Runner

    Returns
    -------
    Pairwise
        With ``error_bound``, the greatest error of an edge, in bits. Where outliers are dropped,
        an edge's information is that given that its output is kept, and 0 where it is kept with a
        probability below 1e-12. Outputs of many inputs (more than 16) that are rarely kept may be
        less exact, and the bound says so.
    """
    function, what = _MEASURES[which]
    edges = np.empty((channel.n_out, channel.n_in))

    def placed(rows: Rows) -> Block:
        block = function(rows, edges[rows.start : rows.stop])
        return Block(edges[:0], block.total, block.marginal, block.bound, block.outside)

    # Threads write to one place, so that the edges of a large layer are never held twice.
    here = runner.executor is None
    blocks = _run(channel, runner, placed if here else function, what)
    if not here:
        np.concatenate([b.information for b in blocks], out=edges)
    _, bound, outside = _summary(blocks)
    return Pairwise(edges, "exact", error_bound=bound, outlier_fraction=outside)


def totals(
    wanted: Sequence[Measure], channels: Sequence[Channel], runner: Runner
) -> list[dict[Measure, Totals]]:
    """Compute what :func:`measure` does, the same numbers, and keep no edge.

    Parameters
    ----------
    wanted : sequence of {"ei_parts", "sensitivity"}
    channels : sequence of Channel
        Those for which :func:`applies` holds; several, if they are small, for less time between.
    runner : Runner

    Returns
    -------
    list of dict of Totals
        Of each channel.
    """
    ordered = tuple(which for which in _ORDER if which in wanted)
    what = " and ".join(_MEASURES[which][1] for which in ordered)
    if len(channels) == 1 or runner.helpers is None:  # threads to be started: each on its own
        blocks = [_run(channel, runner, total_rows, what, ordered) for channel in channels]
    else:
        blocks = _run_all(channels, runner, what, ordered)
    found = []
    for channel, parts in zip(channels, blocks, strict=True):
        count, of = channel.n_out * channel.n_in, dict[Measure, Totals]()
        for which, mine in zip(ordered, zip(*parts, strict=True), strict=True):
            total, bound, outside = _summary(mine)
            of[which] = Totals(total, count, "exact", None, None, total, bound, outside)
        found.append(of)
    return found


def is_small(channel: Channel, before: int = 0) -> int:
    """Return a measure of a channel's work, 0 if with as much before it takes long.

    Parameters
    ----------
    channel : Channel
    before : int
        The sum of what this returned for others.

    Returns
    -------
    int
    """
    work = _work(channel)
    return work if before + work < _ALONE and _is_quick(channel) else 0


def _work(channel: Channel) -> int:
    return channel.n_in * channel.in_bins * channel.out_bins * channel.n_out


def _is_quick(channel: Channel) -> bool:
    return channel.n_in <= _QUICK or not channel.drops


def _run_all(
    channels: Sequence[Channel], runner: Runner, what: str, wanted: tuple[Measure, ...]
) -> list[list[tuple[Block, ...]]]:
    """Run the rows of small channels in one go, on threads that stay; those of each in order."""
    costs = [c.n_out * (c.n_in + _ROW) for c in channels]
    most = sum(costs) / (_SHARES * runner.workers if runner.workers > 1 else 1)
    units: list[Rows] = []
    for channel, cost in zip(channels, costs, strict=True):
        core = _core.CoreChannel(channel, narrow=True) if _is_ready(channel) else None
        cuts = even_cuts(channel.n_out, math.ceil(cost / most))
        units += [Rows(channel, a, b, core=core, wanted=wanted) for a, b in cuts]
    names = [c.name for c in (channels if len(channels) < 4 else (channels[0], channels[-1]))]
    label = (", " if len(channels) < 4 else " .. ").join(names)
    blocks = runner.map(total_rows, units, f"{label}: {what}", short=True)
    parts: dict[int, list[tuple[Block, ...]]] = {id(c): [] for c in channels}
    for unit, block in zip(units, blocks, strict=True):
        parts[id(unit.channel)].append(block)
    return list(parts.values())


def _summary(blocks: Sequence[Block]) -> tuple[float, float, float]:
    """Return the sum over the edges, the greatest error of one, and the share outside the range."""
    if len(blocks) == 1:
        return _core.summary(blocks[0].total, blocks[0].bound, blocks[0].outside)
    return _core.summary(
        np.concatenate([b.total for b in blocks]),
        np.concatenate([b.bound for b in blocks]),
        np.concatenate([b.outside for b in blocks]),
    )


def ei_parts(channel: Channel, runner: Runner) -> Pairwise:
    """Compute the EI parts: :func:`measure` with all inputs perturbed."""
    return measure("ei_parts", channel, runner)


def sensitivity(channel: Channel, runner: Runner) -> Pairwise:
    """Compute the sensitivity: :func:`measure` with one input perturbed at a time."""
    return measure("sensitivity", channel, runner)


def output_marginals(channel: Channel, runner: Runner | None = None) -> Array:
    """Compute the distribution of every output's bins with all inputs perturbed.

    Parameters
    ----------
    channel : Channel
        One for which :func:`applies` holds.
    runner : Runner, optional
        By default everything runs right here.

    Returns
    -------
    ndarray of float64, shape (n_out, out_bins)
        Probabilities; a row sums to 1 less the share of dropped samples.
    """
    blocks = _run(channel, runner or Runner(threads=1), marginal_rows, "marginals")
    return np.concatenate([b.marginal for b in blocks])


def _run(
    channel: Channel,
    runner: Runner,
    function: Callable[[Rows], Result],
    what: str,
    wanted: tuple[Measure, ...] = (),
) -> list[Result]:
    if not applies(channel):
        raise ValueError(f"{channel.name}: several layers at once cannot be computed exactly")
    row = channel.n_in * channel.in_bins * channel.out_bins
    quick = _is_quick(channel)
    short = quick and _work(channel) < (_SHORT if runner.workers > 1 else _ALONE)
    even = 1 if runner.workers == 1 else EACH * runner.workers
    step = max(1, min(_UNIT // row, -(-channel.n_out // even)))
    if short and runner.executor is None:
        step = channel.n_out
    if runner.executor is None:
        first = max(1, step // _PROBE) if runner.workers == 1 and quick and not short else step
        cuts = [0, *range(first, channel.n_out, step), channel.n_out]
        core = _core.CoreChannel(channel, narrow=True) if _is_ready(channel) else None
        units = [Rows(channel, a, b, core=core, wanted=wanted) for a, b in itertools.pairwise(cuts)]
    else:  # send along no more than is needed
        starts = range(0, channel.n_out, step)
        units = [
            Rows(channel.rows(a, a + step), 0, min(step, channel.n_out - a), a, wanted=wanted)
            for a in starts
        ]
    return runner.map(function, units, f"{channel.name}: {what}", short, probe=quick)
