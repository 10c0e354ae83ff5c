"""What became of a quantity from one result to another."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .quantities import bounds_of, error_of
from .table import between, with_error

__all__ = ["Change", "change_of", "matched"]


@dataclass(frozen=True)
class Change:
    """A difference of two numbers, each known, known between bounds, or not known.

    Parameters
    ----------
    value : float or None
        What was added; None where either number is not known.
    error : float or None
        Its standard error, the two numbers' taken as independent. 0 where both are exact.
    bounds : tuple of float or None
        Between what it lies, where it is not known itself.
    """

    value: float | None = None
    error: float | None = None
    bounds: tuple[float, float] | None = None

    @property
    def text(self) -> str:
        """It in words; empty where nothing is known."""
        if self.value is not None:
            text = with_error(self.value, self.error)
            return text if text.startswith("-") or self.value == 0.0 else f"+{text}"
        return "" if self.bounds is None else between(*self.bounds)


def change_of(before: Any, after: Any, quantity: str) -> Change:
    """Return how a quantity changed.

    Parameters
    ----------
    before, after : LayerResult, or mapping of quantities to numbers
    quantity : str

    Returns
    -------
    Change
        Where one number is not known, the bounds that follow from those of both; a number without
        an error is its own bound.
    """
    (a, e, low), (b, f, high) = _known(before, quantity), _known(after, quantity)
    if a is not None and b is not None:
        return Change(b - a, None if e is None or f is None else math.hypot(e, f))
    if low is None or high is None:
        return Change()
    return Change(bounds=(high[0] - low[1], high[1] - low[0]))


def _known(
    result: Any, quantity: str
) -> tuple[float | None, float | None, tuple[float, float] | None]:
    """Return a number, its error and its bounds; all that is not known is None."""
    value = _get(result, quantity)
    error, bounds = (
        None if row is None else _get(result, row.name)
        for row in (error_of(quantity), bounds_of(quantity))
    )
    if value is not None and not math.isfinite(value):
        value = None
    if error is None and error_of(quantity) is None:
        error = 0.0  # it is counted, or has no error of its own
    if bounds is None and value is not None and error == 0.0:
        bounds = (value, value)
    return value, error, None if bounds is None else (float(bounds[0]), float(bounds[1]))


def _get(result: Any, name: str) -> Any:
    return result.get(name) if isinstance(result, Mapping) else getattr(result, name, None)


def matched(*networks: Sequence[Any]) -> tuple[list[str], list[str]]:
    """Return the names of layers that can be compared with the first network's, and what differs.

    Parameters
    ----------
    *networks : sequence of LayerResult

    Returns
    -------
    common : list of str
        Layers of the first network that another one has with the same shape, in its order.
    others : list of str
        Layers that some network lacks, or has with another shape, in their order of appearance. Of
        three networks or more a layer can be in both lists.
    """
    shapes = [{x.name: (x.n_in, x.n_out) for x in network} for network in networks]
    names = dict.fromkeys(name for network in networks for name in (x.name for x in network))
    common = [n for n, shape in shapes[0].items() if any(f.get(n) == shape for f in shapes[1:])]
    return common, [n for n in names if len({found.get(n) for found in shapes}) > 1]
