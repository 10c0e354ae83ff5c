"""Uses of the same weights of which one shows less than another: the first step of a recurrence.

There the state is zero, so what a forget gate gives is multiplied by nothing, and the network's
result says nothing about it; a later step does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .outcome import Outcome
from .recognise import Function, describe, fixed, path
from .signals import common

__all__ = ["completed", "is_open"]


def is_open(outcome: Outcome) -> bool:
    """Return whether a use does not show what follows some rows: a constant, or nothing."""
    if not outcome.unknown or outcome.pool is not None:
        return False
    return all(
        not part.uses
        if part.first is None
        else bool(np.isfinite(fixed(part.first.value, part.rows)).all())
        for part in outcome.parts
    )


def completed(found: list[Outcome], others: Iterable[list[Outcome]]) -> list[Outcome]:
    """Return what follows the rows of a map, completed by what another use of it shows.

    Parameters
    ----------
    found : list of Outcome
        Of this use.
    others : iterable of list of Outcome
        Of the other uses.

    Returns
    -------
    list of Outcome
        As they were, if no other use shows more and agrees in the rest. A use that shows nothing
        at all is the same as another if what makes a constant of it takes the other's function.
    """
    shown = [not is_open(outcome) for outcome in found]
    if all(shown):
        return found
    fill = _filled if any(shown) else _before
    for other in others:
        if any(map(is_open, other)):
            continue
        made = [fill(found, whole) for whole in other]
        if all(m is not None for m in made):
            return [m for m in made if m is not None]
    return found


def _filled(found: list[Outcome], whole: Outcome) -> Outcome | None:
    """Return another use's outcome as this use has it, or None if it has it otherwise."""
    first = whole.first
    if whole.unknown or whole.pool is not None or first is None:
        return None
    members: list[Outcome] = []
    value = first.value
    for part in found:
        mine = part.rows[np.isin(part.rows, whole.rows)]
        if not len(mine) or is_open(part):
            continue
        at = np.searchsorted(whole.rows, mine)
        own = part.first
        apart = len(mine) < len(part.rows) or part.section != whole.section
        if apart or not _agree(own, first, at):
            return None
        members += part.parts
        assert own is not None
        value = own.value
    nothing = replace(whole, rows=whole.rows[:0], uses=(), members=[])
    uses = [use for part in members for use in part.uses]
    function = Function(value, first.scale, first.shift, first.activation)
    return replace(whole, first=function, uses=uses, members=members or [nothing])


def _before(found: list[Outcome], whole: Outcome) -> Outcome | None:
    """Return another use's outcome as it is in this one, of which constants are made; or None."""
    first = whole.first
    if whole.unknown or whole.pool is not None or first is None:
        return None
    parts = [p for part in found for p in part.parts if np.isin(p.rows, whole.rows).any()]
    if not all(p.first is not None and np.isin(p.rows, whole.rows).all() for p in parts):
        return None
    ends = [p.first.value for p in parts if p.first is not None]
    for value in path(common(ends))[::-1] if ends else []:
        own = describe(value, whole.rows)
        if _agree(own, first, np.arange(len(whole.rows))):
            return replace(whole, first=own, uses=[u for p in parts for u in p.uses], members=[])
    return None


def _agree(own: Function | None, other: Function, at: NDArray[np.intp]) -> bool:
    """Return whether two functions are the same on some of the other's rows."""
    if own is None or own.activation is None or other.activation is None:
        return False
    if own.activation.rule is not None or other.activation.rule is not None:
        return False
    return (
        own.activation == other.activation
        and np.allclose(own.scale, other.scale[at], rtol=1e-12, atol=0)
        and np.allclose(own.shift, other.shift[at], rtol=1e-12, atol=0)
    )
