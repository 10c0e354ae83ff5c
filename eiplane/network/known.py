"""The activations that have a name."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ..files import meant
from .activation import Activation
from .closed import CLOSED
from .monotone import Function
from .portable import cos, erf, sin

__all__ = ["ACTIVATIONS", "get_activation", "known_activations"]


def _round(step: float = 1.0) -> Activation:
    if step == 1.0:
        return Activation("round", np.rint)
    return Activation(f"round({step!r})", lambda z: np.rint(z / step) * step, parameters=(step,))


def _relu6() -> Activation:
    return CLOSED["hardtanh"](0.0, 6.0)


def _numeric(
    name: str, function: Function, natural_range: tuple[float, float] | None = None
) -> Callable[[], Activation]:
    return lambda: Activation(name, function, natural_range=natural_range)


#: Every known activation by name: what makes it, from its parameters.
ACTIVATIONS: dict[str, Callable[..., Activation]] = CLOSED | {
    "relu6": _relu6,
    "round": _round,
    "floor": _numeric("floor", np.floor),
    "ceil": _numeric("ceil", np.ceil),
    "sin": _numeric("sin", sin, (-1.0, 1.0)),
    "cos": _numeric("cos", cos, (-1.0, 1.0)),
    "erf": _numeric("erf", erf, (-1.0, 1.0)),
}

#: What csrc/ei_kernels_impl.h evaluates itself, in the stages of a span or a pooling.
_IN_CORE = frozenset(
    [
        "identity",
        "relu",
        "leaky_relu",
        "sigmoid",
        "tanh",
        "softplus",
        "gelu",
        "gelu_tanh",
        "quick_gelu",
        "silu",
        "mish",
        "elu",
        "selu",
        "hardtanh",
        "hardsigmoid",
        "hardswish",
        "softsign",
    ]
)

_POSITIVE = frozenset(("elu", "celu", "softplus", "silu", "round"))
_NOT_NEGATIVE = frozenset(("hardshrink", "softshrink"))

_ALIASES = {
    "linear": "identity",
    "none": "identity",
    "swish": "silu",
    "gelu_new": "gelu_tanh",
    "clip": "hardtanh",
    "heaviside": "step",
    "arctan": "atan",
    "exponential": "exp",
    "relu2": "relu_squared",
    "squared_relu": "relu_squared",
    "log_sigmoid": "logsigmoid",
    "hard_tanh": "hardtanh",
    "hard_sigmoid": "hardsigmoid",
    "hard_swish": "hardswish",
    "hard_silu": "hardswish",
    "soft_sign": "softsign",
    "hard_shrink": "hardshrink",
    "soft_shrink": "softshrink",
    "tanh_shrink": "tanhshrink",
    "prelu": "leaky_relu",
}
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
        ``"hardtanh(0, 6)"``, ``"elu(0.5)"``, ``"silu(1.5)"``, ``"hardshrink(0.1)"``,
        ``"step(1)"``); None is the identity.

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
        activation = "identity"
    if not isinstance(activation, str):
        raise TypeError(
            f"activation must be a name such as 'relu', not {type(activation).__name__}; "
            f"known: {', '.join(known_activations())}"
        )
    match = _CALL.match(activation.strip().lower())
    kind = _ALIASES.get(match[1], match[1]) if match else ""
    if not match or kind not in ACTIVATIONS:
        raise ValueError(
            f"unknown activation {activation!r}{meant(activation, known_activations())}; "
            f"known: {', '.join(known_activations())}"
        )
    try:
        parameters = [float(p) for p in match[2].split(",")] if match[2] else []
    except ValueError:
        raise ValueError(f"activation {activation!r}: its parameters must be numbers") from None
    _check(activation, kind, parameters)
    try:
        made = ACTIVATIONS[kind](*parameters)
    except TypeError:
        raise ValueError(
            f"activation {activation!r}: more parameters than {kind} takes, or fewer"
        ) from None
    made = replace(made, recipe=(get_activation, (made.name,)), known=True)
    in_core = made.kind in _IN_CORE and (made.kind != "silu" or not made.parameters)
    return replace(made, in_core=in_core)


def _check(activation: str, kind: str, parameters: list[float]) -> None:
    if not all(map(math.isfinite, parameters)):
        raise ValueError(f"activation {activation!r}: its parameters must be finite")
    if kind in _POSITIVE and any(p <= 0.0 for p in parameters):
        raise ValueError(f"activation {activation!r}: its parameter must be positive")
    if kind in _NOT_NEGATIVE and any(p < 0.0 for p in parameters):
        raise ValueError(f"activation {activation!r}: its parameter must not be negative")
    if kind == "hardtanh" and parameters and parameters[0] >= (*parameters, 1.0)[1]:
        raise ValueError(f"activation {activation!r}: the lower bound must be below the upper one")
