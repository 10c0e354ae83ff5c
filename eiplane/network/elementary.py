"""Functions of NumPy arrays that activations are made of; each keeps its digits in the tails."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .portable import erfc, exp, log1p, tanh

__all__ = [
    "gelu",
    "gelu_tanh",
    "identity",
    "mish",
    "quick_gelu",
    "sigmoid",
    "silu",
    "softplus",
    "tanhshrink",
]

Array = NDArray[np.float64]


def sigmoid(z: Array) -> Array:
    """Return 1 / (1 + exp(-z))."""
    e = exp(-np.abs(z))
    return np.asarray(np.where(z >= 0, 1.0 / (1.0 + e), e / (1.0 + e)))


def softplus(z: Array) -> Array:
    """Return log(1 + exp(z))."""
    return np.asarray(np.maximum(z, 0.0) + log1p(exp(-np.abs(z))))


def gelu(z: Array) -> Array:
    """Return z times the normal distribution function."""
    return 0.5 * z * erfc(-z / math.sqrt(2.0))


def gelu_tanh(z: Array) -> Array:
    """Return gelu's approximation by tanh."""
    # x (1 + tanh u) / 2 = x sigmoid(2 u), which keeps its digits in the left tail.
    with np.errstate(over="ignore"):
        u = math.sqrt(2.0 / math.pi) * (z + 0.044715 * z * z * z)
    return z * sigmoid(2.0 * u)


def silu(z: Array) -> Array:
    """Return z sigmoid(z)."""
    return z * sigmoid(z)


def mish(z: Array) -> Array:
    """Return z tanh(softplus(z))."""
    return z * tanh(softplus(z))


def identity(z: Array) -> Array:
    """Return z."""
    return z


def quick_gelu(z: Array) -> Array:
    """Return z sigmoid(1.702 z)."""
    return z * sigmoid(1.702 * z)


def tanhshrink(z: Array) -> Array:
    """Return z - tanh(z)."""
    # Near 0 the difference would keep no digits; there the series of tanh does.
    s = np.where(np.abs(z) < 0.1, z, 0.0) ** 2
    series = 1 / 3 - s * (2 / 15 - s * (17 / 315 - s * (62 / 2835 - s * (1382 / 155925))))
    return np.asarray(np.where(np.abs(z) < 0.1, z * s * series, z - tanh(z)))
