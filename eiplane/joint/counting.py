"""What estimators that count vectors have in common: how their numbers become a result."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import replace

from .cells import CellEntropy
from .estimates import Estimate, controlled_entropy, estimate_entropy
from .estimator import Estimator, Measured, Nodes, PieceResult, Standing
from .nodes import SingleOutputs, input_influence, unseen_entropy
from .saturation import is_saturated
from .settle import settled_information, settled_output, whole_bounds
from .stream import Stream
from .task import Task
from .vectors import Counted
from .wide import Wide, filtered_influence

__all__ = ["Counting"]

#: Coverage of the outputs by the first look below which pairs with them are not counted.
_PAIRS = 0.9


class Counting(Estimator):
    """An estimator that rests on one stream of counted vectors and, it may be, on cells.

    Subclasses set ``information``, ``samples``, ``hopeless``, ``cells`` and ``looked``, the
    coverage of a first look of some thousand samples, as they go.

    Parameters
    ----------
    task : Task
    """

    #: Whether inputs are counted with the outputs.
    paired = False

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.stream = Stream(task, self.paired)
        self.cells: CellEntropy | None = None
        self.information = self.output = Estimate(0.0, 0.0, 0.0, 1.0)
        self.samples = 0
        self.hopeless = False
        self.looked = 1.0

    @abstractmethod
    def extend(self, samples: int, most: int | None) -> None:
        """Go on to so many evaluations; as :meth:`run`."""

    def run(self, samples: int, most: int | None) -> Standing:
        """Measure from so many evaluations in all."""
        self.extend(samples, most)
        return Standing(self.information.stderr, self.saturated, self.hopeless)

    def count(self, samples: int) -> Counted:
        """Go on until so many samples are counted, and estimate ``H(Y)``.

        Where the outputs' distributions are known, with their help.
        """
        counted, task = self.stream.count(samples), self.task
        if self.stream.dropped:
            return counted
        if task.marginals is not None and not task.options.published:
            self.output = controlled_entropy(counted, task.channel, task.marginals)
        else:
            self.output = estimate_entropy(counted.of_set(0))
        if task.channel.drops and not task.options.published:  # those that are kept may be few
            most = len(task.outs) * math.log2(task.channel.out_bins)
            error = unseen_entropy(counted.kept, most, 1.0)
            self.output = replace(self.output, stderr=math.hypot(self.output.stderr, error))
        return counted

    @property
    def deciding(self) -> Estimate:
        """The estimate that decides whether the samples are enough."""
        return self.information

    @property
    def saturated(self) -> bool:
        """Whether the samples are too few."""
        return self.stream.dropped or is_saturated(self.deciding.coverage, self.deciding.bias)

    def input_influence(self) -> Nodes | None:
        """Measure the influence of the given inputs, if the samples are any good.

        Pairs of an input's bin and the outputs are many more than the outputs, so that counting
        them is biased long before counting the outputs is: then by filtering, which is not.
        """
        task = self.task
        if self.saturated:
            return None
        if self.looked < _PAIRS and Wide.applies(task, 0):
            found = filtered_influence(task)
            if found is not None:
                return found
        return input_influence(task, self.stream.drawn)

    def result(self) -> PieceResult:
        """Return what was found."""
        task = self.task
        influence_in = self.input_influence() if task.options.influence else None
        singles = SingleOutputs(task, self.stream.counted, self.cells)
        # Where counting will do the closed forms are enough.
        bounds = whole_bounds(task, singles, None if self.saturated else 0)
        published = task.options.published and not self.stream.dropped
        information = settled_information(
            self.information, bounds.information, self.saturated, published
        )
        output = settled_output(self.output, bounds, published)
        if self.stream.dropped:
            output = Measured(None, None, bounds.entropy)
        return PieceResult(
            self.name,
            information,
            output,
            self.samples,
            0.0 if self.stream.dropped else self.deciding.coverage,
            self.saturated,
            self.stream.outside,
            influence_in,
            singles.influence(),
        )
