"""A network: layers, what feeds them, and the ranges of their inputs."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, overload

from .layer import Layer, LazyLayer
from .ranges import RangeRule
from .wiring import Feed, Wiring

__all__ = ["Network", "Seen"]


@dataclass(frozen=True)
class Seen:
    """The ranges of what went into a layer and came out of it, as data had them.

    Parameters
    ----------
    inputs, outputs : tuple of float or None
        None where nothing was seen.
    """

    inputs: tuple[float, float] | None = None
    outputs: tuple[float, float] | None = None


@dataclass(frozen=True, eq=False)
class Network(Sequence[Layer | LazyLayer]):
    """Layers in order of execution.

    Parameters
    ----------
    layers : iterable of Layer or LazyLayer
        At least one; unnamed ones become ``"0"``, ``"1"``, ...
    chained : bool
        Whether layers feed each other (their sizes are checked, and each takes the range of the one
        before) or every layer stands alone, as in a file of weights.
    sources : mapping of str to tuple of str, optional
        Which layers feed a layer, by name. An empty tuple: none directly, its inputs have the
        network's own range. When left out, each feeds the next.
    in_ranges : mapping of str to tuple of float, optional
        Known ranges of the inputs of layers that something other than a layer feeds, such as the
        hidden state of an LSTM.
    straight : collection of str, optional
        The dense layers whose inputs are, in order, the outputs of their one, dense source; sizes
        are checked. When left out, all dense ones that have one dense source.
    inputs : mapping of str to RangeRule, optional
        How the range of a layer's inputs follows, where that is more than its sources' outputs.
    seen : mapping of str to Seen, optional
        What data had for ranges; they come before all that follows.
    wiring : Wiring, optional
        What feeds what, with the sums and the like between. When left out it follows from
        ``sources``; None of layers that stand alone.

    Raises
    ------
    ValueError
        For no layers, names given twice, sources that are no layers of it, or sizes that do not
        chain.
    """

    layers: tuple[Layer | LazyLayer, ...]
    chained: bool = True
    sources: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    in_ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    straight: frozenset[str] = frozenset()
    inputs: Mapping[str, RangeRule] = field(default_factory=dict)
    seen: Mapping[str, Seen] = field(default_factory=dict)
    wiring: Wiring | None = None

    def __init__(
        self,
        layers: Iterable[Layer | LazyLayer],
        chained: bool = True,
        sources: Mapping[str, tuple[str, ...]] | None = None,
        in_ranges: Mapping[str, tuple[float, float]] | None = None,
        straight: Iterable[str] | None = None,
        inputs: Mapping[str, RangeRule] | None = None,
        seen: Mapping[str, Seen] | None = None,
        wiring: Wiring | None = None,
    ) -> None:
        named = tuple(
            layer if layer.name is not None else layer.renamed(str(i))
            for i, layer in enumerate(layers)
        )
        if not named:
            raise ValueError("no layers were given; eiplane needs at least one weight matrix")
        by_name: dict[str, Layer | LazyLayer] = {}
        for layer in named:
            name = str(layer.name)
            if name in by_name:
                raise ValueError(f"two layers are named {name!r}; names must be unique")
            by_name[name] = layer
        names = list(by_name)
        place = {name: i for i, name in enumerate(names)}
        if not chained:
            before_of: dict[str, tuple[str, ...]] = dict.fromkeys(names, ())
        elif sources is None:
            before_of = {b: (a,) for a, b in itertools.pairwise(names)} | {names[0]: ()}
        else:
            before_of = {name: tuple(sources.get(name, ())) for name in names}
        for name, before in before_of.items():
            for source in before:
                if place.get(source, len(names)) >= place[name]:
                    raise ValueError(f"layer {name!r}: its source {source!r} is no layer before it")
        linked = {name: before[0] for name, before in before_of.items() if len(before) == 1}
        if straight is not None:
            linked = {name: linked[name] for name in straight if name in linked}
        dense = {
            name
            for name, before in linked.items()
            if by_name[name].is_dense and by_name[before].is_dense
        }
        for name in names:
            if name in dense:
                _check_link(by_name[linked[name]], by_name[name])
        object.__setattr__(self, "layers", named)
        object.__setattr__(self, "chained", chained)
        object.__setattr__(self, "sources", before_of)
        object.__setattr__(self, "in_ranges", dict(in_ranges or {}))
        object.__setattr__(self, "straight", frozenset(dense))
        object.__setattr__(self, "inputs", dict(inputs or {}))
        object.__setattr__(self, "seen", dict(seen or {}))
        if wiring is None and chained:
            wiring = self._wired(straight is None)
        object.__setattr__(self, "wiring", wiring)

    def _wired(self, in_order: bool) -> Wiring:
        """Return what feeds what, as ``sources`` has it."""
        sizes = {str(layer.name): layer for layer in self.layers}
        feeds = {}
        for name, before in self.sources.items():
            alone = len(before) == 1 and (in_order or name in self.straight)
            fits = alone and sizes[name].size_in == sizes[before[0]].n_out
            start = () if name in self.in_ranges else (None,)
            feeds[name] = Feed(before or start, fits)
        return Wiring(feeds)

    def changed(self, **parts: Any) -> Network:
        """Return the same network but for some of the arguments that make one."""
        same = {f.name: getattr(self, f.name) for f in fields(self)}
        return Network(**(same | parts))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the layers, in order."""
        return tuple(str(layer.name) for layer in self.layers)

    def in_range_of(
        self,
        name: str,
        in_range: tuple[float, float],
        out_ranges: Mapping[str, tuple[float, float]],
    ) -> tuple[float, float]:
        """Return the range of a layer's inputs.

        Parameters
        ----------
        name : str
        in_range : tuple of float
            The network's own.
        out_ranges : mapping of str to tuple of float
            Output ranges of (at least) the layers that feed it.

        Returns
        -------
        tuple of float
            The output range of what feeds it, joined where several layers do; its own known range
            if it has one; ``in_range`` if no layer feeds it.
        """
        if name in self.in_ranges:
            return self.in_ranges[name]
        ranges = [out_ranges[source] for source in self.sources[name]]
        if not ranges:
            return in_range
        return min(lo for lo, _ in ranges), max(hi for _, hi in ranges)

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Layer | LazyLayer]:
        return iter(self.layers)

    @overload
    def __getitem__(self, index: int) -> Layer | LazyLayer: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Layer | LazyLayer]: ...
    def __getitem__(self, index: int | slice) -> Layer | LazyLayer | Sequence[Layer | LazyLayer]:
        return self.layers[index]


def _check_link(before: Layer | LazyLayer, after: Layer | LazyLayer) -> None:
    if after.size_in == before.n_out:
        return
    message = (
        f"layer {after.name!r} takes {after.size_in} inputs but layer {before.name!r} has "
        f"{before.n_out} outputs (weights {after.shape} after {before.shape})"
    )
    if after.n_out == before.n_out:
        message += f"; weights are (n_out, n_in), so transposing {after.name!r} would fix it"
    elif before.size_in == after.size_in:
        message += f"; weights are (n_out, n_in), so transposing {before.name!r} would fix it"
    elif before.size_in == after.n_out:
        message += "; weights are (n_out, n_in), so transposing both would fix it"
    raise ValueError(message)
