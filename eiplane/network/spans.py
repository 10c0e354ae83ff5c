"""Which layers are measured at once, from the input of one to the output of another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .network import Network

__all__ = ["spans_of"]


def spans_of(network: Network, spans: Any, selected: Sequence[str]) -> list[tuple[int, int]]:
    """Return the spans to measure, as pairs of positions.

    Parameters
    ----------
    network : Network
    spans : "layers", "all" or list of pairs of names or positions
    selected : sequence of str
        Names of the layers that were asked for.

    Returns
    -------
    list of (int, int)

    Raises
    ------
    ValueError
        For what is no span, or no chain of dense layers.
    """
    index = {name: i for i, name in enumerate(network.names)}
    singles = [(index[name], index[name]) for name in selected]
    if isinstance(spans, str):
        if spans == "layers":
            return singles
        if spans != "all":
            raise ValueError(f"spans must be 'layers', 'all' or a list of pairs, got {spans!r}")
        wanted = {i for i, _ in singles}
        longer = [
            (first, last)
            for first in range(len(network))
            for last in range(first + 1, len(network))
            if {first, last} <= wanted and _break(network, first, last) is None
        ]
        return singles + longer
    pairs = []
    for pair in spans:
        if isinstance(pair, str) or len(tuple(pair)) != 2:
            raise ValueError(f"spans: a span is a pair (first, last), got {pair!r}")
        first, last = (_position(network, index, end) for end in pair)
        if first > last:
            raise ValueError(f"spans: {pair!r} ends before it begins")
        reason = _break(network, first, last)
        if reason:
            raise ValueError(f"spans: {pair!r} is not a chain of dense layers: {reason}")
        pairs.append((first, last))
    return pairs


def _position(network: Network, index: dict[str, int], end: Any) -> int:
    if isinstance(end, str) and end in index:
        return index[end]
    if isinstance(end, (int, np.integer)) and -len(network) <= end < len(network):
        return int(end) % len(network)
    raise ValueError(f"spans: no layer {end!r}; there are {', '.join(network.names)}")


def _break(network: Network, first: int, last: int) -> str | None:
    """Say why the layers are no chain that can be measured at once, or None."""
    names = network.names
    for i in range(first, last + 1):
        feeds = () if names[i] in network.in_ranges else network.sources[names[i]]
        if first != last and not network[i].is_dense:
            return f"{names[i]!r} is not dense"
        if i > first and feeds != (names[i - 1],):
            return f"{names[i]!r} is not fed by {names[i - 1]!r} alone"
        if i > first and names[i] not in network.straight:
            return f"{names[i]!r} takes what {names[i - 1]!r} gives in another order"
    return None
