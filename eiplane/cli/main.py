"""The command line."""

from __future__ import annotations

import argparse
import io
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from .._version import __version__
from ..results import ASCII_ERRORS
from .analyze import add_analyze
from .completion import add_completion
from .report import add_report
from .tpm import add_tpm
from .training import add_training_commands

__all__ = ["main"]

_EXAMPLES = """examples:
  eiplane demo
  eiplane analyze model.onnx --plot plane.png
  eiplane analyze --help
"""

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
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal without arrows gets "->"
            stream.reconfigure(errors=ASCII_ERRORS)
    options = _parser().parse_args(_joined(sys.argv[1:] if arguments is None else arguments))
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
    except (
        OSError,
        ValueError,
        TypeError,
        ImportError,
        MemoryError,
        ArithmeticError,
        RuntimeError,
    ) as error:
        text = " ".join(str(error).split()) or type(error).__name__
        print(f"eiplane: {text}", file=sys.stderr)
        return 1
    return 0


def _joined(arguments: Sequence[str]) -> list[str]:
    """Return the arguments, a value that begins with a minus joined to its option.

    argparse would take ``-1,1`` for an option.
    """
    joined: list[str] = []
    for text in arguments:
        if re.match(r"-\.?\d", text) and joined and re.fullmatch(r"--[a-z-]+", joined[-1]):
            joined[-1] += f"={text}"
        else:
            joined.append(text)
    return joined


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="eiplane",
        description="The causal structure of neural networks, in bits.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"eiplane {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)
    add_analyze(commands)
    _add_info(commands)
    add_report(commands)
    add_tpm(commands)
    add_training_commands(commands)
    add_completion(commands, parser)
    return parser


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
