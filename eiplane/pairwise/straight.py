"""Chains of layers that are one layer in truth: without an activation between, or through one unit.

Where the first map has rank one everything that follows is a function of one number, and the places
where it changes the outputs' bins are thresholds of that number.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .. import _core
from ..network import MAX_THRESHOLDS, Channel, Rule, Stage
from .lines import Codes, Decided, LostError, applies, decided

__all__ = ["merged", "single"]

Array = NDArray[np.float64]

#: How far a map of rank one may be from one, by rounding, relative to its largest weight.
_SAME = 4e-16


def merged(channel: Channel) -> Channel:
    """Return a channel without the stages that are linear.

    Parameters
    ----------
    channel : Channel

    Returns
    -------
    Channel
        The same up to rounding.
    """
    stages, weight, bias = list(channel.stages), channel.weight, channel.bias
    for i in reversed(range(len(stages))):
        stage, following = stages[i], stages[i + 1] if i + 1 < len(stages) else None
        linear = stage.activation is not None and stage.activation.kind == "identity"
        if not linear or channel.groups > 1 or (following is not None and following.width):
            continue
        assert stage.weight is not None and stage.bias is not None
        if following is None:
            weight, bias = _product(weight, bias, stage.weight, stage.bias)
        else:
            assert following.weight is not None and following.bias is not None
            both = _product(following.weight, following.bias, stage.weight, stage.bias)
            stages[i + 1] = replace(following, n_in=stage.n_in, weight=both[0], bias=both[1])
        del stages[i]
    if len(stages) == len(channel.stages):
        return channel
    return replace(channel, weight=weight, bias=bias, stages=tuple(stages))


def _product(after: Array, offset: Array, before: Array, bias: Array) -> tuple[Array, Array]:
    weight = _core.affine(after, np.zeros(len(after)), before)
    return weight, _core.affine(after, offset, np.ascontiguousarray(bias[:, None]))[:, 0]


def single(channel: Channel) -> Channel:
    """Return a channel whose first map has rank one as a single layer; any other as it is.

    Parameters
    ----------
    channel : Channel

    Returns
    -------
    Channel
        Each output has thresholds of its own.
    """
    if not applies(channel) or channel.groups > 1:
        return channel
    stage = channel.stages[0]
    parts = _outer(stage)
    if parts is None:
        return channel
    column, row = parts
    assert stage.bias is not None
    ends = sorted([min(channel.in_lo, channel.baseline), max(channel.in_hi, channel.baseline)])
    low = float(np.minimum(row * ends[0], row * ends[1]).sum())
    high = float(np.maximum(row * ends[0], row * ends[1]).sum())
    codes = Codes.of(channel)
    base, along = stage.bias + column * low, column * (high - low)
    try:
        found = list(decided(channel, codes, base[:, None], along[:, None]))
        rules = [_rule(channel, codes, found, b, low, high) for b in range(channel.n_out)]
    except LostError:
        return channel
    sizes = [max(len(getattr(rule, cuts)) for rule in rules) for cuts in ("thresholds", "limits")]
    if sizes[0] > MAX_THRESHOLDS:
        return channel
    return replace(
        channel,
        weight=np.tile(row, (channel.n_out, 1)),
        bias=np.zeros(channel.n_out),
        rules=tuple(rule.filled(*sizes) for rule in rules),
        rule=np.arange(channel.n_out, dtype=np.int32),
        stages=(),
    )


def _outer(stage: Stage) -> tuple[Array, Array] | None:
    """Return the column and the row whose product a map is; None where it has a higher rank."""
    weight = stage.weight
    assert weight is not None
    if len(weight) == 1:
        return np.ones(1), weight[0]
    if weight.shape[1] == 1:
        return weight[:, 0], np.ones(1)
    row = weight[np.abs(weight).max(axis=1).argmax()]
    square = float(row @ row)
    if square == 0.0:
        return np.zeros(len(weight)), row
    column = weight @ row / square
    if np.abs(weight - np.outer(column, row)).max() > _SAME * np.abs(row).max():
        return None
    return column, row


def _rule(
    channel: Channel, codes: Codes, found: list[Decided], output: int, low: float, high: float
) -> Rule:
    """Return how an output is binned by the one number."""
    mine = [d.output == output for d in found]
    start = np.concatenate([d.start[m] for d, m in zip(found, mine, strict=True)])
    code = np.concatenate([d.code[m] for d, m in zip(found, mine, strict=True)])
    order = np.argsort(start, kind="stable")
    places, code = low + (high - low) * start[order], code[order]
    rule = 0 if channel.rule is None else int(channel.rule[output])
    thresholds, labels = _changes(places, codes.labels[rule][code])
    limits, outside = _changes(places, codes.outside[rule][code].astype(np.uint16))
    return Rule(thresholds, labels.astype(np.int32), limits, outside.astype(np.uint16))


def _changes(places: Array, values: NDArray[np.integer]) -> tuple[Array, NDArray[np.integer]]:
    """Return where values change, and what they are between."""
    last = np.append(np.diff(places) > 0.0, True)  # of those in one place only the last counts
    places, values = places[last], values[last]
    change = np.flatnonzero(values[1:] != values[:-1]) + 1
    return np.ascontiguousarray(places[change]), values[np.append(0, change)]
