"""The strongest and the deadest edges and neurons of a layer, and what its nodes carry."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..results import Change, row_of, with_error
from .words import counted

__all__ = ["Edges", "edges_of", "extremes", "greatest", "nodes"]

Array = NDArray[np.float64]

#: Rows of each table of extremes, and bars of nodes that are drawn one by one.
_ROWS, _BARS = 5, 160


@dataclass(frozen=True, eq=False)
class Edges:
    """A measure of the edges of a layer.

    Parameters
    ----------
    name : str
        ``"ei_edges"`` or ``"sensitivity_edges"``.
    matrix : ndarray of float64, shape (n_out, n_in)
        Of a convolution a row a kernel.
    errors : ndarray or None
        Standard errors; None where exact.
    shape : tuple of int
        Of the weight.
    bound : float or None
        Where exact, the greatest error.
    """

    name: str
    matrix: Array
    errors: Array | None
    shape: tuple[int, ...]
    bound: float | None

    @property
    def words(self) -> str:
        """What is measured."""
        return "EI" if self.name == "ei_edges" else "sensitivity"

    def called(self, flat: int) -> str:
        """Return what an edge is called."""
        place = [int(i) for i in np.unravel_index(flat, self.shape)]
        if len(place) == 2:
            return f"{place[1]} → {place[0]}"
        return f"{place[1]} → {place[0]}, at {', '.join(map(str, place[2:]))}"

    @property
    def silent(self) -> int:
        """How many edges cannot be told from none."""
        if self.errors is not None:
            return int((self.matrix <= 2.0 * self.errors).sum())
        return int((self.matrix <= 2.0 * (self.bound or 0.0)).sum())

    def text(self, flat: int) -> str:
        """Return an edge's bits, with what is known of their error."""
        value = float(self.matrix.ravel()[flat])
        if self.errors is not None:
            return with_error(value, float(self.errors.ravel()[flat]))
        return f"at most {self.bound:.1g}" if value <= (self.bound or -1.0) else f"{value:.4g}"

    def change(self, before: Edges, flat: int) -> str:
        """Return how an edge changed, with the error of the difference."""
        errors = [e.errors.ravel()[flat] if e.errors is not None else 0.0 for e in (before, self)]
        moved = float(self.matrix.ravel()[flat] - before.matrix.ravel()[flat])
        return Change(moved, math.hypot(*errors)).text

    def sums(self, axis: int) -> tuple[Array, Array | None]:
        """Return the sums over an axis, and the most that their standard errors can be."""
        errors = None if self.errors is None else self.errors.sum(axis=axis)
        return self.matrix.sum(axis=axis), errors


def edges_of(layer: Any) -> Edges | None:
    """Return the edges' EI, or where that was not measured their sensitivity; None without both."""
    for name in ("ei_edges", "sensitivity_edges"):
        values, errors = getattr(layer, name), getattr(layer, f"{name}_stderr")
        if values is not None:
            flat = np.asarray(values, dtype=np.float64).reshape(len(values), -1)
            return Edges(
                name, flat, None if errors is None else np.asarray(errors).reshape(flat.shape),
                np.shape(values), layer.error_bound,
            )  # fmt: skip
    return None


def greatest(values: Array, count: int) -> NDArray[np.intp]:
    """Return where the greatest values are, as a stable sort has them: of equal ones the first.

    Parameters
    ----------
    values : ndarray of float64, shape (n,)
    count : int
        How many; at most ``n``.
    """
    last = -np.partition(-values, count - 1)[count - 1]
    above, equal = np.flatnonzero(values > last), np.flatnonzero(values == last)
    chosen = np.concatenate([above, equal[: count - len(above)]])
    return chosen[np.argsort(-values[chosen], kind="stable")]


def extremes(layer: Any, edges: Edges) -> str:
    """Return tables of the strongest and the deadest edges and neurons.

    Parameters
    ----------
    layer : LayerResult
    edges : Edges
        Its own.
    """
    flat = edges.matrix.ravel()
    rows: list[tuple[str, ...]] = [
        (kind, edges.called(int(i)), edges.text(int(i)))
        for kind, chosen in _ends(flat)
        for i in chosen
    ]
    tables = [_table(f"Edges, input → output: {edges.words}, bits", ("edge", edges.words), rows)]
    for side, axis, influence in (("output", 1, "influence_out"), ("input", 0, "influence_in")):
        tables.append(_neurons(layer, edges, side, axis, influence))
    return f'<div class="tables">{"".join(tables)}</div>{_silence(edges)}'


def _ends(values: Array) -> list[tuple[str, NDArray[np.intp]]]:
    """Return what is listed: all of few, else both ends."""
    if len(values) <= 2 * _ROWS:
        return [("strongest first", greatest(values, len(values)))]
    return [("strongest", greatest(values, _ROWS)), ("deadest", greatest(-values, _ROWS))]


def _silence(edges: Edges) -> str:
    size = edges.matrix.size
    how = (
        f"none is off by more than {edges.bound:.1g} bits"
        if edges.errors is None and edges.bound is not None
        else "± is one standard error; that of a neuron's sum is the most that it can be, the sum "
        "of its edges'"
        if edges.errors is not None
        else "their errors are not known"
    )
    return (
        f'<p class="note">{edges.silent:,} of {counted(size, "edge")} cannot be told from 0. '
        f"Edges: {how}. Of several that are equal the first are listed.</p>"
    )


def _number(value: float, errors: Array | None, place: Any) -> str:
    return with_error(float(value), None if errors is None else float(errors.ravel()[place]))


def _neurons(layer: Any, edges: Edges, side: str, axis: int, influence: str) -> str:
    sums, errors = edges.sums(axis)
    whole, doubt = getattr(layer, influence), getattr(layer, f"{influence}_stderr")
    if whole is not None and len(whole) != len(sums):
        whole = None  # of a convolution a column is no neuron
    names = (side, f"sum of {edges.words}") + (("influence",) if whole is not None else ())
    rows: list[tuple[str, ...]] = []
    for kind, chosen in _ends(sums):
        for i in chosen.tolist():
            row = [kind, str(i), _number(sums[i], errors, i)]
            if whole is not None:
                error = None if doubt is None else float(doubt[i])
                row.append(with_error(float(whole[i]), error))
            rows.append(tuple(row))
    caption = f"{side.capitalize()}s, bits"
    if edges.matrix.shape[1] != layer.n_in and axis == 0:
        caption = "Places of the kernel, bits"
    return _table(caption, names, rows)


def _table(caption: str, headings: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    head = "".join(f'<th scope="col">{escape(h)}</th>' for h in headings)
    body, last = [], ""
    for kind, name, *numbers in rows:
        if kind != last:
            body.append(f'<tr><th scope="rowgroup" colspan="{len(headings)}">{kind}</th></tr>')
            last = kind
        cells = "".join(f"<td>{escape(text)}</td>" for text in numbers)
        body.append(f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>')
    return (
        f'<table class="small"><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table>"
    )


def nodes(layer: Any, edges: Edges) -> str:
    """Return bars of what every input and output node carries.

    Parameters
    ----------
    layer : LayerResult
    edges : Edges
        Its own, whose sums are drawn where the nodes' influences were not measured.
    """
    drawn = []
    for side, axis in (("in", 0), ("out", 1)):
        row = row_of(f"influence_{side}")
        values, errors = getattr(layer, row.name), getattr(layer, f"{row.name}_stderr")
        what = (
            "influence, I(input; all outputs)"
            if side == "in"
            else "influence, I(all inputs; output)"
        )
        if values is None:
            values, errors = edges.sums(axis)
            what = f"sum of the edges' {edges.words}"
        kind = "input" if side == "in" else "output"
        drawn.append(_bars(np.asarray(values), errors, kind, what))
    return f'<div class="tables">{"".join(drawn)}</div>'


def _bars(values: Array, errors: Array | None, kind: str, what: str) -> str:
    """Return bars, one a node; of many nodes a bar from the least to the greatest of several."""
    step = math.ceil(len(values) / _BARS)
    starts = np.arange(0, len(values), step)
    high, low = np.maximum.reduceat(values, starts), np.minimum.reduceat(values, starts)
    doubt = np.zeros(len(values)) if errors is None else 2.0 * np.nan_to_num(np.asarray(errors))
    top, bottom = float((values + doubt).max()), min(0.0, float((values - doubt).min()))
    span = top - bottom or 1.0
    wide, tall = 300.0, 60.0
    pace = wide / len(starts)

    def y(value: float) -> str:
        return f"{tall - tall * (value - bottom) / span:.1f}"

    base = 0.0 if step == 1 else None
    bars = "".join(
        f"M{(i + 0.5) * pace:.1f} {y(low[i] if base is None else base)}V{y(high[i])}"
        for i in range(len(starts))
    )
    if base is None:  # what is equal is seen too
        bars += "".join(
            f"M{(i + 0.5) * pace - 0.5:.1f} {y(values[s : s + step].mean())}h1"
            for i, s in enumerate(starts)
        )
    whiskers = "".join(
        f"M{(i + 0.5) * pace:.1f} {y(values[i] - doubt[i])}V{y(values[i] + doubt[i])}"
        for i in range(len(starts))
        if step == 1 and doubt[i] > 0.0
    )
    note = (
        f"{counted(len(values), kind)}: {what}, bits; from {values.min():.3g} to {values.max():.3g}"
    )
    if step > 1:
        note += f"; a bar goes from the least to the greatest of {step} nodes"
    if whiskers:
        note += "; whiskers are two standard errors"
    elif doubt.any():
        note += f"; two standard errors are at most {doubt.max():.2g}"
    thick = max(0.6, 0.7 * pace)
    return (
        f'<figure class="bars"><figcaption>{escape(note)}</figcaption>'
        f'<svg role="img" aria-label="{escape(note)}" viewBox="0 -2 {wide:.0f} {tall + 4:.0f}">'
        f'<path class="bar" stroke-width="{min(thick, 14.0):.2f}" d="{bars}"/>'
        f'<path class="zero" d="M0 {y(0.0)}H{wide:.0f}"/>'
        + (f'<path class="whisker" d="{whiskers}"/>' if whiskers else "")
        + "</svg></figure>"
    )
