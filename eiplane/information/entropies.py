"""Entropy of a discrete distribution from the counts of a sample, in bits.

Every estimator works from counts of counts and knows nothing of the size of the alphabet. None
wins everywhere (Pinchas, Ben-Gal and Painsky, *A comparative analysis of discrete entropy
estimators for large-alphabet problems*, Entropy 26(5), 369, 2024); where samples can be had, more
of them beat any correction.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..network import refuse_masked

__all__ = [
    "ESTIMATORS",
    "Multiplicities",
    "digamma",
    "entropy",
    "halved_bias",
    "log_tail",
    "multiplicities",
]

Array = NDArray[np.float64]

_LN2 = float(np.log(2.0))
_EULER_GAMMA = 0.57721566490153286061


@dataclass(frozen=True, eq=False)
class Multiplicities:
    """The counts of counts of a sample, all that an estimator of entropy needs.

    Parameters
    ----------
    counts : ndarray of float64, shape (k,)
        Distinct positive counts, rising.
    number : ndarray of float64, shape (k,)
        How many values occurred just so often.
    """

    counts: Array
    number: Array

    @property
    def total(self) -> float:
        """Size of the sample."""
        return float(self.counts @ self.number)

    @property
    def distinct(self) -> float:
        """Number of values that occurred."""
        return float(self.number.sum())

    def having(self, count: int) -> float:
        """Return how many values occurred ``count`` times."""
        return float(self.number[self.counts == count].sum())

    @property
    def coverage(self) -> float:
        """``1 - f1 / N``: the estimated share of the distribution that the sample has seen.

        I. J. Good, *The population frequencies of species and the estimation of population
        parameters*, Biometrika 40 (1953), 237-264. It credits the idea to A. M. Turing.
        """
        return 1.0 - self.having(1) / self.total

    def mean(self, values: Array) -> float:
        """Return the average over the sample of a function of the counts, given at ``counts``."""
        return float((self.counts * self.number) @ values / self.total)


def multiplicities(counts: ArrayLike) -> Multiplicities:
    """Return the counts of counts.

    Parameters
    ----------
    counts : array_like of int
        How often each value occurred, any shape; zeros are ignored.

    Returns
    -------
    Multiplicities

    Raises
    ------
    TypeError
        If the counts are not numbers.
    ValueError
        If one is negative, not whole or not finite, or all are zero.
    """
    refuse_masked(counts, "counts")
    array = np.asarray(counts)
    if array.dtype.kind not in "iufb":
        raise TypeError(f"counts must be whole numbers, not of dtype {array.dtype}")
    if array.dtype.kind == "f" and not (np.isfinite(array) & (array == np.floor(array))).all():
        raise ValueError("counts must be whole numbers; probabilities have no sampling bias to fix")
    if array.size and array.min() < 0:
        raise ValueError(f"counts must not be negative; the least is {array.min()}")
    values, number = np.unique(array[array > 0], return_counts=True)
    if not len(values):
        raise ValueError("counts must hold at least one observation")
    return Multiplicities(values.astype(np.float64), number.astype(np.float64))


def digamma(x: ArrayLike) -> Array:
    """Return the digamma function of positive numbers.

    Parameters
    ----------
    x : array_like
        Positive.

    Returns
    -------
    ndarray of float64
        Good to a few units in the last place of max(1, |result|): recurrence up to 10, then the
        asymptotic series (Abramowitz and Stegun, 6.3.5 and 6.3.18).
    """
    x = np.array(x, dtype=np.float64, ndmin=1)
    shift = np.zeros_like(x)
    small = x < 10.0
    while small.any():
        shift[small] -= 1.0 / x[small]
        x[small] += 1.0
        small = x < 10.0
    r = 1.0 / (x * x)
    series = r * (1 / 12 - r * (1 / 120 - r * (1 / 252 - r * (1 / 240 - r * (1 / 132)))))
    return np.asarray(np.log(x) - 0.5 / x - series + shift)


def _plugin(m: Multiplicities) -> float:
    return float(np.log(m.total) - m.mean(np.log(m.counts)))


def _miller_madow(m: Multiplicities) -> float:
    return _plugin(m) + (m.distinct - 1.0) / (2.0 * m.total)


def _chao_shen(m: Multiplicities) -> float:
    n = m.total
    # With nothing seen twice the coverage would be 0 and the estimate infinite: one singleton
    # less, as Chao and Shen do.
    singles = min(m.having(1), n - 1.0)
    if n == 1:
        return 0.0
    p = (1.0 - singles / n) * m.counts / n
    seen = -np.expm1(n * np.log1p(-np.minimum(p, 1.0 - 1e-16)))
    return float(-(m.number * p * np.log(p) / seen).sum())


def _grassberger(m: Multiplicities) -> float:
    n = m.counts
    sign = np.where(n % 2 == 0, 0.5, -0.5)
    g = digamma(n) + sign * (digamma((n + 1.0) / 2.0) - digamma(n / 2.0))
    return float(np.log(m.total) - m.mean(g))


def _chao_wang_jost(m: Multiplicities) -> float:
    n = m.total
    if n == 1:
        return 0.0
    seen = m.mean(digamma(n) - digamma(m.counts))
    return seen + _unseen(n, m.having(1), m.having(2))


def _unseen(n: float, f1: float, f2: float) -> float:
    """Return Chao, Wang and Jost's estimate of the rest, from the rare values' numbers."""
    if f1 <= 0.0:
        return 0.0
    if f2 > 0.0:
        a = 2.0 * f2 / ((n - 1.0) * f1 + 2.0 * f2)
    else:
        a = 2.0 / ((n - 1.0) * max(f1 - 1.0, 0.0) + 2.0)
    return f1 / n * log_tail(a, n)


def halved_bias(m: Multiplicities, halvings: int = 1) -> float:
    """Return by how much Chao, Wang and Jost's estimate would fall on half of the sample, in bits.

    The expectation over all halves, from the counts of counts alone: a measure of the bias that is
    left, as that falls with the size of the sample. Of the part without bias, ``sum over k < N of
    r(k) / k``, a half lacks the terms from N/2 on; a value that occurred c times occurs in a half
    once with chance ``c / 2**c`` and twice with ``c (c - 1) / 2**(c + 1)``.

    Its standard error is about ``sqrt(f1) / N`` nats, f1 the number of values seen once.

    Parameters
    ----------
    m : Multiplicities
    halvings : int
        2: on a quarter of the sample, and so on.

    Returns
    -------
    float
        Positive where the estimate still grows with the sample.
    """
    n, share = m.total, 0.5**halvings
    if n * share < 2.0:
        return 0.0
    late = _late_terms(halvings)
    rare = m.counts <= len(late)
    counts, number = m.counts[rare], m.number[rare]
    lost = float((number * counts * late[counts.astype(int) - 1]).sum()) / n
    once = number * counts * share * (1.0 - share) ** (counts - 1.0)
    f1 = float(once.sum())
    f2 = float((once * (counts - 1.0)).sum()) * share / (2.0 * (1.0 - share))
    whole = _unseen(n, m.having(1), m.having(2))
    # An expectation below 1 is a chance of one.
    chance = min(f2, 1.0)
    part = chance * _unseen(n * share, f1, max(f2, 1.0))
    part += (1.0 - chance) * _unseen(n * share, f1, 0.0)
    return (lost + whole - part) / _LN2


@lru_cache(maxsize=8)
def _late_terms(halvings: int) -> Array:
    """Return the integral over share < t < 1 of ``(1 - t)**(c - 1) / t``, for c = 1, 2, ...

    Up to where a part of that share of the sample hardly ever lacks one of c values.
    """
    share = 0.5**halvings
    most = math.ceil(-36.0 / math.log1p(-share))
    t, weight = np.polynomial.legendre.leggauss(96)
    half = 0.5 * (1.0 - share)
    t, weight = share + half * (1.0 + t), half * weight
    return np.asarray([(weight * (1.0 - t) ** (c - 1) / t).sum() for c in range(1, most + 1)])


def log_tail(a: float, n: float) -> float:
    """Return ``sum over j >= 1 of (1 - a)**j / (n - 1 + j)``.

    That is ``(1 - a)**(1 - n) (-ln a - sum over r < n of (1 - a)**r / r)``, the last term of Chao,
    Wang and Jost's estimator, without its cancellation.

    Parameters
    ----------
    a : float
        In (0, 1].
    n : float
        At least 1.

    Returns
    -------
    float
    """
    q = 1.0 - a
    if q <= 0.0:
        return 0.0
    first = np.arange(1.0, 401.0)
    head = float((q**first / (n - 1.0 + first)).sum())
    if q < 0.9:  # what is left is below 0.9**400
        return head
    # Euler and Maclaurin from the 401st term on: sum of exp(-r m) / m over m >= n + 400.
    r, m = -float(np.log1p(-a)), n + 400.0
    rest = _scaled_exponential_integral(r * m) + 0.5 / m + (r + 1.0 / m) / (12.0 * m)
    return head + float(np.exp(-r * 401.0)) * rest


def _scaled_exponential_integral(x: float) -> float:
    """Return ``exp(x) E1(x)`` for x > 0 (Abramowitz and Stegun, 5.1.11 and 5.1.22)."""
    if x < 1.0:
        total, term = 0.0, 1.0
        for k in range(1, 30):
            term *= -x / k
            total -= term / k
        return float(np.exp(x)) * (total - _EULER_GAMMA - float(np.log(x)))
    value = 0.0  # the continued fraction, from far enough within
    for k in range(max(20, int(200 / x)), 0, -1):
        value = k / (1.0 + k / (x + value))
    return 1.0 / (x + value)


#: Estimators by name, in nats of counts of counts.
ESTIMATORS: dict[str, Callable[[Multiplicities], float]] = {
    "plugin": _plugin,
    "miller_madow": _miller_madow,
    "chao_shen": _chao_shen,
    "chao_wang_jost": _chao_wang_jost,
    "grassberger": _grassberger,
}


def entropy(counts: ArrayLike | Multiplicities, estimator: str = "chao_wang_jost") -> float:
    """Return the entropy, in bits, of the distribution that a sample was drawn from.

    Parameters
    ----------
    counts : array_like of int
        How often each value occurred, any shape; zeros are ignored. Or a :class:`.Multiplicities`.
    estimator : str
        * ``"plugin"``: of the observed frequencies; low by about (values - 1) / (2 N ln 2).
        * ``"miller_madow"``: plus that bias, of the values seen. G. Miller, *Note on the bias of
          information estimates*, in Information Theory in Psychology (1955), 95-100.
        * ``"chao_shen"``: frequencies shrunk by the coverage, weighted by the chance of being seen.
          A. Chao and T.-J. Shen, Environmental and Ecological Statistics 10 (2003), 429-443.
        * ``"chao_wang_jost"``: the part of ``sum p (1 - p)**k / k`` that can be estimated without
          bias, ``k < N``, and an estimate of the rest. A. Chao, Y. T. Wang and L. Jost, Methods in
          Ecology and Evolution 4 (2013), 1091-1100.
        * ``"grassberger"``: P. Grassberger, *Entropy estimates from insufficient samplings*,
          arXiv physics/0307138 (2003): the estimator with G_n = psi(n) + (-1)**n
          (psi((n + 1) / 2) - psi(n / 2)) / 2 in the place of ln n.

    Returns
    -------
    float
        In bits. At least 0.

    Raises
    ------
    TypeError
        If the counts are not numbers.
    ValueError
        If a count is negative or not whole, all are zero, or the estimator is unknown.

    Examples
    --------
    >>> round(entropy([4, 2, 3, 0, 2, 4, 0, 0, 2, 1, 1], "plugin"), 4)
    2.8398
    """
    if estimator not in ESTIMATORS:
        raise ValueError(f"unknown estimator {estimator!r}; known are {', '.join(ESTIMATORS)}")
    m = counts if isinstance(counts, Multiplicities) else multiplicities(counts)
    return max(ESTIMATORS[estimator](m) / _LN2, 0.0)
