"""Who else gets the numbers of a record."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..files import warn_user
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


def log_scalars(loggers: Iterable[Any], record: Record, failing: set[int] | None = None) -> None:
    """Send the quantities of a record to loggers, under ``eiplane/<layer>/<quantity>``.

    Of one that is only known to lie between bounds these are sent, under ``<quantity>_low`` and
    ``<quantity>_high``.

    Parameters
    ----------
    loggers : iterable
        Each TensorBoard's ``SummaryWriter``, or with a method ``log(dict, step)``.
    record : Record
    failing : set of int, optional
        Which of them failed last, kept from record to record: one that fails is told of once, until
        it has worked again. A full disk or a server that is away ends no training.

    Raises
    ------
    TypeError
        For a logger that is neither.
    """
    loggers = list(loggers)
    if not loggers:
        return
    scalars = {
        f"eiplane/{layer['name']}/{name}": float(value)
        for layer in record.layers
        for quantity in QUANTITIES
        for name, value in _known(layer, quantity).items()
    }
    failing = set() if failing is None else failing
    for number, logger in enumerate(loggers):
        send = _sender(logger)
        try:
            send(scalars, record.step)
        except Exception as error:
            if number not in failing:
                failing.add(number)
                warn_user(
                    f"logger {type(logger).__name__} failed ({type(error).__name__}: {error}); it "
                    f"lacks step {record.step} and those that follow until it works again"
                )
        else:
            failing.discard(number)


def _sender(logger: Any) -> Callable[[Mapping[str, float], int], Any]:
    """Return what takes a record's numbers and its step."""
    if callable(getattr(logger, "add_scalar", None)):

        def one_by_one(scalars: Mapping[str, float], step: int) -> None:
            for key, value in scalars.items():
                logger.add_scalar(key, value, step)

        return one_by_one
    if callable(getattr(logger, "log", None)):
        return lambda scalars, step: logger.log(dict(scalars), step)
    raise TypeError(
        f"a logger has add_scalar (as TensorBoard's) or log(dict, step); "
        f"{type(logger).__name__} has neither"
    )
