"""Exact tables of pairs of bins, in fractions; a plain Fourier series where those take too long."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from ..network import Channel, Rule

__all__ = ["exact_information", "exact_single_table", "exact_table", "uniform_sum"]

Array = NDArray[np.float64]


def uniform_sum(widths: Sequence[Fraction], points: Sequence[Fraction]) -> list[float]:
    """Return P(S < x), S a sum of independent uniforms centred at zero.

    Up to ten widths: inclusion and exclusion in whole numbers, correctly rounded; ``P(S < x)`` is
    ``sum over subsets (-1)^|subset| (x + total/2 - sum(subset))_+^n / (n! prod widths)``.
    More: the Fourier series on a period that covers the support, until its terms vanish.

    Parameters
    ----------
    widths : sequence of Fraction
        Not negative; those of zero are ignored.
    points : sequence of Fraction

    Returns
    -------
    list of float
    """
    return [float(value) for value in _uniform_distribution(widths, points)]


def _uniform_distribution(
    widths: Sequence[Fraction], points: Sequence[Fraction]
) -> list[Fraction] | list[float]:
    """Return the same, as fractions where it is exact: neighbours may differ by very little."""
    widths = [w for w in widths if w > 0]
    n, total = len(widths), sum(widths, Fraction(0))
    if n == 0:
        return [Fraction(int(x > 0)) for x in points]
    if n > 10:
        return _uniform_series(widths, points)
    unit = math.lcm(*(x.denominator for x in (*widths, *points))) * 2
    whole = [int(w * unit) for w in widths]
    terms = [(0, 1)]
    for w in whole:
        terms += [(s + w, -sign) for s, sign in terms]
    terms.sort()
    below = math.factorial(n) * math.prod(whole)
    out = []
    for point in points:
        at = int((point + total / 2) * unit)
        if point >= total / 2:
            out.append(Fraction(1))
        else:
            top = sum(sign * (at - s) ** n for s, sign in terms if s < at)
            out.append(Fraction(top, below))
    return out


def _uniform_series(widths: Sequence[Fraction], points: Sequence[Fraction]) -> list[float]:
    half = float(sum(widths, Fraction(0))) / 2
    a = np.array([float(w) for w in widths])
    x = np.clip(np.array([float(p) for p in points]), -half, half)
    value = np.full(len(x), 0.5)
    for start in range(0, 1 << 17, 256):
        q = np.arange(start, start + 256) + 0.5
        # np.sinc(t) is sin(pi t) / (pi t); frequency q has the half period 2 half.
        phi = np.prod(np.sinc(np.outer(q, a) / (4 * half)), axis=1)
        value += np.sin(np.outer(x, np.pi * q / (2 * half))) @ (phi / (np.pi * q))
        if np.abs(phi).max() < 1e-17:
            return [float(v) for v in value]
    raise ValueError("this series converges too slowly for a reference")


def _labelled(rule: Rule, bins: int, distribution: Sequence[Fraction] | Sequence[float]) -> Array:
    """Return the probabilities of the output bins from the distribution at the thresholds."""
    table: list[Fraction | float] = [Fraction(0)] * bins
    before: Fraction | float = Fraction(0)
    for label, now in zip(rule.labels, [*distribution, Fraction(1)], strict=False):
        if label >= 0:
            table[label] += max(now - before, Fraction(0))  # a series may undershoot
        before = now
    return np.array([float(p) for p in table])


def _finite(rule: Rule) -> Array:
    """Return the thresholds that there are; the infinite ones only fill the rule up."""
    return rule.thresholds[np.isfinite(rule.thresholds)]


def exact_table(channel: Channel, output: int, input: int) -> Array:
    """Return the probabilities of the output bins in every bin of one input, all inputs perturbed.

    Given that ``x_A`` lies in a bin, ``z`` is the sum of the other inputs' uniforms, of widths
    ``|w_k| range``, and of one of width ``|w_A| range / in_bins`` about the bin's centre.

    Returns
    -------
    ndarray of float64, shape (in_bins, out_bins)
        A row sums to 1 less the probability that the sample is dropped.
    """
    w = [Fraction(float(v)) for v in channel.weight[output]]
    lo, hi = Fraction(channel.in_lo), Fraction(channel.in_hi)
    mean = Fraction(float(channel.bias[output])) + (lo + hi) / 2 * sum(w)
    widths = [abs(v) * (hi - lo) for v in w]
    own = widths.pop(input)
    widths.append(own / channel.in_bins)
    rule = channel.rule_of(output)
    thresholds = [Fraction(float(t)) - mean for t in _finite(rule)]
    sign = -1 if w[input] < 0 else 1
    points = []
    for i in range(channel.in_bins):
        centre = sign * own * (Fraction(2 * i + 1, 2 * channel.in_bins) - Fraction(1, 2))
        points += [t - centre for t in thresholds]
    values, m = _uniform_distribution(widths, points), len(thresholds)
    rows = [values[i * m : i * m + m] for i in range(channel.in_bins)]
    return np.stack([_labelled(rule, channel.out_bins, row) for row in rows])


def exact_single_table(channel: Channel, output: int, input: int) -> Array:
    """Return the same table with the other inputs held at the baseline.

    Returns
    -------
    ndarray of float64, shape (in_bins, out_bins)
    """
    w = [Fraction(float(v)) for v in channel.weight[output]]
    lo, hi = Fraction(channel.in_lo), Fraction(channel.in_hi)
    held = Fraction(float(channel.bias[output]))
    held += Fraction(channel.baseline) * (sum(w) - w[input])
    rows, rule = [], channel.rule_of(output)
    for i in range(channel.in_bins):
        width = (hi - lo) / channel.in_bins
        ends = sorted(held + w[input] * (lo + width * k) for k in (i, i + 1))
        below = []
        for t in _finite(rule):
            share = Fraction(float(t)) - ends[0]
            if ends[1] > ends[0]:
                inside = share / (ends[1] - ends[0])
                below.append(min(max(inside, Fraction(0)), Fraction(1)))
            else:
                below.append(Fraction(int(share > 0)))
        rows.append(_labelled(rule, channel.out_bins, below))
    return np.stack(rows)


def exact_information(table: Array) -> float:
    """Return the information of equally likely rows, given that a sample is kept, in bits.

    Kept more rarely than once in 1e12 counts as never, and is no information.
    """
    kept = table.sum()
    if kept < 1e-12 * len(table):
        return 0.0
    p = table / kept
    rows, columns = np.broadcast_arrays(p.sum(axis=1, keepdims=True), p.sum(axis=0, keepdims=True))
    some = p > 0
    # Logarithms one by one: the product of two small sums may be too small for a float.
    return math.fsum(p[some] * (np.log2(p[some]) - np.log2(rows[some]) - np.log2(columns[some])))
