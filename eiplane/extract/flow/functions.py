"""Activations that are made, not named: any function of a chain of operators, or one by row."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...network import Activation, per_row
from .steps import Chain

__all__ = ["from_chain"]


class _Applied:
    """A chain as a function of arrays of any shape; it is for one row, or for rows that agree."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain

    def __call__(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        z = np.asarray(z, dtype=np.float64)
        values = np.asarray(self.chain(z.reshape(1, -1)), dtype=np.float64)
        return np.ascontiguousarray(np.broadcast_to(values, (1, z.size))).reshape(z.shape)


def from_chain(chain: Chain, rows: int, by_row: bool) -> Activation:
    """Return the activation that a chain of steps is.

    Parameters
    ----------
    chain : Chain
    rows : int
    by_row : bool
        Whether its rows differ.

    Returns
    -------
    Activation
    """
    if not by_row:
        return _made(chain.of_row(0), chain.name)
    name = f"{chain.name} by row"
    return per_row([_made(chain.of_row(r), chain.name) for r in range(rows)], name)


#: By what they do: networks have the same function after most of their layers, and what is found
#: of one (its pieces) holds for all.
_MADE: dict[Any, Activation] = {}
_MOST = 256


def _made(chain: Chain, name: str) -> Activation:
    key = None if chain.key is None else (name, chain.key)
    found = None if key is None else _MADE.get(key)
    if found is None:
        found = Activation.from_function(_Applied(chain), name)
        if key is not None:
            while len(_MADE) >= _MOST:
                _MADE.pop(next(iter(_MADE)), None)
            _MADE[key] = found
    return found
