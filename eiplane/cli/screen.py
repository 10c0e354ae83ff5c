"""Tables in colour on a terminal, and as plain text anywhere else."""

from __future__ import annotations

import sys
from typing import Any

from ..results import TABLE, Decomposition

__all__ = ["print_result"]

_WARNING = "yellow"

_NUMBERS = frozenset(q.heading for q in TABLE if q.heading)


def print_result(result: Decomposition) -> None:
    """Print the table of a decomposition on stdout.

    On a terminal it is coloured, and where it is wider than that it comes in several pieces, each
    with the layers' names. Elsewhere it is what ``print`` gives.

    Parameters
    ----------
    result : Decomposition
    """
    if not sys.stdout.isatty():
        print(result)
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(force_jupyter=False)
    for number, piece in enumerate(_pieces(result, console.width)):
        if number:
            console.print()
        console.print(piece, crop=False, no_wrap=True, overflow="ignore")
    for line in result.notes():
        console.print(Text(line, style=_WARNING))


def _pieces(result: Decomposition, width: int) -> list[Any]:
    """Return tables that have the columns between them, each no wider than the screen."""
    headings, rows = result.table()
    columns = list(zip(headings, *rows, strict=True))
    wide = [max(map(len, column)) + 2 for column in columns]
    pieces: list[Any] = []
    at = 1
    while at < len(columns) or not pieces:
        end, used = at, wide[0]
        while end < len(columns) and (end == at or used + wide[end] <= width):
            used += wide[end]
            end += 1
        pieces.append(_piece([columns[0], *columns[at:end]]))
        at = end
    return pieces


def _piece(columns: list[tuple[str, ...]]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(
            Text(column[0]), justify="right" if column[0] in _NUMBERS else "left", no_wrap=True
        )
    for row in list(zip(*columns, strict=True))[1:]:
        table.add_row(*(Text(cell, style=_style(i, cell)) for i, cell in enumerate(row)))
    return table


def _style(column: int, cell: str) -> str:
    if cell.endswith(("(saturated)", "*")):
        return _WARNING
    if cell == "-":
        return "dim"
    return "cyan" if column == 0 else "magenta" if cell.startswith("-") else ""
