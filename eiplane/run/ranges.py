"""Ranges by the names of layers, as a user gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TypeVar

__all__ = ["by_name", "check_names"]

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
            there = ", ".join(names[:60])
            more = f" and {len(names) - 60} more" if len(names) > 60 else ""
            raise ValueError(f"{what}: no layer matches {glob!r}; there are {there}{more}")
