"""Layers of Keras that are made of others: what they are in a graph, and the matrices of sums."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Node", "einsum_map", "taken_apart"]

Array = NDArray[Any]

_MERGES = {"concat": "Concatenate", "sum": "Add", "mul": "Multiply", "ave": "Average"}
_CELLS = {"LSTMCell": "LSTM", "GRUCell": "GRU", "SimpleRNNCell": "SimpleRNN"}
_OVER_TIME = frozenset(["Dense", "EinsumDense", "Conv1D", "Conv2D", "Conv3D", "DepthwiseConv1D",
                        "DepthwiseConv2D"])  # fmt: skip


@dataclass(frozen=True)
class Node:
    """One call of an operation; tensors are known by their ids, the first one's shape is kept."""

    name: str
    kind: str
    op: Any
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    shape: tuple[Any, ...] = ()


def taken_apart(call: Node, arguments: Any, new: Callable[[], int]) -> list[Node]:
    """Return the calls that a call of a wrapper, or of an attention, is made of.

    Parameters
    ----------
    call : Node
    arguments : object
        What Keras keeps of the call's arguments.
    new : callable
        Returns the id of a new tensor.

    Returns
    -------
    list of Node
        The call itself where it is one thing, or where it is not known.
    """
    op = call.op
    if call.kind == "TimeDistributed" and type(op.layer).__name__ in _OVER_TIME:
        return [replace(call, kind=type(op.layer).__name__, op=op.layer)]
    if call.kind == "RNN" and type(op.cell).__name__ in _CELLS:
        return [replace(call, kind=_CELLS[type(op.cell).__name__])]
    if call.kind in ("SeparableConv1D", "SeparableConv2D"):
        return _separable(call, new)
    if call.kind == "Bidirectional":
        return _both_ways(call, new)
    if call.kind in ("MultiHeadAttention", "GroupQueryAttention", "GroupedQueryAttention"):
        return _attention(call, arguments, new)
    return [call]


def _linear(x: Any) -> Any:
    return x


_linear.__name__ = "linear"


def _separable(call: Node, new: Callable[[], int]) -> list[Node]:
    op, axes, between = call.op, call.kind.removeprefix("SeparableConv"), new()
    first = SimpleNamespace(kernel=op.depthwise_kernel, bias=None, activation=_linear,
                            padding=op.padding, weights=[op.depthwise_kernel])  # fmt: skip
    last = SimpleNamespace(kernel=op.pointwise_kernel, bias=op.bias, activation=op.activation,
                           padding="valid", groups=1, weights=[op.pointwise_kernel])  # fmt: skip
    return [
        Node(f"{call.name}/depthwise", f"DepthwiseConv{axes}", first, call.inputs, (between,)),
        Node(f"{call.name}/pointwise", f"Conv{axes}", last, (between,), call.outputs),
    ]


def _both_ways(call: Node, new: Callable[[], int]) -> list[Node]:
    op = call.op
    sides = (op.forward_layer, op.backward_layer)
    kinds = [type(side).__name__ for side in sides]
    merge = _MERGES.get(op.merge_mode)
    if merge is None or len(call.outputs) != 1 or len(call.inputs) != 1:
        return [call]
    if not all(kind in _CELLS.values() for kind in kinds):
        return [call]
    made = [
        Node(f"{call.name}/{side.name}", kind, side, call.inputs, (new(),))
        for side, kind in zip(sides, kinds, strict=True)
    ]
    ends = tuple(node.outputs[0] for node in made)
    return [*made, Node(call.name, merge, None, ends, call.outputs)]


def _attention(call: Node, arguments: Any, new: Callable[[], int]) -> list[Node]:
    maps = [
        getattr(call.op, f"{name}_dense", getattr(call.op, f"_{name}_dense", None))
        for name in ("query", "key", "value", "output")
    ]
    given = dict(zip(("query", "value", "key"), getattr(arguments, "args", ()), strict=False))
    given |= getattr(arguments, "kwargs", {})
    given["key"] = given.get("value") if given.get("key") is None else given["key"]
    signals = [given.get(name) for name in ("query", "key", "value")]
    known = [m for m in maps if m is not None and type(m).__name__ == "EinsumDense"]
    if len(known) < len(maps) or any(signal is None for signal in signals):
        return [call]
    made = [
        Node(f"{call.name}/{m.name}", "EinsumDense", m, (id(signal),), (new(),))
        for m, signal in zip(known, signals, strict=False)
    ]
    mixed = new()
    # Shares of what the values' map gives; then the last map.
    made.append(Node(call.name, "Mix", None, tuple(n.outputs[0] for n in made), (mixed,)))
    last = known[-1]
    made.append(Node(f"{call.name}/{last.name}", "EinsumDense", last, (mixed,), call.outputs[:1]))
    if call.outputs[1:]:  # the shares themselves
        ends = made[0].outputs + made[1].outputs
        made.append(Node(call.name, "Softmax", None, ends, call.outputs[1:]))
    return made


def einsum_map(
    equation: str, kernel: Array, bias: Array | None
) -> tuple[Array, Array | None] | str:
    """Return an EinsumDense as a matrix and its bias, or why it is none.

    Parameters
    ----------
    equation : str
        Such as ``"abc,cde->abde"``.
    kernel : ndarray
    bias : ndarray or None

    Returns
    -------
    weight : ndarray, shape (n_out, n_in)
    bias : ndarray, shape (n_out,), or None
    """
    left, _, out = equation.replace(" ", "").replace("...", "").partition("->")
    x, _, letters = left.partition(",")
    ins = [c for c in letters if c not in out]
    outs = [c for c in out if c in letters]
    if set(outs) & set(x) or not set(ins) <= set(x) or len(set(letters)) < len(letters):
        return f"an EinsumDense of equation {equation!r}, which has a matrix for each place"
    sizes = dict(zip(letters, kernel.shape, strict=True))
    n_out, n_in = (math.prod(sizes[c] for c in part) for part in (outs, ins))
    weight = kernel.transpose([letters.index(c) for c in outs + ins]).reshape(n_out, n_in)
    if bias is None:
        return weight, None
    own = out[len(out) - bias.ndim :]
    if any(n > 1 and c not in outs for c, n in zip(own, bias.shape, strict=True)):
        return f"an EinsumDense of equation {equation!r}, whose bias differs from place to place"
    whole = np.broadcast_to(bias, [sizes.get(c, 1) for c in out])
    kept = whole.transpose([out.index(c) for c in outs] + [out.index(c) for c in out
                                                           if c not in outs])  # fmt: skip
    return weight, kept.reshape(n_out)
