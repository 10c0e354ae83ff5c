"""A channel evaluated: from draws to input values and bins, to output bins."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..network import Channel
from .generator import HALF

__all__ = ["evaluate", "finish", "input_bins", "inputs", "output_bins"]

Array = NDArray[np.float64]


def inputs(channel: Channel, draw: NDArray[np.uint32]) -> Array:
    """Return the input values of draws."""
    scale = (channel.in_hi - channel.in_lo) / 4294967296.0
    return np.asarray(channel.in_lo + (draw + 0.5) * scale, dtype=np.float64)


def input_bins(channel: Channel, draw: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Return the input bins of draws."""
    return ((draw.astype(np.uint64) * np.uint64(channel.in_bins)) >> HALF).astype(np.int64)


def _affine(weight: Array, bias: Array, x: Array) -> Array:
    z = np.repeat(bias[:, None], x.shape[1], axis=1)
    for k in range(weight.shape[1]):  # one input after the other, as the core adds them
        z = z + weight[:, k, None] * x[k]
    return z


def finish(channel: Channel, value: Array, first_stage: int = 0) -> Array:
    """Return the pre-activations from what goes into a stage; by default the first."""
    for stage in channel.stages[first_stage:]:
        if stage.width:
            value = value.reshape(stage.n_out, stage.width, -1).max(axis=1)
        else:
            assert stage.weight is not None and stage.bias is not None
            value = stage.values(_affine(stage.weight, stage.bias, value))
    return _affine(channel.weight, channel.bias, value)


def evaluate(channel: Channel, x: Array) -> Array:
    """Return the pre-activations of inputs.

    Parameters
    ----------
    channel : Channel
    x : ndarray of float64, shape (n_in, samples)

    Returns
    -------
    ndarray of float64, shape (n_out, samples)
    """
    return finish(channel, x)


def output_bins(channel: Channel, z: Array) -> NDArray[np.int32]:
    """Return the output bins of pre-activations, both (n_out, samples); -1 where dropped."""
    bins = np.empty(z.shape, np.int32)
    for output, values in enumerate(z):
        rule = channel.rule_of(output)
        bins[output] = rule.labels[np.searchsorted(rule.thresholds, values, side="right")]
    return bins
