"""Sampled pairs of bins: their tables of counts, and the plug-in information."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..network import Channel
from .evaluation import evaluate, finish, input_bins, inputs, output_bins
from .generator import draws

__all__ = ["joint_table", "mutual_information", "pair_table", "single_table"]

#: In the size of the inputs: where the baseline is further off, an input's part is left out of the
#: sum of all, not taken from it.
FAR = 1024.0


def joint_table(
    x: NDArray[np.int64], y: NDArray[np.int32], in_bins: int, out_bins: int
) -> NDArray[np.int64]:
    """Return how often every pair of bins occurs; dropped samples (-1) in the last column.

    Returns
    -------
    ndarray of int64, shape (in_bins, out_bins + 1)
    """
    y = np.where(y < 0, out_bins, y)
    return np.bincount(x * (out_bins + 1) + y, minlength=in_bins * (out_bins + 1)).reshape(
        in_bins, out_bins + 1
    )


def pair_table(
    channel: Channel, key: int, first: int, count: int, output: int, input: int
) -> NDArray[np.int64]:
    """Return the joint table of one pair with every input perturbed, (in_bins, out_bins + 1)."""
    r = np.stack([draws(key, k, first, count) for k in range(channel.n_in)])
    z = evaluate(channel, inputs(channel, r))
    return joint_table(
        input_bins(channel, r[input]),
        output_bins(channel, z)[output],
        channel.in_bins,
        channel.out_bins,
    )


def single_table(
    channel: Channel, key: int, first: int, count: int, output: int, input: int
) -> NDArray[np.int64]:
    """Return the joint table of one pair with that input alone perturbed."""
    r = draws(key, input, first, count)
    x = inputs(channel, r)
    stage = channel.stages[0] if channel.stages else None
    if stage is not None and stage.width:
        held = np.full((channel.n_in, count), channel.baseline)
        held[input] = x
        z = evaluate(channel, held)
    else:
        weight = channel.weight if stage is None else stage.weight
        base = channel.bias if stage is None else stage.bias
        assert weight is not None and base is not None
        base = base.copy()
        far = abs(channel.baseline) > FAR * max(abs(channel.in_lo), abs(channel.in_hi))
        if channel.baseline != 0.0:
            for k in range(channel.n_in):
                if k != input or not far:
                    base += weight[:, k] * channel.baseline
            if not far:
                base -= weight[:, input] * channel.baseline
        z = base[:, None] + weight[:, input, None] * x
        if stage is not None:
            z = finish(channel, stage.values(z), 1)
    return joint_table(
        input_bins(channel, r), output_bins(channel, z)[output], channel.in_bins, channel.out_bins
    )


def mutual_information(table: NDArray[np.int64]) -> float:
    """Return the plug-in mutual information of a table of counts, in bits."""
    total = table.sum()
    if total == 0:
        return 0.0
    p = table / total
    expected = p.sum(axis=1, keepdims=True) * p.sum(axis=0, keepdims=True)
    some = p > 0
    return float((p[some] * np.log2(p[some] / expected[some])).sum())
