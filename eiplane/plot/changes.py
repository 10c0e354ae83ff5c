"""What became of the layers' quantities from one measurement to another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..results import Change, change_of, row_of
from ..training import as_history
from .names import shown_names
from .scales import check_normalize, check_scale, enough_ticks, set_symlog, unit_of
from .style import ERRORS, INK, QUIET, make_axes, mark_ends, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["changes"]

#: What is drawn if nothing is chosen: the first of these that both have.
_FIRST = ("ei_parts", "ei", "sensitivity")

#: Of more, and of less; told from each other with any colour vision.
_MORE, _LESS = "#0072B2", "#E69F00"


@dataclass(frozen=True)
class _Row:
    """A layer and its change, as they are drawn."""

    name: str
    value: float | None
    half: float
    bounds: tuple[float, float] | None

    @property
    def weight(self) -> float:
        """By what rows are put in order; what is not known comes last."""
        return -1.0 if self.value is None else abs(self.value)

    @property
    def ends(self) -> tuple[float, float]:
        """What has to be seen."""
        if self.value is None:
            assert self.bounds is not None
            return self.bounds
        return self.value - self.half, self.value + self.half


def changes(
    before: Any,
    after: Any,
    ax: Axes | None = None,
    *,
    quantity: str | None = None,
    normalize: str | None = None,
    scale: str = "linear",
    most: int = 20,
) -> Axes:
    """Draw by how much a quantity of the layers changed, the greatest changes on top.

    Parameters
    ----------
    before, after : Decomposition, Tracker, History, or path of a tracked run
        With layers of the same names and shapes; of several moments the last counts.
    ax : Axes, optional
        Where to draw; a new figure's if left out.
    quantity : str, optional
        Such as ``"phi"``. If left out: ``ei_parts``, or else ``ei``, or else ``sensitivity``.
    normalize : {None, "edges", "outputs"}
        Divide the bits by inputs times outputs of the layer, or by its outputs.
    scale : {"linear", "symlog"}
        Of the axis across.
    most : int
        How many layers are drawn at most.

    Returns
    -------
    Axes
        Whiskers are two standard errors to either side, the two numbers' taken as independent. A
        broad line without a bar reaches from one bound of the change to the other, where no more is
        known. A layer of which nothing is known, or that only one of the two has, is left out.

    Raises
    ------
    ImportError
        If matplotlib is missing.
    ValueError
        If the two have no layer in common of which the quantity is known.
    """
    check_normalize(normalize)
    check_scale(scale)
    if most < 1:
        raise ValueError(f"most must be at least 1, not {most}")
    first, last = (
        {entry["name"]: entry for entry in as_history(source)[-1].layers}
        for source in (before, after)
    )
    common = [n for n in first if n in last and _size(first[n]) == _size(last[n])]
    if not common:
        raise ValueError("the two have no layer of one name and shape in common")
    chosen = _FIRST if quantity is None else (quantity,)
    for name in chosen:
        rows = [_row(first[n], last[n], name, normalize) for n in common]
        found = [row for row in rows if row is not None]
        if found:
            return _draw(ax, found, name, normalize, scale, most)
    raise ValueError(f"{' or '.join(chosen)} is not known of any layer in both")


def _size(entry: Mapping[str, Any]) -> tuple[Any, Any]:
    return entry.get("n_in"), entry.get("n_out")


def _row(
    first: Mapping[str, Any], last: Mapping[str, Any], quantity: str, normalize: str | None
) -> _Row | None:
    """Return a layer's change in the unit that is drawn; None where nothing is known."""
    if normalize is not None and row_of(quantity).unit != "bits":
        raise ValueError(f"{quantity} is a share: it cannot be divided by {normalize}")
    change: Change = change_of(first, last, quantity)
    if change.value is None and change.bounds is None:
        return None
    parts = {None: (), "edges": ("n_in", "n_out"), "outputs": ("n_out",)}[normalize]
    size = float(np.prod([first[part] for part in parts]))
    value = None if change.value is None else change.value / size
    bounds = None if change.bounds is None else (change.bounds[0] / size, change.bounds[1] / size)
    return _Row(str(first["name"]), value, ERRORS * (change.error or 0.0) / size, bounds)


def _draw(
    ax: Axes | None,
    rows: list[_Row],
    quantity: str,
    normalize: str | None,
    scale: str,
    most: int,
) -> Axes:
    kept = sorted(rows, key=lambda row: -row.weight)[:most]
    ax = make_axes(ax, (6.8, 1.3 + 0.26 * len(kept)))
    if scale == "symlog":
        set_symlog(ax, np.array([row.ends for row in kept]).ravel(), "x")
    for place, row in enumerate(kept):
        if row.value is None:
            ax.hlines(place, *row.ends, color=INK, lw=5.0, alpha=0.45)
            mark_ends(ax, row.ends, (place, place), INK, 5.0, 0.45)
            continue
        ax.barh(place, row.value, height=0.62, color=_MORE if row.value >= 0.0 else _LESS)
        if row.half > 0.0:
            ax.errorbar(row.value, place, xerr=row.half, fmt="none", ecolor=INK, elinewidth=1.2,
                        capsize=2.5)  # fmt: skip
    ax.axvline(0.0, color=INK, lw=0.8)
    ax.set_yticks(range(len(kept)), shown_names([r.name for r in kept]), fontsize=8.5)
    ax.set_ylim(len(kept) - 0.5, -0.5)
    of = row_of(quantity)
    unit = unit_of(of.unit, normalize) if of.unit else ""
    ax.set_xlabel(f"change of {of.symbol}" + (f" ({unit})" if unit else ""))
    if len(kept) < len(rows):
        title = f"{len(kept)} of {len(rows)} layers, the greatest changes on top"
        ax.set_title(title, fontsize=9, color=INK)
    if scale == "symlog":
        enough_ticks(ax, "x")
    ax.grid(axis="x", color=QUIET, lw=0.5)
    ax.set_axisbelow(True)
    ax.tick_params(labelsize=8.5)
    tidy(ax)
    return ax
