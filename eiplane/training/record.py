"""What was measured at one moment of a training: a line of its file."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..files import Familiar, Unread, uncollected
from ..network import Wiring
from ..results import TABLE, Decomposition, bounds_of, error_of

__all__ = ["QUANTITIES", "Record", "record_lines"]

#: Names of what is followed over time.
QUANTITIES = tuple(q.name for q in TABLE if q.tracked and q.per == "layer")

#: How many numbers each quantity of a record has, its bounds and its error too.
_WIDTHS = dict.fromkeys(QUANTITIES, 1)
_WIDTHS |= {row.name: 2 for name in QUANTITIES if (row := bounds_of(name)) is not None}
_WIDTHS |= {row.name: 1 for name in QUANTITIES if (row := error_of(name)) is not None}


@dataclass(frozen=True, eq=False)
class Record:
    """One moment of a training.

    Parameters
    ----------
    step : int
    layers : tuple of mapping
        A layer's quantities as :meth:`eiplane.LayerResult.to_dict` gives them, its ``name`` among
        them.
    metrics : mapping of str to float
        Loss, accuracy and the like.
    wiring : Wiring or None
        What feeds what among the layers; a tracker's first record has it.
    """

    step: int
    layers: tuple[Mapping[str, Any], ...]
    metrics: Mapping[str, float] = field(default_factory=dict)
    wiring: Wiring | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls,
        step: int,
        decomposition: Decomposition,
        metrics: Mapping[str, float] | None = None,
        wired: bool = True,
    ) -> Record:
        """Return the record of a decomposition, without its per-edge arrays.

        Parameters
        ----------
        step : int
        decomposition : Decomposition
        metrics : mapping of str to float, optional
        wired : bool
            Whether to keep what feeds what: of a run's records one is enough.
        """
        layers = tuple(layer.to_dict(edges=False) for layer in decomposition)
        return cls(step, layers, dict(metrics or {}), decomposition.wiring if wired else None)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Record:
        """Return the record that :meth:`to_json` wrote.

        That of a line that was recognised is decoded when its layers or metrics are asked for.

        Raises
        ------
        ValueError
            If it is none.
        """
        if type(value) is Unread:
            record = cls.__new__(cls)
            vars(record).update(step=value.number, _unread=value)
            return record
        try:
            step, layers = value["step"], tuple(value["layers"])
            metrics = value["metrics"]
            if set(map(type, metrics.values())) != {float}:
                metrics = {k: np.nan if v is None else float(v) for k, v in metrics.items()}
            if type(step) is not int or not 0 <= step < 1 << 63:
                raise ValueError("its step is no whole number")
            for layer in layers:
                _check_layer(layer)
            wired = value.get("wiring")
            wiring = None if wired is None else Wiring.from_dict(wired)
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
            reason = str(error) if type(error) is ValueError else repr(error)
            raise ValueError(f"not a record of a training: {reason}") from None
        return cls(step, layers, metrics, wiring)

    def __getattr__(self, name: str) -> Any:
        """Decode what was left of a line; asked only for what is not there."""
        unread = vars(self).get("_unread")
        if unread is not None and name in ("layers", "metrics", "wiring"):
            with uncollected():
                read = self.from_json(unread.value())
            vars(self).update(layers=read.layers, metrics=read.metrics, wiring=read.wiring)
            vars(self).pop("_unread", None)
        if name in vars(self):  # another thread may have been faster
            return vars(self)[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def difference(self, other: Record) -> str:
        """Say in what another record is one of another architecture.

        Parameters
        ----------
        other : Record

        Returns
        -------
        str
            The first difference in the layers' names, sizes or activations; empty if there is none.
        """
        mine, theirs = ({layer["name"]: layer for layer in r.layers} for r in (self, other))
        for one, names, there in ((mine, theirs, "now"), (theirs, mine, "then")):
            missing = [name for name in names if name not in one]
            if missing:
                return f"layer {missing[0]!r} is there only {there}"
        for name, layer in mine.items():
            for what in ("n_in", "n_out", "activation"):
                then, now = layer.get(what), theirs[name].get(what)
                if then != now and None not in (then, now):
                    return f"layer {name!r} had {what} {then!r} and has {now!r}"
        return ""

    def to_json(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        plain = {
            "step": self.step,
            "metrics": {name: _written(value) for name, value in self.metrics.items()},
            "layers": [dict(layer) for layer in self.layers],
        }
        return plain if self.wiring is None else plain | {"wiring": self.wiring.to_dict()}


def _written(metric: float) -> float | str:
    """Return a metric as JSON has it: no number is infinite there, and null is not known."""
    if metric in (np.inf, -np.inf):
        return "Infinity" if metric > 0 else "-Infinity"
    return metric


def record_lines() -> Familiar:
    """Return what recognises the lines of a run's file as records."""
    return Familiar("step", _accepted)


def _accepted(value: Mapping[str, Any]) -> None:
    """Raise ValueError if a line holds no record."""
    if "eiplane" in value:
        raise ValueError("it is a header")
    Record.from_json(value)


def _check_layer(layer: Any) -> None:
    """Raise ValueError if a layer of a record is not as it was written."""
    if not isinstance(layer, dict) or not isinstance(layer.get("name"), str):
        raise ValueError("a layer has no name")
    numbers, more = _layout(tuple(layer))
    if set(map(type, numbers(layer))) == {float}:  # as nearly always
        names = more
    else:
        names = tuple(n for n in layer if n in _WIDTHS)
    for name in names:
        value = layer[name]
        if type(value) is float:
            continue
        width = _WIDTHS[name]
        parts = [value] if width == 1 else value
        if not isinstance(parts, list) or len(parts) != width or not all(map(_is_number, parts)):
            raise ValueError(f"{name} of layer {layer['name']!r} is no number: {value!r}")


@functools.lru_cache(maxsize=256)
def _layout(names: tuple[str, ...]) -> tuple[Callable[[Any], tuple[Any, ...]], tuple[str, ...]]:
    """Return what takes a layer's single numbers, and which of its names have more than one."""
    single = [n for n in names if _WIDTHS.get(n) == 1]
    more = tuple(n for n in names if _WIDTHS.get(n, 1) > 1)
    if len(single) > 1:
        return operator.itemgetter(*single), more
    return lambda layer: tuple(layer[n] for n in single), more


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))
