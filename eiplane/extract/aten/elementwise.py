"""Elementwise operators of torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...network import Join, Known, RangeRule, Unknown
from ..flow import Codes, Operand, Step
from ..flow.combined import chosen, combined_rule, known_norm
from ..flow.pointwise import pointwise
from ..flow.rounding import rounded
from ..tables import words
from .call import AtenOperator, Call, Slot, numbers
from .complexes import is_complex, on_complex
from .tensors import filled_names

if TYPE_CHECKING:
    from .run import Run

__all__ = ["UNTAGGED", "converted", "elementwise", "kept", "masked", "step_maker"]

#: Elementwise without bearing the tag: some in any version of torch, some in 2.0.
UNTAGGED = words(
    """
    masked_fill _prelu_kernel hardswish floor_divide heaviside _to_copy relu6 log_sigmoid_forward
    copysign where complex polar
    celu elu hardshrink hardsigmoid hardtanh isfinite isinf leaky_relu mish rad2deg selu silu
    softplus softshrink threshold
    """
)

#: Functions that never fall, or never rise, of their one operand.
_MONOTONE = words(
    """
    relu selu sigmoid hardsigmoid tanh hardtanh softplus
    log_sigmoid_forward atan asinh sinh exp expm1 exp2 erf sign floor ceil round trunc clamp
    clamp_min clamp_max relu6 softsign neg add sub rsub maximum minimum _to_copy
    positive hardshrink softshrink gt lt ge le
    """
)


def elementwise(run: Run, call: Call) -> Codes | None:
    """Report an elementwise operator."""
    if is_complex(call):
        return on_complex(run, call)
    if call.name == "_to_copy" and _keeps(call):
        return kept(run, call, call.tensors[0])
    filled = filled_names(call.func)
    kwargs = {k: v for k, v in call.kwargs.items() if k not in filled}
    arrays: list[Any] = []

    def slotted(value: Any) -> Any:
        if isinstance(value, run.torch.Tensor):
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
    operator: Any = AtenOperator(name, args, kwargs, "".join(map(_kind, arrays)))
    operands = [call.operand(t) for t in arrays]
    choice = _choice(name, args, operands)
    if choice:
        moved = chosen(run.flow, choice, call.shape)
        if moved is not None:
            return moved
    several = sum(x.codes is not None for x in operands) > 1
    # A sum with a multiple is no plain one: no part of a norm, no mixture.
    what = name.strip("_") if kwargs.get("alpha", 1) == 1 else f"{name} of a multiple"
    norm, known = known_norm(run.flow, what, operands, call.shape)
    rule = _rule(call)
    made = pointwise(
        run.flow,
        what,
        operands,
        call.shape,
        step_maker(name, operator, several, bool(arrays) and call.dynamic(arrays[0])),
        lambda rules: replace(norm, operands=tuple(rules)) if norm else rule(rules),
        Operand(None, lambda: numbers(call.out)),
        **known,
    )
    run.written.product(call, made)
    return made


def kept(run: Run, call: Call, source: Any) -> Codes | None:
    """Report that floats go from one type to another."""
    codes = call.operand(source).codes
    if codes is None:
        return None
    before, after = (float(run.torch.finfo(t.dtype).eps) for t in (source, call.out))
    return rounded(run.flow, np.broadcast_to(codes, call.shape), before, after)


def _choice(name: str, args: Any, operands: list[Operand]) -> list[Operand]:
    """Return a condition, what is taken where it holds and where not; nothing for another kind."""
    if name == "where" and len(operands) == 3:
        return operands
    if name != "masked_fill" or len(args) < 3:
        return []
    value = args[2]
    constant = Operand(None, lambda: np.asarray(value, dtype=np.float64))
    filled = operands[value.index] if isinstance(value, Slot) else constant
    return [operands[args[1].index], filled, operands[args[0].index]]


def _kind(tensor: Any) -> str:
    if tensor.is_floating_point() or tensor.is_complex():
        return "f"
    return "b" if "bool" in str(tensor.dtype) else "i"


def step_maker(name: str, operator: Any, several: bool, first: bool) -> Any:
    """Return what makes the step of an operator."""
    truth = isinstance(operator, AtenOperator) and "b" in operator.kinds
    monotone = (
        not several
        and not truth
        and (name in _MONOTONE or name == "mul" or (name == "div" and bool(first)))
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


def _rule(call: Call) -> Callable[[list[RangeRule]], RangeRule]:
    """Return what makes the range of what joins several signals.

    It lives as long as the run does, and so holds nothing of the call: tensors least of all.
    """
    name, scale = call.name, 1.0
    if "bool" in str(call.out.dtype):
        return lambda _: Known(0.0, 1.0)
    filled = call.given(2, "value")
    if name == "masked_fill" and isinstance(filled, int | float):
        value = float(filled)
        return lambda rules: Join(True, operands=(rules[0], Known(value, value)))
    if name in ("add", "sub"):
        scale = call.given(2, "alpha", 1) if not call.tensors[2:] else 1
    elif name in ("addcmul", "addcdiv"):
        scale = call.kwargs.get("value", 1)
    elif name == "lerp" and not call.tensors[2:]:
        scale = float(call.given(2, "weight"))
    return lambda rules: combined_rule(name, rules, scale)
