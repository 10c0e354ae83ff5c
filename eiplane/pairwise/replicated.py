"""EI parts of what is no single layer: samples on shifted lattices, in independent replicates.

Every replicate counts the same number of samples (one more in the first, where they do not divide).
The information comes from all counts together, less its bias; bias and error follow from how the
replicates differ (``csrc/pairs/ei_pairs.h``). All counts are integers, and blocks of edges are cut
by their size alone, so numbers do not depend on who computed what.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .. import _core
from ..network import Channel
from ..results import Pairwise
from ..run import REPLICATES, Points, Runner, cancel_flag, even_cuts, points_of
from .gathered import Found, Gathered, Reduced, reduce_replicates
from .job import Job, evaluation

__all__ = ["DEFAULT_SAMPLES", "applies", "ei_parts"]

#: Where neither a number of samples nor a tolerance is given.
DEFAULT_SAMPLES = 1 << 18

#: Samples of a replicate, and of a cell of a table, below which random ones serve as well.
_LEAST, _EACH = 64, 16
#: Bytes of the counts of all replicates that stand at once.
_BYTES = 64 << 20
#: Seconds that an edge takes to be measured, roughly, and all that threads would be started for.
_MEASURED, _SHORT = 4e-6, 2e-3
#: Seconds for which Ctrl-C need not be heard.
_HEARD = 0.1


@dataclass(frozen=True, eq=False)
class Counted:
    """The samples of some replicates."""

    channel: Channel
    jobs: tuple[tuple[Job, Points], ...]

    @property
    def where(self) -> str:
        """Which unit this is, for errors."""
        first = self.jobs[0][1].purpose - 1
        return f"replicates {first}..{first + len(self.jobs) - 1}, {self.jobs[0][0].where}"


def count_replicates(unit: Counted) -> NDArray[np.uint64]:
    """Return the counts of a unit; shape (replicates, words)."""
    channel = _core.CoreChannel(unit.channel)
    points = [_core.CorePoints(points) for _, points in unit.jobs]
    return _core.pairs_count_each(channel, [job for job, _ in unit.jobs], points, cancel_flag())


def applies(channel: Channel, samples: int) -> bool:
    """Say whether there are samples enough: where tables are nearly empty others do better.

    Parameters
    ----------
    channel : Channel
    samples : int
    """
    cells = channel.in_bins * channel.out_bins
    return samples >= max(_LEAST * REPLICATES, _EACH * cells)


def ei_parts(channel: Channel, key: int, samples: int, runner: Runner) -> Pairwise:
    """Sample ``I(x_A; y_B)`` of every edge with all inputs perturbed.

    Parameters
    ----------
    channel : Channel
        One for which :func:`applies` holds.
    key : int
        Of the random numbers.
    samples : int
    runner : Runner

    Returns
    -------
    Pairwise
    """
    core = _core.CoreChannel(channel)
    masks = int(_core.pairs_masked(core))
    job = Job(key, 0, channel.n_out, 0, channel.n_in, 0, samples, masks=masks)
    gathered = Gathered(channel.n_out, channel.n_in, channel.in_bins, samples)
    dropped = 0
    for block in _blocks(core, channel, job):
        for found in _measured(channel, block, runner):
            gathered.add(found)
            dropped += int(found.dropped.sum()) if found.part.in_start == 0 else 0
    return gathered.pairwise(dropped / (samples * channel.n_out))


def _blocks(core: _core.CoreChannel, channel: Channel, job: Job) -> list[Job]:
    """Cut a job's edges into blocks whose counts can stand at once."""
    one = _core.pairs_size(core, replace(job, out_stop=1)) * 8 * REPLICATES
    outputs = even_cuts(channel.n_out, -(-one * channel.n_out // _BYTES))
    inputs = even_cuts(channel.n_in, -(-one // _BYTES))
    return [
        replace(job, out_start=b, out_stop=b1, in_start=a, in_stop=a1)
        for b, b1 in outputs
        for a, a1 in inputs
    ]


def _measured(channel: Channel, job: Job, runner: Runner) -> Sequence[Found]:
    what = f"{channel.name}: EI_parts"
    counts = [b - a for a, b in even_cuts(job.count, REPLICATES)]
    jobs = [
        (replace(job, count=n), points_of(job.key, r, channel.n_in)) for r, n in enumerate(counts)
    ]
    seconds = job.count * evaluation(channel)
    cuts = even_cuts(REPLICATES, runner.pieces(seconds))
    units = [Counted(channel, tuple(jobs[a:b])) for a, b in cuts]
    short = seconds < (_HEARD if runner.workers == 1 else _SHORT)
    found = runner.map(count_replicates, units, what, short)
    counted = found[0] if len(found) == 1 else np.concatenate(found)
    edges = (job.out_stop - job.out_start) * (job.in_stop - job.in_start)
    cuts = even_cuts(job.out_stop - job.out_start, runner.pieces(edges * _MEASURED))
    parts = [replace(job, out_start=job.out_start + a, out_stop=job.out_start + b) for a, b in cuts]
    tails = [Reduced(channel, job, part, counted) for part in parts]
    short = len(tails) == 1 and edges * _MEASURED < _HEARD
    return runner.map(reduce_replicates, tails, what, short, here=True)
