"""Probabilities of output vectors under a model, and densities of inputs given them: by the core.

The methods and their proofs are with the twins, :mod:`eiplane.reference.forward` and
:mod:`eiplane.reference.backward`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .. import _core
from ..reference import Polytopes
from ..run import cancel_flag

__all__ = ["log_backward", "log_factored", "log_forward", "sampling_cost"]

Array = NDArray[np.float64]

#: Stages of the reverse density, and how many where a stage takes long.
_STAGES, _WIDE_STAGES, _WIDE = 12, 4, 256


@dataclass(frozen=True)
class _Job:
    """How the core works; see csrc/joint/ei_bounds.h and the twins."""

    uniform: float
    bins: int = 2
    block: int = 1
    first: int = 5
    again: int = 2
    damping: float = 0.7


def _block(n_in: int) -> int:
    return max(1, -(-n_in // (_STAGES if n_in <= _WIDE else _WIDE_STAGES)))


def sampling_cost(n_out: int, n_in: int) -> int:
    """Return the multiplications that a sample takes for both, roughly."""
    total = n_out * min(n_out * n_out // 3, 2 * n_in * n_in)
    job, block = _Job(0.5), _block(n_in)
    total += n_in * n_out * n_out
    for at in range(0, n_in, block):
        left, steps = n_in - at, (job.again if at else job.first) + 1
        if 2 * left <= 3 * n_out:
            total += steps * left * left * (2 * n_out + 2 * left)
        else:
            total += steps * 2 * n_out**3 + block**2 * (n_out + 2 * block)
    return total


def _scaled(p: Polytopes) -> tuple[Array, Array, Array, Array]:
    """Return weights, limits and inputs, the box being (-1/2, 1/2)^n."""
    middle = p.start + 0.5 * p.width
    centre = _core.affine(p.weight, np.zeros(len(p.weight)), np.ascontiguousarray(middle.T)).T
    lo, hi = (
        np.ascontiguousarray((e - centre[:, :, None]).transpose(0, 2, 1)) for e in (p.lo, p.hi)
    )
    return np.ascontiguousarray(p.weight * p.width), lo, hi, (p.u - middle) / p.width


def log_forward(p: Polytopes, bins: int) -> Array:
    """Return ``log2 q(y)`` of every sample, given that the inputs lie in its box.

    Parameters
    ----------
    p : Polytopes
        No row of weights is 0.
    bins : int
        Output bins.

    Returns
    -------
    ndarray of float64, shape (samples,)
    """
    weight, lo, hi, _ = _scaled(p)
    return log_factored(weight, lo, hi, bins)


def log_factored(weight: Array, lo: Array, hi: Array, bins: int) -> Array:
    """Return ``log2 q(y)`` of every sample, inputs uniform on (-1/2, 1/2).

    Parameters
    ----------
    weight : ndarray of float64, shape (n_out, n_in)
        No row is 0.
    lo, hi : ndarray of float64, shape (samples, pieces, n_out)
        Intervals of z, infinite where there is no limit.
    bins : int
        Output bins.

    Returns
    -------
    ndarray of float64, shape (samples,)
    """
    job = _Job(1e-5, bins)
    return _core.bounds_forward(job, weight, lo, hi, cancel_flag()) / math.log(2.0)


def log_backward(p: Polytopes) -> Array:
    """Return ``log2 r(u | y)`` of every sample, in units of the density on its box.

    Parameters
    ----------
    p : Polytopes
        No row of weights is 0.

    Returns
    -------
    ndarray of float64, shape (samples,)
        Its mean is at most ``H(Y | box)``.
    """
    weight, lo, hi, v = _scaled(p)
    job = _Job(1e-3, block=_block(weight.shape[1]))
    return _core.bounds_backward(job, weight, lo, hi, v, cancel_flag()) / math.log(2.0)
