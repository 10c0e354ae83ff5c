"""Layers of Keras that are made of others: what they are in a graph, and the matrices of sums."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .keras_functions import title_of

__all__ = ["Node", "einsum_axes", "einsum_map", "kind_of", "taken_apart"]

Array = NDArray[Any]

_MERGES = {"concat": "Concatenate", "sum": "Add", "mul": "Multiply", "ave": "Average"}
_CELLS = {"LSTMCell": "LSTM", "GRUCell": "GRU", "SimpleRNNCell": "SimpleRNN"}
_OVER_TIME = frozenset(["Dense", "EinsumDense", "Conv1D", "Conv2D", "Conv3D", "DepthwiseConv1D",
                        "DepthwiseConv2D"])  # fmt: skip


@dataclass(frozen=True)
class Node:
    """One call of an operation; tensors are known by their ids, the first one's shape is kept.

    Its kind is that of Keras' own class, ``"own ..."`` of any other; ``run`` takes tensors for its
    inputs and returns its outputs, where it can be called so.
    """

    name: str
    kind: str
    op: Any
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    shape: tuple[Any, ...] = ()
    run: Callable[[list[Any]], list[Any]] | None = None

    @property
    def title(self) -> str:
        """What it is called in the name of a function, or in a reason."""
        if self.kind in ("Activation", "Softmax", "LogSoftmax"):
            function = getattr(self.op, "activation", None)
            if function is not None:
                return title_of(function, getattr(function, "__name__", type(function).__name__))
        if self.kind == "Lambda":
            return title_of(self.op.function, getattr(self.op.function, "__name__", "Lambda"))
        return title_of(self.op, self.kind.lower())


#: Functions of a whole axis, which a layer's activation may be.
_OVER_AXIS = {"softmax": "Softmax", "log_softmax": "LogSoftmax"}


def kind_of(op: Any) -> str:
    """Return the name of Keras' own class that an operation is, or ``"own ..."``.

    Parameters
    ----------
    op : keras.Operation
        A class of the user's own counts as the one that it is made of where it changes nothing that
        matters: what it computes, and with which weights.

    Returns
    -------
    str
    """
    own = type(op)
    base = next((c for c in own.__mro__ if c.__module__.partition(".")[0] == "keras"), None)
    if base is None:
        return f"own {own.__name__}"
    changes = {name for c in own.__mro__[: own.__mro__.index(base)] for name in vars(c)}
    if changes & _MATTERS or "call" in vars(op):
        return f"own {own.__name__}"
    kind = base.__name__
    if kind == "Activation":
        return _OVER_AXIS.get(getattr(op.activation, "__name__", ""), kind)
    return kind


_MATTERS = frozenset(
    ["call", "__call__", "build", "kernel", "bias", "activation", "compute_output_spec"]
)


def taken_apart(call: Node, arguments: Any, new: Callable[..., int]) -> list[Node]:
    """Return the calls that a call of a wrapper, or of an attention, is made of.

    Parameters
    ----------
    call : Node
    arguments : object
        What Keras keeps of the call's arguments.
    new : callable
        Returns the id of a new tensor; of the shape of another, if that is given.

    Returns
    -------
    list of Node
        The call itself where it is one thing, or where it is not known.
    """
    op, parts = call.op, [call]
    if call.kind == "SpectralNormalization":  # of use in training alone
        call = replace(call, kind=kind_of(op.layer), op=op.layer)
        return taken_apart(call, arguments, new)
    if call.kind == "TimeDistributed" and kind_of(op.layer) in _OVER_TIME:
        parts = [replace(call, kind=kind_of(op.layer), op=op.layer)]
    elif call.kind == "RNN" and kind_of(op.cell) in _CELLS:
        parts = [replace(call, kind=_CELLS[kind_of(op.cell)])]
    elif call.kind in ("SeparableConv1D", "SeparableConv2D"):
        parts = _separable(call, new)
    elif call.kind == "Bidirectional":
        parts = _both_ways(call, new)
    elif call.kind in ("MultiHeadAttention", "GroupQueryAttention", "GroupedQueryAttention"):
        parts = _attention(call, arguments, new)
    return [part for made in parts for part in _with_activation(made, new)]


def _with_activation(call: Node, new: Callable[..., int]) -> list[Node]:
    """Return a layer without its activation, and that as an operation behind it."""
    if call.kind not in _OVER_TIME:
        return [call]
    function = call.op.activation
    name = getattr(function, "__name__", "")
    ours = str(getattr(function, "__module__", "")).startswith("keras.")
    if function is None or (name == "linear" and ours):
        return [call]
    (end,) = call.outputs
    between = new(end)
    op = SimpleNamespace(activation=function)
    return [
        replace(call, outputs=(between,)),
        Node(call.name, _OVER_AXIS.get(name, "Activation"), op, (between,), (end,), call.shape,
             lambda tensors: [function(tensors[0])]),
    ]  # fmt: skip


def _separable(call: Node, new: Callable[..., int]) -> list[Node]:
    op, axes, between = call.op, call.kind.removeprefix("SeparableConv"), new()
    first = SimpleNamespace(kernel=op.depthwise_kernel, bias=None, activation=None,
                            padding=op.padding, weights=[op.depthwise_kernel])  # fmt: skip
    last = SimpleNamespace(kernel=op.pointwise_kernel, bias=op.bias, activation=op.activation,
                           padding="valid", groups=1, weights=[op.pointwise_kernel])  # fmt: skip
    return [
        Node(f"{call.name}/depthwise", f"DepthwiseConv{axes}", first, call.inputs, (between,)),
        Node(f"{call.name}/pointwise", f"Conv{axes}", last, (between,), call.outputs),
    ]


def _both_ways(call: Node, new: Callable[..., int]) -> list[Node]:
    op = call.op
    sides = (op.forward_layer, op.backward_layer)
    kinds = [kind_of(side) for side in sides]
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


def _attention(call: Node, arguments: Any, new: Callable[..., int]) -> list[Node]:
    maps = [
        getattr(call.op, f"{name}_dense", getattr(call.op, f"_{name}_dense", None))
        for name in ("query", "key", "value", "output")
    ]
    given = dict(zip(("query", "value", "key"), getattr(arguments, "args", ()), strict=False))
    given |= getattr(arguments, "kwargs", {})
    given["key"] = given.get("value") if given.get("key") is None else given["key"]
    signals = [given.get(name) for name in ("query", "key", "value")]
    known = [m for m in maps if m is not None and kind_of(m) == "EinsumDense"]
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


def einsum_axes(equation: str) -> tuple[int, ...]:
    """Return the axes of an EinsumDense's output that are outputs of its map, from the end.

    Parameters
    ----------
    equation : str

    Returns
    -------
    tuple of int
    """
    left, _, out = equation.replace(" ", "").replace("...", "").partition("->")
    letters = left.partition(",")[2]
    return tuple(k - len(out) for k, c in enumerate(out) if c in letters)


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
