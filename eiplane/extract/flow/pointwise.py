"""Elementwise operators: functions of one signal, or what joins several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...network import Mixture, Pairwise, RangeRule
from .flow import Flow
from .signals import PYTHON, SHIFT, Codes, Operand, Value
from .steps import Step

__all__ = ["pointwise", "scaled"]

MakeStep = Callable[[tuple[NDArray[Any] | None, ...]], Step]
MakeRule = Callable[[list[RangeRule]], RangeRule]


def pointwise(
    flow: Flow,
    name: str,
    operands: Sequence[Operand],
    shape: Sequence[int],
    make: MakeStep,
    rule: MakeRule,
    out: Operand | None = None,
    **known: Any,
) -> Codes | None:
    """Report an elementwise operator.

    Parameters
    ----------
    flow : Flow
    name : str
    operands : sequence of Operand
        The arrays that it takes, constants included; they broadcast to the shape.
    shape : sequence of int
        Of the result.
    make : callable
        Makes the step from its constants (None for an operand, a single number, or a number for
        each row).
    rule : callable
        Makes the rule of the result where it joins several signals.
    out : Operand, optional
        The result, without codes: a sum of linear maps may be one itself.

    Returns
    -------
    ndarray of int64 or None
        Codes of the result; None if it is a constant.
    """
    shape = tuple(shape)
    operands = [_normal(x) for x in operands]
    if all(x.codes is None for x in operands):
        return None
    wide = [None if x.codes is None else np.broadcast_to(x.codes, shape) for x in operands]
    if 0 in shape:
        return np.full(shape, -1, dtype=np.int64)
    values = [flow.signals.alone(c) for c in wide]
    if all(c is None or v is not None for c, v in zip(wide, values, strict=True)):
        found = _function(flow, operands, wide, values, shape, make)
        if found is not None:
            return found
        known_of = any(v is not None and v.origin.what != PYTHON for v in values)
        axis = _copies(operands, wide, shape) if known_of else None
        if axis is not None:
            return _apart(flow, name, operands, wide, shape, make, rule, axis)
        mixed = flow.mixtures.found(name, operands)
        if mixed is not None:
            return flow.combine("a mixture", mixed, shape, lambda r: Mixture(operands=tuple(r)))
        step = None if out is None else _joining(operands, make)
        made = flow.combine(name, operands, shape, rule, step, out, **known)
        flow.mixtures.hear(name, operands, made)
        return made
    return _mixed(flow, name, operands, wide, shape, make, rule, out, known)


def _joining(operands: Sequence[Operand], make: MakeStep) -> Step | None:
    """Return the operator of several signals, if all that is constant in it are single numbers."""
    constants: list[NDArray[Any] | None] = []
    for x in operands:
        numbers = None if x.codes is not None else np.asarray(x.read())
        if numbers is not None and numbers.size != 1:
            return None
        constants.append(None if numbers is None else numbers.reshape(()))
    return make(tuple(constants)) if constants.count(None) > 1 else None


def scaled(
    flow: Flow,
    name: str,
    x: Operand,
    shape: Sequence[int],
    scale: NDArray[Any],
    shift: NDArray[Any],
) -> Codes | None:
    """Report a scale and a shift for each channel (axis 1), such as a frozen batch norm.

    Parameters
    ----------
    flow : Flow
    name : str
    x : Operand
    shape : sequence of int
        Of the result.
    scale, shift : ndarray, shape (channels,)

    Returns
    -------
    ndarray of int64 or None
        Codes of the result.
    """
    sides = (-1, *(1,) * (len(shape) - 2))
    operands = [x, *(Operand(None, lambda a=a: a.reshape(sides)) for a in (scale, shift))]  # type: ignore[misc]

    def rule(rules: list[RangeRule]) -> RangeRule:
        product = Pairwise("mul", operands=(rules[0], rules[1]))
        return Pairwise("add", operands=(product, rules[2]))

    def make(constants: tuple[NDArray[Any] | None, ...]) -> Step:
        return Step(name, _scale_and_shift, constants, True)

    return pointwise(flow, name, operands, shape, make, rule)


def _scale_and_shift(arrays: list[NDArray[Any]]) -> NDArray[Any]:
    result: NDArray[Any] = arrays[0] * arrays[1] + arrays[2]
    return result


def _normal(x: Operand) -> Operand:
    if x.codes is not None and x.codes.size and int(x.codes.max()) < 0:
        return replace(x, codes=None)
    return x


def _function(
    flow: Flow,
    operands: Sequence[Operand],
    wide: Sequence[Codes | None],
    values: Sequence[Value | None],
    shape: tuple[int, ...],
    make: MakeStep,
) -> Codes | None:
    """Return the codes of a function of one signal; None if it is not."""
    signals = [(c, v) for c, v in zip(wide, values, strict=True) if c is not None and v is not None]
    codes, value = signals[0]
    for other, second in signals[1:]:
        if second.origin is not value.origin:
            return None
        if not bool((other - codes == (second.base - value.base) << SHIFT).all()):
            return None
    constants: list[NDArray[Any] | None] = []
    rows = None
    for x, c in zip(operands, wide, strict=True):
        if c is not None:
            constants.append(None)
            continue
        numbers = np.asarray(x.read())
        if numbers.size == 1:
            constants.append(numbers.reshape(()))
            continue
        if rows is None:
            rows = ((codes >> SHIFT) - value.base).reshape(-1)
        each = np.broadcast_to(numbers, shape).reshape(-1)
        by_row = np.full(value.rows, each[0], dtype=each.dtype)
        by_row[rows] = each
        if not _same(by_row[rows], each):
            return None
        constants.append(by_row)
    made = flow.signals.apply(make(tuple(constants)), tuple(v for _, v in signals))
    return codes + ((made.base - value.base) << SHIFT)


#: Functions that one entry is taken apart into, at most.
_MOST = 64


def _copies(
    operands: Sequence[Operand], wide: Sequence[Codes | None], shape: tuple[int, ...]
) -> int | None:
    """Return an axis along which the one signal stands several times, each with its constant."""
    if sum(c is not None for c in wide) != 1:
        return None
    (codes,) = (c for c in wide if c is not None)
    constants = [np.asarray(x.read()) for x, c in zip(operands, wide, strict=True) if c is None]
    for axis in reversed(range(len(shape))):
        back = axis - len(shape)
        varies = any(c.ndim >= -back and c.shape[back] > 1 for c in constants)
        if not 1 < shape[axis] <= _MOST or not varies:
            continue
        first = codes.take([0], axis)
        if codes.strides[axis] == 0 or bool((codes == first).all()):
            return axis
    return None


def _apart(
    flow: Flow,
    name: str,
    operands: Sequence[Operand],
    wide: Sequence[Codes | None],
    shape: tuple[int, ...],
    make: MakeStep,
    rule: MakeRule,
    axis: int,
) -> Codes:
    """Report an operator for each of some constants."""
    made = []
    for k in range(shape[axis]):
        parts = []
        for x, codes in zip(operands, wide, strict=True):
            mine: Any = None if codes is None else codes.take(k, axis)
            parts.append(Operand(mine, _slice(x, shape, k, axis), x.precision))
        rest = shape[:axis] + shape[axis + 1 :]
        found = pointwise(flow, name, parts, rest, make, rule)
        assert found is not None
        made.append(found)
    return np.stack(made, axis)


def _slice(x: Operand, shape: tuple[int, ...], k: int, axis: int) -> Callable[[], NDArray[Any]]:
    def read() -> NDArray[Any]:
        numbers = np.asarray(x.read())
        return numbers if numbers.size == 1 else np.broadcast_to(numbers, shape).take(k, axis)

    return read


def _same(a: NDArray[Any], b: NDArray[Any]) -> bool:
    if a.dtype.kind in "fc":
        return bool(((a == b) | ((a != a) & (b != b))).all())
    return bool((a == b).all())


def _mixed(
    flow: Flow,
    name: str,
    operands: Sequence[Operand],
    wide: Sequence[Codes | None],
    shape: tuple[int, ...],
    make: MakeStep,
    rule: MakeRule,
    out: Operand | None,
    known: dict[str, Any],
) -> Codes:
    """Take arrays that hold several values, or constants too, apart."""
    key = np.zeros(shape, np.int64)
    for codes in wide:
        if codes is not None:
            places = np.where(codes < 0, -1, flow.signals.places(codes >> SHIFT)) + 1
            each, place = np.unique(places, return_inverse=True)
            key = key * len(each) + place.reshape(shape)
    result = np.full(shape, -1, dtype=np.int64)
    for case in np.unique(key).tolist():
        where = key == case
        parts = []
        for x, codes in zip(operands, wide, strict=True):
            mine = None if codes is None else codes[where]
            if mine is not None and mine[0] < 0:
                mine = None
            parts.append(Operand(mine, _picked(x, where, shape), x.precision))
        if all(p.codes is None for p in parts):
            continue
        mine = None if out is None else Operand(None, _picked(out, where, shape), out.precision)
        made = pointwise(flow, name, parts, (int(where.sum()),), make, rule, mine, **known)
        assert made is not None
        result[where] = made
    return result


def _picked(
    x: Operand, where: NDArray[np.bool_], shape: tuple[int, ...]
) -> Callable[[], NDArray[Any]]:
    def read() -> NDArray[Any]:
        numbers = np.asarray(x.read())
        return numbers if numbers.size == 1 else np.broadcast_to(numbers, shape)[where]

    return read
