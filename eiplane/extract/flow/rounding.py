"""Numbers that were kept in a coarse type for a while: the same function, less precisely."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .flow import Flow
from .signals import SHIFT, Codes
from .steps import Step

__all__ = ["rounded"]

#: A precision that is worth to be told.
_COARSE = 2.0**-20


@dataclass(frozen=True)
class _Rounded:
    """What it is given, but for its last digits."""

    token: str = "rounded"

    def __call__(self, arrays: list[NDArray[Any]]) -> NDArray[Any]:
        return arrays[0]


def rounded(flow: Flow, codes: Codes, before: float, after: float) -> Codes:
    """Report that numbers go from one type to another.

    Parameters
    ----------
    flow : Flow
    codes : ndarray of int64
    before, after : float
        Precision of the types: the distance from 1 to the next number.

    Returns
    -------
    ndarray of int64
        Codes of the result.
    """
    made = np.array(codes)
    coarsest = max(before, after)
    if before == after or coarsest < _COARSE:
        return made
    places = np.asarray(flow.signals.places(made >> SHIFT))
    for place in np.unique(places[places >= 0]).tolist():
        value = flow.signals.at(place)
        step = Step("rounded", _Rounded(f"rounded {coarsest}"), (None,), True, keeps=True)
        other = flow.signals.apply(step, (value,), coarsest)
        made[places == place] += (other.base - value.base) << SHIFT
    return made
