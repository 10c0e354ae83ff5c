"""Quantities of a recurrent network against the lag."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..files import require
from ..recurrence import ThroughTime
from ..results import error_of, row_of
from .style import INK, looks, make_axes, tidy

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
        A line a quantity, with one standard error. What is saturated has a hollow mark.

    Raises
    ------
    ValueError
        If a quantity was not measured, or they have different units.
    """
    wanted = _DRAWN if quantities is None else tuple(quantities)
    known = [q for q in wanted if any(getattr(x, q, None) is not None for x in result)]
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
            result.lags, values, np.nan_to_num(errors), color=look.color, ls=look.line,
            marker=look.marker, ms=5, capsize=2, label=label,
        )  # fmt: skip
        if row.name in ("ei", "phi"):
            hollow = np.array([bool(x.saturated) for x in result])
            ax.plot(np.array(result.lags)[hollow], values[hollow], look.marker, ms=5,
                    mfc="white", mec=look.color, ls="none", zorder=5)  # fmt: skip
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


def _numbers(result: ThroughTime, name: str) -> Any:
    values = [getattr(layer, name) for layer in result]
    return np.array([np.nan if v is None else v for v in values], dtype=np.float64)
