"""Elementwise operators that can be applied again, to any values."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

__all__ = ["Chain", "Operator", "Step"]

Array = NDArray[Any]


class Operator(Protocol):
    """An elementwise operator of some arrays, constants among them; picklable."""

    def __call__(self, arrays: list[Array]) -> Array:
        """Return the result, which broadcasts as NumPy does."""


@runtime_checkable
class Native(Operator, Protocol):
    """An operator with arrays of its own, which a chain need not leave between two steps."""

    def enter(self, array: Array) -> Any:
        """Return an array as one of its own, flat."""

    def on(self, arrays: list[Any]) -> Any:
        """Return the result of its own arrays, of one shape or of single numbers."""

    def leave(self, array: Any, shape: tuple[int, ...]) -> Array:
        """Return one of its own as an array of a shape."""


@dataclass(frozen=True, eq=False)
class Step:
    """An operator with its constants.

    Parameters
    ----------
    name : str
    operator : Operator
    constants : tuple
        For each array that the operator takes: None where it is an operand, a single number (an
        array without axes), or one number for each row, shape (rows,).
    monotone : bool
        Whether it never falls, or never rises, whatever the operand.
    numbers : str
        What is to be said of its parameters.
    keeps : bool
        Whether it gives back its operand.
    """

    name: str
    operator: Operator
    constants: tuple[Array | None, ...]
    monotone: bool = False
    numbers: str = ""
    keeps: bool = False

    @property
    def label(self) -> str:
        """Its name, with the numbers that it takes."""
        return f"{self.name}({self.numbers})" if self.numbers else self.name

    @property
    def key(self) -> Any:
        """What is equal for steps that do the same; None where that cannot be told."""
        token = getattr(self.operator, "token", None)
        if token is None:
            return None
        constants = (
            None if c is None else (c.dtype.str, c.shape, c.tobytes()) for c in self.constants
        )
        return token, *constants

    @property
    def by_row(self) -> bool:
        """Whether it does something else to each row."""
        return any(c is not None and c.ndim == 1 for c in self.constants)

    def of_row(self, row: int) -> Step:
        """Return what it does to one row."""
        constants = tuple(
            c if c is None or c.ndim == 0 else c[row].reshape(()) for c in self.constants
        )
        return replace(self, constants=constants)

    def __call__(self, operands: Sequence[Array], rows: Any = None) -> Array:
        """Return the operator's result.

        Parameters
        ----------
        operands : sequence of ndarray, shape (rows or 1, k)
        rows : ndarray of int, optional
            The rows, if not all of them.
        """
        given, arrays = iter(operands), []
        for constant in self.constants:
            if constant is None:
                arrays.append(next(given))
            elif constant.ndim == 0:
                arrays.append(constant.reshape(1, 1))
            else:
                arrays.append((constant if rows is None else constant[rows])[:, None])
        return self.operator(arrays)


@dataclass(frozen=True, eq=False)
class Chain:
    """A function: steps one after the other, each with the numbers of what it takes.

    Parameters
    ----------
    steps : tuple of (Step, tuple of int)
        0 is the argument, i the result of the i-th step; the last result is the value.
    rows : ndarray of int or None
        Which rows it stands for; None for all of them.
    """

    steps: tuple[tuple[Step, tuple[int, ...]], ...]
    rows: Any = field(default=None)

    @functools.cached_property
    def _native(self) -> Native | None:
        """What all of its operators are, if they work on arrays of their own."""
        kinds = {type(step.operator) for step, _ in self.steps}
        operator = self.steps[0][0].operator if self.steps else None
        return operator if len(kinds) == 1 and isinstance(operator, Native) else None

    @functools.cached_property
    def key(self) -> Any:
        """What is equal for chains that do the same; None where that cannot be told."""
        keys = tuple((step.key, taken) for step, taken in self.steps)
        return None if any(key is None for key, _ in keys) else keys

    def __call__(self, z: Array) -> Array:
        """Return the function's values, of shape (rows or 1, k)."""
        native = self._native
        if native is not None and z.size and not self.by_row:
            return self._at_once(native, z)
        made: list[Array] = [z]
        with np.errstate(all="ignore"):
            for step, taken in self.steps:
                made.append(step([made[i] for i in taken], self.rows))
        return made[-1]

    def _at_once(self, native: Native, z: Array) -> Array:
        """Return the values of a chain that is the same for all rows, by native operators alone."""
        made = [native.enter(z)]
        for step, taken in self.steps:
            given = iter(taken)
            arrays = [
                made[next(given)] if c is None else native.enter(c)[0] for c in step.constants
            ]
            made.append(step.operator.on(arrays))  # type: ignore[attr-defined]
        return native.leave(made[-1], z.shape)

    def of_row(self, row: int) -> Chain:
        """Return the function of one of its rows, with only what that takes."""
        at = row if self.rows is None else int(self.rows[row])
        return Chain(tuple((step.of_row(at), taken) for step, taken in self.steps))

    @property
    def name(self) -> str:
        """The operators' names with their numbers, the first one first."""
        return ", ".join(dict.fromkeys(step.label for step, _ in self.steps))

    @property
    def by_row(self) -> bool:
        """Whether rows have different functions."""
        return any(step.by_row for step, _ in self.steps)

    @property
    def monotone(self) -> bool:
        """Whether it is known to be monotone."""
        return all(step.monotone and taken == (i,) for i, (step, taken) in enumerate(self.steps))
