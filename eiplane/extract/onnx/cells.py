"""LSTM, GRU and RNN of ONNX in NumPy: every direction, activation and option that they have."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .functions import in_double

__all__ = ["Cell", "activation_names", "recurrent"]

Array = NDArray[Any]
Function = Callable[[Array], Array]

_DEFAULTS = {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}

#: alpha and beta where a node leaves them out.
_PARAMETERS = {
    "leakyrelu": (0.01, None), "thresholdedrelu": (1.0, None), "hardsigmoid": (0.2, 0.5),
    "elu": (1.0, None), "scaledtanh": (1.0, 1.0), "affine": (1.0, 0.0),
}  # fmt: skip

_FUNCTIONS: dict[str, Callable[[Array, Any, Any], Array]] = {
    "sigmoid": lambda x, a, b: 1.0 / (1.0 + np.exp(-x)),
    "tanh": lambda x, a, b: np.tanh(x),
    "relu": lambda x, a, b: np.maximum(x, 0),
    "affine": lambda x, a, b: a * x + b,
    "leakyrelu": lambda x, a, b: np.where(x >= 0, x, a * x),
    "thresholdedrelu": lambda x, a, b: np.where(x > a, x, 0),
    "scaledtanh": lambda x, a, b: a * np.tanh(b * x),
    "hardsigmoid": lambda x, a, b: np.clip(a * x + b, 0, 1),
    "elu": lambda x, a, b: np.where(x > 0, x, a * np.expm1(np.minimum(x, 0))),
    "softsign": lambda x, a, b: x / (1 + np.abs(x)),
    "softplus": lambda x, a, b: np.logaddexp(x, 0),
}


class Cell:
    """An activation of a recurrent node; picklable.

    Parameters
    ----------
    name : str
        As ONNX spells it.
    alpha, beta : float or None
    """

    def __init__(self, name: str, alpha: float | None = None, beta: float | None = None) -> None:
        self.name = name.lower()
        if self.name not in _FUNCTIONS:
            raise ValueError(f"the activation {name!r} is none of ONNX's")
        default = _PARAMETERS.get(self.name, (None, None))
        self.alpha = default[0] if alpha is None else in_double(alpha)
        self.beta = default[1] if beta is None else in_double(beta)

    def __call__(self, x: Array) -> Array:
        """Return its values."""
        with np.errstate(over="ignore"):
            return np.asarray(_FUNCTIONS[self.name](x, self.alpha, self.beta))


def activation_names(kind: str, attributes: Mapping[str, Any]) -> list[list[Cell]]:
    """Return the activations of a recurrent node, for each direction.

    Parameters
    ----------
    kind : {"LSTM", "GRU", "RNN"}
    attributes : mapping

    Returns
    -------
    list of list of Cell
    """
    directions = 2 if _direction(attributes) == "bidirectional" else 1
    default = _DEFAULTS[kind]
    given = [n.decode() if isinstance(n, bytes) else n for n in attributes.get("activations", [])]
    given = given or list(default) * directions
    if len(given) != len(default) * directions:
        raise ValueError(f"it names {len(given)} activations, not {len(default) * directions}")
    alphas, betas = (iter(attributes.get(k, [])) for k in ("activation_alpha", "activation_beta"))
    cells = []
    for name in given:
        takes = _PARAMETERS.get(name.lower(), (None, None))
        alpha = next(alphas, None) if takes[0] is not None else None
        beta = next(betas, None) if takes[1] is not None else None
        cells.append(Cell(name, alpha, beta))
    return [cells[k : k + len(default)] for k in range(0, len(cells), len(default))]


def _direction(attributes: Mapping[str, Any]) -> str:
    found = attributes.get("direction", b"forward")
    return found.decode() if isinstance(found, bytes) else str(found)


def recurrent(
    kind: str, attributes: Mapping[str, Any], inputs: Sequence[Array | None]
) -> list[Array]:
    """Return what a recurrent node gives: Y, Y_h, and of an LSTM Y_c.

    Parameters
    ----------
    kind : {"LSTM", "GRU", "RNN"}
    attributes : mapping
    inputs : sequence of ndarray or None
        As the operator defines them.

    Returns
    -------
    list of ndarray
    """
    x, weight, inner, bias, lengths, h0, c0, peepholes = [*inputs, *[None] * 8][:8]
    assert x is not None and weight is not None and inner is not None
    directions, size = weight.shape[0], inner.shape[-1]
    by_batch = bool(attributes.get("layout", 0))
    if by_batch:
        x = x.swapaxes(0, 1)
        h0, c0 = (None if s is None else s.swapaxes(0, 1) for s in (h0, c0))
    steps, batch = x.shape[:2]
    kept = np.full(batch, steps) if lengths is None else lengths.astype(np.int64)
    cells = activation_names(kind, attributes)
    y = np.zeros((steps, directions, batch, size), dtype=x.dtype)
    last, states = [], []
    for d in range(directions):
        backwards = d == 1 or _direction(attributes) == "reverse"
        step = _STEPS[kind](attributes, cells[d], weight[d], inner[d],
                            None if bias is None else bias[d],
                            None if peepholes is None else peepholes[d])  # fmt: skip
        h = np.zeros((batch, size), x.dtype) if h0 is None else h0[d]
        c = np.zeros((batch, size), x.dtype) if c0 is None else c0[d]
        for t in range(steps):
            # Backwards each sequence begins at its own end.
            at = np.where(t < kept, kept - 1 - t, t) if backwards else np.full(batch, t)
            new_h, new_c = step(x[at, np.arange(batch)], h, c)
            going = (t < kept)[:, None]
            h, c = np.where(going, new_h, h), np.where(going, new_c, c)
            y[at, d, np.arange(batch)] = np.where(going, new_h, 0)
        last.append(h)
        states.append(c)
    found = [y, np.stack(last), np.stack(states)][: 3 if kind == "LSTM" else 2]
    if by_batch:
        found = [found[0].transpose(2, 0, 1, 3), *(f.swapaxes(0, 1) for f in found[1:])]
    return [f.astype(x.dtype) for f in found]


def _limit(attributes: Mapping[str, Any]) -> Function:
    clip = float(attributes.get("clip", 0.0))
    return (lambda z: np.clip(z, -clip, clip)) if clip > 0 else (lambda z: z)


def _halves(bias: Array | None, rows: int) -> tuple[Any, Any]:
    return (0, 0) if bias is None else (bias[:rows], bias[rows:])


def _lstm(attributes: Any, cells: Any, weight: Any, inner: Any, bias: Any, peep: Any) -> Any:
    f, g, h_of = cells
    limit = _limit(attributes)
    b_in, b_inner = _halves(bias, len(weight))
    p_i, p_o, p_f = (0, 0, 0) if peep is None else np.split(peep, 3)
    coupled = bool(attributes.get("input_forget", 0))

    def step(x: Array, h: Array, c: Array) -> tuple[Array, Array]:
        i, o, forget, new = np.split(x @ weight.T + h @ inner.T + b_in + b_inner, 4, axis=-1)
        i = f(limit(i + p_i * c))
        forget = 1 - i if coupled else f(limit(forget + p_f * c))
        c = forget * c + i * g(limit(new))
        return f(limit(o + p_o * c)) * h_of(c), c

    return step


def _gru(attributes: Any, cells: Any, weight: Any, inner: Any, bias: Any, peep: Any) -> Any:
    f, g = cells
    limit, after = _limit(attributes), bool(attributes.get("linear_before_reset", 0))
    b_in, b_inner = (np.zeros(len(weight), weight.dtype) + b for b in _halves(bias, len(weight)))
    n = inner.shape[-1]

    def step(x: Array, h: Array, c: Array) -> tuple[Array, Array]:
        a = x @ weight.T + b_in
        b = h @ inner[: 2 * n].T + b_inner[: 2 * n]
        z, r = f(limit(a[:, :n] + b[:, :n])), f(limit(a[:, n : 2 * n] + b[:, n:]))
        if after:
            from_state = r * (h @ inner[2 * n :].T + b_inner[2 * n :])
        else:
            from_state = (r * h) @ inner[2 * n :].T + b_inner[2 * n :]
        new = g(limit(a[:, 2 * n :] + from_state))
        return (1 - z) * new + z * h, c

    return step


def _rnn(attributes: Any, cells: Any, weight: Any, inner: Any, bias: Any, peep: Any) -> Any:
    (f,) = cells
    limit = _limit(attributes)
    b_in, b_inner = _halves(bias, len(weight))
    return lambda x, h, c: (f(limit(x @ weight.T + h @ inner.T + b_in + b_inner)), c)


_STEPS: dict[str, Any] = {"LSTM": _lstm, "GRU": _gru, "RNN": _rnn}
