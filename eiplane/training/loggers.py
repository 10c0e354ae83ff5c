"""Who else gets the numbers of a record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..results import bounds_of
from .record import QUANTITIES, Record

__all__ = ["log_scalars"]


def _known(layer: Mapping[str, Any], quantity: str) -> dict[str, Any]:
    """Return the numbers that say what is known of a quantity, by name."""
    bounds = bounds_of(quantity)
    if layer.get(quantity) is not None:
        return {quantity: layer[quantity]}
    if bounds is None or layer.get(bounds.name) is None:
        return {}
    low, high = layer[bounds.name]
    return {f"{quantity}_low": low, f"{quantity}_high": high}


def log_scalars(loggers: Iterable[Any], record: Record) -> None:
    """Send the quantities of a record to loggers, under ``eiplane/<layer>/<quantity>``.

    Of one that is only known to lie between bounds these are sent, under ``<quantity>_low`` and
    ``<quantity>_high``.

    Parameters
    ----------
    loggers : iterable
        Each TensorBoard's ``SummaryWriter``, or with a method ``log(dict, step)``.
    record : Record

    Raises
    ------
    TypeError
        For a logger that is neither.
    """
    scalars = {
        f"eiplane/{layer['name']}/{name}": float(value)
        for layer in record.layers
        for quantity in QUANTITIES
        for name, value in _known(layer, quantity).items()
    }
    for logger in loggers:
        if callable(getattr(logger, "add_scalar", None)):
            for key, value in scalars.items():
                logger.add_scalar(key, value, record.step)
        elif callable(getattr(logger, "log", None)):
            logger.log(dict(scalars), record.step)
        else:
            raise TypeError(
                f"a logger has add_scalar (as TensorBoard's) or log(dict, step); "
                f"{type(logger).__name__} has neither"
            )
