"""One input at a time through several layers: exactly, by bisection.

With the others held, an output is a function of one number. Segments of the input's bins are cut in
halves until each output's bin is proved to be one on the whole segment, or proved to change but
once, within so short a stretch (:mod:`.forms`); that is then looked at closer, as by Newton's
method. What is left undecided at last is next to nothing, and bounds the error.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .. import _core
from ..network import Channel
from ..results import Pairwise
from ..run import EACH, Runner
from .forms import Forms, passed

__all__ = [
    "Codes",
    "Decided",
    "Informed",
    "LostError",
    "applies",
    "decided",
    "informed",
    "sensitivity",
]

Array = NDArray[np.float64]
Index = NDArray[np.intp]

#: Lengths, in those of a piece, at which a segment is given up; segments that are undecided at
#: once; lines of a unit, for their memory.
_SHORTEST, _MOST, _LINES = 2.0**-42, 1 << 16, 32
#: How far off a crossing may be to be taken, and by rounding is, in half lengths of its segment.
_NARROW, _ROUNDING = 0.25, 2.0**-40
#: Probability of an output being kept below which its information is 0.
_RARELY = 1e-12


class LostError(ValueError):
    """Outputs change more often than can be followed."""


@dataclass(frozen=True, eq=False)
class Codes:
    """The intervals between all thresholds and limits of a channel's rules, and what they mean.

    Parameters
    ----------
    cuts : ndarray of float64, shape (rules, m)
        Ascending, filled up with infinite ones.
    labels : ndarray of int32, shape (rules, m + 1)
        The output's bin; -1 where dropped.
    outside : ndarray of bool, shape (rules, m + 1)
    """

    cuts: Array
    labels: NDArray[np.int32]
    outside: NDArray[np.bool_]

    @staticmethod
    def of(channel: Channel) -> Codes:
        """Return those of a channel."""
        cuts = []
        for rule in channel.rules:
            both = np.union1d(rule.thresholds, rule.limits)
            cuts.append(both[np.isfinite(both)])
        most = max(len(c) for c in cuts)
        filled = np.stack([np.append(c, np.full(most - len(c), np.inf)) for c in cuts])
        places = np.concatenate([np.full((len(filled), 1), -np.inf), filled], axis=1)
        rules = list(zip(channel.rules, places, strict=True))
        return Codes(
            filled,
            np.stack([rule.bins_of(z) for rule, z in rules]),
            np.stack([rule.outside_of(z) for rule, z in rules]),
        )

    def at(self, channel: Channel, z: Array) -> Index:
        """Return the intervals of pre-activations, both (n_out, samples)."""
        rule = np.zeros(len(z), int) if channel.rule is None else channel.rule
        found = np.empty(z.shape, np.intp)
        for i, cuts in enumerate(self.cuts):
            mine = rule == i
            found[mine] = np.searchsorted(cuts, z[mine], side="right")
        return found


@dataclass(frozen=True, eq=False)
class Decided:
    """Segments on which an output does not change its interval; arrays of one length.

    Parameters
    ----------
    output, piece : ndarray of int
    start, length : ndarray of float64
        Where the segment is, in lengths of the piece.
    code : ndarray of int
    sure : bool
        False for what was given up.
    """

    output: Index
    piece: Index
    start: Array
    length: Array
    code: Index
    sure: bool = True


@dataclass(frozen=True, eq=False)
class _Open:
    """Segments still to be decided, for the outputs that are pending."""

    piece: Index
    start: Array
    length: Array
    pending: NDArray[np.bool_]

    def joined(self, other: _Open) -> _Open:
        return _Open(
            np.append(self.piece, other.piece),
            np.append(self.start, other.start),
            np.append(self.length, other.length),
            np.concatenate([self.pending, other.pending], axis=1),
        )


def decided(channel: Channel, codes: Codes, base: Array, along: Array) -> Iterator[Decided]:
    """Cut pieces of lines up until the interval of every output is known.

    Parameters
    ----------
    channel : Channel
        With stages, the first one affine.
    codes : Codes
    base, along : ndarray of float64, shape (n_first, pieces)
        Values of the first affine map where a piece begins, and what is added until it ends.

    Yields
    ------
    Decided

    Raises
    ------
    LostError
    """
    n = base.shape[1]
    left = _Open(np.arange(n), np.zeros(n), np.ones(n), np.ones((channel.n_out, n), bool))
    while len(left.piece):
        if len(left.piece) > max(_MOST, 8 * n):
            raise LostError("its outputs change too often to be followed")
        half = 0.5 * left.length * along[:, left.piece]
        middle = base[:, left.piece] + (left.start + 0.5 * left.length) * along[:, left.piece]
        forms = passed(channel, Forms(middle, half, np.zeros_like(half)))
        low, high = (codes.at(channel, z) for z in forms.ends)
        yield _chosen(left, left.pending & (low == high), low)
        pending = left.pending & (low != high)
        short = left.length <= _SHORTEST
        if short.any():
            yield _chosen(left, pending & short, codes.at(channel, forms.centre), sure=False)
            pending &= ~short
        crossed, place, doubt = _crossings(channel, codes, forms, pending & (high == low + 1), low)
        zoomed: _Open | None = None
        if crossed.any():
            sides, zoomed = _sides(left, forms, crossed, place, doubt, low)
            yield from sides
        left = _halves(left, pending & ~crossed)
        left = left if zoomed is None else left.joined(zoomed)


def _chosen(left: _Open, which: NDArray[np.bool_], code: Index, sure: bool = True) -> Decided:
    output, at = np.nonzero(which)
    return Decided(output, left.piece[at], left.start[at], left.length[at], code[output, at], sure)


def _halves(left: _Open, pending: NDArray[np.bool_]) -> _Open:
    rest = np.flatnonzero(pending.any(axis=0))
    length = np.repeat(0.5 * left.length[rest], 2)
    return _Open(
        np.repeat(left.piece[rest], 2),
        np.repeat(left.start[rest], 2) + np.tile([0.0, 1.0], len(rest)) * length,
        length,
        np.repeat(pending[:, rest], 2, axis=1),
    )


def _crossings(
    channel: Channel, codes: Codes, forms: Forms, single: NDArray[np.bool_], low: Index
) -> tuple[NDArray[np.bool_], Array, Array]:
    """Say which outputs cross their one threshold well inside a segment, where, and how surely.

    Both in half lengths of the segment, from its middle.
    """
    rule = np.zeros(len(low), int) if channel.rule is None else channel.rule
    padded = np.concatenate([codes.cuts, np.full((len(codes.cuts), 1), np.inf)], axis=1)
    cut = padded[rule[:, None], np.minimum(low, padded.shape[1] - 1)]
    slope = np.where(single & (forms.slope != 0.0), forms.slope, 1.0)
    with np.errstate(over="ignore", invalid="ignore"):
        place = np.where(single, (cut - forms.centre) / slope, 0.0)
        doubt = np.where(single, forms.rest / np.abs(slope) + _ROUNDING, 1.0)
    narrow = single & (forms.slope != 0.0) & (doubt <= _NARROW)
    return narrow & np.isfinite(place), place, doubt


def _sides(
    left: _Open,
    forms: Forms,
    crossed: NDArray[np.bool_],
    place: Array,
    doubt: Array,
    low: Index,
) -> tuple[list[Decided], _Open]:
    """Return what lies on either side of crossings, decided, and what is left between."""
    output, at = np.nonzero(crossed)
    length, start, piece = left.length[at], left.start[at], left.piece[at]
    ends = [
        np.clip(0.5 + 0.5 * (place + sign * doubt)[output, at], 0.0, 1.0) for sign in (-1.0, 1.0)
    ]
    rising = forms.slope[output, at] > 0.0
    below = low[output, at]
    before, after = np.where(rising, below, below + 1), np.where(rising, below + 1, below)
    sides = [
        Decided(output, piece, start, length * ends[0], before),
        Decided(output, piece, start + length * ends[1], length * (1.0 - ends[1]), after),
    ]
    pending = np.zeros((len(crossed), len(at)), bool)
    pending[output, np.arange(len(at))] = True
    some = ends[1] > ends[0]
    between = _Open(
        piece[some],
        (start + length * ends[0])[some],
        (length * (ends[1] - ends[0]))[some],
        pending[:, some],
    )
    return sides, between


def applies(channel: Channel) -> bool:
    """Say whether a channel's outputs can be followed along lines."""
    if not channel.stages or channel.stages[0].width:
        return False
    functions = [
        f for s in channel.stages if s.activation is not None for f in s.activation.distinct
    ]
    return all(f.interval is None for f in functions)  # bounds may lie outside


@dataclass(frozen=True, eq=False)
class _Inputs:
    """Some inputs, each perturbed alone."""

    channel: Channel
    start: int
    stop: int

    @property
    def where(self) -> str:
        """Which unit this is, for errors."""
        return f"inputs {self.start}..{self.stop - 1}"


@dataclass(frozen=True, eq=False)
class Informed:
    """What tables say of (outputs, inputs), and of the shares of values outside."""

    information: Array
    bound: Array
    outside: Array


def follow_inputs(unit: _Inputs) -> Informed:
    """Return the numbers of a unit."""
    channel = unit.channel
    stage, bins = channel.stages[0], channel.in_bins
    assert stage.weight is not None and stage.bias is not None
    inputs = np.arange(unit.start, unit.stop)
    held = np.full((channel.n_in, len(inputs)), channel.baseline)
    held[inputs, np.arange(len(inputs))] = channel.in_lo
    base = _core.affine(stage.weight, stage.bias, held)
    step = stage.weight[:, inputs] * ((channel.in_hi - channel.in_lo) / bins)
    base = base[:, :, None] + step[:, :, None] * np.arange(bins)
    along = np.repeat(step, bins, axis=1)
    codes = Codes.of(channel)
    shape = (channel.n_out, len(inputs), bins, codes.labels.shape[1])
    table, unsure = np.zeros(shape), np.zeros(shape[:2])
    for part in decided(channel, codes, base.reshape(len(base), -1), along):
        line, cell = np.divmod(part.piece, bins)
        np.add.at(table, (part.output, line, cell, part.code), part.length)
        if not part.sure:
            np.add.at(unsure, (part.output, line), part.length)
    return informed(channel, codes, table / bins, unsure / bins)


def informed(channel: Channel, codes: Codes, table: Array, unsure: Array) -> Informed:
    """Return the information of tables (outputs, inputs, in_bins, intervals)."""
    rule = np.zeros(channel.n_out, int) if channel.rule is None else channel.rule
    binned = np.zeros((*table.shape[:3], channel.out_bins))
    outside = np.zeros(table.shape[:2])
    for b, own in enumerate(table):
        labels = codes.labels[rule[b]]
        for code in np.flatnonzero(labels >= 0):
            binned[b, :, :, labels[code]] += own[:, :, code]
        beyond = np.ascontiguousarray(own[:, :, codes.outside[rule[b]]])
        outside[b] = beyond.reshape(len(own), -1).sum(axis=1)
    kept = binned.sum(axis=(2, 3))
    share = binned / np.where(kept > 0, kept, 1.0)[..., None, None]
    given, found = share.sum(axis=3), share.sum(axis=2)
    information = _entropy(given, 2) + _entropy(found, 2) - _entropy(share, (2, 3))
    lost = np.minimum(unsure / np.maximum(kept, 1e-300), 1.0)
    cells = math.log2(channel.in_bins * channel.out_bins) + 2.0
    own = lost * (cells - np.log2(lost, out=np.zeros_like(lost), where=lost > 0))
    often = kept + unsure >= _RARELY
    information = np.where(often, np.maximum(information, 0.0), 0.0)
    return Informed(information, 4.0 * np.where(often, own, 0.0) + 1e-13, outside)


def _entropy(p: Array, axis: int | tuple[int, ...]) -> Array:
    return np.asarray(-(p * np.log2(p, out=np.zeros_like(p), where=p > 0)).sum(axis=axis))


def sensitivity(channel: Channel, runner: Runner) -> Pairwise:
    """Compute ``I(x_A; y_B)`` of every edge with input A perturbed alone.

    Parameters
    ----------
    channel : Channel
        One for which :func:`applies` holds.
    runner : Runner

    Returns
    -------
    Pairwise
        With ``error_bound``.

    Raises
    ------
    LostError
    """
    step = max(1, min(_LINES, -(-channel.n_in // (EACH * runner.workers))))
    units = [_Inputs(channel, a, min(a + step, channel.n_in)) for a in range(0, channel.n_in, step)]
    done = runner.map(follow_inputs, units, f"{channel.name}: sensitivity")
    bound = max(float(block.bound.max()) for block in done)
    edges, outside = (
        np.ascontiguousarray(np.concatenate([getattr(block, name) for block in done], axis=1))
        for name in ("information", "outside")
    )  # summed once and in one order, however many workers there were
    return Pairwise(edges, "exact", error_bound=bound, outlier_fraction=float(outside.mean()))
