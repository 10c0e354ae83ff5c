"""Who else gets the numbers of a record."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .history import QUANTITIES, Record

__all__ = ["log_scalars"]


def log_scalars(loggers: Iterable[Any], record: Record) -> None:
    """Send the quantities of a record to loggers, under ``eiplane/<layer>/<quantity>``.

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
        f"eiplane/{layer['name']}/{quantity}": float(layer[quantity])
        for layer in record.layers
        for quantity in QUANTITIES
        if layer.get(quantity) is not None
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
