"""What is perturbed, what is measured, and what happens around it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .cells import Cell

__all__ = ["Around", "Setup"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Around:
    """The inputs, and what of the state is not perturbed.

    Parameters
    ----------
    kind : {"noise", "fixed", "data"}
        Uniform on their ranges and fresh at every step; held; or windows of sequences.
    held_x, held_state : ndarray of float64, shapes (n_inputs,) and (n_state,)
        Where they are held: always under ``"fixed"``, for the sensitivity under the others.
    x_span, state_span : ndarray of float64, shapes (n_inputs, 2) and (n_state, 2)
    sequences : ndarray of float64, shape (n, steps, n_inputs), or None
    lengths : ndarray of int, shape (n,), or None
        Steps of each of them that there are; zeros follow.
    states : ndarray of float64, shape (n, steps + 1, n_state), or None
        What the model's state is before each of their steps, from rest.
    """

    kind: str
    held_x: Array
    held_state: Array
    x_span: Array
    state_span: Array
    sequences: Array | None = None
    lengths: NDArray[np.intp] | None = None
    states: Array | None = None


@dataclass(frozen=True, eq=False)
class Setup:
    """An experiment, complete but for the random numbers.

    Parameters
    ----------
    cell : Cell
    perturb : {"state", "input"}
    lags : tuple of int
        Rising.
    places : int
        How many neurons of the state count: the first ones. They are what is measured, and under
        ``"state"`` what is perturbed.
    bins : (int, int)
    baseline : float
    around : Around
    drop : bool
        Whether a run is left out at a lag where what is measured lies outside its range.
    """

    cell: Cell
    perturb: str
    lags: tuple[int, ...]
    places: int
    bins: tuple[int, int]
    baseline: float
    around: Around
    drop: bool = False

    @property
    def n_in(self) -> int:
        """Neurons that are perturbed."""
        return self.places if self.perturb == "state" else self.cell.n_inputs

    @property
    def in_span(self) -> Array:
        """The ranges of those; shape (n_in, 2)."""
        around = self.around
        return around.state_span[: self.places] if self.perturb == "state" else around.x_span

    @property
    def out_span(self) -> Array:
        """The ranges of what is measured; shape (places, 2)."""
        return self.around.state_span[: self.places]

    @property
    def window(self) -> int:
        """Steps of a sequence that the longest lag takes."""
        return self.lags[-1] + (self.perturb == "input")
