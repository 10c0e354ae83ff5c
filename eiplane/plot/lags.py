"""Quantities of a recurrent network against the lag."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..files import require
from ..recurrence import ThroughTime
from ..results import LayerResult, bounds_of, error_of, row_of
from .style import ERRORS, INK, looks, make_axes, mark_ends, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["lags"]

#: What is drawn if nothing is said, as far as it was measured.
_DRAWN = ("sensitivity", "ei_parts", "ei", "phi")


def lags(
    result: ThroughTime,
    ax: Axes | None = None,
    *,
    quantities: Sequence[str] | None = None,
    log: bool = False,
) -> Axes:
    """Draw how much of a perturbation is left as time goes on.

    Parameters
    ----------
    result : ThroughTime
        Of :func:`eiplane.through_time`.
    ax : Axes, optional
    quantities : sequence of str, optional
        Of one unit; sensitivity, EI_parts, EI and phi if left out, as far as they were measured.
    log : bool
        Whether the lags are on a logarithmic scale (linear below 1).

    Returns
    -------
    Axes
        A line a quantity. Bars with a mark are two standard errors to either side; a broad bar
        without a mark reaches from one rigorous bound to the other, where no more is known, and no
        line leads through it.

    Raises
    ------
    ValueError
        If a quantity was not measured, or they have different units.
    """
    if not isinstance(result, ThroughTime):
        raise TypeError(
            f"lags draws what eiplane.through_time returns, not {type(result).__name__}"
        )
    wanted = _DRAWN if quantities is None else tuple(quantities)
    known = [q for q in wanted if any(_of(x, q) is not None or _bounds(x, q) for x in result)]
    if not known or (quantities is not None and len(known) < len(wanted)):
        missing = [q for q in wanted if q not in known]
        raise ValueError(f"not measured: {', '.join(missing)}")
    rows = [row_of(q) for q in known]
    if len({row.unit for row in rows}) > 1:
        raise ValueError(f"{', '.join(known)} do not have one unit; draw them by themselves")
    ax = make_axes(ax, (6.4, 4.0))
    for row, look in zip(rows, looks(len(rows)), strict=True):
        values = _numbers(result, row.name)
        error = error_of(row.name)
        errors = np.zeros(len(values)) if error is None else _numbers(result, error.name)
        label = row.label.removesuffix(f" ({row.unit})")
        ax.errorbar(
            result.lags, values, ERRORS * np.nan_to_num(errors), color=look.color, ls=look.line,
            marker=look.marker, ms=5, capsize=2, label=label,
        )  # fmt: skip
        for lag, layer, value in zip(result.lags, result, values, strict=True):
            bounds = _bounds(layer, row.name)
            if np.isnan(value) and bounds is not None:
                ax.vlines(lag, *bounds, color=look.color, lw=4.0, alpha=0.45)
                mark_ends(ax, (lag, lag), bounds, look.color, 4.0, 0.45)
    if log:
        ax.set_xscale("symlog", linthresh=1, base=2)
    else:
        ax.xaxis.set_major_locator(require("matplotlib.ticker", "plot").MaxNLocator(integer=True))
    ax.axhline(0.0, color=INK, lw=0.8, zorder=1)
    ax.set_xlabel("lag (steps)")
    ax.set_ylabel(rows[0].unit or "share")
    ax.legend(frameon=False, fontsize=9)
    tidy(ax)
    return ax


def _of(layer: LayerResult, name: str) -> Any:
    return getattr(layer, name, None)


def _bounds(layer: LayerResult, name: str) -> tuple[float, float] | None:
    row = bounds_of(name)
    bounds: tuple[float, float] | None = None if row is None else _of(layer, row.name)
    return bounds


def _numbers(result: ThroughTime, name: str) -> Any:
    values = [_of(layer, name) for layer in result]
    return np.array([np.nan if v is None else v for v in values], dtype=np.float64)
