"""A cell some steps after it was perturbed, as bounds of whole vectors take it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..joint.source import Labels, Source
from .run import binned, states_from, within_span
from .setup import Setup

__all__ = ["StateSource"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Rows:
    """Rows of uniform numbers, drawn from one after the other as from a generator."""

    rows: Iterator[Array]

    def random(self, size: tuple[int, int]) -> Array:
        return np.array([next(self.rows) for _ in range(size[0])]).reshape(size)

    def integers(self, high: int, *, size: int) -> NDArray[np.int64]:
        return np.minimum(next(self.rows)[:size] * high, high - 1).astype(np.int64)


@dataclass(frozen=True, eq=False)
class StateSource(Source):
    """From the perturbed neurons, and after them all that is noise, to the state after a lag."""

    setup: Setup = field(kw_only=True)

    @staticmethod
    def of(setup: Setup) -> StateSource:
        """Return that of a setup of one lag."""
        kind, cell = setup.around.kind, setup.cell
        others = {"fixed": 0, "data": 2, "noise": cell.n_state + cell.n_inputs * setup.window}
        n_in = setup.n_in + others[kind]
        given = np.arange(n_in) < setup.n_in
        return StateSource(n_in, setup.places, setup.bins, given, setup=setup)

    def values(self, u: Array) -> Array:
        """Return the state."""
        n = self.setup.n_in
        given = within_span(u[:n], self.setup.in_span)
        ((_, state),) = states_from(self.setup, given, _Rows(iter(u[n:])))
        return np.ascontiguousarray(state)

    def labels(self, values: Array) -> Labels:
        """Return the bins."""
        return binned(values, self.setup.out_span, self.bins[1])[0].astype(np.int32)

    def pieces(self, labels: Labels) -> tuple[Array, Array]:
        """Return intervals of states."""
        low, high = self.setup.out_span.T
        edges = np.linspace(low, high, self.bins[1] + 1, axis=1)
        edges[:, 0], edges[:, -1] = -np.inf, np.inf
        neuron = np.arange(len(edges))
        lo, hi = edges[neuron, labels.T], edges[neuron, labels.T + 1]
        return lo[:, :, None], hi[:, :, None]
