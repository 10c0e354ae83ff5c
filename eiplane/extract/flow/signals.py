"""Signals: where they begin, what becomes of them, and the codes that stand for them in arrays.

A code is one int64. Its upper half is the number of a *value* and one of its rows, a function of
one output of a map (or of another origin); its lower half is the entry of the origin's array that
it comes from. So two equal codes are the same number for certain. -1 stands for a constant.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...network import Activation, RangeRule
from .steps import Step

__all__ = [
    "ENTRY",
    "PYTHON",
    "SHIFT",
    "Before",
    "Codes",
    "Convolution",
    "Map",
    "Operand",
    "Origin",
    "Pooling",
    "Signals",
    "Use",
    "Value",
    "common",
]

Array = NDArray[np.float64]
Codes = NDArray[np.int64]
Recipe = Callable[[Callable[["Value"], RangeRule]], RangeRule]

#: Bits of a code that tell the entry.
SHIFT = 32
ENTRY = (1 << SHIFT) - 1

#: What an array is called that Python made of numbers which had left: nothing is known of it.
PYTHON = "Python"


@dataclass(frozen=True)
class Convolution:
    """How a convolution moves over its input, along every axis of its kernel."""

    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1
    transposed: bool = False


@dataclass(eq=False)
class Map:
    """A linear map, used once.

    Parameters
    ----------
    name : str
    key : hashable
        The same for every use of the same weights.
    weight : array, shape (n_out, n_in / groups, *kernel); of a transposed convolution its own
    bias : array, shape (n_out,), or None
    conv : Convolution or None
    sections : sequence of (str, slice)
        Names of blocks of rows that mean different things.
    still : bool
        Whether its input is a constant, such as the first state of a recurrent network.
    unproved : str
        Why its layers do not give what was computed in the run, if that was seen elsewhere.
    patches, seen, places : ndarray or None
        Some of its inputs, what was computed of them, and where.
    padding, kernel : tuple of int
        Of a convolution.
    width : int
        Number of features that it takes.
    taken : tuple or None
        What tells its input from others.
    before : Before or None
        The map that its input comes from, if it does so straight.
    build, lead, parts : callable, Map, tuple of Map
        Of a sum of maps of one input: what makes weight and bias, one that takes that input, and
        those that are summed.
    """

    name: str
    key: Any
    weight: Any
    bias: Any
    conv: Convolution | None = None
    sections: Sequence[tuple[str, slice]] = ()
    fixed: str | Activation | None = None
    feed: list[tuple[Value, NDArray[np.bool_]]] = field(default_factory=list)
    constants: tuple[float, float] | None = None
    straight: bool = False
    patches: Array | None = None
    seen: Array | None = None
    seen_precision: float = 2.0**-23
    still: bool = False
    unproved: str = ""
    places: NDArray[np.intp] | None = None
    padding: tuple[int, ...] = ()
    kernel: tuple[int, ...] = ()
    width: int = 0
    taken: tuple[Any, ...] | None = None
    before: Before | None = None
    build: Callable[[], tuple[Any, Any]] | None = None
    lead: Map | None = None
    parts: tuple[Map, ...] = ()


@dataclass(frozen=True, eq=False)
class Before:
    """What the features of an input are: rows of a value, each at its place."""

    value: Value
    rows: NDArray[np.int64]


@dataclass(eq=False)
class Pooling:
    """A pooling of a convolution's outputs."""

    kind: str
    window: tuple[int, ...]
    dilation: tuple[int, ...]
    source: Value


@dataclass(eq=False)
class Use:
    """A use of a value by something.

    Parameters
    ----------
    value : Value
    rows : ndarray of bool, shape (rows of the value,)
    by : Origin or None
        What uses it; None: the network's result.
    unknown : str
        Why nothing can be said of a layer that is used so.
    entries : ndarray of int64
        Some of the entries that it received.
    numbers : ndarray of float64
        What they were.
    aside : bool
        Whether it is a single number beside the network's result, such as a loss.
    """

    value: Value
    rows: NDArray[np.bool_]
    by: Origin | None
    unknown: str
    entries: NDArray[np.int64]
    at_rows: NDArray[np.intp]
    numbers: Array
    precision: float
    live: bool = False
    aside: bool = False
    array: int = 0


@dataclass(eq=False)
class Origin:
    """Where a signal begins: a map, a pooling, or anything else that is no function of one entry.

    Parameters
    ----------
    index : int
        In order of execution.
    rows : int
    recipe : callable or None
        Makes the rule of its range, given what makes those of values.
    map, pooling : Map, Pooling or None
    always : bool
        Whether it counts as leading to the result in any case.
    traits : dict
        What else is known of it.
    before : int
        A bit for each origin that it is made of.
    """

    index: int
    rows: int
    what: str
    recipe: Recipe | None = None
    map: Map | None = None
    pooling: Pooling | None = None
    always: bool = False
    traits: dict[str, Any] = field(default_factory=dict)
    uses: list[Use] = field(default_factory=list)
    value: Value | None = None
    numbers: Callable[[NDArray[np.int64]], tuple[NDArray[np.bool_], Array]] | None = None
    live: bool = False
    before: int = 0

    @property
    def mark(self) -> int:
        """A bit for this origin and each that it is made of."""
        return self.before | 1 << self.index


@dataclass(eq=False)
class Value:
    """A function of the rows of an origin.

    Parameters
    ----------
    origin : Origin
    base : int
        Number of its row 0 in codes.
    step : Step or None
        The operator that made it; None for the origin itself.
    operands : tuple of Value
        What it was made of, all of the same origin.
    by_row : bool
        Whether rows have different functions.
    parent : Value or None
        The last one that it is a function of alone.
    level : int
        Number of those before it.
    precision : float
        Of the coarsest type that it was kept in, where that is coarse.
    mask : Operand or None
        The condition that has taken its entries, if they are only some.
    """

    origin: Origin
    base: int
    step: Step | None = None
    operands: tuple[Value, ...] = ()
    by_row: bool = False
    parent: Value | None = None
    level: int = 0
    precision: float = 0.0
    mask: Operand | None = None

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.origin.rows

    def __repr__(self) -> str:
        return f"Value({self.origin.what}, {self.step.name if self.step else 'itself'})"


def common(values: Sequence[Value]) -> Value:
    """Return the last value that all of these are functions of."""
    found = values[0]
    for other in values[1:]:
        while found is not other:
            if found.level >= other.level:
                assert found.parent is not None
                found = found.parent
            else:
                assert other.parent is not None
                other = other.parent
    return found


class Signals:
    """All values of a run."""

    def __init__(self) -> None:
        self.origins: list[Origin] = []
        self._values: list[Value] = []
        self._bases: list[int] = []
        self._made: dict[Any, Value] = {}
        self._next = 0

    def begin(self, rows: int, what: str, **known: Any) -> Value:
        """Return the value of a new origin."""
        origin = Origin(len(self.origins), rows, what, **known)
        self.origins.append(origin)
        origin.value = self._add(Value(origin, self._next))
        return origin.value

    def apply(self, step: Step, operands: tuple[Value, ...], precision: float = 0.0) -> Value:
        """Return the value that an elementwise operator makes of values of one origin."""
        key = None if step.key is None else (step.key, *(v.base for v in operands))
        if key in self._made:  # done once more, to other entries perhaps
            return self._made[key]
        by_row = step.by_row or any(v.by_row for v in operands)
        parent = common(operands)
        coarsest = max(precision, *(v.precision for v in operands))
        level = parent.level + 1
        value = self._add(
            Value(parent.origin, self._next, step, operands, by_row, parent, level, coarsest)
        )
        value.mask = next((v.mask for v in operands if v.mask is not None), None)
        if key is not None:
            self._made[key] = value
        return value

    def _add(self, value: Value) -> Value:
        self._values.append(value)
        self._bases.append(value.base)
        self._next += value.rows
        if self._next >= 1 << 31:
            raise MemoryError("the run has too many signals to follow; give a smaller input")
        return value

    def of(self, number: int) -> Value:
        """Return the value that a number (the upper half of a code) belongs to."""
        return self._values[bisect_right(self._bases, number) - 1]

    def places(self, numbers: NDArray[np.int64]) -> NDArray[np.intp]:
        """Return positions of the values that numbers belong to, -1 for constants."""
        return np.searchsorted(np.asarray(self._bases), numbers, side="right") - 1

    def alone(self, codes: Codes | None) -> Value | None:
        """Return the one value that an array holds, if it is one and nothing else."""
        if codes is None or codes.size == 0:
            return None
        first, last = int(codes.min()), int(codes.max())
        if first < 0:
            return None
        value = self.of(first >> SHIFT)
        return value if (last >> SHIFT) < value.base + value.rows else None

    def straight(self, codes: Codes | None, axis: int) -> bool:
        """Return whether an array's features are one value's rows, in order."""
        if codes is None or codes.size == 0 or codes.ndim < -axis or int(codes.min()) < 0:
            return False
        value = self.of(int(codes.flat[0]) >> SHIFT)
        if codes.shape[axis] != value.rows:
            return False
        rows = (np.moveaxis(codes, axis, -1) >> SHIFT) - value.base
        return bool((rows == np.arange(value.rows)).all())

    def origins_in(self, codes: Codes | None) -> list[Origin]:
        """Return where the signals in an array begin."""
        if codes is None or codes.size == 0:
            return []
        places = np.unique(self.places(np.unique(codes >> SHIFT)))
        return [self.at(p).origin for p in places.tolist() if p >= 0]

    def at(self, place: int) -> Value:
        """Return the value at a position."""
        return self._values[place]

    def fresh(self, value: Value, shape: Sequence[int], axis: int | None) -> Codes:
        """Return the codes of an origin's array.

        Parameters
        ----------
        value : Value
        shape : sequence of int
        axis : int or None
            Along which the rows change; None if there is one row.
        """
        shape = tuple(shape)
        codes = np.arange(int(np.prod(shape, dtype=np.int64)), dtype=np.int64).reshape(shape)
        if axis is None or value.rows == 1:
            codes += value.base << SHIFT
            return codes
        rows = (value.base + np.arange(value.rows, dtype=np.int64)) << SHIFT
        sides = [1] * len(shape)
        sides[axis] = value.rows
        codes += rows.reshape(sides)
        return codes


@dataclass(eq=False)
class Operand:
    """An array that an operator takes.

    Parameters
    ----------
    codes : ndarray of int64, or None
        None for a constant.
    read : callable
        Returns its numbers.
    precision : float
        The distance from 1 to the next number of its type.
    """

    codes: Codes | None
    read: Callable[[], NDArray[Any]]
    precision: float = 2.0**-23

    def kept(self) -> Operand:
        """Return it as it is now: whatever is written to the array later does not show."""
        codes, shown = self.codes, np.array(self.read())
        return Operand(None if codes is None else codes.copy(), lambda: shown, self.precision)
