"""Lines of JSON that differ from one that was accepted in nothing but their numbers.

A run of many steps is one line again and again with other numbers in it. Once such a line has been
looked at, a pattern of it tells in a quarter of the time of decoding that another is of its kind,
byte by byte, and that every number in it is one. What it holds is decoded when somebody asks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

__all__ = ["Familiar", "Unread"]

#: Sightings of a kind before a pattern is made of it, which takes as long as decoding it so often.
_OFTEN = 256

#: Kinds that are told apart, at most: lines that are all different are no run.
_KINDS = 1024

#: What is left of a line without them says of which kind it is.
_NUMERIC = b"0123456789+-.eE"

_decode: Callable[[str], dict[str, Any]] = json.JSONDecoder().decode

_NUMBER = re.compile(rb"(?<=[:,\[])-?[0-9][0-9+\-.eE]*(?=[,\]}])")

#: Fewer digits than JSON allows, so that any of them is a number for Python too.
_WHOLE = rb"([1-9][0-9]{0,17}+|0)"
_ANY = rb"-?+(?:[1-9][0-9]{0,17}+|0)(?:\.[0-9]{1,30}+)?+(?:[eE][-+]?+[0-9]{1,3}+)?+"


class Unread(Mapping[str, Any]):
    """The object of a line that is known to be good, decoded when it is asked for.

    Parameters
    ----------
    number : int
        The value of its first name.
    line : bytes
    """

    __slots__ = ("line", "number")

    def __init__(self, number: int, line: bytes) -> None:
        self.number, self.line = number, line

    def value(self) -> dict[str, Any]:
        """Return the object, decoded."""
        return _decode(str(self.line, "utf-8"))

    def __getitem__(self, name: str) -> Any:
        return self.value()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.value())

    def __len__(self) -> int:
        return len(self.value())


class Familiar:
    """Recognises lines of the kinds that it has seen often.

    Parameters
    ----------
    first : str
        The first name of an object; its value is a whole number that is not negative.
    accept : callable
        Given an object, raises ValueError if it is not what a line may hold. What it says may
        depend on names and types, not on the value of any number.
    """

    def __init__(self, first: str, accept: Callable[[Mapping[str, Any]], object]) -> None:
        self._start = b"{" + json.dumps(first).encode() + b":"
        self._accept = accept
        self._seen: dict[bytes, int | re.Pattern[bytes] | None] = {}

    def known(self, line: bytes) -> Unread | None:
        """Return the object of a line if its kind is known, else None: it has to be decoded."""
        kind = line.translate(None, _NUMERIC)
        pattern = self._seen.get(kind, 0)
        if isinstance(pattern, int):
            pattern = self._count(kind, line, pattern + 1)
        if pattern is None:
            return None
        found = pattern.fullmatch(line)
        return None if found is None else Unread(int(found[1]), line)

    def _count(self, kind: bytes, line: bytes, times: int) -> re.Pattern[bytes] | None:
        if times == 1 and len(self._seen) == _KINDS:
            return None
        if times < _OFTEN:
            self._seen[kind] = times
            return None
        pattern = self._seen[kind] = self._pattern(line)
        return pattern

    def _pattern(self, line: bytes) -> re.Pattern[bytes] | None:
        """Return what fits lines as good as this one, or None if this is not good."""
        parts = _NUMBER.split(line)
        if parts[0] != self._start:  # not written as we write them
            return None
        try:
            self._accept(json.loads(str(line, "utf-8"), object_pairs_hook=_unique))
        except (ValueError, RecursionError):
            return None
        first, *rest = map(re.escape, parts)
        return re.compile(first + _WHOLE + _ANY.join(rest))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object; ValueError if a name stands in it twice: the last would count."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice")
    return found
