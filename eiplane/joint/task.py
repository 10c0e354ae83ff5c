"""What is to be measured (:class:`Target`), and one independent piece of it (:class:`Task`)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..network import Channel
from ..run import Runner
from .options import JointOptions
from .vectors import rows_of

__all__ = ["Target", "Task"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Target:
    """What information to measure: between some inputs and some outputs of a channel.

    Parameters
    ----------
    channel : Channel
    given : ndarray of bool, shape (n_in * groups,)
        The inputs that count; the others are perturbed all the same.
    wanted : ndarray of bool, shape (n_out,)
        The outputs that count. With drops, a sample is left out if any output of the channel is out
        of range, wanted or not.
    """

    channel: Channel
    given: NDArray[np.bool_]
    wanted: NDArray[np.bool_]

    @classmethod
    def whole(cls, channel: Channel) -> Target:
        """Return the target of all inputs and all outputs."""
        return cls(
            channel, np.ones(channel.n_in * channel.groups, bool), np.ones(channel.n_out, bool)
        )

    @property
    def most_entropy(self) -> float:
        """The greatest entropy that the outputs may have, in bits."""
        return float(self.wanted.sum()) * math.log2(self.channel.out_bins)

    @property
    def trivial_bounds(self) -> tuple[float, float]:
        """The information is at least 0, and at most either side's greatest entropy."""
        most = float(self.given.sum()) * math.log2(self.channel.in_bins)
        return 0.0, min(most, self.most_entropy)


@dataclass(frozen=True, eq=False)
class Task:
    """An independent piece of a target, and what is known of it before anything is sampled.

    Parameters
    ----------
    channel : Channel
        Of the piece alone; without groups.
    given : ndarray of bool, shape (channel.n_in,)
        The inputs that count.
    outs : ndarray of int
        The channel's outputs that count; the others matter only where they drop samples.
    inputs, rows : ndarray of int
        Places, in the whole target, of the channel's inputs and of the outputs that count.
    key : int
        Of the random numbers.
    options : JointOptions
    runner : Runner
        Where units of work are run.
    edges : ndarray of float64, shape (len(outs), channel.n_in), or None
        Lower bounds of ``I(X_A; Y_B)``.
    marginals : ndarray of float64, shape (channel.n_out, out_bins), or None
        The single outputs' exact distributions. None with stages or drops, and where the piece is
        exact.
    rest : ndarray of float64, shape (channel.n_out,), or None
        ``H(Y_B | bins of the given inputs)``, exact (:mod:`.given`). None where that is not
        tractable; where it is, the marginals are known as well.
    rest_error : float
        Greatest error of ``rest``, in bits.
    normal : ndarray of float64, shape (channel.n_out,), or None
        With ``rest``: :attr:`.given.GivenEntropies.normal`.
    """

    channel: Channel
    given: NDArray[np.bool_]
    outs: NDArray[np.intp]
    inputs: NDArray[np.intp]
    rows: NDArray[np.intp]
    key: int
    options: JointOptions
    runner: Runner
    edges: Array | None = None
    marginals: Array | None = None
    rest: Array | None = None
    rest_error: float = 0.0
    normal: Array | None = None

    @property
    def n_given(self) -> int:
        """Number of inputs that count."""
        return int(self.given.sum())

    @property
    def given_places(self) -> tuple[int, ...]:
        """The channel's inputs that count."""
        return tuple(int(i) for i in np.flatnonzero(self.given))

    @property
    def informed(self) -> bool:
        """Whether any input that counts has an effect."""
        return bool(self.given.any())

    @property
    def vector(self) -> tuple[int, ...]:
        """The rows of the output vector, as :class:`.vectors.CountJob` numbers them."""
        return rows_of(self.channel, (), [int(o) for o in self.outs])
