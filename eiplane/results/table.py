"""The printed table of a decomposition, as text and as HTML."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from .printed import printable
from .quantities import TABLE, Quantities, Quantity, bounds_of, error_of

__all__ = [
    "ASSUMED",
    "TOLD",
    "between",
    "cells",
    "columns_of",
    "legend_of",
    "range_text",
    "table_cell",
    "text_table",
    "with_error",
]

#: What a cell says where nothing is known.
NOTHING = "-"

_INPUTS = "inputs"

#: What stands below a table in which a range is marked.
ASSUMED = "* assumed: nothing says where these inputs live"

#: Sources of an input range that the table tells: others are the user's, or the layer's before.
TOLD = frozenset(["interval", "norm", "data", "assumed"])


def cells(layers: Sequence[Quantities]) -> tuple[list[str], list[list[str]]]:
    """Return the headings and the rows of the table.

    Parameters
    ----------
    layers : sequence of LayerResult

    Returns
    -------
    headings : list of str
    rows : list of list of str
        A cell for every quantity with a heading of which any layer knows something; one for the
        range of the inputs where that of any layer has a source to be told.
    """
    told, columns = _tells_ranges(layers), columns_of(layers)
    rows = []
    for layer in layers:
        name = layer.name + (" (saturated)" if layer.saturated else "")
        first = [name, f"{layer.n_in}→{layer.n_out}", layer.activation, layer.method or NOTHING]
        first += [range_text(layer.in_range, layer.range_source)] if told else []
        rows.append(first + [table_cell(layer, q) for q in columns])
    headings = ["layer", "shape", "activation", "method", *([_INPUTS] if told else [])]
    return headings + [str(q.heading) for q in columns], rows


def columns_of(layers: Sequence[Quantities]) -> list[Quantity[Any]]:
    """Return the quantities that have columns, the last ones of the table."""
    return [q for q in TABLE if q.heading and any(table_cell(x, q) != NOTHING for x in layers)]


def text_table(layers: Sequence[Quantities]) -> list[str]:
    """Return the lines of the table as text, the columns aligned."""
    headings, rows = cells(layers)
    rows = [[printable(c) for c in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    words = len(headings) - len(columns_of(layers))
    lines = []
    for line in [headings, ["-" * w for w in widths], *rows]:
        left = [c.ljust(w) for c, w in zip(line[:words], widths, strict=False)]
        right = [c.rjust(w) for c, w in zip(line[words:], widths[words:], strict=True)]
        lines.append("  ".join(left + right).rstrip())
    return lines


def legend_of(layers: Sequence[Quantities]) -> list[str]:
    """Return the lines that stand below the table: what its marks mean, where it has any."""
    return [ASSUMED] if any(layer.range_source == "assumed" for layer in layers) else []


def range_text(in_range: Sequence[float], source: str | None) -> str:
    """Return a range of inputs and its source in words, one that is assumed with a mark.

    Parameters
    ----------
    in_range : pair of float
    source : str or None
    """
    mark = "*" if source == "assumed" else ""
    return f"[{in_range[0]:.4g}, {in_range[1]:.4g}] {source or ''}{mark}".rstrip()


def _tells_ranges(layers: Sequence[Quantities]) -> bool:
    return any(layer.range_source in TOLD for layer in layers)


def table_cell(layer: Any, shown: Quantity[Any]) -> str:
    """Return a value with its error; of one that is not known the bounds, if those are."""
    value, error, bounds = (
        None if q is None else getattr(layer, q.name)
        for q in (shown, error_of(shown.name), bounds_of(shown.name))
    )
    if value is None:
        return NOTHING if bounds is None else between(*bounds)
    return value if isinstance(value, str) else with_error(value, error)


def between(low: float, high: float) -> str:
    """Return what is said of a number of which the bounds alone are known.

    Parameters
    ----------
    low, high : float
        Rounded away from each other: what is written holds as well.
    """
    return f"between {_rounded(low, math.floor)} and {_rounded(high, math.ceil)}"


def _rounded(value: float, way: Callable[[float], int]) -> str:
    """Return a number to four digits, rounded up or down."""
    if value == 0.0 or not math.isfinite(value):
        return f"{value + 0.0:.4g}"
    step = 10.0 ** (math.floor(math.log10(abs(value))) - 3)
    # What rounding has done to a number that has no more digits moves it by none.
    near = round(value / step)
    steps = near if math.isclose(near, value / step, rel_tol=1e-9) else way(value / step)
    return f"{steps * step:.4g}"


def with_error(value: float, error: float | None) -> str:
    """Return a number with its standard error, to the error's first digit.

    Parameters
    ----------
    value : float
    error : float or None
        0 or None where there is none.
    """
    if not error:
        return f"{value:.4g}"
    decimals = max(0, -math.floor(math.log10(error)))
    return f"{value:.{decimals}f} ± {error:.{decimals}f}"
