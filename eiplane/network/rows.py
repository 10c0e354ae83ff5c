"""An activation function of its own for every output of a layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .activation import Activation
from .known import get_activation
from .monotone import Piece

__all__ = ["RowActivation", "per_row"]

Array = NDArray[np.float64]
Index = NDArray[np.int32]


@dataclass(frozen=True, eq=False, repr=False)
class RowActivation(Activation):
    """A function of its own for every output: see :func:`per_row`, which makes it.

    Parameters
    ----------
    functions : tuple of Activation
        The different functions.
    which : ndarray of int32, shape (n_out,)
        Which of them every output has.
    """

    functions: tuple[Activation, ...] = ()
    which: Index = field(default_factory=lambda: np.zeros(1, np.int32))

    def __call__(self, z: ArrayLike, axis: int = -1) -> Array:
        """Return the activation of ``z``, whose ``axis`` holds the outputs."""
        values = np.moveaxis(np.asarray(z, dtype=np.float64), axis, -1)
        if values.shape[-1] != len(self.which):
            raise ValueError(
                f"{self.title}: is for {len(self.which)} outputs, not for {values.shape[-1]}"
            )
        result = np.empty(values.shape)
        for i, function in enumerate(self.functions):
            mine = self.which == i
            result[..., mine] = function(values[..., mine])
        return np.moveaxis(result, -1, axis)

    @property
    def _key(self) -> tuple[Any, ...]:
        return (self.name, self.functions, self.which.tobytes())

    @property
    def rows(self) -> int:
        """The number of outputs."""
        return len(self.which)

    @property
    def distinct(self) -> tuple[Activation, ...]:
        """The different functions."""
        return self.functions

    @property
    def rule(self) -> Index:
        """Which of :attr:`distinct` every output has."""
        return self.which

    def repeated(self, times: int) -> Activation:
        """Return the activation of a layer in which every output stands so many times in a row."""
        return _pooled(self.functions, np.repeat(self.which, times), self.name)

    def scaled(self, c: float, d: float = 0.0) -> Activation:
        """Return ``c f + d`` of every function."""
        return _pooled(tuple(f.scaled(c, d) for f in self.functions), self.which, None)

    def pieces_on(self, low: float, high: float) -> tuple[Piece, ...]:
        """Refuse: there are pieces of every function, not of all."""
        raise TypeError(f"{self.title}: has pieces for each of its functions, see `distinct`")

    def rises_on(self, low: float, high: float) -> bool:
        """Say whether none of the functions falls on an interval."""
        return all(f.rises_on(low, high) for f in self.functions)

    def images(self, low: ArrayLike, high: ArrayLike) -> tuple[Array, Array]:
        """Return the least and the greatest value of every output's function on its interval."""
        shape = self.which.shape
        low = np.broadcast_to(np.asarray(low, dtype=np.float64), shape)
        high = np.broadcast_to(np.asarray(high, dtype=np.float64), shape)
        least, greatest = np.empty(shape), np.empty(shape)
        for i, function in enumerate(self.functions):
            mine = self.which == i
            least[mine], greatest[mine] = function.images(low[mine], high[mine])
        return least, greatest


def per_row(activations: Sequence[str | Activation], name: str | None = None) -> Activation:
    """Return the activation of a layer whose outputs have functions of their own.

    Such as a learnt slope for every channel, or a temperature or a threshold for every neuron.

    Parameters
    ----------
    activations : sequence of str or Activation, one an output
        Equal ones are worked on together.
    name : str, optional
        What results call it.

    Returns
    -------
    Activation
        The function itself, where all are equal.

    Raises
    ------
    TypeError, ValueError
        For no activations, or one that is none; see :func:`eiplane.get_activation`.

    Examples
    --------
    >>> import numpy as np, eiplane
    >>> slopes = eiplane.per_row(["relu", "leaky_relu(0.2)", "relu"])
    >>> slopes
    Activation('relu, leaky_relu(0.2) by row')
    >>> eiplane.Layer(np.ones((3, 2)), activation=slopes)([1.0, -3.0])
    array([ 0. , -0.4,  0. ])
    """
    if isinstance(activations, str | Activation):
        raise TypeError("per_row takes a sequence, one activation an output")
    rows = [get_activation(a) for a in activations]
    if not rows:
        raise ValueError("per_row needs an activation for every output, and there are none")
    if any(a.rows is not None for a in rows):
        raise ValueError("per_row takes one function an output, not several")
    place: dict[Activation, int] = {}
    which = np.array([place.setdefault(a, len(place)) for a in rows], dtype=np.int32)
    return _pooled(tuple(place), which, name)


def _renamed(activation: Activation, name: str) -> Activation:
    recipe = (_renamed, (activation, name))
    return replace(activation, name=name, recipe=recipe, in_core=False, known=False)


def _pooled(functions: tuple[Activation, ...], which: Index, name: str | None) -> Activation:
    if len(functions) == 1:
        only = functions[0]
        return only if name is None or name == only.name else _renamed(only, name)
    if name is None:
        names = [f.name for f in functions]
        listed = names if len(names) <= 3 else [names[0], "...", names[-1]]
        name = f"{', '.join(listed)} by row"
    ranges = [f.natural_range for f in functions]
    natural = None
    if all(r is not None for r in ranges):
        ends = np.array(ranges, dtype=np.float64)
        natural = (float(ends[:, 0].min()), float(ends[:, 1].max()))

    def function(z: Array) -> Array:
        raise TypeError(f"activation {name!r} has a function for every output: call it itself")

    recipe = (_pooled, (functions, which, name))
    return RowActivation(
        name, function, natural_range=natural, recipe=recipe, functions=functions, which=which
    )
