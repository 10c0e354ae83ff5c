"""Independent pieces of a channel, and the exact information of the simplest.

Inputs are independent, so where the weights between two sets of neurons are all zero the pieces are
independent as well, and the information between whole vectors is the sum over the pieces. A pruned
layer, a grouped convolution or a permutation falls apart this way.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..network import Channel
from ..pairwise import output_marginals
from .given import conditional_entropies

__all__ = [
    "ExactPiece",
    "Piece",
    "by_group",
    "connected",
    "exact_output",
    "exact_single",
    "restrict",
    "silent",
]

Array = NDArray[np.float64]
Index = NDArray[np.intp]

#: Intervals times outputs up to which a single input is gone through exactly.
_CELLS = 1 << 24


@dataclass(frozen=True, eq=False)
class Piece:
    """A part of a channel that is independent of the rest.

    Parameters
    ----------
    channel : Channel
        Of the piece alone, without groups.
    rows : ndarray of int, shape (n_out,)
        Its outputs' places in the whole channel.
    columns : ndarray of int, shape (n_in,)
        Its inputs' columns in the whole channel's weight.
    inputs : ndarray of int, shape (n_in,)
        Its inputs' places among all inputs; other than ``columns`` where there are groups.
    """

    channel: Channel
    rows: Index
    columns: Index
    inputs: Index


def restrict(channel: Channel, rows: Index, columns: Index) -> Channel:
    """Return the channel of some outputs and some inputs (of the weight's columns)."""
    weight = np.ascontiguousarray(channel.weight[np.ix_(rows, columns)])
    return replace(channel.outputs(rows), weight=weight, groups=1)


def by_group(channel: Channel) -> list[Piece]:
    """Return the groups of a grouped convolution, or the channel itself.

    Parameters
    ----------
    channel : Channel

    Returns
    -------
    list of Piece
    """
    n_in, each = channel.n_in, channel.n_out // channel.groups
    columns = np.arange(n_in)
    if channel.groups == 1:
        return [Piece(channel, np.arange(channel.n_out), columns, columns)]
    pieces = []
    for group in range(channel.groups):
        rows = np.arange(group * each, (group + 1) * each)
        inputs = columns + group * n_in
        part = replace(channel.rows(group * each, (group + 1) * each), groups=1)
        pieces.append(Piece(part, rows, columns, inputs))
    return pieces


def connected(piece: Piece) -> list[Piece]:
    """Return the connected components of a piece, smallest input first.

    Inputs without any effect are left out, and outputs that depend on nothing: they carry no
    information (unless such an output is dropped, when there are no samples at all).

    Parameters
    ----------
    piece : Piece

    Returns
    -------
    list of Piece
    """
    channel = piece.channel
    if channel.stages:
        return [piece]
    linked = channel.weight != 0.0
    n_in = channel.n_in
    if linked.all():
        return [piece]
    label = np.arange(n_in)
    while True:  # the least input reachable, with pointer jumping
        of_output = np.where(linked, label, n_in).min(axis=1)
        least = np.where(linked, of_output[:, None], n_in).min(axis=0)
        least = np.minimum(label, least)
        least = least[least]
        if (least == label).all():
            break
        label = least
    used = linked.any(axis=0)
    pieces = []
    for root in np.unique(label[used]):
        columns = np.flatnonzero(used & (label == root))
        rows = np.flatnonzero(of_output == root)
        part = restrict(channel, rows, columns)
        pieces.append(Piece(part, piece.rows[rows], piece.columns[columns], piece.inputs[columns]))
    return pieces


def silent(piece: Piece) -> bool:
    """Whether an output that depends on nothing is dropped always."""
    channel = piece.channel
    if channel.stages or not channel.drops:
        return False
    alone = ~(channel.weight != 0.0).any(axis=1)
    return bool((channel.bins_of(channel.bias[:, None])[alone] < 0).any())


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
    cuts, limits = _crossings(channel)
    edges = lo + (hi - lo) * np.arange(channel.in_bins + 1) / channel.in_bins
    inner = np.concatenate([*cuts, *limits, edges[1:-1]])
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


def exact_output(channel: Channel, given: NDArray[np.bool_]) -> ExactPiece:
    """Return the measures of a channel with a single output.

    Parameters
    ----------
    channel : Channel
        With one output; :func:`eiplane.joint.given.tractable`.
    given : ndarray of bool, shape (n_in,)
        The inputs that count.

    Returns
    -------
    ExactPiece
        To about 1e-6 bits; ``influence_in`` of the given inputs alone.
    """
    flags = replace(channel, out_bins=2, rules=tuple(r.of_limits() for r in channel.rules))
    p = output_marginals(channel)[0]
    entropy = float(-(p * np.log2(np.where(p > 0.0, p, 1.0))).sum())

    def information(which: NDArray[np.bool_]) -> float:
        return max(entropy - float(conditional_entropies(channel, which)[0]), 0.0)

    alone = np.eye(channel.n_in, dtype=bool)[given]
    whole = information(given)
    return ExactPiece(
        whole,
        entropy,
        np.array([information(which) for which in alone]),
        np.array([whole]),
        float(output_marginals(flags)[0, 1]),
        accuracy=1e-6,
    )


def _crossings(channel: Channel) -> tuple[list[Array], list[Array]]:
    """Return the inputs at which the outputs pass their thresholds, and their limits."""
    cuts: list[Array] = []
    limits: list[Array] = []
    for i, rule in enumerate(channel.rules):
        mine = slice(None) if channel.rule is None else channel.rule == i
        bias, weight = channel.bias[mine, None], channel.weight[mine]
        for levels, found in ((rule.thresholds, cuts), (rule.limits, limits)):
            with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
                at = ((levels - bias) / weight).ravel()
            found.append(at[np.isfinite(at)])
    return cuts, limits


def _entropy(values: NDArray[np.int64], p: Array) -> float:
    total = np.bincount(values, p)
    total = total[total > 0.0]
    return float(-(total * np.log2(total)).sum())
