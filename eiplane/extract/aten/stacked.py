"""Sums, extremes and shares over an axis along which the same entry stands several times.

``torch.stack([z, 0.1 * z]).amax(0)`` is a function of each entry of z alone, as the sum over a
basis of functions of it is; a sum of a few linear maps that were stacked is a sum of maps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...network import Pairwise, RangeRule, Unknown
from ..flow import Codes, Operand, Step
from ..flow.copies import of_copies
from ..flow.pointwise import pointwise
from ..flow.signals import ENTRY, SHIFT
from .call import AtenOperator, Call, Slot, numbers
from .elementwise import step_maker

if TYPE_CHECKING:
    from .run import Run

__all__ = ["over_copies"]

#: Entries of an axis that are taken apart, at most; and those that are added up one by one.
_MOST, _FEW = 64, 8

#: Operators along one axis, and those that keep it.
_REDUCING = frozenset(["sum", "mean", "amax", "amin", "max", "min", "prod", "logsumexp",
                       "linalg_vector_norm"])  # fmt: skip
_KEEPING = frozenset(["_softmax", "_log_softmax", "_safe_softmax"])

#: Orders: the axis comes second, or third with the last one for none.
_ORDERS = frozenset(["median", "nanmedian", "mode", "sort"])
_COUNTED = frozenset(["kthvalue", "topk"])


@dataclass(frozen=True, eq=False)
class _AlongCopies:
    """An operator along an axis, of the arrays that stand there."""

    name: str
    rest: tuple[Any, ...]
    taken: int | None

    @property
    def token(self) -> str:
        """What is the same for operators that do the same."""
        return f"{self.name} of copies {self.rest!r} {self.taken}"

    def __call__(self, arrays: list[NDArray[Any]]) -> NDArray[Any]:
        """Return the operator's result."""
        import torch

        wide = np.broadcast_arrays(*(np.asarray(a, dtype=np.float64) for a in arrays))
        with torch.no_grad():
            made = getattr(torch.ops.aten, self.name)(torch.from_numpy(np.stack(wide)), *self.rest)
        made = made[0] if isinstance(made, list | tuple) else made
        found: NDArray[Any] = made.numpy()
        return found if self.taken is None else found[self.taken]


def over_copies(
    run: Run, call: Call, otherwise: Callable[[Run, Call], Any]
) -> list[Codes | None] | Codes | None:
    """Report an operator along an axis.

    Parameters
    ----------
    run : Run
    call : Call
    otherwise : callable
        Reports it where the axis holds different entries.

    Returns
    -------
    ndarray of int64, or a list
        Codes of the result, or of all results.
    """
    axis = _axis(call)
    codes = call.operand(call.args[0]).codes
    kind = ""
    if axis is not None and codes is not None and 1 < codes.shape[axis] <= _MOST and codes.size:
        kind = _kind(run, np.moveaxis(codes, axis, 0))
        if kind == "copies":
            return _function(run, call, axis)
    if call.name in ("sum", "mean"):
        few = kind == "signals" and axis is not None and call.args[0].shape[axis] <= _FEW
        made = run.written.summed(call, matrices=few)
        if made is not None:
            return made
        if few and axis is not None:
            return _sum(run, call, axis)
    made = otherwise(run, call)
    if axis is None or codes is None or not isinstance(made, np.ndarray) or made.size < 2:
        return made  # type: ignore[no-any-return]
    return of_copies(made, codes, [axis])


def _axis(call: Call) -> int | None:
    """Return the one axis that an operator goes along, or None."""
    ndim = call.args[0].ndim
    if call.name == "linalg_vector_norm":
        dims = call.given(2, "dim")
    elif call.name in _COUNTED:
        dims = call.given(2, "dim", -1)
    elif call.name == "sort" and "stable" in call.kwargs:
        dims = call.kwargs.get("dim", -1)
    elif call.name == "sort":
        dims = call.given(1, "dim", -1)
    elif call.name in _KEEPING or call.name in _REDUCING or call.name in _ORDERS:
        dims = call.given(1, "dim")
    else:
        return None
    if isinstance(dims, list | tuple) and len(dims) == 1:
        dims = dims[0]
    return int(dims) % ndim if isinstance(dims, int) and not isinstance(dims, bool) else None


def _kind(run: Run, codes: Codes) -> str:
    """Return ``copies``, ``signals`` or nothing, for what stands along the first axis."""
    line = codes.reshape(len(codes), -1)[:, 0]
    places = run.flow.signals.places(line >> SHIFT)
    origins = [run.flow.signals.at(p).origin.index for p in places.tolist() if p >= 0]
    if len(set(origins)) == len(codes):
        return "signals"
    if len(set(origins)) != 1 or len({int(c & ENTRY) for c in line if c >= 0}) != 1:
        return ""
    # All of it, now that the first ones are: in each place one entry of one origin.
    fixed = codes < 0
    places = np.where(fixed, -1, run.flow.signals.places(codes >> SHIFT))
    each, at = np.unique(places, return_inverse=True)
    owners = np.array(
        [run.flow.signals.at(p).origin.index if p >= 0 else -1 for p in each.tolist()]
    )
    one = (owners[at.reshape(codes.shape)] << SHIFT) | (codes & ENTRY)
    first = np.max(np.where(fixed, -1, one), axis=0)
    return "copies" if bool((fixed | (one == first)).all()) else ""


def _parts(call: Call, axis: int) -> list[Operand]:
    x = call.operand(call.args[0])
    assert x.codes is not None
    turned = np.moveaxis(x.codes, axis, 0)

    def read(k: int) -> NDArray[Any]:
        found: NDArray[Any] = np.moveaxis(np.asarray(x.read()), axis, 0)[k]
        return found

    return [Operand(c, partial(read, k), x.precision) for k, c in enumerate(turned)]


def _function(run: Run, call: Call, axis: int) -> list[Codes | None] | Codes | None:
    """Report a function of the one entry that stands along an axis."""
    parts = _parts(call, axis)
    shape = tuple(n for k, n in enumerate(call.args[0].shape) if k != axis)
    name = call.name.strip("_")
    dim: Any = 0 if call.name in ("max", "min", *_KEEPING, *_ORDERS) else [0]
    rest: tuple[Any, ...] = (dim,)
    kept = len(parts) if call.name in _KEEPING or call.name == "sort" else 0
    if call.name in _KEEPING:
        rest = (0, False)
    elif call.name == "sort":
        rest = (0, bool(call.kwargs.get("descending", call.given(2, "descending", False))))
    elif call.name == "kthvalue":
        rest = (int(call.args[1]), 0)
    elif call.name == "topk":
        kept = int(call.args[1])
        rest = (kept, 0, bool(call.given(3, "largest", True)))
    elif call.name == "prod":
        rest = (0,)
    elif call.name == "linalg_vector_norm":
        rest = (float(call.given(1, "ord", 2)), [0])

    def made(taken: int | None) -> Codes | None:
        def make(constants: tuple[NDArray[Any] | None, ...]) -> Step:
            return Step(name, _AlongCopies(call.name, rest, taken), constants)

        return pointwise(run.flow, name, parts, shape, make, lambda _: Unknown())

    codes: Codes | None
    if kept:
        each = [made(k) for k in range(kept)]
        codes = np.stack([np.full(shape, -1) if c is None else c for c in each], axis=axis)
    else:
        codes = made(None)
        codes = None if codes is None else codes.reshape(call.shape)
    if len(call.outs) < 2:
        return codes
    x = call.operand(call.args[0])
    return [codes, *(run.flow.event("places of extremes", [x], tuple(t.shape), lambda _: Unknown())
                     for t in call.outs[1:])]  # fmt: skip


def _sum(run: Run, call: Call, axis: int) -> Codes | None:
    """Report a sum of several signals, added up one by one."""
    first, *others = _parts(call, axis)
    shape = tuple(n for k, n in enumerate(call.args[0].shape) if k != axis)
    add = AtenOperator("add", (Slot(0), Slot(1)), {})
    total = np.array(first.read())

    def rule(rules: list[RangeRule]) -> RangeRule:
        return Pairwise("add", operands=(rules[0], rules[1]))

    for x in others:
        total = total + x.read()
        several = first.codes is not None and x.codes is not None
        codes = pointwise(run.flow, "add", [first, x], shape, step_maker("add", add, several, True),
                          rule, Operand(None, lambda t=total: t))  # type: ignore[misc]  # fmt: skip
        first = Operand(codes, lambda t=total: t, first.precision)  # type: ignore[misc]
    if call.name == "mean":
        count = float(len(others) + 1)
        divide = AtenOperator("div", (Slot(0), count), {})
        codes = pointwise(run.flow, "div", [first], shape,
                          step_maker("div", divide, False, True), lambda r: r[0],
                          Operand(None, lambda: numbers(call.out)))  # fmt: skip
        return None if codes is None else codes.reshape(call.shape)
    return None if first.codes is None else first.codes.reshape(call.shape)
