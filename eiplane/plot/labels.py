"""Names beside points, where they cover neither each other nor what is drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..files import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Label", "place"]

Array = NDArray[np.float64]

# Where a label may go: directions round the point, at growing distances (points).
_ANGLES = [math.radians(a) for a in (0, 45, -45, 90, -90, 135, -135, 180, 22, -22, 158, -158)]
_DISTANCES = (9.0, 16.0, 26.0, 40.0, 58.0)


@dataclass(frozen=True)
class Label:
    """A name of a point.

    Parameters
    ----------
    text : str
    x, y : float
        The point, in data coordinates.
    color : str
    """

    text: str
    x: float
    y: float
    color: str


def place(
    ax: Axes,
    labels: Sequence[Label],
    drawn: Array,
    *,
    around: Sequence[Any] = (),
    size: float = 9.0,
    leaders: list[Any] | None = None,
) -> list[Any]:
    """Write labels beside their points.

    Call it when the limits are final. Each label takes the nearest place that is inside the axes
    and free of labels and of what is drawn, or else the one that covers least; a line leads to its
    point where that is far.

    Parameters
    ----------
    ax : Axes
    labels : sequence of Label
    drawn : ndarray of float64, shape (n, 2)
        Points that should stay uncovered, in data coordinates.
    around : sequence of Artist
        What else is in the way: a legend.
    size : float
        Font size.
    leaders : list, optional
        Gets the line of each label, None where there is none; to move along with it.

    Returns
    -------
    list of Annotation
        One a label, in their order.
    """
    figure = ax.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()  # the layout decides where the axes are
    effects = require("matplotlib.patheffects", "plot")
    scale = figure.dpi / 72.0
    frame = ax.get_window_extent()
    obstacles = ax.transData.transform(drawn) if len(drawn) else np.empty((0, 2))
    points = [ax.transData.transform((label.x, label.y)) for label in labels]
    obstacles = np.vstack([obstacles, *points]) if labels else obstacles
    boxes = [artist.get_window_extent() for artist in around]
    taken = [np.array([box.x0, box.y0, box.x1, box.y1]) for box in boxes]
    placed = []
    for label, point in zip(labels, points, strict=True):
        text = ax.annotate(
            label.text, (label.x, label.y), (0, 0), textcoords="offset points", fontsize=size,
            color=_readable(label.color), fontweight="bold", zorder=6, annotation_clip=True,
            path_effects=[effects.withStroke(linewidth=2.5, foreground="white")],
        )  # fmt: skip
        extent = text.get_window_extent()
        half = np.array([extent.width, extent.height]) / 2.0 + 1.5 * scale
        best, lowest = np.zeros(2), math.inf
        for distance in _DISTANCES:
            for order, angle in enumerate(_ANGLES):
                way = np.array([math.cos(angle), math.sin(angle)])
                centre = point + way * (distance * scale + np.abs(way) * half)
                box = np.concatenate([centre - half, centre + half])
                cost = _cost(box, frame, taken, obstacles, scale) + distance + 0.5 * order
                if cost < lowest:
                    best, lowest, chosen = centre, cost, box
        taken.append(chosen)
        offset = (best - point) / scale
        text.set_position((float(offset[0]), float(offset[1])))
        text.set(ha="center", va="center_baseline")
        gap = np.linalg.norm(np.maximum(np.abs(best - point) - half, 0.0)) / scale
        leader = None
        if gap > 14.0:
            leader = ax.annotate(
                "", (label.x, label.y), tuple(offset), textcoords="offset points", zorder=2,
                arrowprops={"arrowstyle": "-", "color": label.color, "lw": 0.7, "alpha": 0.7,
                            "shrinkA": 8, "shrinkB": 5},
            )  # fmt: skip
        if leaders is not None:
            leaders.append(leader)
        placed.append(text)
    return placed


def _cost(box: Array, frame: Any, taken: Sequence[Array], obstacles: Array, scale: float) -> float:
    """Return how bad a place is, in points of distance."""
    outside = float(
        max(frame.x0 - box[0], 0) + max(box[2] - frame.x1, 0)
        + max(frame.y0 - box[1], 0) + max(box[3] - frame.y1, 0)
    )  # fmt: skip
    covered = 0
    if len(obstacles):
        inside = (obstacles > box[:2]) & (obstacles < box[2:])
        covered = int(inside.all(axis=1).sum())
    overlap = 0.0
    for other in taken:
        width = min(box[2], other[2]) - max(box[0], other[0])
        height = min(box[3], other[3]) - max(box[1], other[1])
        if width > 0 and height > 0:
            overlap += width * height
    return (outside * 20.0 + (overlap * 4.0 + 200.0 * (overlap > 0))) / scale + min(covered, 12) * 6


def _readable(color: str) -> str:
    """Return the colour, darkened until it can be read as text on white."""
    rgb = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255.0
    while float(rgb @ (0.2126, 0.7152, 0.0722)) > 0.42:
        rgb = rgb * 0.93
    return "#" + "".join(f"{round(255 * c):02x}" for c in rgb)
