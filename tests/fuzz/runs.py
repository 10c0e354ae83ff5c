"""Fuzzed files of tracked runs: truncated, interleaved, edited.

A file is read, or refused by an error that names it; it is never changed by looking at it. A run that
resumes keeps every record that was whole.
"""

from __future__ import annotations

import base64
import json
import math
import tempfile
import unittest.mock
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import eiplane
from eiplane.files import familiar
from eiplane.training import History

from .campaign import Case, Wrong

OPTIONS: dict[str, Any] = {"activation": "relu", "measures": ("sensitivity",), "bins": 2}
WEIGHTS = [np.array([[1.0, -2.0]]), np.array([[0.5], [1.5]])]


def _lines(rng: np.random.Generator) -> list[bytes]:
    """Return the lines of a run, as a tracker writes them."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.jsonl"
        with eiplane.Tracker(lambda: WEIGHTS, path, progress=False, **OPTIONS) as tracker:
            for step in range(int(rng.integers(0, 5))):
                tracker.record(step, loss=float(rng.random()))
        return path.read_bytes().splitlines(keepends=True)


_VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1.5, 1e308, 2**70, "", "x", "name", [], {}, [[]], [0, "a"], {"name": 3},
    math.nan, math.inf, "\udcff", {"name": "0"}, [{"name": "0"}], [{"name": ["0"], "ei": "x"}],
)  # fmt: skip


def _edited(value: Any, rng: np.random.Generator) -> Any:
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = str(rng.choice(list(value)))
        if rng.random() < 0.15:
            return {k: v for k, v in value.items() if k != key}
        return {**value, key: _edited(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.85:
        at = int(rng.integers(len(value)))
        return [*value[:at], _edited(value[at], rng), *value[at + 1 :]]
    return _VALUES[int(rng.integers(len(_VALUES)))]


def make(rng: np.random.Generator) -> Case:
    """Return a file."""
    lines = _lines(rng)
    for _ in range(int(rng.integers(1, 3))):
        kind = int(rng.integers(10))
        at = int(rng.integers(len(lines))) if lines else 0
        if not lines:
            break
        if kind < 4:
            try:
                changed = json.dumps(_edited(json.loads(lines[at]), rng)).encode() + b"\n"
            except ValueError:
                continue
            lines[at] = changed
        elif kind == 4:  # cut while it was being written
            whole = b"".join(lines)
            whole = whole[: int(rng.integers(len(whole) + 1))]
            lines = whole.splitlines(keepends=True)
        elif kind == 5:  # two writers
            other = _lines(rng)
            mixed = [*lines, *other]
            lines = [mixed[i] for i in rng.permutation(len(mixed))]
        elif kind == 6:
            lines[at] = (
                lines[at][: int(rng.integers(len(lines[at])))] + lines[(at + 1) % len(lines)]
            )
        elif kind == 7:
            lines.insert(
                at,
                [b"\n", b"\r\n", b"[]\n", b"\xff\xfe\n", b"{}\n", b"null\n"][int(rng.integers(6))],
            )
        elif kind == 8:
            data = bytearray(b"".join(lines))
            for _ in range(int(rng.integers(1, 4))):
                data[int(rng.integers(len(data)))] = int(rng.integers(256))
            lines = bytes(data).splitlines(keepends=True)
        else:
            lines[at] = (
                lines[at].replace(b"\n", b"\r\n")
                if rng.random() < 0.5
                else b"\xef\xbb\xbf" + lines[at]
            )
    return {"data": base64.b64encode(b"".join(lines)).decode()}


def check(case: Case) -> None:
    """Raise Wrong for what must not be."""
    data = base64.b64decode(case["data"])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.jsonl"
        path.write_bytes(data)
        before, said = _looked_at(path)
        # Lines that are recognised without being decoded are read as all others are.
        with unittest.mock.patch.object(familiar, "_OFTEN", 1):
            if (before, said) != (other := _looked_at(path)):
                raise Wrong("read otherwise when familiar", f"{said} and {other[1]}"[:600])
        if path.read_bytes() != data:
            raise Wrong("looking at it changed it", "")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            try:
                with eiplane.Tracker(lambda: WEIGHTS, path, progress=False, **OPTIONS) as tracker:
                    step = max(tracker.steps, default=0) + 1
                    tracker.record(step, loss=1.0)
            except (ValueError, OSError) as error:
                if "run.jsonl" not in str(error):
                    raise Wrong("file not named", str(error)[:300]) from error
                if path.read_bytes() != data:
                    raise Wrong("a file that was refused changed", str(error)[:300]) from error
                return
        after = History.read(path)
        if before is not None and list(after.steps) != [*before, step]:
            raise Wrong("records lost", f"{list(before)} became {list(after.steps)}")


def _looked_at(path: Path) -> tuple[list[int] | None, str]:
    """Return the steps that a file tells of, having used them as a user would, and all or the error."""
    try:
        history = History.read(path)
    except (ValueError, OSError) as error:
        if "run.jsonl" not in str(error):
            raise Wrong("file not named", str(error)[:300]) from error
        return None, str(error)
    history.to_dataframe()
    for layer in history.layers:
        for quantity in history.quantities:
            history.values(layer, quantity)
            history.bounds(layer, quantity)
    for metric in history.metrics:
        history.metric(metric)
    return [int(s) for s in history.steps], repr([record.to_json() for record in history])


def smaller(case: Case) -> Iterator[Case]:
    """Return files with fewer lines."""
    lines = base64.b64decode(case["data"]).splitlines(keepends=True)
    for i in range(len(lines)):
        data = b"".join(lines[:i] + lines[i + 1 :])
        yield {"data": base64.b64encode(data).decode()}
