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
from .wording import about_file, near_choice, spoken, unknown_options

__all__ = ["main"]

_EXAMPLES = """examples:
  eiplane demo
  eiplane analyze model.onnx --plot plane.png
  eiplane analyze --help
"""

Handler = Callable[[argparse.Namespace], None]


class _Help(argparse.RawDescriptionHelpFormatter):
    """Calls commands by that name, and puts what they do beside them."""

    def start_section(self, heading: str | None) -> None:
        self._action_max_length = 14  # older Pythons forget that commands are indented
        super().start_section("commands" if heading == "positional arguments" else heading)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {near_choice(message)} (try {self.prog} --help)\n")


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
    options = _parsed(_joined(sys.argv[1:] if arguments is None else arguments))
    handler: Handler = options.handler
    import warnings

    def short(message: Warning | str, *_: Any, **__: Any) -> None:
        print(f"eiplane: warning: {spoken(str(message))}", file=sys.stderr)

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
        said = about_file(error) if isinstance(error, OSError) else str(error)
        text = " ".join(said.split()) or type(error).__name__
        print(f"eiplane: {spoken(text)}", file=sys.stderr)
        return 1
    return 0


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options; ends the program, as argparse does, where they are wrong."""
    parser, commands = _parser()
    options, rest = parser.parse_known_args(arguments)
    chosen = commands.choices.get(options.command, parser)
    if rest:
        chosen.error(unknown_options(chosen, rest))
    if options.command is None:
        parser.print_help(sys.stderr)
        parser.exit(2)
    return options


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


def _parser() -> tuple[argparse.ArgumentParser, Any]:
    parser = _Parser(
        prog="eiplane",
        description="The causal structure of neural networks, in bits.",
        epilog=_EXAMPLES,
        formatter_class=_Help,
    )
    parser.add_argument("--version", action="version", version=f"eiplane {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)
    add_analyze(commands)
    _add_info(commands)
    add_report(commands)
    add_tpm(commands)
    add_training_commands(commands)
    add_completion(commands, parser)
    return parser, commands


def _add_info(commands: Any) -> None:
    about = "version, CPU features, kernel in use"
    parser = commands.add_parser("info", help=about, description=f"Show {about}.")
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
