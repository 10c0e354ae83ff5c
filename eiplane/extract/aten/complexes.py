"""Complex numbers: where real ones become such, and what is done to them then.

Functions of layers are real. A signal that is only written as a complex number (or multiplied or
added to by one) goes there as it is; what a function of such a number makes is not followed. Two
that were only written side by side as one are themselves again when they are read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ...network import Unknown
from ..flow import Codes, Operand
from ..flow.signals import ENTRY
from .call import Call

if TYPE_CHECKING:
    from .run import Run

__all__ = ["as_complex", "as_real", "is_complex", "on_complex"]

#: What leaves a signal as it is, but for a complex scale and shift.
_LINEAR = frozenset(["_to_copy", "complex", "mul", "div", "add", "sub", "neg", "view_as_complex"])

_REASON = "its output goes on as complex numbers, which eiplane does not follow"


def is_complex(call: Call) -> bool:
    """Return whether complex numbers go into an operator, or come out."""
    outs = [t for t in call.outs if hasattr(t, "is_complex")]
    return any(t.is_complex() for t in (*call.tensors, *outs))


def on_complex(run: Run, call: Call) -> Codes:
    """Report an elementwise operator that takes or makes complex numbers."""
    operands = [call.operand(t) for t in call.tensors if call.dynamic(t)]
    if call.name == "complex" and len(operands) > 1:
        parts = [np.broadcast_to(cast("Codes", x.codes), call.shape) for x in operands]
        return _paired(run, operands, call, np.stack(parts, -1))
    if len(operands) > 1:
        return run.flow.event(call.name, operands, call.shape, lambda _: Unknown())
    (x,) = operands
    real = _real(run, x)
    if real is None:  # of several signals already
        return run.flow.event(call.name, [x], call.shape, lambda _: Unknown())
    if call.name in _LINEAR:
        assert real.codes is not None
        wide = np.broadcast_to(real.codes, call.shape)
        traits = {"written_as_complex": wide.copy()}
        return run.flow.event(call.name, [real], call.shape, lambda _: Unknown(), traits=traits)
    return run.flow.event(call.name, [real], call.shape, lambda _: Unknown(), unknown=_REASON)


def as_complex(run: Run, call: Call) -> Codes:
    """Report pairs of real numbers that are read as complex ones."""
    x = call.operand(call.args[0])
    assert x.codes is not None
    return _paired(run, [x], call, x.codes)


def as_real(run: Run, call: Call) -> Codes:
    """Return the codes of complex numbers that are read as pairs of real ones."""
    x = call.operand(call.args[0])
    assert x.codes is not None
    value = run.flow.signals.alone(x.codes)
    pairs: Any = None if value is None else value.origin.traits.get("pairs")
    if value is None or pairs is None or pairs[0] != value.base:
        return run.flow.event(call.name, [x], call.shape, lambda _: Unknown())
    found: Codes = pairs[1][x.codes & ENTRY].reshape(call.shape)
    return found


def _paired(run: Run, operands: list[Operand], call: Call, pairs: Codes) -> Codes:
    codes = run.flow.event(call.name, operands, call.shape, lambda _: Unknown())
    value = run.flow.signals.alone(codes)
    if value is not None:
        value.origin.traits["pairs"] = value.base, pairs.reshape(-1, 2).copy()
    return codes


def _real(run: Run, x: Operand) -> Operand | None:
    """Return the signal that complex numbers were written from: each from one; else None."""
    assert x.codes is not None
    if not np.iscomplexobj(x.read()):
        return x
    value = run.flow.signals.alone(x.codes)
    written: Any = None if value is None else value.origin.traits.get("written_as_complex")
    if written is None:
        return None
    return Operand(written.reshape(-1)[x.codes & ENTRY], lambda: x.read().real, x.precision)
