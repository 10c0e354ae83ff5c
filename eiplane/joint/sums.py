"""Sums of independent uniform variables about zero: their reach, and their distribution."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["normal_distribution", "reach", "uniform_distribution"]

Array = NDArray[np.float64]

#: Standard deviations beyond which a sum of uniforms is left out: 2 exp(-R^2 / 2) is 7e-16 there.
_TAIL = 8.45


def reach(widths: Array, ratio: float) -> float:
    """Return half the support of a sum of uniforms, less its negligible tails.

    ``ratio`` is the variance beside that of uniforms of these widths.
    """
    half = 0.5 * float(widths.sum())
    return min(half, _TAIL * math.sqrt(ratio * float(widths @ widths) / 12.0))


def normal_distribution(t: Array) -> Array:
    """Return the standard normal's distribution function, right to 1e-6."""
    places, values = _normal()
    return np.asarray(np.interp(t, places, values))


@lru_cache(maxsize=1)
def _normal() -> tuple[Array, Array]:
    places = np.linspace(-9.0, 9.0, 4097)
    return places, np.array([0.5 * math.erfc(-t / math.sqrt(2.0)) for t in places])


def uniform_distribution(widths: Array, t: Array) -> Array:
    """Return P(S < t), S a sum of a few centred uniforms; in closed form.

    ``G_d^(k)(s) = E (s - S_d)_+^k / k!``, over the d least widths, is the difference of two values
    of ``G_(d-1)^(k+1)`` over ``width[d]`` (the exact engine's route 3), so that little cancels.

    Parameters
    ----------
    widths : ndarray of float64, shape (n,)
        Upwards and positive.
    t : ndarray of float64

    Returns
    -------
    ndarray of float64
    """
    # In the unit of the widest powers stay in float64; the new unit is a power of two.
    exponent = int(np.frexp(widths[-1])[1]) if len(widths) else 0
    widths, t = np.ldexp(widths, -exponent), np.ldexp(np.asarray(t, np.float64), -exponent)
    widths = widths[widths > 1e-200]
    n = len(widths)
    if n == 0:
        return (t > 0.0).astype(np.float64)
    moments = np.zeros((n + 1, n + 1))  # E S_d^l / l!
    moments[0, 0] = 1.0
    for d in range(1, n + 1):
        for power in range(0, n + 1, 2):
            moments[d, power] = sum(
                moments[d - 1, power - j] * (0.5 * widths[d - 1]) ** j / math.factorial(j + 1)
                for j in range(0, power + 1, 2)
            )
    reach = np.concatenate([[0.0], 0.5 * np.cumsum(widths)])

    def integral(d: int, s: Array) -> Array:
        order = n - d
        value = np.zeros_like(s)
        right = s >= reach[d]
        far = s[right]
        value[right] = sum(
            moments[d, power] * far ** (order - power) / math.factorial(order - power)
            for power in range(0, order + 1, 2)
        )
        near = ~right & (s > -reach[d])
        if d and near.any():
            half = 0.5 * widths[d - 1]
            value[near] = (
                integral(d - 1, s[near] + half) - integral(d - 1, s[near] - half)
            ) / widths[d - 1]
        return value

    return np.clip(integral(n, t), 0.0, 1.0)
