"""Tensors in .safetensors files; what a header says is compared with the file's size."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files import check_regular
from .entries import Entry, float8

__all__ = ["read_names", "read_safetensors"]

#: As the format's own library has it.
MAX_HEADER = 100_000_000

_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4",
    "I16": "<i2", "I8": "|i1", "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1", "BOOL": "|b1",
    "F8_E4M3": "|u1", "F8_E5M2": "|u1", "F8_E8M0": "|u1", "C64": "<c8",
}  # fmt: skip
_FLOATS = ("F64", "F32", "F16", "BF16")


def read_safetensors(path: Path) -> list[Entry]:
    """Return the tensors of a ``.safetensors`` file; ValueError if it is none, or lies."""
    check_regular(path)
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or not 2 <= length <= min(size - 8, MAX_HEADER):
            raise ValueError(
                f"{path}: not a whole .safetensors file (its header would take {length} of its "
                f"{size} bytes)"
            )
        text = file.read(length)
    try:
        header = json.loads(text.decode(), object_pairs_hook=_once)
        if not isinstance(header, dict):
            raise ValueError("it is no object")
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not a .safetensors file (its header: {error})") from None
    header.pop("__metadata__", None)
    spans: list[tuple[int, int, str]] = []
    entries = []
    for name, about in header.items():
        try:
            kind, shape = about["dtype"], tuple(about["shape"])
            begin, end = about["data_offsets"]
            counts = (*shape, begin, end)
            if any(type(n) is not int or n < 0 for n in counts):
                raise ValueError
            if not isinstance(kind, str) or not kind:
                raise TypeError
        except (KeyError, TypeError, ValueError):
            raise ValueError(f"{path}: the header says nothing clear of {name!r}") from None
        if kind in _DTYPES:
            needed = math.prod(shape) * np.dtype(_DTYPES[kind]).itemsize
            if end - begin != needed:
                raise ValueError(
                    f"{path}: tensor {name!r} of shape {shape} and type {kind} needs {needed} "
                    f"bytes, but the header gives it {end - begin}"
                )
        if end < begin or 8 + length + end > size:
            raise ValueError(
                f"{path}: cut short: tensor {name!r} ends at byte {8 + length + end} of {size}"
            )
        spans.append((begin, end, name))
        read = _mapped(path, kind, shape, 8 + length + begin)
        entries.append(Entry(name, shape, read, _problem(kind), kind))
    spans.sort()
    for (_, end, name), (begin, _, other) in itertools.pairwise(spans):
        if begin < end:
            raise ValueError(f"{path}: tensors {name!r} and {other!r} overlap")
    return entries


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("it names a tensor twice")
    return made


def _problem(kind: str) -> str:
    """Return why a tensor is no weight by itself, "" if it may be one."""
    if kind in _FLOATS:
        return ""
    return f"its numbers are of type {kind}: without their scales they are no weights"


def _mapped(path: Path, kind: str, shape: tuple[int, ...], offset: int) -> Callable[[], Any]:
    def read() -> NDArray[Any]:
        array: NDArray[Any] = np.memmap(path, np.dtype(_DTYPES[kind]), "r", offset, shape)
        if kind == "BF16":  # the upper half of a float32
            return (array.astype("<u4") << 16).view("<f4")
        if kind.startswith("F8"):
            return np.asarray(float8(kind)[array])
        return array

    return read


def read_names(path: Path) -> set[str]:
    """Return all names in a file's header, which has been checked already."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        return set(json.loads(file.read(length)))
