"""The volume of a polytope by expectation propagation, slowly: the twin of csrc/joint/ei_wide.h."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

__all__ = ["Evidence", "Moments", "pair_integral", "polytope_evidence", "tilted_moments"]

Array = NDArray[np.float64]
Interval = tuple[float, float]

#: Nodes of every integral: far more than the core's.
_NODES = np.polynomial.legendre.leggauss(200)

#: Correlation from which on a pair of sites is integrated.
_STRONG = 0.6


@dataclass(frozen=True)
class Moments:
    """Of the density ``exp(h s - l s**2 / 2)`` on an interval."""

    log_mass: float
    mean: float
    variance: float
    third: float
    fourth: float


@dataclass(frozen=True, eq=False)
class Evidence:
    """What :func:`polytope_evidence` finds, in nats.

    Parameters
    ----------
    evidence, correction, change : float
        ``log P`` of the sample; what to add to it; its change in the last iteration.
    h, l : ndarray of float64, shape (n_in,)
        The cavities of the inputs.
    mean, precision : ndarray of float64, shape (n_in,), (n_in, n_in)
        Of the Gaussian of all factors.
    """

    evidence: float
    correction: float
    change: float
    h: Array
    l: Array  # noqa: E741
    mean: Array
    precision: Array


def _nodes(h: float, square: float, lo: float, hi: float) -> tuple[Array, Array]:
    """Return nodes in an interval and the logarithms of weight times density."""
    mode = min(max(h / square if square > 0.0 else math.copysign(math.inf, h), lo), hi)
    if math.isnan(mode):
        mode = lo
    slope = h - square * mode
    slope = 0.0 if lo < mode < hi else slope
    reach = 90.0 / (abs(slope) + math.sqrt(slope * slope + 90.0 * square) + 1e-290)
    a, b = max(lo, mode - reach), min(hi, mode + reach)
    s = a + (b - a) * 0.5 * (_NODES[0] + 1.0)
    with np.errstate(divide="ignore"):
        return s, np.log(0.5 * (b - a) * _NODES[1]) + s * (h - 0.5 * square * s)


def tilted_moments(h: float, square: float, interval: Interval) -> Moments:
    """Return the moments of a density on an interval, by quadrature.

    Parameters
    ----------
    h, square : float
        The density is ``exp(h s - square s**2 / 2)``.
    interval : pair of float

    Returns
    -------
    Moments
        ``third`` and ``fourth`` are cumulants.
    """
    s, logs = _nodes(h, square, *interval)
    top = logs.max()
    p = np.exp(logs - top)
    total = p.sum()
    p /= total
    mean = float(p @ s)
    d = s - mean
    variance = float(p @ d**2)
    return Moments(
        float(top + math.log(total)),
        mean,
        variance,
        float(p @ d**3),
        float(p @ d**4) - 3.0 * variance**2,
    )


def _between(a: float, b: float) -> float:
    """Return the probability that a standard normal lies between."""
    if a + b > 0.0:
        a, b = -b, -a
    return 0.5 * (math.erfc(-b / math.sqrt(2.0)) - math.erfc(-a / math.sqrt(2.0)))


@dataclass(frozen=True)
class _Site:
    h: float
    l: float  # noqa: E741
    interval: Interval
    tilted: Moments
    mean: float
    variance: float


def pair_integral(one: _Site, two: _Site, correlation: float) -> float:
    """Return log E of both sites' densities over their normal ones, under the joint normal.

    The second site is integrated in closed form, given the first one's value.
    """
    correlation = min(max(correlation, -1.0 + 1e-12), 1.0 - 1e-12)
    variance = two.variance * ((1.0 - correlation) * (1.0 + correlation))
    gain = 1.0 / two.variance - two.l
    precision = 1.0 / variance - gain
    linear = two.h - two.l * two.mean
    (lo, hi), total = one.interval, 0.0
    # Cut where the second site's ends are met, or the nodes would miss a sharp turn.
    s_lo, s_hi = _nodes(one.h, one.l, lo, hi)[0][[0, -1]]
    slope = correlation * math.sqrt(two.variance / one.variance)
    ends = [
        one.mean + (e - two.mean) / slope + k * math.sqrt(variance) / abs(slope)
        for e in two.interval
        for k in (-8, -2, 0, 2, 8)
        if math.isfinite(e)
    ]
    width = (s_hi - s_lo) * 1e-3
    cuts = sorted({max(lo, s_lo - width), *(e for e in ends if s_lo < e < s_hi),
                   min(hi, s_hi + width)})  # fmt: skip
    for a, b in pairwise(cuts):
        s = a + (b - a) * 0.5 * (_NODES[0] + 1.0)
        weight = 0.5 * (b - a) * _NODES[1]
        for x, w in zip(s, weight, strict=True):
            # Values of the second site are counted from its mean; its factor's exponent there is
            # gain t**2 / 2 + linear t + constant.
            mean, part = slope * (x - one.mean), 1.0 / (variance * precision)
            at = mean * part + linear / precision
            c, d = ((e - two.mean - at) * math.sqrt(precision) for e in two.interval)
            exponent = (
                x * (one.h - 0.5 * one.l * x) - one.tilted.log_mass
                + part * mean * (0.5 * gain * mean + linear) + 0.5 * linear**2 / precision
                + 0.5 * math.log(part) + 0.5 * math.log(2.0 * math.pi * two.variance)
                + two.mean * (two.h - 0.5 * two.l * two.mean) - two.tilted.log_mass
            )  # fmt: skip
            total += w * _between(c, d) * math.exp(exponent)
    return math.log(total)


class _Propagation:
    """The sites of one sample: the inputs, then the outputs."""

    def __init__(self, weight: Array, intervals: list[Interval]) -> None:
        self.n = weight.shape[1]
        self.directions = np.concatenate([np.eye(self.n), weight])
        self.intervals = intervals
        count = len(intervals)
        self.tau, self.nu = np.zeros(count), np.zeros(count)
        for k in range(self.n):
            own = tilted_moments(0.0, 0.0, intervals[k])
            self.tau[k], self.nu[k] = 1.0 / own.variance, own.mean / own.variance
        self.look()

    def look(self) -> None:
        """Find every site's moments, cavity and tilted moments, and the evidence."""
        d = self.directions
        precision = d.T @ (self.tau[:, None] * d)
        self.precision, self.covariance = precision, np.linalg.inv(precision)
        linear = d.T @ self.nu
        centre = self.covariance @ linear
        self.mean = d @ centre
        self.variance = ((d @ self.covariance) * d).sum(axis=1)
        least = np.where(np.arange(len(d)) < self.n, 0.0, 1e-10 / self.variance)
        self.l = np.maximum(1.0 / self.variance - self.tau, least)
        self.h = self.mean / self.variance - self.nu
        self.tilted = [
            tilted_moments(h, square, p)
            for h, square, p in zip(self.h, self.l, self.intervals, strict=True)
        ]
        normal = 0.5 * (np.log(2.0 * np.pi * self.variance) + self.mean**2 / self.variance)
        self.evidence = 0.5 * float(linear @ centre) - 0.5 * float(np.linalg.slogdet(precision)[1])
        self.evidence += 0.5 * self.n * math.log(2.0 * math.pi)
        self.evidence += sum(t.log_mass for t in self.tilted) - float(normal.sum())

    def step(self, share: float) -> None:
        """Move every site's factor a share of the way to what its tilted moments ask for."""
        for i, t in enumerate(self.tilted):
            tau = max(1.0 / t.variance - self.l[i], 0.0)
            nu = t.mean * (tau + self.l[i]) - self.h[i]
            self.tau[i] += share * (tau - self.tau[i])
            self.nu[i] += share * (nu - self.nu[i])
            if i < self.n:
                self.tau[i] = max(self.tau[i], 1.0)
        self.look()

    def correction(self) -> float:
        """Return what pairs of sites add to the evidence."""
        deviation = np.sqrt(self.variance)
        rho = self.directions @ self.covariance @ self.directions.T / np.outer(deviation, deviation)
        third = [t.third / s**3 for t, s in zip(self.tilted, deviation, strict=True)]
        fourth = [t.fourth / s**4 for t, s in zip(self.tilted, deviation, strict=True)]
        sites = [
            _Site(*site)
            for site in zip(
                self.h, self.l, self.intervals, self.tilted, self.mean, self.variance, strict=True
            )
        ]
        total = 0.0
        for j in range(len(sites)):
            for i in range(j):
                r = float(rho[i, j])
                if abs(r) > _STRONG:
                    total += pair_integral(sites[i], sites[j], r)
                else:
                    total += third[i] * third[j] * r**3 / 6.0 + fourth[i] * fourth[j] * r**4 / 24.0
        return total


def polytope_evidence(
    weight: Array,
    inputs: list[Interval],
    outputs: list[Interval],
    iterations: int = 24,
    damping: float = 0.8,
    tolerance: float = 1e-3,
) -> Evidence:
    """Return log P(u and W u lie in their intervals), u uniform on (-1/2, 1/2)^n.

    Parameters
    ----------
    weight : ndarray of float64, shape (n_out, n_in)
    inputs : list of pairs of float
        Of every input, inside (-1/2, 1/2).
    outputs : list of pairs of float
        Of every output.
    iterations, damping, tolerance
        As in csrc/joint/ei_wide.h.

    Returns
    -------
    Evidence
    """
    limited = [j for j, p in enumerate(outputs) if tuple(p) != (-math.inf, math.inf)]
    intervals = [*inputs, *(outputs[j] for j in limited)]
    change = 0.0
    for share, most in ((damping, iterations), (0.25, 4 * iterations)):
        state = _Propagation(np.asarray(weight)[limited], intervals)
        for i in range(most if limited else 0):
            last = state.evidence
            state.step(1.0 if i == 0 and share > 0.5 else share)
            change = state.evidence - last
            if abs(change) < tolerance:
                break
        if abs(change) < tolerance:
            break
    correction = state.correction() if limited else 0.0
    own = slice(state.n)
    return Evidence(
        state.evidence, correction, change, state.h[own], state.l[own], state.mean[own],
        state.precision,
    )  # fmt: skip
