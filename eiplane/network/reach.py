"""Which pre-activations a layer can reach: interval arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .stage import Stage
from .table import Table

__all__ = ["affine_reach", "reach", "with_tables"]

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


def with_tables(stages: Sequence[Stage], low: float, high: float) -> tuple[Stage, ...]:
    """Return stages with tables of the functions that the core does not evaluate itself.

    Parameters
    ----------
    stages : sequence of Stage
    low, high : float
        The range of every input of the first one.

    Raises
    ------
    TypeError, ValueError
        For a function that gives no finite numbers where it can be reached, or is too rough.
    """
    ready: list[Stage] = []
    for stage in stages:
        activation = stage.activation
        if activation is not None and not all(f.in_core for f in activation.distinct):
            assert stage.weight is not None and stage.bias is not None
            least, greatest = reach(ready, stage.weight, stage.bias, low, high)
            tables: list[Table | None] = []
            for i, function in enumerate(activation.distinct):
                mine = slice(None) if activation.rule is None else activation.rule == i
                ends = (float(least[mine].min()), float(greatest[mine].max()))
                tables.append(None if function.in_core else function.tabulated(*ends))
            stage = replace(stage, tables=tuple(tables))
        ready.append(stage)
    return tuple(ready)


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
