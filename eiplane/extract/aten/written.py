"""Linear maps that are written out: a signal times a weight, entry by entry, and then summed.

``(x[:, None] * W).sum(-1)`` is ``x @ W.T``. The last few products of a signal with a weight are
remembered, with what each of their entries is made of; a sum over some of them is a map if its
terms meet other entries of the weight. What lies between (a scale, a view, a transpose, a
constant that is added) does not matter.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..flow import Codes, Operand, Step
from ..flow.recognise import PROBE, line_of
from ..flow.signals import SHIFT, Signals, Value
from .call import Call, numbers
from .linear import Product, distinct, report

if TYPE_CHECKING:
    from .run import Run

__all__ = ["Written"]

Array = NDArray[np.float64]

#: Products that are remembered, and matrices that one sum may be of.
_LAST, _MOST = 8, 4096

#: The kinds of axes, the outermost first.
_ORDER = ("stack", "place", "row")

#: Operators between the product and the sum, at most; rows of one that are looked at together.
_BETWEEN, _ROWS = 8, 4096


@dataclass(frozen=True, eq=False)
class _Factors:
    """A product of a signal with a constant, entry by entry; all as it was at that time.

    Parameters
    ----------
    codes : ndarray of int64
        Of the product.
    x : Operand
        The signal.
    weight : tensor
    divides : bool
        Whether the signal is divided by it.
    names : frozenset of str
        What the weight is made of.
    """

    codes: Codes
    x: Operand
    weight: Any
    divides: bool
    names: frozenset[str]


@dataclass(frozen=True, eq=False)
class _Terms:
    """The terms of a sum, along the last axis.

    Parameters
    ----------
    place : ndarray of int64
        Of each term in the product.
    entry : ndarray of int64
        Of the weight that is in it.
    source : ndarray of int64
        Codes of the signal.
    scale, shift : ndarray
        What the product was multiplied with, and what was added to it.
    """

    place: NDArray[np.int64]
    entry: NDArray[np.int64]
    source: Codes
    scale: Array
    shift: Array

    @property
    def sides(self) -> list[tuple[str, int]]:
        """What the axes of the sum are, and their sizes: others of the weight's entries, or not."""
        found = []
        for axis, size in enumerate(self.place.shape[:-1]):
            if _same_along(self.entry, axis):
                found.append(("place", size))
            else:
                found.append(("row" if _same_along(self.source, axis) else "stack", size))
        return found


class Written:
    """The last products of signals with weights.

    Parameters
    ----------
    run : Run
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._last: deque[_Factors] = deque(maxlen=_LAST)

    def product(self, call: Call, codes: Codes | None) -> None:
        """Hear of an elementwise product, or a quotient."""
        if call.name not in ("mul", "div") or codes is None or len(call.args) < 2:
            return
        a, b = call.args[:2]
        if call.name == "mul" and not call.dynamic(a):
            a, b = b, a
        tensor = self._run.torch.Tensor
        if not (isinstance(a, tensor) and isinstance(b, tensor)) or call.dynamic(b):
            return
        if not call.dynamic(a) or b.numel() < 2 or b.is_complex() or call.kwargs:
            return
        names = self._run.constants.names(b) if b.is_floating_point() else frozenset()
        # A row that is no parameter is a mask, a window, a count.
        weighs = _is_matrix(b) or self._run.constants.learnt(names)
        if names and weighs:
            x, weight = call.operand(a).kept(), b.detach().clone()
            self._last.append(_Factors(codes.copy(), x, weight, call.name == "div", names))

    def summed(self, call: Call, matrices: bool) -> Codes | None:
        """Return the codes of a sum or a mean, if it is a linear map with such a weight.

        Parameters
        ----------
        call : Call
        matrices : bool
            Whether the weight must have several rows: what one row adds up is a sum of signals.
        """
        x = call.operand(call.args[0])
        if not self._last or x.codes is None or x.codes.size == 0 or not x.codes.ndim:
            return None
        axes = _axes(call, x.codes.ndim)
        whole = np.moveaxis(x.codes, axes, range(-len(axes), 0))
        kept = whole.shape[: whole.ndim - len(axes)]
        codes = whole.reshape(*kept, -1)
        if codes.shape[-1] < 2 or int(codes.min()) < 0:
            return None
        found = self._traced(codes)
        if found is None:
            return None
        made, ways = found
        if matrices and not _is_matrix(made.weight):
            return None
        terms = _terms(self._run.flow.signals, made, codes, ways)
        inner = terms.entry.reshape(whole.shape) if terms is not None else None
        for axis in range(len(kept), whole.ndim):
            if inner is None or (whole.shape[axis] > 1 and _same_along(inner, axis)):
                return None  # it is pooled: the weight is a scale
        assert terms is not None
        out = call.out.reshape(kept)
        factor = 1.0 / codes.shape[-1] if call.name == "mean" else 1.0
        return self._maps(made, terms, out, factor, call)

    def _traced(self, codes: Codes) -> tuple[_Factors, dict[int, tuple[int, Any, Any]]] | None:
        """Return the product that terms are made of, and the way to it from each of their values.

        That is: how far its numbers lie away, and a scale and a shift (for each row, or all).
        """
        signals = self._run.flow.signals
        places = np.unique(signals.places(np.unique(codes >> SHIFT))).tolist()
        values = [signals.at(p) for p in places]
        for made in reversed(self._last):
            bases = set(np.unique(signals.places(np.unique(made.codes >> SHIFT))).tolist())
            owners = {signals.at(p).base for p in bases}
            ways = [_way(value, owners) for value in values]
            if all(way is not None for way in ways):
                return made, {p: w for p, w in zip(places, ways, strict=True) if w is not None}
        return None

    def _maps(
        self, made: _Factors, terms: _Terms, out: Any, factor: float, call: Call
    ) -> Codes | None:
        """Report the maps that a sum is made of."""
        run, sides = self._run, terms.sides
        count = math.prod(n for kind, n in sides if kind == "stack")
        if count > _MOST:
            return None
        order = sorted(range(len(sides)), key=lambda a: _ORDER.index(sides[a][0]))
        rows = math.prod(n for kind, n in sides if kind == "row")
        width = terms.place.shape[-1]

        def turned(array: Any) -> Any:
            return array.transpose(*order, -1).reshape(count, -1, rows, width)

        numbers_of = numbers(made.weight).reshape(-1)
        each = numbers_of[turned(terms.entry)[:, 0]]
        scale, shift = turned(terms.scale), turned(terms.shift)
        if not _same_along(scale, 1):
            return None
        if made.divides:
            each = 1.0 / each.astype(np.float64)
        if factor != 1.0 or bool((scale != 1.0).any()):
            each = each * (factor * scale[:, 0])
        bias = factor * shift.sum(axis=-1)
        if not _same_along(bias, 1) or not np.isfinite(each).all():
            return None
        source, place = turned(terms.source)[:, :, 0], turned(terms.place)[:, :, 0]
        given = out.permute(order).reshape(count, -1, rows)
        shown = np.broadcast_to(np.asarray(made.x.read()), made.codes.shape).reshape(-1)
        codes, kinds = [], distinct(each)
        several = any(number for number, _ in kinds)
        for k in range(count):
            b = bias[k, 0]
            part = Operand(source[k], lambda k=k: shown[place[k]], made.x.precision)  # type: ignore[misc]
            weight = run.torch.from_numpy(np.ascontiguousarray(each[k]))
            offset = run.torch.from_numpy(b.copy()) if b.any() else None
            number, digest = kinds[k]
            suffix = f"[{number}]" if several else ""
            codes.append(
                report(
                    run,
                    Product(
                        weight, offset, part, given[k], -1, made.names, suffix, digest, made.weight
                    ),
                )
            )
        sizes = [sides[a][1] for a in order]
        back = np.stack(codes).reshape(sizes).transpose(np.argsort(order))
        found: Codes = np.ascontiguousarray(back).reshape(call.shape)
        return found


def _is_matrix(tensor: Any) -> bool:
    return bool(sum(n > 1 for n in tensor.shape) > 1)


def _axes(call: Call, ndim: int) -> list[int]:
    """Return the axes that a sum goes along."""
    dims = call.given(1, "dim")
    if isinstance(dims, int) and not isinstance(dims, bool):
        dims = [dims]
    if not isinstance(dims, list | tuple) or not dims:
        return list(range(ndim))
    return sorted(int(d) % ndim for d in dims)


def _way(value: Value, owners: set[int]) -> tuple[int, Any, Any] | None:
    """Return how a value is an affine function of one of those, if it is."""
    base: int = value.base
    scale: Any = np.ones(1)
    shift: Any = np.zeros(1)
    for _ in range(_BETWEEN):
        if value.base in owners:
            return base - value.base, scale, shift
        step, parent = value.step, value.parent
        if step is None or parent is None or len(value.operands) != 1:
            return None
        if value.operands[0] is not parent:
            return None
        line = _line(step)
        if line is None:
            return None
        slope, offset = line
        shift, scale, value = shift + scale * offset, scale * slope, parent
    return None


def _line(step: Step) -> tuple[Array, Array] | None:
    """Return slope and offset of an operator of one operand, for each row or for all."""
    count = max((len(c) for c in step.constants if c is not None and c.ndim), default=1)
    found = []
    for first in range(0, count, _ROWS):
        rows = np.arange(first, min(first + _ROWS, count))
        with np.errstate(all="ignore"):
            line = line_of(np.atleast_2d(step([PROBE[None]], rows)), level=True)
        if line is None:
            return None
        found.append(line)
    slopes, offsets = zip(*found, strict=True)
    return np.concatenate(slopes), np.concatenate(offsets)


def _terms(
    signals: Signals, made: _Factors, codes: Codes, ways: dict[int, tuple[int, Any, Any]]
) -> _Terms | None:
    """Return the terms of a sum by where they lie in a product."""
    owner = signals.places(codes >> SHIFT)
    scale, shift, moved = np.ones(codes.shape), np.zeros(codes.shape), codes.copy()
    for place, (away, slope, offset) in ways.items():
        mine = owner == place
        row = (codes[mine] >> SHIFT) - signals.at(place).base
        scale[mine] = slope[row] if len(slope) > 1 else slope
        shift[mine] = offset[row] if len(offset) > 1 else offset
        moved[mine] -= np.int64(away) << SHIFT
    whole = made.codes.reshape(-1)
    if moved.size == whole.size and bool((moved.reshape(-1) == whole).all()):
        at: NDArray[np.int64] = np.arange(whole.size)
    else:
        order = np.argsort(whole, kind="stable")
        found = np.searchsorted(whole[order], moved.reshape(-1))
        at = np.asarray(order[np.minimum(found, whole.size - 1)])
        if not bool((whole[at] == moved.reshape(-1)).all()):
            return None
    at = at.reshape(codes.shape)
    entries = np.arange(made.weight.numel()).reshape(tuple(made.weight.shape))
    assert made.x.codes is not None
    wide = [np.broadcast_to(a, made.codes.shape).reshape(-1)[at] for a in (entries, made.x.codes)]
    return _Terms(at, wide[0], wide[1], scale, shift)


def _same_along(array: NDArray[Any], axis: int) -> bool:
    return bool((array == array.take([0], axis)).all())
