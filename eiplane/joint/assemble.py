"""The pieces put together: their sums and the influences of all nodes, as one result."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..results import Joint
from ..run import Sampling
from .estimator import Measured, Nodes, PieceResult
from .options import JointOptions
from .plan import Plan
from .task import Target

__all__ = ["assemble"]

Array = NDArray[np.float64]


class _Sum:
    """A sum of independent quantities; None where any of them is not known."""

    def __init__(self) -> None:
        self._value = self.low = self.high = self._variance = 0.0
        self.known = True

    def add(self, part: Measured) -> None:
        if part.value is None or part.stderr is None:
            self.known = False
        else:
            self._value += part.value
            self._variance += part.stderr * part.stderr
        self.low, self.high = self.low + part.bounds[0], self.high + part.bounds[1]

    @property
    def value(self) -> float | None:
        return self._value if self.known else None

    @property
    def stderr(self) -> float | None:
        return math.sqrt(self._variance) if self.known else None


class _AllNodes:
    """A quantity of all nodes, gathered from the pieces; 0 for those in none."""

    def __init__(self, count: int) -> None:
        self._values, self._stderr = np.zeros(count), np.zeros(count)
        self._complete = True

    def put(self, where: NDArray[np.intp], found: Nodes | None) -> None:
        if found is None:
            self._complete = False
            return
        self._values[where], self._stderr[where] = found.values, found.stderr

    def result(self) -> tuple[Array | None, Array | None]:
        return (self._values, self._stderr) if self._complete else (None, None)


def _name(found: list[PieceResult], options: JointOptions) -> str:
    """Return the estimator to be named: of several, the one that rests on a model."""
    if options.published:
        return options.estimator
    return "wide" if any(r.estimator == "wide" for r in found) else "conditional"


def _coverage(plan: Plan, found: list[PieceResult]) -> float | None:
    """Return the least coverage; None where something was sampled, but nothing counted."""
    coverages = [r.coverage for r in found if r.coverage is not None]
    if not coverages and any(r.estimator == "wide" for r in found):
        return None
    return min(coverages, default=0.0 if plan.dead else 1.0)


def assemble(
    target: Target,
    plan: Plan,
    found: list[PieceResult],
    sampling: Sampling,
    options: JointOptions,
) -> Joint:
    """Put the results of the pieces together.

    Parameters
    ----------
    target : Target
    plan : Plan
    found : list of PieceResult
        One for every piece of the plan.
    sampling : Sampling
    options : JointOptions

    Returns
    -------
    Joint
    """
    information, output, inside = _Sum(), _Sum(), 1.0
    ins, outs = _AllNodes(len(target.given)), _AllNodes(len(target.wanted))
    for piece, result in zip(plan.pieces, found, strict=True):
        task = piece.task
        information.add(result.information)
        output.add(result.output)
        inside *= 1.0 - result.outside
        ins.put(task.inputs[task.given], result.influence_in)
        outs.put(task.rows, result.influence_out)
    if plan.dead:  # there is nothing to measure: nothing is known
        information.add(Measured(None, None, target.trivial_bounds))
        output.add(Measured(None, None, (0.0, target.most_entropy)))
        inside = 0.0
    saturated = plan.dead or any(r.saturated for r in found)
    influence_in, in_error = ins.result() if options.influence else (None, None)
    influence_out, out_error = outs.result() if options.influence else (None, None)
    return Joint(
        ei=information.value,
        ei_stderr=information.stderr,
        ei_bounds=(information.low, information.high),
        output_entropy=output.value,
        output_entropy_stderr=output.stderr,
        output_entropy_bounds=(output.low, output.high),
        estimator=_name(found, options),
        samples=sum(r.samples for r in found),
        coverage=_coverage(plan, found),
        saturated=saturated,
        converged=None
        if sampling.tol is None
        else bool((information.stderr or 0.0) <= sampling.tol and not saturated),
        influence_in=influence_in,
        influence_out=influence_out,
        outlier_fraction=1.0 - inside,
        influence_in_stderr=in_error,
        influence_out_stderr=out_error,
    )
