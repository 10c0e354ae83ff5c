"""What feeds what in a Keras graph."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from ..network import Wiring
from .keras_graph import Graph
from .wires import Sources, Wires

__all__ = ["wired"]


def wired(
    graph: Graph,
    made: Mapping[int, Sequence[tuple[str, bool]]],
    direct: Mapping[str, tuple[str, ...]],
    inputs: Collection[str],
) -> Wiring:
    """Return what feeds what.

    Parameters
    ----------
    graph : Graph
    made : mapping of int to sequence of (str, bool)
        The layers of a node, by its ``id``, and whether each takes the node's own state.
    direct : mapping of str to tuple of str
        As of :meth:`.Wires.wiring`.
    inputs : collection of str
        Kinds of nodes that are the network's input.

    Returns
    -------
    Wiring
    """
    wires = Wires()
    entries = sorted(graph.entries)  # in whatever order: they are only told apart
    at = dict(zip(entries, wires.begins(len(entries)), strict=True))
    for node in graph.nodes:
        sources: Sources = {}
        for tensor in node.inputs:
            sources |= at.get(tensor, {})
        layers = made.get(id(node), ())
        for title, inner in layers:
            wires.take(title, {} if inner else sources, (inner, tuple(node.inputs)))
        if node.kind in inputs:
            continue
        if any(inner for _, inner in layers):
            sources = wires.state(node.kind, [title for title, _ in layers], sources)
        elif layers:
            sources = {title: None for title, _ in layers}
        else:
            sources = wires.joined(node.kind, sources)
        for tensor in node.outputs:
            at[tensor] = sources
    return wires.wiring(direct)
