"""Which layers are measured at once, from the input of one to the output of another."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np

from ..files import warn_user
from .network import Network

__all__ = ["spans_of"]

_UNKNOWN = (
    " (a state dict or a file of weights says nothing of the wiring: give a list of layers, a "
    "Module or an ONNX graph)"
)


def spans_of(
    network: Network,
    spans: Any,
    selected: Sequence[str],
    parts: Collection[str] = (),
) -> list[tuple[int, int] | tuple[str, str]]:
    """Return the spans to measure.

    Parameters
    ----------
    network : Network
    spans : "layers", "all" or list of pairs of names or positions
    selected : sequence of str
        Names of the layers that were asked for.
    parts : collection of str
        Names of the parts of a module, which may be spans without being chains of layers.

    Returns
    -------
    list of (int, int) or (str, str)
        Positions of the layers of a chain; names of parts of what is none.

    Raises
    ------
    ValueError
        For what is no span, or no chain of dense layers.
    """
    index = {name: i for i, name in enumerate(network.names)}
    singles: list[tuple[int, int] | tuple[str, str]] = []
    singles += [(index[name], index[name]) for name in selected]
    if isinstance(spans, str):
        if spans == "layers":
            return singles
        if spans != "all":
            raise ValueError(f"spans must be 'layers', 'all' or a list of pairs, got {spans!r}")
        wanted = {index[name] for name in selected}
        longer = [
            (first, last)
            for first in range(len(network))
            for last in range(first + 1, len(network))
            if {first, last} <= wanted and _break(network, first, last) is None
        ]
        if not longer and len(singles) > 1:
            pairs = (
                f"{network.names[i]!r} and {network.names[i + 1]!r}: {_break(network, i, i + 1)}"
                for i in range(len(network) - 1)
                if {i, i + 1} <= wanted
            )
            why = next(pairs, "the layers that are measured are no neighbours")
            warn_user(f"spans='all' adds no span: {why}")
        return singles + longer
    if not isinstance(spans, Iterable):
        raise TypeError(f"spans must be 'layers', 'all' or a list of pairs, got {spans!r}")
    return [_chosen(network, index, pair, parts) for pair in spans]


def _chosen(
    network: Network, index: dict[str, int], pair: Any, parts: Collection[str]
) -> tuple[int, int] | tuple[str, str]:
    """Return one span of a list."""
    if isinstance(pair, str) or not isinstance(pair, Iterable) or len(tuple(pair)) != 2:
        raise ValueError(f"spans: a span is a pair (first, last), got {pair!r}")
    first, last = pair
    named = isinstance(first, str) and isinstance(last, str) and {first, last} <= set(parts)
    if named and not {first, last} <= set(index):
        return str(first), str(last)
    if isinstance(first, str) and first in parts and last not in index and last not in parts:
        _position(network, index, last)  # the one that is not known is the one to be told of
    start, stop = (_position(network, index, end) for end in (first, last))
    reason = _break(network, start, stop) if start <= stop else "it ends before it begins"
    if reason is None:
        return start, stop
    if named:
        return str(first), str(last)
    raise ValueError(f"spans: {pair!r} is not a chain of dense layers: {reason}")


def _position(network: Network, index: dict[str, int], end: Any) -> int:
    if isinstance(end, str) and end in index:
        return index[end]
    if isinstance(end, (int, np.integer)) and -len(network) <= end < len(network):
        return int(end) % len(network)
    raise ValueError(f"spans: no layer {end!r}; there are {', '.join(map(repr, network.names))}")


def _break(network: Network, first: int, last: int) -> str | None:
    """Say why the layers are no chain that can be measured at once, or None."""
    names = network.names
    for i in range(first, last + 1):
        feeds = () if names[i] in network.in_ranges else network.sources[names[i]]
        if first != last and not network[i].is_dense:
            return f"{names[i]!r} is not dense"
        if i > first and feeds != (names[i - 1],):
            wiring = "" if network.chained else _UNKNOWN
            return f"{names[i]!r} is not fed by {names[i - 1]!r} alone{wiring}"
        if i > first and names[i] not in network.straight:
            return f"{names[i]!r} takes what {names[i - 1]!r} gives in another order"
    return None
