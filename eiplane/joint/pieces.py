"""Independent pieces of a channel.

Inputs are independent, so where the weights between two sets of neurons are all zero the pieces are
independent as well, and the information between whole vectors is the sum over the pieces. A pruned
layer, a grouped convolution or a permutation falls apart this way.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..network import Channel

__all__ = ["Piece", "by_group", "connected", "restrict", "silent"]

Index = NDArray[np.intp]


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
