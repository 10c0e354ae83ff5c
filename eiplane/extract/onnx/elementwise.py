"""Elementwise nodes, quantisation to a grid among them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ...network import RangeRule
from ..flow import Codes, Operand, Step
from ..flow.combined import chosen, combined_rule, known_norm
from ..flow.pointwise import pointwise
from .call import Call, is_float
from .functions import FUNCTIONS, MONOTONE, NodeFunction, in_double

if TYPE_CHECKING:
    from .run import Run

__all__ = ["ELEMENTWISE", "elementwise"]

#: What joins several signals, by the names that it has elsewhere.
_JOINS = {"Add": "add", "Sum": "add", "Sub": "sub", "Mul": "mul", "Div": "div",
          "Max": "maximum", "Min": "minimum", "Where": "where"}  # fmt: skip


def elementwise(run: Run, call: Call) -> Codes | None:
    """Report an elementwise node."""
    kind = call.kind
    operands = [t.operand() for t in call.inputs if t is not None]
    attributes = {
        k: in_double(v) if isinstance(v, float) else v for k, v in call.attributes.items()
    }
    if kind == "Where":
        moved = chosen(run.flow, operands, call.shape)
        if moved is not None:
            return moved
    given = tuple(t is not None for t in call.inputs)
    return _reported(run, call, operands, NodeFunction(kind, attributes, given))


def _reported(
    run: Run, call: Call, operands: list[Operand], function: NodeFunction
) -> Codes | None:
    several = sum(x.codes is not None for x in operands) > 1
    first = operands[0].codes is not None
    monotone = not several and (function.kind in MONOTONE or (function.kind == "Div" and first))
    joins = _JOINS.get(function.kind, function.kind)
    norm, known = known_norm(run.flow, joins, operands, call.shape)

    def rule(rules: list[RangeRule]) -> RangeRule:
        return replace(norm, operands=tuple(rules)) if norm else combined_rule(joins, rules)

    return pointwise(
        run.flow, function.kind, operands, call.shape,
        lambda constants: Step(function.kind, function, constants, monotone), rule,
        Operand(None, lambda: np.asarray(call.outs[0])), **known,
    )  # fmt: skip


def _cast(run: Run, call: Call) -> Codes | None:
    """A change of type: between numbers with a point it keeps them."""
    x = call.tensor(0)
    if is_float(x.value.dtype) and is_float(call.out.dtype):
        codes = x.codes
        return None if codes is None else codes.copy()
    target = np.dtype(np.float64) if is_float(call.out.dtype) else call.out.dtype
    return _reported(run, call, [x.operand()], NodeFunction("Cast", {"dtype": target}))


#: Least and greatest of what is no NumPy integer: a name of a type to them.
_SMALL = {"int4": (-8, 7), "uint4": (0, 15), "int2": (-2, 1), "uint2": (0, 3)}


def _bounds(dtype: Any) -> tuple[int, int] | None:
    if dtype.kind in "iu":
        return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    return _SMALL.get(dtype.name)


def _quantise(run: Run, call: Call) -> Any:
    """To a grid, and back: numbers on it are those of a staircase."""
    quantised = call.out.dtype if call.kind == "QuantizeLinear" else call.value(0).dtype
    bounds = _bounds(quantised)
    if bounds is None or any(call.dynamic(k) for k in (1, 2)) or not call.dynamic(0):
        return NotImplemented
    if call.attributes.get("block_size", 0):
        return NotImplemented
    rank = call.value(0).ndim
    axis = int(call.attributes.get("axis", 1))
    operands = [call.operand(0)]
    for k in (1, 2):
        if call.has(k):
            shown = call.value(k).astype(np.float64)
            if shown.size > 1:
                sides = [1] * rank
                sides[axis] = shown.size
                shown = shown.reshape(sides)
            else:
                shown = shown.reshape(())
            operands.append(Operand(None, lambda shown=shown: shown))  # type: ignore[misc]
    function = NodeFunction(
        call.kind, {"low": bounds[0], "high": bounds[1]}, (True,) * len(operands)
    )
    return _reported(run, call, operands, function)


ELEMENTWISE: dict[str, Any] = {
    **dict.fromkeys(FUNCTIONS, elementwise),
    "Cast": _cast,
    "CastLike": lambda run, call: _cast(run, call),
    "QuantizeLinear": _quantise,
    "DequantizeLinear": _quantise,
}
