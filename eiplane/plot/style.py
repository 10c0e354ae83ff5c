"""How a layer looks, in every picture the same."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from ..files import require, write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "ERRORS",
    "INK",
    "QUIET",
    "Look",
    "depth_map",
    "depths",
    "given_axes",
    "keep_legend",
    "looks",
    "make_axes",
    "mark_ends",
    "new_figure",
    "save_figure",
    "say_unknown",
    "shades",
    "symbols",
    "tidy",
]

# Okabe and Ito's colours, told apart with any colour vision, neighbours differing in lightness.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#4D4D4D")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p", "h", "<", ">", "*")
_LINES: tuple[Any, ...] = (
    "-", (0, (6, 1.6)), (0, (1.6, 1.2)), (0, (6, 1.6, 1.6, 1.6)), (0, (9, 2.2)),
    (0, (3, 1.2, 1, 1.2, 1, 1.2)),
)  # fmt: skip

# Where the scale by depth ends: white would swallow the yellow beyond.
_LIGHTEST = 0.92

#: Standard errors to either side that bands and bars show.
ERRORS = 2.0

#: Text and marks of second rank, and lines of the third.
INK, QUIET = "#555555", "#C9C9C9"


@dataclass(frozen=True)
class Look:
    """Colour, marker and line of a layer.

    Parameters
    ----------
    color : str
        As ``#rrggbb``.
    marker : str
    line : str or tuple
        A matplotlib line style.
    """

    color: str
    marker: str
    line: Any


def looks(count: int) -> list[Look]:
    """Return the looks of that many layers.

    Parameters
    ----------
    count : int

    Returns
    -------
    list of Look
        Of distinct colours up to seven layers; a deeper network gets a scale from dark to light.
    """
    if count <= len(_COLOURS):
        colours: list[str] = list(_COLOURS[:count])
    else:
        colours = depths(count)
    return [
        Look(colour, _MARKERS[i % len(_MARKERS)], _LINES[i % len(_LINES)])
        for i, colour in enumerate(colours)
    ]


def symbols() -> int:
    """Return how many layers can be told apart by their marks."""
    return len(_MARKERS)


def depths(count: int) -> list[str]:
    """Return colours of that many layers by their depth, from dark to light."""
    colors = require("matplotlib.colors", "plot")
    scale = require("matplotlib", "plot").colormaps["viridis"]
    return [colors.to_hex(scale(x)) for x in np.linspace(0.0, _LIGHTEST, count)]


def depth_map() -> Any:
    """Return the scale of :func:`depths`."""
    colors = require("matplotlib.colors", "plot")
    scale = require("matplotlib", "plot").colormaps["viridis"]
    return colors.ListedColormap(scale(np.linspace(0.0, _LIGHTEST, 256)), name="depth")


def shades(color: str, share: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return tints of a colour, from light (0) to full (1).

    Parameters
    ----------
    color : str
    share : ndarray, shape (n,)

    Returns
    -------
    ndarray, shape (n, 4)
        RGBA.
    """
    rgb = np.array(require("matplotlib.colors", "plot").to_rgb(color))
    tint = 0.22 + 0.78 * np.clip(share, 0.0, 1.0)[:, None]
    return np.hstack([1.0 - tint * (1.0 - rgb), np.ones((len(share), 1))])


def make_axes(ax: Axes | None, size: tuple[float, float] = (6.4, 5.0)) -> Axes:
    """Return the axes given, or those of a new figure."""
    if ax is not None:
        _check(ax)
        return ax
    pyplot = require("matplotlib.pyplot", "plot")
    return pyplot.subplots(figsize=size, layout="constrained")[1]  # type: ignore[no-any-return]


def given_axes(ax: Any, count: int, what: str) -> np.ndarray[Any, Any]:
    """Return the axes that were given for several panels.

    Parameters
    ----------
    ax : sequence of Axes
    count : int
        How many are drawn.
    what : str
        The function's name.

    Returns
    -------
    ndarray of Axes, shape (count,)

    Raises
    ------
    ValueError
        If there are fewer.
    """
    axes = np.ravel(np.asarray(ax, dtype=object))
    if len(axes) < count:
        raise ValueError(f"{what} draws {count} panels but got {len(axes)} axes")
    for one in axes[:count]:
        _check(one)
    return axes[:count]


def _check(ax: Any) -> None:
    if not hasattr(ax, "figure"):
        raise TypeError(f"ax has to be Axes of matplotlib, not {type(ax).__name__}")


def keep_legend(ax: Axes, legend: Any) -> None:
    """Keep a legend beside the next one, with room for it in the layout where it is outside."""
    ax.add_artist(legend)
    legend.set_clip_on(False)  # what is clipped to the axes gets no room beyond them


def new_figure(size: tuple[float, float], dpi: float = 100.0) -> Figure:
    """Return a figure that pyplot knows nothing of, for files.

    Parameters
    ----------
    size : tuple of float
        Inches.
    dpi : float

    Returns
    -------
    Figure
    """
    figure = require("matplotlib.figure", "plot").Figure(
        figsize=size, dpi=dpi, layout="constrained"
    )
    require("matplotlib.backends.backend_agg", "plot").FigureCanvasAgg(figure)
    return figure  # type: ignore[no-any-return]


def save_figure(drawn: Any, path: str | os.PathLike[str], dpi: float = 160.0) -> Path:
    """Write the figure of some axes to a file.

    Parameters
    ----------
    drawn : Axes or array of Axes
        Of one figure. What pyplot knows of it, pyplot forgets.
    path : path-like
        Its ending says the format: ``.png``, ``.pdf``, ``.svg``, ... Written whole or not at all.
    dpi : float

    Returns
    -------
    pathlib.Path

    Raises
    ------
    ValueError
        For an ending that is no known format; it names them.
    OSError
        If the file cannot be written.
    """
    target = Path(path)
    figure = np.ravel(np.asarray(drawn, dtype=object))[0].figure
    kinds = figure.canvas.get_supported_filetypes()
    kind = target.suffix.lower().lstrip(".")
    if kind not in kinds:
        raise ValueError(
            f"{target.name!r}: a picture's name ends in one of {', '.join(sorted(kinds))}"
        )
    # A PDF's date would make every run's file another.
    extra = {"metadata": {"CreationDate": None}} if kind == "pdf" else {}
    write_whole(target, lambda file: figure.savefig(file, format=kind, dpi=dpi, **extra))
    require("matplotlib.pyplot", "plot").close(figure)
    return target


def mark_ends(
    ax: Axes, across: ArrayLike, up: ArrayLike, color: str, width: float, alpha: float
) -> None:
    """Mark the ends of bounds: a line from a point to the same point is not drawn at all.

    Parameters
    ----------
    ax : Axes
    across, up : array-like of float, shape (n,)
        The ends.
    color : str
    width, alpha : float
        Of the line between them.
    """
    ax.plot(np.asarray(across), np.asarray(up), "o", color=color, ms=width, mec="none",
            alpha=alpha, zorder=2.5, scalex=False, scaley=False)  # fmt: skip


def say_unknown(ax: Axes, place: float | None = None, names: Sequence[str] = ()) -> None:
    """Write that nothing is known: at a place of the axis along, or of some names."""
    style: dict[str, Any] = {"fontsize": 7.5, "style": "italic", "color": INK}
    if place is None:
        few = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        ax.annotate(f"not known: {few}", (0, 1), (3, -3), xycoords="axes fraction", va="top",
                    textcoords="offset points", **style)  # fmt: skip
    else:
        ax.annotate("not known", (place, 0), (0, 4), xycoords=("data", "axes fraction"),
                    textcoords="offset points", ha="center", va="bottom", rotation=90,
                    **style)  # fmt: skip


def tidy(ax: Axes) -> None:
    """Take the upper and the right frame away."""
    ax.spines[["top", "right"]].set_visible(False)
