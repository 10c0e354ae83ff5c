"""The edges of a network in motion, while it learns."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files import require
from ..results import Decomposition, row_of
from ..training import History, Tracker, as_history
from .film import (
    CURSOR,
    Strip,
    chosen_frames,
    chosen_metric,
    greys,
    movie_path,
    picture,
    write_movie,
)
from .names import shown_names
from .scales import color_limits
from .style import INK, depth_map, new_figure

__all__ = ["animate_edges"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class _Moment:
    """A step, and a matrix of every layer that has one."""

    step: int
    matrices: Mapping[str, Array]


def animate_edges(
    source: Any,
    path: str | os.PathLike[str],
    *,
    layers: str | Sequence[str] | None = None,
    quantity: str = "ei_edges",
    fps: float = 12.0,
    seconds: float = 1.5,
    max_frames: int = 150,
    size: tuple[float, float] | None = None,
    dpi: float = 90.0,
    title: str | None = None,
) -> Path:
    """Write a moving picture of the bits of every edge while a network learns.

    Each layer is a heat map, a row an output; one scale serves all frames. Below runs a metric, if
    there is any: an accuracy, or else the first.

    Parameters
    ----------
    source : Tracker with ``edges=True``, path of its file, or sequence of Decomposition
    path : path-like
        A ``.gif``, or an ``.mp4`` where the program ffmpeg is installed. Written whole or not at
        all.
    layers : str or sequence of str, optional
        Which layers are drawn; all if left out.
    quantity : str
        ``"ei_edges"``, ``"sensitivity_edges"`` or ``"degeneracy_edges"``.
    fps : float
        Frames a second.
    seconds : float
        How long the last one stands.
    max_frames : int
        Of more moments, that many are taken evenly.
    size : tuple of float, optional
        Inches; as the layers need if left out.
    dpi : float
    title : str, optional

    Returns
    -------
    pathlib.Path
        The file. A layer that a moment lacks is left blank then.

    Raises
    ------
    ImportError
        If matplotlib is missing.
    ValueError
        For another kind of file, a layer that is not there, or edges that were not kept.
    OSError
        For an mp4 without ffmpeg.
    """
    target = movie_path(path)
    if row_of(quantity).per != "edge":
        raise ValueError(f"{quantity!r} is no measure of edges")
    run, moments = _moments(source, quantity)
    shapes = {n: m.shape for moment in moments for n, m in moment.matrices.items()}
    if not shapes:
        raise ValueError(
            f"no {quantity} were kept: track with edges=True, or give decompositions that have them"
        )
    wanted = [layers] if isinstance(layers, str) else list(shapes if layers is None else layers)
    missing = [name for name in wanted if name not in shapes]
    if missing:
        raise ValueError(f"no edges of {missing[0]!r}; there are {', '.join(map(repr, shapes))}")
    moments = [moments[i] for i in chosen_frames(len(moments), max_frames)]
    film = _EdgeFilm(run, moments, {n: shapes[n] for n in wanted}, quantity, size, dpi, title)
    write_movie(film, target, fps, seconds)
    return target


def _moments(source: Any, quantity: str) -> tuple[History, list[_Moment]]:
    """Return a run, and the moments of which there are matrices."""
    if isinstance(source, str | os.PathLike):
        source = Tracker.load(source)
    if isinstance(source, Tracker):
        found = []
        for step in source.steps:
            try:
                arrays = source.edges(step)
            except KeyError:
                continue
            named = {key.rpartition("/"): values for key, values in arrays.items()}
            own = {n: _flat(values) for (n, _, q), values in named.items() if q == quantity}
            found.append(_Moment(step, own))
        return source.history, [moment for moment in found if moment.matrices]
    if isinstance(source, Sequence) and all(isinstance(one, Decomposition) for one in source):
        moments = [
            _Moment(step, {
                layer.name: _flat(getattr(layer, quantity))
                for layer in one if getattr(layer, quantity) is not None
            })
            for step, one in enumerate(source)
        ]  # fmt: skip
        return as_history(source), [moment for moment in moments if moment.matrices]
    raise TypeError(
        "expected a Tracker, the path of its file or a sequence of Decomposition, not "
        f"{type(source).__name__}"
    )


def _flat(values: Any) -> Array:
    return np.asarray(values, dtype=np.float64).reshape(len(values), -1)


class _EdgeFilm:
    """Draws the frames: a :class:`.film.Film`."""

    def __init__(
        self,
        run: History,
        moments: Sequence[_Moment],
        shapes: Mapping[str, tuple[int, ...]],
        quantity: str,
        size: tuple[float, float] | None,
        dpi: float,
        title: str | None,
    ) -> None:
        self.moments = moments
        low, high = color_limits([m for x in moments for n, m in x.matrices.items() if n in shapes])
        colours = depth_map() if low >= 0.0 else require("matplotlib", "plot").colormaps["PuOr"]
        shades = np.asarray(colours(np.linspace(0.0, 1.0, 210)))[:, :3]
        cursor = require("matplotlib.colors", "plot").to_rgb(CURSOR)
        self.palette = np.round(255 * np.vstack([greys(40), shades, [cursor]])).astype(np.uint8)
        columns = min(len(shapes), 4)
        rows = math.ceil(len(shapes) / columns)
        strip = chosen_metric(run) is not None and len(run) > 1
        tall = 2.6 * rows + 0.5 + (1.1 if strip else 0.0)
        self.figure = new_figure(size or (max(3.4, 2.7 * columns + 1.0), tall), dpi)
        heights = [3] * rows + [1] * strip
        grid = self.figure.add_gridspec(rows + strip, columns, height_ratios=heights)
        whole = require("matplotlib.ticker", "plot").MaxNLocator
        self.shapes = shapes
        self.images = {}
        texts = shown_names(list(shapes))
        for i, (name, shape) in enumerate(shapes.items()):
            ax = self.figure.add_subplot(grid[divmod(i, columns)])
            blank = np.full(shape, np.nan)
            self.images[name] = ax.imshow(blank, cmap=colours, vmin=low, vmax=high,
                                          interpolation="nearest", aspect="auto")  # fmt: skip
            ax.set_title(texts[i], fontsize=9)
            ax.tick_params(labelsize=7.5)
            for axis in (ax.xaxis, ax.yaxis):
                axis.set_major_locator(whole(6, integer=True, min_n_ticks=1))
            ax.set_xlabel("input", fontsize=8)
            if i % columns == 0:
                ax.set_ylabel("output", fontsize=8)
        bar = self.figure.colorbar(ax.images[0], ax=self.figure.axes, shrink=0.85, pad=0.015)
        bar.set_label(row_of(quantity).label, fontsize=8.5)
        bar.ax.tick_params(labelsize=8)
        bar.outline.set_visible(False)
        self.strip = Strip(self.figure.add_subplot(grid[rows, :]), run) if strip else None
        self.title = f"{title}, " if title else ""
        self.clock = self.figure.suptitle("", fontsize=10, color=INK)
        self._show(moments[-1])
        self.figure.draw_without_rendering()
        self.figure.set_layout_engine("none")

    def _show(self, moment: _Moment) -> None:
        for name, image in self.images.items():
            values = moment.matrices.get(name)
            shape = self.shapes[name]
            fits = values is not None and values.shape == shape
            image.set_data(values if fits else np.full(shape, np.nan))
        self.clock.set_text(f"{self.title}step {moment.step:,}")
        if self.strip is not None:
            self.strip.move(moment.step)

    def frames(self) -> Iterator[NDArray[np.uint8]]:
        """Yield the pictures as RGB arrays."""
        for moment in self.moments:
            self._show(moment)
            yield picture(self.figure)
