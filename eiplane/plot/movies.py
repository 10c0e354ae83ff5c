"""The causal plane in motion."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..files import require, write_whole
from ..training import History, as_history
from .frames import frame
from .labels import Label, place
from .planes import Path as Way
from .planes import Plane, paths
from .style import INK, QUIET, new_figure, shades, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["animate"]

Array = NDArray[np.float64]

#: Where the strip below stands.
CURSOR = "#D55E00"


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
    target = Path(path)
    kind = target.suffix.lower()
    if kind not in (".gif", ".mp4"):
        raise ValueError(f"a moving picture is a .gif or an .mp4 file, not {target.name!r}")
    run = as_history(source)
    if len(run) > max_frames:
        chosen = np.unique(np.linspace(0, len(run) - 1, max_frames).round().astype(int))
        run = History([run[int(i)] for i in chosen], run.name)
    film = _Film(run, Plane(rotated, ei, normalize, scale), size, dpi, title)
    still = max(1, round(seconds * fps))
    if kind == ".gif":
        _write_gif(film, target, fps, still)
    else:
        _write_mp4(film, target, fps, still)
    return target


class _Film:
    """Draws the frames."""

    def __init__(
        self, run: History, plane: Plane, size: tuple[float, float], dpi: float, title: str | None
    ) -> None:
        self.run = run
        self.ways = paths(run, plane)
        self.figure = new_figure(size, dpi)
        self.metric = _chosen_metric(run)
        if self.metric is None:
            self.ax = self.figure.subplots()
        else:
            self.ax, below = self.figure.subplots(2, height_ratios=[5, 1])
            self._strip(below, self.metric)
        if title:
            self.figure.suptitle(title, fontsize=11)
        everything = np.vstack([way.everything for way in self.ways])
        frame(self.ax, plane, everything)
        self.clock = self.ax.text(
            0.99, 0.02, "", transform=self.ax.transAxes, ha="right", fontsize=10, color=INK,
            family="monospace", zorder=7, bbox={"fc": "white", "ec": "none", "pad": 1.5},
        )  # fmt: skip
        # Names go along with their marks, on the side that is free in the end: none jumps.
        ends = [Label(way.name, *way.place, way.look.color) for way in self.ways]
        self.names = place(self.ax, ends, np.vstack([way.covered for way in self.ways]))
        self.figure.draw_without_rendering()
        self.figure.set_layout_engine("none")
        self.trails = [self._trail(way) for way in self.ways]

    def _strip(self, ax: Axes, metric: str) -> None:
        ax.plot(self.run.steps, self.run.metric(metric), color="#222222", lw=1.3)
        ax.set_xlabel("step", fontsize=9)
        ax.set_ylabel(metric.replace("_", "\n"), fontsize=8.5)
        ax.grid(axis="y", color=QUIET, lw=0.5)
        ax.tick_params(labelsize=8)
        ax.margins(x=0.01)
        tidy(ax)
        self.now = ax.axvline(self.run.steps[0], color=CURSOR, lw=1.5)

    def _trail(self, way: Way) -> tuple[Any, Any, Any]:
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
        return lines, head, span

    def frames(self) -> Iterator[NDArray[np.uint8]]:
        """Yield the pictures as RGB arrays."""
        for i, step in enumerate(self.run.steps):
            for way, name, (lines, head, span) in zip(
                self.ways, self.names, self.trails, strict=True
            ):
                seen = way.until(step)
                span.set_segments(seen.spans[-1:] if seen.ends_open else [])
                if len(seen.points) + len(seen.spans) == 0:
                    continue
                head.set_data(*([[], []] if seen.ends_open else seen.points[-1:].T))
                name.xy = tuple(seen.end)
                pieces = seen.pieces
                if len(pieces):
                    lines.set_segments(pieces)
                    # The tail fades, but what is long past stays visible.
                    lines.set_color(shades(way.look.color, np.linspace(0.05, 1.0, len(pieces))))
            self.clock.set_text(f"step {step:>6,}")
            if self.metric is not None:
                self.now.set_xdata([self.run.steps[i]] * 2)
            self.figure.canvas.draw()
            yield np.asarray(self.figure.canvas.buffer_rgba())[..., :3].copy()  # type: ignore[attr-defined]


def _chosen_metric(run: History) -> str | None:
    names = run.metrics
    for word in ("test_accuracy", "accuracy", "acc", "loss"):
        for name in names:
            if word in name:
                return name
    return names[0] if names else None


def _write_gif(film: _Film, target: Path, fps: float, still: int) -> None:
    image = require("PIL.Image", "plot")
    pictures = list(film.frames())
    # One palette for all frames, so that nothing flickers: tints of what is drawn with.
    palette = image.new("P", (1, 1))
    palette.putpalette(_palette([way.look.color for way in film.ways]).ravel().tolist())
    frames = [
        image.fromarray(p).quantize(palette=palette, dither=image.Dither.NONE) for p in pictures
    ]
    pace = round(1000 / fps)
    durations = [pace] * (len(frames) - 1) + [pace * still]
    write_whole(
        target,
        lambda file: frames[0].save(
            file, "GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0,
            optimize=False,
        ),
    )  # fmt: skip


def _palette(colours: list[str]) -> NDArray[np.uint8]:
    """Return at most 256 colours: greys, and tints and dark shades of each layer's colour."""
    rgb = require("matplotlib.colors", "plot").to_rgb
    base = [rgb(c) for c in colours[:: -(-len(colours) // 7)]]
    count = 208 // (len(base) + 1)
    parts = [np.append(np.linspace(0.0, 0.94, 39), 1.0)[:, None] * np.ones(3)]
    for colour in [*base, rgb(CURSOR)]:
        tint = np.linspace(0.0, 0.88, count - 6)[:, None]  # white itself is a grey
        shade = np.linspace(0.6, 1.0, 6, endpoint=False)[:, None]  # the names are darkened
        parts += [(1 - tint) * colour + tint, shade * colour]
    return np.round(255 * np.vstack(parts)).astype(np.uint8)


def _write_mp4(film: _Film, target: Path, fps: float, still: int) -> None:
    animation = require("matplotlib.animation", "plot")
    if not animation.FFMpegWriter.isAvailable():
        raise OSError("an mp4 needs the program ffmpeg, which was not found; write a .gif instead")
    writer = animation.FFMpegWriter(
        fps=fps, extra_args=["-pix_fmt", "yuv420p", "-vf", "crop=trunc(iw/2)*2:trunc(ih/2)*2"]
    )
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as folder:
        part = Path(folder) / target.name
        with writer.saving(film.figure, part, film.figure.dpi):
            for _ in film.frames():
                writer.grab_frame()
            for _ in range(still - 1):
                writer.grab_frame()
        os.replace(part, target)
