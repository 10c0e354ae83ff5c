"""Noise on the outputs of a layer, which makes its EI independent of output bins."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any

from .limits import LEAST, MOST, as_float

__all__ = ["Noise", "checked_noise"]

_WHAT = (
    "noise is a standard deviation (of Gaussian noise), ('gaussian', std), ('uniform', width), "
    "'dither' or None"
)


@dataclass(frozen=True)
class Noise:
    """Noise added to every output, independently.

    Parameters
    ----------
    kind : {"gaussian", "uniform", "dither"}
        ``"dither"`` is uniform noise as wide as an output bin: what is left of bins when they are
        averaged over where they begin.
    scale : float
        Standard deviation, or full width; 0 of dither, whose width is a layer's own.
    """

    kind: str
    scale: float

    def plain(self) -> str | list[Any]:
        """Return what :func:`checked_noise` would read again."""
        return self.kind if self.kind == "dither" else [self.kind, self.scale]


def checked_noise(value: Any) -> Noise | None:
    """Return noise from what a user gives.

    Raises
    ------
    TypeError, ValueError
        If it is none.
    """
    if value is None or isinstance(value, Noise):
        return value
    if isinstance(value, str) and value == "dither":
        return Noise("dither", 0.0)
    if _is_number(value):
        value = ("gaussian", value)
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise TypeError(f"{_WHAT}; got {value!r}")
    kind, scale = value
    if kind not in ("gaussian", "uniform") or not _is_number(scale):
        raise ValueError(f"{_WHAT}; got {value!r}")
    size = as_float(scale)
    if not math.isfinite(size) or not size > 0.0:
        raise ValueError(f"noise: its scale must be above 0 and finite, got {scale!r}")
    if not LEAST <= size <= MOST:
        raise ValueError(f"noise: its scale must be from {LEAST:g} to {MOST:g}, got {scale!r}")
    return Noise(str(kind), size)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
