"""Edges, drawn on the network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..files import require
from ..results import Decomposition, LayerResult
from .arcs import levels_of, word_of
from .diagram import Diagram, Signal, by_channel, diagram
from .graphs import LABELS, layers_of, values_of
from .names import shown_names
from .scales import color_limits
from .style import INK, QUIET, make_axes, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["network"]

Array = NDArray[np.float64]

#: What edges are drawn above, and what is drawn above them.
_UNDER, _EDGES, _NODES = 0.5, 1, 2


def network(
    decomposition: Decomposition | Sequence[LayerResult],
    ax: Axes | None = None,
    *,
    quantity: str = "ei_edges",
    max_nodes: int = 24,
    chain: bool | None = None,
) -> Axes:
    """Draw the network: nodes in columns, edges by their bits in width and colour.

    What feeds what is drawn as extraction saw it in a Module, a graph or a list of layers: layers
    beside each other, such as the projections of attention, stand at the same depth; grey links are
    what lies between layers (norms, poolings, sums), arcs skip layers, circles are where signals
    meet, and dotted arcs below lead back, as the state of a recurrent layer does. A file of weights
    does not tell what feeds what: its layers stand apart in their order, and the picture says so.

    Parameters
    ----------
    decomposition : Decomposition, or layers of one
        Of a convolution nodes are channels, and edges the sums over the kernel.
    ax : Axes, optional
    quantity : str
        As of :func:`edges`.
    max_nodes : int
        Of a wider layer only the nodes with the greatest sums are drawn, and how many are not is
        written below. Columns above each other share the number.
    chain : bool, optional
        True joins the layers in their order, whatever is known; the picture says so where it is
        not known to be right.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If the measure was not made, or layers that are to be a chain do not fit each other.
    """
    chosen = layers_of(decomposition, "network")
    if max_nodes < 1:
        raise ValueError(f"max_nodes must be at least 1, got {max_nodes}")
    for layer in chosen:
        values_of(layer, quantity)
    matrices = [by_channel(layer, getattr(layer, quantity)) for layer in chosen]
    made = diagram(chosen, matrices, max_nodes, chain)
    pace = float(np.clip(24.0 / made.width, 0.3, 1.9))  # inches between columns
    tall = 4.4 if made.straight else float(np.clip(2.0 + 0.2 * made.height, 4.4, 16.0))
    ax = make_axes(ax, (2.0 + pace * made.width, tall))
    low, high = color_limits([np.nan_to_num(m) for m in matrices])
    scale = _edges(ax, made, matrices, (low, high))
    size = float(np.clip(0.55 * (72.0 * tall / (made.height + 6.0)) ** 2, 8, 150))
    for signal in made.signals:
        _signal(ax, signal, (pace, size))
    reach = _links(ax, made)
    _names(ax, made, shown_names([x.name for x in chosen], 24), (pace, size))
    low_end = min(s.bottom for s in made.signals)
    ax.set_xlim(-0.35, made.width + 0.35)
    ax.set_ylim(min(low_end - 1.5, reach[0]), max(low_end + made.height + 2.0, reach[1]))
    ax.axis("off")
    if made.note:
        ax.annotate(made.note, (0.0, 0.0), (0, -4), xycoords="axes fraction", va="top",
                    textcoords="offset points", fontsize=8.5, color=INK)  # fmt: skip
    bar = ax.figure.colorbar(scale, ax=ax, shrink=min(0.75, 4.0 / tall), pad=0.01)
    summed = any(getattr(x, quantity).ndim > 2 for x in chosen)
    bar.set_label(LABELS[quantity] + (", kernels summed" if summed else ""), fontsize=9)
    bar.ax.tick_params(labelsize=8.5)
    bar.outline.set_visible(False)
    tidy(ax)
    return ax


def _edges(ax: Axes, made: Diagram, matrices: Sequence[Array], limits: tuple[float, float]) -> Any:
    """Draw the edges of all layers; return their scale of colours."""
    low, high = limits
    peak = max(abs(low), abs(high)) or 1.0
    colors = require("matplotlib.colors", "plot")
    map_of = require("matplotlib", "plot").colormaps["YlGnBu" if low >= 0 else "PuOr"]
    if low >= 0:  # the scale's lightest end would be lost on white
        map_of = colors.LinearSegmentedColormap.from_list("", map_of(np.linspace(0.18, 1.0, 256)))
    scale = require("matplotlib.cm", "plot").ScalarMappable(colors.Normalize(low, high), map_of)
    segments, values = [], []
    for begin, end, matrix in zip(made.inputs, made.outputs, matrices, strict=True):
        for b, y1 in zip(end.kept, end.ys, strict=True):
            for a, y0 in zip(begin.kept, begin.ys, strict=True):
                if not np.isnan(matrix[b, a]):
                    segments.append([(begin.x, y0), (end.x, y1)])
                    values.append(matrix[b, a])
    order = np.argsort(np.abs(values))  # the strong ones on top
    strength = np.array(values)[order]
    ax.add_collection(
        require("matplotlib.collections", "plot").LineCollection(
            np.array(segments)[order], colors=scale.to_rgba(strength), zorder=_EDGES,
            linewidths=0.25 + 4.5 * np.abs(strength) / peak, capstyle="round",
        )
    )  # fmt: skip
    return scale


def _signal(ax: Axes, signal: Signal, room: tuple[float, float]) -> None:
    pace, size = room
    if not signal.size:
        ax.scatter([signal.x], [signal.y], s=130, c="white", edgecolors=INK, lw=1.2, zorder=_NODES)
        sign, word = word_of(signal.what, signal.unknown)
        ax.annotate(sign, (signal.x, signal.y), ha="center", va="center", fontsize=9, color=INK,
                    zorder=_NODES + 1)  # fmt: skip
        if word:
            ax.annotate(word, (signal.x, signal.y), (0, -9), ha="center", va="top", fontsize=8,
                        textcoords="offset points", color=INK)  # fmt: skip
        return
    xs = np.full(len(signal.kept), signal.x)
    ax.scatter(xs, signal.ys, s=size, c="white", edgecolors=INK, lw=1.2, zorder=_NODES)
    if signal.unknown:
        ax.annotate("?", (signal.x, signal.y), (-14, 0), ha="center", va="center", fontsize=12,
                    textcoords="offset points", color=INK)  # fmt: skip
    if len(signal.kept) < signal.size:
        more = signal.size - len(signal.kept)
        ax.annotate(f"+ {more} more" if pace > 1.2 else f"+{more}", (signal.x, signal.bottom),
                    (0, -size**0.5 / 2 - 2), ha="center", va="top", fontsize=8, color=INK,
                    textcoords="offset points")  # fmt: skip


def _links(ax: Axes, made: Diagram) -> tuple[float, float]:
    """Draw what goes between signals without a layer; return the lowest and the highest point."""
    patches, path = require("matplotlib.patches", "plot"), require("matplotlib.path", "plot").Path
    reach = [float("inf"), -float("inf")]
    level = levels_of(made)
    for link in made.links:
        a, b = link.source, link.target
        style = (0, (1.2, 1.6)) if link.back else (0, (5, 2)) if link.through else "-"
        if not (link.back or link.skips):
            corners = [(a.x, a.top), (b.x, b.top), (b.x, b.bottom), (a.x, a.bottom)]
            ax.add_patch(patches.Polygon(corners, fc=QUIET, ec="none", alpha=0.35, zorder=_UNDER))
            ends = [(a.x, a.y), (b.x, b.y)]
            codes = [path.MOVETO, path.LINETO]
        else:
            height = level[id(link)]
            y0, y1 = (a.bottom, b.bottom) if link.under else (a.top, b.top)
            ends = [(a.x, y0), (a.x, height), (b.x, height), (b.x, y1)]
            codes = [path.MOVETO, path.CURVE4, path.CURVE4, path.CURVE4]
            reach = [min(reach[0], height), max(reach[1], height)]
        ax.add_patch(
            patches.FancyArrowPatch(
                path=path(ends, codes), arrowstyle="-|>", mutation_scale=9, lw=1.1, color=INK,
                ls=style, shrinkB=6, zorder=_UNDER + 0.1, capstyle="butt",
            )
        )  # fmt: skip
    return reach[0], reach[1]


def _names(ax: Axes, made: Diagram, names: Sequence[str], room: tuple[float, float]) -> None:
    """Write what layers are called: above all of a chain, else above the end of each."""
    pace, size = room
    around = {"fc": "white", "ec": "none", "alpha": 0.75, "pad": 0.6}
    top = max(s.top for s in made.signals)
    more: dict[str, Any] = {"ha": "center"}
    if pace <= 1.2:
        more = {"ha": "left", "rotation": 40, "rotation_mode": "anchor"}
    for name, begin, end in zip(names, made.inputs, made.outputs, strict=True):
        if made.straight:
            place, up = ((begin.x + end.x) / 2, top), 14.0
        else:
            place, up = (end.x, end.top), size**0.5 / 2 + 3
            more["bbox"] = around
        ax.annotate(name, place, (0, up), textcoords="offset points", annotation_clip=False,
                    fontsize=8.5, color=INK, zorder=_NODES + 1, **more)  # fmt: skip
