"""The samples of a piece: one stream of whole vectors, and draws within cells of the inputs."""

from __future__ import annotations

import numpy as np

from .cells import CellEntropy, Cells, design, measure_cells
from .nodes import LEAST_KEPT
from .shards import SharedCounter
from .task import Task
from .vectors import Counted, Counter, CountJob

__all__ = ["CELLS", "Stream", "draw_in_cells"]

#: Purposes of random numbers, from this one on, are those of draws within cells.
CELLS = 16


class Stream:
    """Samples of a piece, counted.

    Parameters
    ----------
    task : Task
    paired : bool
        Whether to count the given inputs, and inputs with outputs, beside the outputs (set 0): as
        set 1 and pair 0.
    """

    def __init__(self, task: Task, paired: bool) -> None:
        self.task = task
        sets = (task.vector, task.given_places) if paired else (task.vector,)
        pairs = ((1, 0),) if paired else ()
        job = CountJob(task.key, 0, 0, 0, sets, pairs, task.marginals is None)
        # Nothing that the published estimator computes depends on the vectors' order.
        unordered = task.options.published and task.runner.shares_memory
        kind = SharedCounter if unordered and task.runner.workers > 1 else Counter
        self._counter = kind(task.channel, job, task.runner, task.options.memory)
        self.counted = self._counter.result()

    @property
    def drawn(self) -> int:
        """Samples so far."""
        return self._counter.samples

    @property
    def dropped(self) -> bool:
        """Whether nothing was kept, or so few that they say nothing of what is rare."""
        task = self.task
        few = task.channel.drops and not task.options.published
        return self.counted.kept < (LEAST_KEPT if few else 1)

    @property
    def outside(self) -> float:
        """Share of the samples with any output outside the output range."""
        return self.counted.outside / max(self.counted.samples, 1)

    def count(self, samples: int) -> Counted:
        """Go on until so many samples are counted."""
        if samples > self.drawn:
            self._counter.extend(samples)
        self.counted = self._counter.result()
        return self.counted


def draw_in_cells(task: Task, budget: int) -> CellEntropy:
    """Measure the entropy of the outputs within cells of the given inputs.

    Parameters
    ----------
    task : Task
    budget : int
        Evaluations.

    Returns
    -------
    CellEntropy
        Of single outputs, too, where influences are asked for and not known.
    """
    channel = task.channel
    plan = design(budget, channel.in_bins, task.n_given, not channel.drops)
    size = np.zeros(channel.n_in)
    if not channel.stages:
        size = np.abs(channel.weight).sum(axis=0)
    order = [int(i) for i in np.argsort(-size, kind="stable") if task.given[i]]
    cells = Cells(task.key, CELLS, tuple(order), task.vector)
    each = task.options.influence and task.rest is None
    return measure_cells(channel, cells, plan, task.runner, task.rest, each)
