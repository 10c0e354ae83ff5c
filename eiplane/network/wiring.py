"""What feeds what in a network, as far as it is known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Feed", "Meeting", "Source", "Wiring"]

#: Where something comes from: a layer by its name, a meeting by its number, or the network's input.
Source = str | int | None


@dataclass(frozen=True)
class Feed:
    """What a layer takes.

    Parameters
    ----------
    sources : tuple of str, int or None
        What reaches it without going through another layer: layers by name, meetings by number, the
        network's input as None. Empty where nothing is known.
    straight : bool
        Whether its inputs are the outputs of its one source, in their order.
    like : str or None
        The first layer that takes the very same inputs, if this is another.
    """

    sources: tuple[Source, ...] = ()
    straight: bool = False
    like: str | None = None


@dataclass(frozen=True)
class Meeting:
    """Where several signals become one: a residual sum, attention, the state of a recurrent layer.

    Parameters
    ----------
    what : str
        The operator, as the front end calls it: ``"add"``, ``"mul"``, ``"gru"``.
    sources : tuple of str, int or None
        As of :class:`Feed`; empty where a signal's origin was not seen.
    """

    what: str
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True)
class Wiring:
    """What feeds what: of a module, a graph or a list of layers; files of weights do not tell.

    Parameters
    ----------
    feeds : mapping of str to Feed
        By layer. Between a layer and its sources lie only norms, sums and the like.
    meetings : tuple of Meeting
    """

    feeds: Mapping[str, Feed] = field(default_factory=dict)
    meetings: tuple[Meeting, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {
            "feeds": {
                name: {"sources": list(f.sources), "straight": f.straight, "like": f.like}
                for name, f in self.feeds.items()
            },
            "meetings": [{"what": m.what, "sources": list(m.sources)} for m in self.meetings],
        }

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Wiring:
        """Return what :meth:`to_dict` gave.

        Raises
        ------
        ValueError
            For anything else.
        """
        try:
            meetings = tuple(
                Meeting(str(m["what"]), _checked(m["sources"], len(given["meetings"])))
                for m in given["meetings"]
            )
            feeds = {
                str(name): Feed(
                    _checked(f["sources"], len(meetings)),
                    bool(f["straight"]),
                    None if f["like"] is None else str(f["like"]),
                )
                for name, f in given["feeds"].items()
            }
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"this is no wiring: {error}") from error
        return cls(feeds, meetings)


def _checked(sources: Iterable[Any], meetings: int) -> tuple[Source, ...]:
    found = tuple(sources)
    for one in found:
        number = isinstance(one, int) and not isinstance(one, bool) and 0 <= one < meetings
        if not (one is None or isinstance(one, str) or number):
            raise ValueError(f"a wiring has no source {one!r}")
    return found
