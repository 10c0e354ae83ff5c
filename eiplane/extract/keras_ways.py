"""Functions of the entries of a tensor of Keras: known ones by their values, others by running."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..network import Activation
from .flow.recognise import PROBE, recognise
from .keras_parts import Node
from .keras_sheets import POINTS, Bench, near, run

__all__ = ["Way", "affine", "recognised"]

Array = NDArray[np.float64]
Codes = NDArray[np.int32]
_ZERO, _ONE = (int(np.flatnonzero(x == PROBE)[0]) for x in (0.0, 1.0))


class Way:
    """The operations between two tensors, as a function of numbers in one row.

    Parameters
    ----------
    keras : module
    bench : Bench
        Of the first tensor.
    nodes : sequence of Node
        That can be run in this order.
    beside : mapping of int to ndarray
        What stands in the place of other tensors.
    ends : tuple of int
        The first tensor and the last one.
    codes : ndarray of int
        Which entry of the first tensor each of the last one is a function of.
    row : int
    """

    def __init__(
        self,
        keras: Any,
        bench: Bench,
        nodes: Sequence[Node],
        beside: Mapping[int, Array],
        ends: tuple[int, int],
        codes: Codes,
        row: int,
    ) -> None:
        self._keras = keras
        self._shape = bench.rows.shape
        self._start, self._end = ends
        needed = {self._end}
        kept: list[Node] = []
        for node in reversed(nodes):
            if needed & set(node.outputs):
                kept.append(node)
                needed |= set(node.inputs)
        self._nodes, self._beside = kept[::-1], dict(beside)
        flat = codes.reshape(-1)
        mine = np.flatnonzero(np.where(flat < 0, -1, bench.rows.reshape(-1)[flat]) == row)
        self._codes, first = np.unique(flat[mine], return_index=True)
        self._places = mine[first]

    def __call__(self, z: Array) -> Array:
        """Return what the operations make of numbers in the row."""
        numbers = np.asarray(z, dtype=np.float64).reshape(-1)
        made = np.empty_like(numbers)
        step = len(self._codes)
        for start in range(0, len(numbers), step):
            part = numbers[start : start + step]
            made[start : start + step] = self._some(part)
        return made.reshape(np.shape(z))

    def _some(self, numbers: Array) -> Array:
        whole = np.zeros(self._shape)
        whole.reshape(-1)[self._codes[: len(numbers)]] = numbers
        values = self._beside | {self._start: whole}
        for node in self._nodes:
            made = run(self._keras, node, [values[i] for i in node.inputs])
            if made is None:
                raise ValueError(f"{node.title} does not take other numbers")
            values.update(zip(node.outputs, made, strict=True))
        result: Array = values[self._end].reshape(-1)[self._places[: len(numbers)]]
        return result


def affine(table: Array) -> tuple[Array, Array] | None:
    """Return c and d of each row if all are ``c z + d``, c not 0.

    Parameters
    ----------
    table : ndarray of float64, shape (rows, points)
        Of each row at :data:`.keras_sheets.POINTS`.

    Returns
    -------
    tuple of ndarray, or None
    """
    d = table[:, _ZERO]
    c = table[:, _ONE] - d
    with np.errstate(invalid="ignore"):
        fits = np.abs(table - (c[:, None] * POINTS + d[:, None])) <= 3e-6 * (
            np.abs(c)[:, None] * (1.0 + np.abs(POINTS)) + np.abs(d)[:, None]
        )
    if not (np.isfinite(c).all() and np.isfinite(d).all()) or (c == 0).any() or not fits.all():
        return None
    return _tidy(c), _tidy(d)


def _tidy(numbers: Array) -> Array:
    """Return 1 for what is 1 but for rounding, and 0 for 0."""
    rounded = np.round(numbers)
    return np.where(np.abs(numbers - rounded) <= 1e-9, rounded, numbers)


def recognised(table: Array) -> tuple[Activation, Array | float] | None:
    """Return a known activation that has these values, at the other points too.

    Parameters
    ----------
    table : ndarray of float64, shape (rows, points)

    Returns
    -------
    tuple of Activation and the factor of its argument, or None
    """
    found = recognise(np.ascontiguousarray(table[:, : len(PROBE)]), len(table))
    if found is None:
        return None
    known, factor = found
    factors = np.broadcast_to(np.asarray(factor, dtype=np.float64), len(table))
    with np.errstate(all="ignore"):
        expected = known((factors[:, None] * POINTS).T).T
    inner = np.abs(POINTS) <= 100.0
    return found if near(table[:, inner], expected[:, inner], 1e-5) else None
