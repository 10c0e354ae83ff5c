"""Outputs whose weights are so small that squares of them would leave float64.

``z = w x + b`` may be measured in any unit. Where all that the inputs add to the bias is tiny,
either no threshold is within reach, and the output is a constant, or the few that are move with it:
powers of two change no digit. Everything that measures channels is then spared numbers near the end
of the doubles' range.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .reach import reach

if TYPE_CHECKING:
    from .channel import Channel, Rule

__all__ = ["enlarged"]

Array = NDArray[np.float64]

#: What the inputs add to a bias, at most, in an output that is measured in another unit.
_TINY = 1e-60


def enlarged(channel: Channel) -> Channel:
    """Return a channel without outputs that hardly move: constant, or in a larger unit.

    Parameters
    ----------
    channel : Channel

    Returns
    -------
    Channel
        The same one if it has none.
    """
    sums = channel.own_sums()
    if sums is not None and sums.least >= _TINY:  # as nearly always
        return channel
    if sums is not None:
        size = sums.greatest
    else:
        size = np.maximum(channel.weight.max(axis=1), -channel.weight.min(axis=1))
    tiny = (size > 0.0) & (size < _TINY)
    if not tiny.any():
        return channel
    most = _most(channel)
    tiny &= size * (most * channel.weight.shape[1]) < _TINY
    weight, bias, rules = channel.weight.copy(), channel.bias.copy(), list(channel.rules)
    rule = np.zeros(len(bias), np.int32) if channel.rule is None else channel.rule.copy()
    for b in np.flatnonzero(tiny):
        # Beyond the rounding of bias plus sum nothing is lost: this is what float64 says of z.
        exponent = int(np.frexp(size[b] * most)[1]) if size[b] * most > 0.0 else -1073
        reach = float(size[b]) * most * channel.weight.shape[1]
        moved = _moved(channel.rule_of(int(b)), float(bias[b]), reach, exponent)
        if len(moved.thresholds) or len(moved.limits):
            weight[b], bias[b] = np.ldexp(weight[b], -exponent), 0.0
            rule[b] = len(rules)
            rules.append(moved)
        else:
            weight[b] = 0.0
    sizes = [max(len(getattr(r, cuts)) for r in rules) for cuts in ("thresholds", "limits")]
    if len(rules) == len(channel.rules):
        return replace(channel, weight=weight, sums=None)
    filled = tuple(r.filled(*sizes) for r in rules)
    return replace(channel, weight=weight, bias=bias, sums=None, rules=filled, rule=rule)


def _most(channel: Channel) -> float:
    """Return the greatest size of what the last affine map takes."""
    low = min(channel.in_lo, channel.baseline)
    high = max(channel.in_hi, channel.baseline)
    if not channel.stages:
        return max(abs(low), abs(high))
    n = channel.stages[-1].n_out
    least, greatest = reach(channel.stages, np.eye(n), np.zeros(n), low, high)
    return float(max(np.abs(least).max(), np.abs(greatest).max()))


def _moved(rule: Rule, bias: float, reach: float, exponent: int) -> Rule:
    """Return a rule of ``(z - bias) 2^-exponent``, for z within reach of the bias alone."""
    cuts, labels = _near(rule.thresholds - bias, rule.labels, reach, exponent)
    limits, outside = _near(rule.limits - bias, rule.outside, reach, exponent)
    return replace(rule, thresholds=cuts, labels=labels, limits=limits, outside=outside)


def _near(cuts: Array, of: NDArray, reach: float, exponent: int) -> tuple[Array, NDArray]:  # type: ignore[type-arg]
    first, stop = np.searchsorted(cuts, -reach), np.searchsorted(cuts, reach, side="right")
    return np.ldexp(cuts[first:stop], -exponent), of[first : stop + 1]
