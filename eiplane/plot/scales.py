"""What bits are divided by, and scales on which small and large layers can be seen together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..files import require
from ..training import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "check_normalize",
    "check_scale",
    "color_limits",
    "enough_ticks",
    "levels",
    "set_symlog",
    "sizes",
    "threshold",
    "unit_of",
]

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
        Inputs times outputs, outputs, or 1; NaN where a record does not have the layer.

    Raises
    ------
    ValueError
        If no record says how many there are.
    """
    size = np.ones(len(history))
    for name in {None: (), "edges": ("n_in", "n_out"), "outputs": ("n_out",)}[normalize]:
        found = history.values(layer, name)
        if np.isnan(found).all():
            raise ValueError(f"cannot be divided by {normalize}: {layer!r} has no {name}")
        size = size * found
    return size


def color_limits(matrices: Sequence[Array]) -> tuple[float, float]:
    """Return the ends of one scale of colours for matrices of bits.

    Parameters
    ----------
    matrices : sequence of ndarray of float64

    Returns
    -------
    low, high : float
        From 0 on; round 0 where values are negative by more than noise.
    """
    high = max(float(m.max()) for m in matrices)
    low = min(float(m.min()) for m in matrices)
    if low < -0.02 * max(high, 1e-3):
        extent = max(high, -low)
        return -extent, extent
    return 0.0, high or 1.0


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


def set_symlog(ax: Axes, values: Array, axes: str = "y") -> None:
    """Set a symlog scale on which these values can be told apart; call it before limits.

    Parameters
    ----------
    ax : Axes
    values : ndarray of float64
    axes : str
        ``"y"``, or ``"xy"``, which get one threshold: what is diagonal stays so.
    """
    ticker = require("matplotlib.ticker", "plot")
    least, most = threshold(values), np.nanmax(np.abs(values), initial=0.0)
    subs = (1.0, 2.0, 5.0) if most < 1e3 * least else (1.0,)
    for name in axes:
        getattr(ax, f"set_{name}scale")("symlog", linthresh=least, linscale=0.5)
        axis = getattr(ax, f"{name}axis")
        axis.set_major_locator(ticker.SymmetricalLogLocator(base=10, linthresh=least, subs=subs))
        axis.set_major_formatter(ticker.FuncFormatter(_plainly))


def enough_ticks(ax: Axes, axes: str = "y") -> None:
    """Set round ticks where a symlog scale has fewer than three to be seen.

    Call it when the limits are final.

    Parameters
    ----------
    ax : Axes
    axes : str
        As of :func:`set_symlog`.
    """
    ticker = require("matplotlib.ticker", "plot")
    for name in axes:
        axis = getattr(ax, f"{name}axis")
        low, high = sorted(axis.get_view_interval())
        places = np.asarray(axis.get_majorticklocs())
        for most in (5, 8, 12):
            if ((places >= low) & (places <= high)).sum() >= 3:
                break
            round_ones = ticker.MaxNLocator(most, steps=[1, 2, 2.5, 5, 10])
            axis.set_major_locator(round_ones)
            places = np.asarray(round_ones.tick_values(low, high))


def _plainly(value: float, _: Any) -> str:
    return f"{value:g}"


def levels(low: float, high: float, least: float) -> Array:
    """Return round numbers for a symlog scale: 0, and those evenly spaced by their size.

    Parameters
    ----------
    low, high : float
        Between which they lie.
    least : float
        The least magnitude.

    Returns
    -------
    ndarray of float64
        Ascending; about eight at most.
    """
    last = int(np.floor(np.log10(max(abs(low), abs(high), least))))
    first = round(np.log10(least))
    powers = 10.0 ** np.arange(last, first - 1, -1)
    stride = 1
    choices = [np.multiply.outer(powers, (5.0, 2.0, 1.0)).ravel()]
    while stride <= len(powers):
        choices.append(powers[::stride])
        stride += 1
    for some in choices:
        both = np.concatenate([-some, [0.0], some[::-1]])
        found = both[(both >= low) & (both <= high)]
        if len(found) <= 8:
            break
    return found
