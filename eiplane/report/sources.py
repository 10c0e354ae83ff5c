"""What a page is about: models and runs, each a sequence of moments, the last one in full."""

from __future__ import annotations

import contextlib
import math
import os
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..analyze import analyze
from ..files import read_records
from ..network import Wiring
from ..results import Decomposition, LayerResult, Skipped, load
from ..training import History, Record, Tracker, as_history
from ..training.matrices import Matrices

__all__ = ["Remembered", "Source", "sources_of"]


class Remembered:
    """A layer's entry in a record, to be read as a :class:`eiplane.LayerResult` is.

    Parameters
    ----------
    entry : mapping
        Quantities by name; what it lacks is None.
    matrices : mapping
        Those of its edges by ``<layer>/<quantity>``, where the run keeps them.
    wiring : Wiring or None
    """

    def __init__(
        self, entry: Mapping[str, Any], matrices: Mapping[str, Any], wiring: Wiring | None = None
    ) -> None:
        own = {key.rpartition("/")[::2]: values for key, values in matrices.items()}
        mine = {q: values for (name, q), values in own.items() if name == entry.get("name")}
        self._entry = {**entry, **mine, "wiring": wiring}

    def __getattr__(self, name: str) -> Any:
        value = self._entry.get(name)
        return tuple(value) if isinstance(value, list) else value


@dataclass(frozen=True, eq=False)
class Source:
    """A model or a run.

    Parameters
    ----------
    name : str
    history : History
        Of a model one moment.
    layers : sequence of LayerResult or Remembered
        The last moment's.
    skipped : sequence of Skipped
    settings : mapping
        What it was measured with; empty where that is not known.
    measured_here : bool
        Whether it was measured for the page.
    """

    name: str
    history: History
    layers: Sequence[Any]
    skipped: Sequence[Skipped] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    measured_here: bool = False

    @property
    def moves(self) -> bool:
        """Whether there is more than one moment."""
        return len(self.history) > 1


def sources_of(given: Any, options: Mapping[str, Any]) -> list[Source]:
    """Return what a page is to be about.

    Parameters
    ----------
    given : Decomposition, Tracker, History, weights, path, or mapping of names to those
        As of :func:`.write_report`.
    options : mapping
        Of :func:`eiplane.analyze`, for what has not been measured.

    Returns
    -------
    list of Source

    Raises
    ------
    TypeError, ValueError, OSError
        If something is not what a page can be about, or cannot be measured or read.
    """
    if isinstance(given, Mapping) and given and not any(map(_is_array, given.values())):
        return [_source(one, options, str(name)) for name, one in given.items()]
    return [_source(given, options)]


def _measured(weights: Any, options: Mapping[str, Any]) -> Decomposition:
    return analyze(weights, **{"measures": _measures(weights), **options})


#: Weights up to which EI of whole vectors is estimated if nothing is said.
_SMALL = 100_000


def _measures(weights: Any) -> tuple[str, ...]:
    """Return what is measured if nothing is said: EI where that is fast, else its bounds."""
    return "sensitivity", "ei_parts", "ei" if _size(weights) <= _SMALL else "bounds"


def _size(weights: Any) -> float:
    """Return about how many weights there are; infinity if that cannot be told at once."""
    if isinstance(weights, str | os.PathLike):
        path = Path(weights)  # 4 bytes each, as a rule
        return path.stat().st_size / 4 if path.is_file() else math.inf
    if hasattr(weights, "parameters"):
        return float(sum(p.numel() for p in weights.parameters()))
    if isinstance(weights, Mapping):
        return sum(map(_size, weights.values()))
    if isinstance(weights, list | tuple):
        return sum(map(_size, weights))
    inner = getattr(weights, "weight", weights)
    return math.prod(np.shape(inner)) if hasattr(inner, "shape") or np.isscalar(inner) else math.inf


def _is_array(value: Any) -> bool:
    return hasattr(value, "__array__") or hasattr(value, "detach") or isinstance(value, Mapping)


def _source(given: Any, options: Mapping[str, Any], name: str | None = None) -> Source:
    measured = False
    if isinstance(given, str | os.PathLike):
        path = Path(given)
        name = name or path.name
        if _is_run(path):
            run = History.read(path)
            return _of_run(run, name, _options_of(path), Matrices(path).of)
        measured = not _is_saved(path)
        given = _measured(given, options) if measured else load(path)
    elif _is_layers(given):
        given = Decomposition(tuple(given))
    elif not isinstance(given, History | Tracker | Decomposition) and not _is_run_of(given):
        given, measured = _measured(given, options), True
    if isinstance(given, Decomposition):
        history = History([Record.of(0, given)])
        return Source(name or "", history, given.layers, given.skipped, given.settings, measured)
    last = given[-1] if isinstance(given, list | tuple) and given else None
    settings = last.settings if isinstance(last, Decomposition) else {}
    history = as_history(given)
    keeps = given.edges if isinstance(given, Tracker) else None
    return _of_run(history, name or history.name or "", settings, keeps)


def _of_run(
    history: History,
    name: str,
    settings: Mapping[str, Any],
    keeps: Callable[[int], Mapping[str, Any]] | None,
) -> Source:
    if not len(history):
        raise ValueError("this run has no record to report")
    matrices: Mapping[str, Any] = {}
    if keeps is not None:
        with contextlib.suppress(KeyError):  # none were kept
            matrices = keeps(history[-1].step)
    wiring = history[0].wiring  # which the first record tells
    layers = [Remembered(entry, matrices, wiring) for entry in history[-1].layers]
    return Source(name, history, layers, (), settings)


def _is_layers(given: Any) -> bool:
    """Return whether something is layers of a result: a slice of it."""
    return (
        isinstance(given, list | tuple)
        and bool(given)
        and all(isinstance(one, LayerResult) for one in given)
    )


def _is_run_of(given: Any) -> bool:
    """Return whether something is a sequence of moments."""
    return isinstance(given, list | tuple) and all(
        isinstance(one, Decomposition | Record) for one in given
    )


def _is_run(path: Path) -> bool:
    """Return whether a path is that of a tracked run; of what is not there its ending says so."""
    if path.is_dir() or path.name.endswith(".index.json"):
        return False
    if path.suffix.lower() == ".jsonl":
        return True
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(1) == b"{"


def _is_saved(path: Path) -> bool:
    """Return whether a file is a decomposition that eiplane saved."""
    if path.suffix.lower() != ".npz" or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return "header.npy" in archive.namelist()


def _options_of(path: Path) -> Mapping[str, Any]:
    """Return the options that the first line of a run's file says it was measured with."""
    first = next(iter(read_records(path)), {})
    options = first.get("options")
    return options if "eiplane" in first and isinstance(options, dict) else {}
