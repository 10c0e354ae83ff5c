"""Cutting a range into nearly equal parts."""

from __future__ import annotations

import itertools

__all__ = ["even_cuts"]


def even_cuts(total: int, parts: int, step: int = 1) -> list[tuple[int, int]]:
    """Cut ``range(total)`` into at most ``parts`` nearly equal ranges at multiples of ``step``.

    Parameters
    ----------
    total, parts, step : int

    Returns
    -------
    list of tuple of int
        Start and stop of every range; none is empty.
    """
    steps = -(-total // step)
    parts = max(1, min(parts, steps))
    bounds = [min(total, step * (steps * i // parts)) for i in range(parts + 1)]
    return [(a, b) for a, b in itertools.pairwise(bounds) if b > a]
