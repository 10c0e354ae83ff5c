"""Where layers lie in a drawing of their network: what feeds what, at which depth, side by side.

Nodes stand in columns, one for each signal: what goes into a layer, and what comes out of it.
Where a layer takes the outputs of another as they are the two share a column, and so do layers
that take the same inputs. Everything else between layers (norms, sums, attention) is a link.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..network import Source, Wiring
from ..results import LayerResult

__all__ = ["Diagram", "Link", "Signal", "by_channel", "depths_of", "diagram"]

Array = NDArray[np.float64]

#: Between signals of one rank, in the distance of two nodes.
_APART = 3.0

#: Between columns that only links join; a layer's are 1 apart.
_NARROW = 0.5


@dataclass(eq=False)
class Signal:
    """A column of nodes, or a point where signals meet.

    Parameters
    ----------
    size : int
        Nodes that there are; 0 of a meeting.
    what : str
        Of a meeting: its operator.
    unknown : bool
        Whether it is not known where it comes from.
    number : int
        Of a meeting: a later one that leads to an earlier one closes a loop.
    rank : int
        Column.
    kept : ndarray of int
        The nodes that are drawn.
    x, y : float
        Of its middle; nodes are 1 apart, columns of a layer too.
    """

    size: int
    what: str = ""
    unknown: bool = False
    number: int = -1
    rank: int = 0
    kept: NDArray[np.intp] = field(default_factory=lambda: np.empty(0, np.intp))
    x: float = 0.0
    y: float = 0.0

    @property
    def ys(self) -> Array:
        """The heights of the nodes that are drawn, the first one's on top."""
        return np.asarray(self.y + (len(self.kept) - 1) / 2.0 - np.arange(len(self.kept)))

    @property
    def top(self) -> float:
        """The height of the first."""
        return self.y + max(len(self.kept) - 1, 0) / 2.0

    @property
    def bottom(self) -> float:
        """The height of the last."""
        return 2.0 * self.y - self.top


@dataclass(eq=False)
class Link:
    """What goes from one signal to another without a layer.

    Parameters
    ----------
    source, target : Signal
    through : bool
        Whether layers lie between that are not drawn.
    back : bool
        Whether it closes a loop, as the state of a recurrent layer does.
    """

    source: Signal
    target: Signal
    through: bool = False
    back: bool = False

    @property
    def skips(self) -> bool:
        """Whether columns lie between."""
        return not self.back and self.target.rank - self.source.rank > 1

    @property
    def under(self) -> bool:
        """Whether its arc is below: of what leads back, or begins below the middle."""
        return self.back or self.source.y < -0.5


@dataclass(eq=False)
class Diagram:
    """A drawing's columns.

    Parameters
    ----------
    inputs, outputs : list of Signal
        Of every layer.
    signals : list of Signal
        All of them.
    links : list of Link
    note : str
        What the drawing does not know; empty where it knows all.
    """

    inputs: list[Signal]
    outputs: list[Signal]
    signals: list[Signal]
    links: list[Link]
    note: str = ""

    @property
    def width(self) -> float:
        """From the first column to the last."""
        return max(s.x for s in self.signals)

    @property
    def height(self) -> float:
        """From the highest node to the lowest."""
        return max(s.top for s in self.signals) - min(s.bottom for s in self.signals)

    @property
    def straight(self) -> bool:
        """Whether it is a chain, each layer's outputs the next one's inputs."""
        after = zip(self.outputs, self.inputs[1:], strict=False)
        return not self.links and all(a is b for a, b in after)


def by_channel(layer: LayerResult, values: Array) -> Array:
    """Return what edges are worth as a matrix of outputs and inputs.

    Parameters
    ----------
    layer : LayerResult
    values : ndarray, shape (n_out, n_in / groups, *kernel)

    Returns
    -------
    ndarray, shape (n_out, channels)
        The kernel's positions summed; NaN where a grouped convolution has no edge.
    """
    flat = values.reshape(*values.shape[:2], -1).sum(axis=2)
    groups = round(layer.n_in / (values.size / len(values)))
    if groups < 2 or len(flat) % groups:
        return np.asarray(flat)
    found = np.full((len(flat), groups * flat.shape[1]), np.nan)
    each = len(flat) // groups
    for g in range(groups):
        mine = slice(g * each, (g + 1) * each)
        found[mine, g * flat.shape[1] : (g + 1) * flat.shape[1]] = flat[mine]
    return found


def diagram(
    layers: Sequence[LayerResult],
    matrices: Sequence[Array],
    max_nodes: int,
    chain: bool | None = None,
) -> Diagram:
    """Lay out a network.

    Parameters
    ----------
    layers : sequence of LayerResult
    matrices : sequence of ndarray
        As :func:`by_channel` gives them.
    max_nodes : int
        Of a column; signals beside each other share it.
    chain : bool, optional
        True: each layer feeds the next, whatever is known. None: as is known.

    Returns
    -------
    Diagram

    Raises
    ------
    ValueError
        If layers are to be a chain, and do not fit.
    """
    wiring = next((x.wiring for x in layers if x.wiring is not None), None)
    if chain:
        made = _chain(layers, matrices)
    elif wiring is None:
        made = _apart(matrices)
    else:
        made = _Wires(wiring, layers, matrices).made()
    _place(made, matrices, max_nodes)
    return made


def depths_of(layers: Sequence[LayerResult]) -> list[int] | None:
    """Return how deep each layer lies; None where it is not known what feeds what.

    Parameters
    ----------
    layers : sequence of LayerResult
    """
    wiring = next((x.wiring for x in layers if x.wiring is not None), None)
    if wiring is None:
        return None
    sizes = [np.broadcast_to(0.0, (x.n_out, x.n_in)) for x in layers]  # of which only shapes count
    return [signal.rank for signal in _Wires(wiring, layers, sizes).made().inputs]


def _chain(layers: Sequence[LayerResult], matrices: Sequence[Array]) -> Diagram:
    for i in range(len(layers) - 1):
        if matrices[i + 1].shape[1] != matrices[i].shape[0]:
            raise ValueError(
                f"layer {layers[i + 1].name!r} takes {matrices[i + 1].shape[1]} inputs but the one "
                f"before has {matrices[i].shape[0]} outputs: they are no chain; chain=None draws "
                "what is known, and decomposition[i:j] takes layers that are one"
            )
    signals = [Signal(matrices[0].shape[1]), *(Signal(m.shape[0]) for m in matrices)]
    for rank, signal in enumerate(signals):
        signal.rank = rank
    known = next((x.wiring for x in layers if x.wiring is not None), None)
    note = "" if known is not None else "Joined in their order: what feeds what is not known."
    return Diagram(signals[:-1], signals[1:], signals, [], note)


def _apart(matrices: Sequence[Array]) -> Diagram:
    inputs = [Signal(m.shape[1], rank=2 * k) for k, m in enumerate(matrices)]
    outputs = [Signal(m.shape[0], rank=2 * k + 1) for k, m in enumerate(matrices)]
    both = [s for pair in zip(inputs, outputs, strict=True) for s in pair]
    alone = len(matrices) == 1
    note = "" if alone else "Layers in their order; which of them feeds which is not known."
    return Diagram(inputs, outputs, both, [], note)


class _Wires:
    def __init__(
        self, wiring: Wiring, layers: Sequence[LayerResult], matrices: Sequence[Array]
    ) -> None:
        self._wiring, self._layers, self._matrices = wiring, layers, matrices
        self._inputs: dict[str, Signal] = {}
        self._outputs: dict[str, Signal] = {}
        self._meetings: dict[int, Signal] = {}
        self._signals: list[Signal] = []
        self._links: list[Link] = []
        self._begins: dict[Source, Signal] = {}  # of the network's inputs

    def made(self) -> Diagram:
        begun: list[tuple[Signal, tuple[Source, ...]]] = []
        for layer, matrix in zip(self._layers, self._matrices, strict=True):
            feed = self._wiring.feeds.get(layer.name)
            found, (n_out, n_in) = None, matrix.shape
            if feed is not None and feed.straight:
                found = self._outputs.get(str(feed.sources[0]))
            if feed is not None and (found is None or found.size != n_in):
                found = None if feed.like is None else self._inputs.get(feed.like)
            if found is None or found.size != n_in:
                found = self._new(Signal(n_in, unknown=feed is None or not feed.sources))
                begun.append((found, () if feed is None else feed.sources))
            self._inputs[layer.name] = found
            self._outputs[layer.name] = self._new(Signal(n_out))
        for signal, sources in begun:
            self._join(signal, sources)
        self._without_beginnings()
        made = Diagram(
            [self._inputs[x.name] for x in self._layers],
            [self._outputs[x.name] for x in self._layers],
            self._signals,
            self._links,
        )
        _rank(made)
        if any(s.unknown for s in self._signals):
            made.note = "Where a ? stands it is not known what feeds the layer."
        return made

    def _new(self, signal: Signal) -> Signal:
        self._signals.append(signal)
        return signal

    def _join(self, target: Signal, sources: tuple[Source, ...]) -> None:
        """Link a signal, and all meetings behind it, to what they come from."""
        todo = [(target, sources)]
        while todo:
            target, sources = todo.pop()
            for source, through in self._resolved(sources):
                if isinstance(source, str):
                    found = self._outputs[source]
                elif source is None or self._wiring.meetings[source].sources == (None,):
                    if source not in self._begins:
                        what = "input" if source is None else self._wiring.meetings[source].what
                        self._begins[source] = self._new(Signal(0, what))
                    found = self._begins[source]
                elif source in self._meetings:
                    found = self._meetings[source]
                else:
                    meeting = self._wiring.meetings[source]
                    found = self._new(Signal(0, meeting.what, not meeting.sources, source))
                    self._meetings[source] = found
                    todo.append((found, meeting.sources))
                if found is not target:
                    self._links.append(Link(found, target, through))

    def _without_beginnings(self) -> None:
        """Leave out the point of an input that nothing takes but one layer's own column."""
        for begin in self._begins.values():
            after = [link for link in self._links if link.source is begin]
            if len(after) != 1 or not after[0].target.size:
                continue
            if sum(link.target is after[0].target for link in self._links) == 1:
                self._links.remove(after[0])
                self._signals.remove(begin)

    def _resolved(self, sources: tuple[Source, ...]) -> list[tuple[Source, bool]]:
        """Return sources that are drawn, with whether layers lie between that are not."""
        found: dict[Source, bool] = {}
        todo, seen = deque((s, False) for s in sources), set[str]()
        while todo:
            source, through = todo.popleft()
            if isinstance(source, str) and source not in self._outputs:
                feed = self._wiring.feeds.get(source)
                if source not in seen and feed is not None:
                    seen.add(source)
                    todo += [(s, True) for s in feed.sources]
            else:
                found.setdefault(source, through)
        return list(found.items())


def _rank(made: Diagram) -> None:
    """Give every signal its column: as far right as the longest way to it is long."""
    after: dict[int, list[Signal]] = {id(s): [] for s in made.signals}
    for begin, end in zip(made.inputs, made.outputs, strict=True):
        after[id(begin)].append(end)
    late = []  # other loops go through what a layer takes
    for link in made.links:
        if link.target.size:
            late.append(link)
        elif link.source.number > link.target.number:
            link.back = True
        else:
            after[id(link.source)].append(link.target)
    for link in late:
        link.back = _reaches(link.target, link.source, after)
        if not link.back:
            after[id(link.source)].append(link.target)
    before = {id(s): 0 for s in made.signals}
    for targets in after.values():
        for target in targets:
            before[id(target)] += 1
    ready = deque(s for s in made.signals if not before[id(s)])
    while ready:
        signal = ready.popleft()
        for target in after[id(signal)]:
            target.rank = max(target.rank, signal.rank + 1)
            before[id(target)] -= 1
            if not before[id(target)]:
                ready.append(target)
    begun = {id(link.target) for link in made.links if not link.back}
    for signal in {id(k.target): k.target for k in made.links if k.back and k.target.size}.values():
        if id(signal) not in begun:  # fed by what leads back alone: beside what it works with
            ends = after[id(signal)]
            later = [t.rank for end in ends for t in after[id(end)]]
            signal.rank = max(signal.rank, min(later, default=0) - 2)
            for end in ends:
                end.rank = max(end.rank, signal.rank + 1)


def _reaches(start: Signal, end: Signal, after: dict[int, list[Signal]]) -> bool:
    todo, seen = [start], {id(start)}
    while todo:
        one = todo.pop()
        if one is end:
            return True
        for other in after[id(one)]:
            if id(other) not in seen:
                seen.add(id(other))
                todo.append(other)
    return False


def _place(made: Diagram, matrices: Sequence[Array], most: int) -> None:
    """Choose the nodes that are drawn, and where everything lies."""
    worth = {id(s): np.zeros(s.size) for s in made.signals}
    for begin, end, matrix in zip(made.inputs, made.outputs, matrices, strict=True):
        worth[id(begin)] += np.nansum(np.abs(matrix), axis=0)
        worth[id(end)] += np.nansum(np.abs(matrix), axis=1)
    columns: list[list[Signal]] = [[] for _ in range(1 + max(s.rank for s in made.signals))]
    for signal in made.signals:
        columns[signal.rank].append(signal)
    wide = {begin.rank for begin in made.inputs}
    before: dict[int, list[Signal]] = {id(s): [] for s in made.signals}
    for begin, end in zip(made.inputs, made.outputs, strict=True):
        before[id(end)].append(begin)
    for link in made.links:
        if not link.back:
            before[id(link.target)].append(link.source)
    x = 0.0
    for rank, column in enumerate(columns):
        large = sum(s.size > 0 for s in column)
        each = max(most // max(large, 1), min(most, 4))
        for signal in column:
            order = np.argsort(-worth[id(signal)], kind="stable")
            signal.kept, signal.x = np.sort(order[:each]), x
        x += 1.0 if rank in wide else _NARROW
        middle = {
            id(s): float(np.mean([b.y for b in before[id(s)]])) if before[id(s)] else 0.0
            for s in column
        }
        column.sort(key=lambda s: -middle[id(s)])
        tall = [max(len(s.kept) - 1, 0) for s in column]
        y = (sum(tall) + _APART * (len(column) - 1)) / 2.0
        for signal, height in zip(column, tall, strict=True):
            signal.y = y - height / 2.0
            y -= height + _APART
