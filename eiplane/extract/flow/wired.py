"""What feeds what in a followed run: layers, and where signals meet between them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...network import Wiring
from ..wires import Sources, Wires
from .signals import PYTHON, Map, Origin

__all__ = ["wired"]

Made = Mapping[int, Sequence[tuple[str, NDArray[np.intp]]]]


def wired(origins: Sequence[Origin], made: Made, direct: Mapping[str, tuple[str, ...]]) -> Wiring:
    """Return what feeds what.

    Parameters
    ----------
    origins : sequence of Origin
        Of the run, in order.
    made : mapping of int to sequence of (str, ndarray)
        The layers that were made of a map, by its index, and which of its rows each has.
    direct : mapping of str to tuple of str
        The layer whose outputs, as they are, in their order, are a layer's inputs.

    Returns
    -------
    Wiring
    """
    before: dict[int, dict[int, list[tuple[Origin, NDArray[np.bool_]]]]] = {}
    for origin in origins:
        for use in origin.uses:
            if use.by is not None:
                arrays = before.setdefault(use.by.index, {})
                arrays.setdefault(use.array, []).append((origin, use.rows))
    found = _Wired(made)
    inputs = [o for o in origins if o.what == "input" and o.index not in before]
    begins = found.wires.begins(len(inputs))
    found.begins.update({o.index: b for o, b in zip(inputs, begins, strict=True)})
    for origin in origins:
        arrays = before.get(origin.index, {})
        found.passed.append(found.through(origin, [arrays[k] for k in sorted(arrays)]))
    return found.wires.wiring(direct)


class _Wired:
    def __init__(self, made: Made) -> None:
        self._made = made
        self.wires = Wires()
        #: What reaches an origin's inputs, or what leaves one that is no layer.
        self.passed: list[Sources] = []
        self._gates: list[str] = []  # of a recurrent layer that gave no result yet
        self._state: Sources = {}
        self.begins: dict[int, Sources] = {}  # the network's inputs

    def through(
        self, origin: Origin, before: Iterable[Sequence[tuple[Origin, NDArray[np.bool_]]]]
    ) -> Sources:
        """Note what an origin is, and return what it passes on; ``before``: the arrays it takes."""
        sources: Sources = {}
        for array in before:
            parts: Sources = {}
            for other, rows in array:
                parts |= self._of(other, rows)
            sources |= self.wires.one_array(parts)
        layers = self._made.get(origin.index, ())
        if origin.map is not None and layers:
            for title, _ in layers:
                self.wires.take(title, sources, _taken(origin.map))
            if origin.map.fixed is not None:
                self._gates += [title for title, _ in layers]
            return sources
        if origin.traits.get("recurrent"):
            if self._gates or not self._state:  # else another result of the same
                self._state = self.wires.state(origin.what, self._gates, sources)
                self._gates = []
            return self._state
        if not sources:
            if origin.what == PYTHON:
                return {self.wires.meeting(PYTHON, {}): None}
            return self.begins.get(origin.index, {})
        return self.wires.joined(origin.what, sources)

    def _of(self, origin: Origin, rows: NDArray[np.bool_]) -> Sources:
        """Return what some rows of an origin are: layers, and what goes past them."""
        sources: Sources = {}
        left = rows.copy()
        for title, mine in self._made.get(origin.index, ()):
            if rows[mine].any():
                sources[title] = None
                left[mine] = False
        return sources | self.passed[origin.index] if left.any() else sources


def _taken(made: Map) -> Any:
    """Return what tells a map's inputs from others."""
    if made.taken is not None:
        return made.taken
    return tuple((id(value), mask.tobytes()) for value, mask in made.feed), made.weight.shape[1]
