"""Where entries go, if a signal decides it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...network import Known, Unknown
from .flow import Flow
from .signals import SHIFT, Codes, Operand
from .steps import Step

__all__ = ["decided", "moved"]


def moved(
    flow: Flow,
    by: Sequence[Operand],
    codes: Codes,
    constants: Callable[[], Sequence[NDArray[Any]]] = list,
) -> Codes:
    """Report that signals decide where entries go; return the codes of what is there then.

    A constant that a signal has put somewhere is a signal: another input puts it elsewhere.

    Parameters
    ----------
    flow : Flow
    by : sequence of Operand
        Constants among them decide nothing.
    codes : ndarray of int64
        The entries, where they went.
    constants : callable
        Returns the constants that may be put there.

    Returns
    -------
    ndarray of int64
    """
    if all(x.codes is None for x in by):
        return codes
    there = np.array(codes)
    places = np.asarray(flow.signals.places(there >> SHIFT))
    for place in np.unique(places[places >= 0]).tolist():
        value = flow.signals.at(place)
        # Itself, but told apart from what did not go this way, and may lead elsewhere.
        other = flow.signals.apply(Step("moved", _itself, (None,), True, keeps=True), (value,))
        there[places == place] += (other.base - value.base) << SHIFT
    _put(flow, by, there, constants)
    decided(flow, by, there)
    return there


def _put(
    flow: Flow,
    by: Sequence[Operand],
    codes: Codes,
    constants: Callable[[], Sequence[NDArray[Any]]],
) -> None:
    """Write codes where constants went."""
    where = np.flatnonzero(codes.reshape(-1) < 0)
    if not len(where):
        return
    ends = [(float(c.min()), float(c.max())) for c in constants() if c.size]
    low, high = min((a for a, _ in ends), default=0.0), max((b for _, b in ends), default=0.0)
    value = flow.signals.begin(1, "constants that were put", recipe=lambda _: Known(low, high))
    for x in by:
        if x.codes is not None:
            value.origin.before |= flow.marks(x.codes)
    codes.reshape(-1)[where] = (value.base << SHIFT) + where


def decided(flow: Flow, by: Sequence[Operand], codes: Codes) -> None:
    """Report that signals decide what an array is; that counts if its entries lead anywhere.

    Parameters
    ----------
    flow : Flow
    by : sequence of Operand
    codes : ndarray of int64
        Of that array.
    """
    places = np.unique(flow.signals.places(np.unique(codes >> SHIFT)))
    made = [flow.signals.at(place) for place in places.tolist() if place >= 0]
    if codes.size == 0:
        return
    traits = {"decides": made} if made else {}
    for x in by:
        if x.codes is not None:
            flow.event("a choice", [x], (1,), lambda _: Unknown(), always=not made, traits=traits)


def _itself(arrays: list[NDArray[Any]]) -> NDArray[Any]:
    return arrays[0]
