"""Direct counting of inputs, outputs and both; the published estimator, and a corrected one.

``I(X; Y) = H(X) + H(Y) - H(X, Y)``. :class:`Plugin` is the published estimator (Mattsson, Michaud
and Hoel 2020), three plug-in entropies of one sample. :class:`Direct` takes the cells of X as
equally likely, which they are, and estimates the other two entropies with less bias; it serves
where the cells of X are few.
"""

from __future__ import annotations

import math

from .budget import PILOT
from .counting import Counting
from .estimates import counted_information
from .estimator import PieceResult
from .stream import draw_in_cells
from .task import Task

__all__ = ["Direct", "Plugin"]

#: Samples for every cell from which on cells are counted like values.
_FEW_CELLS = 64


class Direct(Counting):
    """Counts, with the entropies of outputs and of pairs corrected for their bias."""

    name = "direct"
    paired = True

    @classmethod
    def applies(cls, task: Task, samples: int) -> bool:
        """Say whether the cells are so few that every one is seen often.

        They then need no draws of their own, where nothing is known of the outputs within them or
        where they are wide.
        """
        if not task.informed:
            return False
        cells = task.n_given * math.log2(task.channel.in_bins)
        few = cells <= math.log2(samples / _FEW_CELLS)
        return few and not (task.rest is not None and bool(task.given.all()))

    def extend(self, samples: int, most: int | None) -> None:
        """Count so many samples."""
        counted = self.count(samples)
        self.samples = self.stream.drawn
        if self.stream.dropped:
            return
        task, plugin = self.task, self.task.options.published
        known = None if task.channel.drops else task.n_given * math.log2(task.channel.in_bins)
        self.information, output = counted_information(counted, 1, 0, 0, known, plugin)
        if plugin:
            self.output = output

    def result(self) -> PieceResult:
        """Return what was found; the influence on single outputs takes cells after all."""
        task = self.task
        if task.options.influence and task.rest is None and not self.stream.dropped:
            self.cells = draw_in_cells(task, 2 * PILOT)
        return super().result()


class Plugin(Direct):
    """The published estimator, for parity with it; whatever the piece is."""

    name = "plugin"

    @classmethod
    def applies(cls, task: Task, samples: int) -> bool:
        """Say that it applies."""
        return True
