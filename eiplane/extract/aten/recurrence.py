"""The proof of recurrent gates: what was extracted, run by hand, has to give the layer's output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...network import get_activation
from ..arrays import plain
from ..flow.gates import fits
from ..flow.signals import Map
from .call import numbers

__all__ = ["Cell", "reproduces", "reproduces_layer", "reproduces_step"]

Array = NDArray[np.float64]


@dataclass(eq=False)
class Cell:
    """The gates of one layer in one direction, in the order of torch's blocks."""

    ih: list[Map] = field(default_factory=list)
    hh: list[Map] = field(default_factory=list)
    hr: Map | None = None

    @property
    def maps(self) -> list[Map]:
        """All of them."""
        return [*self.ih, *self.hh, *([] if self.hr is None else [self.hr])]


def _numbers(made: Map) -> tuple[Array, Array]:
    weight = np.asarray(plain(made.weight), dtype=np.float64)
    bias = np.zeros(len(weight)) if made.bias is None else np.asarray(plain(made.bias), np.float64)
    return weight, bias


def _run(cell: Cell, x: Array, h: Array, c: Array | None) -> tuple[Array, Array, Array | None]:
    """Return all states of a sequence, the last one and the last cell's."""
    fed = []
    for made in cell.ih:
        weight, bias = _numbers(made)
        fed.append(x @ weight.T + bias)
    back = [_numbers(made) for made in cell.hh]
    act = [get_activation(made.fixed) for made in cell.ih]
    states = []
    for t in range(len(x)):
        own = [weight @ h for weight, _ in back]
        if len(act) == 4 and c is not None:
            i, f, g, o = (a(p[t] + q) for a, p, q in zip(act, fed, own, strict=True))
            c = f * c + i * g
            h = o * np.tanh(c)
        elif len(act) == 3:
            r, z = (a(p[t] + q) for a, p, q in zip(act[:2], fed, own, strict=False))
            new = act[2](fed[2][t] + r * (own[2] + back[2][1]))
            h = (1.0 - z) * new + z * h
        else:
            h = act[0](fed[0][t] + own[0])
        if cell.hr is not None:
            h = _numbers(cell.hr)[0] @ h
        states.append(h)
    return np.stack(states), h, c


def _double(tensor: Any) -> Array:
    return np.asarray(numbers(tensor), dtype=np.float64)


def reproduces(
    cells: Mapping[tuple[int, int], Cell], args: Sequence[Any], out: Any, precision: float
) -> bool:
    """Return whether gates give what a recurrent layer computed, of the batch's first sequence.

    Parameters
    ----------
    cells : mapping of (int, int) to Cell
        By layer, and by direction: 0 or 1 for the reverse one.
    args : sequence
        As ``torch.lstm`` and its like take them, packed or not.
    out : tuple
        Sequence and last states.
    precision : float
    """
    packed = isinstance(args[3], list | tuple)
    states = args[2] if packed else args[1]
    first = states if isinstance(states, list | tuple) else (states,)
    starts = [_double(s)[:, 0] for s in first]
    data, seen = _double(args[0]), _double(out[0])
    if packed:
        sizes = numbers(args[1])
        at = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.intp)
        x, seen = data[at], seen[at]
    else:
        batch_first = bool(args[8]) if len(args) > 8 else False
        x, seen = (data[0], seen[0]) if batch_first else (data[:, 0], seen[:, 0])
    ways = 2 if any(way for _, way in cells) else 1
    for layer in range(len(cells) // ways):
        sides = []
        for way in range(ways):
            cell, k = cells[layer, way], layer * ways + way
            states_of, _, _ = _run(
                cell, x[::-1] if way else x, starts[0][k], starts[1][k] if starts[1:] else None
            )
            sides.append(states_of[::-1] if way else states_of)
        x = np.concatenate(sides, axis=-1)
    return fits(x, seen, precision)


def reproduces_layer(cell: Cell, args: Sequence[Any], out: Any, precision: float) -> bool:
    """Return whether gates give what torch's fused layer computed, of the first sequence.

    Parameters
    ----------
    cell : Cell
    args : sequence
        As ``mkldnn_rnn_layer`` takes them.
    out : tensor
    precision : float
    """
    x, h, c, backwards = args[0], args[5], args[6], bool(args[7])
    data, seen = _double(x)[:, 0], _double(out)[:, 0]
    h, c = (_double(s).reshape(-1, s.shape[-2], s.shape[-1])[0, 0] for s in (h, c))
    found, _, _ = _run(cell, data[::-1] if backwards else data, h, c)
    return fits(found[::-1] if backwards else found, seen, precision)


def reproduces_step(cell: Cell, x: Any, states: Any, out: Any, precision: float) -> bool:
    """Return whether gates give what a cell computed in one step, of the batch's first row."""
    first = states if isinstance(states, list | tuple) else (states,)
    starts = [np.atleast_2d(_double(s))[0] for s in first]
    _, h, c = _run(
        cell, np.atleast_2d(_double(x))[:1], starts[0], starts[1] if starts[1:] else None
    )
    outs = out if isinstance(out, list | tuple) else (out,)
    found = [h] if c is None else [h, c]
    return all(
        fits(mine, np.atleast_2d(_double(seen))[0], precision)
        for mine, seen in zip(found, outs, strict=True)
    )
