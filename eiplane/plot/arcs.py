"""How what lies between layers is drawn: the heights of arcs, and the signs of meetings."""

from __future__ import annotations

from .diagram import Diagram

__all__ = ["levels_of", "word_of"]


def levels_of(made: Diagram) -> dict[int, float]:
    """Return the heights between which arcs bend: above what they skip, below what they go back by.

    Parameters
    ----------
    made : Diagram

    Returns
    -------
    dict of int to float
        By the ``id`` of a link.
    """
    found: dict[int, float] = {}
    for under in (False, True):
        placed: list[tuple[int, int, float]] = []
        arcs = [k for k in made.links if k.under == under and (k.back or k.skips)]
        for link in sorted(arcs, key=lambda k: abs(k.target.rank - k.source.rank)):
            first, last = sorted((link.source.rank, link.target.rank))
            between = [s for s in made.signals if first <= s.rank <= last]
            height = 1.0 + max(-s.bottom if under else s.top for s in between)
            below = [h for a, b, h in placed if a < last and first < b]
            height = max([height, *(h + 1.0 for h in below)])
            placed.append((first, last, height))
            # A curve comes to three quarters of the height of the points that bend it.
            start = min(-link.source.bottom if under else link.source.top,
                        -link.target.bottom if under else link.target.top)  # fmt: skip
            bent = start + (height - start) * 4.0 / 3.0 + 1.0
            found[id(link)] = -bent if under else bent
    return found


_SIGNS = {"add": "+", "sub": "−", "mul": "×", "div": "÷", "sum": "+"}


def word_of(what: str, unknown: bool = False) -> tuple[str, str]:
    """Return the sign in the circle of a meeting, and the word below it.

    Parameters
    ----------
    what : str
        The operator, as the front end calls it.
    unknown : bool
        Whether it is not known what meets there.
    """
    if unknown:
        return "?", "not seen"
    plain = what.lower().strip("_").removeprefix("a ").removeprefix("an ")
    if plain in _SIGNS:
        return _SIGNS[plain], ""
    if "attention" in plain:
        return "", "attention"
    return "", plain.replace("_", " ") if len(plain) <= 16 else f"{plain[:15]}…"
