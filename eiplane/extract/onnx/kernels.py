"""Convolutions and poolings of arrays, of any number of axes, as ONNX defines them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["conv", "conv_transpose", "pads_of", "pool"]

Array = NDArray[Any]


def pads_of(
    attributes: Mapping[str, Any], size: Sequence[int], kernel: Sequence[int]
) -> tuple[list[int], list[int]]:
    """Return the zeros in front of and behind each axis that a window moves over.

    Parameters
    ----------
    attributes : mapping
        ``auto_pad``, ``pads``, ``strides`` and ``dilations`` of the node.
    size : sequence of int
        Of the axes of the input.
    kernel : sequence of int

    Returns
    -------
    list of int, list of int
    """
    n = len(kernel)
    auto = attributes.get("auto_pad", b"NOTSET")
    auto = auto.decode() if isinstance(auto, bytes) else auto
    if auto == "VALID":
        return [0] * n, [0] * n
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        strides = attributes.get("strides", [1] * n)
        dilations = attributes.get("dilations", [1] * n)
        front, back = [], []
        for length, k, s, d in zip(size, kernel, strides, dilations, strict=True):
            whole = max(0, (-(-length // s) - 1) * s + (k - 1) * d + 1 - length)
            less = whole // 2
            front.append(less if auto == "SAME_UPPER" else whole - less)
            back.append(whole - front[-1])
        return front, back
    pads = [int(p) for p in attributes.get("pads", [0] * (2 * n))]
    return pads[:n], pads[n:]


def _windows(
    x: Array, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> Array:
    """Return a view of the windows, shape (batch, channels, *places, *kernel)."""
    n = len(kernel)
    spans = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True))
    view = np.lib.stride_tricks.sliding_window_view(x, spans, axis=tuple(range(2, 2 + n)))
    at: tuple[Any, ...] = (
        slice(None), slice(None),
        *(slice(None, None, s) for s in strides), *(slice(None, None, d) for d in dilations),
    )  # fmt: skip
    found: Array = view[at]
    return found


def _padded(x: Array, front: Sequence[int], back: Sequence[int], value: Any) -> Array:
    if not any(front) and not any(back):
        return x
    sides = [(0, 0), (0, 0), *zip(front, back, strict=True)]
    return np.pad(x, sides, constant_values=value)


def conv(x: Array, weight: Array, bias: Array | None, attributes: Mapping[str, Any]) -> Array:
    """Return a convolution.

    Parameters
    ----------
    x : ndarray, shape (batch, n_in, *sizes)
    weight : ndarray, shape (n_out, n_in / groups, *kernel)
    bias : ndarray, shape (n_out,), or None
    attributes : mapping
        Of the node.

    Returns
    -------
    ndarray, shape (batch, n_out, *places)
    """
    kernel, groups = weight.shape[2:], int(attributes.get("group", 1))
    n = len(kernel)
    if x.ndim != n + 2 or x.shape[1] != weight.shape[1] * groups or weight.shape[0] % groups:
        raise ValueError(
            f"an input of shape {x.shape} does not fit a weight of shape {weight.shape} in "
            f"{groups} groups"
        )
    front, back = pads_of(attributes, x.shape[2:], kernel)
    view = _windows(
        _padded(x, front, back, 0), kernel, attributes.get("strides", [1] * n),
        attributes.get("dilations", [1] * n),
    )  # fmt: skip
    batch, places = x.shape[0], view.shape[2 : 2 + n]
    per_group = weight.shape[1]
    view = view.reshape(batch, groups, per_group, *places, *kernel)
    axes = (1, 0, *range(3, 3 + n), 2, *range(3 + n, 3 + 2 * n))
    columns = view.transpose(axes).reshape(groups, -1, per_group * int(np.prod(kernel)))
    matrices = weight.reshape(groups, weight.shape[0] // groups, -1).swapaxes(1, 2)
    out = np.matmul(columns, matrices)  # (groups, batch * places, n_out / groups)
    out = out.reshape(groups, batch, *places, -1)
    out = np.moveaxis(np.moveaxis(out, 0, 1), -1, 2).reshape(batch, -1, *places)
    if bias is not None:
        out = out + bias.reshape(-1, *(1,) * n)
    return np.ascontiguousarray(out, dtype=x.dtype)


def conv_transpose(
    x: Array, weight: Array, bias: Array | None, attributes: Mapping[str, Any]
) -> Array:
    """Return a transposed convolution.

    Parameters
    ----------
    x : ndarray, shape (batch, n_in, *sizes)
    weight : ndarray, shape (n_in, n_out / groups, *kernel)
    bias : ndarray, shape (n_out,), or None
    attributes : mapping
        Of the node.

    Returns
    -------
    ndarray, shape (batch, n_out, *places)
    """
    kernel, groups = weight.shape[2:], int(attributes.get("group", 1))
    n = len(kernel)
    if x.ndim != n + 2 or x.shape[1] != weight.shape[0] or weight.shape[0] % groups:
        raise ValueError(f"an input of shape {x.shape} does not fit a weight of {weight.shape}")
    strides = list(attributes.get("strides", [1] * n))
    dilations = list(attributes.get("dilations", [1] * n))
    extra = list(attributes.get("output_padding", [0] * n))
    whole = [
        s * (length - 1) + (k - 1) * d + 1 + e
        for s, length, k, d, e in zip(strides, x.shape[2:], kernel, dilations, extra, strict=True)
    ]
    front, back = _cut(attributes, x.shape[2:], strides, whole)
    batch, per_group = x.shape[0], weight.shape[1]
    inputs = x.reshape(batch, groups, -1, *x.shape[2:])
    taps = weight.reshape(groups, -1, per_group, *kernel)
    out = np.zeros((batch, groups, per_group, *whole), dtype=x.dtype)
    for tap in itertools.product(*map(range, kernel)):
        at = tuple(
            slice(k * d, k * d + s * (length - 1) + 1, s)
            for k, d, s, length in zip(tap, dilations, strides, x.shape[2:], strict=True)
        )
        part = np.einsum("bgi...,gio->bgo...", inputs, taps[(slice(None),) * 3 + tap])
        out[(slice(None), slice(None), slice(None), *at)] += part
    kept = tuple(slice(f, w - b) for f, b, w in zip(front, back, whole, strict=True))
    out = out.reshape(batch, groups * per_group, *whole)[(slice(None), slice(None), *kept)]
    if bias is not None:
        out = out + bias.reshape(-1, *(1,) * n)
    return np.ascontiguousarray(out, dtype=x.dtype)


def _cut(
    attributes: Mapping[str, Any], size: Sequence[int], strides: list[int], whole: list[int]
) -> tuple[list[int], list[int]]:
    """Return what is cut away in front and behind, negative where zeros are added."""
    n = len(size)
    wanted = attributes.get("output_shape")
    auto = attributes.get("auto_pad", b"NOTSET")
    auto = auto.decode() if isinstance(auto, bytes) else auto
    if wanted is None and auto not in ("SAME_UPPER", "SAME_LOWER"):
        pads = [int(p) for p in attributes.get("pads", [0] * (2 * n))]
        return pads[:n], pads[n:]
    if wanted is None:
        wanted = [length * s for length, s in zip(size, strides, strict=True)]
    total = [max(0, w - int(o)) for w, o in zip(whole, list(wanted)[-n:], strict=True)]
    less = [t // 2 for t in total]
    more = [t - a for t, a in zip(total, less, strict=True)]
    return (less, more) if auto == "SAME_UPPER" else (more, less)


def pool(x: Array, kind: str, kernel: Sequence[int], attributes: Mapping[str, Any]) -> Array:
    """Return a pooling whose windows lie inside the padded input.

    Parameters
    ----------
    x : ndarray, shape (batch, channels, *sizes)
    kind : {"max", "mean"}
    kernel : sequence of int
    attributes : mapping
        Of the node; ``ceil_mode`` is not looked at.

    Returns
    -------
    ndarray
    """
    n = len(kernel)
    strides, dilations = attributes.get("strides", [1] * n), attributes.get("dilations", [1] * n)
    front, back = pads_of(attributes, x.shape[2:], kernel)
    axes = tuple(range(-n, 0))
    if kind == "max":
        least = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
        view = _windows(_padded(x, front, back, least), kernel, strides, dilations)
        return np.ascontiguousarray(view.max(axis=axes))
    view = _windows(_padded(x, front, back, 0), kernel, strides, dilations)
    if attributes.get("count_include_pad", 0) or not (any(front) or any(back)):
        return np.ascontiguousarray(view.mean(axis=axes), dtype=x.dtype)
    ones = _padded(np.ones((1, 1, *x.shape[2:]), dtype=x.dtype), front, back, 0)
    count = _windows(ones, kernel, strides, dilations).sum(axis=axes)
    return np.ascontiguousarray(view.sum(axis=axes) / count, dtype=x.dtype)
