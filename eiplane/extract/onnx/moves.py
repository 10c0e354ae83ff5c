"""Nodes that only move entries about: the same is done to their codes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ...network import Join, Known, Pairwise, RangeRule, Scaled
from ..flow import Codes, Operand
from ..flow.choices import decided
from ..flow.choices import moved as moved_by
from ..tables import words
from .call import Call, Tensor

if TYPE_CHECKING:
    from .run import Run

__all__ = ["EMBEDDING", "MOVES"]

#: Which inputs hold the entries that are moved; the others say where to.
_DATA = {
    **dict.fromkeys(
        words(
            """
            Reshape Flatten Transpose Squeeze Unsqueeze Slice Split Gather GatherElements GatherND
            Expand Tile DepthToSpace SpaceToDepth Pad Trilu Compress ReverseSequence CenterCropPad
            SplitToSequence SequenceAt Unique
            """
        ),
        (0,),
    ),
    "ScatterElements": (0, 2),
    "Scatter": (0, 2),
    "ScatterND": (0, 2),
    "TensorScatter": (0, 1),
}  # fmt: skip

#: Of these every input is data.
_ALL_DATA = frozenset(["Concat", "ConcatFromSequence", "SequenceConstruct"])

_LOOKUPS = frozenset(["Gather", "GatherElements", "GatherND", "Compress", "SequenceAt"])

EMBEDDING = "an embedding: rows are looked up, nothing is multiplied"


def _move(run: Run, call: Call) -> Any:
    kind = call.kind
    data = tuple(range(len(call.inputs))) if kind in _ALL_DATA else _DATA[kind]
    reduction = call.attributes.get("reduction", b"none")
    if reduction not in (b"none", "none"):
        return _added(run, call) if reduction == b"add" else run.unknown(call)
    if kind in _LOOKUPS and not call.dynamic(0):
        return _lookup(run, call)
    others = [k for k in range(len(call.inputs)) if k not in data and call.dynamic(k)]
    if kind not in _LOOKUPS and _decides(run, call, data, others):
        return run.unknown(call)
    if kind == "Unique":
        return run.unknown(call)
    values = [
        None if t is None else (_codes(t) if k in data else t.value)
        for k, t in enumerate(call.inputs)
    ]
    if kind == "Pad":
        if call.dynamic(2):
            return run.unknown(call)
        if call.has(2):
            values[2] = np.zeros((), np.int64)
    deciding = [call.operand(k) for k in others]

    def constants() -> list[Any]:
        return [c for k in data if (t := call.inputs[k]) is not None for c in _constants(t)]

    return [_back(run, m, deciding, constants) for m in run.compute(call.node, values)]


def _constants(tensor: Tensor) -> list[Any]:
    """Return the constants in a tensor, or in each of a sequence."""
    if isinstance(tensor.value, list):
        codes = tensor.codes if tensor.codes is not None else [None] * len(tensor.value)
        pairs = list(zip(tensor.value, codes, strict=True))
    else:
        pairs = [(tensor.value, tensor.codes)]
    return [v if c is None else v[c < 0] for v, c in pairs]


def _codes(tensor: Tensor) -> Any:
    """Return codes one higher, so that what operators fill in is a constant."""
    if isinstance(tensor.value, list):
        codes = tensor.codes if tensor.codes is not None else [None] * len(tensor.value)
        return [_raised(v, c) for v, c in zip(tensor.value, codes, strict=True)]
    return _raised(tensor.value, tensor.codes)


def _raised(value: Any, codes: Codes | None) -> Any:
    if codes is None:
        return np.zeros(value.shape, dtype=np.int64)
    return np.ascontiguousarray(codes) + 1


def _back(run: Run, moved: Any, deciding: list[Operand], constants: Callable[[], list[Any]]) -> Any:
    if isinstance(moved, list):
        return [_back(run, m, deciding, constants) for m in moved]
    return moved_by(run.flow, deciding, np.asarray(moved, dtype=np.int64) - 1, constants)


def _decides(run: Run, call: Call, data: tuple[int, ...], others: list[int]) -> bool:
    """Return whether values themselves decide where they go."""
    moved = [call.tensor(k).codes for k in data if call.dynamic(k)]
    marks = [run.flow.marks(call.tensor(k).codes) for k in others]
    return any(run.flow.marks(c, False) & m for c in moved if not isinstance(c, list)
               for m in marks)  # fmt: skip


def _lookup(run: Run, call: Call) -> Any:
    """Report rows of a constant table, chosen by a signal."""
    table = call.tensor(0)
    if isinstance(table.value, list):
        return run.unknown(call)
    shown = table.value
    low, high = (float(shown.min()), float(shown.max())) if shown.size else (0.0, 0.0)
    run.note(table.names, EMBEDDING)
    return run.flow.event("a table", call.signals(), call.shape, lambda _: Known(low, high))


def _added(run: Run, call: Call) -> Any:
    """Report entries that are added to others, wherever indices say."""
    base, source = call.tensor(0), call.tensor(2)
    # How often an entry is added to, at most.
    counts = run.compute(
        call.node,
        [np.zeros(base.value.shape, np.int64), call.value(1),
         np.ones(source.value.shape, np.int64)],
    )[0]  # fmt: skip
    most = int(counts.max()) if counts.size else 0
    fixed = [t.value if t.codes is None else None for t in (base, source)]

    def rule(rules: list[RangeRule]) -> RangeRule:
        given = iter(rules)
        parts = [next(given) if f is None else Known(*_ends(f)) for f in fixed]
        added = Join(operands=(Known(0.0, 0.0), Scaled(most, operands=(parts[1],))))
        return Pairwise("add", operands=(parts[0], added))

    codes = run.flow.event("a sum", [base.operand(), source.operand()], call.shape, rule)
    decided(run.flow, [call.operand(1)], codes)
    return codes


def _ends(values: Any) -> tuple[float, float]:
    return (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)


def _kept(run: Run, call: Call) -> Any:
    codes = call.tensor(0).codes
    return codes.copy() if isinstance(codes, np.ndarray) else codes


def _dropout(run: Run, call: Call) -> Any:
    """In training mode some are left out, and the others scaled."""
    training = call.has(2) and bool(np.any(call.value(2)))
    if run.opset < 7:
        training = not call.attributes.get("is_test", 0)
    if not training or not call.dynamic(0):
        return [_kept(run, call), *(None for _ in call.outs[1:])]
    ratio = float(call.value(1).reshape(-1)[0]) if call.has(1) else 0.5
    scale = 1.0 / max(1e-12, 1.0 - ratio)

    def rule(rules: list[RangeRule]) -> RangeRule:
        return Join(True, operands=(Known(0.0, 0.0), Scaled(scale, operands=(rules[0],))))

    made = run.flow.event(call.kind, [call.operand(0)], call.shape, rule, traits={"random": True})
    return [made, *(None for _ in call.outs[1:])]


MOVES: dict[str, Callable[[Run, Call], Any]] = {
    **dict.fromkeys([*_DATA, *_ALL_DATA], _move),
    "Identity": _kept,
    "Dropout": _dropout,
}
