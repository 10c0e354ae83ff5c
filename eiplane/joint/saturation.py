"""When a sample is too small for the entropy that it should measure, and who is told."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

from ..files import warn_user
from ..results import Joint

__all__ = ["LEAST_COVERAGE", "SaturationWarning", "is_saturated", "once_a_layer", "warn_saturated"]

#: Below this coverage, or with more bits of bias than this, an estimate counts as saturated.
LEAST_COVERAGE, MOST_BIAS = 0.8, 0.15


#: The layers of which a run has told already; None outside a run.
_TOLD: ContextVar[set[str] | None] = ContextVar("told", default=None)


class SaturationWarning(UserWarning):
    """A sample was too small for the entropy that it should measure."""


def is_saturated(coverage: float, bias: float) -> bool:
    """Whether an estimate of this coverage and this doubt about its bias (bits) is of no use."""
    return coverage < LEAST_COVERAGE or bias > MOST_BIAS


def warn_saturated(name: str, result: Joint, drops: bool = False) -> None:
    """Warn the user of an estimate that is saturated; once a layer inside :func:`once_a_layer`.

    Parameters
    ----------
    name : str
    result : Joint
    drops : bool
        Whether samples out of range are dropped.
    """
    told = _TOLD.get()
    if result.saturated and (told is None or name not in told):
        if told is not None:
            told.add(name)
        low, high = result.ei_bounds
        seen = "" if result.coverage is None else f" (coverage {result.coverage:.2g})"
        reason = f"{result.samples} samples are too few for the entropy of its outputs{seen}"
        if drops and result.outlier_fraction == 1.0:
            reason = (
                "every sample is dropped, as an output of each lies outside out_range (a wider "
                'one, or outliers="clip", keeps them)'
            )
        warn_user(
            f"layer {name}: {reason}; ei is known to lie between {low:.4g} and {high:.4g}, and no "
            "more",
            SaturationWarning,
        )


@contextlib.contextmanager
def once_a_layer(told: set[str]) -> Iterator[None]:
    """Tell of saturation once a layer, however often it is measured.

    Parameters
    ----------
    told : set of str
        The layers told of already; grows. One for a whole run.
    """
    token = _TOLD.set(told)
    try:
        yield
    finally:
        _TOLD.reset(token)
