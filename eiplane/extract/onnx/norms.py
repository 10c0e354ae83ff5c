"""Nodes that normalise."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ...network import Join, Known, Norm, Unknown
from ..flow import Codes
from ..flow.normed import by_channel, over_last
from ..flow.pointwise import scaled
from .call import Call

if TYPE_CHECKING:
    from .run import Run

__all__ = ["NORMS"]


def _others(run: Run, call: Call) -> list[Codes | None]:
    return [
        None
        if out is None
        else run.flow.event("a norm's sums", call.signals(), out.shape, lambda _: Unknown())
        for out in call.outs[1:]
    ]


def _over_last(run: Run, call: Call) -> Any:
    """A layer norm or an RMS norm."""
    if not call.dynamic(0) or call.dynamic(1) or call.dynamic(2):
        return run.unknown(call)
    axis = int(call.attributes.get("axis", -1)) % len(call.shape)
    scale, shift = call.constants(1, 2)
    codes = over_last(run.flow, call.operand(0), call.shape, call.shape[axis:], scale, shift,
                      call.kind == "LayerNormalization")  # fmt: skip
    return [codes, *_others(run, call)]


def _by_channel(run: Run, call: Call) -> Any:
    """An instance or a group norm."""
    if not call.dynamic(0) or call.dynamic(1) or call.dynamic(2):
        return run.unknown(call)
    channels = call.shape[1]
    groups = int(call.attributes.get("num_groups", channels))
    scale, shift = (None if c is None else _wide(c, channels) for c in call.constants(1, 2))
    size = int(np.prod(call.shape[1:])) // groups
    return by_channel(run.flow, call.operand(0), call.shape, size, scale, shift)


def _wide(values: Any, channels: int) -> Any:
    """Return a number for each channel, where there is one for each group."""
    return values if values.size == channels else np.repeat(values, channels // values.size)


def _batch_norm(run: Run, call: Call) -> Any:
    if not call.dynamic(0) or any(call.dynamic(k) for k in (1, 2, 3, 4)):
        return run.unknown(call)
    gain, offset, mean, var = call.constants(1, 2, 3, 4)
    assert gain is not None and offset is not None and mean is not None and var is not None
    if call.attributes.get("training_mode", 0):
        size = int(np.prod(call.shape)) // max(1, call.shape[1])
        made = by_channel(run.flow, call.operand(0), call.shape, size, gain, offset)
        return [made, *_others(run, call)]
    scale = gain / np.sqrt(var + float(call.attributes.get("epsilon", 1e-5)))
    made_here = scaled(run.flow, call.kind, call.operand(0), call.shape, scale,
                       offset - mean * scale)  # fmt: skip
    return [made_here, *_others(run, call)]


def _mean_variance(run: Run, call: Call) -> Any:
    rank = len(call.shape)
    axes = [int(a) % rank for a in call.attributes.get("axes", [0, 2, 3])]
    norm = Norm(int(np.prod([call.shape[a] for a in axes])))
    return run.flow.event("a norm", call.signals(), call.shape, lambda _: norm)


def _unit(run: Run, call: Call) -> Any:
    """Divided by its own length, no entry is above 1."""
    return run.flow.event("a norm", call.signals(), call.shape, lambda _: Known(-1.0, 1.0))


def _local(run: Run, call: Call) -> Any:
    """Local response: divided by what is not less than bias ** beta."""
    least = float(call.attributes.get("bias", 1.0)) ** float(call.attributes.get("beta", 0.75))
    alpha = float(call.attributes.get("alpha", 1e-4))
    if least < 1.0 or alpha < 0.0:
        return run.flow.event("a norm", call.signals(), call.shape, lambda _: Unknown())
    zero = Known(0.0, 0.0)
    return run.flow.event("a norm", call.signals(), call.shape,
                          lambda r: Join(operands=(zero, r[0])))  # fmt: skip


def _softmax(run: Run, call: Call) -> Any:
    if call.kind == "LogSoftmax":
        return run.flow.event(call.kind, call.signals(), call.shape, lambda _: Unknown())
    # Along its last axis it is made of shares, with which others can be mixed.
    rank = max(1, len(call.shape))
    axis = int(call.attributes.get("axis", -1 if run.opset >= 13 else 1)) % rank
    last = axis == rank - 1
    return run.flow.event(call.kind, call.signals(), call.shape, lambda _: Known(0.0, 1.0),
                          traits={"shares": last})  # fmt: skip


NORMS: dict[str, Callable[[Run, Call], Any]] = {
    **dict.fromkeys(
        ["LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization"], _over_last
    ),
    **dict.fromkeys(["InstanceNormalization", "GroupNormalization"], _by_channel),
    "BatchNormalization": _batch_norm,
    "MeanVarianceNormalization": _mean_variance,
    "LpNormalization": _unit,
    "LRN": _local,
    **dict.fromkeys(["Softmax", "LogSoftmax", "Hardmax"], _softmax),
}
