"""Gates of recurrent layers: what follows them is known beforehand."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...network import Activation
from .flow import Flow
from .signals import Map, Operand

__all__ = ["fits", "gate"]

#: Roundings that the steps of a sequence may add up, in units of the type's precision.
_ROUNDINGS = 1024.0


def fits(found: NDArray[np.float64], seen: NDArray[np.float64], precision: float) -> bool:
    """Return whether states that were computed by hand are those of the run.

    Parameters
    ----------
    found, seen : ndarray
    precision : float
        The distance from 1 to the next number of the run's type.
    """
    if not np.isfinite(seen).all():
        return True  # says nothing
    error = _ROUNDINGS * precision * (1.0 + np.abs(seen))
    return found.shape == seen.shape and bool((np.abs(found - seen) <= error).all())


def gate(
    flow: Flow,
    name: str,
    weight: Any,
    bias: Any,
    activation: str | Activation,
    x: Operand | None,
    bounds: tuple[float, float] | None,
    key: Any,
) -> Map:
    """Report a block of a recurrent layer's weights.

    Parameters
    ----------
    flow : Flow
    name : str
    weight : array, shape (n_out, n_in)
    bias : array, shape (n_out,), or None
    activation : str or Activation
    x : Operand or None
        What it takes, if that is the layer's input.
    bounds : tuple of float or None
        Where what it takes lies, if that is known.
    key : hashable
        What tells its weights from others that may go by the same name.

    Returns
    -------
    Map
        To note in what does not give what was computed in the run.
    """
    made = Map(name, ("gate", name, key), weight, bias, fixed=activation, constants=bounds)
    value = flow.signals.begin(int(weight.shape[0]), name, map=made)
    flow.maps.append(value.origin)
    if x is not None and x.codes is not None:
        made.feed, fixed = flow.use(x, value.origin)
        made.constants = fixed if bounds is None else bounds
    elif bounds is None:
        made.constants = (-np.inf, np.inf)
    value.origin.always = True
    return made
