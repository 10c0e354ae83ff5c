"""A page about a tracked run: one file, to be opened in any browser, without any network."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from .._version import __version__
from ..files import require, write_whole
from ..plot.style import ERRORS, looks
from ..results import ASSUMED, TOLD, between, range_text, row_of, with_error
from ..training import History, Record, as_history

__all__ = ["write_report"]

# What a layer's mark and line are called in Plotly, in the order of the pictures' looks.
_SYMBOLS = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "x")
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")


def write_report(source: Any, path: str | os.PathLike[str], *, title: str | None = None) -> Path:
    """Write a self-contained HTML page about a run.

    It has a table of the layers, the causal plane, with what a layer's numbers are where the mouse
    points, and the history of every quantity and metric; a slider moves all of them through the
    steps. Everything is in the file, the drawing library (Plotly) too; the page may not even ask
    for anything from the network.

    Parameters
    ----------
    source : Tracker, History, sequence of Decomposition, or path of a tracked run
    path : path-like
        Written whole or not at all.
    title : str, optional
        The run's name if left out.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    ImportError
        If plotly is missing (``pip install "eiplane[report]"``).
    OSError, TypeError, ValueError
        If there is no run to be read, or the page cannot be written.
    """
    library = require("plotly.offline", "report").get_plotlyjs()
    run = as_history(source)
    if not len(run):
        raise ValueError("this run has no record to report")
    target = Path(path)
    parts = {
        "@TITLE@": escape(title or run.name or target.stem),
        "@VERSION@": escape(__version__),
        "@DATA@": _script_safe(json.dumps(_data(run), allow_nan=False)),
        # The library comes last: what is in it is not looked through for marks.
        "@PLOTLY@": library.replace("</script", "<\\/script"),
    }
    page = resources.files(__package__).joinpath("report.html").read_text(encoding="utf-8")
    for mark, text in parts.items():
        page = page.replace(mark, text)
    write_whole(target, lambda file: file.write(page.encode()))
    return target


def _data(run: History) -> dict[str, Any]:
    shown = run.shown
    layers = []
    for i, (name, look) in enumerate(zip(run.layers, looks(len(run.layers)), strict=True)):
        entries = [_entry(record, name) for record in run]
        entry = next(filter(None, entries))
        layers.append(
            {
                "name": name,
                "shape": f"{entry['n_in']}→{entry['n_out']}, {entry['activation']}",
                "color": look.color,
                "symbol": _SYMBOLS[i % len(_SYMBOLS)],
                "dash": _DASHES[i % len(_DASHES)],
                "inputs": [_inputs(e) for e in entries],
                "values": {q: _plain(run.values(name, q)) for q in shown},
                "errors": {q: _plain(run.errors(name, q)) for q in shown},
                "bounds": {q: [_plain(b) for b in run.bounds(name, q).T] for q in shown},
                "texts": {q: _texts(run, name, q) for q in shown},
            }
        )
    sources = {e.get("range_source") for record in run for e in record.layers}
    first, last = int(run.steps[0]), int(run.steps[-1])
    return {
        "about": f"{len(layers)} layers, {len(run)} records from step {first:,} to step {last:,}. "
        "Information in bits.",
        "steps": run.steps.tolist(),
        "tells_inputs": not TOLD.isdisjoint(sources),
        "legend": ASSUMED if "assumed" in sources else "",
        "labels": {q: row_of(q).words for q in shown},
        "errors": ERRORS,
        "layers": layers,
        "metrics": {name: _plain(run.metric(name)) for name in run.metrics},
    }


def _entry(record: Record, name: str) -> Mapping[str, Any]:
    return next((e for e in record.layers if e["name"] == name), {})


def _inputs(entry: Mapping[str, Any]) -> str:
    return range_text(entry["in_range"], entry.get("range_source")) if "in_range" in entry else ""


def _texts(run: History, name: str, quantity: str) -> list[str]:
    """Return what the page says of a quantity at every step; empty where nothing is known."""
    return [
        with_error(value, None if math.isnan(error) else error)
        if math.isfinite(value)
        else between(low, high)
        if math.isfinite(low + high)
        else ""
        for value, error, (low, high) in zip(
            run.values(name, quantity).tolist(),
            run.errors(name, quantity).tolist(),
            run.bounds(name, quantity).tolist(),
            strict=True,
        )
    ]


def _plain(values: np.ndarray[Any, Any]) -> list[float | None]:
    return [float(f"{v:.6g}") if math.isfinite(v) else None for v in values.tolist()]


def _script_safe(text: str) -> str:
    """Return JSON that ends no script element."""
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
