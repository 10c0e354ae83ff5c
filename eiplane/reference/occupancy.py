"""Bias and error of the information of a sampled pair, from how many of its cells are occupied.

Given the output, the input lies in one of m bins, all equally likely: m is the number of input bins
for an edge without information, 1 for one that tells all. How many cells c samples occupy, and by
how much their plug-in entropy falls short, are then sums over a binomial distribution (Paninski,
*Neural Computation* 15, 1191, 2003). So the number of occupied cells says what m is, and that what
the bias is, where most cells were never seen too. The model is wrong where some of the m cells
are likelier than others, and then about the cells that are hardly seen: that is the doubt.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Corrected", "corrected", "moments"]

Array = NDArray[np.float64]

#: Values of m, as powers of the number of input bins; and around that number itself.
_GEOMETRIC, _AROUND = 9, 1.05
#: What the moments are; see :func:`moments`.
_OCCUPIED, _BIAS, _SQUARE, _VARIANCE, _COVARIANCE, _SPREAD = range(6)


@dataclass(frozen=True, eq=False)
class Corrected:
    """What is known of an edge, in bits.

    Parameters
    ----------
    information : float
        The plug-in estimate.
    excess : float
        By how much it is too large.
    variance : float
        Of the difference.
    second, noise, doubt : float
        The variance that stays without information; what noise adds to that of the influence; the
        systematic error that may be left, with its sign.
    influence : ndarray, the table's shape
        Of a sample in every cell.
    """

    information: float
    excess: float
    variance: float
    second: float
    noise: float
    doubt: float
    influence: Array


def moments(c: int, m: float) -> Array:
    """Return moments of c samples in m equally likely cells, summed over the cells.

    Parameters
    ----------
    c : int
    m : float
        At least 1.

    Returns
    -------
    ndarray of float64, shape (6,)
        Of a cell's count n, with l = n log2 n: how many are not 0; the mean of l less its value
        at the mean of n; the mean of n log2(n m / c)^2; the variance of l, its covariance with
        (n > 0) and the variance of that, each without what follows the sum of all counts.
    """
    if c == 0:
        return np.zeros(6)
    if m <= 1.0:
        return np.array([1.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    n = np.arange(c + 1.0)
    ratios = (c - n[:-1]) / (n[:-1] + 1.0) / (m - 1.0)
    p = np.exp(c * math.log1p(-1.0 / m) + np.concatenate([[0.0], np.cumsum(np.log(ratios))]))
    mean, some = c / m, (n > 0).astype(np.float64)
    log = np.log2(np.maximum(n, 1))
    length: Array = n * log

    def covariance(a: Array, b: Array) -> float:
        d = n - mean
        whole = p @ ((a - p @ a) * (b - p @ b))
        left = whole - (p @ (a * d)) * (p @ (b * d)) / (p @ (d * d))
        return float(left * m / (m - 1.0))  # m cells of a given sum are m - 1 that are independent

    return m * np.array(
        [
            p @ some,
            p @ length - mean * math.log2(mean),
            p[1:] @ (n[1:] * (log[1:] - math.log2(mean)) ** 2),
            covariance(length, length),
            covariance(length, some),
            covariance(some, some),
        ]
    )


def _cells(in_bins: int) -> list[float]:
    steps = [in_bins ** (g / _GEOMETRIC) for g in range(_GEOMETRIC)]
    return [*steps, in_bins / _AROUND, float(in_bins), in_bins * _AROUND]


@dataclass(frozen=True, eq=False)
class _Place:
    """Where so many occupied cells are expected: place in the grid, moments, slope."""

    low: int
    share: float
    moments: Array
    slope: float

    @property
    def variance(self) -> float:
        m, s = self.moments, self.slope
        return float(max(m[_VARIANCE] - 2.0 * s * m[_COVARIANCE] + s * s * m[_SPREAD], 0.0))


def _place(found: Array, occupied: int) -> _Place:
    none = len(found) - 2
    high = 1
    while high + 1 < len(found) and found[high, _OCCUPIED] < occupied:
        high += 1
    low = high - 1
    step = found[high] - found[low]
    if not step[_OCCUPIED] > 1e-9:
        return _Place(none, 0.0, found[none].copy(), 0.0)
    share = (occupied - found[low, _OCCUPIED]) / step[_OCCUPIED]
    there = found[low] + min(share, 1.0) * step
    there[_BIAS] = found[low, _BIAS] + share * step[_BIAS]
    return _Place(low, share, there, step[_BIAS] / step[_OCCUPIED])


def _rare(sums: Array, total: float, in_bins: int, sharing: int) -> float:
    """Return the variance, of the sum over samples, by output bins that are hardly seen.

    Their samples do not say whether they share cells: such a bin may tell a bit, or more: all of an
    input, and of all inputs together log2(1 / p). One that was never seen counts as seen once.
    """
    seen = np.maximum(sums, 1.0)
    told = np.minimum(np.maximum(np.log2(total / seen) / sharing, 1.0), math.log2(in_bins))
    parts = (seen * told) ** 2 * np.exp(-2.0 * (seen**2 - 1.0) / in_bins)
    return float(parts[sums > 0].sum()) + (float(parts[sums == 0][0]) if (sums == 0).any() else 0.0)


def corrected(table: NDArray[np.integer], sharing: int = 1) -> Corrected:
    """Return what is known of an edge from its table of counts.

    Parameters
    ----------
    table : ndarray of int, shape (in_bins, out_bins)
        Without dropped samples, at least one.
    sharing : int
        How many inputs were perturbed together.

    Returns
    -------
    Corrected
    """
    t = table.astype(np.float64)
    total, sums = t.sum(), t.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.log2(t * total / np.outer(t.sum(axis=1), sums))
    pointwise = np.where(t > 0, ratio, 0.0)
    information = float((t * pointwise).sum() / total)
    most = math.log2(min(t.shape))

    cells = _cells(len(t))
    each = np.array([[moments(int(c), m) for c in sums] for m in cells])  # m, column, moment
    columns = each.sum(axis=1)
    inputs = np.array([moments(int(total), m) for m in cells])
    at = _place(columns, int((t > 0).sum()))
    x = _place(inputs, int((t.sum(axis=1) > 0).sum()))
    none = columns[-2]
    bias = min(at.moments[_BIAS], none[_BIAS] + total)
    excess = float(bias - x.moments[_BIAS]) / total

    shared = min(at.moments[_VARIANCE] / none[_VARIANCE], 1.0) if none[_VARIANCE] > 0.0 else 1.0
    rare = _rare(sums, total, len(t), sharing)
    second = min((abs(at.variance + x.variance * (1.0 - 2.0 * shared)) + rare) / total**2, most**2)

    low, high = each[at.low, :, _BIAS], each[min(at.low + 1, len(cells) - 1), :, _BIAS]
    biases = low + at.share * (high - low)
    per_sample = np.divide(biases, sums, out=np.zeros_like(biases), where=sums > 0)
    influence = np.where(t > 0, pointwise - per_sample, 0.0)
    mean = (t * influence).sum() / total
    first = max(float((t * influence**2).sum() / total - mean**2), 0.0) / total
    noise = max(float(at.moments[_SQUARE] - (biases * per_sample).sum()), 0.0) / total**2

    once = float((t == 1).sum())
    doubt = once / total * (1.0 - bias / none[_BIAS]) if none[_BIAS] > 0.0 else 0.0
    variance = second + doubt**2 + max(first - noise, 0.0)
    found = information - excess
    beyond = found - most if found > most else min(found, 0.0) / 3.0
    return Corrected(
        information, excess, max(variance, beyond**2), second, noise, doubt, influence - mean
    )
