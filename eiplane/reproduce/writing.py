"""The folder of an experiment: its figures and its summary."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..files import left_over, write_whole
from ..plot import save_figure

__all__ = ["claim", "decimals", "keep_figure", "markdown_table", "write_summary"]


def claim(folder: Path, name: str, quick: bool) -> None:
    """Make the folder, and see that it is of no other experiment.

    Parameters
    ----------
    folder : pathlib.Path
    name : str
    quick : bool

    Raises
    ------
    ValueError
        If it holds another one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mark = folder / "experiment.json"
    expected = {"experiment": name, "quick": quick}
    if mark.exists():
        try:
            found = json.loads(mark.read_text())
        except ValueError as error:
            raise ValueError(f"{mark} is damaged: {error}; give another with --out") from None
        if not isinstance(found, dict) or found != expected:
            found = found if isinstance(found, dict) else {}
            raise ValueError(
                f"{folder} holds the experiment {found.get('experiment')}"
                f"{' (quick)' * bool(found.get('quick'))}; give another folder with --out"
            )
        return
    if not all(left_over(path.name) for path in folder.iterdir()):
        raise ValueError(f"{folder} is not empty, and no experiment's; give another with --out")
    write_whole(mark, lambda file: file.write(json.dumps(expected).encode()))


def keep_figure(drawn: Any, folder: Path, name: str) -> None:
    """Write a figure as PNG and as PDF."""
    save_figure(drawn, folder / f"{name}.pdf")
    save_figure(drawn, folder / f"{name}.png", dpi=130)


def decimals(value: float, digits: int) -> str:
    """Return a number with so many decimals; - for NaN, what is not known."""
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def markdown_table(headings: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a table in Markdown; numbers with three decimals, - for what is not known."""
    cells = [[decimals(c, 3) if isinstance(c, float) else str(c) for c in row] for row in rows]
    lines = [list(headings), ["---"] * len(headings), *cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def write_summary(folder: Path, text: str) -> str:
    """Write ``summary.md`` and return it."""
    write_whole(folder / "summary.md", lambda file: file.write((text.strip() + "\n").encode()))
    return text.strip()
