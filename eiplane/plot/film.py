"""Moving pictures: what draws the frames, what writes them, and the strip that runs below."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..files import require, write_whole
from ..training import History
from .style import QUIET, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "CURSOR",
    "Film",
    "Strip",
    "chosen_frames",
    "chosen_metric",
    "greys",
    "movie_path",
    "picture",
    "tints",
    "write_movie",
]

#: Where the strip below stands.
CURSOR = "#D55E00"


class Film(Protocol):
    """What draws the frames of a moving picture.

    Attributes
    ----------
    figure : Figure
    palette : ndarray of uint8, shape (colours, 3)
        At most 256 colours, for a gif: one palette for all frames, so that nothing flickers.
    """

    figure: Any
    palette: NDArray[np.uint8]

    def frames(self) -> Iterator[NDArray[np.uint8]]:
        """Yield the pictures as RGB arrays."""
        ...


class Strip:
    """A metric over the steps, and where the moving picture is.

    Parameters
    ----------
    ax : Axes
    run : History
        With a metric.
    """

    def __init__(self, ax: Axes, run: History) -> None:
        metric = chosen_metric(run)
        assert metric is not None
        ax.plot(run.steps, run.metric(metric), color="#222222", lw=1.3)
        ax.set_xlabel("step", fontsize=9)
        ax.set_ylabel(metric.replace("_", "\n"), fontsize=8.5)
        ax.grid(axis="y", color=QUIET, lw=0.5)
        ax.tick_params(labelsize=8)
        ax.margins(x=0.01)
        tidy(ax)
        self._now = ax.axvline(run.steps[0], color=CURSOR, lw=1.5)

    def move(self, step: int) -> None:
        """Show another step."""
        self._now.set_xdata([step, step])


def movie_path(path: str | os.PathLike[str]) -> Path:
    """Return the path of a moving picture; ValueError if its ending is of no such file."""
    target = Path(path)
    if target.suffix.lower() not in (".gif", ".mp4"):
        raise ValueError(f"a moving picture is a .gif or an .mp4 file, not {target.name!r}")
    return target


def chosen_frames(count: int, most: int) -> list[int]:
    """Return which of so many moments become frames: all, or as many as there may be, evenly."""
    if count <= most:
        return list(range(count))
    return [int(i) for i in np.unique(np.linspace(0, count - 1, most).round())]


def picture(figure: Any) -> NDArray[np.uint8]:
    """Draw a figure and return it as an RGB array."""
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()


def write_movie(film: Film, target: Path, fps: float, seconds: float) -> None:
    """Write a moving picture, whole or not at all.

    Parameters
    ----------
    film : Film
    target : pathlib.Path
        As :func:`movie_path` gives it.
    fps : float
        Frames a second.
    seconds : float
        How long the last one stands.
    """
    still = max(1, round(seconds * fps))
    write = _write_gif if target.suffix.lower() == ".gif" else _write_mp4
    write(film, target, fps, still)


def chosen_metric(run: History) -> str | None:
    """Return the metric that runs below: an accuracy, or else the first; None if there is none."""
    names = run.metrics
    for word in ("test_accuracy", "accuracy", "acc", "loss"):
        for name in names:
            if word in name:
                return name
    return names[0] if names else None


def _write_gif(film: Film, target: Path, fps: float, still: int) -> None:
    image = require("PIL.Image", "plot")
    pictures = list(film.frames())
    palette = image.new("P", (1, 1))
    palette.putpalette(film.palette.ravel().tolist())
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


def greys(count: int) -> NDArray[np.float64]:
    """Return greys from black to white, as shares of red, green and blue, shape (count, 3)."""
    return np.append(np.linspace(0.0, 0.94, count - 1), 1.0)[:, None] * np.ones(3)


def tints(colours: Sequence[str]) -> NDArray[np.uint8]:
    """Return at most 256 colours: greys, and tints and dark shades of each layer's colour."""
    rgb = require("matplotlib.colors", "plot").to_rgb
    base = [rgb(c) for c in colours[:: -(-len(colours) // 7)]]
    count = 208 // (len(base) + 1)
    parts = [greys(40)]
    for colour in [*base, rgb(CURSOR)]:
        tint = np.linspace(0.0, 0.88, count - 6)[:, None]  # white itself is a grey
        shade = np.linspace(0.6, 1.0, 6, endpoint=False)[:, None]  # the names are darkened
        parts += [(1 - tint) * colour + tint, shade * colour]
    return np.round(255 * np.vstack(parts)).astype(np.uint8)


def _write_mp4(film: Film, target: Path, fps: float, still: int) -> None:
    animation = require("matplotlib.animation", "plot")
    if not animation.FFMpegWriter.isAvailable():
        raise OSError("an mp4 needs the program ffmpeg, which was not found; write a .gif instead")
    writer = animation.FFMpegWriter(
        fps=fps, extra_args=["-pix_fmt", "yuv420p", "-vf", "crop=trunc(iw/2)*2:trunc(ih/2)*2"]
    )
    with tempfile.TemporaryDirectory() as folder:  # ffmpeg writes a file of its own
        part = Path(folder) / target.name
        with writer.saving(film.figure, part, film.figure.dpi):
            for _ in film.frames():
                writer.grab_frame()
            for _ in range(still - 1):
                writer.grab_frame()
        with part.open("rb") as written:
            write_whole(target, lambda file: shutil.copyfileobj(written, file))
