"""Linear maps of one input that are summed: together they are one linear map, as LoRA's are.

A sum of several signals is a map too if each of them is an affine function of a linear map's
outputs, all those maps take the same array, and what is added comes from the same places of it.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arrays import plain
from .recognise import affine
from .signals import ENTRY, SHIFT, Before, Codes, Map, Origin, Signals, Value
from .steps import Step

__all__ = ["is_term", "known_input", "settle", "summed"]

Array = NDArray[np.float64]
Places = NDArray[np.int64]

#: Entries of a merged weight, at most.
_MOST = 1 << 25

#: Operators that keep an affine function affine.
_AFFINE = frozenset(["add", "sub", "rsub", "mul", "div", "neg", "batch_norm", "positive"])


@dataclass(frozen=True, eq=False)
class _Form:
    """A map as one of some array that may lie further back than its own input.

    Parameters
    ----------
    lead : Map
        The map that takes the array; it has its numbers.
    build : callable
        Returns weight and bias, of all rows.
    """

    lead: Map
    build: Callable[[], tuple[Array, Array]]


# -- what is known of a map's input -------------------------------------------------------------


@functools.cache
def _multipliers() -> NDArray[np.uint64]:
    return np.random.default_rng(0).integers(0, 1 << 63, 1 << 16, dtype=np.uint64) | np.uint64(1)


def known_input(signals: Signals, made: Map, codes: Codes | None, axis: int, ndim: int) -> None:
    """Note what a map takes.

    Parameters
    ----------
    signals : Signals
    made : Map
    codes : ndarray of int64 or None
    axis : int
        Of the features.
    ndim : int
        Of the output, whose axes are the input's.
    """
    if made.fixed is not None or made.still or codes is None or codes.ndim != ndim:
        return
    if made.conv is not None and made.conv.transposed:
        return
    if made.conv is not None:
        made.straight = signals.straight(codes, axis)
    flat = np.moveaxis(codes, axis, -1).reshape(-1, codes.shape[axis])
    made.taken = (*codes.shape, _digest(flat))
    made.before = _before(signals, flat)
    made.kernel = tuple(int(n) for n in made.weight.shape[2:])
    made.width = int(codes.shape[axis])


def _digest(codes: Codes) -> int:
    flat = np.ascontiguousarray(codes).reshape(-1).view(np.uint64)
    factors, found = _multipliers(), 0
    for start in range(0, len(flat), len(factors)):
        part = flat[start : start + len(factors)]
        found = (found * 0x9E3779B97F4A7C15 + int((part * factors[: len(part)]).sum())) % (1 << 64)
    return found


def _place(origin: Origin, entries: NDArray[np.int64]) -> Places:
    """Return where entries of a map's outputs lie, whatever row they are of."""
    inner = int(origin.traits["inner"])
    places: Places = entries // (origin.rows * inner) * inner + entries % inner
    return places


def _before(signals: Signals, codes: Codes) -> Before | None:
    """Return the map that an input comes from straight, if one does.

    Parameters
    ----------
    signals : Signals
    codes : ndarray of int64, shape (places, features)
    """
    if codes.size == 0 or int(codes.min()) < 0:
        return None
    value = signals.of(int(codes.flat[0]) >> SHIFT)
    if value.origin.map is None or "inner" not in value.origin.traits or not _is_plain(value):
        return None
    rows = (codes[0] >> SHIFT) - value.base
    if rows.min() < 0 or rows.max() >= value.rows:
        return None
    if not bool(((codes >> SHIFT) - value.base == rows).all()):
        return None
    places = _place(value.origin, codes & ENTRY)
    if not bool((places == np.arange(len(codes))[:, None]).all()):
        return None
    return Before(value, rows)


def _is_plain(value: Value) -> bool:
    """Return whether a value's operators may make an affine function of its origin."""
    while value.step is not None and value.parent is not None:
        if value.step.name.lower() not in _AFFINE or len(value.operands) > 1:
            return False
        value = value.parent
    return True


# -- maps of an input further back --------------------------------------------------------------


def _forms(made: Map) -> list[_Form]:
    """Return a map as one of its own input, and of whatever that is a linear map of."""
    lead = made.lead or made
    found = [_Form(lead, lambda: _numbers(made))]
    if lead.before is None or lead.before.value.origin.map is None:
        return found
    line = affine(lead.before.value, lead.before.rows)
    inner = lead.before.value.origin.map
    if line is None or not _composes(lead, inner):
        return found
    rows = lead.before.rows

    def composed(form: _Form) -> Callable[[], tuple[Array, Array]]:
        def build() -> tuple[Array, Array]:
            weight, bias = _numbers(made)
            first, offset = form.build()
            flat = weight.reshape(len(weight), -1)
            kernel = first.shape[1:]
            scaled = (flat * line[0]) @ first[rows].reshape(len(rows), -1)
            return (
                scaled.reshape(len(weight), *kernel),
                bias + flat @ (line[0] * offset[rows] + line[1]),
            )

        return build

    return found + [_Form(f.lead, composed(f)) for f in _forms(inner)]


def _numbers(made: Map) -> tuple[Array, Array]:
    if made.weight is None:
        settle(made)
    weight = np.asarray(plain(made.weight), dtype=np.float64)
    bias = np.zeros(len(weight)) if made.bias is None else np.asarray(plain(made.bias), np.float64)
    groups = 1 if made.conv is None else made.conv.groups
    return (weight if groups == 1 else _ungrouped(weight, groups)), bias


def _ungrouped(weight: Array, groups: int) -> Array:
    """Return a grouped convolution's weight with zeros where a group does not look."""
    n_out, n_in, *kernel = weight.shape
    whole = np.zeros((n_out, groups * n_in, *kernel))
    each = n_out // groups
    for g in range(groups):
        rows = slice(g * each, (g + 1) * each)
        whole[rows, g * n_in : (g + 1) * n_in] = weight[rows]
    return whole


def _composes(outer: Map, inner: Map) -> bool:
    """Return whether one map after the other is one of the same kind as the first."""
    if outer.conv is None or inner.conv is None:
        return outer.conv is inner.conv
    single = all(n == 1 for n in (*outer.weight.shape[2:], *outer.conv.stride))
    plain = not any(outer.padding) and not outer.conv.transposed and not inner.conv.transposed
    return single and plain and len(outer.conv.stride) == len(inner.conv.stride)


# -- sums ----------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Term:
    """A signal of a sum, as a map of the common input."""

    form: _Form
    rows: NDArray[np.int64]
    scale: Array
    shift: Array


def summed(
    signals: Signals,
    step: Step,
    wide: Sequence[Codes],
    numbers: Sequence[NDArray[np.int64]],
    row: NDArray[np.int64],
    out: NDArray[Any],
) -> tuple[Map, int | None] | None:
    """Return the map that a sum of maps of one input is, and how its outputs lie; or None.

    Parameters
    ----------
    signals : Signals
    step : Step
        The operator.
    wide : sequence of ndarray of int64
        Codes of what it takes, all of the result's shape.
    numbers : sequence of ndarray of int64
        The upper halves of the codes that make each row of the result.
    row : ndarray of int64
        The row of each entry of the result.
    out : ndarray
        The result's numbers.

    Returns
    -------
    made : Map
    inner : int or None
        The number of entries of a row that lie side by side; None if rows lie in no order.
    """
    values = []
    for n in numbers:
        value = signals.of(int(n[0]))
        inside = int(n.min()) >= value.base and int(n.max()) < value.base + value.rows
        if not inside or value.origin.map is None or value.origin.map.fixed is not None:
            return None
        known = value.origin.map.taken is not None and "inner" in value.origin.traits
        if not known or not _is_plain(value):
            return None
        values.append(value)
    if all(value.origin is values[0].origin for value in values):
        return None  # one map's outputs, with others of its own: no map beside another
    chosen = _common([value.origin.map for value in values if value.origin.map is not None])
    factors = None if chosen is None else _factors(step, len(values))
    if chosen is None or factors is None:
        return None
    places = [_place(v.origin, c & ENTRY) for v, c in zip(values, wide, strict=True)]
    if not all(bool((p == places[0]).all()) for p in places[1:]):
        return None
    terms = []
    for value, n, form, factor in zip(values, numbers, chosen, factors[0], strict=True):
        rows = n - value.base
        line = affine(value, rows)
        if line is None:
            return None
        terms.append(_Term(form, rows, factor * line[0], factor * line[1]))
    inner = _inner(values, places[0], len(numbers[0]))
    made = _merged([v.origin.map for v in values], terms, factors[1], places[0], row, out)
    return None if made is None else (made, inner)


def _inner(values: Sequence[Value], places: Places, rows: int) -> int | None:
    """Return how many entries of a row of the result lie side by side, if they do in all rows."""
    inner = int(values[0].origin.traits["inner"])
    entry = np.arange(places.size)
    regular = places.size % (rows * inner) == 0 and bool(
        (places.reshape(-1) == entry // (rows * inner) * inner + entry % inner).all()
    )
    return inner if regular else None


def _common(maps: Sequence[Any]) -> list[_Form] | None:
    """Return the maps as ones of the same array, the nearest that there is."""
    forms = [_forms(made) for made in maps]
    for first in forms[0]:
        chosen = [
            next((f for f in others if f.lead.taken == first.lead.taken), None) for others in forms
        ]
        found = [f for f in chosen if f is not None]
        if len(found) == len(forms) and all(_alike(f.lead, found[0].lead) for f in found):
            return found
    return None


def _alike(a: Map, b: Map) -> bool:
    """Return whether two maps move over their input alike."""
    if a.conv is None or b.conv is None:
        return a.conv is b.conv
    same = (a.conv.stride, a.conv.dilation) == (b.conv.stride, b.conv.dilation)
    single = a.conv.stride == b.conv.stride and (_points(a) or _points(b))
    return (same or single) and not (a.conv.transposed or b.conv.transposed)


def _points(made: Map) -> bool:
    return all(n == 1 for n in made.kernel)


def _factors(step: Step, count: int) -> tuple[Array, float] | None:
    """Return what an operator multiplies each operand with and adds, if that is all it does."""
    rng = np.random.default_rng(0)
    at = np.concatenate([np.zeros((count, 1)), np.eye(count), rng.normal(size=(count, 4))], axis=1)
    with np.errstate(all="ignore"):
        found = np.asarray(step([a[None] for a in at]), dtype=np.float64).reshape(-1)
    if found.shape != (at.shape[1],) or not np.isfinite(found).all():
        return None
    shift, factors = float(found[0]), found[1 : count + 1] - found[0]
    fits = np.allclose(found, factors @ at + shift, rtol=1e-12, atol=1e-12)
    return (factors, shift) if fits and bool(factors.all()) else None


def _merged(
    maps: Sequence[Any],
    terms: list[_Term],
    shift: float,
    places: Places,
    row: NDArray[np.int64],
    out: NDArray[Any],
) -> Map | None:
    lead = max((t.form.lead for t in terms), key=lambda made: math.prod(made.kernel))
    width = lead.width * (1 if lead.conv is None else math.prod(lead.kernel))
    if len(terms[0].rows) * width > _MOST or not _covers(lead, [t.form.lead for t in terms]):
        return None
    digest = hashlib.blake2b(digest_size=8)
    for t in terms:
        for part in (t.rows, t.scale, t.shift):
            digest.update(np.ascontiguousarray(part).tobytes())
    keys = tuple(made.key for made in maps)
    # A part without a name is another one in each run, and so is the sum.
    nameless = next((k[-1] for k in keys if isinstance(k[-1], int)), None)

    def build() -> tuple[NDArray[Any], Array]:
        weight: Any = 0.0
        bias = np.full(len(terms[0].rows), shift)
        for t in terms:
            theirs, offset = t.form.build()
            scale = t.scale.reshape(-1, *(1,) * (theirs.ndim - 1))
            weight = weight + _placed(scale * theirs[t.rows], t.form.lead, lead)
            bias = bias + t.scale * offset[t.rows] + t.shift
        return np.asarray(weight), bias

    conv = None if lead.conv is None else replace(lead.conv, groups=1)
    made = Map(_name(maps), ("sum", keys, digest.hexdigest(), nameless), None, None, conv,
               build=build, lead=lead, parts=tuple(maps))  # fmt: skip
    made.feed, made.constants, made.straight = lead.feed, lead.constants, lead.straight
    made.taken, made.before, made.seen_precision = lead.taken, lead.before, lead.seen_precision
    made.kernel, made.width, made.padding = lead.kernel, lead.width, lead.padding
    if lead.patches is not None and lead.places is not None:
        made.patches, made.places = lead.patches, lead.places
        made.seen = np.full((len(lead.places), len(terms[0].rows)), np.nan)
        flat, rows, given = places.reshape(-1), row.reshape(-1), np.asarray(out).reshape(-1)
        for k, place in enumerate(lead.places.tolist()):
            at = np.flatnonzero(flat == place)
            made.seen[k, rows[at]] = given[at]
    return made


def is_term(origin: Origin) -> bool:
    """Return whether a sum counts for nothing but as a part of a larger one."""
    live = [use.by for use in origin.uses if use.live]
    return bool(live) and all(
        by is not None and by.map is not None and by.map.build is not None for by in live
    )


def settle(made: Map) -> None:
    """Multiply out and add up the weights of a sum of maps."""
    if made.weight is not None or made.build is None:
        return
    weight, bias = made.build()
    wide = any(_bytes(part) > 4 for part in made.parts)
    made.weight = weight if wide else weight.astype(np.float32)
    made.bias = bias if bias.any() else None


def _bytes(made: Map) -> int:
    if made.weight is None:
        settle(made)
    itemsize = getattr(made.weight, "itemsize", None)
    return int(made.weight.element_size() if itemsize is None else itemsize)


def _name(maps: Sequence[Map]) -> str:
    """Return the names of all parts, joined; the first and the last of many."""
    names = [n for made in maps for n in made.name.split("+")]
    return "+".join(names if len(names) <= 4 else [names[0], "...", names[-1]])


def _offsets(made: Map, of: Map) -> list[tuple[int, int]] | None:
    """Return where a kernel begins in a larger one, and the step, along each axis; or None."""
    assert made.conv is not None and of.conv is not None
    found = []
    for k, p, whole, q, d in zip(made.kernel, made.padding, of.kernel, of.padding,
                                 of.conv.dilation, strict=True):  # fmt: skip
        start = q - p
        if start % d or start < 0 or start // d + k > whole:
            return None
        found.append((start // d, k))
    return found


def _covers(lead: Map, others: Sequence[Map]) -> bool:
    """Return whether the kernels of others lie inside that of one map."""
    if lead.conv is None:
        return True
    return all(made is lead or _offsets(made, lead) is not None for made in others)


def _placed(weight: Array, made: Map, lead: Map) -> Array:
    """Return a kernel with zeros around it, where it lies in a larger one."""
    if made is lead or made.conv is None:
        return weight
    offsets = _offsets(made, lead)
    assert offsets is not None
    whole = np.zeros((*weight.shape[:2], *lead.kernel))
    whole[(slice(None), slice(None), *(slice(s, s + k) for s, k in offsets))] = weight
    return whole
