"""The estimator of pieces in which no input that counts has an effect: only H(Y) is to be found."""

from __future__ import annotations

import numpy as np

from .counting import Counting
from .estimates import Estimate
from .estimator import Nodes
from .task import Task

__all__ = ["Uninformed"]


class Uninformed(Counting):
    """Counts the outputs; the information is 0."""

    name = "uninformed"

    @classmethod
    def applies(cls, task: Task, samples: int) -> bool:
        """Say whether no input that counts has an effect."""
        return not task.informed

    def extend(self, samples: int, most: int | None) -> None:
        """Count so many samples."""
        self.count(samples)
        self.samples = self.stream.drawn

    @property
    def deciding(self) -> Estimate:
        """The estimate of ``H(Y)``."""
        return self.output

    def input_influence(self) -> Nodes | None:
        """Return the influence of no inputs."""
        return Nodes.exact(np.empty(0))
