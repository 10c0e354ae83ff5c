"""What a page's script draws from: every quantity of every layer, source and moment."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..plot.style import ERRORS
from ..results import ASSUMED, TABLE, TOLD, between, range_text, row_of, with_error
from ..training import History, Record
from .groups import Group
from .sources import Source

__all__ = ["as_json", "page_data", "shown_of"]

#: Numbers of layers, quantities and moments that a page holds; of longer runs moments are left out.
#: Of more layers, in all sources together, only the quantities of the printed table are shown.
MOST_CELLS, MOST_LAYERS = 24_000, 500


def shown_of(sources: Sequence[Source]) -> list[str]:
    """Return the quantities that the sources have, in the table's order."""
    found = {q for source in sources for q in source.history.shown}
    many = sum(len(source.layers) for source in sources) > MOST_LAYERS
    return [row.name for row in TABLE if row.name in found and (row.heading or not many)]


def page_data(
    sources: Sequence[Source], names: Sequence[str], groups: Sequence[Group]
) -> dict[str, Any]:
    """Return plain values, ready for JSON.

    Parameters
    ----------
    sources : sequence of Source
    names : sequence of str
        Of all layers.
    groups : sequence of Group
        One a name.

    Returns
    -------
    dict
        ``layers`` have names, roles and looks; ``sources`` have ``steps``, ``metrics`` and, in the
        order of the layers, ``layers``: values, errors, bounds and texts of every quantity and
        step, or None where a source lacks the layer.
    """
    shown = shown_of(sources)
    told = {e.get("range_source") for s in sources for r in s.history for e in r.layers}
    return {
        "errors": ERRORS,
        "labels": {q: row_of(q).words for q in shown},
        "units": {q: row_of(q).unit for q in shown},
        "tells_inputs": not TOLD.isdisjoint(told),
        "legend": ASSUMED if "assumed" in told else "",
        "layers": [
            {"name": name, "role": g.role, "block": g.block, "color": g.color, "mark": g.mark}
            for name, g in zip(names, groups, strict=True)
        ],
        "sources": [_source(source, names, shown, len(sources)) for source in sources],
    }


def _source(
    source: Source, names: Sequence[str], shown: Sequence[str], count: int
) -> dict[str, Any]:
    run = _thinned(source.history, MOST_CELLS // (count * max(1, len(names) * len(shown))))
    return {
        "name": source.name,
        "steps": run.steps.tolist(),
        "of": len(source.history),
        "metrics": {name: _plain(run.metric(name)) for name in run.metrics},
        "layers": [_layer(run, n, shown) if n in run.layers else None for n in names],
    }


def _thinned(run: History, most: int) -> History:
    """Return a run of at most so many moments, the first and the last among them."""
    most = max(most, 2)
    if len(run) <= most:
        return run
    kept = np.unique(np.linspace(0, len(run) - 1, most).round().astype(int))
    return History([run[int(i)] for i in kept], run.name)


def _layer(run: History, name: str, shown: Sequence[str]) -> dict[str, Any]:
    entries = [_entry(record, name) for record in run]
    entry = next(filter(None, entries))
    errors = {q: _plain(run.errors(name, q)) for q in shown}
    bounds = {q: [_plain(b) for b in run.bounds(name, q).T] for q in shown}
    return {
        "n_in": entry.get("n_in"),
        "n_out": entry.get("n_out"),
        "inputs": [_inputs(e) for e in entries],
        "values": {q: _plain(run.values(name, q)) for q in shown},
        # Where none is known at any step there is no entry.
        "errors": {q: e for q, e in errors.items() if any(e)},
        "bounds": {q: b for q, b in bounds.items() if any(v is not None for v in b[0])},
        "texts": {q: _texts(run, name, q) for q in shown},
    }


def _entry(record: Record, name: str) -> Mapping[str, Any]:
    return next((e for e in record.layers if e["name"] == name), {})


def _inputs(entry: Mapping[str, Any]) -> str:
    return range_text(entry["in_range"], entry.get("range_source")) if "in_range" in entry else ""


def _texts(run: History, name: str, quantity: str) -> list[str]:
    """Return what the page says of a quantity at every step; empty where nothing is known."""
    told = [bool(_entry(record, name).get("saturated")) for record in run]
    return [
        with_error(value, None if math.isnan(error) else error)
        + (f" ({between(low, high)})" if doubtful and math.isfinite(low + high) else "")
        if math.isfinite(value)
        else between(low, high)
        if math.isfinite(low + high)
        else ""
        for value, error, (low, high), doubtful in zip(
            run.values(name, quantity).tolist(),
            run.errors(name, quantity).tolist(),
            run.bounds(name, quantity).tolist(),
            told,
            strict=True,
        )
    ]


def _plain(values: np.ndarray[Any, Any]) -> list[float | None]:
    return [float(f"{v:.6g}") if math.isfinite(v) else None for v in values.tolist()]


def as_json(data: Mapping[str, Any]) -> str:
    """Return JSON that ends no script element."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
