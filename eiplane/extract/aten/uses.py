"""What uses a module's parameters, and what is said of those that made no layers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..flow import Codes, Operand
from ..flow.copies import copies
from ..flow.unused import ENTRIES, HARMLESS, unused
from .call import tensors_in
from .constants import Constants
from .handlers import NOTES, added_by
from .parts import Part, rest

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
        self._layers: dict[str, set[Part | None]] = {}  # the parts that they were made of
        self._otherwise: dict[str, set[tuple[str, Part | None]]] = {}

    def cover(self, names: frozenset[str], weight: Any) -> None:
        """Hear that a layer was made of some parameters, or of those parts that a weight is."""
        self.covered |= names
        parts = dict.fromkeys(names, frozenset([None])) | _by_name(self._constants.parts(weight))
        for n in names:
            self._layers.setdefault(n, set()).update(parts[n])

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
                apart = self._is_apart(tensor, sides, signals, name in _ADDING)
                self._note(tensor, ENTRIES if apart else "elementwise")

    def _is_apart(self, tensor: Any, sides: list[int], signals: list[Codes], added: bool) -> bool:
        """Return whether a matrix, or a part of one, does more than to scale or shift rows."""
        several = sum(n > 1 for n in sides)
        if several > 1:
            return not added or _spread(sides, signals)
        if added or not self._constants.of_matrix(self._constants.names(tensor)):
            return False
        return not several or _spread(sides, signals)  # an entry, or a row for each entry

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
        if use not in HARMLESS and use != "constant" and use not in _PRODUCTS:
            for n, part in self._constants.parts(tensor):
                self._otherwise.setdefault(n, set()).add((use, part))

    def left(self) -> Iterator[tuple[str, str]]:
        """Yield the parameters that made no layers, by title, and why."""
        for name, value in self._constants.weights:
            layers = self._layers.get(name, {None})
            if name in self._otherwise and None not in layers:
                yield from self._rest(name, value, layers)
            reason = None if name in self.covered else unused(self.used.get(name), value.shape)
            if reason is not None:
                yield self._constants.title(name), reason
        for name, value in self._constants.others:  # such as masks, tables of sines, statistics
            used = self.used.get(name, set()) - {ENTRIES}
            reason = None if name in self.covered or not used else unused(used, value.shape)
            if reason is not None and used - HARMLESS - {"constant"}:
                yield self._constants.title(name), reason

    def _rest(self, name: str, value: Any, layers: set[Part | None]) -> Iterator[tuple[str, str]]:
        """Yield the part of a parameter that was used otherwise than those that are layers."""
        found = rest(value, [p for p in layers if p is not None], self._otherwise[name])
        reason = None if found is None else unused(found[2], found[1])
        if found is not None and reason is not None:
            yield f"{self._constants.title(name)}{found[0]}", reason


def _by_name(parts: frozenset[tuple[str, Part | None]]) -> dict[str, frozenset[Part | None]]:
    return {n: frozenset(p for m, p in parts if m == n) for n, _ in parts}


def _layout(tensor: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    try:
        return tuple(tensor.shape), tuple(tensor.stride())
    except RuntimeError:  # a sparse tensor
        return tuple(tensor.shape), (1,) * tensor.ndim


def _spread(sides: list[int], signals: list[Codes]) -> bool:
    """Return whether an entry of the signals meets several of a constant."""
    return any(n > 1 and all(copies(c, -back) for c in signals)
               for back, n in enumerate(reversed(sides), 1))  # fmt: skip
