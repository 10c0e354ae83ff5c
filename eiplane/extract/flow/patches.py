"""Some inputs of a linear map and what it made of them, for the proof."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .signals import Map

__all__ = ["keep_fields", "keep_phases", "keep_rows"]

#: Phases of a transposed convolution that are looked at, at most.
_MOST_PHASES = 16


def keep_rows(made: Map, x: NDArray[Any], out: NDArray[Any], precision: float) -> None:
    """Keep some inputs of a matrix, and what was computed of them.

    Parameters
    ----------
    made : Map
    x : ndarray, shape (places, n_in)
    out : ndarray, shape (places, n_out)
    precision : float
        Of the numbers that it was computed with.
    """
    if out.size == 0:
        return
    at = np.unique(np.linspace(0, len(x) - 1, 3).astype(np.intp))
    made.patches, made.seen = x[at].astype(np.float64), out[at].astype(np.float64)
    made.places = at
    made.seen_precision = precision


def keep_fields(
    made: Map, x: NDArray[Any], out: NDArray[Any], padding: Sequence[int], precision: float
) -> None:
    """Keep the receptive fields of two outputs of a convolution, and the outputs.

    Parameters
    ----------
    made : Map
    x : ndarray, shape (batch, n_in, *sizes)
    out : ndarray, shape (batch, n_out, *sizes)
    padding : sequence of int
        In front of each axis.
    precision : float
    """
    assert made.conv is not None
    if out.size == 0:
        return
    kernel, sizes = tuple(made.weight.shape[2:]), out.shape[2:]
    patches, seen, places = [], [], []
    for where in ([n // 2 for n in sizes], [n - 1 for n in sizes]):
        patch = x[0]
        for axis, (o, k) in enumerate(zip(where, kernel, strict=True)):
            s, d = made.conv.stride[axis], made.conv.dilation[axis]
            at = o * s - padding[axis] + np.arange(k) * d
            inside = (at >= 0) & (at < patch.shape[axis + 1])
            taken = np.take(patch, np.clip(at, 0, patch.shape[axis + 1] - 1), axis=axis + 1)
            sides = [1] * taken.ndim
            sides[axis + 1] = k
            patch = taken * inside.reshape(sides)
        patches.append(patch.reshape(-1).astype(np.float64))
        seen.append(out[(0, slice(None), *where)].astype(np.float64))
        places.append(int(np.ravel_multi_index(where, sizes)))
    made.patches, made.seen, made.places = np.stack(patches), np.stack(seen), np.array(places)
    made.padding = tuple(padding)
    made.seen_precision = precision


def keep_phases(
    made: Map, x: NDArray[Any], out: NDArray[Any], padding: Sequence[int], precision: float
) -> None:
    """Keep some outputs of a transposed convolution, and the inputs that each is made of.

    The output at ``o`` takes the input at ``i`` by the tap ``k`` with ``i s = o + p - k d``: its
    phase is ``(o + p) mod s``, and its field ends at ``(o + p) div s``.

    Parameters
    ----------
    made : Map
    x : ndarray, shape (batch, n_in, *sizes)
    out : ndarray, shape (batch, n_out, *sizes)
    padding : sequence of int
    precision : float
    """
    assert made.conv is not None
    if out.size == 0:
        return
    stride, kernel, sizes = made.conv.stride, made.weight.shape[2:], out.shape[2:]
    reach = [(k - 1) * d // s for k, d, s in zip(kernel, made.conv.dilation, stride, strict=True)]
    phases = math.prod(stride)
    patches, seen = [], []
    middle = [max(0, n // 2 - s + 1) for n, s in zip(sizes, stride, strict=True)]
    steps = itertools.islice(itertools.product(*map(range, stride)), _MOST_PHASES)
    near = [[min(m + k, n - 1) for m, k, n in zip(middle, step, sizes, strict=True)]
            for step in steps]  # fmt: skip
    for where in (*near, [n - 1 for n in sizes], [0 for _ in sizes]):
        patch: NDArray[Any] = x[0]
        phase = 0
        for axis, (o, p, s, r) in enumerate(zip(where, padding, stride, reach, strict=True)):
            phase = phase * s + (o + p) % s
            at = (o + p) // s - r + np.arange(r + 1)
            inside = (at >= 0) & (at < patch.shape[axis + 1])
            taken = np.take(patch, np.clip(at, 0, patch.shape[axis + 1] - 1), axis=axis + 1)
            sides = [1] * taken.ndim
            sides[axis + 1] = r + 1
            patch = taken * inside.reshape(sides)
        values = np.full((out.shape[1], phases), np.nan)
        values[:, phase] = out[(0, slice(None), *where)]
        patches.append(patch.reshape(-1).astype(np.float64))
        seen.append(values.reshape(-1))
    made.patches, made.seen = np.stack(patches), np.stack(seen)
    made.seen_precision = precision
