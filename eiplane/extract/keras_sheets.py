"""Operations of Keras on numbers that are chosen to show what they do: moves, and functions of one.

A sheet holds probes in the place of a tensor. What an operation makes of two sheets, in which every
entry has other neighbours, tells whether it only moves entries, or is a function of each by itself;
no list of names says so.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .flow.recognise import PROBE

__all__ = ["POINTS", "Bench", "Sheet", "near"]

Array = NDArray[np.float64]
Codes = NDArray[np.int32]

_FINE = 8.0 * (2.0 * np.modf(np.arange(1.0, 513.0) * 0.6180339887498949)[0] - 1.0)

#: Where functions are looked at: first where they are compared with known ones, then in between.
POINTS: Array = np.concatenate([PROBE, _FINE])

#: Numbers of a sheet, at most; open sizes of tensors are taken as so many.
_MOST, _OPEN = 1 << 24, 3

#: What single precision may do.
_CLOSE = 2e-6


@dataclass(frozen=True, eq=False)
class Sheet:
    """What is known of a tensor whose entries are functions of those of another.

    Parameters
    ----------
    values : tuple of ndarray
        What it holds, for each way in which the probes lie.
    codes : ndarray of int
        Which entry of the first tensor each entry is a function of; -1 for others.
    """

    values: tuple[Array, ...]
    codes: Codes


class Bench:
    """Where the entries of one tensor are replaced by probes.

    Parameters
    ----------
    keras : module
    shape : sequence of int or None
        Of the tensor, the batch first.
    axes : tuple of int
        Of its rows, the last one moving fastest; of none, every entry behind the batch is a row.
    rows : ndarray of int, optional
        The row of each entry instead, -1 for entries that are none's.
    """

    def __init__(
        self,
        keras: Any,
        shape: Sequence[int | None],
        axes: tuple[int, ...] = (),
        rows: Codes | None = None,
    ) -> None:
        self._keras = keras
        self.rows = _rows(shape, axes) if rows is None else rows
        self.count = int(self.rows.max()) + 1
        flat = self.rows.reshape(-1)
        order = np.argsort(flat, kind="stable")
        starts = np.searchsorted(flat[order], np.arange(self.count))
        rank = np.empty(flat.size, np.int32)
        rank[order] = np.arange(flat.size) - starts[np.maximum(flat[order], 0)]
        # Neighbours along every axis differ, and differently in the other sheet; so do the sum and
        # the greatest of all, as the other one has some of the probes alone.
        every, some = np.arange(len(POINTS)), np.flatnonzero((POINTS <= 0) & (POINTS > -60.0))
        self.probes = tuple(
            np.where(flat < 0, 0, taken[(rank + shift + step * flat) % len(taken)])
            for taken, shift, step in ((every, 0, 11), (some, 397, 113))
        )

    def first(self) -> Sheet:
        """Return the sheet of the tensor itself."""
        codes = np.where(
            self.rows < 0, -1, np.arange(self.rows.size, dtype=np.int32).reshape(self.rows.shape)
        )
        values = tuple(POINTS[p].reshape(self.rows.shape) for p in self.probes)
        return Sheet(values, codes)

    def applied(self, run: Callable[..., Any], sheets: Sequence[Sheet | Any]) -> list[Sheet] | None:
        """Return what an operation makes of sheets, or None if more than a move or a function.

        Parameters
        ----------
        run : callable
            Takes arrays, returns arrays.
        sheets : sequence of Sheet or ndarray
            Others stand for tensors that hold no entry of the first.

        Returns
        -------
        list of Sheet or None
            One for each output.
        """
        made = [run([s.values[k] if isinstance(s, Sheet) else s for s in sheets])
                for k in range(len(self.probes))]  # fmt: skip
        if any(m is None for m in made):
            return None
        found: list[Sheet] = []
        moved = self._moved(run, sheets)
        for k, outs in enumerate(zip(*made, strict=True)):
            sheet = self._as_move(outs, sheets, None if moved is None else moved[k])
            if sheet is None:
                sheet = self._as_function(outs, sheets)
            if sheet is None:
                return None
            found.append(sheet)
        return found

    def _moved(self, run: Callable[..., Any], sheets: Sequence[Any]) -> list[Array] | None:
        """Return where an operation that only moves entries takes each output from."""
        ids, start = [], 0
        for s in sheets:
            size = s.codes.size if isinstance(s, Sheet) else s.size
            shape = s.codes.shape if isinstance(s, Sheet) else s.shape
            ids.append(np.arange(start, start + size, dtype=np.float64).reshape(shape))
            start += size
        # In single precision, which some backends know alone, larger numbers are not whole.
        made: list[Array] | None = run(ids) if start < 1 << 24 else None
        return made

    def _as_move(self, outs: Sequence[Array], sheets: Sequence[Any], ids: Any) -> Sheet | None:
        if ids is None or not np.isfinite(ids).all():
            return None
        index = ids.astype(np.int64)
        codes = np.concatenate(
            [
                s.codes.reshape(-1) if isinstance(s, Sheet) else np.full(s.size, -1, np.int32)
                for s in sheets
            ]
        )
        if (index != ids).any() or index.size == 0 or index.min() < 0 or index.max() >= len(codes):
            return None
        for k, out in enumerate(outs):
            whole = np.concatenate(
                [(s.values[k] if isinstance(s, Sheet) else s).reshape(-1) for s in sheets]
            )
            if not _same(whole[index], out):
                return None
        return Sheet(tuple(outs), codes[index])

    def _as_function(self, outs: Sequence[Array], sheets: Sequence[Any]) -> Sheet | None:
        signals = [s for s in sheets if isinstance(s, Sheet)]
        if len(signals) < len(sheets):
            return None  # of another tensor too
        shape = outs[0].shape
        try:
            wide = [np.broadcast_to(s.codes, shape) for s in signals]
        except ValueError:
            return None
        codes = wide[0]
        if any((w != codes).any() for w in wide[1:]):
            return None
        sheet = Sheet(tuple(outs), codes)
        return sheet if self.function(sheet) is not None else None

    def function(self, sheet: Sheet) -> Array | None:
        """Return the values at :data:`POINTS` of each row's function, if a sheet has such.

        Parameters
        ----------
        sheet : Sheet

        Returns
        -------
        ndarray of float64, shape (rows, points), or None
            NaN where nothing was seen.
        """
        table = np.full((self.count, len(POINTS)), np.nan)
        there = sheet.codes >= 0
        codes = sheet.codes[there]
        rows = self.rows.reshape(-1)[codes]
        keys = [(rows, probe[codes]) for probe in self.probes]
        for key, values in zip(keys, sheet.values, strict=True):
            table[key] = values[there]
        for key, values in zip(keys, sheet.values, strict=True):
            if not _same(table[key], values[there]):
                return None
        return table

    def seen(self, sheet: Sheet) -> NDArray[np.bool_]:
        """Return which rows a sheet has entries of."""
        found = np.zeros(self.count, dtype=bool)
        found[self.rows.reshape(-1)[sheet.codes[sheet.codes >= 0]]] = True
        return found

    # -- running operations

    def runner(self, node: Any) -> Callable[[Sequence[Array]], list[Array] | None]:
        """Return what computes a node on arrays; None where it cannot be computed on those."""
        return lambda arrays: run(self._keras, node, arrays)


def run(keras: Any, node: Any, arrays: Sequence[Array]) -> list[Array] | None:
    """Return what a node makes of arrays, in double precision where the backend has it.

    Parameters
    ----------
    keras : module
    node : Node
        Its ``run`` takes tensors.
    arrays : sequence of ndarray

    Returns
    -------
    list of ndarray, or None
        None if it does not take them.
    """
    for dtype in ("float64", "float32"):
        try:
            # Nothing that it writes is kept: moving averages, states of generators.
            with keras.StatelessScope(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                made = node.run([keras.ops.convert_to_tensor(a, dtype=dtype) for a in arrays])
                return [np.asarray(keras.ops.convert_to_numpy(m), dtype=np.float64) for m in made]
        except MemoryError:
            raise
        except Exception:  # whatever an operation raises for numbers that are not its own
            continue
    return None


def near(a: Array, b: Array, close: float = _CLOSE) -> bool:
    """Return whether numbers agree as far as single precision goes.

    Parameters
    ----------
    a, b : ndarray of float64
    close : float

    Returns
    -------
    bool
    """
    with np.errstate(invalid="ignore"):
        same = np.abs(a - b) <= close * (1.0 + np.abs(b))
    return bool((same | (a == b) | (np.isnan(a) & np.isnan(b))).all())


def _same(a: Array, b: Array) -> bool:
    return a.shape == b.shape and near(a, b)


def _rows(shape: Sequence[int | None], axes: tuple[int, ...]) -> Codes:
    """Return the row of each entry of a tensor that is large enough to hold all probes."""
    sizes = [_OPEN if n is None else int(n) for n in shape[1:]]
    rest = int(np.prod(sizes, dtype=np.int64))
    behind = [a % len(shape) - 1 for a in axes] or list(range(len(sizes)))
    rows, step = np.zeros([1] * len(sizes), np.int32), 1
    for axis in reversed(behind):
        wide = [1] * len(sizes)
        wide[axis] = sizes[axis]
        rows = rows + np.int32(step) * np.arange(sizes[axis], dtype=np.int32).reshape(wide)
        step *= sizes[axis]
    batch = -(-len(POINTS) * step // max(1, rest))
    if rest == 0 or batch * rest > _MOST:
        raise ValueError(f"a tensor of {rest} numbers is too large to be filled with probes")
    return np.ascontiguousarray(np.broadcast_to(rows, (batch, *sizes)))
