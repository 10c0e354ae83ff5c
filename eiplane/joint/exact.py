"""Exact information of the simplest pieces: those of one input, and those of one output.

No samples are taken: a single input's intervals are gone through one by one; a single output's
distribution, and its entropy given the bins of any inputs, follow from :mod:`.given`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..network import Channel
from ..pairwise import exact, output_marginals
from ..run import Runner
from .bounds import SLACK
from .estimator import Estimator, Measured, Nodes, PieceResult, Standing
from .given import given_entropies, row_entropies
from .task import Task

__all__ = ["Exact", "ExactPiece", "exact_output", "exact_single"]

Array = NDArray[np.float64]
Index = NDArray[np.intp]

#: Intervals times outputs up to which a single input is gone through exactly.
_CELLS = 1 << 24

#: A share of samples kept so small that what is known of the rest is not exact.
_RARE = 1e-6


@dataclass(frozen=True)
class ExactPiece:
    """Measures of a piece without sampling, in bits; right to ``accuracy``, by quadrature."""

    information: float
    output_entropy: float
    influence_in: Array
    influence_out: Array
    outside: float
    accuracy: float = 0.0


def exact_single(channel: Channel, outs: Index) -> ExactPiece | None:
    """Return the measures of a channel with a single input, by going through its intervals.

    Every output changes its bin at known values of the one input; between those the whole output
    vector is constant.

    Parameters
    ----------
    channel : Channel
        With one input and no stages.
    outs : ndarray of int
        The outputs that count.

    Returns
    -------
    ExactPiece or None
        None where there are too many intervals, or everything is dropped.
    """
    lo, hi = channel.in_lo, channel.in_hi
    weight = channel.weight[:, 0]
    most = max(len(rule.thresholds) for rule in channel.rules)
    if channel.n_out * channel.n_out * most > _CELLS:
        return None
    edges = lo + (hi - lo) * np.arange(channel.in_bins + 1) / channel.in_bins
    inner = np.concatenate([*_crossings(channel), edges[1:-1]])
    ends = np.unique(np.concatenate([[lo, hi], inner[(inner > lo) & (inner < hi)]]))
    length = np.diff(ends) / (hi - lo)
    middle = 0.5 * (ends[1:] + ends[:-1])
    if len(middle) * channel.n_out > _CELLS:
        return None
    z = channel.bias[:, None] + weight[:, None] * middle
    labels = channel.bins_of(z)
    off = channel.outside_of(z).any(axis=0)
    bins = np.minimum(
        ((middle - lo) / (hi - lo) * channel.in_bins).astype(int), channel.in_bins - 1
    )
    kept = (labels >= 0).all(axis=0)
    share = length[kept].sum()
    if not share > 0.0:
        return None
    p = length[kept] / share
    bins, labels = bins[kept], labels[np.ix_(outs, kept)]
    whole = np.unique(labels, axis=1, return_inverse=True)[1].ravel()
    h_x = _entropy(bins, p)

    def information(y: NDArray[np.int64]) -> float:
        both = np.unique(np.stack([bins, y]), axis=1, return_inverse=True)[1].ravel()
        return max(h_x + _entropy(y, p) - _entropy(both, p), 0.0)

    whole_information = information(whole)
    return ExactPiece(
        whole_information,
        _entropy(whole, p),
        np.array([whole_information]),
        np.array([information(y) for y in labels.astype(np.int64)]),
        float(length[off].sum()),
    )


def exact_output(channel: Channel, given: NDArray[np.bool_]) -> ExactPiece | None:
    """Return the measures of a channel with a single output.

    Parameters
    ----------
    channel : Channel
        With one output and no stages.
    given : ndarray of bool, shape (n_in,)
        The inputs that count.

    Returns
    -------
    ExactPiece or None
        ``influence_in`` of the given inputs alone. None where next to nothing is kept.
    """
    flags = replace(channel, out_bins=2, rules=tuple(r.of_limits() for r in channel.rules))
    p = output_marginals(channel)
    kept = float(p.sum()) if channel.drops else 1.0
    if not kept > _RARE:
        return None
    entropy = float(row_entropies(p / kept)[0])
    rest = given_entropies(channel, given)
    whole = max(entropy - float(rest.values[0]), 0.0)
    edges = exact.ei_parts(channel, Runner(threads=1))
    return ExactPiece(
        whole,
        entropy,
        edges.edges[0, given],
        np.array([whole]),
        float(output_marginals(flags)[0, 1]),
        accuracy=float(rest.errors[0]) + 2.0 * (edges.error_bound or 0.0) + SLACK,
    )


def _crossings(channel: Channel) -> list[Array]:
    """Return the values of the one input at which outputs pass their thresholds and limits."""
    found = []
    for i, rule in enumerate(channel.rules):
        mine = slice(None) if channel.rule is None else channel.rule == i
        levels = np.concatenate([rule.thresholds, rule.limits])
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            at = ((levels - channel.bias[mine, None]) / channel.weight[mine]).ravel()
        found.append(at[np.isfinite(at)])
    return found


def _entropy(values: NDArray[np.int64], p: Array) -> float:
    total = np.bincount(values, p)
    total = total[total > 0.0]
    return float(-(total * np.log2(total)).sum())


class Exact(Estimator):
    """The numbers of a piece that needs no samples.

    Parameters
    ----------
    task : Task
    found : ExactPiece
    """

    name = "exact"

    def __init__(self, task: Task, found: ExactPiece) -> None:
        super().__init__(task)
        self.found = found

    @classmethod
    def of(cls, task: Task) -> Exact | None:
        """Return the numbers of a piece if it is so simple that it needs no samples."""
        channel, found = task.channel, None
        if not cls.applies(task, 0):
            return None
        if channel.n_in == 1:
            found = exact_single(channel, task.outs)
        elif channel.n_out == 1:
            found = exact_output(channel, task.given)
        return None if found is None else cls(task, found)

    @classmethod
    def applies(cls, task: Task, samples: int) -> bool:
        """Say whether the piece may be taken exactly: a single affine map."""
        return not task.options.published and not task.channel.stages

    def run(self, samples: int, most: int | None) -> Standing:
        """Do nothing: it is all there."""
        return Standing(0.0)

    def result(self) -> PieceResult:
        """Return what was found."""
        task, found = self.task, self.found
        information = Measured(0.0, 0.0, (0.0, 0.0))  # where the only input does not count
        influence_in, influence_out = np.empty(0), np.zeros(len(task.outs))
        if task.informed:
            bounds = _around(found.information, found.accuracy)
            information = Measured(found.information, 0.0, bounds)
            influence_in, influence_out = found.influence_in, found.influence_out
        return PieceResult(
            self.name,
            information,
            Measured(found.output_entropy, 0.0, _around(found.output_entropy, found.accuracy)),
            0,
            None,
            False,
            found.outside,
            Nodes.exact(influence_in),
            Nodes.exact(influence_out),
        )


def _around(value: float, accuracy: float) -> tuple[float, float]:
    return max(value - accuracy, 0.0), value + accuracy
