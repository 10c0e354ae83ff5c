"""When a sample is too small for the entropy that it should measure, and who is told."""

from __future__ import annotations

import warnings

from ..results import Joint

__all__ = ["LEAST_COVERAGE", "SaturationWarning", "is_saturated", "warn_saturated"]

#: Below this coverage, or with more bits of bias than this, an estimate counts as saturated.
LEAST_COVERAGE, MOST_BIAS = 0.8, 0.1


class SaturationWarning(UserWarning):
    """A sample was too small for the entropy that it should measure."""


def is_saturated(coverage: float, bias: float) -> bool:
    """Whether an estimate of this coverage and this doubt about its bias (bits) is of no use."""
    return coverage < LEAST_COVERAGE or bias > MOST_BIAS


def warn_saturated(name: str, result: Joint) -> None:
    """Warn of an estimate that is saturated, in the name of the caller's caller."""
    if result.saturated:
        low, high = result.ei_bounds
        seen = "" if result.coverage is None else f" (coverage {result.coverage:.2g})"
        warnings.warn(
            f"layer {name}: {result.samples} samples are too few for the entropy of its outputs"
            f"{seen}; ei is known to lie in [{low:.4g}, {high:.4g}] and little more",
            SaturationWarning,
            stacklevel=3,
        )
