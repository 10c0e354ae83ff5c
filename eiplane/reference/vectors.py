"""Whole vectors of bins, counted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..network import Channel
from .evaluation import evaluate, input_bins, inputs, output_bins
from .generator import draws

__all__ = ["count_vectors", "joint_bins"]


def joint_bins(
    channel: Channel, key: int, first: int, count: int, purpose: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return the bins of all inputs, (n_in, count), and outputs, (n_out, count); -1: dropped."""
    draw = np.stack([draws(key, k, first, count, purpose) for k in range(channel.n_in)])
    return input_bins(channel, draw), output_bins(channel, evaluate(channel, inputs(channel, draw)))


def count_vectors(bins: NDArray[np.integer]) -> dict[tuple[int, ...], int]:
    """Return how often every column occurs."""
    counts: dict[tuple[int, ...], int] = {}
    for column in bins.T:
        vector = tuple(int(b) for b in column)
        counts[vector] = counts.get(vector, 0) + 1
    return counts
