"""The decomposition of one layer: frozen, in bits."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from ..network import Wiring
from .html import html_edges, html_table
from .measures import Joint, Pairwise, Totals, VectorBounds
from .plain import plain
from .quantities import TABLE, Quantities
from .table import legend_of, text_table

__all__ = ["PARTS", "LayerResult"]

#: The fields of a result that hold what was measured, and what each may be; the others say of what.
PARTS: dict[str, tuple[type[Any], ...]] = {
    "pairwise_sensitivity": (Pairwise, Totals),
    "pairwise_ei": (Pairwise, Totals),
    "joint": (Joint,),
    "bounds": (VectorBounds,),
}

#: What a result's dictionary has not among its fields; the wiring is that of all layers together.
_APART = frozenset({*PARTS, "wiring"})


@dataclass(frozen=True, eq=False)
class LayerResult(Quantities):
    """The decomposition of one layer. Every quantity is in bits, or None if it was not asked for.

    Parameters
    ----------
    name : str
    n_in, n_out : int
    activation : str
    in_bins, out_bins : int
    in_range, out_range : tuple of float
    outliers : str
        ``"clip"`` or ``"drop"``.
    pairwise_sensitivity, pairwise_ei : Pairwise, Totals or None
        The two pairwise measures, with method and errors; Totals where their edges were not kept.
    joint : Joint or None
        The measures of whole vectors.
    range_source : str or None
        What ``in_range`` follows from: ``"given"``, by the user or as that of the network's input;
        ``"activation"``, the output range of the layers before; ``"interval"``, interval arithmetic
        through what lies between; ``"norm"``, a normalisation before the layer; ``"data"``; or
        ``"assumed"``, where nothing is known. None in files of older versions.
    bounds : VectorBounds or None
        Bounds of those, where they were asked for without the measures.
    wiring : Wiring or None
        What feeds what in the whole network, from whose ``feeds`` those of this layer are got by
        its name. None where that is not known: of a file of weights, or from older versions.
    """

    name: str
    n_in: int
    n_out: int
    activation: str
    in_bins: int
    out_bins: int
    in_range: tuple[float, float]
    out_range: tuple[float, float]
    outliers: str = "clip"
    pairwise_sensitivity: Pairwise | Totals | None = field(default=None, repr=False)
    pairwise_ei: Pairwise | Totals | None = field(default=None, repr=False)
    joint: Joint | None = field(default=None, repr=False)
    range_source: str | None = None
    bounds: VectorBounds | None = field(default=None, repr=False)
    wiring: Wiring | None = field(default=None, repr=False)

    def without_edges(self) -> LayerResult:
        """Return the same result without the matrices of its edges: their sums stay.

        Returns
        -------
        LayerResult
            Its ``ei_edges`` and the like are None.
        """
        alone, together = (
            part.totals() if isinstance(part, Pairwise) else part
            for part in (self.pairwise_sensitivity, self.pairwise_ei)
        )
        return replace(self, pairwise_sensitivity=alone, pairwise_ei=together)

    def to_dict(self, edges: bool = True) -> dict[str, Any]:
        """Return plain Python numbers and lists, absent quantities left out.

        Parameters
        ----------
        edges : bool
            Whether to include the per-edge and per-neuron arrays.

        Returns
        -------
        dict
        """
        names = _listed(edges, self.joint is None and self.bounds is None)
        values = {name: getattr(self, name) for name in names}
        return {k: plain(v) for k, v in values.items() if v is not None}

    def __str__(self) -> str:
        return "\n".join(text_table((self,)) + legend_of((self,)))

    def _repr_html_(self) -> str:
        return html_table((self,)) + html_edges(self)


@functools.cache
def _listed(edges: bool, pairwise: bool) -> tuple[str, ...]:
    """Return what a result's dictionary has; ``pairwise``: of one without its whole vectors.

    What is None although all of its edges are known follows from whole vectors.
    """
    names = [f.name for f in fields(LayerResult) if f.name not in _APART]
    rows = [q.name for q in TABLE if q.listed and (edges or q.per == "layer")]
    if pairwise:
        one = np.ones((1, 1))
        part = Pairwise(one, "sample", 1, 1.0, one, one, 1.0, 1.0)
        range_ = (0.0, 1.0)
        full = LayerResult("", 1, 1, "", 2, 2, range_, range_, "", part, part)
        rows = [name for name in rows if getattr(full, name) is not None]
    return (*names, *rows)
