"""What feeds what, noted layer by layer as a network is gone through."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..network import Feed, Meeting, Source, Wiring

__all__ = ["Sources", "Wires"]

#: What reaches a place, in order.
Sources = dict[Source, None]

_SIDE = re.compile(r"weight_(ih|hh|hr)_l(\d+)(_reverse)?")


class Wires:
    """Layers and meetings, and what each takes."""

    def __init__(self) -> None:
        self._meetings: list[Meeting] = []
        self._layers: list[frozenset[Source]] = []  # that a meeting is made of, all the way back
        self._known: dict[tuple[str, frozenset[Source]], int] = {}
        self._alias: dict[int, int] = {}  # meetings that are parts of others
        self._feeds: dict[str, Sources] = {}
        self._taken: dict[str, list[Any]] = {}

    def take(self, title: str, sources: Sources, taken: Any) -> None:
        """Note a use of a layer.

        Parameters
        ----------
        title : str
        sources : dict
        taken : hashable
            The same for every layer that takes the very same inputs.
        """
        self._feeds.setdefault(title, {}).update(sources)
        self._taken.setdefault(title, []).append(taken)

    def joined(self, what: str, sources: Sources) -> Sources:
        """Return what leaves an operator: what it takes, or their meeting where those are several.

        Parameters
        ----------
        what : str
        sources : dict
        """
        return sources if len(sources) < 2 else {self.meeting(what, sources): None}

    def one_array(self, sources: Sources) -> Sources:
        """Return what is in an array, without what is in some of its entries and comes with more.

        Entries of one array may have gone different ways: a token that begins as a constant has
        no part of what the others begin as, but all that is added later is added to both. Meetings
        of the same kind are then taken for one.

        Parameters
        ----------
        sources : dict
        """
        sources = {self._same(s): None for s in sources}
        if len(sources) < 2:
            return sources
        deep = {s: self._made_of([s]) for s in sources}
        kept: Sources = {}
        for one in sources:
            larger = [
                t
                for t in sources
                if isinstance(t, int)
                and t != one
                and (deep[one] < deep[t] or (deep[one] == deep[t] and t in kept))
            ]
            if not larger:
                kept[one] = None
            alike = [t for t in larger if isinstance(one, int)
                     and self._meetings[t].what == self._meetings[one].what]  # fmt: skip
            if alike and isinstance(one, int):
                self._alias[one] = alike[0]
        return kept

    def _same(self, source: Source) -> Source:
        while isinstance(source, int) and source in self._alias:
            source = self._alias[source]
        return source

    def meeting(self, what: str, sources: Sources) -> int:
        """Return the number of a meeting.

        Parameters
        ----------
        what : str
        sources : dict
        """
        whole = frozenset(sources)
        if (what, whole) in self._known:
            return self._known[what, whole]
        number = self._repeated(what, whole)
        if number is None:
            number = self._new(what, sources)
        self._known[what, whole] = number
        return number

    def _repeated(self, what: str, whole: frozenset[Source]) -> int | None:
        """Return the meeting that this is once more, a step later: of the same layers, and itself.

        What it takes of a later step leads back to it.
        """
        made_of = self._made_of(whole)
        todo, seen = [s for s in whole if isinstance(s, int)], set[int]()
        while todo:
            one = todo.pop()
            if one in seen or self._layers[one] != made_of:
                continue  # what is made of fewer layers is of an earlier place
            seen.add(one)
            here = self._meetings[one]
            if here.what == what:
                late = [s for s in whole if isinstance(s, int) and s > one]
                self._meetings[one] = Meeting(what, tuple(dict.fromkeys([*here.sources, *late])))
                return one
            todo += [s for s in here.sources if isinstance(s, int)]
        return None

    def _made_of(self, sources: Iterable[Source]) -> frozenset[Source]:
        found: set[Source] = set()
        for one in sources:
            found |= self._layers[one] if isinstance(one, int) else {one}
        return frozenset(found)

    def _new(self, what: str, sources: Sources) -> int:
        self._meetings.append(Meeting(what, tuple(sources)))
        self._layers.append(self._made_of(sources))
        return len(self._meetings) - 1

    def state(self, what: str, gates: Sequence[str], sources: Sources) -> Sources:
        """Return the state of a recurrent layer, which its gates make and take.

        Parameters
        ----------
        what : str
        gates : sequence of str
            Those that take the layer's input are noted already; others take the state, those of a
            further level that of the one before.
        sources : dict
            What the layer takes beside its own state.

        Returns
        -------
        dict
            A meeting, or one for each direction.
        """
        levels: dict[int, dict[bool, list[tuple[str, str]]]] = {}
        for title in gates:
            match = _SIDE.search(title)
            side, level = (match[1], int(match[2])) if match else ("", 0)
            back = bool(match and match[3])
            levels.setdefault(level, {}).setdefault(back, []).append((title, side))
        fed = {s for title in gates for s in self._feeds[title]}
        first: Sources = {s: None for s in sources if s not in fed}
        below: Sources = {}
        for _, ways in sorted(levels.items()):
            states: Sources = {}
            for back, own in sorted(ways.items()):
                made_of: Sources = {title: None for title, _ in own}
                number = self._new(what, made_of | first)
                states[number] = None
                for title, side in own:
                    if side != "ih":  # a state is another one a step later
                        self._taken[title].append((side, back))
                    if not self._feeds[title]:
                        lower = side == "ih" and bool(below)
                        self._feeds[title].update(below if lower else {number: None})
            below = states
        return below or {self.meeting(what, sources): None}

    def begins(self, count: int) -> list[Sources]:
        """Return the network's inputs: told apart by number where there are several."""
        if count < 2:
            return [{None: None}] * count
        return [{self._new(f"input {k + 1}", {None: None}): None} for k in range(count)]

    def wiring(self, direct: Mapping[str, tuple[str, ...]]) -> Wiring:
        """Return all that was noted, with the meetings that something takes.

        Parameters
        ----------
        direct : mapping of str to tuple of str
            The layer whose outputs, as they are, in their order, are a layer's inputs.

        Returns
        -------
        Wiring
        """
        for title, sources in self._feeds.items():
            self._feeds[title] = {self._same(s): None for s in sources}
        for k, one in enumerate(self._meetings):
            known = [s for s in dict.fromkeys(map(self._same, one.sources)) if s != k]
            self._meetings[k] = Meeting(one.what, tuple(known))
        inlined = self._inlined()
        todo = [s for sources in self._feeds.values() for s in sources if isinstance(s, int)]
        kept: set[int] = set()
        while todo:
            last = todo.pop()
            if last not in kept:
                kept.add(last)
                todo += [s for s in inlined[last] if isinstance(s, int)]
        number = {one: k for k, one in enumerate(sorted(kept))}

        def named(sources: Iterable[Source]) -> tuple[Source, ...]:
            return tuple(number[s] if isinstance(s, int) else s for s in sources)

        first: dict[Any, str] = {}
        feeds = {}
        for title, sources in self._feeds.items():
            like = first.setdefault((tuple(self._taken[title]), tuple(sources)), title)
            straight = bool(sources) and tuple(sources) == direct.get(title)
            feeds[title] = Feed(named(sources), straight, None if like == title else like)
        meetings = [Meeting(self._meetings[k].what, named(inlined[k])) for k in sorted(kept)]
        return Wiring(feeds, tuple(meetings))

    def _inlined(self) -> list[tuple[Source, ...]]:
        """Return the sources of meetings; a sum that only leads to another sum is a part of it."""
        takers: dict[int, int] = {}
        for sources in (*self._feeds.values(), *(m.sources for m in self._meetings)):
            for one in sources:
                if isinstance(one, int):
                    takers[one] = takers.get(one, 0) + 1
        fed = {s for sources in self._feeds.values() for s in sources}
        made: list[tuple[Source, ...]] = []
        for meeting in self._meetings:  # a later one is made of earlier ones
            flat: Sources = {}
            for one in meeting.sources:
                alone = isinstance(one, int) and takers[one] == 1 and one not in fed
                if (
                    alone
                    and isinstance(one, int)
                    and one < len(made)
                    and self._meetings[one].what == meeting.what
                ):
                    flat |= dict.fromkeys(made[one])
                else:
                    flat[one] = None
            made.append(tuple(flat))
        return made
