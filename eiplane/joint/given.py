"""Entropies of single outputs, given the cells of some inputs: no sampling.

``z = b + W x`` with independent uniform inputs. Given the bins of some inputs, z is a centre that
depends on the bins plus a sum of independent uniform variables that does not: of width ``|w| * bin
width`` for an input whose bin is given, of width ``|w| * range`` for one that is free. The
distribution of that sum is convolved once; the entropy of the output's bin is then a function of
the centre alone, averaged over the centres that the bins make.

The joint engine uses these numbers as control variates and for the influence of the whole input on
a node.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..network import Channel, Rule

__all__ = ["conditional_entropies", "row_entropies", "tractable"]

Array = NDArray[np.float64]

#: Points of a distribution function.
_POINTS = 8192
#: Combinations of bins that are simply gone through.
_ENUMERATE = 1 << 15
#: Beyond so many edges, or inputs times output bins, sampling is cheaper.
_EDGES = 1024


def tractable(channel: Channel) -> bool:
    """Whether the functions of this module apply: one affine map, nothing dropped, not too wide."""
    return (
        not channel.stages
        and not channel.drops
        and channel.weight.size <= _EDGES
        and channel.n_out * channel.out_bins <= 4 * _EDGES
        and channel.n_in * channel.in_bins <= 16 * _EDGES
    )


@dataclass(frozen=True, eq=False)
class _Distribution:
    """Distribution function of a centred sum of uniform variables, on [-reach, reach]."""

    reach: float
    values: Array

    def __call__(self, t: Array) -> Array:
        if self.reach == 0.0:
            return (t >= 0.0).astype(np.float64)
        place = (np.clip(t / self.reach, -1.0, 1.0) + 1.0) * (0.5 * (len(self.values) - 1))
        index = np.minimum(place.astype(np.intp), len(self.values) - 2)
        low = self.values[index]
        return np.asarray(low + (place - index) * (self.values[index + 1] - low))


def _sum_of_uniforms(widths: Array) -> _Distribution:
    """Return the distribution of a sum of centred uniform variables of these widths.

    The two widest are convolved in closed form; every other one averages the distribution function
    over its width, the function taken as linear between its points. Each step adds an error of
    about step**2 / 12 times the second derivative: below 1e-6 in all for the layers served.
    """
    widths = np.sort(widths[widths > 1e-12 * widths.max(initial=0.0)])[::-1]
    if not len(widths):
        return _Distribution(0.0, np.array([0.0, 1.0]))
    scale, widths = float(widths[0]), widths / widths[0]  # squares of tiny ones would vanish
    unit = np.linspace(-1.0, 1.0, _POINTS + 1)
    reach = 0.5
    values = 0.5 * (unit + 1.0)
    if len(widths) > 1:
        a, b = widths[:2]
        reach = 0.5 * float(a + b)
        left = np.minimum(unit, -unit) * reach  # by symmetry, the half below 0
        corner = np.maximum(left + reach, 0.0) ** 2 - np.maximum(left + 0.5 * (a - b), 0.0) ** 2
        values = np.where(unit <= 0.0, corner, 2.0 * a * b - corner) / (2.0 * a * b)
    for width in widths[2:]:
        step = 2.0 * reach / _POINTS
        integral = np.concatenate([[0.0], np.cumsum(0.5 * step * (values[1:] + values[:-1]))])
        wider = reach + 0.5 * float(width)
        values = (
            _integral(integral, values, reach, unit * wider + 0.5 * width)
            - _integral(integral, values, reach, unit * wider - 0.5 * width)
        ) / width
        reach = wider
    return _Distribution(reach * scale, np.clip(values, 0.0, 1.0))


def _integral(integral: Array, values: Array, reach: float, t: Array) -> Array:
    """Return the integral up to t of the function that joins the values by straight lines."""
    step = 2.0 * reach / (len(values) - 1)
    place = (np.clip(t, -reach, reach) + reach) / step
    index = np.minimum(place.astype(np.intp), len(values) - 2)
    part = place - index
    low, high = values[index], values[index + 1]
    inside = integral[index] + step * part * (low + 0.5 * part * (high - low))
    return np.asarray(inside + np.maximum(t - reach, 0.0))


def _bins(
    rule: Rule, bins: int, centre: Array, rest: _Distribution, low: float, high: float
) -> Array:
    """Return the probabilities of the output bins, shape (len(centre), out_bins)."""
    inside = (rule.thresholds > low) & (rule.thresholds <= high)
    first = int(np.searchsorted(rule.thresholds, low, side="right"))
    labels = rule.labels[first : first + int(inside.sum()) + 1]
    below = rest(rule.thresholds[inside][None, :] - centre[:, None])
    ends = np.ones((len(centre), 1))
    share = np.diff(np.concatenate([0.0 * ends, below, ends], axis=1), axis=1)
    result = np.zeros((bins, len(centre)))
    np.add.at(result, labels, share.T)
    return result.T


def row_entropies(p: Array) -> Array:
    """Return the entropies, in bits, of the rows."""
    return np.asarray(-(p * np.log2(np.where(p > 0.0, p, 1.0))).sum(axis=1))


def conditional_entropies(channel: Channel, given: NDArray[np.bool_]) -> Array:
    """Return ``H(Y_B | bins of some inputs)`` of every output B.

    Parameters
    ----------
    channel : Channel
        :func:`tractable`.
    given : ndarray of bool, shape (n_in,)
        Which inputs' bins are given; the others are perturbed over their whole range.

    Returns
    -------
    ndarray of float64, shape (n_out,)
        In bits, to about 1e-5.
    """
    span = channel.in_hi - channel.in_lo
    cell = span / channel.in_bins
    widths = np.where(given, cell, span) * np.abs(channel.weight)
    steps = np.where(given, cell, 0.0) * channel.weight
    middle = channel.bias + channel.weight.sum(axis=1) * 0.5 * (channel.in_lo + channel.in_hi)
    return np.array(
        [
            _mean_entropy(channel, b, float(m), _sum_of_uniforms(w), s[s != 0.0])
            for b, (m, w, s) in enumerate(zip(middle, widths, steps, strict=True))
        ]
    )


def _mean_entropy(
    channel: Channel, output: int, middle: float, rest: _Distribution, steps: Array
) -> float:
    """Return the entropy averaged over the centres middle + sum of steps * (bin - middle bin)."""
    bins, rule, out_bins = channel.in_bins, channel.rule_of(output), channel.out_bins
    offset = np.arange(bins) - 0.5 * (bins - 1)
    spread = float(np.abs(steps).sum()) * 0.5 * (bins - 1)
    low, high = middle - spread - rest.reach, middle + spread + rest.reach
    if not ((rule.thresholds > low) & (rule.thresholds <= high)).any():
        return 0.0
    if float(bins) ** len(steps) <= _ENUMERATE:
        centres = np.array([middle])
        for step in steps:
            centres = (centres[:, None] + step * offset).ravel()
        return float(row_entropies(_bins(rule, out_bins, centres, rest, low, high)).mean())
    # Too many: as a Fourier series, of which the average over each input's bins is a factor. Beyond
    # the half length no threshold is within reach, so the function is 0 at the ends.
    half = spread + 2.0 * rest.reach
    n = 1 << max(10, int(np.ceil(np.log2(64.0 * half / rest.reach))))
    grid = middle + half * (np.arange(n) * (2.0 / n) - 1.0)
    entropies = np.concatenate(
        [
            row_entropies(_bins(rule, out_bins, part, rest, low, high))
            for part in np.array_split(grid, max(1, n * channel.out_bins >> 20))
        ]
    )
    series = np.fft.rfft(entropies).real * (1 - 2 * (np.arange(n // 2 + 1) % 2))
    frequency = np.pi / half * np.arange(n // 2 + 1)
    for step in steps:
        angle = 0.5 * frequency * step
        sine = np.sin(angle)
        near = np.abs(sine) < 1e-9  # there the quotient is +-1: its limit
        turns = np.rint(angle / np.pi)
        limit = 1.0 - 2.0 * ((turns * (bins - 1)) % 2.0)
        series *= np.where(near, limit, np.sin(bins * angle) / (bins * np.where(near, 1.0, sine)))
    return max(float(series[0] + 2.0 * series[1:-1].sum() + series[-1]) / n, 0.0)
