"""ONNX's elementwise operators in double precision, as steps that can be applied anywhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...network.elementary import gelu, gelu_tanh, mish, sigmoid, softplus
from ...network.portable import erf
from ..tables import words

__all__ = ["FUNCTIONS", "MONOTONE", "NodeFunction", "in_double"]

Array = NDArray[Any]
Given = Mapping[str, Any]

#: Functions that never fall, or never rise, of their one operand.
MONOTONE = words(
    """
    Relu Selu Sigmoid HardSigmoid Tanh Softplus Softsign Clip Add Sub Mul Sum Neg Exp Log Sqrt Erf
    Asin Acos Atan Sinh Asinh Acosh Atanh Sign Floor Ceil Round Max Min Greater GreaterOrEqual
    Less LessOrEqual Not Cast QuantizeLinear DequantizeLinear
    """
)


def in_double(number: float) -> float:
    """Return the number that one in single precision was meant to be: 0.01, not 0.00999999977."""
    short = float(f"{number:.7g}")
    return short if np.float32(short) == np.float32(number) else float(number)


def _slope(x: Array, slope: Any) -> Array:
    return np.where(x >= 0, x, slope * x)


def _elu(x: Array, alpha: float) -> Array:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def _celu(x: Array, alpha: float) -> Array:
    return np.maximum(x, 0) + np.minimum(0, alpha * np.expm1(np.minimum(x, 0) / alpha))


def _hard(x: Array, alpha: float, beta: float) -> Array:
    return np.clip(alpha * x + beta, 0.0, 1.0)


def _shrink(x: Array, bias: float, lambd: float) -> Array:
    return np.where(x < -lambd, x + bias, np.where(x > lambd, x - bias, 0.0))


def _clip(x: Array, low: Any = None, high: Any = None) -> Array:
    x = x if low is None else np.maximum(x, low)
    return x if high is None else np.minimum(x, high)


def _div(a: Array, b: Array) -> Array:
    if np.result_type(a, b).kind in "iu":
        return np.asarray(np.trunc(np.true_divide(a, b))).astype(np.result_type(a, b))
    return np.true_divide(a, b)


def _mod(a: Array, b: Array, fmod: int) -> Array:
    result: Array = np.fmod(a, b) if fmod else np.mod(a, b)
    return result


def _gelu(x: Array, approximate: Any) -> Array:
    return gelu_tanh(x) if approximate in (b"tanh", "tanh") else gelu(x)


def _several(function: Any) -> Callable[..., Array]:
    def joined(*arrays: Array) -> Array:
        made = arrays[0]
        for other in arrays[1:]:
            made = function(made, other)
        return made

    return joined


def _is_inf(x: Array, negative: int, positive: int) -> Array:
    found = np.isinf(x)
    found &= bool(negative) | (x > 0)
    found &= bool(positive) | (x < 0)
    return found


#: Each takes the attributes and the node's inputs, None where one is left out.
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "Relu": lambda g, x: np.maximum(x, 0),
    "LeakyRelu": lambda g, x: _slope(x, g.get("alpha", 0.01)),
    "PRelu": lambda g, x, s: _slope(x, s),
    "Elu": lambda g, x: _elu(x, g.get("alpha", 1.0)),
    "Celu": lambda g, x: _celu(x, g.get("alpha", 1.0)),
    "Selu": lambda g, x: (
        g.get("gamma", 1.0507009873554804934) * _elu(x, g.get("alpha", 1.6732632423543772848))
    ),
    "Sigmoid": lambda g, x: sigmoid(x),
    "HardSigmoid": lambda g, x: _hard(x, g.get("alpha", 0.2), g.get("beta", 0.5)),
    "HardSwish": lambda g, x: x * np.clip(x / 6.0 + 0.5, 0.0, 1.0),
    "Swish": lambda g, x: x * sigmoid(g.get("alpha", 1.0) * x),
    "QuickGelu": lambda g, x: x * sigmoid(g.get("alpha", 1.702) * x),
    "FastGelu": lambda g, x: gelu_tanh(x),
    "Tanh": lambda g, x: np.tanh(x),
    "Softplus": lambda g, x: softplus(x),
    "Softsign": lambda g, x: x / (1.0 + np.abs(x)),
    "Gelu": lambda g, x: _gelu(x, g.get("approximate", b"none")),
    "Mish": lambda g, x: mish(x),
    "ThresholdedRelu": lambda g, x: np.where(x > g.get("alpha", 1.0), x, 0.0),
    "Shrink": lambda g, x: _shrink(x, g.get("bias", 0.0), g.get("lambd", 0.5)),
    "Clip": lambda g, x, low=None, high=None: _clip(
        x, g.get("min") if low is None else low, g.get("max") if high is None else high
    ),
    "Add": lambda g, a, b: a + b,
    "Sub": lambda g, a, b: a - b,
    "Mul": lambda g, a, b: a * b,
    "Div": lambda g, a, b: _div(a, b),
    "Pow": lambda g, a, b: np.power(a, b),
    "Mod": lambda g, a, b: _mod(a, b, g.get("fmod", 0)),
    "Sum": lambda g, *a: _several(np.add)(*a),
    "Max": lambda g, *a: _several(np.maximum)(*a),
    "Min": lambda g, *a: _several(np.minimum)(*a),
    "Neg": lambda g, x: -x,
    "Abs": lambda g, x: np.abs(x),
    "Exp": lambda g, x: np.exp(x),
    "Log": lambda g, x: np.log(x),
    "Sqrt": lambda g, x: np.sqrt(x),
    "Reciprocal": lambda g, x: 1.0 / x,
    "Erf": lambda g, x: erf(x),
    "Sin": lambda g, x: np.sin(x),
    "Cos": lambda g, x: np.cos(x),
    "Tan": lambda g, x: np.tan(x),
    "Asin": lambda g, x: np.arcsin(x),
    "Acos": lambda g, x: np.arccos(x),
    "Atan": lambda g, x: np.arctan(x),
    "Sinh": lambda g, x: np.sinh(x),
    "Cosh": lambda g, x: np.cosh(x),
    "Asinh": lambda g, x: np.arcsinh(x),
    "Acosh": lambda g, x: np.arccosh(x),
    "Atanh": lambda g, x: np.arctanh(x),
    "Sign": lambda g, x: np.sign(x),
    "Floor": lambda g, x: np.floor(x),
    "Ceil": lambda g, x: np.ceil(x),
    "Round": lambda g, x: np.rint(x),
    "Where": lambda g, c, a, b: np.where(c, a, b),
    "Greater": lambda g, a, b: a > b,
    "GreaterOrEqual": lambda g, a, b: a >= b,
    "Less": lambda g, a, b: a < b,
    "LessOrEqual": lambda g, a, b: a <= b,
    "Equal": lambda g, a, b: a == b,
    "And": lambda g, a, b: np.logical_and(a, b),
    "Or": lambda g, a, b: np.logical_or(a, b),
    "Xor": lambda g, a, b: np.logical_xor(a, b),
    "Not": lambda g, x: np.logical_not(x),
    "BitwiseAnd": lambda g, a, b: np.bitwise_and(a, b),
    "BitwiseOr": lambda g, a, b: np.bitwise_or(a, b),
    "BitwiseXor": lambda g, a, b: np.bitwise_xor(a, b),
    "BitwiseNot": lambda g, a: np.bitwise_not(a),
    "IsNaN": lambda g, x: np.isnan(x),
    "IsInf": lambda g, x: _is_inf(x, g.get("detect_negative", 1), g.get("detect_positive", 1)),
    "Cast": lambda g, x: x.astype(g["dtype"]),
    "QuantizeLinear": lambda g, x, scale, zero=0: np.clip(
        np.rint(x / scale) + zero, g["low"], g["high"]
    ),
    "DequantizeLinear": lambda g, x, scale, zero=0: (x - zero) * scale,
}


@dataclass(frozen=True, eq=False)
class NodeFunction:
    """An elementwise node, applied to arrays; picklable.

    Parameters
    ----------
    kind : str
    attributes : mapping
    given : tuple of bool
        Which of the node's inputs there are.
    """

    kind: str
    attributes: Given = field(default_factory=dict)
    given: tuple[bool, ...] = (True,)

    def __call__(self, arrays: list[Array]) -> Array:
        """Return the node's result; numbers with a point are taken as float64."""
        wide = iter(a.astype(np.float64) if a.dtype.kind in "fV" else a for a in arrays)
        taken = [next(wide) if there else None for there in self.given]
        while taken and taken[-1] is None:
            taken.pop()
        if self.kind in ("QuantizeLinear", "DequantizeLinear"):
            taken = [None if a is None else a.astype(np.float64) for a in taken]
        result: Array = np.asarray(FUNCTIONS[self.kind](self.attributes, *taken))
        return result
