"""Operators that are not elementwise, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .call import Call
from .linear import LINEAR
from .lookups import LOOKUPS
from .mixes import MIXES, NOTES
from .moves import MOVES
from .norms import NORMS
from .pools import POOLS
from .quantised import QUANTISED
from .recurrent import RECURRENT

if TYPE_CHECKING:
    from .run import Run

__all__ = ["HANDLERS", "NOTES", "added_by"]

#: Each takes the run and the call; returns the codes of the result, or a list of those of the
#: results, or NotImplemented.
HANDLERS: dict[str, Callable[[Run, Call], Any]] = {
    **LINEAR,
    **LOOKUPS,
    **MOVES,
    **NORMS,
    **POOLS,
    **MIXES,
    **QUANTISED,
    **RECURRENT,
}

#: Operators that add one of their arguments, such as a bias, by its position.
_ADDED = {"addmm": 0, "baddbmm": 0, "addmv": 0, "addbmm": 0, "addr": 0}


def added_by(name: str, args: Any, kwargs: Any) -> Any:
    """Return what an operator only adds: a bias, or what comes to the scores of an attention."""
    if name in _ADDED:
        return args[_ADDED[name]]
    if "scaled_dot_product" in name:
        mask = kwargs.get("attn_mask", kwargs.get("attn_bias"))
        return [mask, *args[3:4]]
    return None
