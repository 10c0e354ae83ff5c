"""From what a user has to a :class:`.Cell`: PyTorch's modules, weights, functions."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..network import Activation, get_activation, real_array
from .cells import Called, Cell, Level, ModuleCell, Stack

__all__ = ["read_cell"]

Array = NDArray[np.float64]

_GATES = {"rnn": 1, "gru": 3, "lstm": 4}
_KINDS = {count: kind for kind, count in _GATES.items()}
_PARTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")

_WHAT = (
    "a recurrent model is an nn.RNN, LSTM, GRU or one of their cells, their state dict, a matrix "
    "w_h, weights (w_x, w_h) or (w_x, w_h, bias), or a function of (x, h)"
)


def read_cell(model: Any, activation: Any, sizes: Any) -> Cell:
    """Return the cell of a model.

    Parameters
    ----------
    model : object
        As of :func:`eiplane.through_time`.
    activation : str, Activation or None
        Of plain weights.
    sizes : (int, int or tuple of int), optional
        Neurons of x and of h, of a cell written by hand; of h those of each part of a tuple.

    Returns
    -------
    Cell

    Raises
    ------
    TypeError, ValueError
        If it is none; the message says what would be right.
    """
    if isinstance(model, Cell):
        return model
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(model, torch.nn.Module):
        return _of_module(model, torch, activation, sizes)
    if isinstance(model, Mapping):
        return _of_mapping(model, activation)
    if callable(model):
        _refuse(activation, "a function brings its own")
        return Called(model, *_checked_sizes(sizes, None))
    return _of_arrays(model, activation)


def _refuse(activation: Any, why: str) -> None:
    if activation is not None:
        raise ValueError(f"activation is for plain weights; {why}")


def _of_module(module: Any, torch: Any, activation: Any, sizes: Any) -> Cell:
    nn = torch.nn
    module = getattr(module, "_orig_mod", module)  # of torch.compile
    kind = _kind(module, nn)
    if kind is not None:
        _refuse(activation, "a module brings its own")
        if getattr(module, "bidirectional", False):
            raise ValueError(
                f"{type(module).__name__} runs both ways, so its state does not follow from the "
                "one before; give a module with bidirectional=False"
            )
        name = getattr(module, "nonlinearity", "tanh")
        return _stack(_weights(module), "", kind, get_activation(name))
    if isinstance(module, torch.jit.ScriptModule) and sizes is None:
        raise TypeError(
            "a scripted module: give the one that it was made of, its state_dict(), or "
            "sizes=(inputs, state) if it takes (x, h) and returns the next h"
        )
    inner = [
        name
        for name, m in module.named_modules()
        if name and isinstance(m, (nn.RNNBase, nn.RNNCellBase))
    ]
    if sizes is None and len(inner) > 0:
        raise ValueError(
            f"{type(module).__name__} has recurrent parts: give one of them "
            f"({', '.join('model.' + name for name in inner)}), or sizes=(inputs, state) if the "
            "module itself takes (x, h) and returns the next h; state is a tuple where h is one"
        )
    own = [getattr(module, name, None) for name in ("input_size", "hidden_size")]
    default = (own[0], own[1]) if all(isinstance(v, int) for v in own) else None
    _refuse(activation, "a module brings its own")
    return ModuleCell(module, *_checked_sizes(sizes, default))


def _kind(module: Any, nn: Any) -> str | None:
    """Return what torch's own module computes, also of a class made from it; else None."""
    for name in ("RNN", "LSTM", "GRU"):
        for known in (getattr(nn, name), getattr(nn, f"{name}Cell")):
            if isinstance(module, known) and type(module).forward is known.forward:
                return name.lower()
    return None


def _weights(module: Any) -> dict[str, Any]:
    """Return the weights as the next run has them, parametrised, normed or pruned."""
    made = {}
    for hook in module._forward_pre_hooks.values():  # of torch.nn.utils, which make one as it runs
        name = getattr(hook, "name", None) or getattr(hook, "_tensor_name", None)
        if hasattr(hook, "apply_mask"):
            made[name] = hook.apply_mask(module)
        elif type(hook).__name__ == "SpectralNorm":
            made[name] = hook.compute_weight(module, do_power_iteration=False)
        elif hasattr(hook, "compute_weight"):
            made[name] = hook.compute_weight(module)
    ends = [f"_l{i}" for i in range(getattr(module, "num_layers", 0))] or [""]
    found = {}
    for name in (f"{part}{end}" for end in ends for part in _PARTS):
        value = made.get(name, getattr(module, name, None))
        if value is not None:
            found[name] = _numpy(value)
    return found


def _checked_sizes(sizes: Any, default: Any) -> tuple[int, int | tuple[int, ...]]:
    found = default if sizes is None else sizes
    if found is None:
        raise ValueError(
            "sizes=(inputs, state) is needed: how many neurons x and h have cannot be seen from a "
            "function"
        )
    try:
        n_x, h = found
        several = isinstance(h, (tuple, list)) and len(h) > 0
        n_x, *parts = (int(v.__index__()) for v in (n_x, *(h if several else [h])))
    except (TypeError, ValueError, AttributeError):
        raise TypeError(
            "sizes are two whole numbers, of x and of h, or of h as many as it has parts; got "
            f"{found!r}"
        ) from None
    if n_x < 0 or min(parts) < 1 or max(n_x, sum(parts)) >= 2**31:
        raise ValueError(
            f"x has at least 0 neurons and h at least 1, and both below 2**31; got sizes {found!r}"
        )
    return n_x, tuple(parts) if several else parts[0]


def _of_mapping(weights: Mapping[Any, Any], activation: Any) -> Cell:
    names = [str(k) for k in weights]
    ends = ("weight_hh_l0", "weight_hh")
    found = [(name, end) for name in names for end in ends if name.endswith(end)]
    if len(found) != 1:
        listed = ", ".join(name for name, _ in found) or "none"
        raise ValueError(
            "a state dict must hold one recurrent network, its weights named as PyTorch names them "
            f"(weight_ih_l0, weight_hh_l0, ...); there are {listed}"
        )
    name, end = found[0]
    prefix = name[: -len(end)]
    arrays = {k: _numpy(v) for k, v in weights.items() if str(k).startswith(prefix)}
    hidden = arrays[name]
    gates = hidden.shape[0] // max(hidden.shape[-1], 1)
    if f"{prefix}weight_hr_l0" in arrays:
        gates = 4
    if hidden.ndim != 2 or gates not in _KINDS:
        raise ValueError(f"{name} of shape {hidden.shape} has no known number of gates")
    if gates > 1:
        _refuse(activation, "gates bring their own")
    return _stack(arrays, prefix, _KINDS[gates], get_activation(activation or "tanh"))


def _numpy(value: Any) -> Any:
    value = value.detach().cpu().double() if hasattr(value, "detach") else value
    return np.asarray(value)


def _stack(weights: Mapping[str, Any], prefix: str, kind: str, activation: Activation) -> Stack:
    levels: list[Level] = []
    single = f"{prefix}weight_hh" in weights
    while single or f"{prefix}weight_hh_l{len(levels)}" in weights:
        end = "" if single else f"_l{len(levels)}"
        names = [f"{prefix}{part}{end}" for part in ("weight_ih", "weight_hh")]
        if names[0] not in weights:
            raise ValueError(f"{names[1]} is there, and {names[0]} is not")
        w_x, w_h = (_matrix(weights[name], name) for name in names)
        rows, below = len(w_h), levels[-1].hidden if levels else w_x.shape[1]
        projection = weights.get(f"{prefix}weight_hr{end}")
        if projection is not None:
            projection = _matrix(projection, f"{prefix}weight_hr{end}")
        own = rows // _GATES[kind] if projection is None else projection.shape[0]
        if rows % _GATES[kind] or len(w_x) != rows or w_h.shape[1] != own or w_x.shape[1] != below:
            raise ValueError(
                f"{names[0]} of shape {w_x.shape} and {names[1]} of shape {w_h.shape} do not "
                "belong together"
            )
        b_x, b_h = (
            _vector(weights.get(f"{prefix}{part}{end}"), rows, f"{prefix}{part}{end}")
            for part in ("bias_ih", "bias_hh")
        )
        levels.append(Level(kind, w_x, w_h, b_x, b_h, activation, projection))
        if single:
            break
    return Stack(levels)


def _of_arrays(model: Any, activation: Any) -> Cell:
    parts = model if isinstance(model, (tuple, list)) and np.ndim(model[0]) == 2 else [model]
    if not 1 <= len(parts) <= 3:
        raise ValueError(f"{_WHAT}; got {len(parts)} arrays")
    try:
        w_h = _matrix(parts[min(1, len(parts) - 1)], "w_h")
    except (TypeError, ValueError) as error:
        raise type(error)(f"{error}; {_WHAT}") from None
    n = len(w_h)
    w_x = _matrix(parts[0], "w_x") if len(parts) > 1 else np.zeros((n, 0))
    if w_h.shape[1] != n or len(w_x) != n:
        raise ValueError(
            f"w_h must be square and w_x have as many rows, got {w_h.shape} and {w_x.shape}"
        )
    bias = _vector(parts[2] if len(parts) == 3 else None, n, "bias")
    act = get_activation("tanh" if activation is None else activation)
    return Stack([Level("rnn", w_x, w_h, bias, np.zeros(n), act)])


def _matrix(value: Any, name: str) -> Array:
    array = np.ascontiguousarray(real_array(value, name), dtype=np.float64)
    if array.ndim != 2:
        raise ValueError(f"{name} must be a matrix, got shape {array.shape}")
    return array


def _vector(value: Any, size: int, name: str) -> Array:
    if value is None:
        return np.zeros(size)
    array = np.ascontiguousarray(real_array(value, name), dtype=np.float64)
    if array.shape != (size,):
        raise ValueError(f"{name} must have shape ({size},), got {array.shape}")
    return array
