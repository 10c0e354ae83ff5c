"""The causal plane itself: its axes and lines of equal EI, and the ways of layers through it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..files import require
from ..training import History
from .style import ERRORS, INK, QUIET, Look, looks, shades

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Path", "Plane", "Way", "densified", "draw_path", "frame", "paths", "styled", "ways"]

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
class Way:
    """Where a layer was in the plane.

    Parameters
    ----------
    name : str
    points : ndarray of float64, shape (n, 2)
    steps : ndarray of int64, shape (n,)
    errors : ndarray of float64, shape (bars, 2, 2)
        The ends of bars through points: two standard errors to either side, of each of the two
        measures that a point follows from.
    spans : ndarray of float64, shape (k, 2, 2)
        The ends of lines on which the layer was, for moments of which no more is known.
    span_steps : ndarray of int64, shape (k,)
    """

    name: str
    points: Array
    steps: NDArray[np.int64] = field(repr=False)
    errors: Array = field(repr=False)
    spans: Array = field(repr=False)
    span_steps: NDArray[np.int64] = field(repr=False)

    @property
    def ends_open(self) -> bool:
        """Whether all that is known of the last moment is a span."""
        return len(self.span_steps) > 0 and self.span_steps[-1] > max([-1, *self.steps[-1:]])

    @property
    def end(self) -> Array:
        """Where its name belongs."""
        return np.asarray(self.spans[-1].mean(axis=0) if self.ends_open else self.points[-1])

    @property
    def place(self) -> tuple[float, float]:
        """The same as two numbers."""
        return float(self.end[0]), float(self.end[1])

    @property
    def _gaps(self) -> NDArray[np.bool_]:
        """Between which points there was a moment that is not known."""
        return np.diff(np.searchsorted(self.span_steps, self.steps)) > 0

    @property
    def pieces(self) -> Array:
        """The pieces of the line through the points, none across what is not known."""
        pieces = np.stack([self.points[:-1], self.points[1:]], axis=1)
        return np.asarray(pieces[~self._gaps])

    @property
    def interrupted(self) -> Array:
        """The points, with NaN where the line through them is interrupted."""
        return np.insert(self.points, np.flatnonzero(self._gaps) + 1, np.nan, axis=0)

    def until(self, step: int) -> Way:
        """Return the way up to a step, without errors."""
        now, then = self.steps <= step, self.span_steps <= step
        return Way(
            self.name, self.points[now], self.steps[now], self.errors[:0], self.spans[then],
            self.span_steps[then],
        )  # fmt: skip

    @property
    def everything(self) -> Array:
        """All that has to be seen, shape (points, 2)."""
        return np.vstack([self.points, self.errors.reshape(-1, 2), self.spans.reshape(-1, 2)])

    @property
    def covered(self) -> Array:
        """Points that should not be written over, shape (points, 2)."""
        spans = [densified(span) for span in self.spans]
        return np.vstack([densified(self.points), *spans]) if len(self.points) else np.vstack(spans)


@dataclass(frozen=True, eq=False)
class Path(Way):
    """The way of a layer through the plane, and how it looks.

    Parameters
    ----------
    look : Look
    """

    look: Look


def ways(history: History, plane: Plane) -> list[Way]:
    """Return where every layer was, moments without measurement left out.

    Parameters
    ----------
    history : History
    plane : Plane

    Returns
    -------
    list of Way

    Raises
    ------
    ValueError
        If the history lacks the measures that the plane takes.
    """
    found = [way for name in history.layers if (way := _way(history, plane, name)) is not None]
    if not found:
        needs = "'sensitivity' and " + ("'ei_parts'" if plane.ei == "parts" else "'ei'")
        raise ValueError(f"the causal plane needs the measures {needs}; neither layer has both")
    return found


def _way(history: History, plane: Plane, name: str) -> Way | None:
    across, up = (history.values(name, q) for q in plane.needed)
    known = np.isfinite(across) & np.isfinite(up)
    bounds = history.bounds(name, plane.needed[0])
    open_to = ~known & np.isfinite(bounds).all(axis=1) & np.isfinite(up)
    if not (known | open_to).any():
        return None
    spans = [plane.points(bounds[open_to, i], up[open_to]) for i in range(2)]
    return Way(
        name, plane.points(across[known], up[known]), history.steps[known],
        _error_bars(history, plane, name, across, up), np.stack(spans, axis=1),
        history.steps[open_to],
    )  # fmt: skip


def _error_bars(history: History, plane: Plane, name: str, across: Array, up: Array) -> Array:
    """Return the ends of the bars of all points: EI moves them across, sensitivity both ways."""
    ei = ERRORS * history.errors(name, "ei_parts" if plane.ei == "parts" else "ei")
    both = ERRORS * history.errors(name, "sensitivity")
    bars = []
    for half, share in ((ei, 0.0), (both, 1.0)):
        some = np.isfinite(across + up) & (half > 0.0)
        ends = [
            plane.points((across + sign * half)[some], (up + sign * share * half)[some])
            for sign in (-1.0, 1.0)
        ]
        bars.append(np.stack(ends, axis=1))
    return np.concatenate(bars)


def paths(history: History, plane: Plane) -> list[Path]:
    """Return the way of every layer, with its look; as :func:`ways`."""
    own = dict(zip(history.layers, looks(len(history.layers)), strict=True))
    return [styled(way, own[way.name]) for way in ways(history, plane)]


def styled(way: Way, look: Look) -> Path:
    """Return a way with another look."""
    return Path(way.name, way.points, way.steps, way.errors, way.spans, way.span_steps, look)


def draw_path(ax: Axes, path: Path, dashed: bool = False) -> None:
    """Draw a layer's way: time as shade, the start hollow, the end filled.

    Bars are errors; a broad line is where the layer was when no more of it is known.

    Parameters
    ----------
    ax : Axes
    path : Path
    dashed : bool
        Whether to draw it in its look's line, instead of a plain one.
    """
    points, look = path.points, path.look
    collections = require("matplotlib.collections", "plot")
    for bars, width in ((path.errors, 1.0), (path.spans, 4.0)):
        if len(bars):
            ax.add_collection(
                collections.LineCollection(bars, colors=look.color, linewidths=width, alpha=0.45,
                                           zorder=2.5)
            )  # fmt: skip
    if not len(points):
        return
    if len(points) > 1:
        pieces = path.pieces
        share = np.linspace(0.0, 1.0, len(pieces))
        lines = collections.LineCollection(
            pieces, colors=shades(look.color, share), linewidths=1.4 + 1.2 * share, zorder=3,
            capstyle="round", joinstyle="round",
        )  # fmt: skip
        if dashed:  # dashes do not survive being cut in pieces: they go on top
            lines.set_alpha(0.35)
            ax.plot(*path.interrupted.T, color=look.color, ls=look.line, lw=1.3, zorder=3)
        ax.add_collection(lines)
        ax.plot(*points[0], look.marker, ms=6.5, mfc="white", mec=look.color, mew=1.4, zorder=4)
    if not path.ends_open:
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
