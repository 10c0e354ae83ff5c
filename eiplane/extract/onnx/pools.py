"""Nodes that pool, resize and reduce: their results stay in the range of what they take."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ...network import Join, Known, RangeRule, Scaled, Unknown
from ..flow import Codes
from ..flow.choices import decided
from ..flow.pooled import hull, over_places, pooled
from .call import Call
from .kernels import pads_of

if TYPE_CHECKING:
    from .run import Run

__all__ = ["POOLS"]


def _pool(run: Run, call: Call) -> Any:
    options, size = call.attributes, call.value(0).shape[2:]
    kind = "max" if "Max" in call.kind else "mean"
    window = tuple(int(k) for k in options.get("kernel_shape", size))
    dilation = tuple(int(d) for d in options.get("dilations", (1,) * len(window)))
    padded = "kernel_shape" in options and any(map(any, pads_of(options, size, window)))
    x = call.operand(0)
    codes: Codes | None = None
    if padded and kind == "mean" and options.get("count_include_pad", 0):
        codes = hull(run.flow, call.kind, x, call.shape, zero=True)
    elif "kernel_shape" in options and all(k == 1 for k in window):
        codes = _picked(call)
    if codes is None:
        codes = pooled(run.flow, kind, x, call.result(), call.shape, window, dilation)
    return [codes, *_unknown(run, call, 1)]


def _picked(call: Call) -> Codes | None:
    """Return the codes of a pooling of single places, which only picks some."""
    strides = call.attributes.get("strides", [1] * (len(call.shape) - 2))
    codes = call.operand(0).codes
    assert codes is not None
    at: tuple[Any, ...] = (..., *(slice(None, None, s) for s in strides))
    found: Codes = np.ascontiguousarray(codes[at])
    return found if found.shape == call.shape else None


def _unknown(run: Run, call: Call, first: int) -> list[Codes | None]:
    """Report the outputs from one on: of them nothing is known."""
    return [
        None
        if out is None
        else run.flow.event(call.kind, call.signals(), out.shape, lambda _: Unknown())
        for out in call.outs[first:]
    ]


def _resize(run: Run, call: Call) -> Any:
    mode = call.attributes.get("mode", b"nearest")
    mode = mode.decode() if isinstance(mode, bytes) else mode
    crops = call.attributes.get("coordinate_transformation_mode") == b"tf_crop_and_resize"
    if not call.dynamic(0):
        return run.unknown(call)
    codes = call.operand(0).codes
    if mode == "nearest" and not crops and codes is not None:  # copies of entries
        places = np.arange(codes.size, dtype=np.float64).reshape(codes.shape)
        others = [None if t is None else t.value for t in call.inputs[1:]]
        at = np.rint(run.compute(call.node, [places, *others])[0]).astype(np.int64)
        return codes.reshape(-1)[at]
    return hull(run.flow, call.kind, call.operand(0), call.shape, unknown=mode == "cubic" or crops)


def _grid_sample(run: Run, call: Call) -> Any:
    mode = call.attributes.get("mode", b"linear")
    if not call.dynamic(0):
        return run.unknown(call)
    codes = hull(run.flow, call.kind, call.operand(0), call.shape, zero=True,
                 unknown=mode in (b"cubic", b"bicubic"))  # fmt: skip
    decided(run.flow, [call.operand(1)], codes)
    return codes


def _axes(call: Call) -> list[int]:
    """Return the axes that a node reduces over."""
    axes = call.attributes.get("axes")
    if call.has(1):
        axes = call.value(1).reshape(-1).tolist()
    rank = call.value(0).ndim
    if not axes:
        return [] if call.attributes.get("noop_with_empty_axes", 0) else list(range(rank))
    return [int(a) % rank for a in axes]


def _reduce(run: Run, call: Call) -> Any:
    """A reduction: of a convolution's places a pooling, else an event."""
    kind, x, axes = call.kind, call.operand(0), _axes(call)
    if call.dynamic(1) or not call.dynamic(0):
        return run.unknown(call)
    if not axes:
        return None if x.codes is None else x.codes.copy()
    shape = call.value(0).shape
    pools = {"ReduceMean": "mean", "ReduceMax": "max"}
    if kind in pools and over_places(run.flow, x.codes, axes):
        window = tuple(shape[a] for a in sorted(axes))
        return pooled(run.flow, pools[kind], x, call.result(), call.shape, window,
                      (1,) * len(window), bool(call.attributes.get("keepdims", 1)))  # fmt: skip
    size = max(1, int(np.prod([shape[a] for a in axes])))
    traits: dict[str, Any] = {"size": size}
    name = {"ReduceMean": "mean_of", "ReduceSum": "sum_of", "ReduceL2": "norm_of"}.get(kind)
    if name is not None:
        traits[name] = x.codes

    def rule(rules: list[RangeRule]) -> RangeRule:
        if kind in ("ReduceMean", "ReduceMax", "ReduceMin"):
            return rules[0]
        return Scaled(size, operands=(rules[0],)) if kind == "ReduceSum" else Unknown()

    return run.flow.event(kind, [x], call.shape, rule, traits=traits)


def _cumulative(run: Run, call: Call) -> Any:
    if call.dynamic(1) or not call.dynamic(0):
        return run.unknown(call)
    size = call.value(0).shape[int(call.value(1).reshape(-1)[0])]

    def rule(rules: list[RangeRule]) -> RangeRule:
        return Join(operands=(Known(0.0, 0.0), rules[0], Scaled(size, operands=(rules[0],))))

    return run.flow.event("a sum", [call.operand(0)], call.shape, rule)


def _top(run: Run, call: Call) -> Any:
    if not call.dynamic(0):
        return run.unknown(call)
    first = run.flow.event(call.kind, call.signals(), call.shape, lambda r: r[0])
    return [first, *_unknown(run, call, 1)]


def _unpooled(run: Run, call: Call) -> Any:
    if not call.dynamic(0):
        return run.unknown(call)
    codes = hull(run.flow, call.kind, call.operand(0), call.shape, zero=True)
    decided(run.flow, [call.operand(1)], codes)
    return codes


POOLS: dict[str, Callable[[Run, Call], Any]] = {
    **dict.fromkeys(["MaxPool", "AveragePool", "GlobalMaxPool", "GlobalAveragePool"], _pool),
    **dict.fromkeys(["Resize", "Upsample"], _resize),
    "GridSample": _grid_sample,
    **dict.fromkeys(
        ["ReduceMean", "ReduceMax", "ReduceMin", "ReduceSum", "ReduceL1", "ReduceL2",
         "ReduceProd", "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare"],
        _reduce,
    ),
    "CumSum": _cumulative,
    "TopK": _top,
    "MaxUnpool": _unpooled,
}  # fmt: skip
