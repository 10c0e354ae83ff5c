"""Entropies of single outputs given the cells of inputs: the twin of csrc/joint/ei_given.c.

``z = s + u`` about its middle, u a sum of uniforms and s one of variables on equidistant places.
On a circle the probability of an interval as a function of s is a Fourier series, the interval's
own times the characteristic function of u, or of few uniforms differences of their distribution
function; the entropy's average over s is that of its series times the characteristic function of s.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["dirichlet_product", "given_entropy", "sinc_product"]

Array = NDArray[np.float64]

#: As many uniforms are few.
_FEW = 12


def sinc_product(widths: Array, w: Array) -> Array:
    """Return the characteristic function, at w, of a sum of centred uniforms of these widths."""
    return np.asarray(np.sinc(np.outer(w, widths) / (2.0 * np.pi)).prod(axis=1))


def dirichlet_product(steps: Array, bins: int, w: Array) -> Array:
    """Return that of a sum of variables, each uniform on so many places with these steps."""
    places = np.arange(bins) - 0.5 * (bins - 1)
    product = np.ones(len(w))
    for step in steps:
        product *= np.cos(np.multiply.outer(w * step, places)).mean(axis=1)
    return product


def given_entropy(
    parts: Array, steps: Array, bins: int, cuts: Array, kind: NDArray[np.int32], half: float, n: int
) -> tuple[float, float]:
    """Return ``E [sum_c eta(p_c(s)) - eta(p_kept(s))]`` in bits, and the share that is kept.

    Parameters
    ----------
    parts, steps : ndarray of float64
        Widths of u's uniforms, and steps between the places of s's variables.
    bins : int
    cuts : ndarray of float64
        Upwards, within ``(-half, half)``.
    kind : ndarray of int32, shape (cuts + 1,)
        Of every interval; -1 where z is dropped.
    half : float
        Half of the circle.
    n : int
        Points on it.
    """
    w = np.arange(n // 2 + 1, dtype=np.float64) * (np.pi / half)
    own, centres = sinc_product(parts, w), dirichlet_product(steps, bins, w)
    ends = np.concatenate([[-half], cuts, [half]])
    share = np.zeros((int(kind.max()) + 1, n))
    for i, k in enumerate(kind):
        if k < 0:
            continue
        if len(parts) <= _FEW:
            share[k] += _on_circle(parts, ends[i], ends[i + 1], half, n)
            continue
        wave = np.exp(-1j * w[1:] * ends[i + 1]) - np.exp(-1j * w[1:] * ends[i])
        series = np.concatenate([[ends[i + 1] - ends[i]], wave * 1j / w[1:]])
        share[k] += np.fft.irfft(series * own * n / (2.0 * half), n)
    share = np.maximum(share, 0.0)
    kept = share.sum(axis=0)
    h = _eta(share).sum(axis=0) - (_eta(kept) if (kind < 0).any() else 0.0)

    def average(values: Array) -> float:
        both = np.fft.rfft(values).real * centres
        return float(both[0] + 2.0 * both[1:-1].sum() + both[-1]) / n

    return average(h), average(kept)


def _on_circle(parts: Array, low: float, high: float, half: float, n: int) -> Array:
    """Return the probability that z is between two ends on the circle, the centre at its points."""
    x = 2.0 * half * np.arange(n) / n
    total = np.zeros(n)
    for turn in range(-1, 3):
        places = 2.0 * half * turn - x
        total += _below(parts, high + places) - _below(parts, low + places)
    return total


def _below(widths: Array, t: Array) -> Array:
    """Return P(S < t), S a sum of centred uniforms, by inclusion and exclusion."""
    n, half = len(widths), 0.5 * widths.sum()
    value = np.zeros(len(t))
    for taken in itertools.product((0.0, 1.0), repeat=n):
        sign = (-1.0) ** sum(taken)
        value += sign * np.maximum(t + half - np.dot(taken, widths), 0.0) ** n
    value /= math.factorial(n) * widths.prod()
    return np.asarray(np.where(t >= half, 1.0, np.where(t <= -half, 0.0, value)))


def _eta(p: Array) -> Array:
    return np.asarray(-p * np.log2(np.where(p > 0.0, p, 1.0)))
