"""The sections of a page, in their order."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from .._version import __version__
from ..results import NUMBERS, TABLE, html_edges, matched, row_of, table_cell
from .drawing import draw_layers, draw_network, drawable
from .edges import Edges, edges_of, extremes, greatest, nodes
from .groups import Group
from .heat import heat_map
from .sources import Source
from .tables import (
    Title,
    changes_table,
    layers_table,
    ranges_table,
    settings_table,
    skipped_list,
)
from .words import counted, meaning

__all__ = ["SECTIONS", "Parts"]

#: The page has the details of so many layers at most, in all sources together; a heat map has so
#: many squares a side, by the number of layers.
_DETAILS, _SQUARES = 200, ((12, 96), (40, 64), (130, 48), (200, 40))

#: Of more layers than that the details lie in those of their block, or of so many together.
_GROUPED, _TOGETHER = 40, 20


@dataclass(frozen=True)
class Parts:
    """What sections are made of.

    Parameters
    ----------
    sources : sequence of Source
    names : sequence of str
        Of all layers.
    groups : sequence of Group
        Theirs.
    shown : sequence of str
        Quantities.
    edges : bool
        Whether layers are shown edge by edge.
    """

    sources: Sequence[Source]
    names: Sequence[str]
    groups: Sequence[Group]
    shown: Sequence[str]
    edges: bool

    @property
    def several(self) -> bool:
        """Whether there is anything to compare."""
        return len(self.sources) > 1

    @functools.cached_property
    def detailed(self) -> frozenset[int]:
        """Numbers of the layers that are shown edge by edge."""
        if not self.edges:
            return frozenset()
        most = _DETAILS // len(self.sources)
        known = {x.name for s in self.sources for x in s.layers if edges_of(x) is not None}
        return frozenset(i for i, name in enumerate(self.names[:most]) if name in known)

    def block(self, number: int) -> str:
        """Return under what a layer's details are put; where no names repeat, twenty together."""
        if any(group.block for group in self.groups):
            return self.groups[number].block
        first = number // _TOGETHER * _TOGETHER
        last = min(first + _TOGETHER, len(self.names)) - 1
        return f"{first + 1} to {last + 1}: {self.names[first]} … {self.names[last]}"

    def titles(self) -> list[Title]:
        """Return what tables need to know of every layer's name."""
        return [
            Title(name, i, group, i in self.detailed)
            for i, (name, group) in enumerate(zip(self.names, self.groups, strict=True))
        ]


def _per_source(parts: Parts, make: Callable[[Source], str]) -> str:
    """Return something of every source, under its name where there are several."""
    made = [(source.name, make(source)) for source in parts.sources]
    if not parts.several:
        return made[0][1]
    return "".join(f"<h3>{escape(name)}</h3>{body}" for name, body in made if body)


def _about(parts: Parts) -> str:
    return _per_source(
        parts, lambda s: f"{_measured(s)}{ranges_table(s) if s.layers else ''}{skipped_list(s)}"
    )


def _measured(source: Source) -> str:
    """Return what is known of the layers, in sentences."""
    layers = source.layers
    weights = sum(x.n_in * x.n_out for x in layers if x.n_in)
    said = [
        f"{counted(len(layers), 'layer')} with {counted(weights, 'edge')} between inputs and "
        "outputs."
    ]
    if source.moves:
        said.append(f"What follows is of the last of {len(source.history):,} records.")
    for name in ("exact", "sample"):
        some = [x for x in layers if x.method == name]
        if some and name == "exact":
            bounds = [x.error_bound for x in some if x.error_bound is not None]
            most = f"; none is off by more than {max(bounds):.1g} bits" if bounds else ""
            said.append(f"Edges of {counted(len(some), 'layer')} are exact{most}.")
        elif some:
            said.append(f"Edges of {counted(len(some), 'layer')} are sampled.")
    kinds = Counter(map(_knowledge, layers))
    each = ", ".join(f"{kinds[what]} {what}" for what in _KNOWN if kinds[what])
    said += [f"EI of whole layers: {each}."] if each else []
    outside = [x for x in layers if (x.outlier_fraction or 0.0) > 0.01]
    if outside:
        worst = max(outside, key=lambda x: x.outlier_fraction)
        said.append(
            f"In {counted(len(outside), 'layer')} more than 1 % of the outputs' values lie out of "
            f"their range (at most {worst.outlier_fraction:.0%}, {worst.name})."
        )
    border = [x for x in layers if _on_a_border(x)]
    if border:
        said.append(
            f"In {counted(len(border), 'layer')} ({_few(border)}) every edge has a sensitivity of "
            "1 bit, however small its weight: with the other inputs at the baseline the output "
            "lies on the border of two bins. Sensitivity and degeneracy count edges there."
        )
    return f"<p>{escape(' '.join(said))}</p>"


#: What can be known of EI of a whole layer, in words.
_KNOWN = (
    "known with a standard error",
    "exact",
    "known between bounds alone",
    "counted from too few samples (saturated: the bounds hold, the number does not)",
    "not measured",
)


def _knowledge(layer: Any) -> str:
    """Return which of those it is."""
    if layer.ei is None:
        return _KNOWN[2 if layer.ei_bounds else 4]
    if layer.saturated:
        return _KNOWN[3]
    return _KNOWN[0 if layer.ei_stderr else 1]


def _on_a_border(layer: Any) -> bool:
    """Return whether every edge that is there has a sensitivity of one bit."""
    edges = layer.sensitivity_edges
    if edges is None:
        return False
    known = np.asarray(edges)[np.asarray(edges) > 0.0]
    return known.size > 1 and bool((np.abs(known - 1.0) <= 1e-9).all())


def _few(layers: Sequence[Any]) -> str:
    more = f" and {len(layers) - 3} more" if len(layers) > 3 else ""
    return ", ".join(layer.name for layer in layers[:3]) + more


def _changes(parts: Parts) -> str:
    if not parts.several or not parts.shown:
        return ""
    views = _views("changes", "logarithmic") + (
        '<label><input type="checkbox" id="changes-all"> all layers</label>'
    )
    first = parts.sources[0].name
    note = (
        f"Layers are matched by name and shape; a change is the other's number less that of "
        f"{first}. Errors are taken as independent: of two measurements with one seed they are "
        "rather smaller. Of what is only known between bounds the change has bounds too."
    )
    moving = (
        " Of runs the last records are compared." if any(s.moves for s in parts.sources) else ""
    )
    differ = _differing(parts)
    return (
        f'<p class="note">{escape(note)}{moving}</p>{differ}<div class="views">{views}</div>'
        '<div class="chart" id="changes-chart"></div><p class="note" id="changes-note"></p>'
        f"{changes_table(parts.sources, parts.titles(), parts.shown)}"
    )


def _differing(parts: Parts) -> str:
    """Return a warning where numbers of the sources are not comparable."""
    known = [s.settings for s in parts.sources if s.settings]
    some = [
        name
        for name in ("bins", "in_range", "out_range", "noise", "baseline", "outliers")
        if len({str(settings.get(name)) for settings in known}) > 1
    ]
    found = [{x.name: x for x in s.layers} for s in parts.sources]
    common, _ = matched(*(s.layers for s in parts.sources))
    alike = {n: [f[n] for f in found if n in f] for n in common}
    moved = [
        n for n, some in alike.items()
        if len({(str(x.in_range), x.in_bins, x.out_bins) for x in some}) > 1
    ]  # fmt: skip
    said = []
    if some:
        said.append(f"They were measured with different {', '.join(some)}.")
    if moved:
        said.append(
            f"Inputs of {counted(len(moved), 'layer')} have other ranges or bins, {moved[0]} among "
            "them: "
            "what changed there is not the weights alone."
        )
    return f'<p class="warn">{escape(" ".join(said))}</p>' if said else ""


def _views(key: str, scale: str) -> str:
    return (
        f'<label>quantity <select id="{key}-q" data-quantities></select></label>'
        f'<label data-bits>bits <select id="{key}-per"><option value="">of the whole layer</option>'
        '<option value="edges">per edge</option><option value="outputs">per output</option>'
        f'</select></label><label><input type="checkbox" id="{key}-scale"> {scale}</label>'
    )


def _layers(parts: Parts) -> str:
    note = (
        '<p class="note">± is one standard error, “between” gives proved bounds of what is not '
        "known better, - was not measured. A press on a heading sorts; a name leads to the layer's "
        "edges.</p>"
    )
    if any(x.saturated and x.ei is not None for s in parts.sources for x in s.layers):
        note += (
            '<p class="warn">saturated: too few samples to know EI. The number that stands there '
            "all the same is the plug-in's, and its error says little: believe the bounds.</p>"
        )
    if any(x.range_source == "assumed" for s in parts.sources for x in s.layers):
        note += (
            '<p class="warn">* assumed: nothing says where these inputs live. EI, sensitivity and '
            "degeneracy depend on it.</p>"
        )
    titles = parts.titles()
    tables = [
        layers_table(s, k, titles, f"Layers of {s.name}, bits" if s.name else "Layers, bits")
        for k, s in enumerate(parts.sources)
    ]
    if parts.several:
        tables = [
            f"<details><summary>{escape(source.name)}</summary>{table}</details>"
            for source, table in zip(parts.sources, tables, strict=True)
        ]
    moving = '<p class="note" id="metrics"></p>' if any(s.moves for s in parts.sources) else ""
    return note + moving + "".join(tables)


def _plane(parts: Parts) -> str:
    if "sensitivity" not in parts.shown or not {"degeneracy", "degeneracy_joint"} & set(
        parts.shown
    ):
        return "<p>The plane needs sensitivity and EI, which were not measured.</p>"
    return (
        '<p class="note">Turned by 45° as in the paper: rightwards a layer is sensitive rather '
        "than degenerate, upwards it is both. Lines join points of equal EI. Point at a mark, or "
        "go there with the keyboard, for its numbers.</p>"
        '<div class="views"><label>split by <select id="plane-ei"><option value="parts">EI of the '
        'parts</option><option value="joint">EI of the whole</option></select></label>'
        '<label>bits <select id="plane-per"><option value="">of the whole layer</option>'
        '<option value="edges">per edge</option><option value="outputs">per output</option>'
        '</select></label><label><input type="checkbox" id="plane-turned" checked> turned by 45°'
        '</label><label><input type="checkbox" id="plane-scale"> logarithmic</label></div>'
        '<div class="chart" id="plane-chart"><div id="plane"></div></div>'
        '<ul class="legend" id="plane-legend"></ul>'
    )


def _depth(parts: Parts) -> str:
    if not parts.shown:
        return ""
    return (
        f'<div class="views">{_views("depth", "logarithmic")}</div>'
        '<div class="chart" id="depth"></div><ul class="legend" id="depth-legend"></ul>'
    )


def _history(parts: Parts) -> str:
    if not any(source.moves for source in parts.sources):
        return ""
    return (
        '<p class="note">Bands are two standard errors to either side; where a number is only '
        "known to lie between bounds there is a bar, and no line.</p>"
        '<ul class="legend" id="histories-legend"></ul><div id="histories"></div>'
    )


def _network(parts: Parts) -> str:
    found = [m for source in parts.sources for m in drawable(source.layers) or ()]
    peak = max((float(np.nanmax(m)) for m in found), default=0.0)

    def drawn(source: Source) -> str:
        titles = [parts.titles()[parts.names.index(layer.name)] for layer in source.layers]
        chain = draw_network(source.layers, peak) if parts.edges else ""
        return chain or draw_layers(source.layers, titles)

    return _per_source(parts, drawn)


def _edges(parts: Parts) -> str:
    if not parts.edges:
        return ""
    found = [{layer.name: layer for layer in source.layers} for source in parts.sources]
    squares = next((n for most, n in _SQUARES if len(parts.names) <= most), _SQUARES[-1][1])
    squares //= len(parts.sources) if len(parts.names) > 40 else 1
    blocks: dict[str, list[str]] = {}
    for number in sorted(parts.detailed):
        name = parts.names[number]
        own = [one.get(name) for one in found]
        block = parts.block(number) if len(parts.names) > _GROUPED else ""
        blocks.setdefault(block, []).append(
            f'<details id="layer-{number}" data-l="{number}"{" open" if number == 0 else ""}>'
            f"<summary>{escape(name)} <span>{escape(_brief(own))}</span></summary>"
            f"<div>{_edges_of_layer(parts, own, max(squares, 12))}</div></details>"
        )
    sections = [
        f'<details class="block"><summary>{escape(block)} '
        f"<span>{counted(len(made), 'layer')}</span></summary><div>{''.join(made)}</div></details>"
        if block
        else "".join(made)
        for block, made in blocks.items()
    ]
    if not sections:
        return "<p>The edges were not measured one by one, or a run does not keep them.</p>"
    left = len(parts.names) - _DETAILS // len(parts.sources)
    more = f"<p>The {left:,} layers that follow are in the table alone.</p>" if left > 0 else ""
    return "".join(sections) + more


def _brief(layers: Sequence[Any]) -> str:
    """Return a layer in a few words."""
    known = [layer for layer in layers if layer is not None]
    said = [f"{known[0].n_in}→{known[0].n_out}, {known[0].activation}"]
    for row in (row_of("ei_parts"), row_of("sensitivity")):
        cells = [table_cell(layer, row) for layer in known]
        if any(cell != "-" for cell in cells):
            said.append(f"{row.heading} {' | '.join(cells)}")
    return ", ".join(said)


def _edges_of_layer(parts: Parts, layers: Sequence[Any], squares: int) -> str:
    """Return what is known of a layer's edges in every source, and their change."""
    drawn, measured = [], []
    for source, layer in zip(parts.sources, layers, strict=True):
        edges = None if layer is None else edges_of(layer)
        if edges is None:
            continue
        measured.append((source.name, edges))
        heading = f"<h3>{escape(source.name)}</h3>" if parts.several else ""
        what = f"{edges.words} of every edge"
        small = max(edges.matrix.shape) <= NUMBERS
        picture = html_edges(layer) if small else heat_map(edges.matrix, what, squares)
        drawn.append(
            f'<section class="layer">{heading}<div class="tables">'
            f"{picture}{nodes(layer, edges)}</div>"
            f"{extremes(layer, edges)}</section>"
        )
    changes = [
        _edge_changes(measured[0], other, squares)
        for other in measured[1:]
        if other[1].shape == measured[0][1].shape and other[1].name == measured[0][1].name
    ]
    return "".join(changes + drawn)


def _edge_changes(first: tuple[str, Edges], other: tuple[str, Edges], squares: int) -> str:
    (before_name, before), (name, after) = first, other
    moved = after.matrix - before.matrix
    what = f"Change of {before.words} of every edge, {name} less {before_name}"
    order = greatest(np.abs(moved.ravel()), min(6, moved.size)).tolist()
    rows = "".join(
        f'<tr><th scope="row">{escape(before.called(i))}</th><td>{escape(before.text(i))}</td>'
        f"<td>{escape(after.text(i))}</td><td>{escape(after.change(before, i))}</td></tr>"
        for i in order
        if moved.ravel()[i] != 0.0
    )
    if not rows:
        return (
            f"<p>No edge's {before.words} changed from {escape(before_name)} to {escape(name)}.</p>"
        )
    return (
        f'<section class="layer"><h3>{escape(before_name)} to {escape(name)}</h3>'
        f'<div class="tables">{heat_map(moved, what, squares, signed=True)}<div class="wide">'
        '<table class="small">'
        "<caption>Edges that changed most, bits</caption><thead><tr>"
        f'<th scope="col">input → output</th><th scope="col">{escape(before_name)}</th>'
        f'<th scope="col">{escape(name)}</th><th scope="col">change</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div></div></section>"
    )


def _words(parts: Parts) -> str:
    names = [row.name for row in TABLE if row.name in parts.shown]
    names += ["ei_edges", "sensitivity_edges", "influence_in", "influence_out"]
    items = "".join(
        f"<dt>{escape(called)}</dt><dd>{escape(text)}</dd>" for called, text in map(meaning, names)
    )
    return (
        "<p>I is mutual information of binned values. An input is perturbed by drawing it evenly "
        "from its range; inputs that are perturbed together are drawn independently.</p>"
        f"<dl>{items}</dl><p>After Mattsson, Michaud and Hoel, Examining the causal structures of "
        "deep neural networks using information theory, Entropy 22(12), 1429 (2020).</p>"
    )


def _settings(parts: Parts) -> str:
    return settings_table(parts.sources, __version__)


#: Key, heading, and what makes each; an empty one is left out.
SECTIONS: tuple[tuple[str, str, Callable[[Parts], str]], ...] = (
    ("about", "What was analysed", _about),
    ("changes", "Changes", _changes),
    ("table", "Layers", _layers),
    ("in-plane", "Causal plane", _plane),
    ("by-depth", "Against depth", _depth),
    ("history", "Histories", _history),
    ("drawing", "The network", _network),
    ("edges", "Edges and neurons, layer by layer", _edges),
    ("words", "What the words mean", _words),
    ("settings", "Settings", _settings),
)
