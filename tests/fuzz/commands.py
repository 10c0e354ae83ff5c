"""Fuzzed command lines, run in this process.

Exit status 0, 1 or 2; a problem is one line on standard error and nothing on standard output, never a
traceback. Without arguments the usage is shown.
"""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import eiplane
from eiplane.cli.main import main

from .campaign import Case, Wrong

_FILES = (
    "w.npz",
    "bad.npz",
    "text.txt",
    "none.npz",
    "w.safetensors",
    "run.jsonl",
    "folder",
    "",
    "w.npy",
)

_OPTIONS: dict[str, tuple[str, ...]] = {
    "--activation": ("relu", "sigmoid", "sine", "relu,tanh", "leaky_relu(0.2)", "", "elu(-1)", "(", "*"),
    "--measures": ("sensitivity", "ei_parts", "ei", "degeneracy,phi", "all", "", ",", "ei,ei"),
    "--bins": ("2", "8", "2,4", "1", "0", "-3", "1025", "x", "1e3", "2,3,4", "", "99999999999999999999"),
    "--in-range": ("0,1", "-1,1", "1,0", "0,inf", "nan,1", "0", "a,b", "0,1e-320", "-1e200,1e200", ",", ""),
    "--out-range": ("auto", "0,1", "1,1", "0,nan", "x", "0,1,2", "0,5e-324", "1,1.0000000000000002"),
    "--outliers": ("clip", "drop", "keep"),
    "--baseline": ("0", "-1", "nan", "inf", "1e300", "x"),
    "--method": ("auto", "exact", "sample", "guess"),
    "--samples": ("2", "100", "1e3", "1e30", "0", "-5", "1.5", "nan", "inf", "x"),
    "--tol": ("0.5", "0", "-1", "nan", "inf", "x"),
    "--estimator": ("conditional", "plugin", "best"),
    "--layers": ("fc1", "fc*", "none", "[", "", "*"),
    "--seed": ("0", "7", "none", "-1", "1.5", "99999999999999999999999999"),
    "--threads": ("1", "2", "0", "-1", "x"),
    "--format": ("table", "json", "csv", "xml"),
    "--save": ("out.npz", "folder", "no/such/out.npz", ""),
    "--strict": (), "--no-edges": (), "--nonsense": ("x",), "--help": (), "--version": (),
}  # fmt: skip


def make(rng: np.random.Generator) -> Case:
    """Return the arguments."""
    command = str(
        rng.choice(["analyze"] * 12 + ["info", "plot", "report", "", "dance", "-h", "--"])
    )
    arguments = [command] if command else []
    if command == "analyze":
        arguments.append(str(rng.choice(_FILES[:1] * 6 + _FILES)))
        if rng.random() < 0.8:
            arguments += ["--activation", str(rng.choice(_OPTIONS["--activation"][:2]))]
        arguments += ["--samples", str(rng.choice(["64", "1000"]))]
    elif command in ("plot", "report"):
        arguments += [
            str(rng.choice(_FILES)),
            str(rng.choice(["o.png", "o.html", "o.xyz", "folder", ""])),
        ]
    for _ in range(int(rng.integers(0, 4))):
        name = str(rng.choice(list(_OPTIONS)))
        value = _OPTIONS[name]
        arguments.append(name)
        if value and rng.random() < 0.95:
            arguments.append(str(rng.choice(value)))
    if rng.random() < 0.1:
        arguments = [arguments[i] for i in rng.permutation(len(arguments))]
    return {"arguments": arguments}


def _prepare(folder: Path) -> None:
    rng = np.random.default_rng(0)
    weights = {"fc1.weight": rng.normal(size=(2, 3)), "fc2.weight": rng.normal(size=(1, 2))}
    np.savez(folder / "w.npz", **weights)
    np.save(folder / "w.npy", weights["fc1.weight"])
    (folder / "bad.npz").write_bytes((folder / "w.npz").read_bytes()[:200])
    (folder / "text.txt").write_text("these are not weights")
    (folder / "folder").mkdir()
    with eiplane.Tracker(
        lambda: list(weights.values()), folder / "run.jsonl", activation="relu",
        measures=("sensitivity", "ei_parts"), progress=False,
    ) as tracker:  # fmt: skip
        tracker.record(0, loss=1.0)
        tracker.record(1, loss=0.5)


def check(case: Case) -> None:
    """Raise Wrong for what must not be."""
    out, err = io.StringIO(), io.StringIO()
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        _prepare(Path(folder))
        there = {p.name for p in Path(folder).iterdir()}
        os.chdir(folder)
        try:
            with (
                warnings.catch_warnings(),
                contextlib.redirect_stdout(out),
                contextlib.redirect_stderr(err),
            ):
                warnings.simplefilter("default", UserWarning)
                try:
                    status = main(case["arguments"])
                except SystemExit as stop:
                    status = stop.code
        finally:
            os.chdir(here)
        made = {p.name for p in Path(folder).iterdir()} - there
    problem = [x for x in err.getvalue().splitlines() if not x.startswith("eiplane: warning:")]
    if status not in (0, 1, 2):
        raise Wrong("exit status", repr(status))
    if "Traceback" in err.getvalue():
        raise Wrong("traceback", err.getvalue()[-500:])
    if not case["arguments"]:  # what there is, on standard error
        if not err.getvalue().startswith("usage: "):
            raise Wrong("no usage", err.getvalue()[:500])
        problem = ["eiplane"]
    if status and (len(problem) != 1 or not problem[0].startswith("eiplane")):
        raise Wrong("not one line", err.getvalue()[:500])
    if status and out.getvalue():
        raise Wrong("output of a failure", out.getvalue()[:300])
    if status == 0 and problem:
        raise Wrong("words of a success", err.getvalue()[:300])
    if status and any(name.startswith((".", "o")) for name in made):
        raise Wrong("failed and left a file", str(sorted(made)))


def smaller(case: Case) -> Iterator[Case]:
    """Return fewer arguments."""
    arguments = case["arguments"]
    for length in (2, 1):
        for i in range(len(arguments) - length + 1):
            yield {"arguments": arguments[:i] + arguments[i + length :]}
