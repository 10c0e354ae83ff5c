"""Cross-entropy of output vectors under a model that factorises: an upper bound of their entropy.

The twin of csrc/joint/ei_bounds_forward.c.

Assumed density filtering: inputs are taken for Gaussians of their mean and variance. For one
output after the other, its interval's probability under the present Gaussian is ``q(y_j | y_<j)``;
then the Gaussian is conditioned on it by matching the first two moments. Whatever is matched, q is
normalised over the bins of y_j given the earlier ones, so ``E -log2 q(y) >= H(Y)`` (Gibbs).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .sites import mixed

__all__ = ["Polytopes", "log_forward"]

Array = NDArray[np.float64]

#: Share of the uniform distribution mixed into every q(y_j | y_<j): whatever rounding does to a
#: variance that should be 0, no surprise is then infinite.
_UNIFORM = 1e-5


@dataclass(frozen=True, eq=False)
class Polytopes:
    """Samples: where their outputs lie, and the box that their inputs lie in.

    Parameters
    ----------
    weight : ndarray of float64, shape (n_out, n_in)
        ``z = weight @ u``, u uniform on the unit cube.
    lo, hi : ndarray of float64, shape (samples, n_out, pieces)
        Intervals of z whose union is the output's bin; those with ``lo >= hi`` count for nothing.
    u : ndarray of float64, shape (samples, n_in)
        The inputs that were drawn.
    start, width : ndarray of float64, shape (samples, n_in) and (n_in,)
        The box.
    """

    weight: Array
    lo: Array
    hi: Array
    u: Array
    start: Array
    width: Array


def log_forward(p: Polytopes, bins: int) -> Array:
    """Return ``log2 q(y)`` of every sample, given that the inputs lie in its box.

    Parameters
    ----------
    p : Polytopes
    bins : int
        Output bins.

    Returns
    -------
    ndarray of float64, shape (samples,)
    """
    m, n = p.weight.shape
    variance = p.width**2 / 12.0
    middle = p.start + 0.5 * p.width
    if m * m < 6 * n * n:
        mean = middle @ p.weight.T
        square = np.repeat(((p.weight * variance) @ p.weight.T)[None], len(p.u), axis=0)
        return _in_outputs(p, mean, square, bins)
    square = np.repeat(np.diag(variance)[None], len(p.u), axis=0)
    return _in_inputs(p, middle, square, bins)


def _surprise(mean: Array, variance: Array, lo: Array, hi: Array, bins: int) -> tuple[Array, ...]:
    """Return log2 q of the bins, and how far mean and variance move."""
    h = np.zeros_like(mean)
    found = mixed(h, 1.0 / variance, lo - mean[:, None], hi - mean[:, None])
    q = np.exp(np.minimum(found.log_mass - 0.5 * np.log(2.0 * math.pi * variance), 0.0))
    logs = np.log2((1.0 - _UNIFORM) * q + _UNIFORM / bins)
    return logs, found.mean, np.minimum(found.variance / variance, 1.0) - 1.0


def _in_outputs(p: Polytopes, mean: Array, square: Array, bins: int) -> Array:
    total = np.zeros(len(mean))
    scale = np.maximum(np.einsum("bii->bi", square).max(axis=1), 1e-290)
    for j in range(mean.shape[1]):
        v = np.maximum(square[:, 0, 0], 1e-13 * scale)
        logs, shift, change = _surprise(mean[:, 0], v, p.lo[:, j], p.hi[:, j], bins)
        total += logs
        along = square[:, 0, 1:] / v[:, None]
        mean = mean[:, 1:] + along * shift[:, None]
        square = square[:, 1:, 1:] + along[:, :, None] * (along * (v * change)[:, None])[:, None, :]
    return total


def _in_inputs(p: Polytopes, mean: Array, square: Array, bins: int) -> Array:
    total = np.zeros(len(mean))
    floor = 1e-13 * (p.weight**2 @ (p.width**2 / 12.0)) + 1e-290
    for j, row in enumerate(p.weight):
        across = square @ row
        v = np.maximum(across @ row, floor[j])
        logs, shift, change = _surprise(mean @ row, v, p.lo[:, j], p.hi[:, j], bins)
        total += logs
        along = across / v[:, None]
        mean = mean + along * shift[:, None]
        square += along[:, :, None] * (along * (v * change)[:, None])[:, None, :]
    return total
