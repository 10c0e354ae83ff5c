"""What every estimator of the joint engine is: the interface, and what goes through it.

A layer falls into independent pieces (:mod:`.plan`). A piece is a :class:`.task.Task`; an estimator
is a class with a file of its own that takes one. The rounds (:mod:`.rounds`) call :meth:`run
<Estimator.run>` with ever more samples until the estimate is good enough, then :meth:`result
<Estimator.result>` once; the results are put together in :mod:`.assemble`.

To add one: write its file, a subclass of :class:`Estimator`, and put the class in its place in the
table of :mod:`.choice`.

An estimator draws its random numbers from ``task.key``, by the index of the sample, and sends its
work through ``task.runner.map``: then its numbers do not depend on threads or executors, and
progress and interrupts work.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from .task import Task

__all__ = ["Estimator", "Measured", "Nodes", "PieceResult", "Standing"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Standing:
    """How far an estimator is: what decides whether to go on.

    Parameters
    ----------
    stderr : float
        Of the information, in bits; with the doubt about its bias.
    saturated : bool
        Whether the samples so far are too few to say.
    hopeless : bool
        Whether no number of samples that is allowed would do. The piece then goes to the next
        estimator in the table that applies; with none left, this one's word stands.
    doubt : float
        What of ``stderr`` no number of samples takes away.
    """

    stderr: float
    saturated: bool = False
    hopeless: bool = False
    doubt: float = 0.0


@dataclass(frozen=True)
class Measured:
    """A measured quantity, in bits.

    Parameters
    ----------
    value : float or None
        None where nothing but the bounds is known.
    stderr : float or None
        Holds the sampling error and the doubt. None with the value.
    bounds : tuple of float
        Proved, but for sampling errors of four standard errors in what they rest on. The value may
        lie outside where an estimator is to be reported as it is.
    bias : float
        The doubt by itself: what may be wrong besides the sampling, of either sign.
    """

    value: float | None
    stderr: float | None
    bounds: tuple[float, float]
    bias: float = 0.0


@dataclass(frozen=True, eq=False)
class Nodes:
    """A quantity of every node, in bits.

    Parameters
    ----------
    values, stderr : ndarray of float64, shape (nodes,)
    """

    values: Array
    stderr: Array

    @classmethod
    def exact(cls, values: Array) -> Nodes:
        """Return values without error."""
        return cls(values, np.zeros(len(values)))


@dataclass(frozen=True, eq=False)
class PieceResult:
    """What an estimator found of a piece.

    Parameters
    ----------
    estimator : str
        Name of the one that was used.
    information : Measured
        ``I(X; Y)`` of the inputs and the outputs that count.
    output : Measured
        ``H(Y)``.
    samples : int
        Evaluations of the piece, all in all; 0 where it is exact.
    coverage : float or None
        Estimated share of the distributions that the samples have seen; None where nothing was
        counted.
    saturated : bool
        Whether the estimate says little: the value is None then, but for the published estimator's.
    outside : float
        Share of the samples with any output outside the output range.
    influence_in : Nodes or None
        ``I(X_A; Y)`` of the given inputs, in order. None where it was not asked for or could not be
        found.
    influence_out : Nodes or None
        ``I(X; Y_B)`` of the outputs that count, in order; None likewise.
    """

    estimator: str
    information: Measured
    output: Measured
    samples: int
    coverage: float | None
    saturated: bool
    outside: float
    influence_in: Nodes | None
    influence_out: Nodes | None


class Estimator(ABC):
    """Measures one piece.

    Parameters
    ----------
    task : Task
        Nothing is computed before the first :meth:`run`.
    """

    #: What it is called in :class:`PieceResult`.
    name: ClassVar[str]

    def __init__(self, task: Task) -> None:
        self.task = task

    @classmethod
    @abstractmethod
    def applies(cls, task: Task, samples: int) -> bool:
        """Say whether this estimator is the one for a piece, if those before it are not.

        Parameters
        ----------
        task : Task
        samples : int
            Of the first round.
        """

    @abstractmethod
    def run(self, samples: int, most: int | None) -> Standing:
        """Measure from so many evaluations in all.

        Called again with a greater number, it goes on from where it was.

        Parameters
        ----------
        samples : int
        most : int or None
            If no number up to this one can do, stop early. None: take all.

        Returns
        -------
        Standing
        """

    @abstractmethod
    def result(self) -> PieceResult:
        """Return what was found.

        Called once, after the last :meth:`run`. The influence of nodes is measured here, if
        ``task.options.influence`` asks for it, from as many evaluations as it takes.
        """
