"""``eiplane analyze``: every option of :func:`eiplane.analyze` that a file can have."""

from __future__ import annotations

import argparse
import csv
import inspect
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Any

from ..analyze import analyze
from ..files import require
from ..results import MEASURES, Decomposition
from ..run import CHOICES
from .batches import read_batches
from .drawing import add_plane_options
from .screen import print_result
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

__all__ = ["add_analyze"]

_EXAMPLES = """examples:
  eiplane analyze model.onnx
  eiplane analyze weights.npz --activation tanh --layers 'encoder.*' --format csv
  eiplane analyze weights.pt --activation relu --activation 'head=softmax' --in-range -1,1
  eiplane analyze weights.safetensors --activation gelu --in-range 'h.*=-4,4' --bins 16,8
  eiplane analyze model.onnx --spans all --measures degeneracy,phi --plot plane.png
  eiplane analyze model.onnx --ranges data --data inputs.npy --format html > page.html
  eiplane analyze model.onnx --dask tcp://scheduler:8786 --save result.npz

exit status: 0; 1 for a problem in the input; 2 for wrong usage
"""


def add_analyze(commands: Any) -> None:
    """Add the command to a parser's subparsers.

    Parameters
    ----------
    commands : argparse's subparsers
        It gets a ``handler`` that takes the parsed options.
    """
    parser = commands.add_parser(
        "analyze",
        help="decompose the layers of a file of weights",
        description="Measure the causal structure of every layer of a file of weights, in bits.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        # What is left out stays out: eiplane.analyze has the defaults.
        argument_default=argparse.SUPPRESS,
    )
    for add in (_add_network, _add_measures, _add_bins, _add_manner, _add_output):
        add(parser)
    parser.set_defaults(handler=_analyze)


def _default(option: str) -> str:
    """Return what help says of an option that is left out."""
    return f" (default: {inspect.signature(analyze).parameters[option].default})"


def _add_network(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the network")
    add = group.add_argument
    add("file", metavar="FILE",
        help=".npz, .npy, .safetensors, .pt, .pth, .bin, .ckpt (weights only), .pt2 or .onnx; an "
        "index or a directory of .safetensors")  # fmt: skip
    add("--activation", metavar="[GLOB=]NAME", action=Named, others="*",
        type=named(read_activation),
        help="of every layer, of some, or a list with commas, one a layer; may be repeated. "
        ".onnx and .pt2 bring their own")  # fmt: skip
    add("--layers", action="append", metavar="GLOB", help="which layers; may be repeated")
    add("--key", metavar="NAME", help="which network of a checkpoint that holds several")
    add("--input-size", type=read_shape, metavar="N,N,...",
        help="shape of the input, where an ONNX graph leaves it open")  # fmt: skip
    add("--strict", action="store_true", help="fail if any part cannot be analysed")


def _add_measures(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what is measured, and how")
    add = group.add_argument
    add("--measures", type=read_names, metavar="NAME,...",
        help=f"of {', '.join(MEASURES)} (default: sensitivity,ei_parts,ei)")  # fmt: skip
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


def _add_output(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what comes out")
    add = group.add_argument
    add("--format", choices=("table", "json", "csv", "html"), default="table",
        help="on stdout; html is a page by itself (default: table)")  # fmt: skip
    add("--no-edges", action="store_true", default=False,
        help="leave the edges out of json and html")  # fmt: skip
    add("--save", metavar="OUT.npz", default=None, help="keep everything; eiplane.load reads it")
    add("--plot", metavar="OUT.png", default=None, help="draw the causal plane (.png, .pdf, .svg)")
    add("--plot-kind", choices=("plane", "layers"), default="plane",
        help="layers: against their depth, a line a role (default: plane)")  # fmt: skip
    add_plane_options(add)


def _analyze(options: argparse.Namespace) -> None:
    known = inspect.signature(analyze).parameters
    chosen = {name: value for name, value in vars(options).items() if name in known}
    if options.data:
        chosen["input_data"] = read_batches(options.data)
    with _executor(getattr(options, "dask", None)) as executor:
        result = analyze(options.file, executor=executor, **chosen)
    if options.save:
        result.save(options.save)
    if options.plot:
        from ..plot import causal_plane, layers, save_figure

        draw: Any = layers if options.plot_kind == "layers" else causal_plane
        drawn = draw(result, normalize=options.normalize, scale=options.scale)
        save_figure(drawn, options.plot)
    _write(result, options)


def _write(result: Decomposition, options: argparse.Namespace) -> None:
    edges = not options.no_edges
    if options.format == "json":
        print(result.to_json(edges=edges))
    elif options.format == "html":
        print(result.to_html(edges=edges, title=options.file), end="")
    elif options.format == "csv":
        rows: list[Mapping[str, Any]] = [layer.to_dict(edges=False) for layer in result]
        writer = csv.DictWriter(sys.stdout, list(dict.fromkeys(k for row in rows for k in row)))
        writer.writeheader()
        writer.writerows(rows)
    else:
        print_result(result)


@contextmanager
def _executor(address: str | None) -> Iterator[Executor | None]:
    """Give the executor of a Dask scheduler, or None."""
    if address is None:
        yield None
        return
    distributed = require("distributed", "dask")
    with distributed.Client(address, timeout="10s", set_as_default=False) as client:
        yield client.get_executor()
