"""How surprising single outputs are, given the cells of inputs: control variates of known mean.

The average over samples of ``-log2 P(y_B | cell)`` tends to ``H(Y_B | X)``, which
:mod:`eiplane.joint.given` knows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .. import _core
from ..network import Channel
from .sums import reach, uniform_distribution

__all__ = ["cell_surprise"]

Array = NDArray[np.float64]

#: Inputs up to which the distribution within a cell is taken in closed form, and waves beyond.
_FEW, _WAVES = 4, 1 << 10


def cell_surprise(
    channel: Channel, given: NDArray[np.bool_], centres: Array, labels: NDArray[np.int32]
) -> Array:
    """Return ``sum_B -log2 P(y_B | cell)`` of every sample, in bits.

    Parameters
    ----------
    channel : Channel
        Without stages or drops.
    given : ndarray of bool, shape (n_in,)
        The inputs whose bins are given.
    centres : ndarray of float64, shape (samples, n_out)
        z in the middle of the samples' cells.
    labels : ndarray of int32, shape (samples, n_out)
        Their output bins.
    """
    span = channel.in_hi - channel.in_lo
    widths = np.where(given, span / channel.in_bins, span) * np.abs(channel.weight)
    total = np.zeros(len(labels))
    for b in range(channel.n_out):
        rule, parts = channel.rule_of(b), widths[b][widths[b] > 0.0]
        around = reach(parts, 1.0)
        cuts = rule.thresholds[np.isfinite(rule.thresholds)]
        below = _distribution(parts, around, cuts[None, :] - centres[:, b, None])
        ends = np.ones((len(labels), 1))
        filled = np.ones((len(labels), len(rule.thresholds) - len(cuts)))
        share = np.diff(np.concatenate([0.0 * ends, below, filled, ends], axis=1), axis=1)
        mine = rule.labels[None, :] == labels[:, b, None]
        total -= np.log2(np.clip((share * mine).sum(axis=1), 1e-12, 1.0))
    return total


def _distribution(parts: Array, around: float, x: Array) -> Array:
    """Return P(u < x), u a sum of centred uniforms of these widths, ``|u| < around``.

    On a circle of that size: the sawtooth plus the waves of the density, integrated.
    """
    if len(parts) <= _FEW:
        return uniform_distribution(np.sort(parts), x.ravel()).reshape(x.shape)
    parts = np.sort(parts)[::-1].copy()
    waves = int(min(np.ceil(_core.sums_highest(parts) * around / np.pi) + 1, _WAVES))
    w = np.arange(1.0, waves + 1.0) * (np.pi / around)
    own = _core.sums_waves(parts, parts[:0], 2, np.pi / around, waves + 1)[0, 1:]
    x = np.clip(x, -around, around)
    inside = np.flatnonzero(np.abs(x.ravel()) < around)
    value = np.where(x.ravel() > 0.0, 1.0, 0.0)
    near = x.ravel()[inside]
    sines = np.sin(near[:, None] * w) @ (own / w)
    value[inside] = np.clip(0.5 + (0.5 * near + sines) / around, 0.0, 1.0)
    return value.reshape(x.shape)
