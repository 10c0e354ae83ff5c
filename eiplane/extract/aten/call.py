"""One operator call, and what handlers of operators work with."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..flow import Codes, Operand

__all__ = ["AtenOperator", "Call", "Slot", "arrays_in", "numbers", "tensors_in"]


def numbers(tensor: Any) -> NDArray[Any]:
    """Return a tensor's numbers as an array, without a copy where there can be none."""
    tensor = tensor.detach()
    if tensor.device.type != "cpu":
        tensor = tensor.cpu()
    if "bfloat16" in str(tensor.dtype) or "float8" in str(tensor.dtype):
        tensor = tensor.float()
    array: NDArray[Any] = tensor.resolve_conj().resolve_neg().numpy()
    return array


@dataclass(eq=False)
class Call:
    """A call of an operator.

    Parameters
    ----------
    name : str
        Of the operator, without namespace, overload and the mark of one that writes.
    func : OpOverload
    args, kwargs
        As they were given.
    outs : list of tensors or None
        What it returned.
    operands : dict
        What is known of the tensors among the arguments, by id.
    """

    name: str
    func: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outs: list[Any]
    tensors: list[Any]
    operands: dict[int, Operand]

    def given(self, index: int, name: str, default: Any = None) -> Any:
        """Return an argument by position or name."""
        if index < len(self.args):
            return self.args[index]
        return self.kwargs.get(name, default)

    def operand(self, tensor: Any) -> Operand:
        """Return what is known of one of the arguments."""
        return self.operands[id(tensor)]

    def dynamic(self, tensor: Any) -> bool:
        """Return whether an argument is a tensor that depends on the network's input."""
        found = self.operands.get(id(tensor))
        return found is not None and found.codes is not None

    @property
    def out(self) -> Any:
        """The first result."""
        return self.outs[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the first result."""
        return tuple(self.outs[0].shape)


#: A number of doubles that fills whole vectors of any instruction set.
_LANES = 32


@dataclass(frozen=True)
class Slot:
    """Stands for an array in the arguments of an operator."""

    index: int


@dataclass(frozen=True, eq=False)
class AtenOperator:
    """An elementwise operator of torch, applied to arrays.

    Parameters
    ----------
    name : str
    args, kwargs
        Slots where arrays go.
    kinds : str
        For each array ``b`` where the operator takes truth values, ``i`` where whole numbers.
    """

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    kinds: str = ""

    @property
    def token(self) -> str:
        """What is the same for operators that do the same."""
        return f"{self.name}{self.args!r}{self.kwargs!r}{self.kinds}"

    def __call__(self, arrays: list[NDArray[Any]]) -> NDArray[Any]:
        """Return the operator's result."""
        shape = np.broadcast_shapes(*(a.shape for a in arrays))
        wide = [self.enter(np.broadcast_to(a, shape)) for a in arrays]
        return self.leave(self.on(wide), shape)

    @staticmethod
    def enter(array: NDArray[Any]) -> Any:
        """Return an array as a tensor of whole vectors.

        What is left over at the end of an array is computed in another way than the rest, which
        may differ in the last digit.
        """
        import torch

        size = array.size
        whole = np.empty(-(-size // _LANES) * _LANES, array.dtype)
        whole[:size] = array.reshape(-1)
        whole[size:] = whole[:1]
        return torch.from_numpy(whole)

    def on(self, tensors: list[Any]) -> Any:
        """Return the operator's result of tensors, of one shape or of single numbers."""
        import torch

        kinds = self.kinds or "f" * len(tensors)
        taken = [_wide(torch, t, kind) for t, kind in zip(tensors, kinds, strict=True)]
        if len(taken) > 1:  # not all operators broadcast by themselves
            taken = torch.broadcast_tensors(*taken)

        def filled(value: Any) -> Any:
            if isinstance(value, Slot):
                return taken[value.index]
            if isinstance(value, list | tuple):
                return type(value)(map(filled, value))
            return value

        kwargs = {k: filled(v) for k, v in self.kwargs.items()}
        made = getattr(torch.ops.aten, self.name)(*map(filled, self.args), **kwargs)
        made = made[0] if isinstance(made, list | tuple) else made
        # Whole numbers know no infinity: of what is not bounded nothing comes that is known.
        for tensor, kind in zip(tensors, kinds, strict=True):
            if kind == "i" and tensor.is_floating_point() and not tensor.isfinite().all():
                made = torch.where(tensor.isfinite(), made.double(), torch.nan)
        return made

    @staticmethod
    def leave(tensor: Any, shape: tuple[int, ...]) -> NDArray[Any]:
        """Return a tensor as an array of a shape."""
        result: NDArray[Any] = tensor.numpy()[: math.prod(shape)].reshape(shape)
        return result


def _wide(torch: Any, tensor: Any, kind: str) -> Any:
    """Return a tensor that an operator takes, floats in double unless something else is meant."""
    if not tensor.is_floating_point():
        return tensor
    wanted = {"b": torch.bool, "i": torch.int64}.get(kind, torch.float64)
    return tensor if tensor.dtype is wanted else tensor.to(wanted)


Result = Codes | None | Sequence[Codes | None]


def tensors_in(torch: Any, value: Any) -> list[Any]:
    """Return the tensors in a value: in sequences, mappings and objects that hold some."""
    found: dict[int, Any] = {}
    _collect(torch, value, 0, found)
    return list(found.values())


def arrays_in(value: Any) -> list[NDArray[Any]]:
    """Return the arrays and numbers in a value, in lists and mappings too."""
    if isinstance(value, bool | str | bytes):
        return []
    if isinstance(value, np.ndarray | np.number | float | int):
        return [np.asarray(value)]
    parts = value.values() if isinstance(value, Mapping) else value
    if not isinstance(value, list | tuple | Mapping):
        return []
    return [a for part in parts for a in arrays_in(part)]


#: What holds no tensors, to be told quickly.
_PLAIN = (type(None), str, bytes, bool, int, float, complex, type)


def _collect(torch: Any, value: Any, depth: int, found: dict[int, Any]) -> None:
    if isinstance(value, torch.Tensor):
        found[id(value)] = value
        return
    if isinstance(value, _PLAIN) or depth > 8:
        return
    parts: Iterable[Any]
    if isinstance(value, list | tuple | set | frozenset):
        parts = value
    elif isinstance(value, Mapping):
        parts = value.values()
    elif hasattr(value, "__dict__") and not (depth and isinstance(value, torch.nn.Module)):
        parts = vars(value).values()
    else:
        return
    for part in parts:
        _collect(torch, part, depth + 1, found)
