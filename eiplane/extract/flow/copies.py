"""Axes along which an array is a copy of itself, and what an operator makes of such an array."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from .signals import Codes, Operand

__all__ = ["as_copies", "copies", "of_copies"]


def copies(codes: Codes, axis: int) -> bool:
    """Return whether an array holds the same along an axis (from the end), or has none there."""
    if codes.ndim < -axis or codes.shape[axis] == 1 or codes.strides[axis] == 0:
        return True
    first = codes.take([0, 1], axis)
    if bool((first.take([0], axis) != first.take([1], axis)).any()):
        return False
    return bool((codes == codes.take([0], axis)).all())


def as_copies(made: Codes, operands: Sequence[Operand], wide: Sequence[Codes | None]) -> Codes:
    """Return an elementwise operator's codes, equal where all that it takes is copied.

    Parameters
    ----------
    made : ndarray of int64
        With a code of its own for each entry.
    operands : sequence of Operand
    wide : sequence of ndarray or None
        Their codes, broadcast.

    Returns
    -------
    ndarray of int64
    """
    for axis, n in enumerate(made.shape):
        back = axis - made.ndim
        if n > 1 and all(
            copies(c, back) if c is not None else _repeats(x, back)
            for x, c in zip(operands, wide, strict=True)
        ):
            made = np.repeat(made.take([0], axis), n, axis)
    return made


def of_copies(made: Codes, codes: Codes, axes: Collection[int]) -> Codes:
    """Return an operator's codes, equal where what it takes is copied along another of its axes.

    Parameters
    ----------
    made : ndarray of int64
        Shaped as what it takes is, or without the axes.
    codes : ndarray of int64
        Of what it takes.
    axes : collection of int
        That it goes along.

    Returns
    -------
    ndarray of int64
    """
    wide = made if made.ndim == codes.ndim else np.expand_dims(made, tuple(axes))
    for k, n in enumerate(wide.shape):
        if k not in axes and n == codes.shape[k] > 1 and copies(codes, k - codes.ndim):
            wide = np.repeat(wide.take([0], k), n, k)
    return wide.reshape(made.shape)


def _repeats(x: Operand, axis: int) -> bool:
    """Return whether a constant is the same along an axis, by its shape."""
    shape = np.shape(x.read())
    return len(shape) < -axis or shape[axis] == 1
