"""What is measured of a network: its layers and spans, with ranges, as channels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from . import _core
from .extract import Between
from .network import (
    FAR,
    MOST,
    Channel,
    Interval,
    Layer,
    Network,
    RangeRule,
    RowSums,
    Stage,
    Wiring,
    automatic_range,
    discretize,
    evaluate,
    input_rule,
)
from .pairwise import merged
from .run import Range, Settings

__all__ = ["Plan", "Target"]


@dataclass(frozen=True)
class Target:
    """One thing to measure, a layer or a span of them.

    Parameters
    ----------
    channel : Channel
        Bears the name.
    activation : str
        Of the last layer.
    in_range, out_range : tuple of float
    range_source : str
        Of ``in_range``.
    edge_shape : tuple of int
        Of the per-edge arrays.
    layer : Layer or None
        The one layer that it is; None of a span or a pooled one.
    wiring : Wiring or None
        Of the network.
    """

    channel: Channel
    activation: str
    in_range: Range
    out_range: Range
    range_source: str
    edge_shape: tuple[int, ...]
    layer: Layer | None
    wiring: Wiring | None


class Plan:
    """Ranges and channels of a network's layers, each found when it is needed.

    Parameters
    ----------
    network : Network
    settings : Settings
    others : sequence of str
        Names of what is no layer and may have a range of its own.
    rules : dict, optional
        Of the same network's layers, where they were found before; filled.
    """

    def __init__(
        self,
        network: Network,
        settings: Settings,
        others: Sequence[str] = (),
        rules: dict[str, RangeRule] | None = None,
    ) -> None:
        self.network = network
        self.settings = settings
        self.seen = network.seen if settings.ranges == "data" else {}
        self.names = [str(layer.name) for layer in network]
        self.index = {name: i for i, name in enumerate(self.names)}
        self._rules: dict[str, RangeRule] = {} if rules is None else rules
        self._memo: dict[int, tuple[RangeRule, Interval]] = {}
        self._found: dict[int, tuple[Range, str]] = {}
        self._automatic: dict[tuple[str, Range], Range] = {}
        self._sums: dict[int, RowSums] = {}
        self._feeds: dict[int, Interval] = {}
        self._checked: set[int] = set()
        settings.range_of(0, len(network))  # a list of the wrong length fails at once
        settings.check_names([*self.names, *others])

    def in_range(self, index: int) -> Range:
        """Return the range of a layer's inputs: what follows from all that lies before it."""
        return self._in_range(index)[0]

    def range_source(self, index: int) -> str:
        """Return what a layer's input range follows from.

        Returns
        -------
        str
            As of :attr:`eiplane.LayerResult.range_source`.
        """
        return self._in_range(index)[1]

    def assumed(self, measured: Iterable[int]) -> list[str]:
        """Return the names of those of the measured layers whose input range is assumed."""
        first = dict.fromkeys(measured)
        return [self.names[i] for i in first if self.range_source(i) == "assumed"]

    def _in_range(self, index: int) -> tuple[Range, str]:
        if index not in self._found:
            self._found[index] = self._found_range(index)
        return self._found[index]

    def _found_range(self, index: int) -> tuple[Range, str]:
        found = self._whole(self._feed(index))
        if found[1] != "given" or self._fixed(index) is not None or self.network.chained:
            return found
        # A layer of a file: nothing says that the network's input is its own.
        return found[0], "assumed" if self.settings.in_range is None else "given"

    def _feed(self, index: int) -> Interval:
        """Return the range of a layer's inputs, and its source."""
        if index not in self._feeds:
            found = self._fixed(index)
            if found is None:
                rule = input_rule(self.network, self.names[index], self._rules)
                found = evaluate(rule, self, self._memo)
            self._feeds[index] = found
        return self._feeds[index]

    def _fixed(self, index: int) -> Interval | None:
        """Return the range of a layer's inputs if it is given, or was seen."""
        name, source = self.names[index], "given"
        span = self.settings.in_range_of(name)
        if span is None and name in self.seen:
            span, source = self.seen[name].inputs, "data"
        return None if span is None else Interval.of(*span, source)

    def _whole(self, found: Interval) -> tuple[Range, str]:
        """Return one range for all inputs, and its source."""
        low = float(found.low[0] if len(found.low) == 1 else found.low.min())
        high = float(found.high[0] if len(found.high) == 1 else found.high.max())
        finite = math.isfinite(low) and math.isfinite(high)
        if not finite or (max(-low, high) > FAR and found.source not in ("given", "data")):
            return self.settings.input_range, "assumed"
        if high - low <= 1e-12 * max(abs(low), abs(high)):
            low, high = low - 0.5, high + 0.5
        return (low, high), found.source

    def out_range(self, index: int) -> Range:
        """Return the range of a layer's outputs."""
        chosen = self.output(self.names[index], None)
        if chosen is not None:
            return chosen[0], chosen[1]
        low, high, _ = self._made(index, self._feed(index))
        return low, high

    def part_range(self, part: Between) -> tuple[Range, str]:
        """Return the range of what goes into a part of a module, and what it follows from."""
        given = self.settings.in_range_of(part.first)
        if given is not None:
            return given, "given"
        if part.seen_in is not None:
            return part.seen_in, "data"
        if part.from_input:
            return self.settings.input_range, "given"
        for name in part.takers:
            if name in self.index and self.range_source(self.index[name]) != "assumed":
                return self._in_range(self.index[name])
        if part.in_known is not None:
            return part.in_known, "activation"
        raise ValueError(
            f"spans: the range of what goes into {part.first!r} is not known; give "
            f"in_range={{{part.first!r}: (low, high)}}, or ranges='data' and input_data"
        )

    def part_output(self, part: Between) -> Range:
        """Return the range of what a part of a module gives."""
        given = self.settings.out_range_of(part.last)
        if given is not None:
            return given
        for known in (part.seen_out, part.out_known):
            if known is not None:
                return known
        raise ValueError(
            f"spans: the range of what {part.last!r} gives is not known; give "
            f"out_range={{{part.last!r}: (low, high)}}, or ranges='data' and input_data"
        )

    # -- what evaluating the ranges asks for

    @property
    def in_range_of_network(self) -> Range:
        """The range of the network's input."""
        return self.settings.input_range

    def output(self, name: str, feed: Interval | None) -> tuple[float, float, str] | None:
        """Return a layer's output range and its source; None if that takes the input's range."""
        index = self.index[name]
        chosen = self._chosen(index)
        if chosen != "auto":
            return chosen[0], chosen[1], "given"
        seen = self.seen.get(name)
        if seen is not None and seen.outputs is not None:
            return (*seen.outputs, "data")
        layer = self.network[index]
        pooled = layer.pool is not None and layer.pool.activation.kind != "identity"
        natural = layer.pool.activation if pooled and layer.pool is not None else layer.activation
        if natural.natural_range is not None:
            return (*natural.natural_range, "activation")
        fixed = self._fixed(index)
        feed = feed if fixed is None else fixed
        return None if feed is None else self._made(index, feed)

    def _made(self, index: int, feed: Interval) -> tuple[float, float, str]:
        key = self.names[index], self._whole(feed)[0]
        if key not in self._automatic:
            layer = self.network[index].load()
            sums, ends = self._row_sums(index, layer), None
            if sums is not None and layer.pool is None and layer.activation.rises:
                ends = _core.row_ends(sums.values, layer.offsets(), *key[1])
            self._automatic[key] = automatic_range(layer, key[1], sums, ends)
        return (*self._automatic[key], "activation")

    def _row_sums(self, index: int, layer: Layer) -> RowSums | None:
        """Return the sums of a layer's rows; None where the core does not take them as they are.

        What a training has done to weights since a layer was made is seen here.

        Raises
        ------
        ValueError
            For weights that are no finite numbers any more.
        """
        known = self._sums.get(index)
        if known is not None and layer is self.network[index]:
            return known
        rows = layer.rows()
        if rows.dtype not in (np.float64, np.float32):
            return None
        if not rows.flags.carray:  # such as a transposed matrix
            if index not in self._checked:
                replace(layer)
                self._checked.add(index)
            return None
        if known is not None:  # of a file, whose rows were read anew
            return known.moved(rows)
        values = _core.row_sums(rows)
        sums = RowSums(rows, values, _core.row_extremes(values))
        if not sums.usual or not _is_usual(layer.bias):
            replace(layer)  # a layer checks what it is given
        file = layer is not self.network[index]
        self._sums[index] = sums.moved(np.empty((0, 0))) if file else sums  # no rows of a file
        return sums

    def _chosen(self, index: int) -> Literal["auto"] | Range:
        return self.settings.range_of(index, len(self.network), self.names[index])

    def _stage(self, index: int) -> Stage:
        layer = self.network[index].load()
        self._row_sums(index, layer)
        return Stage(layer.n_in, layer.n_out, layer.matrix(), layer.offsets(), layer.activation)

    def target(self, first: int, last: int) -> Target:
        """Return what is measured from the input of one layer to the output of another."""
        layer = self.network[last].load()
        sums = self._row_sums(last, layer)
        name, out_range = self.names[last], self.out_range(last)
        in_range, source = self.in_range(first), self.range_source(first)
        before = tuple(self._stage(i) for i in range(first, last))
        whole = discretize(
            layer, self.settings.binning, in_range, out_range, before, narrow=True, sums=sums
        )
        channel = merged(whole)
        shape = layer.edge_shape
        if first != last:
            name = f"{self.names[first]}..{name}"
            shape = (channel.n_out, channel.n_in)
        if name != channel.name:
            channel = replace(channel, name=name)
        return Target(
            channel,
            layer.function,
            in_range,
            out_range,
            source,
            shape,
            None if whole.stages else layer,
            self.network.wiring,
        )


def _is_usual(bias: NDArray[Any] | None) -> bool:
    """Return whether all are numbers, and none is too large."""
    return bias is None or float(np.abs(bias).max()) <= MOST
