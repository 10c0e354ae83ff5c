"""How to measure whole vectors: the options of the joint engine, checked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .vectors import MEMORY

__all__ = ["JointOptions", "checked_memory"]

#: The least that can be allowed for counting.
LEAST_MEMORY = 1 << 20


@dataclass(frozen=True)
class JointOptions:
    """How to measure whole vectors.

    Parameters
    ----------
    estimator : str
        ``"auto"``, ``"conditional"``, ``"wide"`` or ``"plugin"``.
    memory : int
        Bytes that counting vectors may take.
    influence : bool
        Whether to measure the influence of single nodes, too.
    """

    estimator: str = "auto"
    memory: int = MEMORY
    influence: bool = True

    @property
    def published(self) -> bool:
        """Whether to do as the paper does: a layer is not taken apart, and nothing is exact."""
        return self.estimator == "plugin"


def checked_memory(limit: int | None) -> int:
    """Return the bytes that counting may take; ValueError or TypeError if they are none."""
    if limit is None:
        return MEMORY
    if isinstance(limit, bool) or not isinstance(limit, (int, np.integer)):
        raise TypeError(f"memory_limit must be a whole number of bytes, got {limit!r}")
    if limit < LEAST_MEMORY:
        raise ValueError(f"memory_limit must be at least {LEAST_MEMORY} bytes, got {limit}")
    return int(limit)
