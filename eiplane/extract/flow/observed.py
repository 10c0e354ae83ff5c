"""What really goes into a network's layers, and what comes out: ranges from data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...network import Activation, Seen
from ...run import Extent
from .flow import Flow
from .outcome import Outcome
from .recognise import Function
from .signals import Codes, Map, Operand, Origin

__all__ = ["NotFiniteError", "Observer"]

#: Numbers that a function is applied to at once.
_BLOCK = 1 << 22


class NotFiniteError(ValueError):
    """There are numbers in the data, or in what a layer makes of them, that no range can hold."""


class Observer:
    """Collects the ranges of layers over any number of runs.

    Parameters
    ----------
    layers : mapping of str to (Map, Outcome)
        The layers that a first run had.
    quantiles : tuple of float
        Where a range begins and ends; ``(0, 1)`` for the least and the greatest.
    """

    def __init__(
        self, layers: Mapping[str, tuple[Map, Outcome]], quantiles: tuple[float, float]
    ) -> None:
        self._quantiles = quantiles
        self._inputs: dict[Any, Extent] = {}
        self._padded: set[Any] = set()
        self._outputs = {title: Extent(quantiles) for title in layers}
        self._layers = dict(layers)
        self._of: dict[Any, list[str]] = {}
        for title, (made, _) in layers.items():
            # A constant without a name is made anew in each run, and not to be told from others.
            if not isinstance(made.key[-1], int):
                self._of.setdefault(made.key, []).append(title)
            if made.lead is not None:
                self._of.setdefault(made.lead.key, [])  # it takes what the sum takes
        self.batch = 0

    def next_run(self) -> Flow:
        """Return what the run of the next batch is to be reported to."""
        self.batch += 1
        return _Observed(self)

    def seen(self) -> dict[str, Seen]:
        """Return the layers' ranges so far."""
        found = {}
        for title, (made, _) in self._layers.items():
            key = made.key if made.lead is None else made.lead.key
            inputs = self._inputs.get(key)
            span = None if inputs is None else inputs.range
            if span is not None and key in self._padded:
                span = min(span[0], 0.0), max(span[1], 0.0)
            found[title] = Seen(span, self._outputs[title].range)
        return found

    # -- what a run reports

    def takes(self, made: Map, numbers: NDArray[Any], padded: bool = False) -> None:
        """Note the numbers that a map takes."""
        if made.key not in self._of:
            return
        if padded:
            self._padded.add(made.key)
        if made.key not in self._inputs:
            self._inputs[made.key] = Extent(self._quantiles)
        title = next(iter(self._of[made.key]), made.name)
        self._add(self._inputs[made.key], numbers, title, "inputs")

    def gives(self, made: Map, numbers: NDArray[Any], axis: int, pooled: bool) -> None:
        """Note the numbers that a map, or a pooling of its outputs, gives."""
        for title in self._of.get(made.key, ()):
            outcome: Outcome = self._layers[title][1]
            if (outcome.pool is not None) != pooled:
                continue
            rows = np.moveaxis(numbers, axis, 0)
            if len(outcome.rows) != len(rows):
                rows = rows[outcome.rows]
            function = outcome.after if pooled else outcome.first
            for block in _applied(function, rows.reshape(len(rows), -1)):
                self._add(self._outputs[title], block, title, "outputs")

    def _add(self, extent: Extent, numbers: NDArray[Any], title: str, what: str) -> None:
        try:
            extent.add(numbers)
        except ValueError as error:
            raise NotFiniteError(
                f"layer {title!r}: its {what} hold {error}, in batch {self.batch} of input_data; "
                "a range has to be finite"
            ) from None


class _Observed(Flow):
    """A flow that tells an observer, and keeps no numbers for a proof."""

    def __init__(self, observer: Observer) -> None:
        super().__init__()
        self._observer = observer
        self._axes: dict[Map, int] = {}

    def map(
        self,
        made: Map,
        x: Operand | None,
        out: Operand,
        shape: Sequence[int],
        axis: int,
        padded: bool = False,
    ) -> Codes:
        if x is not None:
            self._observer.takes(made, x.read(), padded)
        self._axes[made] = axis
        self._observer.gives(made, out.read(), axis, pooled=False)
        return super().map(made, x, out, shape, axis, padded)

    def merged(self, made: Map, row: NDArray[np.int64], out: Operand) -> None:
        each = np.bincount(row.reshape(-1))
        if bool((each == each[0]).all()):
            order = np.argsort(row, axis=None, kind="stable")
            numbers = np.asarray(out.read()).reshape(-1)[order]
            self._observer.gives(made, numbers.reshape(len(each), -1), 0, pooled=False)

    def use(self, x: Operand, by: Origin | None, unknown: str = "", aside: bool = False) -> Any:
        if by is not None and by.map is not None and by.map.fixed is not None:
            self._observer.takes(by.map, x.read())  # a gate, which no call of map() reports
        return super().use(x, by, unknown, aside)

    def keep(self, origin: Origin, out: Operand) -> None:
        if origin.pooling is not None:
            source = origin.pooling.source.origin
            if source.map in self._axes:  # what is pooled lies behind the channels
                axis = self._axes[source.map]
                self._observer.gives(source.map, out.read(), axis, pooled=True)


def _applied(function: Function | None, rows: NDArray[Any]) -> Any:
    """Yield the values of a function of rows, a block of columns at a time."""
    if function is None or function.activation is None:
        yield rows
        return
    activation: Activation = function.activation
    step = max(1, _BLOCK // max(1, len(rows)))
    plain = bool((function.scale == 1.0).all()) and not function.shift.any()
    for start in range(0, rows.shape[1], step):
        block = rows[:, start : start + step].astype(np.float64)
        if not plain:
            block = function.scale[:, None] * block + function.shift[:, None]
        # As exact as the network is itself: half the bytes to sort.
        yield activation(block, axis=0).astype(rows.dtype if rows.dtype.kind == "f" else np.float64)
