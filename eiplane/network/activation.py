"""Activation functions: each with its values, its range and its monotone pieces.

No engine evaluates the activation of the layer that it measures. The edges of the output bins are
carried back through the activation to *thresholds* of the pre-activation ``z``; a bin is then a
union of intervals of ``z``. :func:`preimage` does that for any function that is piecewise monotone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["ACTIVATIONS", "Activation", "Piece", "get_activation", "known_activations", "preimage"]

Array = NDArray[np.float64]
Function = Callable[[Array], Array]

INF = math.inf


@dataclass(frozen=True)
class Piece:
    """A stretch of ``z`` on which an activation is monotone.

    Parameters
    ----------
    start, stop : float
        Where the piece begins and ends; may be infinite.
    at_start, at_stop : float
        The activation's value, or limit, there. Equal on a flat piece.
    inverse : callable or None
        The inverse on the open interval between the two values; None on a flat piece.
    """

    start: float
    stop: float
    at_start: float
    at_stop: float
    inverse: Function | None = None


@dataclass(frozen=True)
class Activation:
    """An elementwise activation function.

    Parameters
    ----------
    name : str
        Its name, with parameters where they differ from the default, as in ``"leaky_relu(0.2)"``.
    function : callable
        The function itself, on float64 arrays.
    pieces : tuple of Piece
        Its monotone pieces from left to right, covering the whole line.
    natural_range : tuple of float or None
        The range that ``out_range="auto"`` takes, where the activation has a bounded one.
    parameters : tuple of float
        The numbers that the compiled core needs beside the name.
    """

    name: str
    function: Function
    pieces: tuple[Piece, ...]
    natural_range: tuple[float, float] | None = None
    parameters: tuple[float, ...] = ()

    def __call__(self, z: Array) -> Array:
        """Return the activation of ``z``."""
        return self.function(np.asarray(z, dtype=np.float64))

    def __reduce__(self) -> tuple[Callable[[str], Activation], tuple[str]]:
        # The functions are closures; the name says it all (and travels between processes).
        return get_activation, (self.name,)

    def __repr__(self) -> str:
        return f"Activation({self.name!r})"

    @property
    def kind(self) -> str:
        """The name without parameters."""
        return self.name.partition("(")[0]

    def image(self, low: float, high: float) -> tuple[float, float]:
        """Return the least and the greatest value on ``[low, high]``.

        Parameters
        ----------
        low, high : float
            A finite interval of pre-activations.

        Returns
        -------
        tuple of float
            The smallest interval that holds the image.
        """
        turns = [p.start for p in self.pieces if low < p.start < high]
        values = self(np.array([low, *turns, high]))
        return float(values.min()), float(values.max())


def _bisect(function: Function, start: float, stop: float, rising: bool) -> Function:
    """Return the inverse of a monotone function on [start, stop], found by bisection."""

    def inverse(y: Array) -> Array:
        y = np.asarray(y, dtype=np.float64)
        low = np.full(y.shape, start)
        high = np.full(y.shape, stop)
        if math.isinf(stop):  # grow the bracket: every such function here rises at least like z / 2
            high = np.maximum(start + 1.0, 2.0 * y + 50.0)
        if math.isinf(start):  # to the left all of them vanish long before
            low = np.full(y.shape, -800.0)
        for _ in range(1100):
            middle = 0.5 * (low + high)
            above = (function(middle) >= y) == rising
            stuck = (middle <= low) | (middle >= high)
            if stuck.all():
                break
            high = np.where(above, middle, high)
            low = np.where(above, low, middle)
        return high

    return inverse


def _erf(x: Array) -> Array:
    return np.vectorize(math.erf, otypes=[np.float64])(x) if np.size(x) else np.asarray(x, float)


def _erfc(x: Array) -> Array:
    return np.vectorize(math.erfc, otypes=[np.float64])(x) if np.size(x) else np.asarray(x, float)


def _sigmoid(z: Array) -> Array:
    e = np.exp(-np.abs(z))
    return np.asarray(np.where(z >= 0, 1.0 / (1.0 + e), e / (1.0 + e)))


def _softplus(z: Array) -> Array:
    return np.asarray(np.maximum(z, 0.0) + np.log1p(np.exp(-np.abs(z))))


def _gelu(z: Array) -> Array:
    return 0.5 * z * _erfc(-z / math.sqrt(2.0))


def _gelu_tanh(z: Array) -> Array:
    # x (1 + tanh u) / 2 = x sigmoid(2 u), which keeps its digits in the left tail.
    with np.errstate(over="ignore"):
        u = math.sqrt(2.0 / math.pi) * (z + 0.044715 * z * z * z)
    return z * _sigmoid(2.0 * u)


def _silu(z: Array) -> Array:
    return z * _sigmoid(z)


def _mish(z: Array) -> Array:
    return z * np.tanh(_softplus(z))


def _identity(z: Array) -> Array:
    return z


def _dipped(function: Function, low: float, high: float) -> tuple[Piece, ...]:
    """Return the pieces of a function that falls from 0 to a minimum and then rises for ever."""
    for _ in range(200):  # golden-free ternary search: the minimum is flat, so its place is enough
        a, b = low + (high - low) / 3.0, high - (high - low) / 3.0
        fa, fb = function(np.array([a, b]))
        low, high = (low, b) if fa < fb else (a, high)
    turn = 0.5 * (low + high)
    least = float(function(np.array([turn]))[0])
    return (
        Piece(-INF, turn, 0.0, least, _bisect(function, -INF, turn, rising=False)),
        Piece(turn, INF, least, INF, _bisect(function, turn, INF, rising=True)),
    )


def _quick_gelu(z: Array) -> Array:
    return z * _sigmoid(1.702 * z)


def _make_identity() -> Activation:
    return Activation("identity", _identity, (Piece(-INF, INF, -INF, INF, _identity),))


def _make_relu() -> Activation:
    pieces = (Piece(-INF, 0.0, 0.0, 0.0), Piece(0.0, INF, 0.0, INF, _identity))
    return Activation("relu", lambda z: np.maximum(z, 0.0), pieces)


def _make_leaky_relu(slope: float = 0.01) -> Activation:
    left = (
        Piece(-INF, 0.0, 0.0, 0.0)
        if slope == 0.0
        else Piece(-INF, 0.0, -INF if slope > 0 else INF, 0.0, lambda y: y / slope)
    )
    return Activation(
        _named("leaky_relu", (slope,), (0.01,)),
        lambda z: np.where(z >= 0, z, slope * z),
        (left, Piece(0.0, INF, 0.0, INF, _identity)),
        parameters=(slope,),
    )


def _make_sigmoid() -> Activation:
    def inverse(y: Array) -> Array:
        return np.asarray(np.log(y) - np.log1p(-y))

    return Activation("sigmoid", _sigmoid, (Piece(-INF, INF, 0.0, 1.0, inverse),), (0.0, 1.0))


def _make_tanh() -> Activation:
    return Activation("tanh", np.tanh, (Piece(-INF, INF, -1.0, 1.0, np.arctanh),), (-1.0, 1.0))


def _make_softplus(beta: float = 1.0) -> Activation:
    def inverse(y: Array) -> Array:
        t = beta * y
        # log(exp(t) - 1), whose large part must not overflow
        return np.asarray((t + np.log(-np.expm1(-t))) / beta)

    return Activation(
        _named("softplus", (beta,), (1.0,)),
        lambda z: _softplus(beta * z) / beta,
        (Piece(-INF, INF, 0.0, INF, inverse),),
        parameters=(beta,),
    )


def _make_elu(alpha: float = 1.0) -> Activation:
    return Activation(
        _named("elu", (alpha,), (1.0,)),
        lambda z: np.where(z > 0, z, alpha * np.expm1(np.minimum(z, 0.0))),
        (
            Piece(-INF, 0.0, -alpha, 0.0, lambda y: np.log1p(y / alpha)),
            Piece(0.0, INF, 0.0, INF, _identity),
        ),
        parameters=(alpha,),
    )


_SELU_ALPHA = 1.6732632423543772848170429916717
_SELU_SCALE = 1.0507009873554804934193349852946


def _make_selu() -> Activation:
    limit = -_SELU_ALPHA * _SELU_SCALE
    return Activation(
        "selu",
        lambda z: _SELU_SCALE * np.where(z > 0, z, _SELU_ALPHA * np.expm1(np.minimum(z, 0.0))),
        (
            Piece(-INF, 0.0, limit, 0.0, lambda y: np.log1p(-y / limit)),
            Piece(0.0, INF, 0.0, INF, lambda y: y / _SELU_SCALE),
        ),
    )


def _make_hardtanh(low: float = -1.0, high: float = 1.0) -> Activation:
    return Activation(
        _named("hardtanh", (low, high), (-1.0, 1.0)),
        lambda z: np.clip(z, low, high),
        (
            Piece(-INF, low, low, low),
            Piece(low, high, low, high, _identity),
            Piece(high, INF, high, high),
        ),
        (low, high),
        (low, high),
    )


def _make_hardsigmoid() -> Activation:
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


def _make_hardswish() -> Activation:
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


def _make_softsign() -> Activation:
    return Activation(
        "softsign",
        lambda z: z / (1.0 + np.abs(z)),
        (Piece(-INF, INF, -1.0, 1.0, lambda y: y / (1.0 - np.abs(y))),),
        (-1.0, 1.0),
    )


def _named(kind: str, values: tuple[float, ...], defaults: tuple[float, ...]) -> str:
    if values == defaults:
        return kind
    return f"{kind}({', '.join(repr(float(v)) for v in values)})"


def _make_dipped(name: str, function: Function) -> Callable[[], Activation]:
    made: list[Activation] = []  # the minimum is searched for once

    def make() -> Activation:
        if not made:
            made.append(Activation(name, function, _dipped(function, -5.0, 0.0)))
        return made[0]

    return make


#: Every known activation by name: what makes it, from its parameters.
ACTIVATIONS: dict[str, Callable[..., Activation]] = {
    "identity": _make_identity,
    "relu": _make_relu,
    "leaky_relu": _make_leaky_relu,
    "sigmoid": _make_sigmoid,
    "tanh": _make_tanh,
    "softplus": _make_softplus,
    "gelu": _make_dipped("gelu", _gelu),
    "gelu_tanh": _make_dipped("gelu_tanh", _gelu_tanh),
    "quick_gelu": _make_dipped("quick_gelu", _quick_gelu),
    "silu": _make_dipped("silu", _silu),
    "mish": _make_dipped("mish", _mish),
    "elu": _make_elu,
    "selu": _make_selu,
    "hardtanh": _make_hardtanh,
    "hardsigmoid": _make_hardsigmoid,
    "hardswish": _make_hardswish,
    "softsign": _make_softsign,
}

_ALIASES = {"linear": "identity", "swish": "silu", "gelu_new": "gelu_tanh", "none": "identity"}
_CALL = re.compile(r"^([a-z_0-9]+)(?:\(([^()]*)\))?$")


def known_activations() -> list[str]:
    """Return the names of the activations, sorted."""
    return sorted(ACTIVATIONS)


def get_activation(activation: str | Activation | None) -> Activation:
    """Return the activation of that name.

    Parameters
    ----------
    activation : str, Activation or None
        A name, with parameters in brackets where it takes any (``"leaky_relu(0.2)"``,
        ``"hardtanh(0, 6)"``, ``"elu(0.5)"``, ``"softplus(2)"``); None is the identity.

    Returns
    -------
    Activation
        The activation.

    Raises
    ------
    ValueError
        For an unknown name, with the known ones, or for parameters that make no function.
    TypeError
        For anything that is not a name.
    """
    if isinstance(activation, Activation):
        return activation
    if activation is None:
        return _make_identity()
    if not isinstance(activation, str):
        raise TypeError(
            f"activation must be a name such as 'relu', not {type(activation).__name__}; "
            f"known: {', '.join(known_activations())}"
        )
    match = _CALL.match(activation.strip().lower())
    kind = _ALIASES.get(match[1], match[1]) if match else ""
    if not match or kind not in ACTIVATIONS:
        raise ValueError(
            f"unknown activation {activation!r}; known: {', '.join(known_activations())}"
        )
    try:
        parameters = [float(p) for p in match[2].split(",")] if match[2] else []
        made = ACTIVATIONS[kind](*parameters)
    except (TypeError, ValueError):
        message = f"activation {activation!r}: parameters that {kind} does not take"
        raise ValueError(message) from None
    if not all(map(math.isfinite, made.parameters)):
        raise ValueError(f"activation {activation!r}: its parameters must be finite")
    if kind in ("elu", "softplus") and made.parameters[0] <= 0:
        raise ValueError(f"activation {activation!r}: its parameter must be positive")
    if kind == "hardtanh" and made.parameters[0] >= made.parameters[1]:
        raise ValueError(f"activation {activation!r}: the lower bound must be below the upper one")
    return made


def preimage(activation: Activation, edges: Array, drop: bool) -> tuple[Array, NDArray[np.int32]]:
    """Return the thresholds of ``z`` that bin the activation's value, and the bin between them.

    Parameters
    ----------
    activation : Activation
        The function f.
    edges : ndarray of float64, shape (bins + 1,)
        The bin edges on the value's side. Bin k holds ``edges[k] <= f(z) < edges[k + 1]``, the last
        one its upper edge too.
    drop : bool
        Whether values outside the edges have no bin (label -1) or fall in the end bins.

    Returns
    -------
    thresholds : ndarray of float64, shape (m,)
        Strictly increasing. ``z`` lies in interval j when j thresholds are ``<= z``.
    labels : ndarray of int32, shape (m + 1,)
        The bin of every interval, or -1. Neighbours differ.
    """
    bins = len(edges) - 1
    thresholds: list[Array] = []
    raw: list[NDArray[np.intp]] = []
    for piece in activation.pieces:
        p, q = piece.at_start, piece.at_stop
        if piece.inverse is None:
            k = int(np.searchsorted(edges, p, side="right")) - 1
            labels = np.array([bins - 1 if p == edges[-1] else k])
            inner = np.empty(0)
        elif p < q:
            first = int(np.searchsorted(edges, p, side="right"))
            crossed = np.arange(first, int(np.searchsorted(edges, q, side="left")))
            inner = piece.inverse(edges[crossed])
            # The upper edge itself still belongs to the last bin.
            inner = np.where(crossed == bins, np.nextafter(inner, INF), inner)
            labels = np.arange(first - 1, first + len(crossed))
        else:
            last = int(np.searchsorted(edges, p, side="left"))
            crossed = np.arange(last - 1, int(np.searchsorted(edges, q, side="right")) - 1, -1)
            inner = piece.inverse(edges[crossed])
            # f(z) >= edge for z <= threshold: the edge's own z stays on the left.
            inner = np.where(crossed == bins, inner, np.nextafter(inner, INF))
            labels = np.arange(last - 1, last - 2 - len(crossed), -1)
        thresholds += [np.array([piece.start]), np.clip(inner, piece.start, piece.stop)]
        raw.append(labels)
    cuts = np.concatenate(thresholds)[1:]
    bin_of = np.concatenate(raw)
    outside = (bin_of < 0) | (bin_of >= bins)
    bin_of = np.where(outside, -1, bin_of) if drop else np.clip(bin_of, 0, bins - 1)
    # Of intervals that rounding made empty only the last has any z; equal neighbours are one.
    keep = np.append(np.diff(cuts) > 0, True) if len(cuts) else np.empty(0, bool)
    bin_of = np.concatenate([bin_of[:1], bin_of[1:][keep]])
    cuts = cuts[keep]
    change = bin_of[1:] != bin_of[:-1]
    return (
        np.ascontiguousarray(cuts[change]),
        np.concatenate([bin_of[:1], bin_of[1:][change]]).astype(np.int32),
    )
