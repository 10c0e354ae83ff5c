"""The decomposition of a network: its layers' results, to print, to keep and to draw."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from ..files import json_text, require, write_whole
from ..network import Wiring
from .archive import read_archive, write_archive
from .html import html_skipped, html_table
from .layer import LayerResult
from .measures import Skipped
from .printed import printable
from .table import cells, legend_of, text_table

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

__all__ = ["Decomposition", "load"]


@dataclass(frozen=True, eq=False)
class Decomposition(Sequence[LayerResult]):
    """The causal decomposition of a network: a sequence of :class:`LayerResult`.

    Parameters
    ----------
    layers : tuple of LayerResult
        In order of execution.
    skipped : tuple of Skipped
        What could not be analysed, and why.
    settings : dict
        The options that made it, as plain values.
    """

    layers: tuple[LayerResult, ...]
    skipped: tuple[Skipped, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[LayerResult]:
        return iter(self.layers)

    @overload
    def __getitem__(self, key: int | str) -> LayerResult: ...
    @overload
    def __getitem__(self, key: slice) -> tuple[LayerResult, ...]: ...
    def __getitem__(self, key: int | str | slice) -> LayerResult | tuple[LayerResult, ...]:
        if isinstance(key, str):
            for layer in self.layers:
                if layer.name == key:
                    return layer
            there = ", ".join(repr(x.name) for x in self.layers)
            raise KeyError(f"no layer {key!r}; there are {there}")
        return self.layers[key]

    @property
    def wiring(self) -> Wiring | None:
        """What feeds what among the layers; None where that is not known, as of a weight file."""
        return next((layer.wiring for layer in self.layers if layer.wiring is not None), None)

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Return the headings and the rows of the printed table.

        Returns
        -------
        headings : list of str
        rows : list of list of str
        """
        return cells(self.layers)

    def notes(self) -> list[str]:
        """Return the lines below the printed table: what its marks mean, and what was skipped."""
        skipped = [f"skipped {s.name}: {s.reason}" for s in self.skipped]
        return legend_of(self.layers) + skipped

    def __str__(self) -> str:
        return "\n".join(text_table(self.layers) + [printable(n) for n in self.notes()])

    def _repr_html_(self) -> str:
        return html_table(self.layers) + html_skipped(self.skipped)

    def to_html(
        self,
        path: str | Path | None = None,
        edges: bool = True,
        title: str = "Causal decomposition",
    ) -> str:
        """Return a self-contained page, and write it if a path is given.

        Parameters
        ----------
        path : path-like, optional
            Written whole or not at all.
        edges : bool
            Whether to include heat maps, and the strongest and deadest edges, of every layer.
        title : str

        Returns
        -------
        str
            As :func:`eiplane.report.write_report` makes it.
        """
        from ..report import html_report

        page = html_report(self, title, edges)
        if path is not None:
            write_whole(path, lambda file: file.write(page.encode()))
        return page

    def to_dict(self, edges: bool = True) -> dict[str, Any]:
        """Return plain Python values, ready for JSON.

        Parameters
        ----------
        edges : bool
            Whether to include the per-edge and per-neuron arrays.

        Returns
        -------
        dict
        """
        return {
            "units": "bits",
            "settings": dict(self.settings),
            "layers": [layer.to_dict(edges) for layer in self.layers],
            "skipped": [{"name": s.name, "reason": s.reason} for s in self.skipped],
            "wiring": None if self.wiring is None else self.wiring.to_dict(),
        }

    def to_json(self, path: str | Path | None = None, edges: bool = True) -> str:
        """Return the JSON text, and write it if a path is given.

        Parameters
        ----------
        path : path-like, optional
            Written whole or not at all.
        edges : bool
            Whether to include the per-edge and per-neuron arrays.

        Returns
        -------
        str
        """
        return json_text(self.to_dict(edges), path)

    def to_dataframe(self) -> pandas.DataFrame:
        """Return a pandas data frame, a row a layer, indexed by its name.

        Raises
        ------
        ImportError
            If pandas is missing (``pip install "eiplane[pandas]"``).
        """
        pd = require("pandas", "pandas")
        rows = [layer.to_dict(edges=False) for layer in self.layers]
        return pd.DataFrame(rows).set_index("name")

    def save(self, path: str | Path) -> None:
        """Write everything to an npz file; :func:`eiplane.load` reads it back.

        Parameters
        ----------
        path : path-like
            Written whole or not at all.
        """
        write_archive(path, self.layers, self.skipped, self.settings, self._lags())

    def _lags(self) -> dict[str, Any] | None:
        """Return what :class:`eiplane.ThroughTime` has of its own, for its file."""
        return None

    def plot(self, ax: Axes | None = None, **options: Any) -> Axes:
        """Draw the layers in the causal plane; see :func:`eiplane.plot.causal_plane`."""
        from ..plot import causal_plane

        axes: Axes = causal_plane(self, ax=ax, **options)
        return axes


def load(path: str | Path) -> Decomposition:
    """Read what :meth:`Decomposition.save` wrote.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    Decomposition
        Of the class that was saved: a :class:`eiplane.ThroughTime` is one again.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is not such a file.
    """
    layers, skipped, settings, lags = read_archive(path)
    if lags is None:
        return Decomposition(layers, skipped, settings)
    from ..recurrence import ThroughTime

    return ThroughTime(layers, skipped, settings, **lags)
