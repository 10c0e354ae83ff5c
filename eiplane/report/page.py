"""A page about models and runs: one file, to be opened in any browser, without any network."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

from .._version import __version__
from ..analyze import analyze
from ..files import write_whole
from ..results import Decomposition
from ..run import check_keywords
from .data import as_json, page_data, shown_of
from .groups import grouped
from .sections import SECTIONS, Parts
from .sources import Source, sources_of
from .words import counted, listed

__all__ = ["html_report", "write_report"]

#: The page's script, in the order in which it runs.
_SCRIPTS = ("base.js", "plane.js", "charts.js")


def write_report(
    source: Any,
    path: str | os.PathLike[str],
    *,
    title: str | None = None,
    edges: bool = True,
    **options: Any,
) -> Path:
    """Write a self-contained HTML page about a model or a run, or several side by side.

    It says what was analysed, what was not and why, and where ranges come from; it has a table of
    the layers to sort and to search, the causal plane, quantities against depth, heat maps of
    edges, the network drawn, what nodes carry, the strongest and the deadest edges and neurons,
    the definitions and the settings. Numbers have their errors; of what is not known the bounds
    stand there. Of a run a slider moves the plane through the steps, and there are histories.
    Several are compared layer by layer, by name. Everything is in the file; the page may not even
    ask for anything from the network.

    Parameters
    ----------
    source : Decomposition, Tracker, History, sequence of Decomposition, weights or path
        A model that was measured (or some of its layers, ``d[2:5]``), or anything that
        :func:`eiplane.analyze` takes; a tracked run. Or a mapping of names to such: they are put
        side by side, and changes are those against the first.
    path : path-like
        Written whole or not at all.
    title : str, optional
        If left out, the names of what it is about.
    edges : bool
        Whether to include heat maps, nodes and the strongest and deadest edges of every layer.
    **options
        Of :func:`eiplane.analyze`, for weights; what is measured already takes none. ``measures``
        left out are ``sensitivity``, ``ei_parts`` and, of a network of up to 100,000 weights,
        ``ei``; of a larger one its ``bounds``.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    OSError, TypeError, ValueError
        If there is nothing to be read or measured, or the page cannot be written.

    Examples
    --------
    >>> import numpy as np, eiplane
    >>> from eiplane.report import write_report
    >>> before, after = [np.eye(3)], [np.diag([1.0, 1.0, 0.0])]
    >>> write_report({"whole": before, "pruned": after}, "pruning.html").name
    'pruning.html'
    """
    check_keywords("write_report", options, analyze)
    if title is not None and not isinstance(title, str):
        raise TypeError(f"title must be a str, not {title!r}")
    found = sources_of(source, options if edges else {**options, "edges": False})
    idle = [name for name in options if name not in ("progress", "threads", "executor")]
    if idle and not any(s.measured_here for s in found):
        raise ValueError(
            f"{', '.join(idle)}: options are for what is still to be measured, and all of this has "
            "been; give them where it is measured"
        )
    target = Path(path)
    named = title or listed([s.name for s in found if s.name]) or target.stem
    page = _page(found, named, edges)
    write_whole(target, lambda file: file.write(page.encode()))
    return target


def html_report(decomposition: Decomposition, title: str, edges: bool = True) -> str:
    """Return the page about a decomposition; see :func:`eiplane.report.write_report`.

    Parameters
    ----------
    decomposition : Decomposition
    title : str
    edges : bool
        Whether to include heat maps, nodes and the strongest and deadest edges of every layer.
    """
    return _page(sources_of(decomposition, {}), title, edges)


def _page(sources: Sequence[Source], title: str, edges: bool) -> str:
    names = list(dict.fromkeys(layer.name for s in sources for layer in s.layers))
    names += [n for s in sources for n in s.history.layers if n not in set(names)]
    groups = grouped(names)
    parts = Parts(sources, names, groups, shown_of(sources), edges)
    drawn = [(key, heading, make(parts)) for key, heading, make in SECTIONS]
    drawn = [section for section in drawn if section[2]]
    script = "\n".join(_asset(name) for name in _SCRIPTS)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    filled = {
        "@HASH@": digest,
        "@TITLE@": escape(title),
        "@STYLE@": _asset("page.css"),
        "@SUMMARY@": escape(_summary(sources, names)),
        "@NAV@": "".join(f'<li><a href="#{key}">{escape(h)}</a></li>' for key, h, _ in drawn),
        "@TOOLS@": _tools(sources, names),
        "@VERSION@": escape(__version__),
        "@SCRIPT@": script,
        "@BODY@": "\n".join(
            f'<section id="{key}" aria-labelledby="{key}-h"><h2 id="{key}-h">{escape(heading)}</h2>'
            f"{body}</section>"
            for key, heading, body in drawn
        ),
        "@DATA@": as_json(page_data(sources, names, groups)),
    }
    return _filled(_asset("page.html"), filled)


def _filled(page: str, parts: Mapping[str, str]) -> str:
    """Return the page with its marks replaced; what is put in is not looked through for marks."""
    return re.sub("@[A-Z]+@", lambda mark: parts[mark[0]], page)


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _summary(sources: Sequence[Source], names: Sequence[str]) -> str:
    count = counted(len(names), "layer")
    if len(sources) > 1:
        return f"{len(sources)} side by side: {', '.join(s.name for s in sources)}; {count}."
    (source,) = sources
    if source.moves:
        first, last = int(source.history.steps[0]), int(source.history.steps[-1])
        return f"{count}, {len(source.history)} records from step {first:,} to step {last:,}."
    left = len(source.skipped)
    verb = "was" if left == 1 else "were"
    skipped = f"; {counted(left, 'part')} {verb} not analysed" if left else ""
    return f"{count}{skipped}."


def _tools(sources: Sequence[Source], names: Sequence[str]) -> str:
    """Return what stays in sight: the search, and the slider of a run."""
    slider = (
        '<div id="time"><button id="play" type="button" aria-label="play">▶</button>'
        '<input id="slider" type="range" min="0" value="0" step="1" aria-label="step">'
        '<output id="now" for="slider"></output></div>'
        if any(source.moves for source in sources)
        else ""
    )
    return (
        '<div id="tools" role="search"><label>Show layers <input id="search" type="search" '
        'placeholder="name, role or block" aria-keyshortcuts="/" autocomplete="off"></label>'
        f'<span id="found" role="status">{len(names)} of {counted(len(names), "layer")}</span>'
        f"{slider}</div>"
    )
