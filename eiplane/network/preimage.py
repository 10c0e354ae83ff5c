"""Bins of an activation's value as intervals of the pre-activation."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .monotone import Piece, Search, places, searched

__all__ = ["preimages"]

Array = NDArray[np.float64]
Index = NDArray[np.intp]


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
    inside = np.where((bin_of < 0) | (bin_of >= bins), -1, 0)
    return *_labelled(cuts, bin_of, bins, drop), *_labelled(cuts, inside, 1, True)


def _cut(pieces: Sequence[Piece], edges: Array) -> tuple[Array, Index]:
    """Return all that cuts the pieces, and the bins between: below 0, or too large, outside."""
    inside: list[Array] = []
    raw: list[Index] = []
    searches: dict[int, Search] = {}
    for i, piece in enumerate(pieces):
        inner = np.empty(0)
        if piece.samples is not None:
            searches[i], labels = _sampled(piece, edges)
        elif piece.inverse is None:
            labels = np.array([_bin_of(piece.at_start, edges)])
        else:
            inner, labels = _continuous(piece, edges)
        inside.append(inner)
        raw.append(labels)
    if searches:
        for i, found in zip(searches, _solved(pieces, list(searches.values())), strict=True):
            inside[i] = found
    thresholds: list[Array] = []
    for piece, inner in zip(pieces, inside, strict=True):
        thresholds += [np.array([piece.start]), np.clip(inner, piece.start, piece.stop)]
    cuts = np.concatenate(thresholds)[1:]
    return cuts, np.concatenate(raw)


def _labelled(cuts: Array, bin_of: Index, bins: int, drop: bool) -> tuple[Array, NDArray[np.int32]]:
    """Return the cuts at which bins change, and the bins."""
    outside = (bin_of < 0) | (bin_of >= bins)
    bin_of = np.where(outside, -1, bin_of) if drop else np.clip(bin_of, 0, bins - 1)
    # Of intervals that rounding made empty only the last has any z; equal neighbours are one.
    keep = np.append(np.diff(cuts) > 0, True) if len(cuts) else np.empty(0, bool)
    bin_of = np.concatenate([bin_of[:1], bin_of[1:][keep]])
    cuts = cuts[keep]
    change = bin_of[1:] != bin_of[:-1]
    return (
        np.ascontiguousarray(cuts[change]),
        np.concatenate([bin_of[:1], bin_of[1:][change]]).astype(np.int32),
    )


def _bin_of(value: float, edges: Array) -> int:
    """Return the bin of a value: -1 below the edges, their number less 1 above."""
    k = int(np.searchsorted(edges, value, side="right")) - 1
    return len(edges) - 2 if value == edges[-1] else k


def _continuous(piece: Piece, edges: Array) -> tuple[Array, Index]:
    """Return the thresholds inside a piece and the bins about them: a strictly monotone one."""
    p, q, bins = piece.at_start, piece.at_stop, len(edges) - 1
    assert piece.inverse is not None
    if piece.rising:
        first = int(np.searchsorted(edges, p, side="right"))
        crossed = np.arange(first, int(np.searchsorted(edges, q, side="left")))
        inner = piece.inverse(edges[crossed])
        # The upper edge itself still belongs to the last bin.
        inner = np.where(crossed == bins, np.nextafter(inner, math.inf), inner)
        return inner, np.arange(first - 1, first + len(crossed))
    last = int(np.searchsorted(edges, p, side="left"))
    crossed = np.arange(last - 1, int(np.searchsorted(edges, q, side="right")) - 1, -1)
    inner = piece.inverse(edges[crossed])
    # f(z) >= edge for z <= threshold: the edge's own z stays on the left.
    inner = np.where(crossed == bins, inner, np.nextafter(inner, math.inf))
    return inner, np.arange(last - 1, last - 2 - len(crossed), -1)


def _sampled(piece: Piece, edges: Array) -> tuple[Search, Index]:
    """Return what to look for in a piece that may stand still on an edge, and the bins about it."""
    lower, upper = edges[:-1], edges[-1:]
    start, stop = _bin_of(piece.at_start, edges), _bin_of(piece.at_stop, edges)
    if piece.rising:  # into bin k where the value reaches its lower edge
        top = upper if start < len(lower) <= stop else upper[:0]
        inner = lower[max(start + 1, 0) : stop + 1]
        return searched(piece, inner, top), np.arange(start, stop + 1)
    # out of bin k where the value falls below its lower edge
    top = upper if stop < len(lower) <= start else upper[:0]
    inner = lower[max(stop + 1, 0) : start + 1][::-1]
    return searched(piece, top, inner), np.arange(start, stop - 1, -1)


def _solved(pieces: Sequence[Piece], searches: list[Search]) -> list[Array]:
    """Return the places that were looked for: of all pieces at once, one function made them."""
    samples = [piece.samples for piece in pieces if piece.samples is not None]
    least = 2.0**-90 * max(float(np.abs(s.nodes).max()) for s in samples)
    found = places(samples[0].function, searches, least)
    return np.split(found, np.cumsum([len(s.wanted) for s in searches])[:-1])
