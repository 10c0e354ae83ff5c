"""Entropies and informations of counted vectors, each with its error and the doubt in it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .. import _core
from ..information import Multiplicities, entropy, halved_bias
from ..network import Channel
from .vectors import Counted, unpack

__all__ = [
    "Estimate",
    "controlled_entropy",
    "counted_information",
    "estimate_entropy",
    "information_variance",
]

Array = NDArray[np.float64]

#: The share of what halving does that is added: more than 1 by so much of what a second halving
#: does less than twice as much as the first; the usual share, where what halving does is less than
#: so many deviations of its noise; the share that is doubt, and by how much more of it there is for
#: what is unseen. Where there was any bias to speak of, it was 1.0 to 2.2 of what halving does: of
#: layers of 2 to 24 outputs with 4,000 to 400,000 evaluations and of shuffled blocks, against plain
#: counting (bench/calibration.py).
_SLOW, _USUAL, _TOLD, _DOUBT, _UNSEEN = 1.15, 1.2, 4.0, 0.5, 3.0
#: By so much of that share less doubt is left, where the second halving tells of a slow fall.
_KNOWN = 0.3

#: Bits squared that a control variate must vary by.
_LEAST_VARIANCE = 1e-12

#: Steps of a bit to which the core rounds logarithms.
_FINE = 65536.0


@dataclass(frozen=True)
class Estimate:
    """An estimated quantity, in bits.

    Parameters
    ----------
    value, stderr : float
        The error holds the doubt about the bias.
    bias : float
        That doubt.
    coverage : float
        Estimated share of the distribution that the sample has seen.
    """

    value: float
    stderr: float
    bias: float
    coverage: float


def estimate_entropy(
    counts: Multiplicities, variance: float | None = None, shift: float = 0.0
) -> Estimate:
    """Return the entropy of a sample with its error.

    Chao, Wang and Jost's estimate falls short where many values are rare, and by less the larger
    the sample is. What it would lose on half of the sample says how far it is off, as in
    Richardson's extrapolation or the jackknife; and what on a quarter, how slowly that falls.

    Parameters
    ----------
    counts : Multiplicities
    variance : float, optional
        Of ``-log2 p`` where control variates have made it smaller.
    shift : float
        What they add.

    Returns
    -------
    Estimate
    """
    logs = np.log2(counts.total / counts.counts)
    if variance is None:
        variance = counts.mean(logs**2) - counts.mean(logs) ** 2
    lost = halved_bias(counts)
    noise = math.sqrt(counts.having(1)) / (counts.total * math.log(2.0))
    taken, told = _taken(counts, lost, noise)
    chance = taken * noise
    # While much is unseen the bias falls more slowly than with one over the sample's size.
    bias = _DOUBT * (1.0 - _KNOWN * told) * abs(lost) * (1.0 + _UNSEEN * (1.0 - counts.coverage))
    # What is quadratic in the counts' noise: all that is left where the linear part is small.
    second = 0.5 * max(float(counts.number.sum()) - 1.0, 0.0) / (counts.total * math.log(2.0)) ** 2
    return Estimate(
        max(entropy(counts) + taken * lost + shift, 0.0),
        math.sqrt(max(variance, 0.0) / counts.total + second + bias * bias + chance * chance),
        bias,
        counts.coverage,
    )


def _taken(counts: Multiplicities, lost: float, noise: float) -> tuple[float, float]:
    """Return how many times what halving loses is to be added, and how much a second one told."""
    if not lost > 0.0:
        return _USUAL, 0.0
    again = (halved_bias(counts, 2) - lost) / lost
    slow = min(max(2.0 - again, 0.0), 1.0)
    sure = lost * lost / (lost * lost + (_TOLD * noise) ** 2)
    return sure * (1.0 + _SLOW * slow) + (1.0 - sure) * _USUAL, sure * slow


def controlled_entropy(counted: Counted, channel: Channel, known: Array) -> Estimate:
    """Return H(Y), with the outputs' exact distributions as control variates.

    The average over the sample of ``-log2 p_B(y_B)`` has the known mean ``H(Y_B)``; so much of
    ``-log2 p(y)`` as goes with it, by least squares, is replaced by its mean.

    Parameters
    ----------
    counted : Counted
        Its first set are the output vectors.
    channel : Channel
    known : ndarray of float64, shape (n_out, out_bins)
        The outputs' distributions.

    Returns
    -------
    Estimate
    """
    counts = counted.of_set(0)
    table = counted.sets[0]
    number = table[:, -1].astype(np.float64)
    labels = unpack(table[:, :-1], [channel.out_bins] * channel.n_out)
    surprise = -np.log2(np.maximum(known, 1e-9))
    columns = np.stack([s[y] for s, y in zip(surprise, labels, strict=True)])
    means = (known * surprise).sum(axis=1)
    if len(columns) * columns.shape[1] > 1 << 23:  # one control for all, where there are many
        columns, means = columns.sum(axis=0, keepdims=True), means.sum(keepdims=True)
    weight = number / number.sum()
    own = np.log2(number.sum() / number)
    # Sums in one thread and one order: a linear algebra library's threads would only be in the way
    # of those that sample, and its last digits differ between machines.
    averages = np.einsum("ik,k->i", columns, weight)
    centred = columns - averages[:, None]
    weighted = centred * weight
    square = np.einsum("ik,jk->ij", weighted, centred)
    # What does not vary explains nothing: as it stands, rounding errors.
    square[square.diagonal() < _LEAST_VARIANCE] = 0.0
    square[:, square.diagonal() < _LEAST_VARIANCE] = 0.0
    product = np.einsum("ik,k->i", weighted, own - float(np.einsum("k,k", own, weight)))
    product[square.diagonal() == 0.0] = 0.0
    factors = np.linalg.lstsq(square, product, rcond=1e-10)[0]
    rest = own - float(np.einsum("k,k", own, weight)) - np.einsum("i,ik->k", factors, centred)
    shift = float(factors @ (means - averages))
    return estimate_entropy(counts, float(np.einsum("k,k,k", rest, rest, weight)), shift)


def counted_information(
    counted: Counted, one: int, two: int, pair: int, known: float | None, plugin: bool
) -> tuple[Estimate, Estimate]:
    """Return the information of two sets that were counted together, and the entropy of the second.

    Parameters
    ----------
    counted : Counted
        Of at least one sample.
    one, two, pair : int
        Places of the sets, inputs and outputs, and of their pair.
    known : float or None
        The entropy of the first set, where it needs no estimate.
    plugin : bool
        Whether the values are to be those of the plug-in estimator. Their doubt is how far a better
        one is away.

    Returns
    -------
    information, output : Estimate
    """
    x, y, both = counted.of_set(one), counted.of_set(two), counted.of_pair(pair)
    of_y, of_both = estimate_entropy(y), estimate_entropy(both)
    value = max((entropy(x) if known is None else known) + of_y.value - of_both.value, 0.0)
    spread = math.sqrt(information_variance(counted, one, two, pair) / counted.kept)
    bias = abs(of_both.bias - of_y.bias)
    coverage = min(y.coverage, both.coverage)
    if plugin:
        better, plain = value, entropy(y, "plugin")
        value = entropy(x, "plugin") + plain - entropy(both, "plugin")
        bias = abs(value - better)
        off = of_y.value - plain
        of_y = Estimate(plain, math.hypot(of_y.stderr, off), off, y.coverage)
    return Estimate(value, math.hypot(spread, bias), bias, coverage), of_y


def information_variance(counted: Counted, one: int, two: int, pair: int) -> float:
    """Return the variance of ``log2 p(x, y) / (p(x) p(y))`` over the sample."""
    logs = [
        np.rint(np.log2(counted.sets[i][:, -1].astype(np.float64)) * _FINE).astype(np.int32)
        for i in (one, two)
    ]
    # Sums of integers: they do not depend on the order in which the vectors were met.
    sums = _core.joint_moments(counted.pairs[pair], *logs)
    mean, square = (total / (_FINE * counted.kept) for total in sums)
    return max(square - mean * mean, 0.0)
