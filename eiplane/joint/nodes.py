"""Single nodes of a piece: entropies of outputs, and the influence of either side's nodes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..information import Multiplicities, entropy
from .bounds import SLACK, WIDEN
from .cells import CellEntropy
from .estimates import estimate_entropy, information_variance
from .estimator import Nodes
from .given import row_entropies
from .task import Task
from .vectors import GROUP, Counted, Counter, CountJob, whole_groups

__all__ = ["LEAST_KEPT", "SingleOutputs", "input_influence", "unseen_entropy"]

Array = NDArray[np.float64]

#: Samples that have to be kept, where others are dropped, for anything to be said of them.
LEAST_KEPT = 32

#: Vectors to be counted for the influence of single inputs, samples times inputs.
_INFLUENCE_WORK = 1 << 22


@dataclass(frozen=True, eq=False)
class SingleOutputs:
    """What is known of a piece's single outputs: exactly if it may be, else from its samples.

    Parameters
    ----------
    task : Task
    counted : Counted or None
        Whose margins serve where the outputs' distributions are not known.
    cells : CellEntropy or None
        Which serves where their entropies given the cell are not known.
    """

    task: Task
    counted: Counted | None = None
    cells: CellEntropy | None = None

    def entropies(self) -> Nodes | None:
        """Return ``H(Y_B)`` of the outputs that count."""
        task, counted = self.task, self.counted
        if task.marginals is not None:
            return Nodes(row_entropies(task.marginals), np.zeros(len(task.outs)))
        least = LEAST_KEPT if task.channel.drops else 1
        if counted is None or counted.margins is None or counted.kept < least:
            return None
        found = []
        for counts in counted.margins[task.outs]:
            values, number = np.unique(counts[counts > 0], return_counts=True)
            m = Multiplicities(values.astype(np.float64), number.astype(np.float64))
            found.append(estimate_entropy(m))
        return Nodes(np.array([e.value for e in found]), np.array([e.stderr for e in found]))

    def influence(self) -> Nodes | None:
        """Return ``I(X; Y_B)`` of the given inputs with every output that counts."""
        task = self.task
        if not task.informed:
            return Nodes.exact(np.zeros(len(task.outs)))
        if task.marginals is not None and task.rest is not None:
            return Nodes.exact(np.maximum(row_entropies(task.marginals) - task.rest, 0.0))
        own, within = self.entropies(), self._within()
        if own is None or within is None:
            return None
        return Nodes(
            np.maximum(own.values - within.values, 0.0), np.hypot(own.stderr, within.stderr)
        )

    def _within(self) -> Nodes | None:
        """Return ``H(Y_B | cell)`` as it was sampled."""
        if self.cells is None or self.cells.outputs is None:
            return None
        assert self.cells.outputs_stderr is not None
        return Nodes(self.cells.outputs, self.cells.outputs_stderr)

    def greatest_entropies(self) -> Array | None:
        """Return upper bounds of ``H(Y_B)``."""
        singles = self.entropies()
        if singles is None:
            return None
        most = math.log2(self.task.channel.out_bins)
        if self.task.marginals is not None:
            unseen = SLACK
        else:
            assert self.counted is not None
            unseen = unseen_entropy(self.counted.kept, most, WIDEN)
        return np.minimum(singles.values + WIDEN * singles.stderr + unseen, most)

    def least_influence(self) -> Array | None:
        """Return lower bounds of ``I(X; Y_B)``."""
        influence = self.influence()
        if influence is None:
            return None
        slack = 2.0 * SLACK + self.task.rest_error if self.task.rest is not None else 0.0
        return influence.values - WIDEN * influence.stderr - slack

    def least_noise(self) -> Array | None:
        """Return lower bounds of ``H(Y_B | X)``."""
        if self.task.rest is not None:
            return self.task.rest - self.task.rest_error - SLACK
        within = self._within()
        return None if within is None else within.values - WIDEN * within.stderr

    def twins(self) -> NDArray[np.bool_]:
        """Return which outputs are copies of an earlier one."""
        channel = self.task.channel
        rows = np.column_stack([channel.weight, channel.bias])[self.task.outs]
        twins = np.ones(len(rows), bool)
        twins[np.unique(rows, axis=0, return_index=True)[1]] = False
        return twins


def unseen_entropy(samples: int, most: float, errors: float) -> float:
    """Return by how much labels that no sample had may add to an entropy.

    Had they together more than p here, some would have been seen but by a chance that is as small
    as one beyond so many standard errors.

    Parameters
    ----------
    samples : int
    most : float
        The entropy's greatest value, in bits.
    errors : float
    """
    p = min(-math.log(math.erfc(errors / math.sqrt(2.0))) / samples, 0.5)
    return -p * math.log2(p) - (1.0 - p) * math.log2(1.0 - p) + p * most


def input_influence(task: Task, most: int) -> Nodes | None:
    """Measure ``I(X_A; Y)`` of every single given input with the whole output, by counting.

    Parameters
    ----------
    task : Task
    most : int
        Samples at the most.

    Returns
    -------
    Nodes or None
        None where every sample was dropped.
    """
    inputs = task.given_places
    samples = min(most, whole_groups(_INFLUENCE_WORK // (len(inputs) + 1)))
    sets = (task.vector, *((i,) for i in inputs))
    pairs = tuple((i + 1, 0) for i in range(len(inputs)))
    job = CountJob(task.key, 0, 0, 0, sets, pairs)
    counter = Counter(task.channel, job, task.runner, task.options.memory)
    counter.extend(max(samples, GROUP))
    counted = counter.result()
    if counted.kept == 0:
        return None
    y = estimate_entropy(counted.of_set(0))
    values, errors = np.empty(len(inputs)), np.empty(len(inputs))
    for i in range(len(inputs)):
        x = counted.of_set(i + 1)
        h_x = entropy(x) if task.channel.drops else math.log2(task.channel.in_bins)
        both = estimate_entropy(counted.of_pair(i))
        values[i] = max(y.value + h_x - both.value, 0.0)
        spread = information_variance(counted, i + 1, 0, i)
        errors[i] = math.sqrt(spread / counted.kept + (both.bias - y.bias) ** 2)
    return Nodes(values, errors)
