"""The conditional estimator: ``I(X; Y) = H(Y) - H(Y | X)``, each term from samples of its own.

The cells of X are equally likely, so ``H(Y | X)`` is an average over cells: it comes from draws
within random cells (:mod:`.cells`). ``H(Y)`` comes from one stream of samples, with Chao, Wang and
Jost's estimator and the outputs' exact marginal distributions as control variates.

Where samples are dropped, every distribution is the one given that the sample is kept: cells are
then drawn with the probability of their kept part, and draws within a cell repeated until kept.
"""

from __future__ import annotations

import math

from .budget import pilot_samples
from .cells import CellEntropy
from .counting import Counting
from .estimates import Estimate
from .stream import draw_in_cells
from .task import Task
from .vectors import Counted, whole_groups

__all__ = ["Conditional"]

#: How many times more values than samples is hopeless.
_HOPELESS = 20.0

#: Coverage of the first look below which filtering is as exact as counting, for less.
_DEAR = 0.65


class Conditional(Counting):
    """Counts outputs, and outputs within cells of the inputs."""

    name = "conditional"

    @classmethod
    def applies(cls, task: Task, samples: int) -> bool:
        """Say that it applies: to every piece with any input that counts, if not well to each."""
        return task.informed

    def extend(self, samples: int, most: int | None) -> None:
        """Go on to so many evaluations of both kinds."""
        pilot = pilot_samples(self.task.channel)
        if self.stream.drawn == 0:
            counted = self.count(whole_groups(min(pilot, samples // 4)))
            if self.stream.dropped:
                counted = self.count(whole_groups(samples))
                self.samples = self.stream.drawn
                if self.stream.dropped:
                    return
            self.looked = self.output.coverage
            if most is not None:
                self.hopeless = _beyond(counted, most) or (samples >= most and self._dear())
        if self.hopeless:
            self._combine(draw_in_cells(self.task, min(samples // 2, 2 * pilot)), 0)
            return
        # A first look at both parts decides how the rest is shared between them.
        cells = draw_in_cells(self.task, samples // 16)
        tried = cells.samples
        self.count(whole_groups(samples // 8))
        share = self._share_of_outputs(cells)
        left = max(samples - tried, 0)
        self.count(whole_groups(int(share * left)))
        rest = samples - tried - self.stream.drawn
        if rest > cells.samples:
            cells = draw_in_cells(self.task, rest)
        else:
            tried = 0
        self._combine(cells, tried)

    def _dear(self) -> bool:
        """Say whether filtering is the better way, where there are no more outputs than inputs.

        With more of them its doubt is greater.
        """
        channel = self.task.channel
        return (
            self.task.options.estimator == "auto"
            and not channel.stages
            and not channel.drops
            and channel.n_out <= channel.n_in
            and self.looked < _DEAR
        )

    def _share_of_outputs(self, cells: CellEntropy) -> float:
        """Return the share of samples for ``H(Y)`` that leaves the least variance."""
        own = max(self.output.stderr**2 - self.output.bias**2, 0.0) * self.stream.drawn
        total = math.sqrt(own) + math.sqrt(cells.variance_each)
        return min(max(math.sqrt(own) / total if total > 0.0 else 0.5, 0.15), 0.85)

    def _combine(self, cells: CellEntropy, tried: int) -> None:
        """Take the difference of both terms; ``tried`` evaluations went into cells before these."""
        self.cells = cells
        self.samples = self.stream.drawn + tried + cells.samples
        if self.stream.dropped:
            return
        y = self.output
        self.information = Estimate(
            max(y.value - cells.entropy, 0.0),
            math.hypot(y.stderr, cells.stderr),
            y.bias,
            min(y.coverage, cells.coverage),
        )


def _beyond(counted: Counted, most: int) -> bool:
    """Whether the outputs are so many that no number of samples allowed would see them."""
    counts = counted.of_set(len(counted.sets) - 1)
    twice = float((counts.number * counts.counts * (counts.counts - 1.0)).sum()) / 2.0
    # The chance that two samples agree is that of 1 / (effective number of values).
    total = counts.total
    return total >= 1024 and total * (total - 1.0) / 2.0 > _HOPELESS * most * max(twice, 0.5)
