"""The causal plane itself: its axes and lines of equal EI, and the ways of layers through it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..files import require
from ..training import History
from .style import INK, QUIET, Look, looks, shades

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Path", "Plane", "densified", "draw_path", "frame", "paths"]

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
