"""Arrays in NumPy's own files, .npz and .npy, without running code."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from .entries import Entry, code_of
from .zips import DAMAGE, checked_members, opened

__all__ = ["read_npy", "read_npz"]


def read_npz(path: Path) -> list[Entry]:
    """Return the arrays of a ``.npz`` archive; ValueError if it is none, or damaged."""
    entries = []
    with opened(path, "not a whole .npz archive") as archive:
        for member in checked_members(archive):
            if not member.filename.endswith(".npy"):
                continue
            name = member.filename.removesuffix(".npy")
            with archive.open(member) as file:
                shape, code = _npy_header(path, name, file, member.file_size)
            entries.append(Entry(name, shape, _reader(path, member.filename), "", code))
    return entries


def _reader(path: Path, member: str) -> Callable[[], NDArray[Any]]:
    def read() -> NDArray[Any]:
        damaged = f"array {member!r} is damaged"
        with opened(path, damaged) as archive, archive.open(member) as file:
            return np.asarray(npy.read_array(file, allow_pickle=False))

    return read


def _npy_header(path: Path, name: str, file: IO[bytes], size: int) -> tuple[tuple[int, ...], str]:
    """Return shape and code of an array in NumPy's format; check that its numbers fit the size."""
    try:
        version = npy.read_magic(file)
        header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = header(file)
    except (*DAMAGE, SyntaxError, TokenError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError(f"{path}: array {name!r} is not in NumPy's format ({error})") from None
    if dtype.hasobject:
        raise ValueError(
            f"{path}: array {name!r} holds Python objects, which only running code could load; "
            "save plain numbers"
        )
    expected = file.tell() + math.prod(shape) * dtype.itemsize
    if expected != size:
        raise ValueError(
            f"{path}: array {name!r} of shape {shape} and type {dtype} needs {expected} bytes, "
            f"but has {size}"
        )
    return tuple(map(int, shape)), code_of(dtype.name)


def read_npy(path: Path) -> list[Entry]:
    """Return the one array of a ``.npy`` file, under the file's name; ValueError if damaged."""
    with path.open("rb") as file:
        shape, code = _npy_header(path, path.stem, file, path.stat().st_size)

    def read() -> NDArray[Any]:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))

    return [Entry(path.stem, shape, read, "", code)]
