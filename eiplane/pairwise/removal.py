"""What is left of a layer's EI parts without one of its edges: every edge taken away in turn."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .. import _core
from ..network import Channel
from ..run import Runner, cancel_flag
from . import exact

__all__ = ["ei_parts_without"]

Array = NDArray[np.float64]

#: Numbers of the weights of one unit, a row without each edge, at most if it is more than one row.
_UNIT = 1 << 16


@dataclass(frozen=True)
class Edges:
    """Some edges of one output of a channel: what one unit takes away, one after the other."""

    channel: Channel  # of that output
    start: int
    stop: int
    output: int

    @property
    def where(self) -> str:
        """Which unit this is, for errors."""
        return f"edges {self.start}..{self.stop - 1} of output {self.output}"


def rows_without(edges: Edges) -> Array:
    """Return the EI parts of an output without each of its edges."""
    taken = np.arange(edges.start, edges.stop)
    channel = edges.channel
    weight = np.repeat(channel.weight, len(taken), axis=0)
    weight[np.arange(len(taken)), taken] = 0.0
    many = replace(channel, weight=weight, bias=np.repeat(channel.bias, len(taken)))
    found = _core.exact_parts(_core.CoreChannel(many), 0, len(taken), cancel_flag())
    return np.asarray(found.information.sum(axis=1), dtype=np.float64)


def ei_parts_without(channel: Channel, runner: Runner) -> Array:
    """Compute the EI parts of every output without each of its edges, exactly.

    Parameters
    ----------
    channel : Channel
        A single layer without pooling: one for which :func:`.exact.applies` holds. Its bins stay.
    runner : Runner

    Returns
    -------
    ndarray of float64, shape (n_out, n_in)
        ``sum_A I(x_A; y_B)`` with the weight of that edge 0. One row of the exact engine an edge.
    """
    if not exact.applies(channel):
        raise ValueError(
            f"layer {channel.name!r}: edges are taken away exactly from single layers without "
            "pooling only"
        )
    step = max(1, _UNIT // channel.n_in)
    units = [
        Edges(channel.rows(b, b + 1), a, min(a + step, channel.n_in), b)
        for b in range(channel.n_out)
        for a in range(0, channel.n_in, step)
    ]
    found = runner.map(rows_without, units, f"{channel.name}: without each edge")
    return np.concatenate(found).reshape(channel.n_out, channel.n_in)
