"""What a front end reports of a run, and what is kept of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...network import Gather, Join, Known, RangeRule, Rows
from .combinations import combinations, rows_in
from .copies import as_copies
from .mixtures import Mixtures
from .signals import ENTRY, SHIFT, Codes, Map, Operand, Origin, Signals, Use, Value
from .steps import Step
from .sums import known_input, summed

__all__ = ["Flow"]

Array = NDArray[np.float64]
Ruler = Callable[[Value], RangeRule]

#: Numbers that are kept of an array for the proof, at most (but some of each row), and that a use
#: looks at.
_KEPT, _OF_ROW, _LOOKED = 1 << 14, 8, 256


class Flow:
    """One run of a network.

    Parameters
    ----------
    seed : int
        Of the choice of numbers that are checked.
    """

    def __init__(self, seed: int = 0) -> None:
        self.signals = Signals()
        self.mixtures = Mixtures(self.signals)
        self.noted: dict[str, str] = {}
        self.maps: list[Origin] = []
        self.layers: dict[str, tuple[Map, Any]] = {}
        self.hidden = False  # whether arrays came from where nothing was seen
        self._rng = np.random.default_rng(seed)
        self._doubtful = 0
        self._arrays = 0

    # -- origins ------------------------------------------------------------------------------

    def begin(
        self,
        what: str,
        shape: Sequence[int],
        rule: Callable[[], RangeRule],
        axis: int | None = None,
        **known: Any,
    ) -> Codes:
        """Report an array that depends on the network's input in no way that was followed.

        Parameters
        ----------
        what : str
        shape : sequence of int
        rule : callable
            Makes the rule of its range.
        axis : int, optional
            Along which the rule's rows lie.

        Returns
        -------
        Codes
        """
        rows = 1 if axis is None else int(shape[axis])
        value = self.signals.begin(rows, what, recipe=lambda _: rule(), **known)
        return self.signals.fresh(value, shape, axis)

    def map(
        self,
        made: Map,
        x: Operand | None,
        out: Operand,
        shape: Sequence[int],
        axis: int,
        padded: bool = False,
    ) -> Codes:
        """Report a linear map.

        Parameters
        ----------
        made : Map
        x : Operand or None
            Its input; None if that was not followed.
        out : Operand
            Its output, without codes.
        shape : sequence of int
            Of the output.
        axis : int
            Of the output's features.
        padded : bool
            Whether some of its inputs are zeros around the array.

        Returns
        -------
        Codes
            Of the output.
        """
        rows = int(shape[axis])
        value = self.signals.begin(rows, made.name, map=made)
        origin = value.origin
        origin.traits["inner"] = math.prod(shape[axis + 1 :])
        origin.traits["places"] = tuple(shape[axis + 1 :])
        self.maps.append(origin)
        if x is not None:
            made.feed, made.constants = self.use(x, origin)
            known_input(self.signals, made, x.codes, axis, len(shape))
        if padded:
            low, high = made.constants or (0.0, 0.0)
            made.constants = min(low, 0.0), max(high, 0.0)
        self.keep(origin, out)
        return self.signals.fresh(value, shape, axis)

    def doubt(self, codes: Codes) -> None:
        """Hear of an array of which it is not known whether it is a constant."""
        self._doubtful |= self.marks(codes, False)

    def _joined_by(self, operands: Sequence[Operand]) -> str:
        """Return why nothing can be said of what an operator of several arrays takes, if so."""
        codes = [x.codes for x in operands if x.codes is not None] if self._doubtful else []
        if any(self.marks(c, False) & self._doubtful for c in codes):
            return "it is joined by a tensor that Python made, perhaps a constant and perhaps not"
        return ""

    def merged(self, made: Map, row: NDArray[np.int64], out: Operand) -> None:
        """Hear of a sum of linear maps that is one; nothing is left to do."""

    def keep(self, origin: Origin, out: Operand) -> None:
        """Keep the numbers of an origin's array for the proof, or some of them."""
        numbers = out.read()
        every = max(1, -(-numbers.size // max(_KEPT, _OF_ROW * origin.rows)))
        while every > 1 and math.gcd(every, origin.rows) > 1:
            every += 1
        kept = numbers.reshape(-1)[::every].copy()

        def look(entries: NDArray[np.int64]) -> tuple[NDArray[np.bool_], Array]:
            there = entries % every == 0
            return there, kept[entries[there] // every].astype(np.float64)

        origin.numbers = look
        origin.traits["every"] = every

    def event(
        self,
        what: str,
        operands: Sequence[Operand],
        shape: Sequence[int],
        rule: Callable[[list[RangeRule]], RangeRule],
        axis: int | None = None,
        by: Sequence[int | None] | None = None,
        unknown: str = "",
        **known: Any,
    ) -> Codes:
        """Report an operator that is no function of one entry.

        Parameters
        ----------
        what : str
        operands : sequence of Operand
        shape : sequence of int
            Of the result.
        rule : callable
            Makes the rule of the result from those of the operands that are no constants.
        axis : int, optional
            Of the result: along which the rule's rows lie. One row when left out.
        by : sequence of int or None, optional
            For each operand the axis along which its rule's rows shall lie; when None the operand
            has one range.
        unknown : str
            Why nothing can be said of a layer whose output is used so.

        Returns
        -------
        Codes
        """
        rows = 1 if axis is None else int(shape[axis])
        value = self.signals.begin(rows, what, **known)
        origin, parts = value.origin, []
        unknown = unknown or self._joined_by(operands)
        for k, x in enumerate(operands):
            if x.codes is None:
                continue
            feed, constants = self.use(x, origin, unknown)
            place = by[k] if by is not None else None
            found = None if place is None else self._along(x, place)
            parts.append(found or _joined(feed, constants))
        origin.recipe = lambda ruler: rule([part(ruler) for part in parts])
        return self.signals.fresh(value, shape, axis)

    def combine(
        self,
        what: str,
        operands: Sequence[Operand],
        shape: Sequence[int],
        rule: Callable[[list[RangeRule]], RangeRule],
        step: Step | None = None,
        out: Operand | None = None,
        **known: Any,
    ) -> Codes:
        """Report an elementwise operator of several signals, or of one and changing constants.

        Parameters
        ----------
        what : str
        operands : sequence of Operand
            That broadcast to the shape.
        shape : sequence of int
        rule : callable
            Makes the rule of the result from those of all operands.
        step : Step, optional
            The operator, which may add up linear maps.
        out : Operand, optional
            The result, without codes.

        Returns
        -------
        Codes
        """
        shape = tuple(shape)
        wide = [None if x.codes is None else np.broadcast_to(x.codes, shape) for x in operands]
        numbers = [c >> SHIFT for c in wide if c is not None]
        row, pairs = combinations(numbers, self.signals)
        rows = 1 if row is None else len(pairs[0])
        found = None
        if step is not None and out is not None and row is not None:
            codes_of = [c for c in wide if c is not None]
            found = summed(self.signals, step, codes_of, pairs, row, out.read())
        made = None if found is None else found[0]
        value = self.signals.begin(rows, what if made is None else made.name, map=made, **known)
        origin, parts, signals = value.origin, [], iter(pairs)
        unknown = self._joined_by(operands)
        if found is not None and made is not None and row is not None and out is not None:
            if found[1] is not None:
                origin.traits["inner"] = found[1]
            if made.conv is not None:
                origin.traits["places"] = shape[-len(made.conv.stride) :]
            self.maps.append(origin)
            self.keep(origin, out)
            self.merged(made, row, out)
        for x, codes in zip(operands, wide, strict=True):
            if codes is None:
                parts.append(_constant(x, row, rows, shape))
                continue
            feed, constants = self.use(x, origin, unknown)
            parts.append(
                _joined(feed, constants)
                if row is None
                else self._rows(next(signals), _constants(x, codes, row, rows, shape))
            )
        origin.recipe = lambda ruler: rule([part(ruler) for part in parts])
        entry = np.arange(int(np.prod(shape, dtype=np.int64)), dtype=np.int64).reshape(shape)
        codes_made: Codes = entry + ((value.base + (0 if row is None else row)) << SHIFT)
        return codes_made if found is not None else as_copies(codes_made, operands, wide)

    # -- uses -----------------------------------------------------------------------------------

    def use(
        self, x: Operand, by: Origin | None, unknown: str = "", aside: bool = False
    ) -> tuple[list[tuple[Value, NDArray[np.bool_]]], tuple[float, float] | None]:
        """Record that something takes an array.

        Parameters
        ----------
        x : Operand
        by : Origin or None
            None: it is the network's result.
        unknown : str
        aside : bool
            Whether it is a single number beside the network's result.

        Returns
        -------
        feed : list of (Value, ndarray of bool)
            The values in it, and which of their rows.
        constants : tuple of float or None
            Least and greatest of its entries that are constants.
        """
        codes, constants = x.codes, None
        if codes is None or codes.size == 0:
            return [], None
        self._arrays += 1
        first, last = int(codes.min()), int(codes.max())
        if first < 0:
            fixed = np.asarray(x.read(), dtype=np.float64)[codes < 0]
            constants = float(fixed.min()), float(fixed.max())
            if last < 0:
                return [], constants
            first = int(codes[codes >= 0].min())
        value = self.signals.of(first >> SHIFT)
        feed = []
        if constants is None and (last >> SHIFT) < value.base + value.rows:
            feed.append((value, self._used(x, codes, value, None, by, unknown, aside)))
            return feed, None
        places = self.signals.places(codes >> SHIFT)
        found, at = np.unique(places[places >= 0], return_index=True)
        for place in found[np.argsort(at)].tolist():
            value = self.signals.at(place)
            feed.append((value, self._used(x, codes, value, places == place, by, unknown, aside)))
        return feed, constants

    def _used(
        self,
        x: Operand,
        codes: Codes,
        value: Value,
        where: NDArray[np.bool_] | None,
        by: Origin | None,
        unknown: str,
        aside: bool,
    ) -> NDArray[np.bool_]:
        mine = codes if where is None else codes[where]
        rows = rows_in(mine, value)
        entries, numbers = np.empty(0, np.int64), np.empty(0)
        at_rows = np.empty(0, np.intp)
        if value.origin.numbers is not None:
            places = self._places(mine, value.origin.traits["every"])
            taken = mine.reshape(-1)[places] if where is not None else None
            if where is None:
                index = np.unravel_index(places, np.atleast_1d(codes).shape)
                taken, received = np.atleast_1d(codes)[index], np.atleast_1d(x.read())[index]
            else:
                received = x.read()[where][places]
            assert taken is not None
            entries, at_rows = taken & ENTRY, (taken >> SHIFT) - value.base
            numbers = np.asarray(received, dtype=np.float64)
        precision = max(x.precision, value.precision)
        use = Use(value, rows, by, unknown, entries, at_rows, numbers, precision,
                  aside=aside, array=self._arrays)  # fmt: skip
        value.origin.uses.append(use)
        if value.mask is not None:
            self.use(value.mask, by, unknown, aside)  # which of them these are, it says
        if by is not None:
            by.before |= value.origin.mark
        return rows

    def _places(self, codes: Codes, every: int) -> NDArray[np.intp]:
        """Return some places of an array, of entries whose numbers are kept."""
        if every == 1 and codes.size <= _LOOKED:
            return np.arange(codes.size)
        if every == 1:
            drawn: NDArray[np.intp] = self._rng.integers(0, codes.size, _LOOKED)
            return drawn
        if codes.size > 4 * every * _LOOKED:
            some: NDArray[np.intp] = self._rng.integers(0, codes.size, 2 * every * _LOOKED)
            taken = codes[np.unravel_index(some, codes.shape)]
            some = np.asarray(some[(taken & ENTRY) % every == 0])
            if len(some) >= _LOOKED // 4:
                return some[:_LOOKED]
        places: NDArray[np.intp] = np.flatnonzero((codes & ENTRY) % every == 0)
        if len(places) <= _LOOKED:
            return places
        chosen: NDArray[np.intp] = places[self._rng.integers(0, len(places), _LOOKED)]
        return chosen

    def marks(self, codes: Codes, whole: bool = True) -> int:
        """Return a bit for each origin in an array, and (as a whole) for what those are made of."""
        found = 0
        for place in np.unique(self.signals.places(np.unique(codes >> SHIFT))).tolist():
            if place >= 0:
                origin = self.signals.at(place).origin
                found |= origin.mark if whole else 1 << origin.index
        return found

    def is_noise(self, codes: Codes | None) -> bool:
        """Return whether an array is made of random numbers and constants alone."""
        if codes is None:
            return False
        made_of = self.marks(codes)
        roots = [o for o in self.signals.origins if made_of >> o.index & 1 and not o.before]
        return bool(roots) and all(o.traits.get("random") for o in roots)

    # -- rules of operands ----------------------------------------------------------------------

    def _rows(self, numbers: NDArray[np.int64], fixed: tuple[Array, Array] | None) -> Any:
        """Return what makes the rule of a signal for each of some numbers, -1 for constants."""
        places = self.signals.places(numbers)
        kept = np.unique(places[places >= 0])
        owner = np.searchsorted(kept, np.maximum(places, kept[0]))
        values = [self.signals.at(k) for k in kept.tolist()]
        bases = np.array([v.base for v in values])
        index = np.where(numbers < 0, np.arange(len(numbers)), numbers - bases[owner])
        owner = np.where(numbers < 0, len(values), owner)

        def part(ruler: Ruler) -> RangeRule:
            rules = [ruler(v) for v in values]
            if fixed is not None:
                rules.append(Known(*fixed))
            elif len(rules) == 1:
                return Rows(index, operands=(rules[0],))
            return Gather(owner, index, operands=tuple(rules))

        return part

    def _along(self, x: Operand, axis: int) -> Any:
        """Return what makes the rule of each place along an axis, or None if that has several."""
        codes = x.codes
        assert codes is not None
        numbers = np.moveaxis(codes, axis, 0).reshape(codes.shape[axis], -1) >> SHIFT
        if numbers.size == 0 or (numbers < 0).any() or (numbers != numbers[:, :1]).any():
            return None
        return self._rows(numbers[:, 0], None)


def _joined(feed: Any, constants: tuple[float, float] | None) -> Any:
    def part(ruler: Ruler) -> RangeRule:
        rules: list[RangeRule] = [
            Rows(np.flatnonzero(mask), operands=(ruler(value),)) for value, mask in feed
        ]
        if constants is not None:
            rules.append(Known(*constants, "given"))
        return Join(operands=tuple(rules))

    return part


def _constant(x: Operand, row: Any, rows: int, shape: tuple[int, ...]) -> Any:
    numbers = np.asarray(x.read(), dtype=np.float64)
    low, high = (numbers.min(), numbers.max()) if numbers.size else (0.0, 0.0)
    if numbers.size > 1 and row is not None:
        low, high = _by_row(np.broadcast_to(numbers, shape), row, rows)
    return lambda _: Known(low, high)


def _constants(x: Operand, codes: Codes, row: Any, rows: int, shape: tuple[int, ...]) -> Any:
    """Return ranges of the constants among a signal's entries, by row; None if there are none."""
    fixed = codes < 0
    if not fixed.any():
        return None
    numbers = np.broadcast_to(np.asarray(x.read(), dtype=np.float64), shape)
    return _by_row(numbers[fixed], row[fixed], rows)


def _by_row(numbers: Array, row: NDArray[np.int64], rows: int) -> tuple[Array, Array]:
    low, high = np.full(rows, np.inf), np.full(rows, -np.inf)
    np.minimum.at(low, row.reshape(-1), numbers.reshape(-1))
    np.maximum.at(high, row.reshape(-1), numbers.reshape(-1))
    empty = low > high
    return np.where(empty, 0.0, low), np.where(empty, 0.0, high)
