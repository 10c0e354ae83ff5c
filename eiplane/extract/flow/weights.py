"""The layer that a map, with what follows it, is."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...network import Layer, Pool, get_activation
from ..arrays import plain
from .outcome import Outcome, step
from .signals import Convolution, Map

__all__ = ["layer_of", "rows_text", "same_weights"]

Array = NDArray[np.float64]


def rows_text(rows: NDArray[np.intp], whole: int) -> str:
    """Return how a layer of some of a weight's rows is called, in brackets."""
    if len(rows) == whole:
        return ""
    steps = np.diff(rows)
    if len(rows) == 1:
        return f"[{rows[0]}]"
    if bool((steps == steps[0]).all()):
        by = "" if steps[0] == 1 else f":{steps[0]}"
        return f"[{rows[0]}:{rows[-1] + 1}{by}]"
    return f"[{len(rows)} of {whole} from {rows[0]}]"


def same_weights(a: Map, b: Map) -> bool:
    """Say whether two maps have equal weights and biases: not if one's are the other's turned over.

    Parameters
    ----------
    a, b : Map

    Returns
    -------
    bool
    """
    return _equal(a.weight, b.weight) and _equal(a.bias, b.bias)


def _equal(a: Any, b: Any) -> bool:
    if a is None or b is None:
        return a is b
    if tuple(a.shape) != tuple(b.shape):
        return False
    return _place(a) == _place(b) or np.array_equal(plain(a), plain(b), equal_nan=True)


def _place(weight: Any) -> Any:
    """Return where an array or tensor lies in memory, and how."""
    if isinstance(weight, np.ndarray):
        return weight.__array_interface__["data"][0], weight.strides, weight.dtype
    return weight.data_ptr(), weight.stride(), weight.dtype


def layer_of(made: Map, outcome: Outcome, name: str) -> Layer:
    """Return the layer of some rows of a map.

    Parameters
    ----------
    made : Map
    outcome : Outcome
        That is known.
    name : str

    Returns
    -------
    Layer
    """
    first, after = outcome.first, outcome.after
    assert first is not None and first.activation is not None
    rows, conv = outcome.rows, made.conv
    weight, bias = plain(made.weight), None if made.bias is None else plain(made.bias)
    scale, shift = first.scale, first.shift
    groups = conv.groups if conv is not None else 1
    if conv is not None and conv.transposed:
        weight, phases = _phases(weight, conv)
        bias = None if bias is None else np.repeat(bias, phases)
        rows = (rows[:, None] * phases + np.arange(phases)).reshape(-1)
        scale, shift = np.repeat(scale, phases), np.repeat(shift, phases)
        first = replace(first, activation=first.activation.repeated(phases))
    if len(rows) != len(weight):
        at: Any = rows
        if bool((np.diff(rows) == 1).all()):
            at = slice(int(rows[0]), int(rows[-1]) + 1)
        weight, bias = weight[at], None if bias is None else bias[at]
    if (scale != 1.0).any():
        weight = weight.astype(np.float64) * scale.reshape(-1, *(1,) * (weight.ndim - 1))
    if ((scale != 1.0).any() or shift.any()) and (bias is not None or shift.any()):
        bias = shift + (0.0 if bias is None else scale * bias)
    activation, pool = first.activation, None
    assert activation is not None
    if outcome.pool is not None and conv is not None:
        pooling = outcome.pool.pooling
        assert pooling is not None
        then = get_activation("identity") if after is None else after.activation
        assert then is not None
        pool = Pool(pooling.kind, pooling.window, step(made, pooling), conv.dilation, then)
        rising = bool(pool.activation.pieces) and pool.activation.rises_on(-1.0, 1.0)
        if activation.kind == "identity" and after is not None:
            weight, bias, pool = _past_pool(weight, bias, pool, after.scale, after.shift)
        if pool is not None and activation.kind == "identity" and pool.kind == "mean":
            # The mean of linear maps is one linear map of the whole receptive field.
            weight = pool.spread(weight).mean(axis=1)
            activation, pool = pool.activation, None
        elif pool is not None and activation.kind == "identity" and rising:
            # A function that never falls may as well come before the maximum.
            activation = pool.activation
            pool = Pool(pool.kind, pool.window, pool.step, pool.dilation)
    return Layer(weight, bias, activation, name, groups, pool)


def _past_pool(
    weight: NDArray[Any], bias: Any, pool: Pool, scale: Array, shift: Array
) -> tuple[NDArray[Any], Any, Pool]:
    """Fold what follows a pooling of a linear map into the map."""
    if (scale == 1.0).all() and not shift.any():
        return weight, bias, pool
    weight = weight.astype(np.float64) * scale.reshape(-1, *(1,) * (weight.ndim - 1))
    return weight, shift + (0.0 if bias is None else scale * bias), pool


def _phases(weight: NDArray[Any], conv: Convolution) -> tuple[NDArray[Any], int]:
    """Return a transposed convolution as a convolution with an output for each phase.

    An output at place ``o`` takes the input at ``i`` by the tap ``k`` with ``i s = o + p - k d``.
    Places that are the same modulo the stride have the same taps.

    Parameters
    ----------
    weight : ndarray, shape (n_in, n_out / groups, *kernel)
    conv : Convolution

    Returns
    -------
    weight : ndarray, shape (n_out * phases, n_in / groups, *field)
    phases : int
    """
    n_in, per_group, *kernel = weight.shape
    g = conv.groups
    grouped = weight.reshape(g, n_in // g, per_group, *kernel).swapaxes(1, 2)
    flat = grouped.reshape(g * per_group, n_in // g, *kernel)
    reach = [(k - 1) * d // s for k, d, s in zip(kernel, conv.dilation, conv.stride, strict=True)]
    field = tuple(r + 1 for r in reach)
    phases = list(itertools.product(*map(range, conv.stride)))
    out = np.zeros((flat.shape[0], len(phases), flat.shape[1], *field), dtype=weight.dtype)
    for p, phase in enumerate(phases):
        for tap in itertools.product(*map(range, kernel)):
            place = [k * d - r for k, d, r in zip(tap, conv.dilation, phase, strict=True)]
            if any(x % s for x, s in zip(place, conv.stride, strict=True)):
                continue
            taken: Any = (slice(None), slice(None), *tap)
            at = tuple(r - x // s for r, x, s in zip(reach, place, conv.stride, strict=True))
            if all(0 <= a < f for a, f in zip(at, field, strict=True)):
                there: Any = (slice(None), p, slice(None), *at)
                out[there] += flat[taken]
    return out.reshape(-1, flat.shape[1], *field), len(phases)
