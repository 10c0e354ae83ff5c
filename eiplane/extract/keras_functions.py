"""Elementwise functions of Keras, found by evaluating them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..network import Activation, get_activation, known_activations

__all__ = ["as_numpy", "function_of", "title_of"]

Array = NDArray[Any]

_NAMES = {
    "linear": "identity", "relu6": "hardtanh(0, 6)", "leaky_relu": "leaky_relu(0.2)",
    "hard_sigmoid": "hardsigmoid", "hard_silu": "hardswish", "hard_tanh": "hardtanh",
    "softmax": "identity", "log_softmax": "identity",
}  # fmt: skip
_PROBES = np.concatenate([np.linspace(-9.0, 11.0, 201), np.linspace(-1.0, 1.0, 37) / 3.0])


def as_numpy(keras: Any, variable: Any) -> Array:
    """Return a variable or tensor as an array."""
    return np.asarray(keras.ops.convert_to_numpy(variable))


def function_of(keras: Any, function: Any, name: str) -> str | Activation | None:
    """Return an elementwise function, by its name where it has one, proved by evaluating it.

    Parameters
    ----------
    keras : module
    function : callable
        Of a tensor.
    name : str
        What it is called.

    Returns
    -------
    str, Activation or None
        None if it is no function of one entry, or too rough.
    """
    if name in ("softmax", "log_softmax"):
        return "identity"
    try:
        values, some = (
            as_numpy(keras, function(keras.ops.convert_to_tensor(x)))[0]
            for x in (_PROBES[None].astype(np.float32), _PROBES[None, 7::-2].astype(np.float32))
        )
        if not np.array_equal(values[7::-2], some):
            return None  # it depends on an entry's place, or on the others
    except Exception:  # whatever a user's own function raises
        return None
    for candidate in _candidates(function, name):
        expected = get_activation(candidate)(_PROBES)
        if np.allclose(values, expected, rtol=1e-5, atol=2e-6):
            return candidate
    try:
        own = Activation.from_function(_Applied(keras, function), title_of(function, name))
        own.images(np.array([-8.0]), np.array([8.0]))
    except Exception:  # too rough, or a backend without float64
        return None
    return own


def _candidates(function: Any, name: str) -> Iterator[str]:
    yield _NAMES.get(name, name if name in known_activations() else "identity")
    for attribute, kind in (("negative_slope", "leaky_relu"), ("alpha", "elu")):
        value = getattr(function, attribute, None)
        if isinstance(value, int | float | np.number | np.ndarray) and np.size(value) == 1:
            yield f"{kind}({float(value)})"
    most = getattr(function, "max_value", None)
    if isinstance(most, int | float):
        yield f"hardtanh(0, {float(most)})"
    yield from known_activations()
    yield from ("leaky_relu(0.2)", "hardtanh(0, 6)")


class _Applied:
    """A function of Keras, of arrays."""

    def __init__(self, keras: Any, function: Any) -> None:
        self._keras, self._function = keras, function

    def __call__(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        z = np.asarray(z, dtype=np.float64)
        given = self._keras.ops.convert_to_tensor(z.reshape(1, -1), dtype="float64")
        made: Any = self._keras.ops.convert_to_numpy(self._function(given))
        return np.asarray(made, dtype=np.float64).reshape(z.shape)


def title_of(function: Any, name: str) -> str:
    """Return what a function is called, with the numbers that its configuration has.

    Parameters
    ----------
    function : callable
    name : str
        What it is called without those.

    Returns
    -------
    str
    """
    try:
        told = function.get_config()
    except Exception:  # whatever a user's own class raises
        told = {}
    numbers = [
        f"{key}={value:g}"
        for key, value in told.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    plain = name.strip("<>") or "function"
    return f"{plain}({', '.join(numbers)})" if numbers else plain
