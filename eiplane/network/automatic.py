"""The output range that ``out_range="auto"`` means, from a layer and the range of its inputs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .activation import Activation
from .known import get_activation
from .layer import Layer, check_reach
from .limits import MAX_BINS, resolved
from .sums import RowSums

__all__ = ["automatic_range", "joined_image"]

Array = NDArray[np.float64]

_BLOCK = 1 << 15  # weights: what is computed of them stays near the CPU


def automatic_range(
    layer: Layer,
    in_range: tuple[float, float],
    sums: RowSums | None = None,
    ends: tuple[float, float] | None = None,
) -> tuple[float, float]:
    """Return the output range that ``out_range="auto"`` means.

    Parameters
    ----------
    layer : Layer
    in_range : tuple of float
        The range of every input.
    sums : RowSums, optional
        Of the rows of the layer's weight; added up here if left out.
    ends : tuple of float, optional
        The least and the greatest of all neurons' ends of mean +- 4 standard deviations, as below;
        for activations that rise.

    Returns
    -------
    tuple of float
        The activation's own range, where it has a bounded one. Otherwise the image under f of mean
        +- 4 standard deviations of the pre-activation under ``do(L1 = Hmax)``, joined over the
        neurons and clipped to what the layer can reach. A layer that is constant (within 2.5e-10
        of its size, or 1e-150) gets a range of width 1, or more if it is large, about its
        value. Pooling keeps the range of what it pools.
    """
    if layer.pool is not None and layer.pool.activation.kind != "identity":
        after = layer.pool.activation
        if after.natural_range is not None:
            return after.natural_range
        pool = replace(layer.pool, activation=get_activation("identity"))
        low, high = automatic_range(replace(layer, pool=pool), in_range)
        return joined_image(after, np.array([low]), np.array([high]))
    natural = layer.activation.natural_range
    if natural is not None:
        return natural
    check_reach(layer, in_range, sums)
    lo, hi = in_range
    if ends is not None:
        return _image_of(layer.activation, *ends)
    if sums is not None:
        totals, sizes, squares = sums.totals, sums.sizes, sums.squares
    else:
        totals, sizes, squares = _added(layer)
    mean = layer.offsets() + 0.5 * (lo + hi) * totals
    reach = 0.5 * (hi - lo) * sizes
    deviation = (hi - lo) * np.sqrt(squares / 12.0)
    half = np.minimum(4.0 * deviation, reach)
    return joined_image(layer.activation, mean - half, mean + half)


def _added(layer: Layer) -> tuple[Array, Array, Array]:
    """Return the sums of a weight's rows, of their sizes and of their squares."""
    weight = layer.weight.reshape(layer.n_out, -1)
    sums, sizes, squares = np.empty((3, layer.n_out))
    step = max(1, _BLOCK // weight.shape[1])
    for start in range(0, layer.n_out, step):  # a block at a time: the layer may be large
        rows = slice(start, start + step)
        block = weight[rows].astype(np.float64, order="C")
        sums[rows] = block.sum(axis=1)
        sizes[rows] = np.abs(block, out=block).sum(axis=1)
        squares[rows] = np.multiply(block, block, out=block).sum(axis=1)
    return sums, sizes, squares


def joined_image(activation: Activation, low: Array, high: Array) -> tuple[float, float]:
    """Return the smallest range that holds the activation's image of every interval.

    Parameters
    ----------
    activation : Activation
    low, high : ndarray of float64, shape (n,)
        Ends of the intervals of pre-activations.

    Returns
    -------
    tuple of float
    """
    if activation.rises:
        return _image_of(activation, float(low.min()), float(high.max()))
    least, greatest = activation.images(low, high)
    return _widened(float(least.min()), float(greatest.max()))


def _image_of(activation: Activation, low: float, high: float) -> tuple[float, float]:
    """Return the range of an activation that rises."""
    return _widened(*activation.values_at(low, high))


def _widened(start: float, stop: float) -> tuple[float, float]:
    """Return a range, or a wider one about it if it is too narrow."""
    if not resolved((start, stop), MAX_BINS):
        half = max(0.5, 1e-6 * max(abs(start), abs(stop)))  # its own size does not swallow it
        return start - half, stop + half
    return start, stop
