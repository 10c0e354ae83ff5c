"""Quantities of layers against their depth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..files import require
from ..results import row_of
from ..training import History, as_history
from .names import shown_name, shown_names
from .roles import LAYERS, OTHER, Role, roles
from .scales import check_normalize, check_scale, enough_ticks, set_symlog, sizes, unit_of
from .style import (
    ERRORS,
    INK,
    QUIET,
    Look,
    keep_legend,
    looks,
    make_axes,
    say_unknown,
    symbols,
    tidy,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["layers"]

Array = NDArray[np.float64]

#: What is drawn if nothing is chosen: the first of these that is known.
_FIRST = ("ei_parts", "ei", "sensitivity")

#: Lines of several quantities; a role's colour and mark are the same for all of them.
_LINES: tuple[Any, ...] = ("-", (0, (5, 1.6)), (0, (1.6, 1.2)), (0, (6, 1.6, 1.6, 1.6)))


def layers(
    source: Any,
    ax: Axes | None = None,
    *,
    quantities: str | Sequence[str] | None = None,
    role: Role | None = None,
    normalize: str | None = None,
    scale: str = "linear",
) -> Axes:
    """Draw quantities of the layers against their depth, a line a role.

    Parameters
    ----------
    source : Decomposition, Tracker, History, or path of a tracked run
        Of several moments the last is drawn.
    ax : Axes, optional
        Where to draw; a new figure's if left out.
    quantities : str or sequence of str, optional
        At most four of one unit, such as ``"phi"`` or ``["sensitivity", "ei_parts"]``; of several
        the line tells which. If left out: ``ei_parts``, or else ``ei``, or else ``sensitivity``.
    role : callable, optional
        From a layer's name to its role. If left out, a role is the part of the name that repeats
        over blocks: ``attn.c_attn`` of ``h.0.attn.c_attn``. Layers whose names do not repeat are
        marks without a line; if none repeats, one line joins all.
    normalize : {None, "edges", "outputs"}
        Divide the bits by inputs times outputs of the layer, or by its outputs.
    scale : {"linear", "symlog"}
        Of the axis upwards.

    Returns
    -------
    Axes
        Bars with a mark are two standard errors to either side. A bar without a mark reaches from
        one rigorous bound to the other, where no more is known; no line leads through it. Where
        nothing is known of a layer its place says so.

    Raises
    ------
    ImportError
        If matplotlib is missing.
    ValueError
        If a quantity was not measured, or quantities have several units.
    """
    run = as_history(source)[-1:]
    check_normalize(normalize)
    check_scale(scale)
    chosen = _chosen(run, quantities)
    unit = _unit(chosen, normalize)
    parts = roles(run.layers, role, symbols())
    named = list(dict.fromkeys(parts))
    if OTHER in named:  # what is left comes last
        named = [name for name in named if name != OTHER] + [OTHER]
    look = dict(zip(named, looks(len(named)), strict=True))
    ax = make_axes(ax, (7.2, 4.2))
    drawn, keys, known = [], {}, np.zeros(len(parts), bool)
    for quantity, line in zip(chosen, _LINES, strict=False):
        values, errors, bounds = _numbers(run, quantity, normalize)
        drawn += [values - errors, values + errors, *bounds[np.isnan(values)].T]
        keys[quantity] = (line, bool(np.isfinite(values).any()))
        known |= np.isfinite(values) | np.isfinite(bounds).all(axis=1)
        for name in named:
            some = np.array([part == name for part in parts])
            own = (
                look[name] if len(chosen) == 1 else Look(look[name].color, look[name].marker, line)
            )
            joined = name != OTHER or len(named) == 1
            _draw(ax, 1 + np.flatnonzero(some), values[some], errors[some], bounds[some],
                  own, joined, "-" if len(chosen) == 1 else line)  # fmt: skip
    if scale == "symlog":
        set_symlog(ax, np.concatenate(drawn))
    if min(np.nanmin(d) for d in drawn if np.isfinite(d).any()) < 0.0:
        ax.axhline(0.0, color=INK, lw=0.8, zorder=1)
    if scale == "symlog":
        enough_ticks(ax)
    for place in 1 + np.flatnonzero(~known):
        say_unknown(ax, float(place))
    _dress(ax, run.layers, row_of(chosen[0]).symbol if len(chosen) == 1 else "", unit)
    _legends(ax, look, keys)
    return ax


def _chosen(run: History, quantities: str | Sequence[str] | None) -> list[str]:
    """Return the quantities to draw."""
    known = run.quantities
    if quantities is None:
        chosen = [q for q in (*_FIRST, *known) if q in known][:1]
        if not chosen:
            raise ValueError("nothing was measured of these layers")
        return chosen
    chosen = [quantities] if isinstance(quantities, str) else list(quantities)
    if not 0 < len(chosen) <= len(_LINES):
        raise ValueError(f"layers draws one to {len(_LINES)} quantities, not {len(chosen)}")
    for quantity in chosen:
        if quantity not in known:
            raise ValueError(
                f"{quantity!r} was not measured; there are {', '.join(known) or 'none'}"
            )
    return chosen


def _unit(chosen: Sequence[str], normalize: str | None) -> str:
    units = {row_of(quantity).unit for quantity in chosen}
    if len(units) > 1:
        raise ValueError(f"{', '.join(chosen)} have several units: draw them on axes of their own")
    (unit,) = units
    if normalize is not None and unit != "bits":
        raise ValueError(f"{chosen[0]} is a share: it cannot be divided by {normalize}")
    return unit_of(unit, normalize)


def _numbers(run: History, quantity: str, normalize: str | None) -> tuple[Array, Array, Array]:
    """Return values (NaN if not known), half bars (0 if there is none) and bounds, a layer each."""
    names = run.layers
    size = np.array([sizes(run, name, normalize)[0] for name in names])
    values = np.array([run.values(name, quantity)[0] for name in names]) / size
    errors = np.array([run.errors(name, quantity)[0] for name in names]) * ERRORS / size
    bounds = np.array([run.bounds(name, quantity)[0] for name in names]) / size[:, None]
    return values, np.nan_to_num(errors), bounds


def _draw(
    ax: Axes,
    places: NDArray[np.int64],
    values: Array,
    errors: Array,
    bounds: Array,
    look: Look,
    joined: bool,
    bar: Any,
) -> None:
    """Draw a role: a line that stops where a number is not known, its errors, and bounds."""
    ax.plot(places, values, marker=look.marker, ls=look.line if joined else "none", lw=1.4, ms=6,
            color=look.color, mec="white", mew=0.7, zorder=3)  # fmt: skip
    bars = (errors > 0.0) & np.isfinite(values)
    if bars.any():
        ax.errorbar(places[bars], values[bars], errors[bars], fmt="none", ecolor=look.color,
                    elinewidth=1.2, capsize=2.0, zorder=2.5)  # fmt: skip
    between = np.isnan(values) & np.isfinite(bounds).all(axis=1)
    if between.any():
        middle, half = bounds[between].mean(axis=1), np.ptp(bounds[between], axis=1) / 2.0
        whiskers = ax.errorbar(
            places[between], middle, half, fmt="none", ecolor=look.color, elinewidth=3.0,
            capsize=4.0, alpha=0.5, zorder=2,
        )  # fmt: skip
        whiskers[2][0].set_linestyle(bar)


def _dress(ax: Axes, names: Sequence[str], symbol: str, unit: str) -> None:
    label = " ".join(part for part in (symbol, f"({unit})" if unit else "") if part)
    ax.set_ylabel(label if symbol else unit or "share")
    ax.grid(axis="y", color=QUIET, lw=0.5)
    ax.set_axisbelow(True)
    ax.tick_params(labelsize=8.5)
    ax.set_xlim(0.5, len(names) + 0.5)
    if len(names) <= 12:
        names = shown_names(names)
        ax.set_xticks(range(1, len(names) + 1), names)
        if sum(map(len, names)) > 60 or max(map(len, names)) * len(names) > 80:
            ax.tick_params(axis="x", labelrotation=35)
            for text in ax.get_xticklabels():
                text.set(ha="right", rotation_mode="anchor")
    else:
        ticker = require("matplotlib.ticker", "plot")
        ax.xaxis.set_major_locator(ticker.MaxNLocator(9, integer=True, prune=None))
        ax.set_xlabel("position of the layer")
    tidy(ax)


def _legends(ax: Axes, look: dict[str, Look], keys: dict[str, tuple[Any, bool]]) -> None:
    """Draw what colours and marks mean, and lines where several quantities are drawn."""
    style: dict[str, Any] = {"frameon": False, "fontsize": 8.5, "handlelength": 3.2}
    many = len(keys) > 1
    key = None
    if list(look) != [LAYERS]:
        handles = [
            ax.plot([], [], color=x.color, marker=x.marker, ms=6, mec="white", mew=0.7, lw=1.4,
                    ls="none" if many or name == OTHER else x.line, label=shown_name(name))[0]
            for name, x in look.items()
        ]  # fmt: skip
        key = ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1.0), **style)
    if many:
        if key is not None:
            keep_legend(ax, key)
        lines = []
        for quantity, (line, known) in keys.items():
            symbol = row_of(quantity).symbol
            how: dict[str, Any] = {"lw": 1.4, "label": symbol}
            if not known:
                how = {"lw": 3.0, "alpha": 0.5, "label": f"{symbol}, bounds"}
            lines += ax.plot([], [], color=INK, ls=line, **how)
        ax.legend(handles=lines, loc="lower left", bbox_to_anchor=(1.01, 0.0), **style)
