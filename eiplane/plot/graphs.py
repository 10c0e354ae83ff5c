"""Edges as heat maps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..files import require
from ..results import TABLE, Decomposition, LayerResult, row_of
from .names import shown_name, shown_names
from .scales import color_limits
from .style import given_axes, make_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["LABELS", "edges", "layers_of", "matrices", "values_of"]

Array = NDArray[np.float64]

#: What edges can be drawn by, and how that is called; the default first.
LABELS = {row_of("ei_edges").name: row_of("ei_edges").label} | {
    row.name: row.label for row in TABLE if row.per == "edge" and row.tracked
}


#: Points that a number in a square takes, and one beside the axes.
_NUMBER, _TICK = 18.0, 14.0

#: Heat maps in a row.
_ROW = 6


def edges(
    layer: LayerResult,
    ax: Axes | None = None,
    *,
    quantity: str = "ei_edges",
    limits: tuple[float, float] | None = None,
    colorbar: bool = True,
) -> Axes:
    """Draw a measure of every edge of a layer as a heat map.

    Parameters
    ----------
    layer : LayerResult
    ax : Axes, optional
    quantity : str
        ``"ei_edges"``, ``"sensitivity_edges"`` or ``"degeneracy_edges"``.
    limits : tuple of float, optional
        The values of the scale's ends: 0 and the greatest one if left out; round 0 where values are
        negative.
    colorbar : bool

    Returns
    -------
    Axes
        A row an output, a column an input; a convolution's kernels are laid out flat.

    Raises
    ------
    ValueError
        If the measure was not made.
    """
    if not isinstance(layer, LayerResult):
        raise TypeError(
            f"edges draws one layer of a result, such as d[0], not {type(layer).__name__}; "
            "matrices draws all"
        )
    values = values_of(layer, quantity)
    n_out, n_in = values.shape
    ax = make_axes(ax, (min(1.6 + 0.42 * max(n_in, 4), 9.0), min(1.4 + 0.42 * max(n_out, 4), 7.0)))
    low, high = color_limits([values]) if limits is None else limits
    image = ax.imshow(
        values, cmap="viridis" if low >= 0 else "PuOr", vmin=low, vmax=high, aspect="equal",
        interpolation="nearest",
    )  # fmt: skip
    # How much room there is for a square, as far as the layout knows it already.
    wide, tall = (float(side) / ax.figure.dpi * 72.0 for side in ax.get_window_extent().size)
    room = min(wide / n_in, tall / n_out)
    if n_in <= 12 and n_out <= 12 and room >= _NUMBER:
        for (row, column), value in np.ndenumerate(values):
            share = (value - low) / max(high - low, 1e-300)
            light = share > 0.6 if low >= 0 else 0.2 < share < 0.8
            ax.text(column, row, f"{round(value, 2) + 0.0:.2f}", ha="center", va="center",
                    fontsize=7.5, color="black" if light else "white")  # fmt: skip
    ax.set_xlabel("input")
    ax.set_ylabel("output")
    ax.set_title(shown_name(layer.name, max(12, int(wide / 7.0))), fontsize=10)
    whole = require("matplotlib.ticker", "plot").MaxNLocator
    for axis, count in ((ax.xaxis, n_in), (ax.yaxis, n_out)):
        most = int(np.clip(room * count / _TICK, 1, 8))
        axis.set_major_locator(whole(most, integer=True, min_n_ticks=1))
    ax.tick_params(labelsize=8.5)
    if colorbar:
        bar = ax.figure.colorbar(image, ax=ax, shrink=0.9)
        bar.set_label(LABELS[quantity], fontsize=9)
        bar.ax.tick_params(labelsize=8.5)
        bar.outline.set_visible(False)
    return ax


def matrices(
    decomposition: Decomposition | Sequence[LayerResult],
    ax: Sequence[Axes] | None = None,
    *,
    quantity: str = "ei_edges",
) -> Any:
    """Draw the heat maps of all layers on one scale, side by side or, of many, in rows.

    Parameters
    ----------
    decomposition : Decomposition, or layers of one
    ax : sequence of Axes, optional
        One a layer, of one figure; a new figure's if left out.
    quantity : str
        As of :func:`edges`.

    Returns
    -------
    ndarray of Axes, shape (layers,)

    Raises
    ------
    ValueError
        If the measure was not made, or there are fewer axes than layers.
    """
    chosen = layers_of(decomposition, "matrices")
    all_values = [values_of(layer, quantity) for layer in chosen]
    limits = color_limits(all_values)
    axes = _panels(all_values) if ax is None else given_axes(ax, len(all_values), "matrices")
    for layer, one in zip(chosen, axes, strict=True):
        edges(layer, one, quantity=quantity, limits=limits, colorbar=False)
    room = min(one.get_window_extent().width * 72.0 / one.figure.dpi for one in axes)
    names = shown_names([layer.name for layer in chosen], max(12, int(room / 5.0)))
    for name, one in zip(names, axes, strict=True):  # told apart, however alike they begin or end
        one.set_title(name, fontsize=10)
    figure = axes[-1].get_figure(root=True)
    short = min(0.9, 4.0 / figure.get_figheight())  # of many rows it would be as broad as they are
    bar = figure.colorbar(axes[-1].images[0], ax=list(axes), shrink=short, pad=0.015)
    bar.set_label(LABELS[quantity], fontsize=9)
    bar.outline.set_visible(False)
    return axes


def _panels(all_values: Sequence[Array]) -> Any:
    """Return axes of a new figure: in a row, as wide as the layers are, or in rows of six."""
    pyplot = require("matplotlib.pyplot", "plot")
    count = len(all_values)
    widths = [max(v.shape[1], 3) for v in all_values]
    height = max(max(v.shape[0], 3) for v in all_values)
    scale = min(0.5, 12.0 / (sum(widths) + 3 * count))
    if count <= _ROW and scale * min(widths) >= 0.5:
        _, grid = pyplot.subplots(
            1, count, squeeze=False, layout="constrained", width_ratios=widths,
            figsize=(1.4 + scale * (sum(widths) + 2.2 * count), 1.7 + scale * height),
        )  # fmt: skip
        return grid[0]
    columns = min(count, _ROW)
    rows = math.ceil(count / columns)
    _, grid = pyplot.subplots(
        rows, columns, squeeze=False, layout="constrained",
        figsize=(1.0 + 2.4 * columns, 0.4 + 2.3 * rows),
    )  # fmt: skip
    for unused in grid.flat[count:]:
        unused.axis("off")  # taken away it would leave its row without room
    return grid.ravel()[:count]


def layers_of(source: Any, what: str) -> Sequence[LayerResult]:
    """Return the layers of a result, or of a part of it."""
    layers = [source] if isinstance(source, LayerResult) else source
    good = isinstance(layers, Decomposition | list | tuple) and len(layers) > 0
    if not good or not all(isinstance(layer, LayerResult) for layer in layers):
        raise TypeError(f"{what} draws a Decomposition, or layers of one, not {source!r:.200}")
    return layers


def values_of(layer: LayerResult, quantity: str) -> Array:
    """Return a measure of edges as a matrix, a row an output; ValueError where it was not made."""
    if quantity not in LABELS:
        raise ValueError(f"quantity must be one of {', '.join(LABELS)}, not {quantity!r}")
    values = getattr(layer, quantity)
    if values is None:
        total = {"ei_edges": "ei_parts", "sensitivity_edges": "sensitivity"}
        kept = getattr(layer, total.get(quantity, "degeneracy")) is not None
        why = "was not kept (edges=False)" if kept else "was not measured"
        raise ValueError(f"layer {layer.name!r}: {quantity} {why}")
    return np.asarray(values).reshape(values.shape[0], -1)
