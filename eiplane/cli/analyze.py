"""``eiplane analyze``: every option of :func:`eiplane.analyze` that a file can have."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Mapping
from typing import Any

from ..analyze import analyze
from ..results import Decomposition
from .drawing import add_plane_options
from .measuring import FILES, add_measuring, measuring
from .outputs import check_output, check_picture
from .screen import print_result

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
    parser.add_argument("file", metavar="FILE", help=FILES)
    add_measuring(parser, "sensitivity,ei_parts,ei")
    _add_output(parser)
    parser.set_defaults(handler=_analyze)


def _add_output(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what comes out")
    add = group.add_argument
    add("--format", choices=("table", "json", "csv", "html"), default="table",
        help="on stdout; html is a page by itself (default: table)")  # fmt: skip
    add("--no-edges", action="store_true", default=False,
        help="leave the edges out of json, html and --save")  # fmt: skip
    add("--save", metavar="OUT.npz", default=None, help="keep everything; eiplane.load reads it")
    add("--plot", metavar="OUT.png", default=None, help="draw the causal plane (.png, .pdf, .svg)")
    add("--plot-kind", choices=("plane", "layers"), default="plane",
        help="layers: against their depth, a line a role (default: plane)")  # fmt: skip
    add_plane_options(add)


def _analyze(options: argparse.Namespace) -> None:
    check_output(options.save)
    check_picture(options.plot)
    shown = bool(options.save) or options.format in ("json", "html")
    with measuring(options) as chosen:
        result = analyze(options.file, **chosen, edges=shown and not options.no_edges)
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
