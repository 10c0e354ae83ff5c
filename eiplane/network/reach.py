"""Which pre-activations a layer can reach: interval arithmetic."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .stage import Stage

__all__ = ["affine_reach", "reach"]

Array = NDArray[np.float64]


def affine_reach(
    weight: Array, bias: Array, low: ArrayLike, high: ArrayLike
) -> tuple[Array, Array]:
    """Return the least and the greatest values of an affine map.

    Parameters
    ----------
    weight : ndarray of float64, shape (n_out, n_in)
    bias : ndarray of float64, shape (n_out,)
    low, high : array_like, shape (n_in,) or ()
        Ranges of the inputs.

    Returns
    -------
    least, greatest : ndarray of float64, shape (n_out,)
    """
    low, high = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
    centre = weight @ np.broadcast_to(0.5 * (low + high), weight.shape[1:]) + bias
    half = np.abs(weight) @ np.broadcast_to(0.5 * (high - low), weight.shape[1:])
    return centre - half, centre + half


def reach(
    stages: Sequence[Stage], weight: Array, bias: Array, low: float, high: float
) -> tuple[Array, Array]:
    """Return the least and the greatest pre-activations of a channel's outputs.

    Parameters
    ----------
    stages : sequence of Stage
        Before the last affine map.
    weight : ndarray of float64, shape (n_out, n)
    bias : ndarray of float64, shape (n_out,)
    low, high : float
        The range of every input.

    Returns
    -------
    least, greatest : ndarray of float64, shape (n_out,)
        Bounds: no input leads beyond them.
    """
    n_in = stages[0].n_in if stages else weight.shape[1]
    least, greatest = np.full(n_in, float(low)), np.full(n_in, float(high))
    for stage in stages:
        if stage.width:
            least = least.reshape(-1, stage.width).max(axis=1)
            greatest = greatest.reshape(-1, stage.width).max(axis=1)
        else:
            assert stage.weight is not None and stage.bias is not None
            assert stage.activation is not None
            ends = affine_reach(stage.weight, stage.bias, least, greatest)
            least, greatest = stage.activation.images(*ends)
    return affine_reach(weight, bias, least, greatest)
