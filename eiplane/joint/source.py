"""What can be sampled: a channel, or a function that is only known by calling it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .. import _core
from ..network import Channel, Rule

__all__ = ["ChannelSource", "FunctionSource", "Source", "bin_pieces"]

Array = NDArray[np.float64]
Labels = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Source:
    """A map from inputs, uniform on the unit cube, to numbers that are binned.

    Parameters
    ----------
    n_in, n_out : int
    bins : tuple of int
        Of inputs and outputs.
    given : ndarray of bool, shape (n_in,)
        The inputs that count; the others are noise.
    """

    n_in: int
    n_out: int
    bins: tuple[int, int]
    given: NDArray[np.bool_]

    def values(self, u: Array) -> Array:
        """Return the numbers of inputs, (n_in, samples); shape (n_out, samples)."""
        raise NotImplementedError

    def labels(self, values: Array) -> Labels:
        """Return their bins; (n_out, samples)."""
        raise NotImplementedError

    def pieces(self, labels: Labels) -> tuple[Array, Array]:
        """Return the intervals of which bins are unions; both (samples, n_out, pieces)."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class ChannelSource(Source):
    """A channel that drops nothing, and has no groups."""

    channel: Channel = field(kw_only=True)

    @staticmethod
    def of(channel: Channel, given: NDArray[np.bool_]) -> ChannelSource:
        """Return that of a channel."""
        bins = channel.in_bins, channel.out_bins
        return ChannelSource(channel.n_in, channel.n_out, bins, given, channel=channel)

    def values(self, u: Array) -> Array:
        """Return the pre-activations."""
        channel = self.channel
        value = np.ascontiguousarray(channel.in_lo + (channel.in_hi - channel.in_lo) * u)
        for stage in channel.stages:
            if stage.width:
                value = value.reshape(stage.n_out, stage.width, -1).max(axis=1)
                continue
            assert stage.weight is not None and stage.bias is not None
            value = stage.values(_core.affine(stage.weight, stage.bias, value))
        return _core.affine(channel.weight, channel.bias, np.ascontiguousarray(value))

    def labels(self, values: Array) -> Labels:
        """Return the outputs' bins."""
        return self.channel.bins_of(values)

    def pieces(self, labels: Labels) -> tuple[Array, Array]:
        """Return intervals of pre-activations."""
        return bin_pieces(self.channel, np.ascontiguousarray(labels.T))


@dataclass(frozen=True, eq=False)
class FunctionSource(Source):
    """A function of numbers, whose values outside their range fall in the end bins.

    Parameters
    ----------
    function : callable
        Of values of shape (samples, n_in) makes those of shape (samples, n_out).
    in_range, out_range : tuple of float
    """

    function: Callable[[Array], Array] = field(kw_only=True)
    in_range: tuple[float, float] = field(kw_only=True)
    out_range: tuple[float, float] = field(kw_only=True)

    def values(self, u: Array) -> Array:
        """Return the function's values."""
        low, high = self.in_range
        return np.ascontiguousarray(self.function(np.ascontiguousarray(low + (high - low) * u.T)).T)

    def labels(self, values: Array) -> Labels:
        """Return the bins."""
        low, high = self.out_range
        at = np.floor((values - low) * (self.bins[1] / (high - low)))
        return np.clip(at, 0, self.bins[1] - 1).astype(np.int32)

    def pieces(self, labels: Labels) -> tuple[Array, Array]:
        """Return intervals of values."""
        edges = np.linspace(*self.out_range, self.bins[1] + 1)
        edges[[0, -1]] = -np.inf, np.inf
        return edges[labels.T][:, :, None], edges[labels.T + 1][:, :, None]


def bin_pieces(channel: Channel, labels: Labels) -> tuple[Array, Array]:
    """Return the intervals of z of the samples' output bins, (samples, n_out, pieces).

    Parameters
    ----------
    channel : Channel
    labels : ndarray of int32, shape (samples, n_out)
        None dropped.
    """
    tables = [_intervals(rule, channel.out_bins) for rule in channel.rules]
    most = max(lo.shape[1] for lo, _ in tables)
    lo, hi = np.zeros((*labels.shape, most)), np.full((*labels.shape, most), -1.0)
    for i, (start, stop) in enumerate(tables):
        mine = slice(None) if channel.rule is None else np.flatnonzero(channel.rule == i)
        pieces = start.shape[1]
        lo[:, mine, :pieces] = start[labels[:, mine]]
        hi[:, mine, :pieces] = stop[labels[:, mine]]
    return lo, hi


def _intervals(rule: Rule, bins: int) -> tuple[Array, Array]:
    """Return where the intervals of every bin begin and end, (bins, pieces), filled with none."""
    ends = np.concatenate([[-np.inf], rule.thresholds, [np.inf]])
    real = ends[:-1] < ends[1:]
    places = [np.flatnonzero((rule.labels == v) & real) for v in range(bins)]
    most = max(len(p) for p in places)
    lo, hi = np.zeros((bins, most)), np.full((bins, most), -1.0)
    for label, own in enumerate(places):
        lo[label, : len(own)], hi[label, : len(own)] = ends[own], ends[own + 1]
    return lo, hi
