"""Poolings, and other results that stay in the range of what they are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...network import Join, Known, RangeRule, Unknown
from .flow import Flow
from .signals import ENTRY, SHIFT, Codes, Operand, Pooling

__all__ = ["hull", "over_places", "pooled"]


def over_places(flow: Flow, codes: Codes | None, axes: Sequence[int]) -> bool:
    """Return whether these are all axes that a convolution moved over, of its output alone.

    Parameters
    ----------
    flow : Flow
    codes : ndarray of int64 or None
    axes : sequence of int

    Returns
    -------
    bool
    """
    value = flow.signals.alone(codes)
    conv = value.origin.map.conv if value is not None and value.origin.map is not None else None
    if conv is None or codes is None or not axes:
        return False
    return sorted(a % codes.ndim for a in axes) == list(
        range(codes.ndim - len(conv.stride), codes.ndim)
    )


def pooled(
    flow: Flow,
    kind: str,
    x: Operand,
    out: Operand,
    shape: Sequence[int],
    window: Sequence[int],
    dilation: Sequence[int],
    keepdim: bool = True,
) -> Codes:
    """Report a pooling over the last axes.

    Parameters
    ----------
    flow : Flow
    kind : {"max", "mean"}
    x : Operand
    out : Operand
        The result, without codes.
    shape : sequence of int
        Of the result.
    window, dilation : sequence of int
        A number for each axis that is pooled.
    keepdim : bool
        Whether the result has these axes.

    Returns
    -------
    ndarray of int64
        Codes of the result.
    """
    codes, axes, shape = x.codes, len(window), tuple(shape)
    assert codes is not None
    value = flow.signals.alone(codes)
    ids = codes >> SHIFT
    first: tuple[Any, ...] = (..., *(slice(0, 1),) * axes)
    if value is None or 0 in shape or not bool((ids[first] == ids).all()):
        return hull(flow, f"{kind} pooling", x, shape)
    source = value
    conv = source.origin.map.conv if source.origin.map is not None else None
    if conv is not None and len(conv.stride) < axes:
        extra = axes - len(conv.stride)
        if all(n == 1 for n in window[:extra]):  # a convolution of fewer axes, seen as an image
            window, dilation = window[extra:], dilation[extra:]
    if conv is not None and not _neighbours(codes, source.origin.traits["places"], window):
        return hull(flow, f"{kind} pooling", x, shape)
    row = ids[first] - value.base
    row = np.broadcast_to(row if keepdim else row.reshape(row.shape[:-axes]), shape)
    made = flow.signals.begin(
        value.rows, f"{kind} pooling",
        pooling=Pooling(kind, tuple(window), tuple(dilation), source),
        recipe=lambda ruler: ruler(source),
    )  # fmt: skip
    flow.use(x, made.origin)
    flow.keep(made.origin, out)
    entry = np.arange(int(np.prod(shape)), dtype=np.int64).reshape(shape)
    return entry + ((made.base + row) << SHIFT)


def _neighbours(codes: Codes, places: Sequence[int], window: Sequence[int]) -> bool:
    """Return whether what a window spans are a convolution's neighbours, as it left them."""
    step = 1
    for axis in range(1, min(len(places), len(window)) + 1):  # from the last
        entries = np.moveaxis(codes & ENTRY, -axis, 0)
        if window[-axis] > 1 and bool((np.diff(entries, axis=0) != step).any()):
            return False
        step *= places[-axis]
    return True


def hull(
    flow: Flow,
    what: str,
    x: Operand,
    shape: Sequence[int],
    zero: bool = False,
    unknown: bool = False,
) -> Codes:
    """Report a result that stays in the range of what it is made of, channel by channel.

    Parameters
    ----------
    flow : Flow
    what : str
    x : Operand
    shape : sequence of int
        Of the result.
    zero : bool
        Whether zeros take part.
    unknown : bool
        Whether it does not stay there, after all.

    Returns
    -------
    ndarray of int64
        Codes of the result.
    """
    codes, shape = x.codes, tuple(shape)
    assert codes is not None
    axis = _channels(codes, shape)

    def rule(rules: list[RangeRule]) -> RangeRule:
        if unknown:
            return Unknown()
        if not zero:
            return rules[0]
        return Join(True, operands=(rules[0], Known(0.0, 0.0)))

    if axis is None:
        return flow.event(what, [x], shape, rule)
    return flow.event(what, [x], shape, rule, axis, [axis])


def _channels(codes: Codes, shape: tuple[int, ...]) -> int | None:
    """Return the axis along which channels lie, if each holds one signal."""
    if codes.ndim != len(shape) or codes.ndim < 3 or codes.shape[1] != shape[1]:
        return None
    ids = np.moveaxis(codes, 1, 0).reshape(codes.shape[1], -1) >> SHIFT
    fine = ids.size and bool((ids >= 0).all()) and bool((ids == ids[:, :1]).all())
    return 1 if fine else None
