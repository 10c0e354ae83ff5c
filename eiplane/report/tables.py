"""The page's tables: the layers, their changes, what they were measured with, and what was not."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from ..results import (
    ASSUMED,
    Change,
    between,
    bounds_of,
    change_of,
    columns_of,
    matched,
    range_text,
    row_of,
    table_cell,
)
from .groups import Group
from .sources import Source

__all__ = [
    "Title",
    "changes_table",
    "layers_table",
    "ranges_table",
    "settings_table",
    "skipped_list",
]


#: What a source of an input range means.
_SOURCES = {
    "given": "set by the user, or the range of the network's own input",
    "activation": "the output range of the layers before",
    "interval": "interval arithmetic through what lies between the layers",
    "norm": "a normalisation before the layer",
    "data": "what the data given really had there",
    "assumed": ASSUMED.lstrip("* ").removeprefix("assumed: "),
    None: "not recorded",
}


#: A longer name is broken into lines.
_LONG = 48

#: A table of more rows scrolls by itself, its headings in sight.
_TALL = 25


@dataclass(frozen=True)
class Title:
    """How a layer is called on the page.

    Parameters
    ----------
    name : str
    number : int
        Its place.
    group : Group
    linked : bool
        Whether there is a section about it alone.
    """

    name: str
    number: int
    group: Group
    linked: bool

    def link(self, text: str, more: str = "") -> str:
        """Return HTML, linked to the layer's own section if there is one."""
        if not self.linked:
            return f"<span{more}>{text}</span>"
        return f'<a href="#layer-{self.number}"{more}>{text}</a>'

    def cell(self, mark: str = "") -> str:
        """Return the cell that is the heading of a row, with a remark behind the name."""
        key = f'<i class="key" style="--c:{self.group.color}"></i>'
        name = f"{self.name} ({mark})" if mark else self.name
        long = ' class="long"' if len(name) > _LONG else ""
        return f'<th scope="row"{long}>{key}{self.link(escape(name))}</th>'


def _head(headings: Sequence[tuple[str, str]]) -> str:
    """Return headings that sort, each with its attributes."""
    return "".join(
        f'<th scope="col" aria-sort="none"{more}><button type="button">{escape(text)}</button></th>'
        for text, more in headings
    )


def _number(result: Any, quantity: str, key: str = "", more: str = "") -> str:
    """Return the cell of a quantity: what is known, and by what it is sorted."""
    if result is None:
        return _cell("-", None, None, key, more)
    value, row = getattr(result, quantity), bounds_of(quantity)
    bounds = None if row is None else getattr(result, row.name)
    text = table_cell(result, row_of(quantity))
    if value is not None and bounds is not None and result.saturated:
        text += f" ({between(*bounds)})"  # a plug-in's number, whose error says little
    return _cell(text, value, bounds if value is None else None, key, more)


def _cell(text: str, value: Any, bounds: Any, key: str = "", more: str = "") -> str:
    at, name = f' data-k="{key}"' if key else "", "n"
    if isinstance(value, float | int):
        at += f' data-v="{value:.8g}"'
    elif bounds is not None:
        at, name = f'{at} data-m="{(bounds[0] + bounds[1]) / 2.0:.8g}"', "n open"
    return f'<td class="{name}"{at}{more}>{escape(text)}</td>'


def layers_table(source: Source, which: int, titles: Sequence[Title], caption: str) -> str:
    """Return the table of a source's layers.

    Parameters
    ----------
    source : Source
    which : int
        Its number.
    titles : sequence of Title
        Of all layers of the page.
    caption : str
    """
    columns = columns_of(source.layers)
    with_role = any(title.group.role for title in titles)
    named = {title.name: title for title in titles}
    headings = [("#", ""), ("layer", "")] + ([("role", "")] if with_role else [])
    headings += [("shape", "")] + [(str(q.heading), ' class="n"') for q in columns]
    headings += [(text, "") for text in ("activation", "method", "inputs", "outputs")]
    rows = []
    for layer in source.layers:
        title = named[layer.name]
        number = title.number
        edges = layer.n_in * layer.n_out if layer.n_in else 0
        method = layer.method or "-"
        mark = "saturated" if layer.saturated and layer.ei is not None else ""
        cells = [f'<td data-v="{number}">{number + 1}</td>', title.cell(mark)]
        cells += [f"<td>{escape(title.group.role)}</td>"] if with_role else []
        cells.append(f'<td data-v="{edges}">{layer.n_in}→{layer.n_out}</td>')
        key = f"{which},{number}," if source.moves else ""  # what the slider changes
        cells += [_number(layer, q.name, key and f"{key}{q.name}") for q in columns]
        cells += [f"<td>{escape(str(t))}</td>" for t in (layer.activation, method)]
        cells.append(_range(layer.in_range, layer.range_source, key and f"{key}inputs"))
        cells.append(_range(layer.out_range, None, ""))
        rows.append(f'<tr data-l="{number}">{"".join(cells)}</tr>')
    return (
        f'<div class="wide{" tall" if len(rows) > _TALL else ""}" role="region" tabindex="0" '
        f'aria-label="{escape(caption)}">'
        f'<table class="sorts layers"><caption>{escape(caption)}</caption>'
        f"<thead><tr>{_head(headings)}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _range(pair: Any, source: str | None, key: str) -> str:
    if pair is None:
        return "<td>-</td>"
    at = f' data-k="{key}"' if key else ""
    wide = float(pair[1]) - float(pair[0])
    return f'<td{at} data-v="{wide:.6g}">{escape(range_text(pair, source))}</td>'


def changes_table(sources: Sequence[Source], titles: Sequence[Title], shown: Sequence[str]) -> str:
    """Return, quantity by quantity, what each source has, and how it differs from the first.

    Layers are matched by name and shape, each source's with the first one's; what not all of them
    have alike is listed below.

    Parameters
    ----------
    sources : sequence of Source
    titles : sequence of Title
    shown : sequence of str
        Quantities.
    """
    common, others = matched(*(source.layers for source in sources))
    headings = [("#", ""), ("layer", ""), ("shape", "")]
    for q in shown:
        label, at = row_of(q).words, f' class="n" data-q="{q}"'
        headings += [(f"{label}: {source.name}", at) for source in sources]
        for source in sources[1:]:
            whose = f", {source.name}" if len(sources) > 2 else ""
            headings.append((f"{label}: change{whose}", at))
    found = [{layer.name: layer for layer in source.layers} for source in sources]
    named = {title.name: title for title in titles}
    rows = []
    for name in common:
        title, first = named[name], found[0][name]
        others_of = [_like(first, one.get(name)) for one in found[1:]]
        number = title.number
        cells = [f'<td data-v="{number}">{number + 1}</td>', title.cell()]
        cells.append(f'<td data-v="{first.n_in * first.n_out}">{first.n_in}→{first.n_out}</td>')
        for q in shown:
            more = f' data-q="{q}"'
            cells += [_number(result, q, more=more) for result in (first, *others_of)]
            for result in others_of:
                change = Change() if result is None else change_of(first, result, q)
                cells.append(_cell(change.text or "-", change.value, change.bounds, more=more))
        rows.append(f'<tr data-l="{number}">{"".join(cells)}</tr>')
    caption = f"Changes against {sources[0].name}, bits"
    left = "".join(f"<li>{escape(_whose(n, sources))}</li>" for n in others)
    listed = f"<p>Not compared, where shapes differ or a layer is missing:</p><ul>{left}</ul>"
    listed = listed if left else ""
    if not rows:
        return f"<p>No layer is there with one name and shape.</p>{listed}"
    return (
        f'<div class="wide{" tall" if len(rows) > _TALL else ""}" role="region" tabindex="0" '
        f'aria-label="{escape(caption)}">'
        f'<table class="sorts changes"><caption>{escape(caption)}</caption>'
        f"<thead><tr>{_head(headings)}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
        f"{listed}"
    )


def _like(first: Any, other: Any) -> Any:
    """Return a layer, or None where it does not have the other's shape."""
    same = other is not None and (other.n_in, other.n_out) == (first.n_in, first.n_out)
    return other if same else None


def _whose(name: str, sources: Sequence[Source]) -> str:
    shapes = []
    for source in sources:
        layer = next((x for x in source.layers if x.name == name), None)
        shapes.append(
            f"{source.name} does not have it" if layer is None
            else f"{layer.n_in}→{layer.n_out} in {source.name}"
        )  # fmt: skip
    return f"{name}: {', '.join(shapes)}"


def skipped_list(source: Source) -> str:
    """Return what was not analysed, by reason."""
    if not source.skipped:
        return ""
    by_reason: dict[str, list[str]] = {}
    for skipped in source.skipped:
        by_reason.setdefault(skipped.reason, []).append(skipped.name)
    items = "".join(
        f"<dt>{escape(reason)} ({len(found)})</dt><dd>{escape(', '.join(found[:40]))}"
        f"{f', and {len(found) - 40} more' if len(found) > 40 else ''}</dd>"
        for reason, found in by_reason.items()
    )
    return f'<h3>Not analysed, and why</h3><dl class="skipped">{items}</dl>'


def settings_table(sources: Sequence[Source], version: str) -> str:
    """Return what the sources were measured with, side by side."""
    known = dict.fromkeys(name for source in sources for name in source.settings)
    if not known:
        return "<p>What it was measured with is not known.</p>"
    head = "".join(f'<th scope="col">{escape(s.name or "value")}</th>' for s in sources)
    rows = []
    for name in known:
        values = [_said(source.settings, name) for source in sources]
        differs = ' class="differs"' if len(set(values)) > 1 else ""
        cells = "".join(f"<td>{escape(value)}</td>" for value in values)
        rows.append(f'<tr{differs}><th scope="row">{escape(name)}</th>{cells}</tr>')
    return (
        f'<div class="wide"><table class="settings"><caption>Settings, eiplane {escape(version)}; '
        "rng is the seed</caption>"
        f'<thead><tr><th scope="col">option</th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _said(settings: Mapping[str, Any], name: str) -> str:
    if name not in settings:
        return "as by default" if settings else "not known"
    return _plain(settings[name])


def _plain(value: Any) -> str:
    """Return a setting as somebody would write it."""
    if value is None:
        return "not set"
    if isinstance(value, list | tuple):
        return ", ".join(f"({_plain(x)})" if isinstance(x, list | tuple) else _plain(x)
                         for x in value)  # fmt: skip
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def ranges_table(source: Source) -> str:
    """Return how many layers have their input range from where."""
    counts = Counter(layer.range_source for layer in source.layers)
    rows = []
    for kind, meaning in _SOURCES.items():
        if counts[kind]:
            some = [x.name for x in source.layers if x.range_source == kind]
            more = f", and {len(some) - 3} more" if len(some) > 3 else ""
            rows.append(
                f'<tr{" class=assumed" if kind == "assumed" else ""}><th scope="row">'
                f"{kind or 'unknown'}{'*' if kind == 'assumed' else ''}</th>"
                f"<td>{counts[kind]}</td><td>{escape(meaning)}</td>"
                f"<td>{escape(', '.join(some[:3]))}{more}</td></tr>"
            )
    return (
        '<div class="wide"><table class="small ranges"><caption>Where the ranges of inputs '
        "come from</caption><thead>"
        '<tr><th scope="col">source</th><th scope="col">layers</th><th scope="col">meaning</th>'
        f'<th scope="col">which</th></tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )
