"""What a layer's noisy engines know beside its weights."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Surroundings"]


@dataclass(frozen=True)
class Surroundings:
    """The inputs of a layer whose outputs are not binned.

    Parameters
    ----------
    in_range : tuple of float
    in_bins : int
    baseline : float
        Where the inputs that are not perturbed are held, for the sensitivity.
    """

    in_range: tuple[float, float]
    in_bins: int
    baseline: float
