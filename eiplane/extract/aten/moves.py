"""Operators that only move entries about: the same is done to their codes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ...network import Join, Known, Pairwise, RangeRule, Scaled, Unknown
from ..flow import Codes
from ..flow.choices import decided, moved
from ..tables import words
from .call import Call, numbers
from .elementwise import converted, kept, masked
from .lookups import looked_up
from .masks import nonzero, taken, written

if TYPE_CHECKING:
    from .run import Run

__all__ = ["MOVES"]

_MOVING = words(
    """
    cat stack index gather index_select constant_pad_nd flip roll repeat tril triu index_put
    scatter slice_scatter select_scatter diagonal_scatter as_strided_scatter masked_scatter
    _unsafe_index index_copy index_fill take masked_select pixel_shuffle pixel_unshuffle
    channel_shuffle
    reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d
    replication_pad3d diag_embed _unsafe_index_put rot90 unfold_copy unbind_copy
    split_with_sizes_copy im2col block_diag repeat_interleave
    upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d
    _upsample_nearest_exact2d _upsample_nearest_exact3d
    """
)

#: Of these the first tensor is looked up in by the others.
_LOOKUPS = frozenset(["index", "gather", "index_select", "take", "_unsafe_index", "masked_select"])


def _move(run: Run, call: Call) -> Any:
    torch = run.torch
    if call.name in ("index_put", "_unsafe_index_put") and call.given(3, "accumulate", False):
        return _accumulate(run, call)
    if call.name == "scatter" and (call.given(4, "reduce") or "reduce" in call.kwargs):
        return NotImplemented
    if call.name in _LOOKUPS and not call.dynamic(call.tensors[0]):
        return looked_up(run, call)
    if call.name == "index" and (found := taken(run, call)) is not None:
        return found
    if call.name in ("index_put", "_unsafe_index_put") and (
        (found := written(run, call)) is not None
    ):
        return found
    data = _data(torch, call)
    if call.name in ("index_put", "_unsafe_index_put") and call.dynamic(call.args[0]):
        new, (mask, *more) = call.args[2], call.args[1]
        alone = not more and mask is not None and new.numel() == 1
        if alone and mask.dtype is torch.bool and mask.shape == call.args[0].shape:
            return masked(run, call, mask, new)
    if call.name not in _LOOKUPS and _decides(run, call, data):
        return run.unknown(call)
    values: dict[int, Any] = {}
    for tensor in call.tensors:
        operand = call.operand(tensor)
        if id(tensor) in data:
            codes = operand.codes
            # Codes are moved one higher, so that what operators fill in is a constant.
            values[id(tensor)] = (
                torch.zeros(tuple(tensor.shape), dtype=torch.int64)
                if codes is None
                else torch.from_numpy(np.array(codes)) + 1  # a single number stays one
            )
        else:
            values[id(tensor)] = torch.from_numpy(np.array(operand.read()))
    result = _again(run, call, values)
    several = result if isinstance(result, list | tuple) else [result]
    deciding = [call.operand(t) for t in call.tensors if id(t) not in data]

    def constants() -> list[Any]:
        return _constants(call, data)

    there = [moved(run.flow, deciding, r.numpy() - 1, constants) for r in several]
    return there if isinstance(result, list | tuple) else there[0]


def _constants(call: Call, data: set[int]) -> list[Any]:
    """Return the constants among what is moved; what is filled in lies between them or is given."""
    found = []
    for tensor in call.tensors:
        operand = call.operand(tensor)
        if id(tensor) in data:
            shown = np.asarray(operand.read(), dtype=np.float64)
            found.append(shown if operand.codes is None else shown[operand.codes < 0])
    given = (*call.args[2:], *call.kwargs.values())
    return [*found, *(np.array(v, float) for v in given if isinstance(v, int | float))]


def _decides(run: Run, call: Call, data: set[int]) -> bool:
    """Return whether values themselves decide where they go."""
    moved = [call.operand(t).codes for t in call.tensors if id(t) in data]
    chosen = [call.operand(t).codes for t in call.tensors if id(t) not in data]
    marks = [run.flow.marks(c) for c in chosen if c is not None]
    return any(c is not None and run.flow.marks(c, False) & m for c in moved for m in marks)


def _data(torch: Any, call: Call) -> set[int]:
    """Return which tensors hold the entries that are moved, as opposed to where to."""
    if call.name in ("cat", "stack", "block_diag"):
        return {id(t) for t in call.tensors}
    data = {id(call.tensors[0])}
    named = {"index_put": 2, "_unsafe_index_put": 2, "scatter": 3, "slice_scatter": 1,
             "select_scatter": 1, "diagonal_scatter": 1, "as_strided_scatter": 1,
             "masked_scatter": 2, "index_copy": 3, "index_fill": 3}  # fmt: skip
    if call.name in named:
        source = call.given(named[call.name], "src", call.kwargs.get("values"))
        source = call.kwargs.get("source", source)
        if isinstance(source, torch.Tensor):
            data.add(id(source))
    return data


def _again(run: Run, call: Call, values: dict[int, Any]) -> Any:
    """Run an operator with other tensors."""
    torch = run.torch

    def filled(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return values.get(id(value), value)
        if isinstance(value, list | tuple):
            return type(value)(filled(v) for v in value)
        return value

    args = [filled(a) for a in call.args]
    kwargs = {k: filled(v) for k, v in call.kwargs.items() if k != "out"}
    if call.name == "constant_pad_nd" and len(args) > 2:
        args[2] = 0
    kwargs.pop("value", None)
    scalar = call.name in ("scatter", "index_fill")
    if scalar and len(args) > 3 and not isinstance(args[3], torch.Tensor):
        args[3] = 0
    operator = getattr(torch.ops.aten, call.name)
    try:
        return operator(*args, **kwargs)
    except NotImplementedError:  # of whole numbers it knows nothing: move places instead
        return _by_places(torch, operator, args, kwargs)


def _by_places(torch: Any, operator: Any, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """Return what an operator that takes one array of floats alone does to whole numbers."""
    data, *rest = args
    places = torch.arange(1, data.numel() + 1, dtype=torch.float64).reshape(data.shape)
    at = operator(places, *rest, **kwargs).round().to(torch.int64)
    return torch.cat([data.new_zeros(1), data.reshape(-1)])[at]


def _copy(run: Run, call: Call) -> Any:
    source = call.tensors[1] if len(call.tensors) > 1 else call.tensors[0]
    codes = call.operand(source).codes
    if call.name == "copy" and len(call.tensors) < 2:
        return NotImplemented
    if codes is None:
        return None
    if source.is_complex() or call.out.is_complex():
        return run.flow.event("complex numbers", [call.operand(source)], call.shape,
                              lambda _: Unknown())  # fmt: skip
    floats = source.is_floating_point(), call.out.is_floating_point()
    if floats == (True, True):
        return kept(run, call, source)
    if floats[0] != floats[1]:
        return converted(run, call, source)
    return np.array(np.broadcast_to(codes, call.shape))


def _same(run: Run, call: Call) -> Any:
    codes = call.operand(call.tensors[0]).codes
    return None if codes is None else codes.copy()


def _filled(run: Run, call: Call) -> Any:
    """A constant is written over whatever there was."""
    value = call.given(1, "value")
    if isinstance(value, run.torch.Tensor) and call.dynamic(value):
        codes = call.operand(value).codes
        assert codes is not None
        return np.array(np.broadcast_to(codes.reshape(()), call.shape))
    return None


def _accumulate(run: Run, call: Call) -> Codes:
    """Report entries that are added to others, wherever indices say."""
    torch = run.torch
    base = call.tensors[0]
    place = {"index_add": 3, "scatter_add": 3, "scatter_reduce": 3}.get(call.name, 2)
    source = call.given(place, "source", call.kwargs.get("src", call.kwargs.get("values")))
    alpha = float(call.given(4, "alpha", 1)) if call.name == "index_add" else 1.0
    # How often an entry is added to, at most.
    values = {id(base): torch.zeros(tuple(base.shape), dtype=torch.int64)}
    if isinstance(source, torch.Tensor):
        values[id(source)] = torch.ones(tuple(source.shape), dtype=torch.int64)
    for tensor in call.tensors:
        if id(tensor) not in values:
            values[id(tensor)] = torch.from_numpy(np.array(call.operand(tensor).read()))
    counts = _again(run, call, values)
    most = int(counts.max()) if counts.numel() else 0
    operands = [call.operand(base)]
    if isinstance(source, torch.Tensor):
        operands.append(call.operand(source))
    dynamic = [x.codes is not None for x in operands]
    constants = [np.asarray(x.read()) for x in operands]

    def rule(rules: list[RangeRule]) -> RangeRule:
        given = iter(rules)
        parts = [
            next(given) if d else Known(c.min() if c.size else 0.0, c.max() if c.size else 0.0)
            for d, c in zip(dynamic, constants, strict=True)
        ]
        if len(parts) < 2:
            return parts[0]
        added = Join(operands=(Known(0.0, 0.0), Scaled(most * alpha, operands=(parts[1],))))
        return Pairwise("add", operands=(parts[0], added))

    others = [call.operand(t) for t in call.tensors if t is not base and t is not source]
    codes = run.flow.event("a sum", operands, call.shape, rule)
    decided(run.flow, others, codes)
    return codes


def _packed(run: Run, call: Call) -> list[Codes | None]:
    """The steps of sequences of different lengths, one step of all after the other."""
    codes = call.operand(call.args[0]).codes
    if codes is None:
        return [None, None]
    if call.given(2, "batch_first", False):
        codes = codes.swapaxes(0, 1)
    sizes = numbers(call.outs[1]).tolist()
    return [np.concatenate([step[:n] for step, n in zip(codes, sizes, strict=False)]), None]


def _reduced(run: Run, call: Call) -> Any:
    """Report entries that are reduced with others, wherever indices or lengths say."""
    scatters = call.name == "scatter_reduce"
    kind = str(call.given(4 if scatters else 1, "reduce"))
    if scatters and kind == "sum" and call.given(5, "include_self", True):
        return _accumulate(run, call)
    parts = [call.args[0], call.args[3]] if scatters else [call.args[0]]
    operands = [call.operand(t) for t in parts]
    fixed = [None if x.codes is not None else np.asarray(x.read()) for x in operands]
    # As many as there are, if all of them go to one place.
    most = max(1, parts[-1].numel()) if kind == "sum" else 1

    def rule(rules: list[RangeRule]) -> RangeRule:
        if kind == "prod":
            return Unknown()
        given = iter(rules)
        ends = [next(given) if c is None else Known(c.min(initial=0), c.max(initial=0))
                for c in fixed]  # fmt: skip
        added = Scaled(most, operands=(Join(operands=(ends[-1],)),))
        empty = [] if scatters or kind in ("max", "min") else [Known(0.0, 0.0)]
        return Join(operands=(*empty, *ends[:-1], added))

    codes = run.flow.event(f"a {kind}", operands, call.shape, rule)
    others = [call.operand(t) for t in call.tensors if all(t is not p for p in parts)]
    decided(run.flow, others, codes)
    return codes


MOVES: dict[str, Callable[[Run, Call], Any]] = {
    **dict.fromkeys(_MOVING, _move),
    **dict.fromkeys(
        ["clone", "lift_fresh", "positive", "contiguous", "lift", "alias_copy", "detach_copy",
         "_conj_physical", "_reshape_copy", "resolve_conj", "resolve_neg"],
        _same,
    ),
    "copy": _copy,
    "_reshape_copy": lambda run, call: _reshaped(run, call),
    "view_copy": lambda run, call: _reshaped(run, call),
    **dict.fromkeys(["zero", "fill", "zeros_like", "ones_like", "full_like", "empty_like",
                     "new_zeros", "new_ones", "new_empty", "new_full", "new_empty_strided"],
                    _filled),
    **dict.fromkeys(["index_add", "scatter_add"], _accumulate),
    **dict.fromkeys(["scatter_reduce", "segment_reduce"], _reduced),
    "_pack_padded_sequence": _packed,
    "nonzero": nonzero,
}  # fmt: skip


def _reshaped(run: Run, call: Call) -> Any:
    codes = call.operand(call.tensors[0]).codes
    return None if codes is None else codes.reshape(call.shape).copy()
