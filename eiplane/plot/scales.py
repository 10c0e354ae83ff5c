"""What bits are divided by, and scales on which small and large layers can be seen together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..training import History

__all__ = ["check_normalize", "check_scale", "sizes", "symlog", "threshold", "unit_of"]

Array = NDArray[np.float64]

_PER = {None: "", "edges": " per edge", "outputs": " per output"}


def check_normalize(normalize: str | None) -> None:
    """Raise ValueError if bits cannot be divided by that."""
    if normalize not in _PER:
        raise ValueError(f"normalize must be None, 'edges' or 'outputs', not {normalize!r}")


def check_scale(scale: str) -> None:
    """Raise ValueError if there is no such scale."""
    if scale not in ("linear", "symlog"):
        raise ValueError(f"scale must be 'linear' or 'symlog', not {scale!r}")


def unit_of(unit: str, normalize: str | None) -> str:
    """Return what the unit is called once it is divided."""
    return unit + _PER[normalize]


def sizes(history: History, layer: str, normalize: str | None) -> Array:
    """Return what a layer's bits are divided by.

    Parameters
    ----------
    history : History
    layer : str
    normalize : str or None

    Returns
    -------
    ndarray of float64, shape (steps,)
        Inputs times outputs, outputs, or 1; NaN where a record does not have them.
    """
    size = np.ones(len(history))
    if normalize is not None:
        size = size * history.values(layer, "n_out")
    if normalize == "edges":
        size = size * history.values(layer, "n_in")
    return size


def threshold(values: Array) -> float:
    """Return below which magnitude a symlog scale is linear.

    Parameters
    ----------
    values : ndarray of float64
        What is drawn.

    Returns
    -------
    float
        The power of ten below the least magnitude, no less than a ten thousandth of the greatest.
    """
    sizes = np.abs(values[np.isfinite(values) & (values != 0.0)])
    if not len(sizes):
        return 1.0
    return float(10.0 ** np.floor(np.log10(max(sizes.min(), 1e-4 * sizes.max()))))


def symlog(values: Array) -> dict[str, float]:
    """Return the options of a symlog scale on which these values can be told apart."""
    return {"linthresh": threshold(values), "linscale": 0.5}
