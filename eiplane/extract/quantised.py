"""Weights of few bits with their scales beside them: as numbers again, or refused by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..results import Skipped
from .entries import Entries, Entry, layer_name, leaf, parent, plain, sibling, swapped

__all__ = ["dequantised"]

Array = NDArray[np.float64]

#: Names of the numbers that multiply a weight's, and where they are documented: DeepSeek-V3
#: (``weight_scale_inv``, of blocks), compressed-tensors and vLLM (``weight_scale``).
_SCALES = ("weight_scale_inv", "weight_scale", "scale_weight", "scale", "scales")
_MULTIPLY = frozenset((*_SCALES, "SCB"))
_ZEROS = ("weight_zero_point", "weight_zero_points")
_BESIDE = ("input_scale", "output_scale", "scale_input", "weight_format", "weight_shape")

#: Parts of formats that are known and not undone here.
_PACKED = {
    "weight_packed": "packed by compressed-tensors",
    "W_q": "packed by HQQ",
    "qweight": "packed",
    "weight_scale_2": "NVFP4",
}

#: In which order AWQ's kernels keep the eight numbers of an int32.
_AWQ_ORDER = (0, 4, 1, 5, 2, 6, 3, 7)


def dequantised(
    entries: Entries, skipped: list[Skipped], about: Mapping[str, Any] | None = None
) -> Entries:
    """Return entries with quantised weights as real numbers, their scales used up.

    Parameters
    ----------
    entries : dict of str to Entry
    skipped : list of Skipped
        Takes those of a format that is not undone here, or whose scales do not fit.
    about : mapping, optional
        ``quantization_config`` of the model's ``config.json``, where there is one.

    Returns
    -------
    dict of str to Entry

    Notes
    -----
    FP8 and int8: the weight times its scale, one for all, a row, a group of columns or a block.
    bitsandbytes' int8: rows times ``SCB / 127``. AWQ (``qweight``, ``qzeros``, ``scales`` of
    AutoAWQ's GEMM layout, 4 bits) and GPTQ (the same names, and ``g_idx``; 2, 4 or 8 bits; zeros
    are kept less one, as in its first format, unless ``about`` says ``gptq_v2``).
    """
    made: dict[str, Entry] = {}
    gone: set[str] = set()
    inside: dict[str, list[str]] = {}  # by the module that they belong to, or the weight
    for name in entries:
        for at in (i for i, letter in enumerate(name) if letter in "./"):
            inside.setdefault(name[:at], []).append(name)
    for name, entry in entries.items():
        last = leaf(name)
        if last == "qweight":
            whole, used = _packed(entries, entry, about or {})
        elif last.endswith("weight") and len(entry.shape) >= 2 and _is_quantised(entry, entries):
            state = inside.get(name, [])  # bitsandbytes' four bits, torchao, quanto: of its own
            whole, used = (None, state) if state else _scaled(entries, entry, about or {})
        elif last in _PACKED and entry.code.startswith(("U", "I")):
            beside = inside.get(parent(name), [*entries])
            gone.update(n for n in beside if parent(n) == parent(name) and leaf(n) != "bias")
            reason = f"{_PACKED[last]}: a format that eiplane does not undo; dequantise it first"
            skipped.append(Skipped(layer_name(sibling(name, "weight")), reason))
            continue
        elif last.endswith("_blocks") and name.removesuffix("_blocks") + "_scales" in entries:
            base = name.removesuffix("_blocks")
            gone.update((name, base + "_scales"))
            skipped.append(Skipped(base, "MXFP4 blocks, which eiplane does not undo"))
            continue
        else:
            continue
        if whole is not None:
            made[name] = whole
            gone.update(used)
        elif used:  # what was found beside it does not fit
            gone.update((name, *used))
            skipped.append(Skipped(layer_name(sibling(name, "weight")), _reason(entry, used)))
    return swapped(entries, made, gone)


def _is_quantised(entry: Entry, entries: Entries) -> bool:
    """Return whether a weight is of few bits: a NumPy array may be what it says, if alone."""
    if entry.problem or entry.code not in ("I8", "U8"):
        return bool(entry.problem)
    scales = {sibling(entry.name, last) for last in _MULTIPLY}
    return any(n in scales or n.startswith(f"{entry.name}.") for n in entries)


def _reason(entry: Entry, used: list[str]) -> str:
    beside = ", ".join(leaf(n) for n in used)
    return (
        f"quantised ({entry.code}, with {beside} beside it) in a format that eiplane does not "
        "know how to undo; dequantise it first"
    )


def _values(entry: Entry) -> Array:
    return plain(entry.read()).astype(np.float64)


def _ready(entry: Entry, name: str, shape: tuple[int, ...], read: Callable[[], Any]) -> Entry:
    return Entry(name, shape, read, "", "F64")


# -- a weight and its scales ------------------------------------------------------------------


def _scaled(
    entries: Entries, entry: Entry, about: Mapping[str, Any]
) -> tuple[Entry | None, list[str]]:
    """Return the weight, or None, and the names of what stands beside it."""
    beside = [sibling(entry.name, last) for last in (*_SCALES, *_ZEROS, *_BESIDE, "SCB")]
    beside = [n for n in beside if n in entries]
    by_leaf = {leaf(n): entries[n] for n in beside}
    if "SCB" in by_leaf and entry.code == "I8" and by_leaf["SCB"].shape == entry.shape[:1]:
        rows = by_leaf["SCB"]
        column = (-1, *(1,) * (len(entry.shape) - 1))
        return _ready(
            entry,
            entry.name,
            entry.shape,
            lambda: _values(entry) * _values(rows).reshape(column) / 127,
        ), beside
    scales = [by_leaf[last] for last in _SCALES if last in by_leaf]
    packed = entry.code == "U8" or (entry.code.startswith("I") and entry.code != "I8")
    if len(scales) != 1 or packed or sibling(entry.name, "weight_scale_2") in entries:
        return None, beside
    (scale,) = scales
    zeros = next((by_leaf[last] for last in _ZEROS if last in by_leaf), None)
    spread = _spread(entry.shape, scale.shape, about)
    if spread is None or (zeros is not None and zeros.shape != scale.shape):
        return None, beside

    def read() -> Array:
        values = _values(entry)
        if zeros is not None:
            values -= spread(_values(zeros))
        return values * spread(_values(scale))

    return _ready(entry, entry.name, entry.shape, read), beside


def _spread(
    shape: tuple[int, ...], scale: tuple[int, ...], about: Mapping[str, Any]
) -> Callable[[Array], Array] | None:
    """Return what brings scales to a weight's shape, or None if they do not fit."""
    if math.prod(scale) == 1:
        return lambda values: values.reshape((1,) * len(shape))
    if len(scale) == 1 and scale[0] == shape[0]:
        scale = (scale[0], *(1,) * (len(shape) - 1))
    if len(scale) != len(shape):
        return None
    blocks = _blocks(shape, scale, about)
    if blocks is None:
        return None

    def spread(values: Array) -> Array:
        values = values.reshape(scale)
        for axis, (n, block) in enumerate(zip(shape, blocks, strict=True)):
            taken = np.arange(n) // block
            values = values.take(taken, axis)
        return values

    return spread


def _blocks(
    shape: tuple[int, ...], scale: tuple[int, ...], about: Mapping[str, Any]
) -> list[int] | None:
    """Return the size of the block along every axis that shares a scale."""
    said = about.get("weight_block_size") or (128, 128)
    if isinstance(said, list | tuple) and len(said) == len(shape):
        sizes = [int(b) for b in said]
        if all(-(-n // b) == s for n, b, s in zip(shape, sizes, scale, strict=True)):
            return sizes
    if all(s and n % s == 0 for n, s in zip(shape, scale, strict=True)):
        return [n // s for n, s in zip(shape, scale, strict=True)]
    return None


# -- several numbers in an int32 --------------------------------------------------------------


def _packed(
    entries: Entries, entry: Entry, about: Mapping[str, Any]
) -> tuple[Entry | None, list[str]]:
    """Return the weight of an AWQ or GPTQ layer, or None, and what stands beside it."""
    names = {last: sibling(entry.name, last) for last in ("scales", "qzeros", "g_idx")}
    parts = {last: entries[n] for last, n in names.items() if n in entries}
    used = [n for n in names.values() if n in entries]
    name = sibling(entry.name, "weight")
    if not {"scales", "qzeros"} <= set(parts) or len(entry.shape) != 2:
        return None, used
    scales, zeros, groups = parts["scales"], parts["qzeros"], parts.get("g_idx")
    if any(len(p.shape) != 2 or 0 in p.shape for p in (scales, zeros)) or 0 in entry.shape:
        return None, used
    rows, columns = entry.shape
    n_groups, n_out = scales.shape
    width = n_out // zeros.shape[1]  # numbers in an int32
    if width not in (4, 8, 16) or zeros.shape != (n_groups, n_out // width):
        return None, used
    bits = 32 // width
    if columns * width == n_out and bits == 4 and groups is None and rows % n_groups == 0:

        def awq() -> Array:
            order = np.arange(n_out).reshape(-1, 8)[:, _AWQ_ORDER].ravel()
            values = _unpacked(entry, bits)[:, order]
            zero = _unpacked(zeros, bits)[:, order]
            group = np.arange(rows) // (rows // n_groups)
            return ((values - zero[group]) * _values(scales)[group]).T

        return _ready(entry, name, (n_out, rows), awq), used
    n_in = rows * width
    if columns != n_out or (groups is None and n_in % n_groups):
        return None, used
    if groups is not None and groups.shape != (n_in,):
        return None, used
    less = 0 if about.get("checkpoint_format") == "gptq_v2" else 1

    def gptq() -> Array:
        values = _unpacked(Entry("", (), lambda: plain(entry.read()).T), bits)  # (n_out, n_in)
        zero = _unpacked(zeros, bits) + less
        group = np.arange(n_in) // (n_in // n_groups)
        if groups is not None:
            group = plain(groups.read()).astype(np.int64)
        if len(group) and not 0 <= group.min() <= group.max() < n_groups:
            raise ValueError(f"{names['g_idx']!r} names groups that have no scales")
        return (values - zero[group].T) * _values(scales)[group].T

    return _ready(entry, name, (n_out, n_in), gptq), used


def _unpacked(entry: Entry, bits: int) -> Array:
    """Return the numbers of a matrix of int32, those of each int32 beside each other."""
    packed = np.ascontiguousarray(plain(entry.read())).astype(np.int64) & 0xFFFFFFFF
    shifts = np.arange(0, 32, bits)
    values = (packed[:, :, None] >> shifts) & ((1 << bits) - 1)
    return values.reshape(len(packed), -1).astype(np.float64)
