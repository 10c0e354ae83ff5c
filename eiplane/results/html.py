"""Results as HTML: tables with bars in their cells, and the edges of a layer as a heat map.

HTML, inline styles and inline SVG alone: no script, nothing from the network. Colours are laid over
whatever background there is, so that light and dark pages both do; every number that a colour
stands for is also in words.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .measures import Skipped
from .quantities import Quantities, Quantity, bounds_of
from .table import cells, columns_of, legend_of, with_error

__all__ = ["NUMBERS", "html_edges", "html_skipped", "html_table"]

Array = NDArray[np.float64]

# Red, green and blue of what is above zero, and of what is below; both told from each other with
# any colour vision.
_ABOVE, _BELOW = "20,130,200", "230,159,0"

#: Up to so many rows and columns the edges are a table with numbers; a larger map has at most so
#: many squares a side, each of several edges.
NUMBERS, _SQUARES = 12, 64

#: Shades of a map.
_SHADES = 16


def html_table(layers: Sequence[Quantities]) -> str:
    """Return the table of a decomposition; each number has a bar, to compare it down its column.

    A single row has nothing to be compared with, and no bars. Where the bounds alone are known the
    bar, a faint one, goes from one to the other.
    """
    headings, rows = cells(layers)
    columns = columns_of(layers)
    words = len(headings) - len(columns)
    bars = [_bars([_extent(layer, q) for layer in layers]) for q in columns]
    head = "".join(f'<th scope="col">{escape(h)}</th>' for h in headings)
    body = []
    for i, row in enumerate(rows):
        first = f'<th scope="row" style="text-align:left">{escape(row[0])}</th>'
        texts = "".join(f'<td style="text-align:left">{escape(text)}</td>' for text in row[1:words])
        numbers = "".join(
            f'<td style="text-align:right;white-space:nowrap;{bar[i]}">{escape(text)}</td>'
            for text, bar in zip(row[words:], bars, strict=True)
        )
        body.append(f"<tr>{first}{texts}{numbers}</tr>")
    legend = "".join(f"<p>{escape(line)}</p>" for line in legend_of(layers))
    return (
        '<div style="overflow-x:auto"><table><caption>Causal decomposition, bits</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>{legend}"
    )


def _extent(layer: Quantities, shown: Quantity[Any]) -> tuple[float, float, float] | None:
    """Return from where to where a cell's bar goes, and how strong it is; None for none."""
    value, of = getattr(layer, shown.name), bounds_of(shown.name)
    if isinstance(value, float) and math.isfinite(value):
        return 0.0, value, 0.3
    bounds = None if of is None or value is not None else getattr(layer, of.name)
    return None if bounds is None else (*bounds, 0.15)


def _bars(extents: Sequence[tuple[float, float, float] | None]) -> list[str]:
    """Return the background of each cell of a column: a bar from zero, or between bounds."""
    ends = [end for extent in extents if extent is not None for end in extent[:2]]
    low, high = min([0.0, *ends]), max([0.0, *ends])
    if high == low or len(extents) == 1:
        return [""] * len(extents)
    return [
        ""
        if extent is None
        else _bar((extent[0] - low) / (high - low), (extent[1] - low) / (high - low), extent[2])
        for extent in extents
    ]


def _bar(start: float, end: float, strength: float) -> str:
    first, last = sorted((start, end))
    colour = f"rgba({_ABOVE if end >= start else _BELOW},{strength:.2g})"
    return (
        f"background:linear-gradient(90deg,transparent {first:.1%},{colour} {first:.1%},"
        f"{colour} {last:.1%},transparent {last:.1%})"
    )


def html_edges(layer: Quantities) -> str:
    """Return the heat map of a layer's edges: EI, or where that was not measured the sensitivity.

    Parameters
    ----------
    layer : LayerResult

    Returns
    -------
    str
        A table with numbers where the layer is small, else a picture whose squares are the means of
        neighbouring edges; rows are outputs. Empty where no edges were measured.
    """
    for name in ("ei_edges", "sensitivity_edges"):
        edges: Array | None = getattr(layer, name)
        if edges is not None:
            break
    else:
        return ""
    # Of a convolution: a row a kernel.
    matrix = np.asarray(edges, dtype=np.float64).reshape(len(edges), -1)
    what = f"{'EI' if name == 'ei_edges' else 'Sensitivity'} of every edge of {layer.name}"
    most = float(matrix.max())
    scale = f"from 0 to {most:.4g} bits"
    if max(matrix.shape) <= NUMBERS:
        errors = getattr(layer, f"{name}_stderr")
        doubt = None if errors is None else np.asarray(errors).reshape(matrix.shape)
        return _numbered(matrix, doubt, f"{what}, {scale}", most)
    return _drawn(matrix, what, scale)


def _numbered(matrix: Array, errors: Array | None, caption: str, most: float) -> str:
    doubt = np.zeros(matrix.shape) if errors is None else errors
    head = "".join(f'<th scope="col">{i}</th>' for i in range(matrix.shape[1]))
    rows = "".join(
        f'<tr><th scope="row">{j}</th>'
        + "".join(
            f'<td style="text-align:right;background:rgba({_ABOVE},{_share(v, most):.2f})">'
            f"{with_error(v, e) if e else f'{v:.3g}'}</td>"
            for v, e in zip(row, doubt[j].tolist(), strict=True)
        )
        + "</tr>"
        for j, row in enumerate(matrix.tolist())
    )
    return (
        f'<div style="overflow-x:auto"><table><caption>{escape(caption)}</caption><thead>'
        f"<tr><td>output \\ input</td>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _share(value: float, most: float) -> float:
    """How much of the colour a cell has; text stays readable on it, black or white."""
    return 0.6 * max(value, 0.0) / most if most > 0 else 0.0


def _drawn(matrix: Array, what: str, scale: str) -> str:
    n_out, n_in = matrix.shape
    means, reduced = _reduced(matrix)
    rows, columns = means.shape
    most = float(means.max())
    levels = np.rint(means / most * _SHADES).astype(int) if most > 0 else np.zeros(means.shape, int)
    note = f"{n_out} outputs (rows) and {n_in} inputs (columns)"
    if reduced:
        note += f"; each square is the mean of up to {reduced} edges, at most {most:.4g} bits"
    else:
        note += f", {scale}"
    size = max(3, min(14, 420 // max(rows, columns)))
    return (
        f'<figure style="margin:.5em 0"><figcaption>{escape(what)}: {escape(note)}</figcaption>'
        f'<svg role="img" aria-label="{escape(what)}: {escape(note)}" width="{columns * size}" '
        f'height="{rows * size}" viewBox="0 0 {columns} {rows}" preserveAspectRatio="none" '
        'shape-rendering="crispEdges" '
        'style="max-width:100%;border:1px solid rgba(128,128,128,.6)">'
        f"{_paths(levels)}</svg></figure>"
    )


def _reduced(matrix: Array) -> tuple[Array, int]:
    """Return at most so many rows and columns, means of blocks, and edges a block; 0 if all."""
    steps = [math.ceil(n / _SQUARES) for n in matrix.shape]
    if steps == [1, 1]:
        return matrix, 0
    means = matrix
    for axis, step in enumerate(steps):
        starts = np.arange(0, matrix.shape[axis], step)
        sums = np.add.reduceat(means, starts, axis=axis)
        counts = np.diff([*starts, matrix.shape[axis]])
        means = sums / np.expand_dims(counts, 1 - axis)
    return means, steps[0] * steps[1]


def _paths(levels: NDArray[Any]) -> str:
    """Return a path for each shade, of its squares, neighbours in a row joined."""
    drawn: dict[int, list[str]] = {}
    for y, row in enumerate(levels.tolist()):
        x = 0
        while x < len(row):
            end = x + 1
            while end < len(row) and row[end] == row[x]:
                end += 1
            drawn.setdefault(row[x], []).append(f"M{x} {y}h{end - x}v1h-{end - x}z")
            x = end
    return "".join(
        f'<path fill="rgb({_ABOVE})" fill-opacity="{level / _SHADES:.3g}" d="{"".join(parts)}"/>'
        for level, parts in sorted(drawn.items())
        if level > 0
    )


def html_skipped(skipped: Sequence[Skipped]) -> str:
    """Return what was skipped as a list; empty where that is nothing."""
    items = "".join(f"<li>{escape(s.name)}: {escape(s.reason)}</li>" for s in skipped)
    return f"<p>Skipped:</p><ul>{items}</ul>" if items else ""
