"""From a followed run to a network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...network import (
    Gather,
    Join,
    Known,
    Layer,
    LayerOutput,
    Mapped,
    Network,
    RangeRule,
    Rows,
    Unknown,
)
from ...results import Skipped
from .alike import completed
from .flow import Flow
from .outcome import Outcome, mark_live, outcomes, same_outcome
from .proof import objection
from .recognise import chain, fixed, same
from .signals import Map, Origin, Value
from .sums import is_term, settle
from .weights import layer_of, rows_text, same_weights
from .wired import wired

__all__ = ["finished", "without_use"]


@dataclass(eq=False)
class _Anchor:
    """Some rows of an origin whose range is known from a value on."""

    rows: NDArray[np.intp]
    value: Value
    rule: RangeRule


@dataclass(eq=False)
class _Made:
    """A layer made of some rows of a map."""

    outcome: Outcome
    title: str


@dataclass(eq=False)
class _Kind:
    """The uses of some weights that are the same layers."""

    map: Map
    found: list[Outcome]
    made: list[_Made]
    feeds: list[RangeRule]


def finished(
    flow: Flow, refused: Mapping[str, str] | None = None
) -> tuple[Network | None, tuple[Skipped, ...]]:
    """Return the layers that a run had.

    The same weights used again in the same way are one layer, whose inputs have the range of all
    uses; used in another way they are another, ``name#2``.

    Parameters
    ----------
    flow : Flow
    refused : mapping of str to str, optional
        Layers that are to be listed, and why.

    Returns
    -------
    network : Network or None
        None if there is no layer.
    skipped : tuple of Skipped
    """
    return _Finish(flow, refused or {}).network()


class _Finish:
    def __init__(self, flow: Flow, refused: Mapping[str, str]) -> None:
        self._flow, self._refused = flow, refused
        self._moving: set[Any] = set()
        self._leading: set[Any] = set()
        self._anchors: dict[int, list[_Anchor]] = {}
        self._rules: dict[int, tuple[Value, RangeRule]] = {}
        self._kinds: dict[Any, list[_Kind]] = {}
        self._names: set[tuple[str, str]] = set()
        self._layers: dict[str, Layer] = {}
        self._skipped: dict[str, str] = {}
        self._sources: dict[str, list[tuple[str, ...]]] = {}
        self._straight: dict[str, bool] = {}
        self._by_origin: dict[int, list[_Made]] = {}

    def network(self) -> tuple[Network | None, tuple[Skipped, ...]]:
        self._flow.layers.clear()
        mark_live(self._flow.signals.origins)
        self._moving = {o.map.key for o in self._flow.maps if o.map is not None and not o.map.still}
        self._leading = {o.map.key for o in self._flow.maps if o.map is not None and o.live}
        for origin in self._flow.signals.origins:
            if origin.map is not None:
                self._map(origin, origin.map)
            elif origin.index not in self._anchors:
                self._event(origin)
        inputs = {
            made.title: Join(operands=tuple(kind.feeds)) if len(kind.feeds) > 1 else kind.feeds[0]
            for kinds in self._kinds.values()
            for kind in kinds
            for made in kind.made
        }
        for title, reason in self._flow.noted.items():
            if title not in self._layers:
                self._skipped.setdefault(title, reason)
        left = tuple(Skipped(*item) for item in self._skipped.items())
        if not self._layers:
            return None, left
        sources = {t: found[0] if all(f == found[0] for f in found) else ()
                   for t, found in self._sources.items()}  # fmt: skip
        # A layer that was cut in parts feeds nothing straight.
        whole = {
            t: sources[t]
            for t, is_so in self._straight.items()
            if is_so and len(sources[t]) == 1
            and self._layers[t].size_in == self._layers[sources[t][0]].n_out
        }  # fmt: skip
        made = {
            index: [(m.title, m.outcome.rows) for m in layers]
            for index, layers in self._by_origin.items()
        }
        network = Network(
            self._layers.values(), True, sources, straight=whole, inputs=inputs,
            wiring=wired(self._flow.signals.origins, made, whole),
        )  # fmt: skip
        return network, left

    # -- maps

    def _map(self, origin: Origin, made: Map) -> None:
        if made.build is not None and (not origin.live or is_term(origin)):
            self._event(origin)  # what counts are its parts, or the sum that it is a part of
            return
        if not origin.live and made.fixed is None and made.key in self._leading:
            self._event(origin)  # the same weights were used to some purpose elsewhere
            return
        settle(made)
        feed = self._fed(made)
        if made.still and made.key not in self._moving:
            found = [Outcome(np.arange(origin.rows), unknown=_STILL)]
        elif not origin.live and made.fixed is None:
            nothing = made.patches is None
            found = [Outcome(np.arange(origin.rows), unknown=self._unused(nothing))]
        else:
            found = completed(outcomes(origin), self._elsewhere(origin, made))
        kinds = self._kinds.setdefault(made.key, [])
        kind = next((k for k in kinds if _same_kind(k, made, found)), None)
        direct, straight = self._direct(made), made.straight
        if kind is None:
            kind = _Kind(made, found, self._layers_of(origin, made, found), [])
            kinds.append(kind)
        elif not self._holds(origin, found, kind):
            found = [Outcome(np.arange(origin.rows), unknown=_OTHERWISE)]
            kind = _Kind(made, found, self._layers_of(origin, made, found), [])
            kinds.append(kind)
        kind.feeds.append(feed)
        for m in kind.made:
            self._sources.setdefault(m.title, []).append(direct)
            self._straight[m.title] = self._straight.get(m.title, True) and straight
        made_here = [_Made(mine, m.title) for mine, m in self._pairs(found, kind)]
        self._by_origin[origin.index] = made_here
        self._anchor(origin, made_here, feed)

    def _elsewhere(self, origin: Origin, made: Map) -> Iterator[list[Outcome]]:
        """Yield what follows the other uses of a map's weights."""
        for other in self._flow.maps:
            if other is origin or not other.live or other.map is None:
                continue
            if other.map.key == made.key and same_weights(other.map, made):
                settle(other.map)
                yield outcomes(other)

    def _unused(self, nothing: bool) -> str:
        if nothing:
            return _EMPTY
        return _HIDDEN if self._flow.hidden else _DEAD

    def _pairs(self, found: list[Outcome], kind: _Kind) -> list[tuple[Outcome, _Made]]:
        """Return a use's outcomes with the layers that they are."""
        pairs = []
        for mine, other in zip(found, kind.found, strict=True):
            pairs += [(mine, m) for m in kind.made if m.outcome is other]
        return pairs

    def _holds(self, origin: Origin, found: list[Outcome], kind: _Kind) -> bool:
        """Return whether this use proves the layers of the first one too."""
        return not any(
            objection(origin, mine, self._layers[m.title]) for mine, m in self._pairs(found, kind)
        )

    def _layers_of(self, origin: Origin, made: Map, found: list[Outcome]) -> list[_Made]:
        """Make the layers of a map; list what makes none."""
        name, count = made.name, 1
        sections = {outcome.section for outcome in found}
        while any((name, section) in self._names for section in sections):
            count += 1
            name = f"{made.name}#{count}"
        self._names.update((name, section) for section in sections)
        layers = []
        for outcome in found:
            whole = origin.rows
            rows = outcome.rows
            title = name
            if outcome.section:
                title = f"{name}.{outcome.section}"
                whole = sum(len(o.rows) for o in found if o.section == outcome.section)
                rows = rows - min(int(o.rows.min()) for o in found
                                  if o.section == outcome.section)  # fmt: skip
            title += rows_text(rows, whole)
            reason = outcome.unknown or self._refused.get(title, "")
            if not reason:
                layer = layer_of(made, outcome, title)
                reason = objection(origin, outcome, layer)
            if reason:
                self._skipped.setdefault(title, reason)
                outcome.unknown = reason
                continue
            if outcome.unpooled:
                self._skipped.setdefault(f"{title} (pooling)", outcome.unpooled)
            self._layers[title] = layer
            self._flow.layers[title] = made, outcome
            layers.append(_Made(outcome, title))
        return layers

    def _anchor(self, origin: Origin, layers: list[_Made], feed: RangeRule) -> None:
        """Note from where on the ranges of a map's values are known."""
        anchors = self._anchors.setdefault(origin.index, [])
        for m in layers:
            rule = LayerOutput(m.title, operands=(feed,))
            for outcome in m.outcome.parts:
                if outcome.pool is not None:
                    value = outcome.after.value if outcome.after is not None else outcome.pool.value
                    assert value is not None
                    self._anchors.setdefault(outcome.pool.index, []).append(
                        _Anchor(outcome.rows, value, rule)
                    )
                elif outcome.first is not None:
                    anchors.append(_Anchor(outcome.rows, outcome.first.value, rule))
        if origin.recipe is not None and sum(len(a.rows) for a in anchors) < origin.rows:
            self._event(origin)  # the range of a sum is known without its layer

    def _fed(self, made: Map) -> RangeRule:
        """Return the rule of what a map takes."""
        rules: list[RangeRule] = [
            Rows(np.flatnonzero(mask), operands=(self._rule(value),)) for value, mask in made.feed
        ]
        if made.constants is not None:
            source = "given" if made.fixed is None else "activation"
            rules.append(Known(made.constants[0], made.constants[1], source))
        return Join(operands=tuple(rules)) if rules else Unknown()

    def _direct(self, made: Map) -> tuple[str, ...]:
        """Return the names of the layers whose outputs, as they are, make an input."""
        names: list[str] = []
        for value, mask in made.feed:
            at = self._unpooled(value)
            left = mask.copy()
            for m in self._by_origin.get(_map_of(at.origin).index, []):
                for outcome in m.outcome.parts:
                    rows = outcome.rows
                    if not left[rows].any():
                        continue
                    first = outcome.first if outcome.pool is None else outcome.after
                    target = outcome.pool.value if outcome.pool is not None else None
                    target = target if first is None else first.value
                    if target is None or at.origin is not target.origin:
                        return ()
                    if not same(at, target, rows[left[rows]]):
                        return ()
                    left[rows] = False
                    if m.title not in names:
                        names.append(m.title)
            if left.any():
                return ()
        return tuple(names)

    def _unpooled(self, value: Value) -> Value:
        """Return what was pooled, by poolings that belong to no layer: they keep the range."""
        while value.origin.pooling is not None and value is value.origin.value:
            source = value.origin.pooling.source
            made = self._by_origin.get(_map_of(source.origin).index, [])
            if any(m.outcome.pool is value.origin for m in made):
                break
            value = source
        return value

    # -- ranges

    def _event(self, origin: Origin) -> None:
        """Note the range of what is no map."""
        rule: RangeRule = Unknown()
        if origin.recipe is not None:
            rule = origin.recipe(self._rule)
        assert origin.value is not None
        self._anchors[origin.index] = [_Anchor(np.arange(origin.rows), origin.value, rule)]

    def _rule(self, value: Value) -> RangeRule:
        known = self._rules.get(id(value))
        if known is not None:
            return known[1]
        origin = value.origin
        if origin.pooling is not None and origin.index not in self._anchors:
            self._event(origin)
        anchors = self._anchors.get(origin.index, [])
        alone = len(anchors) == 1 and len(anchors[0].rows) == origin.rows
        rules = [self._from(value, anchor, alone) for anchor in anchors]
        if alone:
            rule = rules[0]
        else:
            owner = np.full(origin.rows, len(rules), dtype=np.intp)
            index = np.zeros(origin.rows, dtype=np.intp)
            for k, anchor in enumerate(anchors):
                owner[anchor.rows] = k
                index[anchor.rows] = np.arange(len(anchor.rows))
            left = np.flatnonzero(owner == len(rules))
            held = fixed(value, left)
            index[left], owner[left] = np.arange(len(left)), len(rules) + np.isnan(held)
            if rules or np.isfinite(held).any():
                rule = Gather(owner, index, operands=(*rules, Known(held, held), Unknown()))
            else:
                rule = Unknown()
        self._rules[id(value)] = value, rule
        return rule

    def _from(self, value: Value, anchor: _Anchor, alone: bool) -> RangeRule:
        """Return the range of an anchor's rows of a value."""
        path = [value]
        while path[-1] is not anchor.value and path[-1].parent is not None:
            path.append(path[-1].parent)
        if path[-1] is not anchor.value:
            return anchor.rule if same(value, anchor.value, anchor.rows) else Unknown()
        rule = anchor.rule
        for k in range(len(path) - 2, -1, -1):
            last = path[k].step
            if last is not None and last.keeps:
                continue
            made = chain(path[k], path[k + 1], None if alone else anchor.rows)
            assert made is not None
            rule = Mapped(made, made.monotone, operands=(rule,))
        return rule


def without_use(reason: str) -> bool:
    """Return whether a layer is listed only because a run made no use of it."""
    return reason in (_STILL, _DEAD, _HIDDEN)


_OTHERWISE = "another use of the same weights does not reproduce the run"
_STILL = "its input does not depend on the network's input"
_EMPTY = "nothing went through it in the forward pass"
_DEAD = "its output does not lead to the network's result"
_HIDDEN = (
    "its output was not seen to lead to the network's result, of which some comes from where no "
    "operator is seen, such as another thread"
)


def _map_of(origin: Origin) -> Origin:
    """Return the map whose outputs were pooled."""
    while origin.pooling is not None:
        origin = origin.pooling.source.origin
    return origin


def _same_kind(kind: _Kind, made: Map, found: list[Outcome]) -> bool:
    # The run may not tell weights apart that are made of the same ones: what it saw may be zeros.
    return (
        len(kind.found) == len(found)
        and same_weights(kind.map, made)
        and all(same_outcome(x, y) for x, y in zip(kind.found, found, strict=True))
    )
