"""The network, drawn: its nodes and edges where it is small, else its layers block by block."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..plot.arcs import levels_of, word_of
from ..plot.diagram import Diagram, Signal, by_channel, depths_of, diagram
from .edges import edges_of
from .tables import Title

__all__ = ["draw_layers", "draw_network", "drawable"]

Array = NDArray[np.float64]

#: The most layers, and nodes of each, that are drawn one by one.
_LAYERS, _NODES = 12, 16

#: Edges weaker than this share of the strongest are left out of the drawing.
_FAINT = 0.02


def drawable(layers: Sequence[Any]) -> list[Array] | None:
    """Return edges as matrices of outputs and inputs, where so few layers can be drawn whole.

    Parameters
    ----------
    layers : sequence of LayerResult

    Returns
    -------
    list of ndarray, shape (n_out, channels), or None
        A convolution's kernels are summed.
    """
    found = [edges_of(layer) for layer in layers]
    edges = [one for one in found if one is not None]
    if not edges or len(edges) < len(found) or len(found) > _LAYERS:
        return None
    if len({one.name for one in edges}) > 1:
        return None
    return [by_channel(x, e.matrix.reshape(e.shape)) for x, e in zip(layers, edges, strict=True)]


def draw_network(layers: Sequence[Any], peak: float) -> str:
    """Return nodes in columns, and edges by their bits in width and strength of colour.

    Parameters
    ----------
    layers : sequence of LayerResult
    peak : float
        Bits of the strongest edge that is drawn on the page.

    Returns
    -------
    str
        Empty where the edges were not measured, or there are too many layers.
    """
    matrices = drawable(layers)
    if matrices is None:
        return ""
    made = diagram(layers, matrices, _NODES)
    edges = edges_of(layers[0])
    assert edges is not None
    return _Drawn(made, layers, matrices, peak or 1.0).figure(edges.words)


class _Drawn:
    """A network as an SVG picture."""

    def __init__(
        self, made: Diagram, layers: Sequence[Any], matrices: Sequence[Array], peak: float
    ) -> None:
        self._made, self._layers, self._matrices, self._peak = made, layers, matrices, peak
        self._gap = max(14.0, min(40.0, 420.0 / max(made.height, 1.0)))
        self._level = levels_of(made)
        self._hidden = 0

    def _x(self, x: float) -> float:
        return 150.0 * x

    def _y(self, y: float) -> float:
        return -self._gap * y

    def figure(self, words: str) -> str:
        made = self._made
        edges, links = self._edges(), self._links()
        signals = "".join(map(self._signal, made.signals))
        ys = [y for s in made.signals for y in (s.top, s.bottom)]
        # An arc comes to three quarters of the height of the points that bend it.
        ys += [0.75 * y + 0.25 * s for y, s in self._bends()]
        high, low = self._y(max(ys)) - 40.0, self._y(min(ys)) + 44.0
        wide = self._x(made.width) + 120.0
        note = escape(self._note(words))
        return (
            f'<figure class="network"><figcaption>{note}</figcaption><div class="wide">'
            f'<svg role="img" aria-label="The network as nodes and edges. {note}" '
            f'viewBox="-60 {high:.0f} {wide:.0f} {low - high:.0f}" '
            f'style="width:{min(1500.0, 1.1 * wide):.0f}px">'
            f'<g class="links">{links}</g><g class="edges">{edges}</g>'
            f'<g class="nodes">{signals}</g><g class="names">{self._names()}</g>'
            "</svg></div></figure>"
        )

    def _bends(self) -> list[tuple[float, float]]:
        return [
            (self._level[id(k)], min(k.source.bottom, k.target.bottom) if k.under
             else max(k.source.top, k.target.top))
            for k in self._made.links if id(k) in self._level
        ]  # fmt: skip

    def _edges(self) -> str:
        lines = []
        for begin, end, matrix in zip(
            self._made.inputs, self._made.outputs, self._matrices, strict=True
        ):
            for b, y1 in zip(end.kept, end.ys, strict=True):
                for a, y0 in zip(begin.kept, begin.ys, strict=True):
                    share = float(matrix[b, a]) / self._peak
                    if share >= _FAINT:
                        lines.append((share, begin.x, y0, end.x, y1))
                    elif not math.isnan(share):
                        self._hidden += 1
        return "".join(
            f'<path d="M{self._x(x0):.0f} {self._y(y0):.1f}L{self._x(x1):.0f} {self._y(y1):.1f}" '
            f'stroke-width="{0.4 + 4.6 * share:.2f}" opacity="{0.15 + 0.8 * share:.2f}"/>'
            for share, x0, y0, x1, y1 in sorted(lines)
        )

    def _links(self) -> str:
        drawn = []
        for link in self._made.links:
            a, b = link.source, link.target
            kind = "back" if link.back else "through" if link.through else "link"
            x0, x1 = self._x(a.x), self._x(b.x)
            if id(link) in self._level:
                bent = self._y(self._level[id(link)])
                y0, y1 = (a.bottom, b.bottom) if link.under else (a.top, b.top)
                line = f"M{x0:.0f} {self._y(y0):.1f}C{x0:.0f} {bent:.1f} {x1:.0f} {bent:.1f} "
                line += f"{x1:.0f} {self._y(y1):.1f}"
            else:
                corners = [(x0, a.top), (x1, b.top), (x1, b.bottom), (x0, a.bottom)]
                band = " ".join(f"{x:.0f},{self._y(y):.1f}" for x, y in corners)
                drawn.append(f'<polygon class="band" points="{band}"/>')
                line = f"M{x0:.0f} {self._y(a.y):.1f}L{x1:.0f} {self._y(b.y):.1f}"
            drawn.append(f'<path class="{kind}" d="{line}"/>')
        return "".join(drawn)

    def _signal(self, signal: Signal) -> str:
        x, radius = self._x(signal.x), min(8.0, 0.34 * self._gap)
        if not signal.size:
            sign, word = word_of(signal.what, signal.unknown)
            y = self._y(signal.y)
            return (
                f'<circle cx="{x:.0f}" cy="{y:.1f}" r="9"/>'
                f'<text x="{x:.0f}" y="{y + 4:.1f}" text-anchor="middle">{sign}</text>'
                f'<text x="{x:.0f}" y="{y + 22:.1f}" text-anchor="middle">{escape(word)}</text>'
            )
        drawn = "".join(
            f'<circle cx="{x:.0f}" cy="{self._y(y):.1f}" r="{radius:.1f}"/>' for y in signal.ys
        )
        if signal.unknown:
            drawn += f'<text x="{x - 22:.0f}" y="{self._y(signal.y) + 4:.1f}">?</text>'
        if len(signal.kept) < signal.size:
            drawn += (
                f'<text x="{x:.0f}" y="{self._y(signal.bottom) + 20:.1f}" text-anchor="middle">'
                f"+{signal.size - len(signal.kept)}</text>"
            )
        return drawn

    def _names(self) -> str:
        top = max(s.top for s in self._made.signals)
        names = []
        for layer, begin, end in zip(
            self._layers, self._made.inputs, self._made.outputs, strict=True
        ):
            x = (begin.x + end.x) / 2.0 if self._made.straight else end.x
            y = self._y(top if self._made.straight else end.top) - 13.0
            names.append(
                f'<text x="{self._x(x):.0f}" y="{y:.0f}" text-anchor="middle">'
                f"{escape(_short(layer.name, 20))}</text>"
            )
        return "".join(names)

    def _note(self, words: str) -> str:
        made = self._made
        note = (
            f"Every edge's {words}, 0 to {self._peak:.3g} bits, is its width and strength of colour"
        )
        if any(len(np.shape(x.ei_edges if x.ei_edges is not None else x.sensitivity_edges)) > 2
               for x in self._layers):  # fmt: skip
            note += "; of convolutions nodes are channels, and kernels are summed"
        if any(len(s.kept) < s.size for s in made.signals):
            note += f"; of wide layers the nodes with most bits are drawn, {_NODES} of a column"
        if self._hidden:
            note += f"; {self._hidden:,} edges below {_FAINT:.0%} of the strongest are not"
        note += "."
        if made.links:
            note += " Grey: what lies between layers; circles: where signals meet"
            note += "; dotted: what leads back." if any(k.back for k in made.links) else "."
        if any(k.through for k in made.links):
            note += " Dashed: through layers that were not measured."
        return f"{note} {made.note}".rstrip()


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"…{text[1 - most :]}"


def draw_layers(layers: Sequence[Any], titles: Sequence[Title]) -> str:
    """Return the layers as a row of shapes a block, each coloured by its bits an edge.

    Parameters
    ----------
    layers : sequence of LayerResult
    titles : sequence of Title
        Theirs.

    Returns
    -------
    str
        Empty where no pairwise quantity was measured.
    """
    quantity = next(
        (q for q in ("ei_parts", "sensitivity") if any(getattr(x, q) is not None for x in layers)),
        None,
    )
    if quantity is None:
        return ""
    shares = []
    for layer in layers:
        value = getattr(layer, quantity)
        shares.append(None if value is None else max(value, 0.0) / (layer.n_in * layer.n_out))
    peak = max(share for share in shares if share is not None) or 1.0
    widest = max(math.log2(max(x.n_in, x.n_out) + 1.0) for x in layers)
    rows: dict[str, dict[int, list[str]]] = {}
    depths = depths_of(layers)
    for k, (layer, title, share) in enumerate(zip(layers, titles, shares, strict=True)):
        row = rows.setdefault(title.group.block, {})
        glyph = _glyph(layer, title, share, peak, widest)
        row.setdefault(k if depths is None else depths[k], []).append(glyph)
    words = "EI_parts" if quantity == "ei_parts" else "sensitivity"
    body = "".join(
        f"<li>{f'<span>{escape(block)}</span>' if block else ''}<ol>{_columns(row)}</ol></li>"
        for block, row in rows.items()
    )
    known = (
        "They stand in their order, which layer feeds which is not known."
        if depths is None
        else "Layers below each other lie at the same depth."
    )
    return (
        f"<p>Each shape is a layer: its left side is as tall as the layer has inputs, its right "
        f"side as it has outputs (logarithmically); its colour tells {words} per edge, 0 to "
        f"{peak:.3g} bits, as a square root.{' A row is a block.' if any(rows) else ''} "
        f"{known if len(layers) > 1 else ''}</p>"
        f'<ul class="blocks">{body}</ul>'
    )


def _columns(row: dict[int, list[str]]) -> str:
    """Return the layers of a row, those of one depth below each other."""
    return "".join(
        glyphs[0] if len(glyphs) == 1 else f'<li class="beside"><ol>{"".join(glyphs)}</ol></li>'
        for _, glyphs in sorted(row.items())
    )


def _glyph(layer: Any, title: Title, share: float | None, peak: float, widest: float) -> str:
    left, right = (17.0 * math.log2(n + 1.0) / widest for n in (layer.n_in, layer.n_out))
    said = "not measured" if share is None else f"{share:.3g} bits an edge"
    strength = 0.0 if share is None else math.sqrt(share / peak)
    name = title.group.role if title.group.block else title.name
    drawn = (
        '<svg viewBox="0 0 44 36" aria-hidden="true"><path class="glyph" '
        f'style="fill-opacity:{strength:.2f}" d="M2 {18 - left:.1f}L42 {18 - right:.1f}V'
        f'{18 + right:.1f}L2 {18 + left:.1f}Z"/></svg>{escape(_short(name, 26))}'
        f'<span class="sr">: {layer.n_in} to {layer.n_out}, {said}</span>'
    )
    more = f' title="{escape(layer.name)}: {layer.n_in}→{layer.n_out}, {said}"'
    return f'<li data-l="{title.number}">{title.link(drawn, more)}</li>'
