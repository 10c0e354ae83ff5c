"""``eiplane tpm``: a file with a transition matrix, measured."""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..files import read_arrays
from .outputs import check_picture

if TYPE_CHECKING:
    from ..emergence import Transitions

__all__ = ["add_tpm"]

_EXAMPLES = """examples:
  eiplane tpm P.npy
  eiplane tpm P.csv --macro greedy --format json
  eiplane tpm adjacency.npy --normalize --plot scales.png
"""


def add_tpm(commands: Any) -> None:
    """Add the command to a parser's subparsers.

    Parameters
    ----------
    commands : argparse's subparsers
        It gets a ``handler`` that takes the parsed options.
    """
    parser = commands.add_parser(
        "tpm",
        help="measure a transition matrix, and find its macro scale",
        description="Effective information, determinism and degeneracy of a transition matrix, in\n"
        "bits, and the macro scale that has most of it.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("file", metavar="FILE",
        help="the matrix, a row a state: .npy, .npz of one array, .csv, .txt")  # fmt: skip
    add("--macro", choices=("auto", "exhaustive", "greedy", "spectral", "none"), default="auto",
        help="how to look for the macro scale (default: auto)")  # fmt: skip
    add("--objective", choices=("ei", "effectiveness"), default="ei",
        help="what is to be greatest there (default: ei)")  # fmt: skip
    add("--normalize", action="store_true",
        help="divide each row by its sum, for a graph's adjacency matrix")  # fmt: skip
    add("--format", choices=("table", "json", "csv"), default="table",
        help="on stdout; csv has a row a state (default: table)")  # fmt: skip
    add("--no-states", action="store_true", help="leave matrices and states out of json")
    add("--plot", metavar="OUT.png", help="draw the matrices of both scales (.png, .pdf, .svg)")
    parser.set_defaults(handler=_tpm)


def _tpm(options: argparse.Namespace) -> None:
    from ..emergence import tpm

    check_picture(options.plot)
    result = tpm(
        _read(options.file),
        macro=None if options.macro == "none" else options.macro,
        objective=options.objective,
        normalize=options.normalize,
    )
    if options.plot:
        from ..plot import save_figure, transitions

        save_figure(transitions(result), options.plot)
    if options.format == "json":
        print(result.to_json(states=not options.no_states))
    elif options.format == "csv":
        _write_csv(result)
    elif sys.stdout.isatty():
        from rich.console import Console

        Console(force_jupyter=False).print(result)
    else:
        print(result)


def _write_csv(result: Transitions) -> None:
    from ..emergence import PER_STATE

    square = result.matrix.shape[0] == result.matrix.shape[1]
    columns = [name for name in PER_STATE if square or name != "effect"]
    group = {}
    if result.macro is not None:
        group = {s: i for i, states in enumerate(result.macro.groups) for s in states}
    writer = csv.writer(sys.stdout)
    writer.writerow(["state", *columns, *(["group"] if group else [])])
    for i, name in enumerate(result.names):
        values = [float(getattr(result, column)[i]) for column in columns]
        writer.writerow([name, *values, *([group[i]] if group else [])])


def _read(path: str) -> np.ndarray[Any, Any]:
    if Path(path).suffix.lower() in (".csv", ".txt", ".tsv", ".dat"):
        text = Path(path).read_text(encoding="utf-8").replace(",", " ").replace(";", " ")
        try:
            return np.loadtxt(text.splitlines(), ndmin=2)
        except ValueError as error:
            raise ValueError(f"{path} is no table of numbers: {error}") from error
    arrays = read_arrays(path, "is no .npy, .npz, .csv or .txt file")
    if not isinstance(arrays, dict):
        return arrays
    if len(arrays) != 1:
        held = ", ".join(arrays) or "none"
        raise ValueError(f"{path} must hold one array, the transition matrix; it holds {held}")
    return next(iter(arrays.values()))
