"""Means of what is dear, from few samples and many of something cheap that goes with it.

Double sampling (Cochran 1977, chapter 12; the same as two levels of Giles 2008): on ``n`` samples
both the number that is wanted and a surrogate are known, on ``N`` the surrogate alone. The mean is
that of the few, moved by as much as the surrogate's mean over the many differs from that over the
few, times the slope between them. What is left of the variance: ``r^2 / n + slope^2 s^2 / N``, r
being what the surrogate leaves unexplained, s its own deviation less what control variates of known
mean take off it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Controlled",
    "Deviations",
    "Mean",
    "controlled_mean",
    "residuals",
    "share_out",
    "two_levels",
]

Array = NDArray[np.float64]

#: By how much a deviation from so few samples is made greater, for care.
_CARE = 1.1


@dataclass(frozen=True)
class Mean:
    """A mean, its variance, and the deviation of one sample that is behind it."""

    value: float
    variance: float
    deviation: float


@dataclass(frozen=True, eq=False)
class Controlled:
    """Control variates of samples.

    Parameters
    ----------
    centred : ndarray of float64, shape (samples, controls)
        Less their means.
    variances : ndarray of float64, shape (controls,)
        Of those means.
    """

    centred: Array
    variances: Array

    def of(self, first: int) -> Controlled:
        """Return the same with the first so many controls."""
        return Controlled(self.centred[:, :first], self.variances[:first])

    def where(self, samples: NDArray[np.bool_]) -> Controlled:
        """Return those of some samples."""
        return Controlled(self.centred[samples], self.variances)


def controlled_mean(values: Array, controls: Controlled) -> Mean:
    """Return the mean of values, by least squares with control variates."""
    n = len(values)
    design = np.column_stack([np.ones(n), controls.centred])
    if n < 8 * design.shape[1]:
        design = design[:, :1]
    factors = np.linalg.lstsq(design, values, rcond=1e-10)[0]
    rest, used = values - design @ factors, factors[1:]
    spread = float(rest @ rest) / max(n - design.shape[1], 1)
    variance = spread / n + float(used**2 @ controls.variances[: len(used)])
    return Mean(float(factors[0]), variance, math.sqrt(spread))


def residuals(values: Array, beside: Array, controls: Controlled) -> Array:
    """Return what of values neither a surrogate nor control variates explain."""
    design = np.column_stack([np.ones(len(values)), beside, controls.centred])
    if len(values) < 8 * design.shape[1]:
        design = design[:, :2]
    return np.asarray(values - design @ np.linalg.lstsq(design, values, rcond=1e-10)[0])


@dataclass(frozen=True)
class Deviations:
    """Of one sample: what the surrogate leaves unexplained, and of the surrogate itself."""

    unexplained: float
    surrogate: float


def two_levels(
    values: Array, beside: Array, surrogate: Array, controls: Controlled
) -> tuple[Mean, Deviations]:
    """Return the mean of values that few samples know.

    Parameters
    ----------
    values, beside : ndarray of float64, shape (few,)
        What is wanted, and the surrogate of the same samples.
    surrogate : ndarray of float64, shape (many,)
        Of all samples, those few among them.
    controls : Controlled
        Of all samples.

    Returns
    -------
    Mean, Deviations
    """
    many = controlled_mean(surrogate, controls)
    off = beside - beside.mean()
    squares = float(off @ off)
    slope = float(off @ values) / squares if squares > 0.0 else 0.0
    rest = values - values.mean() - slope * off
    n = len(values)
    spread = float(rest @ rest) / max(n - 2, 1)
    moved = many.value - float(beside.mean())
    lever = moved * moved / squares if squares > 0.0 else 0.0
    variance = spread * (1.0 / n + lever) + slope * slope * many.variance
    found = Deviations(math.sqrt(spread), abs(slope) * many.deviation)
    deviation = math.hypot(found.unexplained, found.surrogate)
    return Mean(float(values.mean()) + slope * moved, variance, deviation), found


def share_out(
    found: Deviations, costs: tuple[float, float], target: float, budget: float
) -> tuple[int, int]:
    """Return how many samples of either level reach a standard error at the least cost.

    Parameters
    ----------
    found : Deviations
    costs : tuple of float
        Of a sample whose number is wanted, and of one of the surrogate.
    target : float
        The standard error.
    budget : float
        Cost in all that is not gone beyond.

    Returns
    -------
    tuple of int
    """
    r, s = _CARE * found.unexplained, found.surrogate
    roots = math.sqrt(costs[0]), math.sqrt(costs[1])
    total = r * roots[0] + s * roots[1]
    if not total > 0.0:
        return 0, 0
    scale = min(total / (target * target) if target > 0.0 else math.inf, budget / total)
    return math.ceil(scale * r / roots[0]), math.ceil(scale * s / roots[1])
