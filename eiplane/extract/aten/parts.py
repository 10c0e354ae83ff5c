"""Parts of parameters: which of them became layers, and which went another way."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from ..flow.weights import rows_text

__all__ = ["Part", "part_of", "rest"]


@dataclass(frozen=True)
class Part:
    """Some entries of a storage.

    Parameters
    ----------
    offset : int
    shape, stride : tuple of int
    """

    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


def part_of(tensor: Any, whole: Any) -> Part | None:
    """Return where a view lies in a parameter's storage; None if it is all of that.

    Parameters
    ----------
    tensor, whole : tensor

    Returns
    -------
    Part or None
    """
    found = Part(int(tensor.storage_offset()), tuple(tensor.shape), tuple(tensor.stride()))
    own = [n for n, s in zip(found.shape, found.stride, strict=True) if s]
    return None if np.prod(own, dtype=np.int64) >= whole.numel() else found


def rest(
    whole: Any, covered: Iterable[Part], uses: Iterable[tuple[str, Part | None]]
) -> tuple[str, tuple[int, ...], set[str]] | None:
    """Return what is used otherwise of a parameter, and by what, beside the parts that are layers.

    Parameters
    ----------
    whole : tensor
    covered : iterable of Part
    uses : iterable of (str, Part or None)

    Returns
    -------
    index : str
        Rows or columns, in brackets.
    shape : tuple of int
    kinds : set of str
        Of uses; or None if there is no such part.
    """
    mine = Part(int(whole.storage_offset()), tuple(whole.shape), tuple(whole.stride()))
    layers = _entries(mine, covered)
    left, kinds = np.zeros_like(layers), set()
    for kind, part in uses:
        taken = ~layers if part is None else _entries(mine, [part]) & ~layers
        if taken.any():
            left |= taken
            kinds.add(kind)
    if not kinds:
        return None
    flat = left.reshape(len(left), -1)
    rows, columns = np.flatnonzero(flat.any(1)), np.flatnonzero(flat.any(0))
    if flat[rows].all():
        return rows_text(rows, len(flat)), (len(rows), *mine.shape[1:]), kinds
    text = rows_text(columns, flat.shape[1])[1:-1]
    return f"[:, {text or ':'}]", (len(rows), len(columns)), kinds


def _entries(whole: Part, parts: Iterable[Part]) -> NDArray[np.bool_]:
    """Return which entries of a parameter lie in some parts of its storage."""
    size = 1 + sum((n - 1) * s for n, s in zip(whole.shape, whole.stride, strict=True))
    flags = np.zeros(size, dtype=bool)
    for part in parts:
        at = part.offset - whole.offset
        end = at + sum((n - 1) * s for n, s in zip(part.shape, part.stride, strict=True))
        if at >= 0 and end < size and 0 not in part.shape:
            as_strided(flags[at:], part.shape, part.stride)[...] = True
    return np.ascontiguousarray(as_strided(flags, whole.shape, whole.stride))
