"""``eiplane report``: a page about models and runs."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .measuring import FILES, add_measuring, measuring
from .outputs import check_output

__all__ = ["add_report"]

_EXAMPLES = """examples:
  eiplane report model.onnx page.html
  eiplane report run.jsonl page.html --title 'The third run'
  eiplane report before.safetensors after.safetensors page.html --activation gelu
  eiplane report generalises.jsonl memorises.jsonl page.html
  eiplane report result.npz page.html  # what eiplane analyze --save kept
"""


def add_report(commands: Any) -> None:
    """Add the command to a parser's subparsers.

    Parameters
    ----------
    commands : argparse's subparsers
        It gets a ``handler`` that takes the parsed options.
    """
    parser = commands.add_parser(
        "report",
        help="write a page about a model or a run, or several side by side",
        description="Write one self-contained page about a model or a tracked run.\n"
        "Of several, layers are compared by name, with the first.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    add = parser.add_argument
    add("sources", metavar="MODEL-or-RUN", nargs="+",
        help=f"a tracked run, a saved result, or weights to be measured: {FILES}")  # fmt: skip
    add("out", metavar="OUT.html", help="the page, always the last name")
    add("--title", default=None, help="default: the files' names")
    add_measuring(parser, "sensitivity,ei_parts and ei; bounds instead of ei above 100,000 weights")
    parser.set_defaults(handler=_report)


def _report(options: argparse.Namespace) -> None:
    from ..report import write_report

    check_output(options.out, ".html", ".htm")
    files: list[str] = options.sources
    source = files[0] if len(files) == 1 else dict(zip(names_of(files), files, strict=True))
    with measuring(options) as chosen:
        write_report(source, options.out, title=options.title, **chosen)


def names_of(files: Sequence[str]) -> list[str]:
    """Return what files are called side by side: as little of their paths as tells them apart."""
    paths = [Path(file) for file in files]
    for parts in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["/".join(path.parts[-parts:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    count: Counter[str] = Counter()
    for i, name in enumerate(names):  # the same file again
        count[name] += 1
        names[i] = name if count[name] == 1 else f"{name} ({count[name]})"
    return names
