"""What uses a module's parameters, and what is said of those that made no layers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..flow import Operand
from ..flow.unused import unused
from .call import tensors_in
from .constants import Constants
from .handlers import NOTES, added_by

__all__ = ["Uses"]

_PRODUCTS = frozenset(["mm", "addmm", "bmm", "baddbmm", "mv", "convolution"])


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
            if name in self.covered:
                continue
            reason = unused(self.used.get(name), value.shape)
            if reason is not None:
                yield self._constants.title(name), reason
