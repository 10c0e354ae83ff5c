"""Activations whose monotone pieces are known in closed form."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .activation import Activation
from .elementary import (
    gelu,
    gelu_tanh,
    identity,
    mish,
    quick_gelu,
    sigmoid,
    silu,
    softplus,
    tanhshrink,
)
from .monotone import Function, Piece, unbounded
from .portable import arctan, arctanh, exp, expm1, log, log1p, tan, tanh

__all__ = ["CLOSED"]

Array = NDArray[np.float64]

INF = math.inf


def _named(kind: str, values: tuple[float, ...], defaults: tuple[float, ...]) -> str:
    if values == defaults:
        return kind
    return f"{kind}({', '.join(repr(float(v)) for v in values)})"


def _dipped(function: Function, low: float, high: float) -> tuple[Piece, ...]:
    """Return the pieces of a function that falls from 0 to a minimum and then rises for ever."""
    for _ in range(80):  # ternary search: the minimum is flat, so its place is enough
        a, b = low + (high - low) / 3.0, high - (high - low) / 3.0
        fa, fb = function(np.array([a, b]))
        low, high = (low, b) if fa < fb else (a, high)
    turn = 0.5 * (low + high)
    least = float(function(np.array([turn]))[0])
    return (
        Piece(-INF, turn, 0.0, least, unbounded(function, -INF, turn, rising=False)),
        Piece(turn, INF, least, INF, unbounded(function, turn, INF, rising=True)),
    )


def make_identity() -> Activation:
    return Activation("identity", identity, (Piece(-INF, INF, -INF, INF, identity),))


def make_relu() -> Activation:
    pieces = (Piece(-INF, 0.0, 0.0, 0.0), Piece(0.0, INF, 0.0, INF, identity))
    return Activation("relu", lambda z: np.maximum(z, 0.0), pieces)


def make_leaky_relu(slope: float = 0.01) -> Activation:
    left = (
        Piece(-INF, 0.0, 0.0, 0.0)
        if slope == 0.0
        else Piece(-INF, 0.0, -INF if slope > 0 else INF, 0.0, lambda y: y / slope)
    )
    return Activation(
        _named("leaky_relu", (slope,), (0.01,)),
        lambda z: np.where(z >= 0, z, slope * z),
        (left, Piece(0.0, INF, 0.0, INF, identity)),
        parameters=(slope,),
    )


def make_sigmoid() -> Activation:
    def inverse(y: Array) -> Array:
        return np.asarray(log(y) - log1p(-y))

    return Activation("sigmoid", sigmoid, (Piece(-INF, INF, 0.0, 1.0, inverse),), (0.0, 1.0))


def make_tanh() -> Activation:
    return Activation("tanh", tanh, (Piece(-INF, INF, -1.0, 1.0, arctanh),), (-1.0, 1.0))


def make_softplus(beta: float = 1.0) -> Activation:
    def inverse(y: Array) -> Array:
        t = beta * y
        # log(exp(t) - 1), whose large part must not overflow
        return np.asarray((t + log(-expm1(-t))) / beta)

    return Activation(
        _named("softplus", (beta,), (1.0,)),
        lambda z: softplus(beta * z) / beta,
        (Piece(-INF, INF, 0.0, INF, inverse),),
        parameters=(beta,),
    )


def make_elu(alpha: float = 1.0) -> Activation:
    return Activation(
        _named("elu", (alpha,), (1.0,)),
        lambda z: np.where(z > 0, z, alpha * expm1(np.minimum(z, 0.0))),
        (
            Piece(-INF, 0.0, -alpha, 0.0, lambda y: log1p(y / alpha)),
            Piece(0.0, INF, 0.0, INF, identity),
        ),
        parameters=(alpha,),
    )


_SELU_ALPHA = 1.6732632423543772848170429916717
_SELU_SCALE = 1.0507009873554804934193349852946


def make_selu() -> Activation:
    limit = -_SELU_ALPHA * _SELU_SCALE
    return Activation(
        "selu",
        lambda z: _SELU_SCALE * np.where(z > 0, z, _SELU_ALPHA * expm1(np.minimum(z, 0.0))),
        (
            Piece(-INF, 0.0, limit, 0.0, lambda y: log1p(-y / limit)),
            Piece(0.0, INF, 0.0, INF, lambda y: y / _SELU_SCALE),
        ),
    )


def make_hardtanh(low: float = -1.0, high: float = 1.0) -> Activation:
    return Activation(
        _named("hardtanh", (low, high), (-1.0, 1.0)),
        lambda z: np.clip(z, low, high),
        (
            Piece(-INF, low, low, low),
            Piece(low, high, low, high, identity),
            Piece(high, INF, high, high),
        ),
        (low, high),
        (low, high),
    )


def make_hardsigmoid() -> Activation:
    return Activation(
        "hardsigmoid",
        lambda z: np.clip(z / 6.0 + 0.5, 0.0, 1.0),
        (
            Piece(-INF, -3.0, 0.0, 0.0),
            Piece(-3.0, 3.0, 0.0, 1.0, lambda y: 6.0 * (y - 0.5)),
            Piece(3.0, INF, 1.0, 1.0),
        ),
        (0.0, 1.0),
    )


def make_hardswish() -> Activation:
    def rise(y: Array) -> Array:
        # z (z + 3) / 6 = y on [-1.5, 3], then y itself
        return np.asarray(np.where(y < 3.0, -1.5 + np.sqrt(2.25 + 6.0 * np.minimum(y, 3.0)), y))

    return Activation(
        "hardswish",
        lambda z: z * np.clip(z / 6.0 + 0.5, 0.0, 1.0),
        (
            Piece(-INF, -3.0, 0.0, 0.0),
            Piece(-3.0, -1.5, 0.0, -0.375, lambda y: -1.5 - np.sqrt(2.25 + 6.0 * y)),
            Piece(-1.5, INF, -0.375, INF, rise),
        ),
    )


def make_softsign() -> Activation:
    return Activation(
        "softsign",
        lambda z: z / (1.0 + np.abs(z)),
        (Piece(-INF, INF, -1.0, 1.0, lambda y: y / (1.0 - np.abs(y))),),
        (-1.0, 1.0),
    )


def make_dipped(name: str, function: Function) -> Callable[[], Activation]:
    made: list[Activation] = []  # the minimum is searched for once

    def make() -> Activation:
        if not made:
            made.append(Activation(name, function, _dipped(function, -5.0, 0.0)))
        return made[0]

    return make


_silu = make_dipped("silu", silu)


def make_silu(beta: float = 1.0) -> Activation:
    # z sigmoid(beta z) = g(beta z) / beta, g the plain one
    plain = _silu()
    if beta == 1.0:
        return plain

    def stretched(inverse: Function) -> Function:
        return lambda y: inverse(beta * y) / beta

    return Activation(
        _named("silu", (beta,), (1.0,)),
        lambda z: z * sigmoid(beta * z),
        tuple(
            Piece(p.start / beta, p.stop / beta, p.at_start / beta, p.at_stop / beta,
                  None if p.inverse is None else stretched(p.inverse))
            for p in plain.pieces
        ),
        parameters=(beta,),
    )  # fmt: skip


def make_hardshrink(width: float = 0.5) -> Activation:
    after = float(np.nextafter(width, INF))  # the ends themselves go to 0
    return Activation(
        _named("hardshrink", (width,), (0.5,)),
        lambda z: np.where(np.abs(z) > width, z, 0.0),
        (
            Piece(-INF, -width, -INF, -width, identity),
            Piece(-width, after, 0.0, 0.0),
            Piece(after, INF, width, INF, identity),
        ),
        parameters=(width,),
    )


def make_softshrink(width: float = 0.5) -> Activation:
    return Activation(
        _named("softshrink", (width,), (0.5,)),
        lambda z: z - np.clip(z, -width, width),
        (
            Piece(-INF, -width, -INF, 0.0, lambda y: y - width),
            Piece(-width, width, 0.0, 0.0),
            Piece(width, INF, 0.0, INF, lambda y: y + width),
        ),
        parameters=(width,),
    )


def make_tanhshrink() -> Activation:
    def inverse(y: Array) -> Array:
        y = np.asarray(y, dtype=np.float64)
        low, high = y - 1.0, y + 1.0
        for _ in range(1100):
            middle = 0.5 * (low + high)
            above = tanhshrink(middle) >= y
            if ((middle <= low) | (middle >= high)).all():
                break
            high, low = np.where(above, middle, high), np.where(above, low, middle)
        return high

    return Activation("tanhshrink", tanhshrink, (Piece(-INF, INF, -INF, INF, inverse),))


def make_threshold(threshold: float = 0.0, value: float = 0.0) -> Activation:
    after = float(np.nextafter(threshold, INF))
    return Activation(
        _named("threshold", (threshold, value), (0.0, 0.0)),
        lambda z: np.where(z > threshold, z, value),
        (Piece(-INF, after, value, value), Piece(after, INF, threshold, INF, identity)),
        parameters=(threshold, value),
    )


def make_step(threshold: float = 0.0) -> Activation:
    after = float(np.nextafter(threshold, INF))
    return Activation(
        _named("step", (threshold,), (0.0,)),
        lambda z: (z > threshold).astype(np.float64),
        (Piece(-INF, after, 0.0, 0.0), Piece(after, INF, 1.0, 1.0)),
        (0.0, 1.0),
        (threshold,),
    )


def make_sign() -> Activation:
    after = float(np.nextafter(0.0, INF))
    return Activation(
        "sign",
        np.sign,
        (Piece(-INF, 0.0, -1.0, -1.0), Piece(0.0, after, 0.0, 0.0), Piece(after, INF, 1.0, 1.0)),
        (-1.0, 1.0),
    )


def make_relu_squared() -> Activation:
    return Activation(
        "relu_squared",
        lambda z: np.square(np.maximum(z, 0.0)),
        (Piece(-INF, 0.0, 0.0, 0.0), Piece(0.0, INF, 0.0, INF, np.sqrt)),
    )


def make_square() -> Activation:
    left = Piece(-INF, 0.0, INF, 0.0, lambda y: -np.sqrt(y))
    return Activation("square", np.square, (left, Piece(0.0, INF, 0.0, INF, np.sqrt)))


def make_abs() -> Activation:
    left = Piece(-INF, 0.0, INF, 0.0, np.negative)
    return Activation("abs", np.abs, (left, Piece(0.0, INF, 0.0, INF, identity)))


def make_exp() -> Activation:
    return Activation("exp", exp, (Piece(-INF, INF, 0.0, INF, log),))


def make_gaussian() -> Activation:
    def left(y: Array) -> Array:
        return -np.sqrt(-log(y))

    return Activation(
        "gaussian",
        lambda z: exp(-np.square(z)),
        (Piece(-INF, 0.0, 0.0, 1.0, left), Piece(0.0, INF, 1.0, 0.0, lambda y: -left(y))),
        (0.0, 1.0),
    )


def make_logsigmoid() -> Activation:
    def inverse(y: Array) -> Array:
        return np.asarray(y - log(-expm1(y)))

    piece = Piece(-INF, INF, -INF, 0.0, inverse)
    return Activation("logsigmoid", lambda z: -softplus(-z), (piece,))


def make_celu(alpha: float = 1.0) -> Activation:
    return Activation(
        _named("celu", (alpha,), (1.0,)),
        lambda z: np.where(z > 0, z, alpha * expm1(np.minimum(z, 0.0) / alpha)),
        (
            Piece(-INF, 0.0, -alpha, 0.0, lambda y: alpha * log1p(y / alpha)),
            Piece(0.0, INF, 0.0, INF, identity),
        ),
        parameters=(alpha,),
    )


def make_atan() -> Activation:
    half = 0.5 * math.pi
    return Activation("atan", arctan, (Piece(-INF, INF, -half, half, tan),), (-half, half))


#: Every activation with closed pieces, by name: what makes it, from its parameters.
CLOSED: dict[str, Callable[..., Activation]] = {
    "identity": make_identity,
    "relu": make_relu,
    "leaky_relu": make_leaky_relu,
    "sigmoid": make_sigmoid,
    "tanh": make_tanh,
    "softplus": make_softplus,
    "gelu": make_dipped("gelu", gelu),
    "gelu_tanh": make_dipped("gelu_tanh", gelu_tanh),
    "quick_gelu": make_dipped("quick_gelu", quick_gelu),
    "silu": make_silu,
    "mish": make_dipped("mish", mish),
    "elu": make_elu,
    "selu": make_selu,
    "hardtanh": make_hardtanh,
    "hardsigmoid": make_hardsigmoid,
    "hardswish": make_hardswish,
    "softsign": make_softsign,
    "hardshrink": make_hardshrink,
    "softshrink": make_softshrink,
    "tanhshrink": make_tanhshrink,
    "threshold": make_threshold,
    "step": make_step,
    "sign": make_sign,
    "relu_squared": make_relu_squared,
    "square": make_square,
    "abs": make_abs,
    "exp": make_exp,
    "gaussian": make_gaussian,
    "logsigmoid": make_logsigmoid,
    "celu": make_celu,
    "atan": make_atan,
}
