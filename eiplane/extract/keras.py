"""Networks from models of Keras 3, of any backend, by the documented attributes of their layers.

The graph of a Sequential or functional model is seen through its operations' inputs and outputs;
what a layer's function is named is checked by evaluating it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..network import (
    Activation,
    Known,
    Layer,
    LayerOutput,
    Network,
    RangeRule,
    Unknown,
)
from ..results import Skipped
from .entries import Entry
from .keras_functions import as_numpy, function_of
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
    " Bidirectional"
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
    graph = _Graph(keras, model)
    if graph.is_hidden:
        return None
    made = _Layers(keras, graph)
    made.collect()
    if not made.layers:
        listed = "; ".join(f"{s.name}: {s.reason}" for s in made.skipped[:8])
        raise ValueError(f"the Keras model {model.name!r} has no layer of weights ({listed})")
    network = Network(made.layers, True, made.sources, straight=made.straight, inputs=made.inputs)
    return network, tuple(made.skipped)


@dataclass(frozen=True)
class _Node:
    """One operation of a graph; tensors are known by their ids."""

    name: str
    kind: str
    op: Any
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


class _Graph:
    """Which operation makes each tensor of a model, and which ones take it."""

    def __init__(self, keras: Any, model: Any) -> None:
        self._keras = keras
        self._alias: dict[int, int] = {}
        self.nodes: list[_Node] = []
        self.shared: list[str] = []
        self.is_hidden = False
        self._keep: list[Any] = []  # ids are only good while their tensors live
        self._walk(model, "")
        if self.is_hidden:
            return
        self.results = {self._resolve(id(t)) for t in model.outputs}
        self.entries = frozenset(self._resolve(id(t)) for t in model.inputs)
        resolved = [
            replace(
                n,
                inputs=tuple(self._resolve(i) for i in n.inputs),
                outputs=tuple(self._resolve(i) for i in n.outputs),
            )
            for n in self.nodes
        ]
        self.nodes = resolved
        self.maker = {out: node for node in resolved for out in node.outputs}
        self.takers: dict[int, list[_Node]] = {}
        for node in resolved:
            for i in node.inputs:
                self.takers.setdefault(i, []).append(node)

    def _resolve(self, tensor: int) -> int:
        while tensor in self._alias:
            tensor = self._alias[tensor]
        return tensor

    def _walk(self, model: Any, prefix: str) -> None:
        operations = self._operations(model)
        if operations is None:
            self.is_hidden = True
            return
        uses = _uses(model)
        for op in operations:
            name = prefix + op.name
            try:
                inputs, outputs = _flat(op.input), _flat(op.output)
            except (AttributeError, ValueError):
                inputs, outputs = [], []
            if not outputs or uses.get(op.name, 1) > 1:
                if getattr(op, "weights", None):
                    self.shared.append(name)
                continue
            self._keep += [*inputs, *outputs]
            inner = self._operations(op) if op is not model else None
            if inner is not None and hasattr(op, "inputs"):
                for mine, given in zip(op.inputs, inputs, strict=True):
                    if mine is not given:
                        self._alias[id(mine)] = id(given)
                for theirs, mine in zip(outputs, op.outputs, strict=True):
                    if mine is not theirs:
                        self._alias[id(theirs)] = id(mine)
                self._walk(op, name + "/")
                continue
            self.nodes.append(
                _Node(name, type(op).__name__, op, tuple(map(id, inputs)), tuple(map(id, outputs)))
            )

    def _operations(self, model: Any) -> list[Any] | None:
        keras = self._keras
        if isinstance(model, keras.Sequential):
            return list(model.layers)
        if isinstance(model, keras.Model):
            operations = getattr(model, "operations", None)
            return list(operations) if operations else None
        return None


def _uses(model: Any) -> dict[str, int]:
    """Return how often a functional model uses each of its layers."""
    try:
        layers = model.get_config().get("layers", [])
        return {layer["name"]: len(layer["inbound_nodes"]) for layer in layers}
    except Exception:  # a user's own layer may not say; a Sequential uses each once
        return {}


def _flat(tensors: Any) -> list[Any]:
    if isinstance(tensors, list | tuple):
        return [t for part in tensors for t in _flat(part)]
    if isinstance(tensors, dict):
        return [t for part in tensors.values() for t in _flat(part)]
    return [tensors]


class _Layers:
    """The layers of a graph, what feeds them and what follows them."""

    def __init__(self, keras: Any, graph: _Graph) -> None:
        self._keras, self._graph = keras, graph
        self.layers: list[Layer] = []
        self.skipped = [
            Skipped(name, "used more than once, or never: its place in the graph is not one")
            for name in graph.shared
        ]
        self.sources: dict[str, tuple[str, ...]] = {}
        self.inputs: dict[str, RangeRule] = {}
        self.straight: list[str] = []
        self._of_tensor: dict[int, str] = {}  # the layer whose values a tensor holds
        self._rules = TensorRules(
            graph.maker, graph.entries, lambda v: as_numpy(keras, v), self._elementwise
        )

    def collect(self) -> None:
        """Find them all, in the order of the graph."""
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
                self.skipped.append(Skipped(node.name, reason))

    def _is_norm(self, node: _Node) -> bool:
        return node.kind.endswith("Normalization") or node.kind == "Normalization"

    # -- one layer

    def _linear(self, node: _Node) -> None:
        part = self._part(node)
        if isinstance(part, str):
            self.skipped.append(Skipped(node.name, part))
            return
        weight, bias = part.weight(), None if part.bias is None else part.bias()
        (tensor,) = node.outputs
        name = getattr(node.op.activation, "__name__", "")
        found = function_of(self._keras, node.op.activation, name)
        if found == "identity" and name not in ("softmax", "log_softmax"):
            found, tensor, weight, bias = self._behind(tensor, weight, bias)
        if found is None:
            reason = "what follows it is no function that eiplane knows, or several"
            self.skipped.append(Skipped(node.name, reason))
            return
        made = Layer(weight, bias, found, node.name, part.groups)
        self._add(made, node)
        self._of_tensor[tensor] = node.name
        (own,) = node.outputs
        rule: RangeRule = LayerOutput(node.name, operands=(self.inputs[node.name],))
        self._rules.found(tensor, rule)
        if name in ("softmax", "log_softmax"):  # of the layer, not of what follows it
            del self._of_tensor[tensor]
            self._rules.found(own, Known(0.0, 1.0) if name == "softmax" else Unknown())

    def _part(self, node: _Node) -> Part | str:
        op = node.op
        kernel = as_numpy(self._keras, op.kernel)
        if node.kind == "EinsumDense" and kernel.ndim != 2:
            return f"an EinsumDense of equation {op.equation!r}, whose heads are kept apart"
        groups = getattr(op, "groups", 1) if not node.kind.startswith("Depthwise") else 1
        module = "depthwise" if node.kind.startswith("Depthwise") else "layer"
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

    def _recurrent(self, node: _Node) -> None:
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
            self.skipped.append(Skipped(node.name, "a gate's function is not known"))
            return
        for last in ("kernel", "recurrent_kernel"):
            for part in gates_of(entries[f"{node.name}/{last}"], entries) or []:
                act = {"sigmoid": gate, "tanh": new, None: new}.get(part.activation, "identity")
                bias = None if part.bias is None else part.bias()
                made = Layer(part.weight(), bias, act, part.name)
                self._add(made, node, last == "recurrent_kernel")

    def _add(self, made: Layer, node: _Node, inner: bool = False) -> None:
        name = str(made.name)
        self.layers.append(made)
        origin = () if inner else self._origin(node.inputs[0])
        self.sources[name] = origin or ()
        self.inputs[name] = (
            self._rules.state(node)
            if inner
            else self._rules.padded(node, self._rules.rule(node.inputs[0]))
        )
        direct = self._of_tensor.get(node.inputs[0])
        if node.kind == "Dense" and direct is not None:
            self.straight.append(name)

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

    def _fold(self, node: _Node, weight: Array, bias: Array | None) -> tuple[Array, Array] | None:
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

    def _elementwise(self, node: _Node) -> str | Activation | None:
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


def _entry(name: str, array: Array) -> Entry:
    read: Callable[[], Array] = lambda: array  # noqa: E731
    return Entry(name, array.shape, read)
