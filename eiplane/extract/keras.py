"""Networks from models of Keras 3, of any backend, by the documented attributes of their layers.

The graph of a Sequential or functional model is seen through its operations' inputs and outputs;
what a layer's function is named is checked by evaluating it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..network import (
    Join,
    Layer,
    LayerOutput,
    Network,
    RangeRule,
    get_activation,
)
from ..results import Skipped
from .entries import Entry
from .keras_after import After, Found
from .keras_functions import as_numpy, function_of
from .keras_graph import Graph
from .keras_parts import Node, einsum_axes, einsum_map
from .keras_ranges import PASS, POOL, TensorRules
from .keras_sheets import run
from .keras_wires import wired
from .orientation import kernel_part
from .programs import Example
from .recurrent import Part, gates_of
from .tables import words

__all__ = ["example_of", "from_keras", "is_keras", "is_partial"]

Array = NDArray[Any]

_UNUSED = "its output does not lead to the model's result"
_EMBEDDING = "an embedding table: its rows are looked up, not multiplied"

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
#: Linear maps that are listed, not read.
_OTHERS = words("Conv1DTranspose Conv2DTranspose Conv3DTranspose ConvLSTM1D ConvLSTM2D ConvLSTM3D")
_NORMS = words(
    "LayerNormalization GroupNormalization UnitNormalization RMSNormalization BatchNormalization"
)
_SPREAD = words("UpSampling1D UpSampling2D UpSampling3D")
#: What is a layer by itself, or mixes entries: it is never run to find a function.
_ALONE = _DENSE | _CONV | _RNN | _OTHERS | POOL | words(
    "LayerNormalization GroupNormalization UnitNormalization RMSNormalization Softmax LogSoftmax"
    " Attention AdditiveAttention MultiHeadAttention GroupQueryAttention GroupedQueryAttention"
    " Bidirectional Mix Embedding InputLayer RNN"
)  # fmt: skip


def is_keras(weights: Any) -> bool:
    """Return whether this is a model or layer of Keras, without importing that."""
    keras = sys.modules.get("keras")
    layer = getattr(getattr(keras, "layers", None), "Layer", None)
    return layer is not None and isinstance(weights, layer)


def example_of(model: Any) -> Example | None:
    """Return an input that a model takes, by the shapes that it was built with.

    Parameters
    ----------
    model : keras.Model or keras.Layer
        On the torch backend.

    Returns
    -------
    Example or None
        None for a model that does not say what it takes.
    """
    keras = sys.modules["keras"]
    taken = getattr(model, "inputs", None)
    if not taken:
        return None
    rng = np.random.default_rng(0)

    def made(tensor: Any) -> Any:
        shape = [2 if k == 0 else 8 for k in range(len(tensor.shape))]
        shape = [n if given is None else given
                 for n, given in zip(shape, tensor.shape, strict=True)]  # fmt: skip
        numbers = rng.random(shape) if "float" in tensor.dtype else np.zeros(shape)
        return keras.ops.convert_to_tensor(numbers, dtype=tensor.dtype)

    structure = getattr(model, "_inputs_struct", None)
    if structure is None:
        structure = taken[0] if len(taken) == 1 else list(taken)
    return Example((keras.tree.map_structure(made, structure),), {})


def is_partial(skipped: Sequence[Skipped]) -> bool:
    """Return whether there is more in a model than was read: not embeddings, or what is unused."""
    return any(s.reason not in (_EMBEDDING, _UNUSED) for s in skipped)


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
    direct = {name: made.sources[name] for name in made.straight}
    network = Network(
        made.layers, True, made.sources, straight=made.straight, inputs=made.inputs,
        wiring=wired(graph, made.of_node, direct, _INPUT),
    )  # fmt: skip
    return network, tuple(made.skipped)


class _Layers:
    """The layers of a graph, what feeds them and what follows them."""

    def __init__(self, keras: Any, graph: Graph) -> None:
        self._keras, self._graph = keras, graph
        self.layers: list[Layer] = []
        self.skipped = [Skipped(name, _UNUSED) for name in graph.unused]
        self.sources: dict[str, tuple[str, ...]] = {}
        self.inputs: dict[str, RangeRule] = {}
        self.straight: list[str] = []
        #: Layers of a node, and whether each takes its own state.
        self.of_node: dict[int, list[tuple[str, bool]]] = {}
        self._kinds: dict[str, list[Any]] = {}  # what each use of a layer is
        self._feeds: dict[str, list[RangeRule]] = {}
        self._origins: dict[str, list[tuple[str, ...]]] = {}
        self._straight: dict[str, list[bool]] = {}
        self._of_tensor: dict[int, tuple[str, ...]] = {}  # the layers whose values it holds
        self._shares: dict[int, list[tuple[str, float, RangeRule]]] = {}
        self._direct: set[int] = set()  # tensors that hold one layer's outputs in their order
        ends = _END | _DENSE | _CONV | _OTHERS | POOL | _NORMS | _SPREAD
        self._after = After(keras, graph, ends, lambda node: node.kind in _ALONE)
        self._rules = TensorRules(
            graph.maker, graph.entries, lambda v: as_numpy(keras, v), self._after.step
        )

    def collect(self) -> None:
        """Find them all, in the order of the graph."""
        for node in self._graph.nodes:
            if node.kind in _DENSE | _CONV:
                self._linear(node)
            elif node.kind in _RNN:
                self._recurrent(node)
            elif node.kind not in _INPUT and not self._is_known(node):
                self._unread(node)
        for name, rules in self._feeds.items():
            self.inputs[name] = rules[0] if len(rules) == 1 else Join(operands=tuple(rules))
        for name, found in self._origins.items():
            self.sources[name] = found[0] if all(f == found[0] for f in found) else ()
        self.straight = [n for n, ways in self._straight.items()
                         if all(ways) and len(self.sources[n]) == 1]  # fmt: skip

    def _unread(self, node: Node) -> None:
        """List what may multiply with weights, where it is not seen how."""
        kind = node.kind.removeprefix("own ")
        if getattr(node.op, "weights", None):
            if node.kind == "Embedding":
                self._skip(node.name, _EMBEDDING)
            elif not self._after.explains(node):
                own = "its user's own kind" if kind != node.kind else "kind"
                self._skip(node.name, f"a layer of {own} {kind}, whose weights eiplane does not "
                                      "know")  # fmt: skip
        elif self._may_hide(node):
            self._skip(node.name, f"what it multiplies with ({kind}) is not seen")

    def _may_hide(self, node: Node) -> bool:
        """Return whether an operation may multiply with numbers that are not known as weights."""
        if node.kind.startswith("own ") or node.kind == "Lambda":
            return not self._after.explains(node)
        fixed = node.kind in ("Matmul", "Einsum", "Tensordot", "Dot") and len(node.inputs) == 1
        return fixed and not self._after.explains(node)

    def _is_known(self, node: Node) -> bool:
        """Return whether an operation's weights are no matrices: a norm's, or slopes."""
        return node.kind in _NORMS | {"Normalization", "PReLU", "AdditiveAttention"}

    # -- one layer

    def _linear(self, node: Node) -> None:
        part = self._part(node)
        if isinstance(part, str):
            self._skip(node.name, part)
            return
        weight, bias = part.weight(), None if part.bias is None else part.bias()
        reason = self._unlike(node, weight, bias)
        if reason:
            self._skip(node.name, reason)
            return
        (own,) = node.outputs
        shape = self._graph.shapes.get(own)
        ways = self._after.follow(own, shape, self._axes(node), len(weight))
        for found in ways:
            name = node.name if len(ways) == 1 else f"{node.name}[{_spelt(found.rows)}]"
            if found.activation is None:
                self._skip(self._title(name, None), found.reason)
            elif len(ways) > 1 and part.groups > 1:
                self._skip(self._title(name, None), "groups whose outputs go different ways")
            else:
                self._made(node, name, found, part, (weight, bias))

    def _made(
        self, node: Node, name: str, found: Found, part: Part, numbers: tuple[Array, Array | None]
    ) -> None:
        """Note a layer, and the tensors that hold its values."""
        weight, bias = numbers
        if len(found.rows) < len(weight):
            weight, bias = weight[found.rows], None if bias is None else bias[found.rows]
        if not (np.all(found.scale == 1.0) and np.all(found.shift == 0.0)):
            weight = weight * found.scale.reshape(-1, *(1,) * (weight.ndim - 1))
            bias = found.shift + found.scale * (0.0 if bias is None else bias)
        assert found.activation is not None
        title = self._title(name, (found.activation, weight, bias))
        feed = self._add(Layer(weight, bias, found.activation, title, part.groups), node)
        rule = LayerOutput(title, operands=(feed,))
        for tensor, share, direct in zip(found.tensors, found.shares, found.straight, strict=True):
            parts = self._shares.setdefault(tensor, [])
            parts.append((title, share, rule))
            if direct:
                self._direct.add(tensor)
            if sum(p[1] for p in parts) > 1.0 - 1e-9:  # nothing else is in it
                rules = tuple(p[2] for p in parts)
                self._of_tensor[tensor] = tuple(dict.fromkeys(p[0] for p in parts))
                self._rules.found(tensor, rules[0] if len(rules) == 1 else Join(operands=rules))

    def _skip(self, name: str, reason: str) -> None:
        if name not in {s.name for s in self.skipped}:
            self.skipped.append(Skipped(name, reason))

    def _axes(self, node: Node) -> tuple[int, ...]:
        """Return the axes of a layer's outputs."""
        if node.kind == "EinsumDense":
            return einsum_axes(node.op.equation)
        return (1,) if getattr(node.op, "data_format", "") == "channels_first" else (-1,)

    def _unlike(self, node: Node, weight: Array, bias: Array | None) -> str:
        """Return why a layer of one axis is not what its own call computes, if so."""
        op = node.op
        mode = getattr(op, "quantization_mode", None)
        if mode is not None:
            return f"its kernel is quantised ({mode}), which eiplane does not undo"
        if node.kind != "Dense":
            return ""
        x = np.random.default_rng(0).normal(size=(3, weight.shape[1]))
        z = x @ weight.T.astype(np.float64) + (0.0 if bias is None else bias)
        size = (np.abs(x) @ np.abs(weight).T.astype(np.float64)).max() + 1.0
        activation = op.activation if callable(op.activation) else lambda t: t
        seen = run(self._keras, _calling(op.call), [x])
        made = run(self._keras, _calling(activation), [z])
        rough = 2e-2 if "float16" in str(op.compute_dtype) else 1e-4
        if seen is None or made is None or not (np.abs(seen[0] - made[0]) <= rough * size).all():
            return "what it computes is not its kernel times what it takes"
        return ""

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
        module = "depthwise" if node.kind.startswith("Depthwise") else "layer"
        last = "depthwise_kernel" if module == "depthwise" else "kernel"
        entries = {f"{module}/{last}": _entry(f"{module}/{last}", kernel)}
        if module == "layer":  # which says that the kernel's last axis has its outputs
            entries["layer/bias"] = _entry("layer/bias", np.zeros(kernel.shape[-1]))
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
            self._skip(node.name, "a gate's function is not known")
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
        self.of_node.setdefault(id(node), []).append((name, inner))
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
        direct = node.kind == "Dense" and node.inputs[0] in self._direct
        self._straight.setdefault(name, []).append(direct)
        return feed

    # -- what comes before

    def _origin(self, tensor: int) -> tuple[str, ...] | None:
        """Return the layers whose values a tensor holds; none for the input, None if unknown."""
        if tensor in self._of_tensor:
            return self._of_tensor[tensor]
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


def _spelt(rows: Array) -> str:
    """Return rows as an index is written: ``"0:3"`` or ``"0,2"``."""
    first, last = int(rows[0]), int(rows[-1])
    if last - first + 1 == len(rows):
        return f"{first}:{last + 1}" if len(rows) > 1 else str(first)
    return ",".join(str(int(r)) for r in rows)


def _calling(function: Callable[[Any], Any]) -> Any:
    return SimpleNamespace(run=lambda tensors: [function(tensors[0])])


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
