"""Pooling, and means and maxima over whatever a convolution moved over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...network import Join, Known, RangeRule, Unknown
from ..flow import Codes, Operand, Value
from ..flow.signals import SHIFT, Pooling
from .call import Call, numbers

if TYPE_CHECKING:
    from .run import Run

__all__ = ["POOLS", "spatial_mean"]


def _tuple(value: Any, n: int, default: Any = None) -> tuple[int, ...]:
    if value is None or (isinstance(value, list | tuple) and not value):
        return default if default is not None else (1,) * n
    values = (int(value),) if isinstance(value, int) else tuple(int(v) for v in value)
    return values * n if len(values) == 1 else values


def _max_pool(run: Run, call: Call) -> Any:
    axes = 3 if "3d" in call.name else 2
    window = _tuple(call.given(1, "kernel_size"), axes)
    padding = _tuple(call.given(3, "padding"), axes, (0,) * axes)
    dilation = _tuple(call.given(4, "dilation"), axes)
    del padding  # what is outside never is the greatest
    codes = _picked(call, window)
    if codes is None:
        codes = pooled(run, call, "max", window, dilation)
    return [codes, *_indices(run, call)]


def _indices(run: Run, call: Call) -> list[Codes | None]:
    return [
        run.flow.event("places of maxima", [call.operand(call.args[0])], tuple(t.shape),
                       lambda _: Unknown())
        for t in call.outs[1:]
    ]  # fmt: skip


def _avg_pool(run: Run, call: Call) -> Any:
    axes = 3 if "3d" in call.name else 2
    window = _tuple(call.given(1, "kernel_size"), axes)
    padding = _tuple(call.given(3, "padding"), axes, (0,) * axes)
    counted = bool(call.given(5, "count_include_pad", True)) and any(padding)
    if call.given(6, "divisor_override"):
        return _hull(run, call, call.args[0], unknown=True)
    if counted:
        return _hull(run, call, call.args[0], zero=True)
    picked = _picked(call, window)
    return pooled(run, call, "mean", window, (1,) * axes) if picked is None else picked


def _picked(call: Call, window: Sequence[int]) -> Codes | None:
    """Return the codes of a pooling of single places, which only picks some; None of any other."""
    if any(n != 1 for n in window):
        return None
    stride = _tuple(call.given(2, "stride"), len(window))
    codes = call.operand(call.args[0]).codes
    assert codes is not None
    places: tuple[Any, ...] = (..., *(slice(None, None, s) for s in stride))
    found: Codes = np.ascontiguousarray(codes[places])
    return found if found.shape == call.shape else None


def _adaptive(run: Run, call: Call) -> Any:
    axes = 3 if "3d" in call.name else 2
    kind = "max" if "max" in call.name else "mean"
    size, shape = tuple(call.args[0].shape)[-axes:], call.shape[-axes:]
    if any(n % m for n, m in zip(size, shape, strict=True)):
        codes = _hull(run, call, call.args[0])
    else:
        window = tuple(n // m for n, m in zip(size, shape, strict=True))
        codes = pooled(run, call, kind, window, (1,) * axes)
    return [codes, *_indices(run, call)] if kind == "max" else codes


def spatial_mean(run: Run, call: Call, kind: str) -> Any:
    """Return the codes of a mean or maximum over all places of a convolution, or None."""
    x = call.args[0]
    dims = call.given(1, "dim")
    dims = [dims] if isinstance(dims, int) else dims
    if not dims:
        return None
    dims = sorted(d % x.ndim for d in dims)
    codes = call.operand(x).codes
    value = _alone(run, codes)
    conv = value.origin.map.conv if value is not None and value.origin.map is not None else None
    if conv is None or dims != list(range(x.ndim - len(conv.stride), x.ndim)):
        return None
    window = tuple(x.shape)[-len(dims) :]
    keep = call.out.ndim == x.ndim
    return pooled(run, call, kind, window, (1,) * len(dims), keep)


def _alone(run: Run, codes: Codes | None) -> Value | None:
    """Return the one value that an array holds, if it is one and nothing else."""
    if codes is None or codes.size == 0 or int(codes.min()) < 0:
        return None
    value = run.flow.signals.of(int(codes.min()) >> SHIFT)
    return value if (int(codes.max()) >> SHIFT) < value.base + value.rows else None


def pooled(
    run: Run,
    call: Call,
    kind: str,
    window: Sequence[int],
    dilation: Sequence[int],
    keepdim: bool = True,
) -> Codes:
    """Report a pooling over the last axes."""
    x = call.args[0]
    operand, axes = call.operand(x), len(window)
    codes = operand.codes
    assert codes is not None
    shape = call.shape
    value = _alone(run, codes)
    ids = codes >> SHIFT
    first: tuple[Any, ...] = (..., *(slice(0, 1),) * axes)
    if value is None or 0 in shape or not bool((ids[first] == ids).all()):
        return _hull(run, call, x)
    source = value
    conv = source.origin.map.conv if source.origin.map is not None else None
    if conv is not None and len(conv.stride) < axes:
        extra = axes - len(conv.stride)
        if all(n == 1 for n in window[:extra]):  # a convolution of fewer axes, seen as an image
            window, dilation = window[extra:], dilation[extra:]
    row = ids[first] - value.base
    row = np.broadcast_to(row if keepdim else row.reshape(row.shape[:-axes]), shape)
    made = run.flow.signals.begin(
        value.rows, f"{kind} pooling",
        pooling=Pooling(kind, tuple(window), tuple(dilation), source),
        recipe=lambda ruler: ruler(source),
    )  # fmt: skip
    run.flow.use(operand, made.origin)
    out = call.out
    run.flow.keep(made.origin, Operand(None, lambda: numbers(out)))
    entry = np.arange(int(np.prod(shape)), dtype=np.int64).reshape(shape)
    return entry + ((made.base + row) << SHIFT)


def _hull(run: Run, call: Call, x: Any, zero: bool = False, unknown: bool = False) -> Codes:
    """Report a result that stays in the range of what it is made of, channel by channel."""
    operand = call.operand(x)
    codes = operand.codes
    assert codes is not None
    axis = _channels(codes, call.shape)

    def rule(rules: list[RangeRule]) -> RangeRule:
        if unknown:
            return Unknown()
        if not zero:
            return rules[0]
        return Join(True, operands=(rules[0], Known(0.0, 0.0)))

    if axis is None:
        return run.flow.event(call.name, [operand], call.shape, rule)
    return run.flow.event(call.name, [operand], call.shape, rule, axis, [axis])


def _channels(codes: Codes, shape: tuple[int, ...]) -> int | None:
    """Return the axis along which channels lie, if each holds one signal."""
    if codes.ndim != len(shape) or codes.ndim < 3 or codes.shape[1] != shape[1]:
        return None
    ids = np.moveaxis(codes, 1, 0).reshape(codes.shape[1], -1) >> SHIFT
    fine = ids.size and bool((ids >= 0).all()) and bool((ids == ids[:, :1]).all())
    return 1 if fine else None


def _resized(run: Run, call: Call) -> Any:
    kept = "nearest" in call.name or "linear" in call.name
    if call.name == "grid_sampler_2d":
        kept = int(call.args[2]) != 2
        return _hull(run, call, call.args[0], zero=True, unknown=not kept)
    return _hull(run, call, call.args[0], unknown=not kept)


POOLS: dict[str, Callable[[Run, Call], Any]] = {
    **dict.fromkeys(["max_pool2d_with_indices", "max_pool3d_with_indices"], _max_pool),
    **dict.fromkeys(["avg_pool2d", "avg_pool3d"], _avg_pool),
    **dict.fromkeys(
        ["_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "adaptive_max_pool2d",
         "adaptive_max_pool3d"],
        _adaptive,
    ),
    **dict.fromkeys(
        ["upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "upsample_linear1d",
         "upsample_bilinear2d", "upsample_trilinear3d", "upsample_bicubic2d",
         "_upsample_nearest_exact1d", "_upsample_nearest_exact2d", "_upsample_nearest_exact3d",
         "_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa", "grid_sampler_2d"],
        _resized,
    ),
}  # fmt: skip
