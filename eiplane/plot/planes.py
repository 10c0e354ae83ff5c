"""The causal plane: where layers lie between degeneracy and sensitivity, and how they move."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..files import require
from ..training import History, as_history
from .labels import Label, place
from .style import INK, QUIET, Look, looks, make_axes, shades

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Path", "Plane", "causal_plane", "compare", "paths", "trajectory"]

Array = NDArray[np.float64]
ROOT2 = math.sqrt(2.0)


@dataclass(frozen=True)
class Plane:
    """A way of laying out the causal plane.

    Parameters
    ----------
    rotated : bool
        The paper's axes, turned by 45 degrees, or plain degeneracy and sensitivity.
    ei : str
        ``"parts"`` or ``"joint"``: which EI the sensitivity is split by.

    Raises
    ------
    ValueError
        For any other ``ei``.
    """

    rotated: bool = True
    ei: str = "parts"

    def __post_init__(self) -> None:
        if self.ei not in ("parts", "joint"):
            raise ValueError(f"ei must be 'parts' or 'joint', not {self.ei!r}")

    @property
    def names(self) -> tuple[str, str, str]:
        """What the EI, the axis across and the axis up are called."""
        ei = r"$EI_\mathrm{parts}$" if self.ei == "parts" else r"$EI$"
        kind = "degeneracy" if self.ei == "parts" else "joint degeneracy"
        if not self.rotated:
            return ei, f"{kind} (bits)", "sensitivity (bits)"
        return (
            ei,
            rf"(sensitivity $-$ {kind}) / $\sqrt{{2}}$  (bits)",
            rf"(sensitivity $+$ {kind}) / $\sqrt{{2}}$  (bits)",
        )

    @property
    def needed(self) -> tuple[str, str]:
        """The quantities of a record that a point takes."""
        return ("degeneracy" if self.ei == "parts" else "degeneracy_joint"), "sensitivity"

    def points(self, degeneracy: Array, sensitivity: Array) -> Array:
        """Return where they lie.

        Parameters
        ----------
        degeneracy, sensitivity : ndarray of float64, shape (n,)

        Returns
        -------
        ndarray of float64, shape (n, 2)
        """
        if not self.rotated:
            return np.stack([degeneracy, sensitivity], axis=-1)
        return np.stack([sensitivity - degeneracy, sensitivity + degeneracy], axis=-1) / ROOT2


@dataclass(frozen=True, eq=False)
class Path:
    """The way of a layer through the plane.

    Parameters
    ----------
    name : str
    points : ndarray of float64, shape (n, 2)
    steps : ndarray of int64, shape (n,)
    look : Look
    """

    name: str
    points: Array
    steps: NDArray[np.int64] = field(repr=False)
    look: Look


def paths(history: History, plane: Plane) -> list[Path]:
    """Return the way of every layer, moments without measurement left out.

    Raises
    ------
    ValueError
        If the history lacks the measures that the plane takes.
    """
    names = history.layers
    found = []
    for name, look in zip(names, looks(len(names)), strict=True):
        across, up = (history.values(name, q) for q in plane.needed)
        known = np.isfinite(across) & np.isfinite(up)
        if known.any():
            points = plane.points(across[known], up[known])
            found.append(Path(name, points, history.steps[known], look))
    if not found:
        needs = "'sensitivity' and " + ("'ei_parts'" if plane.ei == "parts" else "'ei'")
        raise ValueError(f"the causal plane needs the measures {needs}; neither layer has both")
    return found


def causal_plane(
    source: Any,
    ax: Axes | None = None,
    *,
    rotated: bool = True,
    ei: str = "parts",
    contours: bool = True,
    labels: bool = True,
) -> Axes:
    """Draw layers in the causal plane.

    Parameters
    ----------
    source : Decomposition, sequence of Decomposition, Tracker, History, or path of a tracked run
        Of several moments each layer's way is drawn, from light (hollow mark) to full colour.
    ax : Axes, optional
        Where to draw; a new figure's if left out.
    rotated : bool
        The paper's axes, turned by 45 degrees: x is how sensitive against how degenerate a layer
        is, y both together. Otherwise degeneracy and sensitivity themselves.
    ei : str
        ``"parts"`` splits the sensitivity by ``ei_parts``, ``"joint"`` by ``ei``.
    contours : bool
        Lines of equal EI, labelled in bits.
    labels : bool
        Names beside the layers (a legend, where they are more than 12).

    Returns
    -------
    Axes

    Raises
    ------
    ImportError
        If matplotlib is missing.
    ValueError
        If the measures that the plane takes were not made.

    Notes
    -----
    Source: Mattsson, Michaud and Hoel, *Examining the causal structures of deep neural networks
    using information theory*, Entropy 22, 1429 (2020), section 5.
    """
    return _draw(as_history(source), ax, Plane(rotated, ei), contours, labels, key=False)


def trajectory(
    source: Any,
    ax: Axes | None = None,
    *,
    rotated: bool = True,
    ei: str = "parts",
    contours: bool = True,
    labels: bool = True,
) -> Axes:
    """Draw how layers move through the causal plane while a network learns.

    Parameters
    ----------
    source : Tracker, History, path of a tracked run, or sequence of Decomposition
    ax : Axes, optional
    rotated, ei, contours, labels
        As of :func:`causal_plane`.

    Returns
    -------
    Axes
        With a key of the marks: hollow where it starts, filled where it ends.
    """
    return _draw(as_history(source), ax, Plane(rotated, ei), contours, labels, key=True)


def _draw(
    run: History, ax: Axes | None, plane: Plane, contours: bool, labels: bool, key: bool
) -> Axes:
    drawn = paths(run, plane)
    ax = make_axes(ax)
    for path in drawn:
        draw_path(ax, path)
    frame(ax, plane, np.vstack([p.points for p in drawn]), contours)
    way = np.vstack([densified(p.points) for p in drawn])
    legend = _marks(ax, run, way) if key and len(run) > 1 else None
    if labels and len(drawn) <= 12:
        names = [Label(p.name, p.points[-1, 0], p.points[-1, 1], p.look.color) for p in drawn]
        place(ax, names, way, around=[legend] if legend else [])
    elif labels:
        if legend:
            ax.add_artist(legend)
        _legend(ax, drawn)
    return ax


def _marks(ax: Axes, run: History, way: Array) -> Any:
    """Draw the key of the marks in the corner where least is drawn."""
    first, last = run.steps[0], run.steps[-1]
    handles = [
        ax.plot([], [], "o", mfc="white", mec=INK, ms=6, label=f"step {first:,}")[0],
        ax.plot([], [], "o", mfc=INK, mec="white", ms=8, label=f"step {last:,}")[0],
    ]
    seen = ax.transAxes.inverted().transform(ax.transData.transform(way))
    corners = {
        "lower right": (1, 0), "upper left": (0, 1), "upper right": (1, 1), "lower left": (0, 0),
    }  # fmt: skip
    crowd = {
        name: int((np.abs(seen - corner) < (0.3, 0.2)).all(axis=1).sum())
        for name, corner in corners.items()
    }
    corner = min(crowd, key=lambda name: crowd[name])
    return ax.legend(handles=handles, loc=corner, fontsize=8.5, labelcolor=INK, facecolor="white",
                     edgecolor="none", framealpha=0.85)  # fmt: skip


def compare(
    runs: Mapping[str, Any] | Sequence[Any],
    ax: Axes | None = None,
    *,
    rotated: bool = True,
    ei: str = "parts",
    contours: bool = True,
) -> Axes:
    """Draw several runs in one causal plane.

    Parameters
    ----------
    runs : mapping of name to run, or sequence of runs
        Each as for :func:`causal_plane`.
    ax : Axes, optional
    rotated, ei, contours
        As of :func:`causal_plane`.

    Returns
    -------
    Axes
        Colour tells the layer; line and mark tell the run.
    """
    named = runs if isinstance(runs, Mapping) else _named(runs)
    plane = Plane(rotated, ei)
    ways = {name: paths(as_history(run), plane) for name, run in named.items()}
    layers = list(dict.fromkeys(p.name for drawn in ways.values() for p in drawn))
    colour = {n: look.color for n, look in zip(layers, looks(len(layers)), strict=True)}
    styles = looks(len(ways))
    ax = make_axes(ax)
    for style, drawn in zip(styles, ways.values(), strict=True):
        for path in drawn:
            look = Look(colour[path.name], style.marker, style.line)
            draw_path(ax, Path(path.name, path.points, path.steps, look), dashed=True)
    frame(ax, plane, np.vstack([p.points for drawn in ways.values() for p in drawn]), contours)
    handles = [ax.plot([], [], color=c, lw=3)[0] for c in colour.values()]
    key = ax.legend(handles, list(colour), title="layer", loc="upper left", frameon=False,
                    bbox_to_anchor=(1.01, 1.0), fontsize=8.5, title_fontsize=8.5,
                    alignment="left")  # fmt: skip
    ax.add_artist(key)
    marks = [
        ax.plot([], [], color=INK, ls=s.line, marker=s.marker, lw=1.4, ms=6)[0] for s in styles
    ]
    ax.legend(marks, list(ways), title="run", loc="lower left", frameon=False,
              bbox_to_anchor=(1.01, 0.0), fontsize=8.5, title_fontsize=8.5, handlelength=3.2,
              alignment="left")  # fmt: skip
    return ax


def draw_path(ax: Axes, path: Path, dashed: bool = False) -> None:
    """Draw a layer's way: time as shade, the start hollow, the end filled.

    Parameters
    ----------
    ax : Axes
    path : Path
    dashed : bool
        Whether to draw it in its look's line, instead of a plain one.
    """
    points, look = path.points, path.look
    if len(points) > 1:
        pieces = np.stack([points[:-1], points[1:]], axis=1)
        share = np.linspace(0.0, 1.0, len(pieces))
        collections = require("matplotlib.collections", "plot")
        lines = collections.LineCollection(
            pieces, colors=shades(look.color, share), linewidths=1.4 + 1.2 * share, zorder=3,
            capstyle="round", joinstyle="round",
        )  # fmt: skip
        if dashed:  # dashes do not survive being cut in pieces: they go on top
            lines.set_alpha(0.35)
            ax.plot(*points.T, color=look.color, ls=look.line, lw=1.3, zorder=3)
        ax.add_collection(lines)
        ax.plot(*points[0], look.marker, ms=6.5, mfc="white", mec=look.color, mew=1.4, zorder=4)
    ax.plot(*points[-1], look.marker, ms=9, mfc=look.color, mec="white", mew=1.0, zorder=5)


def frame(ax: Axes, plane: Plane, points: Array, contours: bool = True) -> None:
    """Set limits, names and the lines of equal EI.

    Parameters
    ----------
    ax : Axes
    plane : Plane
    points : ndarray of float64, shape (n, 2)
        All that has to be seen.
    contours : bool
    """
    low, high = points.min(axis=0), points.max(axis=0)
    span = np.maximum(high - low, 0.06 * np.maximum(np.abs(high), np.abs(low)) + 1e-9)
    middle = (low + high) / 2.0
    low, high = middle - 0.62 * span, middle + 0.62 * span
    # Zero is worth showing where it is near, and nothing but rounding lies beyond it.
    for i in range(2):
        if points[:, i].min() >= 0 and low[i] < 0.12 * high[i]:
            low[i] = -0.02 * high[i]  # room for half a mark
    ax.set_xlim(low[0], high[0])
    ax.set_ylim(low[1], high[1])
    name, across, up = plane.names
    ax.set_xlabel(across)
    ax.set_ylabel(up)
    ax.tick_params(labelsize=9)
    ax.spines["right"].set_visible(False)
    if not contours:
        ax.spines["top"].set_visible(False)
        return
    if plane.rotated:
        _upright_contours(ax, name)
    else:
        _slanted_contours(ax, name)


def densified(points: Array, pieces: int = 12) -> Array:
    """Return points along the way between the points too."""
    share = np.linspace(0.0, 1.0, pieces, endpoint=False)[:, None]
    between = points[:-1, None] * (1 - share) + points[1:, None] * share
    return np.vstack([between.reshape(-1, 2), points[-1:]])


def _levels(low: float, high: float) -> Array:
    ticker = require("matplotlib.ticker", "plot")
    levels = np.asarray(ticker.MaxNLocator(7, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high))
    return levels[(levels >= low - 1e-12) & (levels <= high + 1e-12)]


def _upright_contours(ax: Axes, name: str) -> None:
    low, high = ax.get_xlim()
    levels = _levels(low * ROOT2, high * ROOT2)
    for level in levels:
        zero = abs(level) < 1e-12
        ax.axvline(level / ROOT2, color=INK if zero else QUIET, lw=1.0 if zero else 0.8, zorder=0)
    top = ax.secondary_xaxis("top", functions=(_to_ei, _from_ei))
    top.set_xticks(levels)
    top.set_xlabel(f"{name} (bits): lines of equal {name}", color=INK, fontsize=9)
    top.tick_params(labelsize=8.5, colors=INK, length=0)
    top.spines["top"].set_visible(False)
    ax.spines["top"].set_visible(False)


def _to_ei(x: Any) -> Any:
    return np.asarray(x) * ROOT2


def _from_ei(x: Any) -> Any:
    return np.asarray(x) / ROOT2


def _slanted_contours(ax: Axes, name: str) -> None:
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    for level in _levels(bottom - right, top - left):
        ends = np.array([max(left, bottom - level), min(right, top - level)])
        if ends[1] - ends[0] < 0.02 * (right - left):
            continue
        zero = abs(level) < 1e-12
        ax.plot(ends, ends + level, color=INK if zero else QUIET, lw=1.0 if zero else 0.8,
                zorder=0, scalex=False, scaley=False)  # fmt: skip
        at_top = ends[1] < right
        ax.annotate(
            f"{level:g}", (ends[1], ends[1] + level), (0, 2) if at_top else (3, 0),
            textcoords="offset points", fontsize=8.5, color=INK, annotation_clip=False,
            ha="center" if at_top else "left", va="bottom" if at_top else "center",
        )  # fmt: skip
    ax.set_title(f"lines of equal {name} (bits)", fontsize=9, color=INK, pad=16)
    ax.spines["top"].set_visible(False)


def _legend(ax: Axes, drawn: Sequence[Path]) -> None:
    shown, title = drawn, None
    if len(drawn) > 24:  # evenly through the depth
        title = f"24 of {len(drawn)} layers"
        shown = [drawn[i] for i in np.linspace(0, len(drawn) - 1, 24).round().astype(int)]
    handles = [
        ax.plot([], [], p.look.marker, mfc=p.look.color, mec="white", ms=8, label=p.name)[0]
        for p in shown
    ]
    ax.legend(handles=handles, frameon=False, fontsize=8, loc="center left", title=title,
              title_fontsize=8, alignment="left", bbox_to_anchor=(1.01, 0.5))  # fmt: skip


def _named(runs: Sequence[Any]) -> dict[str, History]:
    named: dict[str, History] = {}
    for i, run in enumerate(map(as_history, runs)):
        name = run.name if run.name and run.name not in named else f"run {i + 1}"
        named[name] = run
    return named
