"""What was measured while a network learnt: a record a step, read-only."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from ..files import Unread, read_records, require, uncollected
from ..results import Decomposition, LayerResult, bounds_of, error_of, row_of
from .record import QUANTITIES, Record, record_lines

if TYPE_CHECKING:
    import pandas
    import xarray

__all__ = ["History", "as_history"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class History(Sequence[Record]):
    """The records of a training, in the order of their steps.

    Parameters
    ----------
    records : iterable of Record
        Sorted here; of several with one step the first counts.
    name : str, optional
        What pictures call it.
    """

    records: tuple[Record, ...]
    name: str | None = None

    def __init__(self, records: Iterable[Record], name: str | None = None) -> None:
        unique: dict[int, Record] = {}
        for record in records:
            unique.setdefault(record.step, record)
        object.__setattr__(self, "records", tuple(unique[s] for s in sorted(unique)))
        object.__setattr__(self, "name", name)

    @classmethod
    @uncollected()
    def read(cls, path: str | Path) -> History:
        """Read a file of JSON lines, as :class:`eiplane.Tracker` writes it.

        Parameters
        ----------
        path : path-like

        Returns
        -------
        History

        Raises
        ------
        OSError
            If the file cannot be read.
        ValueError
            If it is not such a file, or holds no record.
        """
        lines = read_records(path, record_lines())
        lines = [line for line in lines if type(line) is Unread or "eiplane" not in line]
        if not lines:
            raise ValueError(f"{path} holds no record of a training")
        try:
            return cls(map(Record.from_json, lines), Path(path).stem)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> History: ...
    def __getitem__(self, index: int | slice) -> Record | History:
        if isinstance(index, slice):
            return History(self.records[index], self.name)
        return self.records[index]

    @property
    def steps(self) -> NDArray[np.int64]:
        """The steps, ascending."""
        return np.array([record.step for record in self.records], dtype=np.int64)

    @property
    def layers(self) -> list[str]:
        """Names of the layers, in the order of their first appearance."""
        return list(self._columns)

    @property
    def metrics(self) -> list[str]:
        """Names of the metrics, in the order of their first appearance."""
        names: dict[str, None] = {}
        for record in self.records:
            names.update((name, None) for name in record.metrics)
        return list(names)

    @property
    def quantities(self) -> list[str]:
        """Names of the quantities that were measured, or of which bounds are known."""
        return [
            q for q in QUANTITIES if self._has(q) or ((b := bounds_of(q)) and self._has(b.name))
        ]

    @property
    def shown(self) -> list[str]:
        """Those of :attr:`quantities` that a picture of all should have."""
        return [
            q
            for q in self.quantities
            if not row_of(q).quiet or any((self.values(n, q) > 0).any() for n in self.layers)
        ]

    def _has(self, quantity: str) -> bool:
        return any(
            entry.get(quantity) is not None for column in self._columns.values() for entry in column
        )

    @functools.cached_property
    def _columns(self) -> dict[str, list[Mapping[str, Any]]]:
        """Entries of every layer, one a record; an empty one where it has none."""
        columns: dict[str, list[Mapping[str, Any]]] = {}
        none: dict[str, Any] = {}
        for i, record in enumerate(self.records):
            for entry in record.layers:
                column = columns.get(entry["name"])
                if column is None:
                    column = columns[entry["name"]] = [none] * len(self.records)
                if not column[i]:
                    column[i] = entry
        return columns

    def values(self, layer: str, quantity: str) -> Array:
        """Return a quantity of a layer over the steps.

        Parameters
        ----------
        layer : str
        quantity : str

        Returns
        -------
        ndarray of float64, shape (steps,) or (steps, 2)
            NaN where it was not measured; two columns for bounds.
        """
        found = [entry.get(quantity) for entry in self._columns.get(layer, [{}] * len(self))]
        if set(map(type, found)) == {float}:
            return np.array(found, dtype=np.float64)
        width = max((len(v) for v in found if isinstance(v, Sequence)), default=0)
        missing = [np.nan] * width if width else np.nan
        return np.array([missing if v is None else v for v in found], dtype=np.float64)

    def bounds(self, layer: str, quantity: str) -> Array:
        """Return the rigorous bounds of a quantity of a layer over the steps.

        Parameters
        ----------
        layer : str
        quantity : str

        Returns
        -------
        ndarray of float64, shape (steps, 2)
            NaN where none are known.
        """
        bounds = bounds_of(quantity)
        found = np.empty(0) if bounds is None else self.values(layer, bounds.name)
        return found if found.ndim == 2 else np.full((len(self), 2), np.nan)

    def errors(self, layer: str, quantity: str) -> Array:
        """Return the standard error of a quantity of a layer over the steps.

        Parameters
        ----------
        layer : str
        quantity : str

        Returns
        -------
        ndarray of float64, shape (steps,)
            0 where it is exact, NaN where it is not known.
        """
        error = error_of(quantity)
        return np.full(len(self), np.nan) if error is None else self.values(layer, error.name)

    def metric(self, name: str) -> Array:
        """Return a metric over the steps, NaN where it was not given.

        Parameters
        ----------
        name : str

        Returns
        -------
        ndarray of float64, shape (steps,)
        """
        return np.array([r.metrics.get(name, np.nan) for r in self.records], dtype=np.float64)

    def to_dataframe(self) -> pandas.DataFrame:
        """Return a pandas data frame, a row a step and layer, metrics beside the quantities.

        Raises
        ------
        ImportError
            If pandas is missing (``pip install "eiplane[pandas]"``).
        """
        pd = require("pandas", "pandas")
        rows = [
            {"step": record.step, "layer": layer["name"]}
            | {k: v for k, v in layer.items() if k != "name"}
            | dict(record.metrics)
            for record in self.records
            for layer in record.layers
        ]
        frame = pd.DataFrame(rows, columns=None if rows else ["step", "layer"])
        return frame.set_index(["step", "layer"])

    def to_xarray(self) -> xarray.DataArray:
        """Return the quantities as an array of dimensions step, layer and quantity.

        Beside each quantity stand its standard error (``ei_stderr``) and its bounds (``ei_low`` and
        ``ei_high``), where any are known. The metrics are coordinates along the steps.

        Raises
        ------
        ImportError
            If xarray is missing (``pip install "eiplane[xarray]"``).
        """
        xr = require("xarray", "xarray")
        layers, columns = self.layers, {}
        for quantity in self.quantities:
            columns[quantity] = [self.values(layer, quantity) for layer in layers]
            columns[f"{quantity}_stderr"] = [self.errors(layer, quantity) for layer in layers]
            bounds = [self.bounds(layer, quantity) for layer in layers]
            columns[f"{quantity}_low"] = [b[:, 0] for b in bounds]
            columns[f"{quantity}_high"] = [b[:, 1] for b in bounds]
        known = {k: np.array(v) for k, v in columns.items()}
        known = {k: v for k, v in known.items() if k in self.quantities or np.isfinite(v).any()}
        data = np.array(list(known.values())).reshape(len(known), len(layers), len(self))
        data = data.transpose(2, 1, 0)
        coordinates: dict[str, Any] = {"step": self.steps, "layer": layers, "quantity": list(known)}
        for name in self.metrics:
            if name not in coordinates:
                coordinates[name] = ("step", self.metric(name))
        return xr.DataArray(
            data, coordinates, ("step", "layer", "quantity"), name="eiplane",
            attrs={"units": "bits"},
        )  # fmt: skip


def as_history(source: Any) -> History:
    """Return the history that any source of one holds.

    Parameters
    ----------
    source : History, Tracker, Decomposition, sequence of Decomposition or Record, or path
        Decompositions get the steps 0, 1, ... Layers, as of ``decomposition[2:5]``, are one.

    Returns
    -------
    History

    Raises
    ------
    TypeError
        For anything else.
    ValueError
        For a file that holds none.
    """
    if isinstance(source, History):
        return source
    held = getattr(source, "history", None)
    if isinstance(held, History):
        return held
    if isinstance(source, Decomposition):
        return History([Record.of(0, source)])
    if isinstance(source, LayerResult):
        return as_history([source])
    if isinstance(source, str | os.PathLike):
        return History.read(Path(source))
    if isinstance(source, Iterable):
        items = list(source)
        if items and all(isinstance(item, Record) for item in items):
            return History(items)
        if items and all(isinstance(item, Decomposition) for item in items):
            return History(Record.of(i, item) for i, item in enumerate(items))
        if items and all(isinstance(item, LayerResult) for item in items):
            return History([Record.of(0, Decomposition(tuple(items)))])
    raise TypeError(
        "expected a Tracker, a History, a Decomposition or a sequence of them, or the path of a "
        f"tracked run, not {type(source).__name__}"
    )
