"""The command line."""

from __future__ import annotations

import argparse
import csv
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from .._version import __version__
from .batches import read_batches
from .training import add_training_commands

__all__ = ["main"]

Handler = Callable[[argparse.Namespace], None]


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (try {self.prog} --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        ``sys.argv[1:]`` when left out.

    Returns
    -------
    int
        0, or 1 for a problem in the input; wrong usage exits with 2.
    """
    options = _parser().parse_args(arguments)
    handler: Handler = options.handler
    import warnings

    def short(message: Warning | str, *_: Any, **__: Any) -> None:
        print(f"eiplane: warning: {message}", file=sys.stderr)

    try:
        with warnings.catch_warnings():
            warnings.showwarning = short
            handler(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the output has seen enough. Nothing must be flushed at exit any more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("eiplane: interrupted", file=sys.stderr)
        return 130
    except (OSError, ValueError, TypeError, ImportError, MemoryError, ArithmeticError) as error:
        text = " ".join(str(error).split()) or type(error).__name__
        print(f"eiplane: {text}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="eiplane", description="The causal structure of neural networks, in bits."
    )
    parser.add_argument("--version", action="version", version=f"eiplane {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)
    _add_analyze(commands)
    _add_info(commands)
    add_training_commands(commands)
    return parser


def _bins(text: str) -> int | tuple[int, int]:
    numbers = tuple(int(part) for part in text.split(","))
    if len(numbers) > 2:
        raise ValueError
    return numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1])


def _range(text: str) -> tuple[float, float]:
    lo, hi = (float(part) for part in text.split(","))
    return lo, hi


def _out_range(text: str) -> Any:
    return "auto" if text == "auto" else _range(text)


def _named(read: Callable[[str], Any]) -> Callable[[str], tuple[str | None, Any]]:
    """Return the reader of a range that may be preceded by the layers that it is for."""

    def range(text: str) -> tuple[str | None, Any]:  # argparse shows the name
        glob, sign, rest = text.rpartition("=")
        return (glob if sign else None), read(rest)

    return range


class _Ranges(argparse.Action):
    """Collects ranges: one for all, or a mapping of layers to theirs."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option: Any = None) -> None:
        name, value = values
        before = getattr(namespace, self.dest, {})
        if name is None and not before:
            setattr(namespace, self.dest, value)
        else:
            ranges = before if isinstance(before, dict) else {None: before}
            setattr(namespace, self.dest, ranges | {name: value})


def _count(text: str) -> int:
    value = float(text)
    if not value.is_integer():
        raise ValueError
    return int(value)


def _each(text: str) -> str | list[str]:
    return _names(text) if "," in text and "(" not in text else text


def _names(text: str) -> list[str]:
    return text.split(",")


def _seed(text: str) -> int | None:
    return None if text == "none" else int(text)


# argparse names these in its errors.
_bins.__name__, _range.__name__, _out_range.__name__ = "bins", "range", "range"
_count.__name__, _seed.__name__ = "number", "seed"


def _add_analyze(commands: Any) -> None:
    parser = commands.add_parser("analyze", help="decompose the layers of a file of weights")
    add = parser.add_argument  # what analyze() has by the same name is handed to it
    add("file", metavar="FILE", help=".npz, .safetensors, .pt (weights only) or .onnx")
    add("--activation", type=_each, help="of every layer, or a list with commas, one a layer")
    add("--measures", type=_names, default="sensitivity,ei_parts,ei", help="list with commas")
    add("--bins", type=_bins, default=8, metavar="N[,M]", help="bins, or input and output bins")
    given = {"action": _Ranges, "default": argparse.SUPPRESS}
    add("--in-range", type=_named(_range), metavar="[GLOB=]LO,HI", **given,
        help="of the network's input, or of some layers' inputs; may be repeated")  # fmt: skip
    add("--out-range", type=_named(_out_range), metavar="[GLOB=]LO,HI|auto", **given,
        help="of all layers' outputs, or of some; may be repeated")  # fmt: skip
    add("--outliers", choices=("clip", "drop"), default="clip")
    add("--baseline", type=float, default=0.0)
    add("--method", choices=("auto", "exact", "sample"), default="auto")
    add("--samples", type=_count, metavar="N")
    add("--tol", type=float, metavar="BITS")
    add("--estimator", choices=("auto", "conditional", "wide", "plugin"), default="auto")
    add("--ranges", choices=("auto", "data"), default="auto",
        help="data: those of --data run through an .onnx graph")  # fmt: skip
    add("--data", metavar="FILE", help="inputs: .npy, or .npz of one array an input's name")
    add("--quantiles", type=_range, default=(0.001, 0.999), metavar="LO,HI",
        help="of the data, where ranges begin and end; 0,1 for least and greatest")  # fmt: skip
    add("--layers", action="append", metavar="GLOB", help="which layers; may be repeated")
    add("--key", metavar="NAME", help="which network of a checkpoint that holds several")
    add("--strict", action="store_true", help="fail if any part cannot be analysed")
    add("--seed", dest="rng", type=_seed, default=0, metavar="N|none")
    add("--threads", type=int, metavar="N")
    add("--format", choices=("table", "json", "csv"), default="table")
    add("--no-edges", action="store_true", help="leave the per-edge arrays out of json")
    add("--save", metavar="OUT.npz", help="keep everything; eiplane.load reads it")
    add("--plot", metavar="OUT.png", help="draw the causal plane")
    parser.set_defaults(handler=_analyze)


def _analyze(options: argparse.Namespace) -> None:
    from ..analyze import analyze

    known = inspect.signature(analyze).parameters
    chosen = {name: value for name, value in vars(options).items() if name in known}
    if options.data:
        chosen["input_data"] = read_batches(options.data)
    result = analyze(options.file, **chosen)
    if options.save:
        result.save(options.save)
    if options.plot:
        from ..plot import save_figure

        save_figure(result.plot(), options.plot)
    if options.format == "json":
        print(result.to_json(edges=not options.no_edges))
    elif options.format == "csv":
        rows = [layer.to_dict(edges=False) for layer in result]
        writer = csv.DictWriter(sys.stdout, list(dict.fromkeys(k for row in rows for k in row)))
        writer.writeheader()
        writer.writerows(rows)
    else:
        print(result)


def _add_info(commands: Any) -> None:
    parser = commands.add_parser("info", help="version, CPU features, kernel in use")
    parser.set_defaults(handler=_info)


def _info(options: argparse.Namespace) -> None:
    import platform

    import numpy

    from .. import _core
    from ..run import check_environment, default_threads

    check_environment()
    print(f"eiplane   {__version__}")
    print(f"python    {platform.python_version()} on {platform.system()} {platform.machine()}")
    print(f"numpy     {numpy.__version__}")
    print(f"cpu has   {', '.join(_core.supported())}")
    print(f"in use    {_core.active()}")
    print(f"threads   {default_threads()}")


if __name__ == "__main__":
    sys.exit(main())
