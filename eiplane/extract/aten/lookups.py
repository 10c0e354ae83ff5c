"""Tables that a signal is looked up in, and boundaries that it is compared with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...network import Join, Known, RangeRule, Unknown
from ..flow import Codes, Operand, Step
from ..flow.pointwise import pointwise
from .call import Call

if TYPE_CHECKING:
    from .run import Run

__all__ = ["LOOKUPS", "looked_up"]


@dataclass(frozen=True, eq=False)
class _Table:
    """The number that stands at a place of a table; nothing beside it."""

    numbers: NDArray[np.float64]

    @property
    def token(self) -> str:
        """What is the same for tables that hold the same."""
        return f"table {self.numbers.tobytes()!r}"

    def __call__(self, arrays: list[NDArray[Any]]) -> NDArray[Any]:
        """Return the numbers."""
        (places,) = arrays
        size = len(self.numbers)
        there = (places >= -size) & (places < size)
        index = np.where(there, places, 0).astype(np.intp)
        return np.where(there, self.numbers[index], np.nan)


@dataclass(frozen=True, eq=False)
class _Counted:
    """How many boundaries lie below a number, or at it."""

    edges: NDArray[np.float64]
    right: bool

    @property
    def token(self) -> str:
        """What is the same for boundaries that are the same."""
        return f"boundaries {self.edges.tobytes()!r} {self.right}"

    def __call__(self, arrays: list[NDArray[Any]]) -> NDArray[Any]:
        """Return the counts."""
        side = "right" if self.right else "left"
        return np.asarray(np.searchsorted(self.edges, arrays[0], side=side), dtype=np.float64)  # type: ignore[call-overload]


def looked_up(run: Run, call: Call) -> Codes | None:
    """Report rows of a constant table, chosen by a signal.

    Of a table of single numbers that is a function of the signal.
    """
    table = call.tensors[0]
    found = np.asarray(call.operand(table).read())
    low, high = _ends(call.operand(table))
    run.note(run.constants.names(table), "a table: rows are looked up, nothing is multiplied")
    index = [call.operand(t) for t in call.tensors[1:] if call.dynamic(t)]
    alone = len(index) == 1 and found.ndim == 1 and found.dtype.kind in "fiu"
    places = index[0].codes if alone and "bool" not in str(call.tensors[1].dtype) else None
    if places is not None and places.shape == call.shape:
        step = Step("table", _Table(found.astype(np.float64)), (None,))
        return pointwise(run.flow, "table", index, call.shape, lambda _: step,
                         lambda _: Known(low, high))  # fmt: skip
    return run.flow.event("a table", index, call.shape, lambda _: Known(low, high))


def _bucketized(run: Run, call: Call) -> Any:
    """Report numbers of intervals between boundaries."""
    first = call.name == "bucketize"
    x, edges = call.args[:2] if first else reversed(call.args[:2])
    right = bool(call.given(3, "right", False)) or call.kwargs.get("side") == "right"
    rule: Callable[[list[RangeRule]], RangeRule] = lambda _: Unknown()  # noqa: E731
    if isinstance(edges, run.torch.Tensor):
        most = float(edges.shape[-1])
        rule = lambda _: Known(0.0, most)  # noqa: E731
    operands = [call.operand(t) for t in call.tensors if call.dynamic(t)]
    if not isinstance(x, run.torch.Tensor) or not isinstance(edges, run.torch.Tensor):
        return run.flow.event(call.name, operands, call.shape, rule)
    plain = edges.ndim == 1 and not call.dynamic(edges) and call.kwargs.get("sorter") is None
    if not plain:
        return run.flow.event(call.name, operands, call.shape, rule)
    counted = _Counted(np.array(call.operand(edges).read(), dtype=np.float64), right)
    step = Step(call.name, counted, (None,), True)
    shown: list[Operand] = [call.operand(x)]
    return pointwise(run.flow, call.name, shown, call.shape, lambda _: step, rule)


def _embedding(run: Run, call: Call) -> Any:
    table, index = call.args[0], call.args[1]
    operands = [call.operand(t) for t in (index, table) if call.dynamic(t)]
    rule: Callable[[list[RangeRule]], RangeRule] = lambda _: Unknown()  # noqa: E731
    if not call.dynamic(table):
        low, high = _ends(call.operand(table))
        rule = lambda _: Known(low, high)  # noqa: E731
    return run.flow.event("an embedding", operands, call.shape, rule)


def _embedding_bag(run: Run, call: Call) -> Any:
    """Report sums, means or greatest of some rows of a table; 0 of none."""
    table, index, offsets = call.args[:3]
    mode, weights = int(call.given(4, "mode", 0)), call.given(6, "per_sample_weights")
    operands = [call.operand(t) for t in call.tensors if call.dynamic(t)]
    rule: Callable[[list[RangeRule]], RangeRule] = lambda _: Unknown()  # noqa: E731
    if weights is not None and call.dynamic(weights):
        run.note(run.constants.names(table), "its rows are added up, by shares that are signals")
    if not call.dynamic(table) and weights is None:
        low, high = _ends(call.operand(table))
        starts = np.asarray(call.operand(offsets).read())
        most = int(np.diff(np.append(starts, index.numel())).max(initial=0)) if mode == 0 else 1
        rule = lambda _: Join(operands=(Known(0.0, 0.0), Known(most * low, most * high)))  # noqa: E731
    events = [run.flow.event("an embedding", operands, call.shape, rule)]
    for tensor in call.outs[1:]:
        events.append(run.flow.event("an embedding", operands, tuple(tensor.shape),
                                     lambda _: Unknown()))  # fmt: skip
    return events


def _ends(table: Operand) -> tuple[float, float]:
    shown = np.asarray(table.read())
    return (float(shown.min()), float(shown.max())) if shown.size else (0.0, 0.0)


LOOKUPS: dict[str, Callable[[Run, Call], Any]] = {
    **dict.fromkeys(["bucketize", "searchsorted"], _bucketized),
    "embedding": _embedding,
    **dict.fromkeys(["_embedding_bag", "_embedding_bag_forward_only"], _embedding_bag),
    "embedding_renorm": lambda run, call: None,  # its rows are shortened, and stay constants
}
