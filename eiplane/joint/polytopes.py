"""What a sample's output bins say of its inputs: a polytope.

Write every input as ``mid + span u``, u uniform on (-1/2, 1/2). Then ``z_B = centre_B + scale_B d .
u`` with a direction ``d`` of its own, and a bin of output B confines ``d . u`` to an interval, or
to a union of intervals where the activation is not monotone. Outputs of one direction (copies,
multiples) confine the same number: their intervals are intersected. An output of a single input
confines this input itself. Within the cell of some inputs' bins the same holds, with every such
input's span shrunk to a bin.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..network import Channel

__all__ = [
    "Constraints",
    "Directions",
    "Labels",
    "Unions",
    "constraints",
    "directions",
    "possible_branches",
    "turned",
    "unions",
]

Array = NDArray[np.float64]
Index = NDArray[np.intp]

#: Standard deviations of ``d . u`` beyond which a limit counts for nothing: the sum is strictly
#: sub-Gaussian, so it lies there with a probability below 2 exp(-18).
_FAR = 6.0

#: Relative size of a weight, and difference of directions, that is rounding.
_SAME = 1e-13


@dataclass(frozen=True, eq=False)
class Unions:
    """The values of z that make each label of an output: unions of intervals.

    Parameters
    ----------
    lo, hi : ndarray of float64, shape (labels, pieces)
        Row v of label v; the last row but one of all kept labels, the last of the dropped. Pieces
        that are not needed have lo > hi.
    """

    lo: Array
    hi: Array

    @property
    def pieces(self) -> int:
        """Intervals of a label, at most."""
        return int(self.lo.shape[1])


def unions(thresholds: Array, labels: NDArray[np.int32], bins: int) -> Unions:
    """Return the unions of a rule of thresholds and labels (see :class:`eiplane.network.Rule`)."""
    ends = np.concatenate([[-np.inf], thresholds, [np.inf]])

    def of(member: NDArray[np.bool_]) -> list[tuple[float, float]]:
        change = np.diff(np.concatenate([[False], member, [False]]).astype(np.int8))
        starts, stops = ends[np.flatnonzero(change == 1)], ends[np.flatnonzero(change == -1)]
        return list(zip(starts.tolist(), stops.tolist(), strict=True))

    found = [of(labels == v) for v in range(bins)] + [of(labels >= 0), of(labels < 0)]
    pieces = max(1, *(len(f) for f in found))
    lo, hi = np.full((bins + 2, pieces), np.inf), np.full((bins + 2, pieces), -np.inf)
    for v, intervals in enumerate(found):
        for i, (a, b) in enumerate(intervals):
            lo[v, i], hi[v, i] = a, b
    return Unions(lo, hi)


@dataclass(frozen=True, eq=False)
class Directions:
    """The directions in which outputs look at the inputs.

    Parameters
    ----------
    unit : ndarray of float64, shape (directions, n_in)
        Of every direction, by the unit inputs; the greatest entry is 1.
    single : ndarray of int, shape (directions,)
        The one input that a direction is, or -1.
    rows : tuple of ndarray of int
        The outputs of every direction.
    scale, centre : ndarray of float64, shape (n_out,)
        ``z_B = centre_B + scale_B d . u``.
    """

    unit: Array
    single: Index
    rows: tuple[Index, ...]
    scale: Array
    centre: Array

    @property
    def live(self) -> Index:
        """The outputs that have a direction, one direction after the other."""
        return np.concatenate([*self.rows, np.empty(0, np.intp)])

    @property
    def direction(self) -> Index:
        """The direction of each of those."""
        return np.repeat(np.arange(len(self.rows)), [len(r) for r in self.rows])


def directions(channel: Channel, merge: bool) -> Directions:
    """Return the directions of a channel's outputs; those that depend on nothing have none.

    Parameters
    ----------
    channel : Channel
        Without stages.
    merge : bool
        Whether outputs of one direction share it: not with unions of intervals.
    """
    span = channel.in_hi - channel.in_lo
    weight = channel.weight * span
    middle = 0.5 * (channel.in_lo + channel.in_hi)
    centre = channel.bias + channel.weight.sum(axis=1) * middle
    size = np.abs(weight)
    peak = size.argmax(axis=1)
    scale = weight[np.arange(len(weight)), peak]
    live = np.flatnonzero(scale != 0.0)
    unit = weight[live] / scale[live, None]
    unit[np.abs(unit) < _SAME] = 0.0
    groups = [np.array([r]) for r in live]
    if merge and len(live):
        rounded = np.round(unit, 12) + 0.0
        first, which = np.unique(rounded, axis=0, return_index=True, return_inverse=True)[1:]
        order = np.argsort(first)
        place = np.empty(len(order), np.intp)
        place[order] = np.arange(len(order))
        which = place[which.ravel()]
        groups = [live[which == g] for g in range(len(first))]
        unit = unit[np.sort(first)]
    alone = (unit != 0.0).sum(axis=1) == 1
    single = np.where(alone & merge, np.abs(unit).argmax(axis=1), -1) if len(unit) else np.empty(0)
    return Directions(
        np.ascontiguousarray(unit), single.astype(np.intp), tuple(groups), scale, centre
    )


@dataclass(frozen=True, eq=False)
class Constraints:
    """Of samples: where the unit inputs of a cell lie, and the other directions.

    Parameters
    ----------
    weight : ndarray of float64, shape (m, n_in)
        The directions that are not single inputs, by the unit inputs of the cell.
    in_lo, in_hi : ndarray of float64, shape (samples, n_in)
    out_lo, out_hi : ndarray of float64, shape (samples, pieces, m)
    """

    weight: Array
    in_lo: Array
    in_hi: Array
    out_lo: Array
    out_hi: Array


def constraints(known: Directions, lo: Array, hi: Array, place: Array, width: Array) -> Constraints:
    """Return the constraints of samples.

    Parameters
    ----------
    known : Directions
    lo, hi : ndarray of float64, shape (samples, pieces, n_out)
        The intervals of z.
    place : ndarray of float64, shape (samples, directions)
        ``d . u`` at the middle of the sample's cell.
    width : ndarray of float64, shape (n_in,)
        Of the cell, 1 where an input is free.
    """
    samples = len(lo)
    n = len(width)
    in_lo, in_hi = np.full((samples, n), -0.5), np.full((samples, n), 0.5)
    inside = known.unit * width
    low, high = _merged(known, lo, hi)
    low, high = low - place[:, None, :], high - place[:, None, :]
    for d in np.flatnonzero(known.single >= 0):
        k = known.single[d]
        w = inside[d, k]
        a, b = np.maximum(low[:, 0, d] / w, -0.5), np.minimum(high[:, 0, d] / w, 0.5)
        good = b - a > 1e-9  # else an edge of the cell and of the interval, by rounding
        in_lo[good, k] = np.maximum(in_lo[good, k], a[good])
        in_hi[good, k] = np.minimum(in_hi[good, k], b[good])
    wide = known.single < 0
    inside, low, high = inside[wide], low[..., wide], high[..., wide]
    deviation = np.sqrt(np.einsum("ij,ij->i", inside, inside) / 12.0)
    far = np.minimum(0.5 * np.abs(inside).sum(axis=1), _FAR * deviation)
    some = low < high
    out_lo = np.where(some & (low <= -far), -np.inf, low)
    out_hi = np.where(some & (high >= far), np.inf, high)
    return Constraints(
        np.ascontiguousarray(inside),
        in_lo,
        in_hi,
        np.ascontiguousarray(out_lo),
        np.ascontiguousarray(out_hi),
    )


@dataclass(frozen=True, eq=False)
class Labels:
    """Samples' labels, unions of intervals, in a cell.

    Parameters
    ----------
    lo, hi : ndarray of float64, shape (samples, pieces, n_out)
        Of z; pieces that are not needed have lo > hi.
    own : ndarray of int, shape (samples, n_out)
        The piece that z is in.
    place : ndarray of float64, shape (samples, directions)
        ``d . u`` at the middle of the cell.
    width : ndarray of float64, shape (n_in,)
        Of the cell.
    """

    lo: Array
    hi: Array
    own: Index
    place: Array
    width: Array

    def of_branches(self, sample: Index, path: Index) -> tuple[Array, Array]:
        """Return the intervals of branches, shape (branches, 1, n_out) each.

        ``path``: the pieces of all outputs, shape (branches, n_out).
        """
        out = np.arange(path.shape[1])
        at = sample[:, None], path, out
        return self.lo[at][:, None, :], self.hi[at][:, None, :]


def possible_branches(
    known: Directions, labels: Labels, sample: Index, path: Index
) -> NDArray[np.bool_]:
    """Say of which branches the intervals of no direction, and of no input, exclude each other."""
    low, high = (e[:, 0] - labels.place[sample] for e in _merged(
        known, *labels.of_branches(sample, path)
    ))  # fmt: skip
    inside = known.unit * labels.width
    reach = 0.5 * np.abs(inside).sum(axis=1)
    low, high = np.maximum(low, -reach), np.minimum(high, reach)
    good = (low < high).all(axis=1)
    for k in np.unique(known.single[known.single >= 0]):
        own = known.single == k
        w = inside[own, k]
        good &= (low[:, own] / w).max(axis=1) < (high[:, own] / w).min(axis=1)
    return np.asarray(good)


def turned(known: Directions, lo: Array, hi: Array) -> tuple[Array, Array]:
    """Return intervals of z as those of ``d . u``, of every output in ``known.live``."""
    live = known.live
    negative = known.scale[live] < 0.0
    a, b = ((e[..., live] - known.centre[live]) / known.scale[live] for e in (lo, hi))
    return np.where(negative, b, a), np.where(negative, a, b)


def _merged(known: Directions, lo: Array, hi: Array) -> tuple[Array, Array]:
    """Return the intervals of ``d . u``, what the outputs of a direction have in common.

    Shape (samples, pieces, directions).
    """
    low, high = turned(known, lo, hi)
    if low.shape[-1] == len(known.rows):
        return low, high
    first = np.cumsum([0, *(len(r) for r in known.rows[:-1])])
    return np.maximum.reduceat(low, first, axis=-1), np.minimum.reduceat(high, first, axis=-1)
