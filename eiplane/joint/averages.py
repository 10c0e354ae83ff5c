"""Averages over few samples, widened by four standard errors and by what few samples may hide."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .bounds import WIDEN

__all__ = ["Controls", "student_four", "widened_mean"]

Array = NDArray[np.float64]

#: Bits that a control variate must vary by.
_LEAST_SPREAD = 1e-6
#: Leverage of a sample from which on controls explain nothing.
_ALONE = 0.9
#: Bits that the quadrature of a thousand sites may be off by.
_QUADRATURE = 1e-5


@dataclass(frozen=True, eq=False)
class Controls:
    """Control variates, (controls, samples), and by how much their means may be other than 0."""

    values: Array
    errors: Array

    @property
    def _varies(self) -> NDArray[np.bool_]:
        centred = self.values - self.values.mean(axis=1, keepdims=True)
        squares = centred**2
        some: NDArray[np.bool_] = (
            squares.mean(axis=1) > np.maximum(_LEAST_SPREAD, 100.0 * self.errors) ** 2
        )
        some &= squares.max(axis=1) < 0.5 * squares.sum(axis=1)
        if some.any():  # how far a sample decides by itself what it is explained by
            basis = np.linalg.qr(centred[some].T)[0]
            some &= bool((basis**2).sum(axis=1).max() < _ALONE)
        return some

    @property
    def useful(self) -> Controls:
        """Those that vary: the others would explain a rounding error by a rounding error.

        Nor are those of use that vary in a sample or two, which they would explain exactly, or any
        where the samples are not what they should be.
        """
        some = self._varies & (self.unseen == 0.0)
        return Controls(self.values[some], self.errors[some])

    @property
    def unseen(self) -> float:
        """By how much a control's mean is off, if that is not chance.

        The samples have then missed what happens rarely.
        """
        chance = WIDEN * self.values.std(axis=1) / math.sqrt(self.values.shape[1])
        off = np.abs(self.values.mean(axis=1)) - self.errors
        return float(off[off > chance].max(initial=0.0))


def widened_mean(values: Array, controls: Controls) -> tuple[float, float, float]:
    """Return a mean, less as much of the controls as goes with the values, and its errors.

    Below it and above it: a sample that has missed most of a long tail has a mean and a deviation
    that are both too small (N. J. Johnson, J. Am. Stat. Assoc. 73, 536-544, 1978).

    Parameters
    ----------
    values : ndarray of float64, shape (samples,)
    controls : Controls
    """
    n, used = len(values), controls.useful
    centred = used.values - used.values.mean(axis=1, keepdims=True)
    factors = np.linalg.lstsq(centred.T, values - values.mean(), rcond=1e-8)[0]
    rest = values - factors @ used.values
    freedom = float(n - 1 - len(used.values))
    off = rest - rest.mean()
    square = float((off**2).mean())
    spread = math.sqrt(square / freedom)
    skewness = float((off**3).mean()) / square**1.5 if square > 0.0 else 0.0
    known = float(np.abs(factors) @ used.errors) + controls.unseen + _QUADRATURE
    quantile = student_four(freedom)
    tail = skewness * (1.0 + 2.0 * quantile * quantile) / (6.0 * math.sqrt(n))
    below, above = quantile + max(-tail, 0.0), quantile + max(tail, 0.0)
    return float(rest.mean()), below * spread + known, above * spread + known


def student_four(v: float) -> float:
    """Return Student's quantile, of v degrees of freedom, in the place of the normal's 4.

    R. A. Fisher and E. A. Cornish, Technometrics 2(2), 209-225, 1960.
    """
    z = WIDEN
    terms = (
        (z**3 + z) / 4.0,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96.0,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384.0,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160.0,
    )
    return z + sum(term / v ** (k + 1) for k, term in enumerate(terms))
