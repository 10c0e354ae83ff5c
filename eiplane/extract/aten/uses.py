"""What uses a module's parameters, and what is said of those that made no layers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..flow import Codes, Operand
from ..flow.unused import ENTRIES, HARMLESS, unused
from .call import tensors_in
from .constants import Constants
from .handlers import NOTES, added_by

__all__ = ["Uses"]

_PRODUCTS = frozenset(["mm", "addmm", "bmm", "baddbmm", "mv", "convolution"])

#: Elementwise operators that only add a constant.
_ADDING = frozenset(["add", "sub", "rsub", "_to_copy"])


class Uses:
    """By what each parameter was used.

    Parameters
    ----------
    torch : module
    constants : Constants
    """

    def __init__(self, torch: Any, constants: Constants) -> None:
        self._torch, self._constants = torch, constants
        self.used: dict[str, set[str]] = {}  # by each parameter's name
        self.covered: set[str] = set()  # what layers were made of, or is listed already

    def mark(
        self, tensors: list[Any], operands: dict[int, Operand], name: str, args: Any, kwargs: Any
    ) -> None:
        """Note what uses the parameters among some tensors."""
        added = {id(t) for t in tensors_in(self._torch, added_by(name, args, kwargs))}
        for tensor in tensors:
            if operands[id(tensor)].codes is None:
                use = "elementwise" if id(tensor) in added else NOTES.get(name, name)
                self._note(tensor, use)

    def mark_entries(self, tensors: list[Any], operands: dict[int, Operand], name: str) -> None:
        """Note what uses the parameters among some tensors, entry by entry."""
        signals = [c for c in (operands[id(t)].codes for t in tensors) if c is not None]
        for tensor in tensors:
            if operands[id(tensor)].codes is None:
                # An axis along which it is repeated is none of its own.
                sides = [n if step else 1 for n, step in zip(*_layout(tensor), strict=True)]
                matrix = sum(n > 1 for n in sides) > 1
                plain = name in _ADDING and not (matrix and _spread(sides, signals))
                self._note(tensor, ENTRIES if matrix and not plain else "elementwise")

    def constant(self, name: str, tensors: list[Any]) -> None:
        """Note that something was computed of constants alone."""
        if name in _PRODUCTS:
            for tensor in tensors:
                if tensor.ndim >= 2:
                    self._note(tensor, "constant")
        elif name == "embedding":
            self._note(tensors[0], NOTES[name])

    def say(self, tensors: list[Any], reason: str) -> None:
        """Note why the matrices among some tensors make no layers."""
        for tensor in tensors:
            if tensor.ndim >= 2:
                self._note(tensor, reason)

    def begun(self, tensor: Any) -> None:
        """Note that a map of a constant took it."""
        self._note(tensor, "move")

    def _note(self, tensor: Any, use: str) -> None:
        try:
            names = self._constants.names(tensor)
        except (NotImplementedError, RuntimeError):
            return  # it has no storage
        for n in names:
            self.used.setdefault(n, set()).add(use)

    def left(self) -> Iterator[tuple[str, str]]:
        """Yield the parameters that made no layers, by title, and why."""
        for name, value in self._constants.weights:
            reason = None if name in self.covered else unused(self.used.get(name), value.shape)
            if reason is not None:
                yield self._constants.title(name), reason
        for name, value in self._constants.others:  # such as masks, tables of sines, statistics
            used = self.used.get(name, set()) - {ENTRIES}
            reason = None if name in self.covered or not used else unused(used, value.shape)
            if reason is not None and used - HARMLESS - {"constant"}:
                yield self._constants.title(name), reason


def _layout(tensor: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    try:
        return tuple(tensor.shape), tuple(tensor.stride())
    except RuntimeError:  # a sparse tensor
        return tuple(tensor.shape), (1,) * tensor.ndim


def _spread(sides: list[int], signals: list[Codes]) -> bool:
    """Return whether an entry of the signals meets several of a constant."""
    return any(n > 1 and all(_alike(c, -back) for c in signals)
               for back, n in enumerate(reversed(sides), 1))  # fmt: skip


def _alike(codes: Codes, axis: int) -> bool:
    """Return whether an array holds the same along an axis, or has none there."""
    if codes.ndim < -axis or codes.shape[axis] == 1 or codes.strides[axis] == 0:
        return True
    first = codes.take([0, 1], axis)
    if bool((first.take([0], axis) != first.take([1], axis)).any()):
        return False
    return bool((codes == codes.take([0], axis)).all())
