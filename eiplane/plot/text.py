"""The causal plane in characters, for a terminal, a log or a machine without matplotlib."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..training import as_history
from .planes import Plane, densified, ways

__all__ = ["text_plane"]

#: What stands for each layer, in their order.
_MARKS = "123456789abcdefghijklmnopqrstuvwxyz"


def text_plane(source: Any, *, width: int = 72, height: int = 20, ei: str = "parts") -> str:
    """Return the causal plane as text, turned by 45 degrees as in the paper.

    Parameters
    ----------
    source : Decomposition, sequence of Decomposition, Tracker, History, or path of a tracked run
        Of several moments a layer's way is dotted, and its mark stands at the end.
    width, height : int
        Of the plane, in characters.
    ei : str
        ``"parts"`` splits the sensitivity by ``ei_parts``, ``"joint"`` by ``ei``.

    Returns
    -------
    str
        Lines; across is how sensitive against how degenerate a layer is, up both together, and the
        line of ``:`` is where EI is 0. A layer of whose EI only the bounds are known lies on a line
        of ``~``.

    Raises
    ------
    ValueError
        If the plane is too small, or no layer has the measures that it takes.
    """
    if width < 20 or height < 5:
        raise ValueError(f"a plane of {width} x {height} characters is too small")
    plane = Plane(True, ei)
    drawn = ways(as_history(source), plane)
    everything = np.vstack([*(way.everything for way in drawn), [[0.0, 0.0]]])
    low, high = everything.min(axis=0), everything.max(axis=0)
    extent = np.where(high > low, high - low, 1.0)

    def place(points: NDArray[np.float64]) -> list[tuple[int, int]]:
        shares = (points - low) / extent
        columns = np.rint(shares[:, 0] * (width - 1)).astype(int)
        rows = np.rint((1.0 - shares[:, 1]) * (height - 1)).astype(int)
        return list(zip(rows.tolist(), columns.tolist(), strict=True))

    lines = [[" "] * width for _ in range(height)]
    zero = place(np.zeros((1, 2)))[0][1]
    for line in lines:
        line[zero] = ":"
    for way in drawn:
        for span in way.spans:
            for row, column in place(densified(span, width)):
                lines[row][column] = "~"
    for way in drawn:
        for row, column in place(way.points[: None if way.ends_open else -1]):
            lines[row][column] = "."
    for i, way in enumerate(drawn):
        row, column = place(way.end[None])[0]
        lines[row][column] = "*" if lines[row][column] in _MARKS else _MARKS[i % len(_MARKS)]
    text = _framed(lines, low, high, plane.ei, [way.name for way in drawn])
    if any(len(way.spans) for way in drawn):
        text.append("~  somewhere on this line: only bounds of EI are known")
    return "\n".join(text)


def _framed(
    lines: list[list[str]], low: NDArray[Any], high: NDArray[Any], ei: str, names: list[str]
) -> list[str]:
    kind = "degeneracy" if ei == "parts" else "joint degeneracy"
    across = f"(sensitivity - {kind}) / √2, bits"
    left, right = f"{low[0]:.3g}", f"{high[0]:.3g}"
    width = len(lines[0])
    ends = [f"{high[1]:.3g}", f"{low[1]:.3g}"]
    margin = max(map(len, ends))
    drawn = [f"(sensitivity + {kind}) / √2, bits"]
    for i, line in enumerate(lines):
        end = ends[0] if i == 0 else ends[1] if i == len(lines) - 1 else ""
        drawn.append(f"{end.rjust(margin)} |{''.join(line)}".rstrip())
    drawn.append(f"{' ' * margin} +{'-' * width}")
    gap = width - len(left) - len(right)
    label = across.center(gap) if len(across) < gap else " " * gap
    drawn.append(f"{' ' * margin}  {left}{label}{right}")
    drawn.append("")
    drawn += [f"{_MARKS[i % len(_MARKS)]}  {name}" for i, name in enumerate(names)]
    return drawn
