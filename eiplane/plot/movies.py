"""The causal plane in motion."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files import require
from ..training import History, as_history
from .film import Strip, chosen_frames, chosen_metric, movie_path, picture, tints, write_movie
from .frames import frame
from .labels import Label, place
from .names import shown_names
from .planes import Path as Way
from .planes import Plane, paths
from .style import INK, new_figure, shades

__all__ = ["animate"]


def animate(
    source: Any,
    path: str | os.PathLike[str],
    *,
    fps: float = 12.0,
    seconds: float = 1.5,
    max_frames: int = 150,
    size: tuple[float, float] = (6.4, 5.6),
    dpi: float = 90.0,
    rotated: bool = True,
    ei: str = "parts",
    normalize: str | None = None,
    scale: str = "linear",
    title: str | None = None,
) -> Path:
    """Write a moving picture of the layers' ways through the causal plane.

    Below the plane runs a metric, if there is any: an accuracy, or else the first.

    Parameters
    ----------
    source : Tracker, History, path of a tracked run, or sequence of Decomposition
    path : path-like
        A ``.gif``, or an ``.mp4`` where the program ffmpeg is installed. Written whole or not at
        all.
    fps : float
        Frames a second.
    seconds : float
        How long the last one stands.
    max_frames : int
        Of more records, that many are taken evenly.
    size : tuple of float
        Inches.
    dpi : float
    rotated, ei, normalize, scale
        As of :func:`causal_plane`.
    title : str, optional

    Returns
    -------
    pathlib.Path
        The file. While only the bounds of a layer's EI are known a broad line stands for it.

    Raises
    ------
    ImportError
        If matplotlib is missing.
    ValueError
        For another kind of file, or a run without anything to draw.
    OSError
        For an mp4 without ffmpeg.
    """
    target = movie_path(path)
    run = as_history(source)
    run = History([run[i] for i in chosen_frames(len(run), max_frames)], run.name)
    film = _Film(run, Plane(rotated, ei, normalize, scale), size, dpi, title)
    write_movie(film, target, fps, seconds)
    return target


class _Film:
    """Draws the frames: a :class:`.film.Film`."""

    def __init__(
        self, run: History, plane: Plane, size: tuple[float, float], dpi: float, title: str | None
    ) -> None:
        self.run = run
        self.ways = paths(run, plane)
        self.figure = new_figure(size, dpi)
        self.palette = tints([way.look.color for way in self.ways])
        self.strip = None
        if chosen_metric(run) is None:
            self.ax = self.figure.subplots()
        else:
            self.ax, below = self.figure.subplots(2, height_ratios=[5, 1])
            self.strip = Strip(below, run)
        if title:
            self.figure.suptitle(title, fontsize=11)
        everything = np.vstack([way.everything for way in self.ways])
        frame(self.ax, plane, everything)
        self.clock = self.ax.text(
            0.99, 0.02, "", transform=self.ax.transAxes, ha="right", fontsize=10, color=INK,
            family="monospace", zorder=7, bbox={"fc": "white", "ec": "none", "pad": 1.5},
        )  # fmt: skip
        # Names go along with their marks, on the side that is free in the end: none jumps.
        texts = shown_names([way.name for way in self.ways])
        ends = [Label(t, *w.place, w.look.color) for t, w in zip(texts, self.ways, strict=True)]
        self.leaders: list[Any] = []
        covered = np.vstack([way.covered for way in self.ways])
        self.names = place(self.ax, ends, covered, leaders=self.leaders)
        self.figure.draw_without_rendering()
        self.figure.set_layout_engine("none")
        self.trails = [self._trail(way) for way in self.ways]

    def _trail(self, way: Way) -> tuple[Any, Any, Any, Any]:
        collection = require("matplotlib.collections", "plot").LineCollection
        lines = collection([], linewidths=2.0, zorder=3, capstyle="round")
        self.ax.add_collection(lines, autolim=False)
        look = way.look
        span = collection([], linewidths=5.0, colors=look.color, alpha=0.5, zorder=3)
        self.ax.add_collection(span, autolim=False)
        if len(way.points):
            self.ax.plot(*way.points[0], look.marker, ms=6, mfc="white", mec=look.color, mew=1.3,
                         zorder=4)  # fmt: skip
        head = self.ax.plot([], [], look.marker, ms=9.5, mfc=look.color, mec="white", mew=1.0,
                            zorder=5)[0]  # fmt: skip
        ends = self.ax.plot([], [], "o", ms=5.0, color=look.color, mec="none", alpha=0.5)[0]
        return lines, head, span, ends

    def frames(self) -> Iterator[NDArray[np.uint8]]:
        """Yield the pictures as RGB arrays."""
        for step in self.run.steps:
            for way, name, leader, (lines, head, span, ends) in zip(
                self.ways, self.names, self.leaders, self.trails, strict=True
            ):
                seen = way.until(step)
                span.set_segments(seen.spans[-1:] if seen.ends_open else [])
                if len(seen.points) + len(seen.spans) == 0:
                    continue
                head.set_data(*([[], []] if seen.ends_open else seen.points[-1:].T))
                ends.set_data(*(seen.spans[-1].T if seen.ends_open else [[], []]))
                name.xy = tuple(seen.end)
                if leader is not None:
                    leader.xy = tuple(seen.end)
                pieces = seen.pieces
                if len(pieces):
                    lines.set_segments(pieces)
                    # The tail fades, but what is long past stays visible.
                    lines.set_color(shades(way.look.color, np.linspace(0.05, 1.0, len(pieces))))
            self.clock.set_text(f"step {step:>6,}")
            if self.strip is not None:
                self.strip.move(int(step))
            yield picture(self.figure)
