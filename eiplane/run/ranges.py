"""Ranges by the names of layers, as a user gives them, and what is said where none is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TypeVar

from ..files import warn_user

__all__ = ["AssumedRangeWarning", "by_name", "check_names", "warn_assumed"]

Value = TypeVar("Value")


def by_name(ranges: Mapping[str, Value], name: str) -> Value | None:
    """Return what is given for a layer: by its name, else by the first glob that matches.

    Parameters
    ----------
    ranges : mapping of str to range
    name : str

    Returns
    -------
    range or None
        None where nothing is given.
    """
    if name in ranges:
        return ranges[name]
    return next((r for glob, r in ranges.items() if fnmatchcase(name, glob)), None)


def check_names(ranges: Mapping[str, object], names: Sequence[str], what: str) -> None:
    """Raise ValueError for a name or glob that matches no layer, with those that there are.

    Parameters
    ----------
    ranges : mapping of str to range
    names : sequence of str
        Of all layers.
    what : str
        The option, for the error.
    """
    for glob in ranges:
        if glob != "*" and not any(name == glob or fnmatchcase(name, glob) for name in names):
            there = ", ".join(map(repr, names[:60]))
            more = f" and {len(names) - 60} more" if len(names) > 60 else ""
            raise ValueError(f"{what}: no layer matches {glob!r}; there are {there}{more}")


class AssumedRangeWarning(UserWarning):
    """Nothing says where some layers' inputs live: their range is assumed."""


def warn_assumed(names: Sequence[str], assumed: tuple[float, float]) -> None:
    """Warn the user, once, of the layers whose input range is assumed, if there are any.

    Parameters
    ----------
    names : sequence of str
        Of those layers.
    assumed : tuple of float
        What is taken for their range.
    """
    if not names:
        return
    listed = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
    count, whose = ("1 layer", "its") if len(names) == 1 else (f"{len(names)} layers", "their")
    warn_user(
        f"nothing says where {whose} inputs live, so the input range of {count} is assumed to be "
        f"[{assumed[0]:g}, {assumed[1]:g}]: {listed}; give it with in_range=(lo, hi), or with "
        f"in_range={{{names[0]!r}: (lo, hi)}} for some, or take those of a Module from input_data "
        "with ranges='data'",
        AssumedRangeWarning,
    )
