"""Where the tensors of a model of Keras live: a rule for each operation between layers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..network import (
    Activation,
    Join,
    Known,
    Mapped,
    NetworkInput,
    Norm,
    Pairwise,
    RangeRule,
    Scaled,
    Unknown,
    get_activation,
)
from .tables import words

__all__ = ["PASS", "POOL", "TensorRules"]

Array = NDArray[Any]
Function = Callable[[Array], Array]

#: Numbers pass unchanged, or only to another place.
PASS = words(
    "Dropout SpatialDropout1D SpatialDropout2D SpatialDropout3D GaussianDropout AlphaDropout"
    " GaussianNoise ActivityRegularization Identity Flatten Reshape Permute RepeatVector Cropping1D"
    " Cropping2D Cropping3D UpSampling1D UpSampling2D UpSampling3D"
)
#: The range stays, the numbers do not.
POOL = words(
    "MaxPooling1D MaxPooling2D MaxPooling3D AveragePooling1D AveragePooling2D AveragePooling3D"
    " GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D GlobalAveragePooling1D"
    " GlobalAveragePooling2D GlobalAveragePooling3D"
)
_PADS = words("ZeroPadding1D ZeroPadding2D ZeroPadding3D")
_PAIRS = {
    "Add": "add", "Subtract": "sub", "Multiply": "mul", "Maximum": "maximum",
    "Minimum": "minimum",
}  # fmt: skip
_JOINS: dict[str, Callable[[Array, Array], Array]] = {
    "Add": np.add, "Subtract": np.subtract, "Multiply": np.multiply, "Maximum": np.maximum,
    "Minimum": np.minimum,
}  # fmt: skip
_SHARES = words("Softmax")
_TRAINED = words(
    "Dropout SpatialDropout1D SpatialDropout2D SpatialDropout3D GaussianDropout AlphaDropout"
    " GaussianNoise BatchNormalization"
)
_NORMED = words(
    "BatchNormalization Normalization UnitNormalization LayerNormalization RMSNormalization"
    " GroupNormalization"
)


class Node(Protocol):
    """One operation of a graph; tensors are known by their ids."""

    @property
    def kind(self) -> str:
        """Name of its class."""

    @property
    def op(self) -> Any:
        """Itself."""

    @property
    def inputs(self) -> tuple[int, ...]:
        """What it takes."""

    @property
    def outputs(self) -> tuple[int, ...]:
        """What it gives."""

    @property
    def shape(self) -> tuple[Any, ...]:
        """Of the first of what it takes."""


class TensorRules:
    """The rules of a model's tensors.

    Parameters
    ----------
    makers : mapping of int to Node
        The operation that makes each tensor.
    entries : collection of int
        The model's inputs.
    read : callable
        Returns a variable's numbers.
    step : callable
        Returns what an operation does to each entry of the one tensor that it takes: see
        :meth:`.keras_after.After.step`.
    """

    def __init__(
        self,
        makers: Mapping[int, Node],
        entries: frozenset[int],
        read: Callable[[Any], Array],
        step: Callable[[Any, int], str | tuple[Array, Array] | Activation | None],
    ) -> None:
        self._makers, self._entries = makers, entries
        self._read, self._step = read, step
        self._known: dict[int, RangeRule] = {}
        #: What a tensor is a function of, entry by entry, and which one.
        self._made_of: dict[int, tuple[int, Function]] = {}

    def found(self, tensor: int, rule: RangeRule) -> None:
        """Note the rule of a tensor that a layer makes."""
        self._known[tensor] = rule

    def rule(self, tensor: int) -> RangeRule:
        """Return the rule of a tensor; operations come in order, so what it is made of is known."""
        todo = [tensor]
        while todo:
            at = todo[-1]
            node = self._makers.get(at)
            if at in self._known:
                todo.pop()
                continue
            missing = [i for i in node.inputs if i not in self._known] if node is not None else []
            if missing:
                todo += missing
                continue
            if at in self._entries or (node is not None and node.kind == "InputLayer"):
                self._known[at] = NetworkInput()
            else:
                self._known[at] = Unknown() if node is None else self._of(node, at)
            todo.pop()
        return self._known[tensor]

    def _of(self, node: Node, tensor: int) -> RangeRule:
        given = [self._known[i] for i in node.inputs]
        if getattr(node, "run", None) is None and node.kind in _TRAINED:
            return Unknown()  # a call with training=True: noise, or a batch's own mean
        if node.kind in PASS:
            smooth = getattr(node.op, "interpolation", "nearest")
            return given[0] if smooth in ("nearest", "bilinear") else Unknown()
        if node.kind in POOL:
            return self.padded(node, given[0])
        if node.kind in _PADS:
            return Join(operands=(given[0], Known(0.0, 0.0, "given")))
        if node.kind in ("Concatenate", "Join"):
            return Join(operands=tuple(given))
        if node.kind == "Mix":  # of values, by shares
            return Join(operands=(given[2],))
        if node.kind in ("Attention", "AdditiveAttention"):
            return Join(operands=(given[min(1, len(given) - 1)],))
        if node.kind in _PAIRS and len(given) > 1:
            alone = self._of_one(node, tensor)
            return _folded(_PAIRS[node.kind], given) if alone is None else alone
        if node.kind == "Average":
            return Scaled(1.0 / len(given), operands=(_folded("add", given),))
        if node.kind in _SHARES:
            return Known(0.0, 1.0)
        if node.kind == "Embedding":
            table = self._read(node.op.embeddings)
            return Known(float(table.min()), float(table.max()))
        if node.kind in ("LSTM", "GRU", "SimpleRNN"):
            return self.state(node)
        if node.kind in _NORMED:
            return self._normed(node, given[0])
        if node.kind == "Rescaling":
            scale, offset = _flat(node.op.scale), _flat(node.op.offset)
            if scale.size == offset.size == 1:
                self._apply(node, tensor, lambda z: z * scale + offset)
            return Join(operands=(Scaled(scale, offset, operands=(given[0],)),))
        return self._stepped(node, given, node.outputs.index(tensor))

    def _stepped(self, node: Node, given: list[RangeRule], output: int) -> RangeRule:
        """Return the rule of what one tensor's entries become, each by itself."""
        found = self._step(node, output) if given else None
        if found is None:
            return Unknown()
        if isinstance(found, str):
            return given[0]
        if isinstance(found, tuple):
            return Join(operands=(Scaled(*found, operands=(given[0],)),))
        function = _Function(found)
        source, before = self._source(node.inputs[0])
        self._apply(node, node.outputs[output], function)
        if source == node.inputs[0]:
            return Mapped(function, operands=(given[0],))
        return Mapped(lambda z: function(before(z)), operands=(self._known[source],))

    # -- functions of one tensor, by more than one way

    def _source(self, tensor: int) -> tuple[int, Function]:
        """Return what a tensor is a function of, itself perhaps, and which function."""
        return self._made_of.get(tensor, (tensor, _same))

    def _apply(self, node: Node, tensor: int, function: Function) -> None:
        source, before = self._source(node.inputs[0])
        self._made_of[tensor] = source, lambda z: function(before(z))

    def _of_one(self, node: Node, tensor: int) -> RangeRule | None:
        """Return the rule of a sum or a product of functions of one tensor, if it is one."""
        ways = [self._source(i) for i in node.inputs]
        source = ways[0][0]
        if any(other != source for other, _ in ways):
            return None
        functions = [function for _, function in ways]
        join = _JOINS[node.kind]

        def joined(z: Array) -> Array:
            found = functions[0](z)
            for function in functions[1:]:
                found = join(found, function(z))
            return found

        self._made_of[tensor] = source, joined
        return Mapped(joined, operands=(self._known[source],))

    @staticmethod
    def padded(node: Node, rule: RangeRule) -> RangeRule:
        """Return the range of what an operation takes, zeros around its input among it."""
        if getattr(node.op, "padding", "valid") == "valid" or "Max" in node.kind:
            return rule
        return Join(operands=(rule, Known(0.0, 0.0, "given")))

    def state(self, node: Node) -> RangeRule:
        """Return the range of a recurrent layer's state."""
        cell = node.op.cell
        name = getattr(cell.activation, "__name__", "")
        gate = getattr(getattr(cell, "recurrent_activation", None), "__name__", "sigmoid")
        shares = gate in ("sigmoid", "hard_sigmoid")  # a state is a mixture, or a part of a tanh
        ends = {"tanh": (-1.0, 1.0), "sigmoid": (0.0, 1.0)}.get(name)
        if node.kind == "LSTM" and name == "sigmoid":
            ends = (0.0, 1.0)
        return Known(*ends, "activation") if ends is not None and shares else Unknown()

    # -- norms

    def _normed(self, node: Node, rule: RangeRule) -> RangeRule:
        op, shape = node.op, node.shape
        if node.kind == "BatchNormalization":
            mean, variance = self._read(op.moving_mean), self._read(op.moving_variance)
            scale = 1.0 / np.sqrt(variance.astype(np.float64) + op.epsilon)
            scale = scale if op.gamma is None else scale * self._read(op.gamma)
            shift = -mean * scale + (0.0 if op.beta is None else self._read(op.beta))
            return Join(operands=(Scaled(scale, shift, operands=(rule,)),))
        if node.kind == "Normalization":
            spread = np.maximum(np.sqrt(np.asarray(self._read(op.variance), np.float64)), 1e-7)
            mean = np.asarray(self._read(op.mean), dtype=np.float64)
            if getattr(op, "invert", False):
                return Join(operands=(Scaled(_flat(spread), _flat(mean), operands=(rule,)),))
            scale = _flat(1.0 / spread)
            return Join(operands=(Scaled(scale, -_flat(mean) * scale, operands=(rule,)),))
        if node.kind == "UnitNormalization":
            return Known(-1.0, 1.0, "norm")
        sizes = [self._size(op, shape, node.kind), *shape]
        size = sizes[0]
        if size is None:
            return Unknown()
        gamma = getattr(op, "gamma", getattr(op, "scale", None))
        beta = getattr(op, "beta", None)
        scale = np.ones(1) if gamma is None or isinstance(gamma, bool) else _flat(self._read(gamma))
        shift = np.zeros(1) if beta is None else _flat(self._read(beta))
        centred = node.kind != "RMSNormalization"
        return Join(operands=(Norm(size, centred, scale, shift, operands=(rule,)),))

    @staticmethod
    def _size(op: Any, shape: tuple[Any, ...], kind: str) -> int | None:
        """Return how many entries a norm runs over; of an unknown number many."""
        many = 1 << 30
        axes = op.axis if isinstance(op.axis, list | tuple) else [op.axis]
        if kind == "GroupNormalization":
            axis = axes[0] % len(shape)
            places = [n for k, n in enumerate(shape) if k not in (0, axis)]
            sizes = [shape[axis] // max(1, op.groups if op.groups > 0 else shape[axis]), *places]
        elif kind in ("LayerNormalization", "RMSNormalization"):
            sizes = [shape[a] for a in axes]
        else:
            return None
        return many if None in sizes else math.prod(sizes)


def _same(z: Array) -> Array:
    return z


def _flat(value: Any) -> NDArray[np.float64]:
    return np.asarray(value, dtype=np.float64).reshape(-1)


def _folded(kind: str, rules: list[RangeRule]) -> RangeRule:
    found = rules[0]
    for rule in rules[1:]:
        found = Pairwise(kind, operands=(found, rule))
    return found


class _Function:
    """An activation, or one by its name, of arrays."""

    def __init__(self, activation: str | Activation) -> None:
        self._activation = get_activation(activation)

    def __call__(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        return self._activation(z)
