"""Quantities over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..files import require
from ..results import row_of
from ..training import History, as_history
from .names import shown_names
from .style import ERRORS, INK, QUIET, given_axes, looks, make_axes, mark_ends, say_unknown, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["curve", "history", "phi"]

Array = NDArray[np.float64]


def curve(
    source: Any,
    quantity: str,
    ax: Axes | None = None,
    *,
    log: bool = False,
    legend: bool = True,
    bounds: bool = False,
) -> Axes:
    """Draw one quantity of every layer over the steps.

    Parameters
    ----------
    source : Tracker, History, path of a tracked run, or sequence of Decomposition
    quantity : str
        One of those that a history follows, such as ``"ei_parts"``.
    ax : Axes, optional
    log : bool
        Whether the steps are on a logarithmic scale (linear below the second one).
    legend : bool
    bounds : bool
        Whether to shade between the rigorous bounds, of ``"ei"`` and ``"phi"``.

    Returns
    -------
    Axes
        Two standard errors to either side are shaded. Where a number is only known to lie between
        bounds no line is drawn, but a bar from one to the other. Layers of which nothing is known
        at any step are named.

    Raises
    ------
    ValueError
        If the quantity was not measured; it names those that were.
    """
    run = as_history(source)
    if quantity not in run.quantities:
        raise ValueError(
            f"{quantity!r} was not measured; there are {', '.join(run.quantities) or 'none'}"
        )
    ax = make_axes(ax, (6.4, 4.0))
    unknown = []
    texts = shown_names(run.layers)
    for name, text, look in zip(run.layers, texts, looks(len(run.layers)), strict=True):
        values = run.values(name, quantity)
        _line(ax, run.steps, values, text, color=look.color, ls=look.line, marker=look.marker)
        known = run.bounds(name, quantity)
        if not (np.isfinite(values).any() or np.isfinite(known).all(axis=1).any()):
            unknown.append(name)
        if bounds:
            _band(ax, run.steps, known, look.color, 0.12)
        half = ERRORS * run.errors(name, quantity)
        half[half == 0.0] = np.nan  # exact
        _band(ax, run.steps, np.stack([values - half, values + half], axis=1), look.color, 0.25)
        _bars(ax, run.steps[np.isnan(values)], known[np.isnan(values)], look.color)
    if quantity == "phi":
        ax.axhline(0.0, color=INK, lw=0.8, zorder=1)
    if unknown:
        say_unknown(ax, names=unknown)
    _dress(ax, run, row_of(quantity).label, log)
    if legend:
        _key(ax, len(run.layers))
    return ax


def phi(source: Any, ax: Axes | None = None, *, log: bool = False, bounds: bool = True) -> Axes:
    """Draw the integrated information of every layer over the steps.

    Parameters
    ----------
    source : Tracker, History, path of a tracked run, or sequence of Decomposition
    ax : Axes, optional
    log : bool
        Whether the steps are on a logarithmic scale.
    bounds : bool
        Whether to shade between the rigorous bounds, which can be far apart.

    Returns
    -------
    Axes
        Above zero the layer is synergistic, below redundant.
    """
    ax = curve(source, "phi", ax, log=log, bounds=bounds)
    for text, y, va in (("synergy", 1, "top"), ("redundancy", 0, "bottom")):
        if (ax.get_ylim()[1] > 0) if y else (ax.get_ylim()[0] < 0):
            ax.annotate(text, (1, y), (-2, -2 if y else 2), xycoords="axes fraction", va=va,
                        textcoords="offset points", ha="right", fontsize=8.5, color=INK,
                        style="italic")  # fmt: skip
    return ax


def history(
    source: Any,
    ax: Sequence[Axes] | None = None,
    *,
    quantities: Sequence[str] | None = None,
    log: bool = False,
) -> Any:
    """Draw every measured quantity, and the metrics, over the steps.

    Parameters
    ----------
    source : Tracker, History, path of a tracked run, or sequence of Decomposition
    ax : sequence of Axes, optional
        One a panel; a new figure's if left out.
    quantities : sequence of str, optional
        Which to draw: everything that was measured.
    log : bool
        Whether the steps are on a logarithmic scale.

    Returns
    -------
    ndarray of Axes, shape (panels,)
        The metrics first (losses, then shares such as accuracies), then the quantities.

    Raises
    ------
    ValueError
        If there are fewer axes than panels.
    """
    run = as_history(source)
    chosen = run.shown if quantities is None else list(quantities)
    groups = _metric_groups(run)
    count = len(groups) + len(chosen)
    if ax is None:
        pyplot = require("matplotlib.pyplot", "plot")
        columns = min(3 if count <= 9 else 4, count)
        rows = -(-count // columns)
        figure, grid = pyplot.subplots(
            rows, columns, figsize=(3.9 * columns, 2.7 * rows + 0.3), sharex=True, squeeze=False,
            layout="constrained",
        )  # fmt: skip
        axes = list(grid.flat)
        for spare in axes[count:]:
            spare.remove()
        for above in axes[count - columns : len(axes) - columns]:  # nothing below: show the steps
            above.xaxis.set_tick_params(labelbottom=True)
        axes = axes[:count]
    else:
        figure = None
        axes = list(given_axes(ax, count, "history"))
    for names, panel in zip(groups, axes, strict=False):
        _metrics(panel, run, names, log)
    for quantity, panel in zip(chosen, axes[len(groups) :], strict=False):
        curve(run, quantity, panel, log=log, legend=figure is None)
    if figure is not None:
        for panel in axes[:-columns]:
            panel.set_xlabel("")
        if chosen:
            handles, names = axes[len(groups)].get_legend_handles_labels()
            figure.legend(handles, names, loc="outside upper center", ncols=_beside(names, figure),
                          frameon=False, fontsize=9, handlelength=3.4)  # fmt: skip
    return np.array(axes, dtype=object)


def _metric_groups(run: History) -> list[list[str]]:
    """Return the metrics that share a panel: shares (of 0 to 1, not losses), and the others."""
    shares: list[str] = []
    others: list[str] = []
    for name in run.metrics:
        values = run.metric(name)
        known = values[np.isfinite(values)]
        share = "loss" not in name and len(known) > 0 and 0 <= known.min() <= known.max() <= 1
        (shares if share else others).append(name)
    return [group for group in (others, shares) if group]


def _metrics(ax: Axes, run: History, names: Sequence[str], log: bool) -> None:
    greys = ["#222222", "#7A7A7A", "#B03A2E", "#4D4D4D"]
    for i, name in enumerate(names):
        style = ["-", (0, (4, 1.5)), (0, (1.5, 1.2)), (0, (5, 1.5, 1.5, 1.5))][i % 4]
        label = name.replace("_", " ")
        _line(ax, run.steps, run.metric(name), label, color=greys[i % 4], ls=style, marker="")
    words = {w for name in names for w in name.split("_")}
    kind = next((w for w in ("loss", "accuracy") if w in words), "metric")
    _dress(ax, run, kind, log)
    if kind == "accuracy":
        ax.set_ylim(top=1.02)
    ax.legend(frameon=False, fontsize=8, handlelength=2.8)


def _beside(names: Sequence[str], figure: Any) -> int:
    """Return how many entries of a legend have room beside each other, eight at most."""
    room = 72.0 * figure.get_size_inches()[0] / 5.0  # letters of its size
    return int(np.clip(room // (max(map(len, names)) + 10), 1, min(8, len(names))))


def _line(
    ax: Axes, steps: NDArray[np.int64], values: Array, label: str, *, marker: str, **style: Any
) -> None:
    every = max(1, len(steps) // 8)
    ax.plot(steps, values, lw=1.6, label=label, marker=marker, markevery=every, ms=4.5,
            mec="white", mew=0.6, **style)  # fmt: skip


def _band(ax: Axes, steps: NDArray[np.int64], ends: Array, color: str, alpha: float) -> None:
    """Shade between two ends, upright lines for steps that stand alone."""
    known: NDArray[np.bool_] = np.asarray(np.isfinite(ends).all(axis=1))
    beside = np.zeros_like(known)
    beside[1:] |= known[:-1]
    beside[:-1] |= known[1:]
    if (known & beside).any():
        ax.fill_between(steps, ends[:, 0], ends[:, 1], where=known.tolist(), color=color,
                        alpha=alpha, lw=0)  # fmt: skip
    alone = known & ~beside
    if alone.any():
        ax.vlines(steps[alone], *ends[alone].T, color=color, lw=3.0, alpha=alpha)


def _bars(ax: Axes, steps: NDArray[np.int64], bounds: Array, color: str) -> None:
    """Draw bounds upright, where nothing else is known."""
    known = np.isfinite(bounds).all(axis=1)
    if known.any():
        ax.vlines(steps[known], *bounds[known].T, color=color, lw=1.6, alpha=0.6)
        mark_ends(ax, np.repeat(steps[known], 2), bounds[known].ravel(), color, 2.0, 0.6)


def _dress(ax: Axes, run: History, name: str, log: bool) -> None:
    ax.set_xlabel("step")
    ax.set_ylabel(name)
    ax.grid(axis="y", color=QUIET, lw=0.5)
    ax.set_axisbelow(True)
    ax.tick_params(labelsize=8.5)
    if log:
        positive = run.steps[run.steps > 0]
        ax.set_xscale("symlog", linthresh=float(positive.min()) if len(positive) else 1.0)
        ax.set_xlim(run.steps[0], run.steps[-1])
    tidy(ax)


def _key(ax: Axes, count: int) -> None:
    if count <= 5:
        ax.legend(frameon=False, fontsize=8.5, handlelength=3.4)
    else:  # more would lie on the lines
        size = 8.5 if count <= 12 else 7.5
        ax.legend(frameon=False, fontsize=size, loc="center left", bbox_to_anchor=(1.01, 0.5))
