"""Few inputs and activations that are linear in pieces: exactly, by cutting up the cube.

Where every activation before the last map is linear in pieces, so is every pre-activation: the cube
of inputs falls into simplices on which it is affine. A simplex that a kink, a threshold or the edge
of a bin passes through is cut in two where an edge of it meets that place, as long as any is passed
through; what is left are volumes, which are probabilities.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .. import _core
from ..network import Activation, Channel
from ..results import Pairwise
from .lines import Codes, LostError, informed

__all__ = ["applies", "ei_parts"]

Array = NDArray[np.float64]

_LINEAR = frozenset(["identity", "relu", "leaky_relu", "hardtanh", "hardsigmoid"])

#: Inputs, and simplices at once, beyond which others do better.
_INPUTS, _MOST = 3, 1 << 15
#: How far off information is by rounding, at most: volumes to 1e-14, and their logarithms.
_ERROR = 1e-11


@dataclass(frozen=True, eq=False)
class _Cut:
    """Simplices: values at their corners, (simplices, corners, values), and their volumes."""

    corners: Array
    volume: Array

    def at(self, column: int, place: float) -> _Cut:
        """Return them cut up where a value passes a place."""
        done: list[_Cut] = []
        left = self
        while True:
            values = left.corners[:, :, column]
            passed = (values.min(axis=1) < place) & (values.max(axis=1) > place)
            done.append(_Cut(left.corners[~passed], left.volume[~passed]))
            if not passed.any():
                return _joined(done)
            left = _halves(left.corners[passed], left.volume[passed], column, place)
            if len(left.volume) + sum(len(d.volume) for d in done) > _MOST:
                raise LostError("too many pieces")

    def cut(self, column: int, places: Iterable[float]) -> _Cut:
        """Return them cut up at several places."""
        found = self
        for place in places:
            found = found.at(column, float(place))
        return found

    def slabs(self, column: int, places: Iterable[float]) -> Iterator[_Cut]:
        """Yield what lies below the first place, between it and the second, and so on."""
        left = self
        for place in places:
            left = left.at(column, float(place))
            below = left.corners[:, :, column].mean(axis=1) < place
            yield left.only(below)
            left = left.only(~below)
        yield left

    def only(self, which: NDArray[np.bool_]) -> _Cut:
        """Return some of them."""
        return _Cut(self.corners[which], self.volume[which])


def _joined(parts: list[_Cut]) -> _Cut:
    if len(parts) == 1:
        return parts[0]
    return _Cut(
        np.concatenate([p.corners for p in parts]), np.concatenate([p.volume for p in parts])
    )


def _halves(corners: Array, volume: Array, column: int, place: float) -> _Cut:
    """Cut each simplex in two, on the edge from its lowest corner to its highest."""
    values, rows = corners[:, :, column], np.arange(len(corners))
    low, high = values.argmin(axis=1), values.argmax(axis=1)
    least, greatest = values[rows, low], values[rows, high]
    share = (place - least) / (greatest - least)
    start, stop = corners[rows, low], corners[rows, high]
    between = start + share[:, None] * (stop - start)
    between[:, column] = place
    below, above = corners.copy(), corners.copy()
    below[rows, high] = between
    above[rows, low] = between
    return _Cut(
        np.concatenate([below, above]), np.concatenate([volume * share, volume * (1.0 - share)])
    )


def applies(channel: Channel) -> bool:
    """Say whether a channel's stages are linear in pieces, and its inputs few.

    Parameters
    ----------
    channel : Channel
    """
    return 1 < channel.n_in <= _INPUTS and all(
        stage.activation is not None and all(f.kind in _LINEAR for f in stage.activation.distinct)
        for stage in channel.stages
    )


def _cube(channel: Channel) -> _Cut:
    """Return the cube of inputs, taken apart along its diagonal (H. W. Kuhn)."""
    n = channel.n_in
    corners = [
        np.concatenate([np.zeros((1, n)), np.cumsum(np.eye(n)[list(order)], axis=0)])
        for order in itertools.permutations(range(n))
    ]
    width = channel.in_hi - channel.in_lo
    return _Cut(
        channel.in_lo + width * np.array(corners),
        np.full(len(corners), 1.0 / math.factorial(n)),
    )


def _kinks(activation: Activation, units: int) -> list[list[float]]:
    """Return where each unit's function has kinks."""
    rule = np.zeros(units, int) if activation.rule is None else activation.rule
    each = [[p.start for p in f.pieces[1:]] for f in activation.distinct]
    return [each[i] for i in rule]


def _mapped(simplices: _Cut, inputs: int, weight: Array, bias: Array) -> _Cut:
    """Return the inputs and the values after an affine map, at all corners."""
    count, corners, _ = simplices.corners.shape
    values = simplices.corners.reshape(count * corners, -1).T
    z = _core.affine(weight, bias, np.ascontiguousarray(values[-weight.shape[1] :]))
    both = np.concatenate([values[:inputs], z]).T
    return _Cut(np.ascontiguousarray(both).reshape(count, corners, -1), simplices.volume)


def ei_parts(channel: Channel) -> Pairwise:
    """Compute ``I(x_A; y_B)`` of every edge with all inputs perturbed.

    Parameters
    ----------
    channel : Channel
        One for which :func:`applies` holds.

    Returns
    -------
    Pairwise
        With ``error_bound``.

    Raises
    ------
    LostError
        If there are too many pieces.
    """
    n = channel.n_in
    simplices = _cube(channel)
    for stage in channel.stages:
        assert stage.weight is not None and stage.bias is not None
        assert stage.activation is not None
        simplices = _mapped(simplices, n, stage.weight, stage.bias)
        for unit, kinks in enumerate(_kinks(stage.activation, stage.n_out)):
            simplices = simplices.cut(n + unit, kinks)
        values = simplices.corners[:, :, n:]
        simplices.corners[:, :, n:] = np.moveaxis(_applied(stage.activation, values), 0, -1)
    simplices = _mapped(simplices, n, channel.weight, channel.bias)
    if len(simplices.volume) * channel.n_out > 32 * _MOST:
        raise LostError("too many pieces")
    codes = Codes.of(channel)
    table = np.zeros((channel.n_out, n, channel.in_bins, codes.labels.shape[1]))
    width = (channel.in_hi - channel.in_lo) / channel.in_bins
    edges = channel.in_lo + width * np.arange(1, channel.in_bins)
    for b in range(channel.n_out):
        rule = 0 if channel.rule is None else int(channel.rule[b])
        cuts = codes.cuts[rule][np.isfinite(codes.cuts[rule])]
        columns = [*range(n), n + b]
        own = _Cut(np.ascontiguousarray(simplices.corners[:, :, columns]), simplices.volume)
        for code, slab in enumerate(own.slabs(n, cuts)):
            for a in range(n):
                table[b, a, :, code] = [some.volume.sum() for some in slab.slabs(a, edges)]
    found = informed(channel, codes, table, np.zeros(table.shape[:2]))
    outside = float(found.outside.mean())
    return Pairwise(found.information, "exact", error_bound=_ERROR, outlier_fraction=outside)


def _applied(activation: Activation, values: Array) -> Array:
    """Return the activation's values, the units first."""
    z = np.moveaxis(values, -1, 0)
    if activation.rule is None:
        return activation(z)
    result = np.empty(z.shape)
    for i, function in enumerate(activation.distinct):
        result[activation.rule == i] = function(z[activation.rule == i])
    return result
