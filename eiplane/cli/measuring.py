"""The options of :func:`eiplane.analyze` that a file can have, for commands that measure one."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Any

from ..analyze import analyze
from ..files import require
from ..results import MEASURES
from ..run import CHOICES
from .batches import read_batches
from .values import (
    Named,
    named,
    read_activation,
    read_bins,
    read_bytes,
    read_count,
    read_names,
    read_noise,
    read_out_range,
    read_pair,
    read_seed,
    read_shape,
    read_spans,
)

__all__ = ["FILES", "add_measuring", "measuring"]

#: What files of weights there are, for help.
FILES = (
    ".npz, .npy, .safetensors, .pt, .pth, .bin, .ckpt (weights only), .pt2 or .onnx; an index or a "
    "directory of .safetensors"
)


def _default(option: str) -> str:
    """Return what help says of an option that is left out."""
    return f" (default: {inspect.signature(analyze).parameters[option].default})"


def add_measuring(parser: argparse.ArgumentParser, measures: str) -> None:
    """Add the options that say how files of weights are read and measured.

    Parameters
    ----------
    parser : ArgumentParser
        Its options should be left out of what is parsed where they are not given:
        ``argument_default=argparse.SUPPRESS``.
    measures : str
        What help says is measured if nothing is chosen.
    """
    _add_network(parser)
    _add_measures(parser, measures)
    _add_bins(parser)
    _add_manner(parser)


def _add_network(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the network")
    add = group.add_argument
    add("--activation", metavar="[GLOB=]NAME", action=Named, others="*",
        type=named(read_activation),
        help="of every layer, of some, or a list with commas, one a layer; may be repeated. "
        ".onnx and .pt2 bring their own")  # fmt: skip
    add("--layers", action="append", metavar="GLOB", help="which layers; may be repeated")
    add("--key", metavar="NAME", help="which network of a checkpoint that holds several")
    add("--input-size", type=read_shape, metavar="N,N,...",
        help="shape of the input, where an ONNX graph leaves it open")  # fmt: skip
    add("--strict", action="store_true", help="fail if any part cannot be analysed")


def _add_measures(parser: argparse.ArgumentParser, default: str) -> None:
    group = parser.add_argument_group("what is measured, and how")
    add = group.add_argument
    add("--measures", type=read_names, metavar="NAME,...",
        help=f"of {', '.join(MEASURES)} (default: {default})")  # fmt: skip
    add("--spans", type=read_spans, metavar="SPANS",
        help="also through several layers at once: all, or FIRST..LAST,...")  # fmt: skip
    add("--method", choices=CHOICES["method"],
        help="of the pairwise measures" + _default("method"))  # fmt: skip
    add("--estimator", choices=CHOICES["estimator"],
        help="of ei; wide serves at any width, plugin is the paper's"
        + _default("estimator"))  # fmt: skip
    add("--samples", type=read_count, metavar="N", help="number of samples; with --tol the most")
    add("--tol", type=float, metavar="BITS", help="sample until the standard error is below this")
    add("--seed", dest="rng", type=read_seed, metavar="N|none",
        help="decides every random number; none takes fresh ones" + _default("rng"))  # fmt: skip


def _add_bins(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("bins and ranges")
    add = group.add_argument
    add("--bins", type=read_bins, metavar="N[,M]",
        help="bins, or input and output bins" + _default("bins"))  # fmt: skip
    add("--in-range", type=named(read_pair), action=Named, metavar="[GLOB=]LO,HI",
        help="of the network's input, or of some layers' inputs; may be repeated "
        "(default: 0,1)")  # fmt: skip
    add("--out-range", type=named(read_out_range), action=Named, metavar="[GLOB=]LO,HI|auto",
        help="of all layers' outputs, or of some; may be repeated"
        + _default("out_range"))  # fmt: skip
    add("--outliers", choices=CHOICES["outliers"],
        help="values outside the range fall in the end bins, or are left out"
        + _default("outliers"))  # fmt: skip
    add("--ranges", choices=CHOICES["ranges"],
        help="data: those of --data run through an .onnx graph or a .pt2 program"
        + _default("ranges"))  # fmt: skip
    add("--data", metavar="FILE", default=None,
        help="inputs: .npy, or .npz of one array an input's name")  # fmt: skip
    add("--quantiles", type=read_pair, metavar="LO,HI",
        help="of the data, where ranges begin and end; 0,1 for least and greatest "
        "(default: 0.001,0.999)")  # fmt: skip
    add("--noise", type=read_noise, metavar="STD|uniform,WIDTH|dither",
        help="on the outputs, which are then not binned; dither: bins averaged over where they "
        "begin")  # fmt: skip
    add("--baseline", type=float, metavar="X",
        help="where other inputs are held while one is perturbed"
        + _default("baseline"))  # fmt: skip


def _add_manner(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how it runs (the numbers do not depend on it)")
    add = group.add_argument
    add("--threads", type=int, metavar="N", help="default: EIPLANE_THREADS, else all CPUs")
    add("--dask", metavar="ADDRESS",
        help="run on the workers of a Dask scheduler, tcp://HOST:PORT; they need "
        "eiplane too")  # fmt: skip
    add("--memory-limit", type=read_bytes, metavar="BYTES",
        help="for counting whole vectors: 512M, 8G (default: 4G)")  # fmt: skip
    add("--progress", action=argparse.BooleanOptionalAction,
        help="show progress on stderr (default: if that is a terminal)")  # fmt: skip


@contextmanager
def measuring(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Give the options that were chosen, as :func:`eiplane.analyze` takes them.

    Parameters
    ----------
    options : Namespace
        Of a parser that :func:`add_measuring` was called for.
    """
    known = inspect.signature(analyze).parameters
    chosen = {name: value for name, value in vars(options).items() if name in known}
    if getattr(options, "data", None):
        chosen["input_data"] = read_batches(options.data)
    with _executor(getattr(options, "dask", None)) as executor:
        yield chosen if executor is None else chosen | {"executor": executor}


@contextmanager
def _executor(address: str | None) -> Iterator[Executor | None]:
    """Give the executor of a Dask scheduler, or None."""
    if address is None:
        yield None
        return
    distributed = require("distributed", "dask")
    with distributed.Client(address, timeout="10s", set_as_default=False) as client:
        yield client.get_executor()
