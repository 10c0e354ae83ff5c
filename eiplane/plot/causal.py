"""Layers in the causal plane: where they lie, how they move, and runs compared."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..files import require
from ..results import Decomposition
from ..training import History, as_history
from .frames import frame
from .labels import Label, place
from .names import shown_name, shown_names
from .planes import Path, Plane, draw_path, paths, styled
from .roles import LAYERS, Role, roles
from .style import INK, Look, depth_map, depths, keep_legend, looks, make_axes, symbols

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["causal_plane", "compare", "trajectory"]

Array = NDArray[np.float64]


def causal_plane(
    source: Any,
    ax: Axes | None = None,
    *,
    rotated: bool = True,
    ei: str = "parts",
    contours: bool = True,
    labels: bool = True,
    normalize: str | None = None,
    scale: str = "linear",
    role: Role | None = None,
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
        Names beside the layers. More than 12 are told apart by group: a mark a role, explained in a
        legend, and colour by depth.
    normalize : {None, "edges", "outputs"}
        Divide the bits by inputs times outputs of a layer, or by its outputs: small and large
        layers become comparable.
    scale : {"linear", "symlog"}
        Of both axes: symlog is logarithmic to both sides of a linear stretch around zero.
    role : callable, optional
        From a layer's name to its group, where they are more than 12. If left out, the part of the
        name that repeats over blocks.

    Returns
    -------
    Axes
        Bars are two standard errors to either side. A layer of whose EI only the bounds are known
        is a broad line, on which it lies, without a mark.

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
    plane = Plane(rotated, ei, normalize, scale)
    return _draw(as_history(source), ax, plane, contours, labels, role, key=False)


def trajectory(
    source: Any,
    ax: Axes | None = None,
    *,
    rotated: bool = True,
    ei: str = "parts",
    contours: bool = True,
    labels: bool = True,
    normalize: str | None = None,
    scale: str = "linear",
    role: Role | None = None,
) -> Axes:
    """Draw how layers move through the causal plane while a network learns.

    Parameters
    ----------
    source : Tracker, History, path of a tracked run, or sequence of Decomposition
    ax : Axes, optional
    rotated, ei, contours, labels, normalize, scale, role
        As of :func:`causal_plane`.

    Returns
    -------
    Axes
        With a key of the marks: hollow where it starts, filled where it ends.
    """
    plane = Plane(rotated, ei, normalize, scale)
    return _draw(as_history(source), ax, plane, contours, labels, role, key=True)


def _draw(
    run: History,
    ax: Axes | None,
    plane: Plane,
    contours: bool,
    labels: bool,
    role: Role | None,
    *,
    key: bool,
) -> Axes:
    drawn = paths(run, plane)
    many = len(drawn) > symbols()
    groups = roles([path.name for path in drawn], role, symbols())
    if many:
        drawn = _grouped(drawn, groups)
    ax = make_axes(ax, (7.6, 5.0) if many and labels else (6.4, 5.0))
    for path in drawn:
        draw_path(ax, path)
    frame(ax, plane, np.vstack([p.everything for p in drawn]), contours)
    way = np.vstack([p.covered for p in drawn])
    legend = _marks(ax, run, way) if key and len(run) > 1 else None
    if labels and many:
        if legend:
            keep_legend(ax, legend)
        marks = {group: path.look.marker for group, path in zip(groups, drawn, strict=True)}
        _legend(ax, marks, [group for group in marks if group != LAYERS])
        _depth_key(ax, len(drawn), low=0.0, high=1.0 if len(marks) == 1 else 0.42)
    elif labels:
        texts = shown_names([p.name for p in drawn])
        names = [Label(t, *p.place, p.look.color) for t, p in zip(texts, drawn, strict=True)]
        place(ax, names, way, around=[legend] if legend else [])
    return ax


def _grouped(drawn: Sequence[Path], groups: Sequence[str]) -> list[Path]:
    """Return ways with a mark a group, and coloured by depth."""
    marks = dict(zip(dict.fromkeys(groups), looks(len(set(groups))), strict=True))
    return [
        styled(path, Look(colour, marks[group].marker, path.look.line))
        for path, group, colour in zip(drawn, groups, depths(len(drawn)), strict=True)
    ]


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
    normalize: str | None = None,
    scale: str = "linear",
) -> Axes:
    """Draw several runs, or several measurements of one network, in one causal plane.

    Parameters
    ----------
    runs : mapping of name to run, or sequence of runs
        Each as for :func:`causal_plane`. Of single decompositions arrows lead each layer from one
        to the next: how it was moved by training, pruning or quantisation. :func:`changes` draws by
        how much.
    ax : Axes, optional
    rotated, ei, contours, normalize, scale
        As of :func:`causal_plane`.

    Returns
    -------
    Axes
        Colour tells the layer (its depth, of more than 12); line and mark tell the run.
    """
    if isinstance(runs, Decomposition | History | str | os.PathLike):
        raise TypeError(
            'several runs are compared, in one argument: compare({"before": a, "after": b})'
        )
    named = runs if isinstance(runs, Mapping) else _named(runs)
    plane = Plane(rotated, ei, normalize, scale)
    ways = {name: paths(as_history(run), plane) for name, run in named.items()}
    layers = list(dict.fromkeys(p.name for drawn in ways.values() for p in drawn))
    colour = {n: look.color for n, look in zip(layers, looks(len(layers)), strict=True)}
    styles = looks(len(ways))
    ax = make_axes(ax)
    for style, drawn in zip(styles, ways.values(), strict=True):
        for path in drawn:
            look = Look(colour[path.name], style.marker, style.line)
            draw_path(ax, styled(path, look), dashed=True)
    frame(ax, plane, np.vstack([p.everything for drawn in ways.values() for p in drawn]), contours)
    if all(len(path.points) <= 1 for drawn in ways.values() for path in drawn):
        _arrows(ax, list(ways.values()), colour)
    if len(layers) > symbols():
        _depth_key(ax, len(layers), low=0.4, high=1.0)
    else:
        handles = [ax.plot([], [], color=c, lw=3)[0] for c in colour.values()]
        key = ax.legend(handles, shown_names(list(colour)), title="layer", loc="upper left",
                        frameon=False, bbox_to_anchor=(1.01, 1.0), fontsize=8.5, title_fontsize=8.5,
                        alignment="left")  # fmt: skip
        keep_legend(ax, key)
    marks = [
        ax.plot([], [], color=INK, ls=s.line, marker=s.marker, lw=1.4, ms=6)[0] for s in styles
    ]
    ax.legend(marks, shown_names(list(ways)), title="run", loc="lower left", frameon=False,
              bbox_to_anchor=(1.01, 0.0), fontsize=8.5, title_fontsize=8.5, handlelength=3.2,
              alignment="left")  # fmt: skip
    return ax


def _arrows(ax: Axes, ways: Sequence[Sequence[Path]], colour: Mapping[str, str]) -> None:
    """Draw where each layer went from one run to the next; none from or to what is not known."""
    known = [{p.name: p for p in drawn if len(p.points) and not p.ends_open} for drawn in ways]
    for before, after in itertools.pairwise(known):
        for name in before.keys() & after.keys():
            ax.annotate(
                "", after[name].place, before[name].place,
                arrowprops={"arrowstyle": "-|>", "color": colour[name], "lw": 1.2, "shrinkA": 5.0,
                            "shrinkB": 5.0, "mutation_scale": 10.0}, zorder=3.5,
            )  # fmt: skip


def _legend(ax: Axes, marks: Mapping[str, str], groups: Sequence[str]) -> None:
    """Draw which mark is which group's."""
    if groups:
        handles = [
            ax.plot([], [], marks[group], mfc=INK, mec="white", ms=8, label=shown_name(group))[0]
            for group in groups
        ]
        ax.legend(handles=handles, frameon=False, fontsize=8, loc="upper left",
                  alignment="left", bbox_to_anchor=(1.01, 1.02))  # fmt: skip


def _depth_key(ax: Axes, count: int, low: float, high: float) -> None:
    """Draw which colour is which depth, beside the axes."""
    cm = require("matplotlib.cm", "plot")
    colors = require("matplotlib.colors", "plot")
    figure = ax.get_figure(root=True)
    assert figure is not None
    bar = figure.colorbar(
        cm.ScalarMappable(colors.Normalize(1, count), depth_map()),
        cax=ax.inset_axes((1.035, low, 0.03, high - low)),
        ticks=np.unique(np.linspace(1, count, 5).round()),
    )
    bar.ax.invert_yaxis()  # read from the first layer on
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8, colors=INK, length=2)
    bar.set_label("position of the layer", fontsize=8, color=INK)


def _named(runs: Sequence[Any]) -> dict[str, History]:
    named: dict[str, History] = {}
    for i, run in enumerate(map(as_history, runs)):
        name = run.name if run.name and run.name not in named else f"run {i + 1}"
        named[name] = run
    return named
