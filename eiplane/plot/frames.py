"""The axes of the causal plane, and its lines of equal EI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..files import require
from .planes import ROOT2, Plane
from .scales import enough_ticks, levels, set_symlog
from .style import INK, QUIET

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["frame"]

Array = NDArray[np.float64]


def frame(ax: Axes, plane: Plane, points: Array, contours: bool = True) -> None:
    """Set scales, limits, names and the lines of equal EI.

    Parameters
    ----------
    ax : Axes
    plane : Plane
    points : ndarray of float64, shape (n, 2)
        All that has to be seen.
    contours : bool
    """
    if plane.scale == "symlog":
        set_symlog(ax, points, "xy")
    # On a scale that is not linear room is made as it is seen.
    seen = [ax.xaxis.get_transform(), ax.yaxis.get_transform()]
    points = np.stack([seen[i].transform(points[:, i]) for i in range(2)], axis=1)
    low, high = points.min(axis=0), points.max(axis=0)
    span = np.maximum(high - low, 0.06 * np.maximum(np.abs(high), np.abs(low)) + 1e-9)
    middle = (low + high) / 2.0
    low, high = middle - 0.62 * span, middle + 0.62 * span
    # Zero is worth showing where it is near, and nothing but rounding lies beyond it.
    for i in range(2):
        if points[:, i].min() >= 0 and low[i] < 0.12 * high[i]:
            low[i] = -0.02 * high[i]  # room for half a mark
    ax.set_xlim(*seen[0].inverted().transform(np.array([low[0], high[0]])))
    ax.set_ylim(*seen[1].inverted().transform(np.array([low[1], high[1]])))
    if plane.scale == "symlog":
        enough_ticks(ax, "xy")
    name, across, up = plane.names
    ax.set_xlabel(across)
    ax.set_ylabel(up)
    ax.tick_params(labelsize=9)
    ax.spines["right"].set_visible(False)
    if not contours:
        ax.spines["top"].set_visible(False)
    elif plane.rotated and plane.scale == "linear":
        _upright_contours(ax, name, plane.unit)
    elif plane.rotated:
        _upright_levels(ax, name, plane.unit)
    else:
        _slanted_contours(ax, name, plane.unit)


def _levels(low: float, high: float) -> Array:
    ticker = require("matplotlib.ticker", "plot")
    found = np.asarray(ticker.MaxNLocator(7, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high))
    return found[(found >= low - 1e-12) & (found <= high + 1e-12)]


def _line(level: float) -> dict[str, Any]:
    zero = abs(level) < 1e-12
    return {"color": INK if zero else QUIET, "lw": 1.0 if zero else 0.8, "zorder": 0}


def _upright_contours(ax: Axes, name: str, unit: str) -> None:
    low, high = ax.get_xlim()
    shown = _levels(low * ROOT2, high * ROOT2)
    for level in shown:
        ax.axvline(level / ROOT2, **_line(level))
    top = ax.secondary_xaxis("top", functions=(_to_ei, _from_ei))
    top.set_xticks(shown)
    top.set_xlabel(f"{name} ({unit}): lines of equal {name}", color=INK, fontsize=9)
    top.tick_params(labelsize=8.5, colors=INK, length=0)
    top.spines["top"].set_visible(False)
    ax.spines["top"].set_visible(False)


def _to_ei(x: Any) -> Any:
    return np.asarray(x) * ROOT2


def _from_ei(x: Any) -> Any:
    return np.asarray(x) / ROOT2


def _upright_levels(ax: Axes, name: str, unit: str) -> None:
    """Draw the same where the scale is not linear, as a secondary axis would be."""
    low, high = ax.get_xlim()
    least = ax.xaxis.get_transform().linthresh  # type: ignore[attr-defined]
    shown = levels(low * ROOT2, high * ROOT2, least)
    if len(shown) < 3:
        shown = _levels(low * ROOT2, high * ROOT2)
    for level in shown:
        ax.axvline(level / ROOT2, **_line(level))
        ax.annotate(
            f"{level:g}", (level / ROOT2, 1.0), (0, 3), xycoords=ax.get_xaxis_transform(),
            textcoords="offset points", fontsize=8.5, color=INK, ha="center", va="bottom",
            annotation_clip=False,
        )  # fmt: skip
    ax.set_title(f"{name} ({unit}): lines of equal {name}", fontsize=9, color=INK, pad=18)
    ax.spines["top"].set_visible(False)


def _slanted_contours(ax: Axes, name: str, unit: str) -> None:
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    scale = ax.xaxis.get_transform()
    curved = ax.get_xscale() == "symlog"
    if curved:
        shown = levels(bottom - right, top - left, scale.linthresh)  # type: ignore[attr-defined]
        if len(shown) < 3:
            shown = _levels(bottom - right, top - left)
        shown = np.array(sorted(shown, key=lambda level: -abs(level) if level else -np.inf))
    else:
        shown = _levels(bottom - right, top - left)
        shown = shown[shown >= 0.0]  # no layer lies below the line of none
    breadth = float(np.ptp(scale.transform(np.array([left, right]))))
    labelled: list[Array] = []
    for level in shown:
        ends = np.array([max(left, bottom - level), min(right, top - level)])
        if ends[1] <= ends[0]:
            continue
        seen = scale.transform(ends)
        if seen[1] - seen[0] < 0.02 * breadth:
            continue
        way = scale.inverted().transform(np.linspace(seen[0], seen[1], 200)) if curved else ends
        ax.plot(way, way + level, scalex=False, scaley=False, **_line(level))
        end = ends[0] if curved else ends[1]  # curved lines run together above
        at = scale.transform(np.array([end, end + level])) / breadth
        if curved and any(np.abs(at - other).max() < 0.05 for other in labelled):
            continue  # side by side: 0 and the outer ones have their numbers
        labelled.append(at)
        at_top = end < right
        outside = (0, 2) if at_top else (3, 0)
        ax.annotate(
            f"{level:g}", (end, end + level), (3, 3) if curved else outside,
            textcoords="offset points", fontsize=8.5, color=INK, annotation_clip=False,
            ha="center" if at_top and not curved else "left",
            va="bottom" if at_top else "center",
        )  # fmt: skip
    ax.set_title(f"lines of equal {name} ({unit})", fontsize=9, color=INK, pad=16)
    ax.spines["top"].set_visible(False)
