"""Rounds of sampling: how many evaluations every piece gets, and when it has enough."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..network import Channel
from ..run import Sampling
from .budget import default_samples
from .choice import choose
from .estimator import Estimator, Standing
from .plan import Plan
from .task import Task
from .vectors import whole_groups

__all__ = ["Rounds", "run_pieces"]

#: With a tolerance: where to start, and where to give up.
FIRST_SAMPLES, MOST_SAMPLES = 1 << 16, 1 << 27


@dataclass(frozen=True)
class Rounds:
    """The evaluations of a piece.

    Parameters
    ----------
    samples : int
        Of the first round.
    most : int or None
        At the most; None: just those of the first round, whether they can do or not.
    tol : float or None
        Standard error, in bits, at which to stop; None after the first round.
    """

    samples: int
    most: int | None
    tol: float | None

    def next(self, samples: int, standing: Standing) -> int | None:
        """Return the evaluations of the next round after one of so many, or None: enough."""
        if self.tol is None or self.most is None or samples >= self.most or standing.hopeless:
            return None
        error = standing.stderr
        if error <= self.tol and not standing.saturated:
            return None
        left = self.tol**2 - standing.doubt**2
        if left <= 0.0:
            return None  # more samples would not do
        wanted = samples * (error**2 - standing.doubt**2) / left * 1.2
        return min(self.most, max(2 * samples, whole_groups(int(min(wanted, 16.0 * samples)))))


def _rounds(channel: Channel, sampling: Sampling, pieces: int) -> Rounds:
    """Return the rounds of every one of so many pieces."""
    if sampling.tol is None and sampling.samples is not None:
        return Rounds(max(64, sampling.samples // pieces), None, None)
    if sampling.tol is None:
        samples = max(1 << 12, default_samples(channel) // pieces)
        return Rounds(samples, samples, None)
    most = (MOST_SAMPLES if sampling.samples is None else sampling.samples) // pieces
    most = whole_groups(most)
    # Every piece gets an equal part of the variance allowed.
    return Rounds(min(FIRST_SAMPLES, most), most, sampling.tol / math.sqrt(pieces))


def run_pieces(plan: Plan, channel: Channel, sampling: Sampling) -> list[Estimator]:
    """Sample every piece that is not exact.

    Parameters
    ----------
    plan : Plan
    channel : Channel
        The whole one.
    sampling : Sampling

    Returns
    -------
    list of Estimator
        One a piece, in order; each has had its rounds.
    """
    rounds = _rounds(channel, sampling, max(plan.sampled, 1))
    return [
        _run(piece.task, rounds) if piece.exact is None else piece.exact for piece in plan.pieces
    ]


def _run(task: Task, rounds: Rounds) -> Estimator:
    samples: int | None = rounds.samples
    estimator = choose(task, rounds.samples)
    assert estimator is not None
    given_up: Estimator | None = None
    while samples is not None:
        standing = estimator.run(samples, rounds.most)
        after = rounds.next(samples, standing)
        # Saturated after what is usual: another way is better than ever more of the same.
        last = after is None or samples >= default_samples(task.channel) // 4
        stuck = standing.hopeless or (last and standing.saturated)
        other = choose(task, rounds.samples, after=estimator) if stuck else None
        if other is not None:
            given_up, estimator, samples = estimator, other, rounds.samples
        elif given_up is not None and not math.isfinite(standing.stderr):
            return given_up  # it has nothing to say
        else:
            samples = after
    return estimator
