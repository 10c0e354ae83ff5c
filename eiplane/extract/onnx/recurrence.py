"""The proof of recurrent gates: what was extracted, run by hand, has to give the node's output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...network import Activation
from ..flow.gates import fits
from ..flow.signals import Map
from .cells import Cell

__all__ = ["Direction", "Gate", "reproduces"]

Array = NDArray[np.float64]


@dataclass(eq=False)
class Gate:
    """One block of a recurrent node's matrices, as a layer.

    Parameters
    ----------
    weight : ndarray, shape (n_out, n_in)
    bias : ndarray, shape (n_out,), or None
    activation : Activation
    map : Map or None
        None where it makes no layer.
    """

    weight: NDArray[Any]
    bias: NDArray[Any] | None
    activation: Activation
    map: Map | None

    def linear(self, x: Array) -> Array:
        """Return what its matrix makes of some inputs."""
        made: Array = x @ np.asarray(self.weight, dtype=np.float64).T
        return made

    @property
    def shift(self) -> Any:
        """Its bias."""
        return 0.0 if self.bias is None else np.asarray(self.bias, dtype=np.float64)


@dataclass(eq=False)
class Direction:
    """The gates of one direction, by letter: of what comes in, and of the state."""

    ins: dict[str, Gate] = field(default_factory=dict)
    back: dict[str, Gate] = field(default_factory=dict)

    @property
    def maps(self) -> list[Map]:
        """All that make layers."""
        gates = [*self.ins.values(), *self.back.values()]
        return [g.map for g in gates if g.map is not None]


def _step(
    kind: str, gates: Direction, cells: Sequence[Cell], fed: Mapping[str, Array], h: Array,
    c: Array, peep: Mapping[str, Array], options: Mapping[str, Any],
) -> tuple[Array, Array]:  # fmt: skip
    """Return the next states. Each gate has the whole bias, but for a GRU's that resets late."""

    def gate(letter: str, cell: Any = 0.0, state: Array = h) -> Array:
        own, back = gates.ins[letter], gates.back[letter]
        z = fed[letter] + own.shift + back.linear(state) + peep.get(letter, 0.0) * cell
        made: Array = own.activation(z)
        return made

    if kind == "RNN":
        return gate(""), c
    if kind == "GRU":
        z, r = gate("z"), gate("r")
        if options.get("linear_before_reset", 0):
            back = gates.back["h"]
            after = r * (back.activation(back.linear(h)) + back.shift)
            new = gates.ins["h"].activation(fed["h"] + gates.ins["h"].shift + after)
        else:
            new = gate("h", state=r * h)
        return (1.0 - z) * new + z * h, c
    i = gate("i", c)
    forget = 1.0 - i if options.get("input_forget", 0) else gate("f", c)
    c = forget * c + i * gate("c")
    return gate("o", c) * np.asarray(cells[2](c)), c


def reproduces(
    kind: str,
    options: Mapping[str, Any],
    directions: Sequence[Direction],
    cells: Sequence[Sequence[Cell]],
    inputs: Sequence[Any],
    outs: Sequence[Any],
    precision: float,
) -> bool:
    """Return whether gates give what a node computed, of the batch's first sequence.

    Parameters
    ----------
    kind : {"LSTM", "GRU", "RNN"}
    options : mapping
        The node's attributes.
    directions : sequence of Direction
    cells : sequence of sequence of Cell
        The activations of each direction.
    inputs, outs : sequence of ndarray or None
        As the operator defines them.
    precision : float

    Returns
    -------
    bool
    """
    x, _, inner, _, lengths, h0, c0, peepholes = [*inputs, *[None] * 8][:8]
    by_batch = bool(options.get("layout", 0))

    def first(state: Any, d: int) -> Array:
        if state is None:
            return np.zeros(inner.shape[-1])
        return np.asarray(state[0, d] if by_batch else state[d, 0], dtype=np.float64)

    data = np.asarray(x[0] if by_batch else x[:, 0], dtype=np.float64)
    kept = len(data) if lengths is None else int(lengths[0])
    y, last = [*outs, None][:2]
    for d, gates in enumerate(directions):
        backwards = d == 1 or options.get("direction", b"forward") in (b"reverse", "reverse")
        order = range(kept - 1, -1, -1) if backwards else range(kept)
        parts = (None,) * 3 if peepholes is None else np.split(peepholes[d].astype(np.float64), 3)
        peep = {n: p for n, p in zip("iof", parts, strict=True) if p is not None}
        fed = {n: g.linear(data) for n, g in gates.ins.items()}
        h, c = first(h0, d), first(c0, d)
        for t in order:
            now = {n: f[t] for n, f in fed.items()}
            h, c = _step(kind, gates, cells[d], now, h, c, peep, options)
            if y is not None:
                seen = y[0, t, d] if by_batch else y[t, d, 0]
                if not fits(h, np.asarray(seen, dtype=np.float64), precision):
                    return False
        if last is not None and not fits(h, first(last, d), precision):
            return False
    return True
