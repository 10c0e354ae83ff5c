"""Files of inputs, in batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..files import read_arrays

__all__ = ["read_batches"]

#: Inputs that a network is run on at once.
_AT_ONCE = 256


def read_batches(path: str, size: int = _AT_ONCE) -> list[Any]:
    """Return the inputs of a file as batches.

    Parameters
    ----------
    path : path-like
        A ``.npy`` file of one array, whose first axis counts inputs (it is not read at once), or a
        ``.npz`` file with an array for each input's name; a single one may have any name.
    size : int
        Of a batch; the last may be smaller.

    Returns
    -------
    list of ndarray, or of dict of str to ndarray

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is no such file, or its arrays are not of one length.
    """
    arrays = read_arrays(path, "is no .npy or .npz file of numbers", mapped=True)
    if not isinstance(arrays, dict):
        return list(_parts(arrays, path, size))
    if not arrays:
        raise ValueError(f"{path} holds no array")
    if len(arrays) == 1:
        return list(_parts(next(iter(arrays.values())), path, size))
    if len({len(a) if a.ndim else 0 for a in arrays.values()}) != 1:
        shapes = ", ".join(f"{name} {a.shape}" for name, a in arrays.items())
        raise ValueError(f"{path}: its arrays are not of one length: {shapes}")
    parts = [list(_parts(a, path, size)) for a in arrays.values()]
    return [dict(zip(arrays, batch, strict=True)) for batch in zip(*parts, strict=True)]


def _parts(array: np.ndarray[Any, Any], path: str, size: int) -> Iterator[np.ndarray[Any, Any]]:
    if array.ndim < 2 or not len(array):
        raise ValueError(
            f"{path}: an array of shape {array.shape} is no batch; its first axis counts inputs"
        )
    for start in range(0, len(array), size):
        yield array[start : start + size]
