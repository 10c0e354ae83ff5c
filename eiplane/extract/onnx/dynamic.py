"""Dynamic quantisation, seen through: rounded to a grid of its own, multiplied, scaled back.

``DynamicQuantizeLinear`` chooses a grid for each input. Its product with whole numbers and the
scales behind that are the product of the input itself with the weight, but for the grid's rounding,
which is another one on every input and no part of any layer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

__all__ = ["seen_through"]

_CONV = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")


def seen_through(
    nodes: Iterable[Any], kept: Iterable[str], constants: Mapping[str, Any], make: Any
) -> list[Any]:
    """Return a graph's nodes, in order, with products of floats for dynamically quantised ones.

    Parameters
    ----------
    nodes : iterable of onnx.NodeProto
    kept : iterable of str
        What the graph gives.
    constants : mapping
        Its initializers by name, with ``value``.
    make : callable
        Makes a node: ``onnx.helper.make_node``.

    Returns
    -------
    list of onnx.NodeProto
    """
    every = list(nodes)
    if not any(n.op_type == "DynamicQuantizeLinear" for n in every):
        return every
    graph = _Graph(every, set(kept), constants)
    replaced: dict[int, list[Any]] = {}
    for k, node in enumerate(every):
        made = None
        if node.op_type in ("MatMulInteger", "ConvInteger"):
            made = _scaled_back(graph, node, make)
        elif node.op_type == "MatMulIntegerToFloat":
            made = _to_float(graph, node, make)
        if made is not None:
            last, parts = made
            replaced[k if last is None else every.index(last)] = parts
            replaced.setdefault(k, [])
    return graph.needed([n for k, node in enumerate(every) for n in replaced.get(k, [node])])


class _Graph:
    """Who makes and who takes each value.

    Parameters
    ----------
    nodes : list of onnx.NodeProto
    kept : set of str
    constants : mapping
    """

    def __init__(self, nodes: list[Any], kept: set[str], constants: Mapping[str, Any]) -> None:
        self.constants = constants
        self._kept = kept
        self._maker = {name: n for n in nodes for name in n.output if name}
        self._takers = Counter(name for n in nodes for name in _taken(n) if name)
        self._taker = {name: n for n in nodes for name in n.input if name}

    def grid(self, name: str) -> tuple[str, str, str] | None:
        """Return the input, scale and zero point of a value that was put on a grid of its own."""
        node = self._maker.get(name)
        if node is None or node.op_type != "DynamicQuantizeLinear" or node.output[0] != name:
            return None
        return node.input[0], node.output[1], node.output[2]

    def alone(self, name: str, kind: str) -> Any:
        """Return the one node that takes a value, if it is of a kind."""
        if self._takers[name] != 1 or name in self._kept:
            return None
        node = self._taker.get(name)  # None: a graph in a node takes it
        return node if node is not None and node.op_type == kind else None

    def scale(self, name: str, own: str) -> str | None:
        """Return the constant that a grid's scale is multiplied with; empty if there is none."""
        if name == own:
            return ""
        node = self._maker.get(name)
        if node is None or node.op_type != "Mul" or own not in node.input:
            return None
        (other, *more) = [n for n in node.input if n != own] or [None]
        return other if not more and other in self.constants else None

    def needed(self, nodes: list[Any]) -> list[Any]:
        """Return nodes without the grids, casts and scales that nothing takes any more."""
        wanted, found = set(self._kept), []
        for node in reversed(nodes):
            loose = node.op_type in ("DynamicQuantizeLinear", "Cast", "Mul")
            if not loose or wanted.intersection(node.output):
                wanted.update(_taken(node))
                found.append(node)
        return found[::-1]


def _taken(node: Any) -> Iterator[str]:
    """Yield the names that a node takes, and those that the graphs in it take or give on."""
    yield from node.input
    for attribute in node.attribute:
        for inner in (attribute.g, *attribute.graphs):
            yield from (entry.name for entry in inner.output)
            for part in inner.node:
                yield from _taken(part)


def _scaled_back(graph: _Graph, node: Any, make: Any) -> tuple[Any, list[Any]] | None:
    """Return the last of ``Mul(Cast(x_q W_q), x_scale * w_scale)`` and the nodes in its place."""
    grid = graph.grid(node.input[0])
    cast = graph.alone(node.output[0], "Cast")
    last = None if cast is None else graph.alone(cast.output[0], "Mul")
    if grid is None or last is None or not _given(node, 2, (grid[2],)):
        return None
    (scale,) = [n for n in last.input if n != cast.output[0]] or [""]
    step = graph.scale(scale, grid[1])
    if step is None or node.input[1] not in graph.constants:
        return None
    zero = node.input[3] if len(node.input) > 3 else ""
    conv = node.op_type == "ConvInteger"
    weight = _weight(graph, node, step, zero, 0 if conv else -1, make)
    if weight is None:
        return None
    nodes, name = weight
    kept = {a.name: a for a in node.attribute if a.name in _CONV}
    made = make("Conv" if conv else "MatMul", [grid[0], name], list(last.output), name=node.name)
    made.attribute.extend(kept.values())
    return last, [*nodes, made]


def _to_float(graph: _Graph, node: Any, make: Any) -> tuple[Any, list[Any]] | None:
    """Return the nodes for ``(x_q - x_zero) x_scale (W_q - w_zero) w_scale + bias``."""
    grid = graph.grid(node.input[0])
    if grid is None or node.input[2] != grid[1] or not _given(node, 4, (grid[2],)):
        return None
    zero, bias = ((*node.input, "", "", "")[k] for k in (5, 6))
    weight = _weight(graph, node, node.input[3], zero, -1, make)
    if weight is None:
        return None
    nodes, name = weight
    if not bias:
        return None, [*nodes, make("MatMul", [grid[0], name], list(node.output), name=node.name)]
    product = f"{node.output[0]} %product"
    return None, [*nodes, make("MatMul", [grid[0], name], [product], name=node.name),
                  make("Add", [product, bias], list(node.output), name=node.name)]  # fmt: skip


def _given(node: Any, k: int, names: tuple[str, ...]) -> bool:
    return len(node.input) > k and node.input[k] in names


def _weight(
    graph: _Graph, node: Any, step: str, zero: str, axis: int, make: Any
) -> tuple[list[Any], str] | None:
    """Return nodes that make a weight of its whole numbers, and what they call it."""
    value = graph.constants[node.input[1]].value if node.input[1] in graph.constants else None
    if value is None or (zero and zero not in graph.constants):
        return None
    if step and step not in graph.constants:
        return None
    name = f"{node.output[0]} %weight"
    nodes, taken = [make("Cast", [node.input[1]], [f"{name} whole"], to=1)], f"{name} whole"
    if zero:
        nodes.append(make("Cast", [zero], [f"{name} zero"], to=1))
    for kind, other, plain in (("Sub", zero and f"{name} zero", zero), ("Mul", step, step)):
        if not other:
            continue
        shape = graph.constants[plain].value.shape
        # Scales meet the results: of a convolution an output is an axis before the places.
        at = 0 if axis else 0 if kind == "Sub" else value.ndim - 2
        if any(n > 1 and k != at for k, n in enumerate(reversed(shape))):
            return None
        if axis == 0 and sum(n > 1 for n in shape):  # a number for each output of a convolution
            sides, by = f"{name} {kind} sides", f"{name} {kind} by"
            nodes.append(make("Constant", [], [sides],
                              value_ints=[-1, *(1,) * (value.ndim - 1)]))  # fmt: skip
            nodes.append(make("Reshape", [other, sides], [by]))
            other = by
        nodes.append(make(kind, [taken, other], [f"{name} {kind}"]))
        taken = f"{name} {kind}"
    return nodes, taken
