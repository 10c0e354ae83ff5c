"""Random numbers that a module draws."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ...network import Known, RangeRule, Unknown
from .handlers import HANDLERS

if TYPE_CHECKING:
    from .run import Run

__all__ = ["drawn", "is_random"]

#: Where those lie that are bounded.
_BETWEEN = {"bernoulli": (0.0, 1.0), "rand": (0.0, 1.0), "rand_like": (0.0, 1.0)}


def is_random(torch: Any, func: Any, name: str) -> bool:
    """Return whether an operator draws random numbers."""
    tag = getattr(torch.Tag, "nondeterministic_seeded", None)
    return not (tag is None or tag not in func.tags or name in HANDLERS)


def drawn(run: Run, name: str, results: list[Any]) -> None:
    """Report random numbers."""
    low, high = _BETWEEN.get(name, (-np.inf, np.inf))

    def rule() -> RangeRule:
        return Known(low, high) if np.isfinite(low) else Unknown()

    for tensor in results:
        run.put(
            tensor,
            run.flow.begin("random numbers", tuple(tensor.shape), rule, traits={"random": True}),
        )
