"""Bins of an activation's value as intervals of the pre-activation."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .monotone import Piece, Search, places, searched

__all__ = ["preimages"]

Array = NDArray[np.float64]


def preimages(
    pieces: Sequence[Piece], edges: Array, drop: bool
) -> tuple[Array, NDArray[np.int32], Array, NDArray[np.int32]]:
    """Return the thresholds of ``z`` that bin a function's value, and the bin between them.

    Parameters
    ----------
    pieces : sequence of Piece
        Of the function f, from left to right; the first from -inf, the last to inf.
    edges : ndarray of float64, shape (bins + 1,)
        The bin edges on the value's side. Bin k holds ``edges[k] <= f(z) < edges[k + 1]``, the last
        one its upper edge too.
    drop : bool
        Whether values outside the edges have no bin (label -1) or fall in the end bins.

    Returns
    -------
    thresholds : ndarray of float64, shape (m,)
        Strictly increasing. ``z`` lies in interval j when j thresholds are ``<= z``.
    labels : ndarray of int32, shape (m + 1,)
        The bin of every interval, or -1. Neighbours differ.
    limits, inside : ndarray
        The same of the first and last edges alone: ``inside`` is 0 between them, -1 elsewhere.
    """
    cuts, bin_of = _cut(pieces, edges)
    bins = len(edges) - 1
    inside = [0 if 0 <= k < bins else -1 for k in bin_of]
    return *_labelled(cuts, bin_of, bins, drop), *_labelled(cuts, inside, 1, True)


def _cut(pieces: Sequence[Piece], edges: Array) -> tuple[list[float], list[int]]:
    """Return all that cuts the pieces, and the bins between: below 0, or too large, outside."""
    ends: list[float] = edges.tolist()
    inside: list[list[float]] = []
    raw: list[list[int]] = []
    searches: dict[int, Search] = {}
    for i, piece in enumerate(pieces):
        inner: list[float] = []
        if piece.samples is not None:
            searches[i], labels = _sampled(piece, edges)
        elif piece.inverse is None:
            labels = [_bin_of(piece.at_start, ends)]
        else:
            inner, labels = _continuous(piece, edges, ends)
        inside.append(inner)
        raw.append(labels)
    if searches:
        for i, found in zip(searches, _solved(pieces, list(searches.values())), strict=True):
            inside[i] = found.tolist()
    cuts: list[float] = []
    for piece, inner in zip(pieces, inside, strict=True):
        start, stop = piece.start, piece.stop
        cuts += [start, *(start if z < start else stop if z > stop else z for z in inner)]
    return cuts[1:], [k for labels in raw for k in labels]


def _labelled(
    cuts: list[float], bin_of: list[int], bins: int, drop: bool
) -> tuple[Array, NDArray[np.int32]]:
    """Return the cuts at which bins change, and the bins."""
    kept: list[float] = []
    last = len(cuts) - 1
    labels = [_label(bin_of[0], bins, drop)]
    for j, cut in enumerate(cuts):
        # Of intervals that rounding made empty only the last has any z; equal neighbours are one.
        if j < last and not cuts[j + 1] - cut > 0.0:
            continue
        label = _label(bin_of[j + 1], bins, drop)
        if label != labels[-1]:
            kept.append(cut)
            labels.append(label)
    return np.array(kept, dtype=np.float64), np.array(labels, dtype=np.int32)


def _label(k: int, bins: int, drop: bool) -> int:
    if 0 <= k < bins:
        return k
    return -1 if drop else 0 if k < 0 else bins - 1


def _bin_of(value: float, edges: list[float]) -> int:
    """Return the bin of a value: -1 below the edges, their number less 1 above."""
    return len(edges) - 2 if value == edges[-1] else bisect_right(edges, value) - 1


def _continuous(piece: Piece, edges: Array, ends: list[float]) -> tuple[list[float], list[int]]:
    """Return the thresholds inside a piece and the bins about them: a strictly monotone one."""
    p, q, bins = piece.at_start, piece.at_stop, len(ends) - 1
    assert piece.inverse is not None
    if piece.rising:
        first, stop = bisect_right(ends, p), bisect_left(ends, q)
        if first >= stop:
            return [], [first - 1]
        inner = piece.inverse(edges[first:stop]).tolist()
        if stop > bins:  # the upper edge itself still belongs to the last bin
            inner[-1] = math.nextafter(inner[-1], math.inf)
        return inner, list(range(first - 1, stop))
    first, stop = bisect_right(ends, q), bisect_left(ends, p)
    if first >= stop:
        return [], [stop - 1]
    inner = piece.inverse(edges[first:stop][::-1]).tolist()
    # f(z) >= edge for z <= threshold: the edge's own z stays on the left.
    for k in range(1 if stop > bins else 0, len(inner)):
        inner[k] = math.nextafter(inner[k], math.inf)
    return inner, list(range(stop - 1, first - 2, -1))


def _sampled(piece: Piece, edges: Array) -> tuple[Search, list[int]]:
    """Return what to look for in a piece that may stand still on an edge, and the bins about it."""
    lower, upper = edges[:-1], edges[-1:]
    ends = edges.tolist()
    start, stop = _bin_of(piece.at_start, ends), _bin_of(piece.at_stop, ends)
    if piece.rising:  # into bin k where the value reaches its lower edge
        top = upper if start < len(lower) <= stop else upper[:0]
        inner = lower[max(start + 1, 0) : stop + 1]
        return searched(piece, inner, top), list(range(start, stop + 1))
    # out of bin k where the value falls below its lower edge
    top = upper if stop < len(lower) <= start else upper[:0]
    inner = lower[max(stop + 1, 0) : start + 1][::-1]
    return searched(piece, top, inner), list(range(start, stop - 1, -1))


def _solved(pieces: Sequence[Piece], searches: list[Search]) -> list[Array]:
    """Return the places that were looked for: of all pieces at once, one function made them."""
    samples = [piece.samples for piece in pieces if piece.samples is not None]
    least = 2.0**-90 * max(float(np.abs(s.nodes).max()) for s in samples)
    found = places(samples[0].function, searches, least)
    return np.split(found, np.cumsum([len(s.wanted) for s in searches])[:-1])
