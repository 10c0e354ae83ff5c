"""Normalisations: written in one operator, or by hand."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...network import Join, Known, Pairwise, RangeRule, Unknown
from ..flow import Codes, Operand
from ..flow.copies import of_copies
from ..flow.normed import by_channel, over_last
from ..flow.pointwise import scaled
from .call import Call, numbers
from .stacked import over_copies

if TYPE_CHECKING:
    from .run import Run

__all__ = ["NORMS"]


def _read(run: Run, call: Call, tensor: Any) -> NDArray[Any] | None:
    if tensor is None or call.dynamic(tensor):
        return None
    return np.array(call.operand(tensor).read(), dtype=np.float64)


def _layer_norm(run: Run, call: Call) -> Any:
    x, shape, weight, bias = (*call.args, None, None)[:4]
    return _normed(run, call, x, tuple(shape), weight, bias, True)


def _rms_norm(run: Run, call: Call) -> Any:
    x, shape, weight = (*call.args, None)[:3]
    return _normed(run, call, x, tuple(shape), weight, None, False)


def _normed(
    run: Run, call: Call, x: Any, shape: tuple[int, ...], weight: Any, bias: Any, centred: bool
) -> list[Codes | None]:
    """Report a norm over the last axes."""
    codes = over_last(run.flow, call.operand(x), call.shape, shape, _read(run, call, weight),
                      _read(run, call, bias), centred)  # fmt: skip
    given = call.operand(x).codes
    if given is not None:
        codes = of_copies(codes, given, range(given.ndim - len(shape), given.ndim))
    return [_moved_by(run, call, codes, weight, bias), *_others(run, call, x)]


def _others(run: Run, call: Call, x: Any) -> list[Codes | None]:
    return [
        run.flow.event("a norm's sums", [call.operand(x)], tuple(t.shape), lambda _: Unknown())
        if t is not None
        else None
        for t in call.outs[1:]
    ]


def _group_norm(run: Run, call: Call) -> Any:
    x, weight, bias, _, channels, places, groups = call.args[:7]
    size = int(channels) // int(groups) * int(places)
    return _by_channel(run, call, x, weight, bias, size)


def _by_channel(run: Run, call: Call, x: Any, weight: Any, bias: Any, size: int) -> Any:
    codes = by_channel(run.flow, call.operand(x), call.shape, size, _read(run, call, weight),
                       _read(run, call, bias))  # fmt: skip
    return [_moved_by(run, call, codes, weight, bias), *_others(run, call, x)]


def _moved_by(run: Run, call: Call, codes: Codes, weight: Any, bias: Any) -> Codes:
    """Report that signals scale and shift what a norm gives, as those of a conditional one do."""
    by = [("mul", weight), ("add", bias)]
    signals = [(kind, t) for kind, t in by if t is not None and call.dynamic(t)]
    if not signals:
        return codes
    given = [Operand(codes, lambda: numbers(call.out)), *(call.operand(t) for _, t in signals)]

    def rule(rules: list[RangeRule]) -> RangeRule:
        made: RangeRule = Join(operands=(rules[0],))
        for (kind, _), other in zip(signals, rules[1:], strict=True):
            made = Pairwise(kind, operands=(made, Join(operands=(other,))))
        return made

    return run.flow.event("a norm", given, call.shape, rule)


def _batch_norm(run: Run, call: Call) -> Any:
    x, weight, bias, mean, var = call.args[:5]
    training = bool(call.args[5]) if call.name in _WITH_MODE else call.name in _TRAINING
    eps = float(call.args[-1]) if not isinstance(call.args[-1], bool) else float(call.args[-2])
    if training or mean is None or var is None:
        size = int(x.numel() // max(1, x.shape[1]))
        return _by_channel(run, call, x, weight, bias, size)
    if any(t is not None and call.dynamic(t) for t in (weight, bias, mean, var)):
        return NotImplemented
    center, spread = _read(run, call, mean), _read(run, call, var)
    assert center is not None and spread is not None
    scale = 1.0 / np.sqrt(spread + eps)
    gain, offset = _read(run, call, weight), _read(run, call, bias)
    scale = scale if gain is None else scale * gain
    shift = -center * scale if offset is None else offset - center * scale
    codes = scaled(run.flow, "batch_norm", call.operand(x), call.shape, scale, shift)
    return [codes, *(None for _ in call.outs[1:])]


_WITH_MODE = frozenset(["native_batch_norm", "_native_batch_norm_legit", "cudnn_batch_norm",
                        "miopen_batch_norm"])  # fmt: skip
_TRAINING = frozenset(["_batch_norm_with_update", "batch_norm_with_update"])


def _softmax(run: Run, call: Call) -> Any:
    x = call.operand(call.args[0])
    if call.name in ("_softmax", "_safe_softmax"):
        # Taken along its last axis it is made of shares, with which others can be mixed.
        last = int(call.args[1]) % max(1, len(call.shape)) == len(call.shape) - 1
        return run.flow.event("softmax", [x], call.shape, lambda _: Known(0.0, 1.0),
                              traits={"shares": last})  # fmt: skip
    return run.flow.event("log_softmax", [x], call.shape, lambda _: Unknown())


NORMS: dict[str, Callable[[Run, Call], Any]] = {
    "native_layer_norm": _layer_norm,
    "_fused_rms_norm": _rms_norm,
    "rms_norm": _rms_norm,
    "native_group_norm": _group_norm,
    **dict.fromkeys(
        ["native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training",
         "_batch_norm_no_update", "_batch_norm_with_update", "batch_norm_with_update",
         "cudnn_batch_norm", "miopen_batch_norm"],
        _batch_norm,
    ),
    **dict.fromkeys(["_softmax", "_safe_softmax", "_log_softmax"],
                    partial(over_copies, otherwise=_softmax)),
}  # fmt: skip
