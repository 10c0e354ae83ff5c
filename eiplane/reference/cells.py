"""The entropy within a cell of the inputs, in octaves."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from ..network import Channel
from .evaluation import evaluate, input_bins, inputs, output_bins
from .generator import HALF, draws
from .vectors import count_vectors

__all__ = ["cell_octaves", "octave_values"]

Array = NDArray[np.float64]


def octave_values(draws: int) -> Array:
    """Return the estimates of the entropy's octaves that values contribute, in bits.

    Returns
    -------
    ndarray of float64, shape (octaves, draws + 1)
        Entry (l, n): ``n / K sum over the octave's k of C(K - n, k) / C(K - 1, k) / k``.
    """
    table = np.zeros((draws.bit_length() - 4, draws + 1))
    for k in range(1, draws):
        for n in range(1, draws - k + 1):
            share = Fraction(math.comb(draws - n, k), math.comb(draws - 1, k))
            table[max(0, k.bit_length() - 4), n] += float(Fraction(n, draws * k) * share)
    return table / math.log(2.0)


def cell_octaves(
    channel: Channel,
    key: int,
    purpose: int,
    cell: int,
    draws_each: int,
    given: list[int],
    strata: list[int],
) -> tuple[Array, Array, int]:
    """Return the octaves of the entropy within one cell, nothing dropped.

    Returns
    -------
    whole, parts : ndarray of float64, shape (octaves,)
        Of the output vector; summed over the single outputs.
    singles : int
        Vectors seen once.
    """
    block = cell // 64 * 64
    chosen = [int(input_bins(channel, draws(key, k, block, 64, purpose))[cell - block])
              for k in range(channel.n_in)]  # fmt: skip
    rest = cell
    for k in strata:
        chosen[k] = rest % channel.in_bins
        rest //= channel.in_bins
    start = cell * draws_each // 64 * 64
    skip = cell * draws_each - start
    draw = np.stack(
        [draws(key, k, start, skip + draws_each, purpose + 1)[skip:] for k in range(channel.n_in)]
    )
    for k in given:
        low, high = (-(-((chosen[k] + i) << 32) // channel.in_bins) for i in (0, 1))
        inside = (draw[k].astype(np.uint64) * np.uint64(high - low)) >> HALF
        draw[k] = (np.uint64(low) + inside).astype(np.uint32)
    bins = output_bins(channel, evaluate(channel, inputs(channel, draw)))
    table = octave_values(draws_each)
    counts = list(count_vectors(bins).values())
    whole = table[:, counts].sum(axis=1)
    parts = sum(table[:, list(count_vectors(row[None]).values())].sum(axis=1) for row in bins)
    return whole, np.asarray(parts), counts.count(1)
