"""Maps of what does not depend on the network's input: a table of coordinates, a learnt query."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...network import Known
from ..flow import Flow, Operand
from ..flow.unused import HARMLESS
from .constants import Constants

__all__ = ["Still"]


class Still:
    """The products of parameters with constants.

    Parameters
    ----------
    flow : Flow
    constants : Constants
    wanted : frozenset of str
        Names of the parameters whose products with constants are layers, as a run before has found.
    """

    def __init__(self, flow: Flow, constants: Constants, wanted: frozenset[str]) -> None:
        self._flow, self._constants, self._wanted = flow, constants, wanted
        self._seen: set[str] = set()
        self.follows = False  # the map that is being followed counts only beside others

    def begun(self, name: str, args: Any, operands: Mapping[int, Operand]) -> Any:
        """Return the constant that a parameter is multiplied with, now a signal; None if none is.

        Such as the zeros that a recurrent network written by hand begins with: this is one more
        use of the layer. And whatever ``wanted`` parameters are multiplied with.
        """
        self.follows = False
        if name not in ("mm", "addmm") or len(args) < 2:
            return None
        x, weight = args[-2], args[-1]
        if not self._constants.knows(weight):
            return None
        names = self._constants.names(weight)
        made_of = self._constants.names(x)
        wanted = bool(names) and names <= self._wanted
        if not wanted and made_of:
            if len(names) == 1 and not made_of & names and _varies(operands[id(x)]):
                self._seen |= names
            return None
        found = np.asarray(operands[id(x)].read(), dtype=np.float64)
        if found.size == 0:
            return None
        low, high = float(found.min()), float(found.max())
        self.follows = low == high
        source = "given" if self.follows else "interval"
        operands[id(x)].codes = self._flow.begin(
            "a constant", tuple(x.shape), lambda: Known(low, high, source)
        )
        return x

    def layers(self, used: Mapping[str, set[str]], covered: set[str]) -> frozenset[str]:
        """Return the parameters that map constants, as their own weights and not a part of others.

        What is made of them is added to signals or multiplied with some, entry by entry; a weight
        that is computed of several parameters is used otherwise.

        Parameters
        ----------
        used : mapping of str to set of str
            The kinds of operators that took each parameter, or what was made of it.
        covered : set of str
            What other layers are made of.
        """
        parameters = {name for name, _ in self._constants.weights}
        return frozenset(
            name
            for name in (self._seen & parameters) - covered
            if used.get(name, set()) <= HARMLESS | {"constant"} and used.get(name, set()) & HARMLESS
        )


def _varies(x: Operand) -> bool:
    numbers = np.asarray(x.read())
    return bool(numbers.size) and bool((numbers != numbers.flat[0]).any())
