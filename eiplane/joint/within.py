"""``H(Y | X)`` between bounds, from draws within cells of the inputs.

Below: for K draws ``sum over k < K of r(k) / k`` with ``r(k) = sum p (1 - p)**k`` has an unbiased
estimate, and the terms that are left out are positive (:mod:`.cells`, whose octaves these are).
Above: in a cell outputs are nearly linear in the inputs. Some draws are fitted by a linear map and
a covariance of what is left over; that is a model of the others, ``q(y | cell)``, normalised and of
the cell alone, so ``E -log2 q(y | cell)`` is at least ``H(Y | X)`` (Gibbs).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .cells import octave_gains
from .mixture import conditioned
from .source import Labels, Source

__all__ = ["Within", "within_cells"]

Array = NDArray[np.float64]

#: Draws of each cell that are not fitted, but told by the model.
_TOLD = 8
#: Of the outputs' variance in a cell, what is left over at least; what is none, of their square.
_LEFT, _ROUNDING = 1e-6, 1e-28


@dataclass(frozen=True, eq=False)
class Within:
    """Of every cell, averages of which bracket ``H(Y | X)``; in bits.

    Parameters
    ----------
    least : ndarray of float64, shape (cells,)
    most : ndarray of float64, shape (cells,), or None
        None where the draws are too few for a fit.
    """

    least: Array
    most: Array | None


def within_cells(source: Source, cells: int, draws: int, rng: np.random.Generator) -> Within:
    """Draw in random cells.

    Parameters
    ----------
    source : Source
    cells : int
    draws : int
        In each; a power of two, at least 32.
    rng : Generator

    Returns
    -------
    Within
    """
    gains = np.append(0.0, np.cumsum(octave_gains(draws).sum(axis=0)))
    held = source.given[:, None]
    fits = draws - _TOLD >= 2 * (source.n_in + 2)
    least, most = np.empty(cells), np.empty(cells)
    for cell in range(cells):
        start = rng.integers(source.bins[0], size=(source.n_in, 1))
        v = rng.random((source.n_in, draws))
        values = source.values(np.where(held, (start + v) / source.bins[0], v))
        labels = source.labels(values)
        least[cell] = gains[_counts(labels)].sum()
        if fits:
            most[cell] = _told(source, v - 0.5, values, labels)
    return Within(least, most if fits else None)


def _counts(labels: Labels) -> NDArray[np.intp]:
    """Return how often each vector occurs."""
    rows = np.ascontiguousarray(labels.T).view(np.dtype((np.void, labels.shape[0] * 4)))
    return np.unique(rows, return_counts=True)[1]


def _told(source: Source, v: Array, values: Array, labels: Labels) -> float:
    """Return the mean of ``-log2 q(y | cell)`` of the last draws, q being fitted to the others."""
    n, count = len(v), v.shape[1] - _TOLD
    size = np.maximum(np.abs(values).max(axis=1), 1e-300)
    values = values / size[:, None]
    known = np.vstack([np.ones(count), v[:, :count]])
    square = known @ known.T + np.diag(np.append(0.0, np.full(n, 1e-6 * count)))
    slopes = np.linalg.solve(square, known @ values[:, :count].T).T
    left = values[:, :count] - slopes @ known
    rest = left @ left.T / (count - n - 1)
    linear = slopes[:, 1:] @ slopes[:, 1:].T / 12.0
    covariance = linear + rest
    own = np.maximum(covariance.diagonal(), _ROUNDING)
    covariance += np.diag(_LEFT * own)
    scale = np.sqrt(own)
    lo, hi = source.pieces(labels[:, count:])
    with np.errstate(over="ignore"):
        lo, hi = (e / size[:, None] / scale[:, None] for e in (lo, hi))
    told, _, _ = conditioned(
        np.repeat((slopes[:, 0] / scale)[None], _TOLD, axis=0),
        np.repeat((covariance / np.outer(scale, scale))[None], _TOLD, axis=0),
        lo,
        hi,
        source.bins[1],
    )
    return float(-told.mean())
