"""Norms: as one operator, or written out as a signal over the root of its own mean square."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...network import Join, Norm, RangeRule
from .flow import Flow
from .recognise import PROBE, chain
from .signals import ENTRY, SHIFT, Codes, Operand, Origin, Value

__all__ = ["by_channel", "centred", "normalised", "over_last"]

Array = NDArray[np.float64]

_AT = np.array([[1.0, 4.0, 100.0, 1e12]])


def _alike(a: Codes | None, b: Codes | None) -> bool:
    return a is not None and b is not None and a.shape == b.shape and bool((a == b).all())


def over_last(
    flow: Flow,
    x: Operand,
    shape: Sequence[int],
    axes: Sequence[int],
    scale: Array | None,
    shift: Array | None,
    zero_mean: bool,
) -> Codes:
    """Report a norm over the last axes, scaled and shifted entry by entry.

    Parameters
    ----------
    flow : Flow
    x : Operand
    shape : sequence of int
        Of the result.
    axes : sequence of int
        Sizes of the last axes.
    scale, shift : ndarray or None
    zero_mean : bool
        Whether the mean is taken away too.

    Returns
    -------
    ndarray of int64
        Codes of the result.
    """
    size = math.prod(axes)
    gain = np.ones(1) if scale is None else scale.reshape(-1)
    offset = np.zeros(1) if shift is None else shift.reshape(-1)
    by_row = len(axes) == 1 and max(gain.size, offset.size) > 1

    def rule(rules: list[RangeRule]) -> RangeRule:
        norm = Norm(size, zero_mean, gain, offset, operands=tuple(rules))
        return norm if by_row else Join(operands=(norm,))

    return flow.event("a norm", [x], shape, rule, len(shape) - 1 if by_row else None)


def by_channel(
    flow: Flow,
    x: Operand,
    shape: Sequence[int],
    size: int,
    scale: Array | None,
    shift: Array | None,
) -> Codes:
    """Report a norm over ``size`` entries, scaled and shifted channel by channel (axis 1).

    Parameters
    ----------
    flow : Flow
    x : Operand
    shape : sequence of int
        Of the result.
    size : int
    scale, shift : ndarray or None

    Returns
    -------
    ndarray of int64
        Codes of the result.
    """
    gain = np.ones(1) if scale is None else scale.reshape(-1)
    offset = np.zeros(1) if shift is None else shift.reshape(-1)
    several = max(gain.size, offset.size) > 1

    def rule(rules: list[RangeRule]) -> RangeRule:
        return Norm(size, True, gain, offset, operands=tuple(rules))

    return flow.event("a norm", [x], shape, rule, 1 if several else None)


def centred(flow: Flow, x: Codes, mean: Codes) -> dict[str, Any]:
    """Return what is known of a signal less another: whether that is its own mean.

    Parameters
    ----------
    flow : Flow
    x, mean : ndarray of int64

    Returns
    -------
    dict
        Traits of the difference.
    """
    value = flow.signals.alone(mean)
    if value is None or value is not value.origin.value:
        return {}
    return {"centred_of": x.copy()} if _alike(value.origin.traits.get("mean_of"), x) else {}


def normalised(flow: Flow, x: Codes, factor: Codes, divided: bool) -> Norm | None:
    """Return the norm that a product or a quotient of two signals is, or None.

    Parameters
    ----------
    flow : Flow
    x, factor : ndarray of int64
    divided : bool
        Whether x is divided by the factor.

    Returns
    -------
    Norm or None
    """
    value = flow.signals.alone(factor)
    if value is None:
        return None
    origin, size = value.origin, int(value.origin.traits.get("size", 0))
    kind = next((k for k in _KINDS if k in origin.traits), None)
    if kind is None or origin.value is None:
        return None
    gain = _gain(value, origin, divided, root=kind in ("mean_of", "sum_of", "var_of"))
    if gain is None:
        return None
    taken, source = origin.traits[kind], flow.signals.alone(x)
    before = None if source is None else source.origin.traits.get("centred_of")
    if kind in ("mean_of", "sum_of", "norm_of"):
        fits = _alike if kind == "norm_of" else lambda a, b: _is_square(flow, a, b)
        scale = next((k for part, k in _multiples(flow, x) if fits(taken, part)), None)
        if scale is None:
            return None
        gain = gain * scale
    elif not _alike(taken, before):
        return None
    if kind in ("sum_of", "norm_of"):
        gain = gain / math.sqrt(max(1, size))
    return Norm(size, before is not None, gain)


def _multiples(flow: Flow, x: Codes) -> Iterator[tuple[Codes, float]]:
    """Yield an array, and what it is a multiple of (at most), as ``g * x / norm(x)`` has it."""
    yield x, 1.0
    source = flow.signals.alone(x)
    before = None if source is None else source.parent
    while source is not None and before is not None and before.rows == source.rows:
        made = chain(source, before)
        if made is None:
            return
        values = np.atleast_2d(np.asarray(made(PROBE[None, :]), dtype=np.float64))
        slope = values[:, PROBE == 1.0]
        if not np.allclose(values, slope * PROBE, rtol=1e-6, atol=1e-9):
            return
        yield x - np.int64((source.base - before.base) << SHIFT), float(np.abs(slope).max())
        before = before.parent


_KINDS = ("mean_of", "sum_of", "norm_of", "var_of", "std_of")


def _gain(value: Value, origin: Origin, divided: bool, root: bool) -> float | None:
    """Return k if the factor is k over the (root of the) origin's signal, but for a small term."""
    assert origin.value is not None
    made = chain(value, origin.value)
    if made is None:
        return None
    with np.errstate(all="ignore"):
        found = np.broadcast_to(np.asarray(made(_AT), dtype=np.float64), _AT.shape)
        size = np.sqrt(_AT) if root else _AT
        gains = size / found if divided else found * size
    if not np.isfinite(gains).all() or (np.abs(gains / gains[0, -1] - 1.0) > 0.05).any():
        return None
    return abs(float(gains[0, -1]))


def _between(a: Origin, b: Origin) -> int:
    """Return how far numbers lie apart of the same signal less its mean, written out twice."""
    x, y = a.traits.get("centred_of"), b.traits.get("centred_of")
    if a.value is None or b.value is None or a.rows != b.rows or not _alike(x, y):
        return 0
    return b.value.base - a.value.base


def _is_square(flow: Flow, squares: Codes | None, x: Codes) -> bool:
    """Return whether an array holds the squares of another."""
    if squares is None or squares.shape != x.shape or squares.size == 0:
        return False
    if int(x.min()) < 0 or int(squares.min()) < 0:
        return False
    if not bool(((squares & ENTRY) == (x & ENTRY)).all()):
        return False
    mine, theirs = x >> SHIFT, squares >> SHIFT
    mine = mine + _between(*(flow.signals.of(int(n.flat[0])).origin for n in (mine, theirs)))
    for place in np.unique(flow.signals.places(mine)).tolist():
        value = flow.signals.at(place)
        there = (mine >= value.base) & (mine < value.base + value.rows)
        square = flow.signals.of(int(theirs[there][0]))
        if not bool((theirs[there] - mine[there] == square.base - value.base).all()):
            return False
        made = chain(square, value) if square.origin is value.origin else None
        if made is None or made.by_row:
            return False
        if not np.allclose(made(PROBE[None, :]), PROBE**2, rtol=1e-6):
            return False
    return True
