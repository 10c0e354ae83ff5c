"""One node, as it runs, and what handlers of nodes work with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..flow import Codes, Operand

__all__ = ["Call", "Codes", "Tensor", "is_float", "precision_of"]

Array = NDArray[Any]


def is_float(dtype: Any) -> bool:
    """Return whether numbers of a type have a point: also those that NumPy itself has not."""
    return dtype.kind == "f" or "float" in dtype.name


def precision_of(dtype: Any) -> float:
    """Return the distance from 1 to the next number of a type."""
    if dtype.kind == "f":
        return float(np.finfo(dtype).eps)
    return {"bfloat16": 2.0**-7}.get(dtype.name, 2.0**-2) if is_float(dtype) else 2.0**-23


@dataclass(eq=False)
class Tensor:
    """A value of a graph.

    Parameters
    ----------
    value : ndarray, or a list of those (a sequence)
    codes : ndarray of int64, list of those, or None
        None for a constant.
    names : frozenset of str
        Initializers that a constant is made of.
    fixed : bool
        Whether it is the same in every run: made of initializers, not of shapes.
    own : str
        Its name, if it is an initializer itself.
    lost : str
        Why nobody knows its numbers, nor how many they are, if that is so.
    """

    value: Any
    codes: Any = None
    names: frozenset[str] = frozenset()
    fixed: bool = False
    own: str = ""
    lost: str = ""

    def operand(self) -> Operand:
        """Return it as the flow takes it."""
        value = self.value
        if value.dtype.kind == "V":
            value = value.astype(np.float32)
        return Operand(self.codes, lambda: value, precision_of(self.value.dtype))


@dataclass(eq=False)
class Call:
    """A node with what it takes and what it gives.

    Parameters
    ----------
    node : onnx.NodeProto
    index : int
        Number of the node.
    attributes : dict
    inputs : list of Tensor or None
        None where one is left out.
    outs : list
        Values of the outputs; None where one is left out.
    """

    node: Any
    index: int
    attributes: dict[str, Any]
    inputs: list[Tensor | None]
    outs: list[Any] = field(default_factory=list)

    @property
    def kind(self) -> str:
        """Name of the operator."""
        return str(self.node.op_type)

    def has(self, k: int) -> bool:
        """Return whether there is such an input."""
        return k < len(self.inputs) and self.inputs[k] is not None

    def tensor(self, k: int) -> Tensor:
        """Return an input."""
        found = self.inputs[k] if k < len(self.inputs) else None
        if found is None:
            raise ValueError(f"it has no input {k}")
        return found

    def value(self, k: int) -> Array:
        """Return the numbers of an input."""
        value: Array = self.tensor(k).value
        return value

    def dynamic(self, k: int) -> bool:
        """Return whether an input depends on the network's input."""
        return self.has(k) and self.tensor(k).codes is not None

    def operand(self, k: int) -> Operand:
        """Return an input as the flow takes it."""
        return self.tensor(k).operand()

    def signals(self) -> list[Operand]:
        """Return the inputs that depend on the network's input."""
        found: list[Operand] = []
        for t in self.inputs:
            if t is None or t.codes is None:
                continue
            if isinstance(t.value, list):
                parts = zip(t.value, t.codes, strict=True)
                found += [Tensor(v, c).operand() for v, c in parts if c is not None]
            else:
                found.append(t.operand())
        return found

    @property
    def out(self) -> Array:
        """Numbers of the first output."""
        value: Array = self.outs[0]
        return value

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the first output."""
        return tuple(self.outs[0].shape)

    def result(self) -> Operand:
        """Return the first output as the flow takes it, without codes."""
        return Tensor(self.outs[0]).operand()

    def constants(self, *places: int) -> Sequence[Array | None]:
        """Return inputs in double precision; None where one is left out or no constant."""
        return [
            None if not self.has(k) or self.dynamic(k) else self.value(k).astype(np.float64)
            for k in places
        ]
