"""The causal plane itself: its axes and lines of equal EI, and the ways of layers through it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..files import require
from ..training import History
from .scales import check_normalize, check_scale, sizes, unit_of
from .style import ERRORS, Look, looks, mark_ends, shades

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Path", "Plane", "Way", "densified", "draw_path", "paths", "styled", "ways"]

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
    normalize : str or None
        ``"edges"`` or ``"outputs"``: what the bits are divided by.
    scale : str
        ``"linear"`` or ``"symlog"``.

    Raises
    ------
    ValueError
        For any other ``ei``, ``normalize`` or ``scale``.
    """

    rotated: bool = True
    ei: str = "parts"
    normalize: str | None = None
    scale: str = "linear"

    def __post_init__(self) -> None:
        if self.ei not in ("parts", "joint"):
            raise ValueError(f"ei must be 'parts' or 'joint', not {self.ei!r}")
        check_normalize(self.normalize)
        check_scale(self.scale)

    @property
    def unit(self) -> str:
        """In what it is measured."""
        return unit_of("bits", self.normalize)

    @property
    def names(self) -> tuple[str, str, str]:
        """What the EI, the axis across and the axis up are called."""
        ei = r"$EI_\mathrm{parts}$" if self.ei == "parts" else r"$EI$"
        kind = "degeneracy" if self.ei == "parts" else "joint degeneracy"
        if not self.rotated:
            return ei, f"{kind} ({self.unit})", f"sensitivity ({self.unit})"
        return (
            ei,
            rf"(sensitivity $-$ {kind}) / $\sqrt{{2}}$  ({self.unit})",
            rf"(sensitivity $+$ {kind}) / $\sqrt{{2}}$  ({self.unit})",
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
    size = sizes(history, name, plane.normalize)
    across, up = across / size, up / size
    bounds = history.bounds(name, plane.needed[0]) / size[:, None]
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
    unit = ERRORS / sizes(history, name, plane.normalize)
    ei = unit * history.errors(name, "ei_parts" if plane.ei == "parts" else "ei")
    both = unit * history.errors(name, "sensitivity")
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
                collections.LineCollection(
                    bars, colors=look.color, linewidths=width, alpha=0.45, zorder=2.5,
                )
            )  # fmt: skip
    if len(path.spans):
        across, up = path.spans.reshape(-1, 2).T
        mark_ends(ax, across, up, look.color, 4.0, 0.45)
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


def densified(points: Array, pieces: int = 12) -> Array:
    """Return points along the way between the points too."""
    share = np.linspace(0.0, 1.0, pieces, endpoint=False)[:, None]
    between = points[:-1, None] * (1 - share) + points[1:, None] * share
    return np.vstack([between.reshape(-1, 2), points[-1:]])
