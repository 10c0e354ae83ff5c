"""Which signals meet in the entries of an array."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .signals import SHIFT, Codes, Signals, Value

__all__ = ["combinations", "rows_in"]

#: Rows of a combined signal, at most; beyond that it has one range for all.
_ROWS = 1 << 16


def combinations(
    numbers: list[NDArray[np.int64]], signals: Signals
) -> tuple[NDArray[np.int64] | None, list[NDArray[np.int64]]]:
    """Return each entry's combination of signals, and each combination's numbers.

    None, for the first, if there are too many of them.
    """
    if numbers[0].size == 0:
        return None, []
    ends = [(int(n.min()), int(n.max())) for n in numbers]
    lead = next((k for k, (low, high) in enumerate(ends) if low != high), 0)
    first, (least, most) = numbers[lead], ends[lead]
    if least >= 0:
        value = signals.of(least)
        span, spans = np.arange(least, most + 1), []
        for n, (low, high) in zip(numbers, ends, strict=True):
            gap = int(n.flat[0] - first.flat[0])
            if low == high:
                spans.append(np.full(len(span), low))
            elif bool((n - first == gap).all()):
                spans.append(span + gap)
        if most < value.base + value.rows and len(spans) == len(numbers):
            return first - least, spans
    row, keys = np.zeros(numbers[0].shape, np.int64), np.zeros(1, np.int64)
    parts: list[NDArray[np.int64]] = []
    for n in numbers:
        each, place = np.unique(n, return_inverse=True)
        row = row * len(each) + place.reshape(n.shape)
        keys, row = np.unique(row, return_inverse=True)
        row = row.reshape(n.shape)
        if len(keys) > _ROWS:
            return None, []
        parts = [p[keys // len(each)] for p in parts] + [each[keys % len(each)]]
    return row, parts


def rows_in(codes: Codes, value: Value) -> NDArray[np.bool_]:
    """Return which of a value's rows an array of its entries holds."""
    rows = np.zeros(value.rows, dtype=bool)
    least, most = ((int(n) >> SHIFT) - value.base for n in (codes.min(), codes.max()))
    lines: list[Any] = [
        (*(0,) * k, slice(None), *(0,) * (codes.ndim - k - 1)) for k in range(codes.ndim)
    ]
    for part in [*lines, (0,) * (codes.ndim - 2)]:  # most often one of them has all
        rows[(codes[part] >> SHIFT) - value.base] = True
        if rows[least : most + 1].all():
            return rows
    rows[(codes >> SHIFT) - value.base] = True
    return rows
