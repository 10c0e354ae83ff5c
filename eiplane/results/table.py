"""The printed table of a decomposition, as text and as HTML."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

from .quantities import TABLE, Quantities, Quantity, bounds_of, error_of

__all__ = ["cells", "html_table", "text_table"]

#: What a cell says where nothing is known.
NOTHING = "-"


def cells(layers: Sequence[Quantities]) -> tuple[list[str], list[list[str]]]:
    """Return the headings and the rows of the table.

    Parameters
    ----------
    layers : sequence of LayerResult

    Returns
    -------
    headings : list of str
    rows : list of list of str
        A cell for every quantity with a heading of which any layer knows something.
    """
    columns = [q for q in TABLE if q.heading and any(_cell(x, q) != NOTHING for x in layers)]
    rows = []
    for layer in layers:
        name = layer.name + (" (saturated)" if layer.saturated else "")
        first = [name, f"{layer.n_in}→{layer.n_out}", layer.activation, layer.method or NOTHING]
        rows.append(first + [_cell(layer, q) for q in columns])
    return ["layer", "shape", "activation", "method", *(str(q.heading) for q in columns)], rows


def text_table(layers: Sequence[Quantities]) -> list[str]:
    """Return the lines of the table as text, the columns aligned."""
    headings, rows = cells(layers)
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    lines = []
    for line in [headings, ["-" * w for w in widths], *rows]:
        left = [c.ljust(w) for c, w in zip(line[:4], widths, strict=False)]
        right = [c.rjust(w) for c, w in zip(line[4:], widths[4:], strict=True)]
        lines.append("  ".join(left + right).rstrip())
    return lines


def html_table(layers: Sequence[Quantities]) -> str:
    """Return the table as HTML, for notebooks."""
    headings, rows = cells(layers)
    head = "".join(f"<th>{escape(h)}</th>" for h in headings)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(c)}</td>" for c in line) + "</tr>" for line in rows
    )
    return (
        f"<table><caption>Causal decomposition, bits</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table>"
    )


def _cell(layer: Quantities, shown: Quantity[Any]) -> str:
    """Return a value with its error; of one that is not known the bounds, if those are."""
    value, error, bounds = (
        None if q is None else getattr(layer, q.name)
        for q in (shown, error_of(shown.name), bounds_of(shown.name))
    )
    if value is None:
        return NOTHING if bounds is None else f"[{bounds[0]:.4g}, {bounds[1]:.4g}]"
    if error:  # to the error's first digit
        decimals = max(0, -math.floor(math.log10(error)))
        return f"{value:.{decimals}f} ± {error:.{decimals}f}"
    return value if isinstance(value, str) else f"{value:.4g}"
