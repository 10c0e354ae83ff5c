"""Figures that several experiments share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..files import require
from ..plot import trajectory
from ..plot.style import QUIET, Look, looks, tidy
from ..results import row_of
from ..training import History

__all__ = ["band", "means", "runs_side_by_side", "sheet"]


def sheet(rows: int, columns: int, size: tuple[float, float], **options: Any) -> Any:
    """Return the axes of a new figure, shape (rows, columns), each of that many inches."""
    pyplot = require("matplotlib.pyplot", "plot")
    return pyplot.subplots(
        rows, columns, figsize=(size[0] * columns, size[1] * rows), squeeze=False,
        layout="constrained", **options,
    )[1]  # fmt: skip


def runs_side_by_side(histories: Sequence[History], title: str) -> Any:
    """Draw the causal planes of runs of one network."""
    axes = sheet(1, len(histories), (4.6, 4.6))[0]
    for history, ax in zip(histories, axes, strict=True):
        trajectory(history, ax)
        ax.set_title(history.name or "", fontsize=10, pad=8)
    axes[0].figure.suptitle(title, fontsize=12)
    return axes


def means(
    groups: Mapping[str, Sequence[History]], quantities: Sequence[str], unit: str = "epoch"
) -> Any:
    """Draw means over runs, and the range from the least to the greatest, of every layer.

    Parameters
    ----------
    groups : mapping of name to runs
        A row of panels each, of runs with the same steps.
    quantities : sequence of str
        A column each; a metric's name too.
    unit : str
        What a step is.

    Returns
    -------
    ndarray of Axes, shape (groups, quantities)
    """
    axes = sheet(len(groups), len(quantities), (3.9, 2.9))
    for (title, runs), row in zip(groups.items(), axes, strict=True):
        layers = runs[0].layers
        for quantity, ax in zip(quantities, row, strict=True):
            if quantity in runs[0].metrics:
                values = np.array([run.metric(quantity) for run in runs])
                band(ax, runs[0].steps, values, Look("#222222", "", "-"), None)
                ax.set_ylabel(quantity.replace("_", " "))
            else:
                for name, look in zip(layers, looks(len(layers)), strict=True):
                    values = np.array([run.values(name, quantity) for run in runs])
                    band(ax, runs[0].steps, values, replace(look, marker=""), name)
                ax.set_ylabel(row_of(quantity).label)
            if quantity == "phi":
                ax.axhline(0.0, color="#555555", lw=0.8, zorder=1)
            ax.grid(axis="y", color=QUIET, lw=0.5)
            ax.tick_params(labelsize=8.5)
            ax.set_xlabel(unit)
            tidy(ax)
        row[0].set_title(title, fontsize=10, loc="left")
    named = [ax.get_legend_handles_labels() for ax in axes.flat]
    handles, labels = max(named, key=lambda pair: len(pair[1]))
    if labels:
        axes[0, 0].figure.legend(handles, labels, loc="outside upper center", ncols=len(labels),
                                 frameon=False, fontsize=9, handlelength=3.4)  # fmt: skip
    return axes


def band(ax: Any, x: Any, values: Any, look: Look, label: str | None) -> None:
    """Draw the mean over runs, shape (runs, x), and the range from the least to the greatest."""
    ax.plot(x, values.mean(axis=0), color=look.color, ls=look.line, marker=look.marker, lw=1.6,
            mec="white", label=label)  # fmt: skip
    ax.fill_between(x, values.min(axis=0), values.max(axis=0), color=look.color, alpha=0.15, lw=0)
