"""How options are written on the command line, and read.

A reader takes the text and returns the value, or raises ValueError; argparse says its name.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from typing import Any

__all__ = [
    "Named",
    "named",
    "read_activation",
    "read_bins",
    "read_bytes",
    "read_count",
    "read_names",
    "read_noise",
    "read_out_range",
    "read_pair",
    "read_seed",
    "read_shape",
    "read_spans",
]

Reader = Callable[[str], Any]

#: Of a number of bytes: ``512M``, ``2GiB``; all are powers of 1024.
_UNITS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def _called(name: str) -> Callable[[Reader], Reader]:
    """Give a reader the name that argparse's errors say: ``invalid <name> value``."""

    def rename(read: Reader) -> Reader:
        read.__name__ = name
        return read

    return rename


@_called("bins")
def read_bins(text: str) -> int | tuple[int, ...]:
    """Read ``8`` or ``8,4``."""
    numbers = tuple(int(part) for part in text.split(","))
    if len(numbers) > 2:
        raise ValueError
    return numbers[0] if len(numbers) == 1 else numbers


@_called("range")
def read_pair(text: str) -> tuple[float, float]:
    """Read ``-1,1``."""
    lo, hi = (float(part) for part in text.split(","))
    return lo, hi


@_called("range")
def read_out_range(text: str) -> Any:
    """Read ``auto`` or ``-1,1``."""
    return "auto" if text == "auto" else read_pair(text)


@_called("noise")
def read_noise(text: str) -> Any:
    """Read ``0.1``, ``gaussian,0.1``, ``uniform,0.1`` or ``dither``."""
    if text == "dither":
        return text
    kind, comma, scale = text.partition(",")
    if comma and kind not in ("gaussian", "uniform"):
        raise ValueError
    return (kind, float(scale)) if comma else float(text)


@_called("number")
def read_count(text: str) -> int:
    """Read ``1000`` or ``1e6``."""
    value = float(text)
    if not value.is_integer():
        raise ValueError
    return int(value)


@_called("number of bytes")
def read_bytes(text: str) -> int:
    """Read ``2000000``, ``512M`` or ``2GiB``."""
    found = re.fullmatch(r"([0-9.]+(?:e[0-9]+)?)\s*([kmgt]?)(?:i?b)?", text.strip().lower())
    if found is None:
        raise ValueError
    return int(float(found[1]) * 1024 ** _UNITS[found[2]])


@_called("shape")
def read_shape(text: str) -> tuple[int, ...]:
    """Read ``1,3,224,224`` or ``1x3x224x224``."""
    return tuple(int(part) for part in re.split("[,x]", text))


def read_names(text: str) -> list[str]:
    """Read names with commas between them."""
    return text.split(",")


def read_activation(text: str) -> str | list[str]:
    """Read one activation, or a list with commas; those between parentheses are parameters."""
    parts = re.split(r",(?![^(]*\))", text)
    return parts if len(parts) > 1 else text


@_called("seed")
def read_seed(text: str) -> int | None:
    """Read a number, or ``none``."""
    return None if text == "none" else int(text)


@_called("spans")
def read_spans(text: str) -> str | list[tuple[str, ...]]:
    """Read ``layers``, ``all``, or pairs of layers' names: ``fc1..fc3,fc2..fc4``."""
    if text in ("layers", "all"):
        return text
    pairs = [tuple(part.split("..")) for part in text.split(",")]
    if not all(len(pair) == 2 and all(pair) for pair in pairs):
        raise ValueError
    return pairs


def named(read: Reader) -> Reader:
    """Return the reader of a value that may be preceded by the layers that it is for."""

    def read_named(text: str) -> tuple[str | None, Any]:
        glob, sign, rest = text.rpartition("=")
        return (glob if sign else None), read(rest)

    return _called(read.__name__)(read_named)


class Named(argparse.Action):
    """Collects such values: one for all layers, or a mapping of layers to theirs.

    Of several without layers the last counts. ``others`` is the key of that for all other layers.
    """

    def __init__(self, *arguments: Any, others: str | None = None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.others = others

    def __call__(self, parser: Any, namespace: Any, values: Any, option: Any = None) -> None:
        """Take one more value; argparse calls this."""
        name, value = values
        before = getattr(namespace, self.dest, {})
        given = dict(before) if isinstance(before, dict) else {self.others: before}
        given[self.others if name is None else name] = value
        if self.others in given:  # comes last: of globs the first that fits counts
            given[self.others] = given.pop(self.others)
        alone = list(given) == [self.others]
        setattr(namespace, self.dest, given[self.others] if alone else given)
