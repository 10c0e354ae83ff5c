"""Sums of independent uniform variables: distribution functions and characteristic functions.

Continuous uniforms, centred at zero, and discrete ones on equidistant places about zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Sums", "reach", "uniform_distribution"]

Array = NDArray[np.float64]

#: Standard deviations beyond which a sum of uniforms is left out: 2 exp(-R^2 / 2) is 7e-16 there.
_TAIL = 8.45

#: A characteristic function below this is zero.
_ZERO = 1e-17

#: log sinc x = -sum_m _LOG_SINC[m - 1] x^(2 m): zeta(2 m) / (m pi^(2 m)).
_LOG_SINC = np.array([
    1.6449340668482264, 1.0823232337111382, 1.0173430619844491, 1.0040773561979443,
    1.0009945751278181, 1.0002460865533080, 1.0000612481350587, 1.0000152822594086,
    1.0000038172932650, 1.0000009539620339, 1.0000002384505027, 1.0000000596081891,
    1.0000000149015548, 1.0000000037253340,
]) / (np.arange(1, 15) * np.pi ** (2.0 * np.arange(1, 15)))  # fmt: skip


def reach(widths: Array, ratio: float) -> float:
    """Return half the support of a sum of uniforms, less its negligible tails.

    ``ratio`` is the variance beside that of uniforms of these widths.
    """
    half = 0.5 * float(widths.sum())
    return min(half, _TAIL * math.sqrt(ratio * float(widths @ widths) / 12.0))


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

    return np.clip(integral(n, np.asarray(t, dtype=np.float64)), 0.0, 1.0)


@dataclass(frozen=True, eq=False)
class Sums:
    """The two sums of a row: u, of uniforms of widths ``parts``, and s, of ``bins`` places each."""

    parts: Array
    steps: Array
    bins: int

    def highest(self) -> float:
        """Return a frequency from which on u's characteristic function is negligible."""
        aim = math.log(_ZERO)
        low = math.sqrt(-24.0 * aim / float(self.parts @ self.parts))
        high = low
        while self._envelope(high)[0] > aim and high < 1e7 * low:
            high *= 1.25
        return high

    def rest(self, w: float, waves: int) -> float:
        """Return how far the waves beyond frequency w, the last of so many, can move P(u < t).

        A wave of frequency v counts ``|phi(v)| / (pi v)`` in units of the step between them, and
        ``|phi(v)| <= phi(w) (w / v)^slope`` beyond w (the exact engine's equation 3).
        """
        size, slope = self._envelope(w)
        return math.exp(size) / math.pi * (1.0 / waves + 1.0 / max(slope, 1e-9))

    def _envelope(self, w: float) -> tuple[float, float]:
        """Return a bound of log of u's characteristic function at w, and of how fast it falls.

        ``|sinc x|`` is at most ``exp(-x^2 / 6)`` up to ``x^2 = 3`` and ``exp(-1/2) sqrt(3) / x``
        beyond; the slope is ``-d log / d log w``, which never falls.
        """
        x = np.minimum(0.5 * w * self.parts, 1e150)
        near = np.minimum(x, math.sqrt(3.0))
        slope = float(near @ near) / 3.0
        return -0.5 * slope - float(np.log(np.maximum(x / math.sqrt(3.0), 1.0)).sum()), slope

    def of_u(self, w: Array) -> Array:
        """Return the characteristic function of u at frequencies that are equidistant from 0 on."""
        return _product(w, 0.5 * self.parts, 1.0, _sinc, _sinc_series)

    def of_s(self, w: Array) -> Array:
        """Return the characteristic function of s likewise."""
        bins = float(self.bins)

        def dirichlet(x: Array) -> Array:
            sine = np.sin(x)
            near = np.abs(sine) < 1e-9  # the quotient's limit, +-1
            turns = np.rint(x / np.pi)
            limit = 1.0 - 2.0 * ((turns * (bins - 1.0)) % 2.0)
            return np.where(near, limit, np.sin(bins * x) / (bins * np.where(near, 1.0, sine)))

        def series(square: Array, powers: Array) -> Array:
            m = np.arange(1, len(_LOG_SINC) + 1)
            return _sinc_series(square, powers * (1.0 - bins ** (-2.0 * m)))

        return _product(w, 0.5 * self.steps, bins, dirichlet, series)


def _sinc(x: Array) -> Array:
    return np.asarray(np.sinc(x / np.pi))


def _sinc_series(square: Array, powers: Array) -> Array:
    total = np.zeros_like(square)
    for c in (_LOG_SINC * powers)[::-1]:
        total = (total + c) * square
    return np.asarray(np.exp(-total))


def _product(
    w: Array,
    sizes: Array,
    scale: float,
    factor: Callable[[Array], Array],
    series: Callable[[Array, Array], Array],
) -> Array:
    """Return the product over sizes of factor(w size), for the frequencies where it is not 0.

    As long as ``scale w size`` is at most 1 for all, by the series of its logarithm.
    """
    result = np.zeros_like(w)
    if not len(sizes):
        return np.ones_like(w)
    sizes = np.sort(sizes)[::-1]
    limit = 1.0 / (scale * sizes[0])
    n = int(np.searchsorted(w, limit, side="right"))
    if len(sizes) > 32 and n > 0:
        # In units of the greatest argument.
        unit = (sizes / sizes[0]) ** 2
        powers = np.empty(len(_LOG_SINC))
        power = unit
        for m in range(len(powers)):
            powers[m] = power.sum()
            power = power * unit
        result[:n] = series((scale * w[:n] * sizes[0]) ** 2, powers)
    else:
        n = 0
    left = n + np.flatnonzero(_ceiling(w[n:], sizes, scale) > math.log(_ZERO))
    product = np.ones(len(left))
    start = 0
    while start < len(sizes) and len(left):
        stop = start + max(8, 8192 // len(left))
        product *= factor(w[left] * sizes[start:stop, None]).prod(axis=0)
        some = np.abs(product) > _ZERO
        left, product, start = left[some], product[some], stop
    result[left] = product
    return result


def _ceiling(w: Array, sizes: Array, scale: float) -> Array:
    """Return an upper bound of the logarithm of the product over sizes, downwards, at frequencies.

    With ``x = w size``: as all coefficients of the series of log sinc are negative, ``log sinc x <=
    -x^2 / 6`` and ``log(sinc(B x) / sinc x) <= -(B^2 - 1) x^2 / 6`` in the first lobe. Beyond
    ``scale x = 1`` a factor is at most its value there, which is below 0.88, and beyond the first
    zero below ``1 / (B sin(pi / B))`` or 0.2173, while ``x < 2``.
    """
    safe = np.maximum(w, 1e-300)
    squares = np.concatenate([np.cumsum((sizes**2)[::-1])[::-1], [0.0]])
    wide, later, first = (
        np.searchsorted(-sizes, -x / safe, side="right")
        for x in (2.0, math.pi / scale, 1.0 / scale)
    )
    later, first = np.maximum(later, wide), np.maximum(first, wide)
    lobe = 0.2173 if scale == 1.0 else 1.0 / (scale * math.sin(math.pi / scale))
    gain = scale * scale - (1.0 if scale > 1.0 else 0.0)
    return np.asarray(
        math.log(lobe) * (later - wide)
        + math.log(0.88) * (first - later)
        - gain * w * w * squares[first] / 6.0
    )
