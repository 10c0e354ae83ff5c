"""What an ablation found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Ablation"]


@dataclass(frozen=True, eq=False)
class Ablation:
    """The score of a model against what was removed from it.

    Parameters
    ----------
    by : str
        What decided the order.
    structure : str
        ``"edges"``, ``"inputs"`` or ``"outputs"``: what was removed.
    order : str
        ``"lowest"`` or ``"highest"``: which went first.
    scope : str
        ``"layer"`` or ``"network"``.
    fractions : ndarray of float64, shape (points,)
        The shares asked for; the first is 0.
    removed : ndarray of int64, shape (points,)
        How many were removed.
    total : int
        How many there are.
    scores : ndarray of float64, shape (points,)
        What ``evaluate`` returned.
    layers : tuple of str
        The layers that things were removed from.
    skipped : tuple of str
        Layers that were left whole, each with the reason, and biases that stay.
    """

    by: str
    structure: str
    order: str
    scope: str
    fractions: NDArray[np.float64]
    removed: NDArray[np.int64]
    total: int
    scores: NDArray[np.float64]
    layers: tuple[str, ...]
    skipped: tuple[str, ...] = ()

    @property
    def area(self) -> float:
        """Mean score over the shares that were removed, by the trapezoidal rule."""
        width = np.diff(self.fractions)
        if not width.sum():
            return float(self.scores[0])
        middle = (self.scores[1:] + self.scores[:-1]) / 2.0
        return float((width * middle).sum() / width.sum())

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python numbers and lists."""
        return {
            "by": self.by,
            "structure": self.structure,
            "order": self.order,
            "scope": self.scope,
            "fractions": self.fractions.tolist(),
            "removed": self.removed.tolist(),
            "total": self.total,
            "scores": self.scores.tolist(),
            "layers": list(self.layers),
            "skipped": list(self.skipped),
        }

    def __str__(self) -> str:
        head = f"{self.structure} removed, {self.order} {self.by} first, by {self.scope}"
        rows = [
            f"{fraction:8.1%}  {count:9d}  {score:.6g}"
            for fraction, count, score in zip(
                self.fractions, self.removed, self.scores, strict=True
            )
        ]
        left = [f"left whole: {text}" for text in self.skipped]
        return "\n".join([head, "   share      count  score", *rows, *left])
