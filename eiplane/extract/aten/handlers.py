"""Operators that are not elementwise, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .call import Call
from .linear import LINEAR
from .mixes import MIXES, NOTES
from .moves import MOVES
from .norms import NORMS
from .pools import POOLS
from .quantised import QUANTISED
from .recurrent import RECURRENT

if TYPE_CHECKING:
    from .run import Run

__all__ = ["HANDLERS", "NOTES"]

#: Each takes the run and the call; returns the codes of the result, or a list of those of the
#: results, or NotImplemented.
HANDLERS: dict[str, Callable[[Run, Call], Any]] = {
    **LINEAR,
    **MOVES,
    **NORMS,
    **POOLS,
    **MIXES,
    **QUANTISED,
    **RECURRENT,
}
