"""Recurrent cells as functions of NumPy arrays: one step of a batch of states.

Arrays have a row a neuron and a column a sample. The built-in cells are computed by the core, so
their numbers are the same on every machine and for any number of threads.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _core
from ..network import Activation

__all__ = ["Affine", "Called", "Cell", "Level", "ModuleCell", "Stack"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Affine:
    """A plain cell: ``h' = f(w_x x + w_h h + bias)``."""

    w_x: Array
    w_h: Array
    bias: Array
    activation: Activation


class Cell(ABC):
    """What is run through time.

    Attributes
    ----------
    kind : str
        What results call it.
    n_inputs, n_state : int
        Neurons of x, and of the whole state.
    hidden : int
        How many of the state, the first ones, are h; the others are an LSTM's cells.
    limits : ndarray of float64, shape (n_state, 2)
        Between which every neuron of the state stays whatever happens; infinite where nothing is
        known.
    """

    kind: str
    n_inputs: int
    n_state: int
    hidden: int
    limits: Array

    @abstractmethod
    def step(self, x: Array, state: Array) -> Array:
        """Return the next state; (n_inputs, samples), (n_state, samples) -> (n_state, samples)."""

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Make the model ready to be run, and leave it as it was."""
        yield

    @property
    def affine(self) -> Affine | None:
        """The cell as one affine map and a function, where it is that."""
        return None


def _function(name: str, z: Array) -> Array:
    return np.asarray(_core.activate(name, (), z.ravel())).reshape(z.shape)


@dataclass(frozen=True, eq=False)
class Level:
    """One level of a recurrent network, with the weights as PyTorch has them.

    Parameters
    ----------
    kind : {"rnn", "lstm", "gru"}
    w_x, w_h : ndarray of float64, shapes (gates * n, n_inputs) and (gates * n, hidden)
    b_x, b_h : ndarray of float64, shape (gates * n,)
    activation : Activation
        Of a plain one.
    projection : ndarray of float64, shape (hidden, n), or None
        Of an LSTM whose state is projected.
    """

    kind: str
    w_x: Array
    w_h: Array
    b_x: Array
    b_h: Array
    activation: Activation
    projection: Array | None = None

    @property
    def hidden(self) -> int:
        """Neurons of h."""
        return int(self.w_h.shape[1])

    @property
    def cells(self) -> int:
        """Neurons of an LSTM's c; 0 of the others."""
        return int(self.w_h.shape[0]) // 4 if self.kind == "lstm" else 0

    def step(self, x: Array, h: Array, c: Array) -> tuple[Array, Array]:
        """Return the next h and c."""
        from_x, from_h = _core.affine(self.w_x, self.b_x, x), _core.affine(self.w_h, self.b_h, h)
        if self.kind == "rnn":
            return np.ascontiguousarray(self.activation(from_x + from_h)), c
        if self.kind == "lstm":
            i, f, g, o = np.split(from_x + from_h, 4)
            c = _function("sigmoid", f) * c + _function("sigmoid", i) * _function("tanh", g)
            h = _function("sigmoid", o) * _function("tanh", c)
            if self.projection is not None:
                h = _core.affine(self.projection, np.zeros(len(self.projection)), h)
            return h, c
        r, z = (_function("sigmoid", v) for v in np.split((from_x + from_h)[: 2 * len(h)], 2))
        new = _function("tanh", from_x[2 * len(h) :] + r * from_h[2 * len(h) :])
        return (1.0 - z) * new + z * h, c


class Stack(Cell):
    """A recurrent network of one level or several, each reading the h of the one below.

    Parameters
    ----------
    levels : sequence of Level
        The state is the h of all of them, from the first to the last, and then all c.
    """

    def __init__(self, levels: Sequence[Level]) -> None:
        self.levels = tuple(levels)
        self.kind = self.levels[0].kind
        self.n_inputs = int(self.levels[0].w_x.shape[1])
        self.hidden = sum(level.hidden for level in self.levels)
        self.n_state = self.hidden + sum(level.cells for level in self.levels)
        self.limits = np.tile([-np.inf, np.inf], (self.n_state, 1))
        at = 0
        for level in self.levels:
            span: tuple[float, float] | None = (-1.0, 1.0)
            if level.kind == "rnn":
                span = level.activation.natural_range
            if span is not None and level.projection is None:
                self.limits[at : at + level.hidden] = span
            at += level.hidden

    def step(self, x: Array, state: Array) -> Array:
        """Return the next state."""
        hidden, cells = [], []
        at, cell = 0, self.hidden
        for level in self.levels:
            h = np.ascontiguousarray(state[at : at + level.hidden])
            x, c = level.step(x, h, state[cell : cell + level.cells])
            hidden.append(x)
            cells.append(c)
            at, cell = at + level.hidden, cell + level.cells
        return np.concatenate(hidden + cells)

    @property
    def affine(self) -> Affine | None:
        """Weights and function of a plain network of one level."""
        level = self.levels[0]
        if len(self.levels) > 1 or level.kind != "rnn":
            return None
        return Affine(level.w_x, level.w_h, level.b_x + level.b_h, level.activation)


class Called(Cell):
    """A cell written by hand.

    Parameters
    ----------
    function : callable
        Takes x, (samples, n_inputs), and h, (samples, n_state), and returns the next h.
    n_inputs : int
    state : int or tuple of int
        Neurons of the state. Where it is a tuple of several, as the h and c of an LSTM are, those
        of each: h is a tuple then, and the first of it is what is hidden.
    """

    kind = "cell"

    def __init__(
        self, function: Callable[[Any, Any], Any], n_inputs: int, state: int | tuple[int, ...]
    ) -> None:
        self.function, self.n_inputs = function, n_inputs
        self.sizes = None if isinstance(state, int) else state
        parts = (state,) if isinstance(state, int) else state
        self.n_state, self.hidden = sum(parts), parts[0]
        self.limits = np.tile([-np.inf, np.inf], (self.n_state, 1))

    def step(self, x: Array, state: Array) -> Array:
        """Return the next state."""
        sizes, given = self.sizes or (self.n_state,), x.shape[1]
        ends = np.cumsum(sizes)[:-1]
        parts = tuple(np.ascontiguousarray(part.T) for part in np.split(state, ends))
        found = self.function(np.ascontiguousarray(x.T), parts if self.sizes else parts[0])
        several = isinstance(found, (tuple, list))
        made = [np.asarray(v, np.float64) for v in (found if several else [found])]
        shapes = [v.shape for v in made]
        if several != (self.sizes is not None) or shapes != [(given, n) for n in sizes]:
            wanted = " and ".join(f"({given}, {n})" for n in sizes)
            what = ("a tuple of " if several else "") + " and ".join(map(str, shapes))
            more = "" if self.sizes else "; of a tuple give sizes=(inputs, (h, c, ...))"
            raise ValueError(
                f"the cell must return the next state, of shape {wanted}"
                f"{' in a tuple' if self.sizes else ''}; it returned {what}{more}"
            )
        return np.ascontiguousarray(np.concatenate(made, axis=1).T)


class ModuleCell(Called):
    """A cell that is a torch Module of its own, ``(x, h) -> h``; run in evaluation mode."""

    def __init__(self, module: Any, n_inputs: int, state: int | tuple[int, ...]) -> None:
        super().__init__(self._run, n_inputs, state)
        self.module = module

    def _run(self, x: Array, h: Any) -> Any:
        import torch

        some = next(self.module.parameters(), None)
        kind = {} if some is None else {"dtype": some.dtype, "device": some.device}

        def tensor(v: Array) -> Any:
            return torch.as_tensor(v, **kind)

        def numbers(v: Any) -> Any:
            return v.detach().cpu().double().numpy()

        with torch.no_grad():
            state = tuple(map(tensor, h)) if isinstance(h, tuple) else tensor(h)
            found = self.module(tensor(x), state)
        return tuple(map(numbers, found)) if isinstance(found, (tuple, list)) else numbers(found)

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Put the module in evaluation mode; each of its parts has its own mode back afterwards."""
        modes = [(part, part.training) for part in self.module.modules()]
        self.module.eval()
        try:
            yield
        finally:
            for part, mode in modes:
                part.training = mode
