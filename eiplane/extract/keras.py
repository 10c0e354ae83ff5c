"""Networks from models of Keras 3, of any backend, by the documented attributes of their layers.

The graph of a Sequential or functional model is seen through its operations' inputs and outputs;
what a layer's function is named is checked by evaluating it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..network import (
    Activation,
    Join,
    Known,
    Layer,
    LayerOutput,
    Network,
    RangeRule,
    Unknown,
    get_activation,
)
from ..results import Skipped
from .entries import Entry
from .keras_functions import as_numpy, function_of
from .keras_graph import Graph
from .keras_parts import Node, einsum_map
from .keras_ranges import PASS, POOL, TensorRules
from .orientation import kernel_part
from .recurrent import Part, gates_of
from .tables import words

__all__ = ["from_keras", "is_keras"]

Array = NDArray[Any]

_INPUT = words("InputLayer")
#: What takes a layer's output as it is: that output is a linear layer's.
_END = words(
    "Add Subtract Multiply Average Maximum Minimum Dot Softmax LogSoftmax LayerNormalization"
    " GroupNormalization UnitNormalization RMSNormalization Attention AdditiveAttention"
    " MultiHeadAttention GroupQueryAttention Matmul Einsum Concatenate LSTM GRU SimpleRNN"
    " Bidirectional Mix"
)
_DENSE = words("Dense EinsumDense")
_CONV = words("Conv1D Conv2D Conv3D DepthwiseConv1D DepthwiseConv2D")
_RNN = words("LSTM GRU SimpleRNN")
_ELEMENTWISE = words("Activation ReLU LeakyReLU ELU")


def is_keras(weights: Any) -> bool:
    """Return whether this is a model or layer of Keras, without importing that."""
    keras = sys.modules.get("keras")
    layer = getattr(getattr(keras, "layers", None), "Layer", None)
    return layer is not None and isinstance(weights, layer)


def from_keras(model: Any) -> tuple[Network, tuple[Skipped, ...]] | None:
    """Return the layers of a model of Keras.

    Parameters
    ----------
    model : keras.Model or keras.Layer

    Returns
    -------
    tuple of Network and tuple of Skipped, or None
        Named as Keras names them, those of a model in a model as ``"inner/dense"``. None for a
        model whose graph only running it would show.

    Raises
    ------
    ValueError
        If there is no layer, or the model has no weights yet.
    """
    keras = sys.modules["keras"]
    if not model.built:
        raise ValueError(
            f"the Keras model {model.name!r} is not built: give it an Input, or call it once"
        )
    graph = Graph(keras, model)
    if graph.is_hidden:
        return None
    made = _Layers(keras, graph)
    made.collect()
    if not made.layers:
        listed = "; ".join(f"{s.name}: {s.reason}" for s in made.skipped[:8])
        raise ValueError(f"the Keras model {model.name!r} has no layer of weights ({listed})")
    network = Network(made.layers, True, made.sources, straight=made.straight, inputs=made.inputs)
    return network, tuple(made.skipped)


class _Layers:
    """The layers of a graph, what feeds them and what follows them."""

    def __init__(self, keras: Any, graph: Graph) -> None:
        self._keras, self._graph = keras, graph
        self.layers: list[Layer] = []
        self.skipped = [
            Skipped(name, "its output does not lead to the model's result") for name in graph.unused
        ]
        self.sources: dict[str, tuple[str, ...]] = {}
        self.inputs: dict[str, RangeRule] = {}
        self.straight: list[str] = []
        self._kinds: dict[str, list[Any]] = {}  # what each use of a layer is
        self._feeds: dict[str, list[RangeRule]] = {}
        self._origins: dict[str, list[tuple[str, ...]]] = {}
        self._straight: dict[str, list[bool]] = {}
        self._of_tensor: dict[int, str] = {}  # the layer whose values a tensor holds
        self._rules = TensorRules(
            graph.maker, graph.entries, lambda v: as_numpy(keras, v), self._elementwise
        )

    def collect(self) -> None:
        """Find them all, in the order of the graph."""
        seen: set[str] = set()
        for node in self._graph.nodes:
            if node.kind in _DENSE | _CONV:
                self._linear(node)
            elif node.kind in _RNN:
                self._recurrent(node)
            elif getattr(node.op, "weights", None) and not self._is_norm(node):
                reason = (
                    "an embedding table: its rows are looked up, not multiplied"
                    if node.kind == "Embedding"
                    else f"a layer of kind {node.kind}, whose weights eiplane does not know"
                )
                if node.name not in seen:
                    self.skipped.append(Skipped(node.name, reason))
                seen.add(node.name)
        for name, rules in self._feeds.items():
            self.inputs[name] = rules[0] if len(rules) == 1 else Join(operands=tuple(rules))
        for name, found in self._origins.items():
            self.sources[name] = found[0] if all(f == found[0] for f in found) else ()
        self.straight = [n for n, ways in self._straight.items()
                         if all(ways) and len(self.sources[n]) == 1]  # fmt: skip

    def _is_norm(self, node: Node) -> bool:
        return node.kind.endswith("Normalization") or node.kind == "Normalization"

    # -- one layer

    def _linear(self, node: Node) -> None:
        part = self._part(node)
        if isinstance(part, str):
            if node.name not in {s.name for s in self.skipped}:
                self.skipped.append(Skipped(node.name, part))
            return
        weight, bias = part.weight(), None if part.bias is None else part.bias()
        (tensor,) = node.outputs
        name = getattr(node.op.activation, "__name__", "")
        found = function_of(self._keras, node.op.activation, name)
        if found == "identity" and name not in ("softmax", "log_softmax"):
            found, tensor, weight, bias = self._behind(tensor, weight, bias)
        title = self._title(node.name, None if found is None else (found, weight, bias))
        if found is None:
            reason = "what follows it is no function that eiplane knows, or several"
            self.skipped.append(Skipped(title, reason))
            return
        feed = self._add(Layer(weight, bias, found, title, part.groups), node)
        self._of_tensor[tensor] = title
        (own,) = node.outputs
        self._rules.found(tensor, LayerOutput(title, operands=(feed,)))
        if name in ("softmax", "log_softmax"):  # of the layer, not of what follows it
            del self._of_tensor[tensor]
            self._rules.found(own, Known(0.0, 1.0) if name == "softmax" else Unknown())

    def _title(self, name: str, made: Any) -> str:
        """Return the name of a use of a layer: the same as another's that is followed alike."""
        kinds = self._kinds.setdefault(name, [])
        at = next((k for k, other in enumerate(kinds) if _alike(made, other)), None)
        if at is None:
            at = len(kinds)
            kinds.append(made)
        return name if at == 0 else f"{name}#{at + 1}"

    def _part(self, node: Node) -> Part | str:
        op = node.op
        kernel = as_numpy(self._keras, op.kernel)
        if node.kind == "EinsumDense":
            bias = None if op.bias is None else as_numpy(self._keras, op.bias)
            found = einsum_map(op.equation, kernel, bias)
            if isinstance(found, str):
                return found
            weight, shift = found
            return Part(node.name, weight.shape, lambda: weight,
                        None if shift is None else lambda: shift)  # fmt: skip
        groups = getattr(op, "groups", 1) if not node.kind.startswith("Depthwise") else 1
        module = "conv" if node.kind in _CONV else "layer"  # what the shape alone does not say
        module = "depthwise" if node.kind.startswith("Depthwise") else module
        entries = {f"{module}/kernel": _entry(f"{module}/kernel", kernel)}
        last = "depthwise_kernel" if module == "depthwise" else "kernel"
        if module == "depthwise":
            entries = {f"{module}/{last}": _entry(f"{module}/{last}", kernel)}
        part = kernel_part(entries[f"{module}/{last}"], entries)
        if isinstance(part, str):
            return part
        bias = getattr(op, "bias", None)
        offset = None if bias is None else as_numpy(self._keras, bias)
        return replace(
            part,
            bias=None if offset is None else lambda: offset.reshape(-1),
            groups=groups if part.groups == 1 else part.groups,
        )

    def _recurrent(self, node: Node) -> None:
        cell = node.op.cell
        arrays = {"kernel": cell.kernel, "recurrent_kernel": cell.recurrent_kernel}
        if cell.bias is not None:
            arrays["bias"] = cell.bias
        entries = {
            f"{node.name}/{k}": _entry(f"{node.name}/{k}", as_numpy(self._keras, v))
            for k, v in arrays.items()
        }
        new = function_of(self._keras, cell.activation, getattr(cell.activation, "__name__", ""))
        gate_of = getattr(cell, "recurrent_activation", None)
        gate = (
            function_of(self._keras, gate_of, getattr(gate_of, "__name__", "")) if gate_of else new
        )
        if new is None or gate is None:
            if node.name not in {s.name for s in self.skipped}:
                self.skipped.append(Skipped(node.name, "a gate's function is not known"))
            return
        for last in ("kernel", "recurrent_kernel"):
            for part in gates_of(entries[f"{node.name}/{last}"], entries) or []:
                act = {"sigmoid": gate, "tanh": new, None: new}.get(part.activation, "identity")
                bias = None if part.bias is None else part.bias()
                made = Layer(part.weight(), bias, act, part.name)
                self._add(made, node, last == "recurrent_kernel")

    def _add(self, made: Layer, node: Node, inner: bool = False) -> RangeRule:
        """Note a use of a layer; return the range of what it takes there."""
        name = str(made.name)
        if name not in self._feeds:
            self.layers.append(made)
        feed = (
            self._rules.state(node)
            if inner
            else self._rules.padded(node, self._rules.rule(node.inputs[0]))
        )
        self._feeds.setdefault(name, []).append(feed)
        many = (
            node.kind == "EinsumDense" and len(node.op.kernel.shape) > 2
        )  # its features may be several axes of what it takes
        origin = () if inner or many else self._origin(node.inputs[0])
        self._origins.setdefault(name, []).append(origin or ())
        direct = node.kind == "Dense" and self._of_tensor.get(node.inputs[0]) is not None
        self._straight.setdefault(name, []).append(direct)
        return feed

    # -- what follows, what comes before

    def _behind(
        self, tensor: int, weight: Array, bias: Array | None
    ) -> tuple[str | Activation | None, int, Array, Array | None]:
        """Return the function of a linear layer's output, where it is then, and the folded map."""
        at = tensor
        while True:
            takers = self._graph.takers.get(at, [])
            if len(takers) == 1 and takers[0].kind in PASS:
                (at,) = takers[0].outputs
                continue
            if len(takers) == 1 and takers[0].kind == "BatchNormalization":
                folded = self._fold(takers[0], weight, bias)
                if folded is None:
                    return None, tensor, weight, bias
                (at,), (weight, bias) = takers[0].outputs, folded
                tensor = at
                continue
            break
        if not takers and at not in self._graph.results:
            return None, tensor, weight, bias
        if all(t.kind in _END | _DENSE | _CONV | POOL or self._is_norm(t) for t in takers):
            return "identity", tensor, weight, bias
        if len(takers) == 1 and len(takers[0].inputs) == 1 and at not in self._graph.results:
            found = self._elementwise(takers[0])
            return found, takers[0].outputs[0], weight, bias
        return None, tensor, weight, bias

    def _fold(self, node: Node, weight: Array, bias: Array | None) -> tuple[Array, Array] | None:
        op = node.op
        mean, variance = (as_numpy(self._keras, v) for v in (op.moving_mean, op.moving_variance))
        if mean.shape != weight.shape[:1]:
            return None
        scale = 1.0 / np.sqrt(variance.astype(np.float64) + op.epsilon)
        if op.gamma is not None:
            scale = scale * as_numpy(self._keras, op.gamma)
        shift = (0.0 if bias is None else bias) - mean.astype(np.float64)
        offset = shift * scale + (0.0 if op.beta is None else as_numpy(self._keras, op.beta))
        return weight * scale.reshape(-1, *(1,) * (weight.ndim - 1)), offset

    def _elementwise(self, node: Node) -> str | Activation | None:
        if getattr(node.op, "weights", None):
            return None
        if node.kind == "Activation":
            return function_of(
                self._keras, node.op.activation, getattr(node.op.activation, "__name__", "")
            )
        return function_of(self._keras, node.op, node.kind.lower())

    def _origin(self, tensor: int) -> tuple[str, ...] | None:
        """Return the layers whose values a tensor holds; none for the input, None if unknown."""
        if tensor in self._of_tensor:
            return (self._of_tensor[tensor],)
        node = self._graph.maker.get(tensor)
        if node is None or node.kind in _INPUT:
            return ()
        if node.kind in PASS | POOL:
            return self._origin(node.inputs[0])
        if node.kind == "Concatenate":
            parts = [self._origin(i) for i in node.inputs]
            if all(parts):
                return tuple(dict.fromkeys(name for part in parts for name in part or ()))
        return None


def _alike(one: Any, two: Any) -> bool:
    """Return whether two uses of a layer have the same function of the same map."""
    if one is None or two is None:
        return one is two
    return (
        get_activation(one[0]) == get_activation(two[0])
        and np.array_equal(one[1], two[1])
        and (one[2] is two[2] or (one[2] is not None and two[2] is not None
                                  and np.array_equal(one[2], two[2])))
    )  # fmt: skip


def _entry(name: str, array: Array) -> Entry:
    read: Callable[[], Array] = lambda: array  # noqa: E731
    return Entry(name, array.shape, read)
