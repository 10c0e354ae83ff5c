"""Elementwise operators of torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...network import Join, Norm, Pairwise, RangeRule, Scaled, Unknown
from ..flow import Codes, Operand, Step
from ..flow.normed import centred, normalised
from ..flow.pointwise import pointwise
from ..tables import words
from .call import AtenOperator, Call, Slot, numbers

if TYPE_CHECKING:
    from .run import Run

__all__ = ["converted", "elementwise", "masked", "step_maker"]

#: Functions that never fall, or never rise, of their one operand.
_MONOTONE = words(
    """
    relu leaky_relu elu selu celu sigmoid hardsigmoid tanh hardtanh softplus
    log_sigmoid_forward atan asinh sinh exp expm1 exp2 erf sign floor ceil round trunc clamp
    clamp_min clamp_max relu6 threshold softsign neg add sub rsub maximum minimum _to_copy
    positive hardshrink softshrink gt lt ge le
    """
)


def elementwise(run: Run, call: Call) -> Codes | None:
    """Report an elementwise operator."""
    if call.name == "_to_copy" and _keeps(call):
        (x,) = (call.operand(t) for t in call.tensors)
        return None if x.codes is None else x.codes.copy()
    written = call.kwargs.get("out")
    kwargs = {k: v for k, v in call.kwargs.items() if k != "out"}
    arrays: list[Any] = []

    def slotted(value: Any) -> Any:
        if isinstance(value, run.torch.Tensor):
            if value is written:
                return value
            arrays.append(value)
            return Slot(len(arrays) - 1)
        if isinstance(value, list | tuple):
            return type(value)(slotted(v) for v in value)
        return value

    args = slotted(tuple(call.args))
    kwargs = {k: slotted(v) for k, v in kwargs.items()}
    for key in ("dtype", "layout", "device", "pin_memory", "memory_format", "non_blocking"):
        if key != "dtype" or call.name != "_to_copy":
            kwargs.pop(key, None)
    name = call.name
    operator: Any = AtenOperator(name, args, kwargs)
    operands = [call.operand(t) for t in arrays]
    if name == "where" and len(arrays) == 3:
        moved = _chosen(run, call, operands)
        if moved is not None:
            return moved
    several = sum(x.codes is not None for x in operands) > 1
    norm, known = _known(run, call, operands)
    rule = _rule(call)
    return pointwise(
        run.flow,
        name.strip("_"),
        operands,
        call.shape,
        step_maker(name, operator, several, bool(arrays) and call.dynamic(arrays[0])),
        lambda rules: replace(norm, operands=tuple(rules)) if norm else rule(rules),
        Operand(None, lambda: numbers(call.out)),
        **known,
    )


def _known(run: Run, call: Call, operands: list[Operand]) -> tuple[Norm | None, dict[str, Any]]:
    """Return the norm that an operator is the last step of, and what else is known of it."""
    codes = [c for c in (x.codes for x in operands) if c is not None]
    if len(operands) != 2 or len(codes) != 2:
        return None, {}
    x, y = codes
    if call.name == "sub" and call.shape == x.shape:
        traits = centred(run.flow, x, y)
        return None, {"traits": traits} if traits else {}
    if call.name not in ("mul", "div"):
        return None, {}
    pairs = [(x, y), (y, x)] if call.name == "mul" else [(x, y)]
    for a, b in pairs:
        norm = normalised(run.flow, a, b, call.name == "div")
        if norm is not None:
            return norm, {}
    return None, {}


def step_maker(name: str, operator: Any, several: bool, first: bool) -> Any:
    """Return what makes the step of an operator."""
    monotone = not several and (
        name in _MONOTONE or name == "mul" or (name == "div" and bool(first))
    )

    def made(constants: tuple[NDArray[Any] | None, ...]) -> Step:
        return Step(name.strip("_"), operator, constants, monotone, _numbers(operator, constants))

    return made


def _numbers(operator: Any, constants: tuple[NDArray[Any] | None, ...]) -> str:
    """Return the numbers that an operator takes beside signals, as they are written."""
    if not isinstance(operator, AtenOperator) or operator.name == "_to_copy":
        return ""
    found: list[str] = []
    for value in (*operator.args, *operator.kwargs.values()):
        if isinstance(value, Slot):
            constant = constants[value.index]
            value = None if constant is None or constant.ndim else constant.item()
            if value is None:
                continue
        if value is None:
            found.append("none")
        elif isinstance(value, str):
            found.append(value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            # 0.3 that went through single precision is 0.3 again.
            short = f"{value:.7g}"
            found.append(short if abs(float(short) - value) <= 6e-8 * abs(value) else repr(value))
    while found and found[-1] == "none":
        found.pop()
    return ", ".join(found)


def converted(run: Run, call: Call, source: Any) -> Codes | None:
    """Report that a tensor is written into one of another kind of numbers."""
    operator = AtenOperator("_to_copy", (Slot(0),), {"dtype": call.out.dtype})
    return pointwise(run.flow, "to", [call.operand(source)], call.shape,
                     step_maker("_to_copy", operator, False, True), lambda r: r[0])  # fmt: skip


def masked(run: Run, call: Call, mask: Any, value: Any) -> Codes | None:
    """Report that a number is written wherever a mask of the same shape says so."""
    x = call.operand(call.args[0])
    operator = AtenOperator("where", (Slot(1), Slot(2), Slot(0)), {})
    return pointwise(run.flow, "where", [x, call.operand(mask), call.operand(value)], call.shape,
                     step_maker("where", operator, True, True), lambda _: Unknown())  # fmt: skip


def _keeps(call: Call) -> bool:
    """Return whether a change of type keeps the numbers."""
    source = call.tensors[0]
    return bool(source.is_floating_point() and call.out.is_floating_point())


def _chosen(run: Run, call: Call, operands: list[Operand]) -> Codes | None:
    """Return the codes of a choice by a condition that no chosen signal is in; else None."""
    condition, a, b = operands
    if a.codes is None and b.codes is None:
        return None  # two constants: a step of the condition
    if condition.codes is not None:
        decides = run.flow.marks(condition.codes)
        for x in (a, b):
            if x.codes is not None and decides & run.flow.marks(x.codes, False):
                return None
        run.flow.event("where", [condition], (1,), lambda _: Unknown(), always=True)
    where = np.broadcast_to(np.asarray(condition.read(), dtype=bool), call.shape)
    chosen = [
        np.broadcast_to(np.int64(-1) if x.codes is None else x.codes, call.shape) for x in (a, b)
    ]
    return np.where(where, *chosen)


def _rule(call: Call) -> Callable[[list[RangeRule]], RangeRule]:
    """Return what makes the range of what joins several signals.

    It lives as long as the run does, and so holds nothing of the call: tensors least of all.
    """
    name = call.name
    if name in ("add", "sub"):
        alpha = call.given(2, "alpha", 1) if not call.tensors[2:] else 1
        return lambda r: Pairwise(name, operands=(r[0], _times(alpha, r[1])))
    if name == "rsub":
        return lambda r: Pairwise("sub", operands=(r[1], r[0]))
    if name in ("mul", "div", "maximum", "minimum"):
        return lambda r: Pairwise(name, operands=(r[0], r[1]))
    if name in ("fmax", "fmin"):
        return lambda r: Pairwise(f"{name[1:]}imum", operands=(r[0], r[1]))
    if name == "where":
        return lambda r: Join(True, operands=tuple(r[1:]))
    if name == "addcmul":
        value = call.kwargs.get("value", 1)
        return lambda r: Pairwise(
            "add", operands=(r[0], _times(value, Pairwise("mul", operands=(r[1], r[2]))))
        )
    if name == "lerp":
        return lambda r: Join(True, operands=(r[0], r[1]))
    return lambda _: Unknown()


def _times(factor: Any, rule: RangeRule) -> RangeRule:
    return rule if factor == 1 else Scaled(factor, operands=(rule,))
