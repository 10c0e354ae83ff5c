"""The network, drawn: its nodes and edges where it is small, else its layers block by block."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .edges import Edges, edges_of
from .tables import Title

__all__ = ["draw_layers", "draw_network"]

Array = NDArray[np.float64]

#: The most layers, and nodes of each, that are drawn one by one.
_LAYERS, _NODES = 10, 16

#: Edges weaker than this share of the strongest are left out of the drawing.
_FAINT = 0.02


def draw_network(layers: Sequence[Any], peak: float) -> str:
    """Return nodes in columns, and edges by their bits in width and strength of colour.

    Parameters
    ----------
    layers : sequence of LayerResult
    peak : float
        Bits of the strongest edge on the page.

    Returns
    -------
    str
        Empty where the edges were not measured, or layers do not fit each other in their order.
    """
    found = [edges_of(layer) for layer in layers]
    if not found or len(found) > _LAYERS or any(edges is None for edges in found):
        return ""
    edges = [one for one in found if one is not None]
    matrices = [one.matrix for one in edges]
    fits = [a.shape[0] == b.shape[1] for a, b in itertools.pairwise(matrices)]
    if not all(fits) or any(len(one.shape) != 2 for one in edges):
        return ""
    if len({one.name for one in edges}) > 1:
        return ""
    return _chain(layers, edges, matrices, peak or 1.0)


def _chain(
    layers: Sequence[Any], edges: Sequence[Edges], matrices: list[Array], peak: float
) -> str:
    kept = _kept(matrices)
    tallest = max(map(len, kept))
    pace, gap = 150.0, max(14.0, min(40.0, 380.0 / max(tallest - 1, 1)))
    tall = gap * (tallest - 1)
    where = [tall / 2 + gap * (np.arange(len(k)) - (len(k) - 1) / 2) for k in kept]
    lines, hidden = [], 0
    for i, matrix in enumerate(matrices):
        for b, y1 in zip(kept[i + 1], where[i + 1], strict=True):
            for a, y0 in zip(kept[i], where[i], strict=True):
                share = float(matrix[b, a]) / peak
                if share < _FAINT:
                    hidden += 1
                else:
                    lines.append((share, i * pace, y0, (i + 1) * pace, y1))
    drawn = "".join(
        f'<path d="M{x0:.0f} {y0:.1f}L{x1:.0f} {y1:.1f}" stroke-width="{0.4 + 4.6 * share:.2f}" '
        f'opacity="{0.15 + 0.8 * share:.2f}"/>'
        for share, x0, y0, x1, y1 in sorted(lines)
    )
    radius = min(8.0, 0.34 * gap)
    circles = "".join(
        f'<circle cx="{i * pace:.0f}" cy="{y:.1f}" r="{radius:.1f}"/>'
        for i, column in enumerate(where)
        for y in column
    )
    names = "".join(
        f'<text x="{(i + 0.5) * pace:.0f}" y="-22" text-anchor="middle">'
        f"{escape(_short(layer.name, 20))}</text>"
        for i, layer in enumerate(layers)
    )
    totals = [matrices[0].shape[1], *(m.shape[0] for m in matrices)]
    names += "".join(
        f'<text x="{i * pace:.0f}" y="{tall + 26:.0f}" text-anchor="middle">+{total - len(k)}'
        "</text>"
        for i, (total, k) in enumerate(zip(totals, kept, strict=True))
        if total > len(k)
    )
    note = (
        f"Every edge's {edges[0].words}, 0 to {peak:.3g} bits, is its width and strength of "
        "colour. Layers are joined in the order in which they were measured"
    )
    if any(total > len(k) for total, k in zip(totals, kept, strict=True)):
        note += f"; of wide ones the {_NODES} nodes with most bits are drawn"
    note += f"; {hidden:,} edges below {_FAINT:.0%} of the strongest are not." if hidden else "."
    wide = pace * len(matrices)
    return (
        f'<figure class="network"><figcaption>{escape(note)}</figcaption><div class="wide">'
        f'<svg role="img" aria-label="The network as nodes and edges. {escape(note)}" '
        f'viewBox="-40 -40 {wide + 80:.0f} {tall + 80:.0f}" '
        f'style="width:{min(1100.0, 1.15 * (wide + 80)):.0f}px">'
        f'<g class="edges">{drawn}</g><g class="nodes">{circles}</g><g class="names">{names}</g>'
        "</svg></div></figure>"
    )


def _kept(matrices: Sequence[Array]) -> list[NDArray[np.intp]]:
    """Return which nodes of every column are drawn: those with the greatest sums of bits."""
    sums = [np.abs(matrices[0]).sum(axis=0)]
    for i, matrix in enumerate(matrices):
        after = np.abs(matrices[i + 1]).sum(axis=0) if i + 1 < len(matrices) else 0.0
        sums.append(np.abs(matrix).sum(axis=1) + after)
    return [np.sort(np.argsort(-s, kind="stable")[:_NODES]) for s in sums]


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
    rows: dict[str, list[str]] = {}
    for layer, title, share in zip(layers, titles, shares, strict=True):
        rows.setdefault(title.group.block, []).append(_glyph(layer, title, share, peak, widest))
    words = "EI_parts" if quantity == "ei_parts" else "sensitivity"
    body = "".join(
        f"<li>{f'<span>{escape(block)}</span>' if block else ''}<ol>{''.join(glyphs)}</ol></li>"
        for block, glyphs in rows.items()
    )
    return (
        f"<p>Each shape is a layer: its left side is as tall as the layer has inputs, its right "
        f"side as it has outputs (logarithmically); its colour tells {words} per edge, 0 to "
        f"{peak:.3g} bits, as a square root.{' A row is a block.' if any(rows) else ''}</p>"
        f'<ul class="blocks">{body}</ul>'
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
