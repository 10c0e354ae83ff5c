"""Entries that are taken, and written back, where a condition on themselves holds.

``h[h < 0] *= 0.1`` is a function of each entry of h alone: what is taken is followed as a function
that is known in part, and is one of all numbers again when it is written back by the same mask.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...network import Unknown
from ..flow import Codes, Operand, Step
from ..flow.pointwise import pointwise
from ..flow.signals import ENTRY, SHIFT
from .call import AtenOperator, Call, Slot
from .elementwise import step_maker

if TYPE_CHECKING:
    from .run import Run

__all__ = ["nonzero", "taken", "written"]


@dataclass(frozen=True)
class _Selected:
    """What it is given; those of some mask."""

    token: str

    def __call__(self, arrays: list[NDArray[Any]]) -> NDArray[Any]:
        return arrays[0]


def nonzero(run: Run, call: Call) -> Codes:
    """Report the places where a condition holds."""
    x = call.operand(call.args[0])
    assert x.codes is not None
    condition = np.asarray(x.read()) != 0
    traits = {"mask_of": (x.codes.copy(), condition)}
    return run.flow.event("places", [x], call.shape, lambda _: Unknown(), traits=traits)


def _mask(run: Run, call: Call) -> Operand | None:
    """Return the condition that an index stands for: a mask, or the places where one holds."""
    shape, indices = tuple(call.args[0].shape), call.args[1]
    if any(t is None or not call.dynamic(t) for t in indices):
        return None
    first = indices[0]
    if len(indices) == 1 and "bool" in str(first.dtype):
        return call.operand(first) if tuple(first.shape) == shape else None
    operands = [call.operand(t) for t in indices]
    origins = {id(o): o for x in operands for o in run.flow.signals.origins_in(x.codes)}
    found = [o.traits.get("mask_of") for o in origins.values()]
    if len(found) != 1 or found[0] is None or found[0][0].shape != shape:
        return None
    codes, condition = found[0]
    places = [np.asarray(x.read()) for x in operands]
    wanted = np.nonzero(condition)
    if len(places) != len(wanted):
        return None
    same = all(np.array_equal(p, w) for p, w in zip(places, wanted, strict=True))
    return Operand(codes, lambda: condition) if same else None


def taken(run: Run, call: Call) -> Codes | None:
    """Return the codes of entries that are taken by a condition on them; None of others."""
    x, mask = call.operand(call.args[0]), _mask(run, call)
    if x.codes is None or mask is None or mask.codes is None:
        return None
    signals = run.flow.signals
    value, condition = signals.alone(x.codes), signals.alone(mask.codes)
    if value is None or condition is None or not _of_each(x.codes, mask.codes, value, condition):
        return None
    step = Step("selected", _Selected(f"selected {condition.base}"), (None,), keeps=True)
    made = signals.apply(step, (value,))
    holds = np.array(mask.read(), dtype=bool)
    made.mask = Operand(mask.codes.copy(), lambda: holds)
    whole = x.codes + ((made.base - value.base) << SHIFT)
    found: Codes = whole[holds]
    return found


def _of_each(codes: Codes, others: Codes, value: Any, second: Any) -> bool:
    """Return whether two arrays hold functions of the same entries."""
    same = value.origin is second.origin and codes.shape == others.shape
    return same and bool(((codes & ENTRY) == (others & ENTRY)).all())


def written(run: Run, call: Call) -> Codes | None:
    """Return the codes of an array in which some entries were written; None if not by themselves.

    What is written is a number, or what was made of those entries that the same mask has taken.
    """
    base, mask, new = call.operand(call.args[0]), _mask(run, call), call.args[2]
    if mask is None or mask.codes is None:
        return None
    signals, source = run.flow.signals, call.operand(new)
    condition = signals.alone(mask.codes)
    if condition is None:
        return None
    if base.codes is not None:
        value = signals.alone(base.codes)
        if value is None or not _of_each(base.codes, mask.codes, value, condition):
            return None
    elif source.codes is None:
        return None  # constants, of which a signal chooses: as any other
    if source.codes is not None:
        made = signals.alone(source.codes)
        if made is None or made.mask is None or made.origin is not condition.origin:
            return None
        if made.mask.codes is None or not np.array_equal(made.mask.codes, mask.codes):
            return None
        whole = mask.codes + ((made.base - condition.base) << SHIFT)
        if not np.array_equal(whole[np.asarray(mask.read(), dtype=bool)], source.codes):
            return None
        source = Operand(whole, source.read, source.precision)
    elif new.numel() != 1:
        return None
    # A function of one entry it has to be: of what was not taken no numbers are there to be read.
    start = len(signals.origins)
    operator = AtenOperator("where", (Slot(1), Slot(2), Slot(0)), {})
    if base.codes is None:
        shown = np.asarray(base.read())
        if shown.size == 0 or not bool((shown == shown.flat[0]).all()):
            return None
        base = Operand(None, lambda: shown.reshape(-1)[:1].reshape(()), base.precision)
    codes = pointwise(run.flow, "where", [base, mask, source], call.shape,
                      step_maker("where", operator, True, True), lambda _: Unknown())  # fmt: skip
    assert len(signals.origins) == start and codes is not None
    closed = signals.alone(codes)
    assert closed is not None
    closed.mask = None
    return codes
