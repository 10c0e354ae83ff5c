"""Pooling, and means and maxima over whatever a convolution moved over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...network import Known, Unknown
from ..flow import Codes, Operand
from ..flow.choices import decided
from ..flow.pooled import hull, over_places, pooled
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
        codes = _pooled(run, call, "max", window, dilation)
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
    return _pooled(run, call, "mean", window, (1,) * axes) if picked is None else picked


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
        codes = _pooled(run, call, kind, window, (1,) * axes)
    return [codes, *_indices(run, call)] if kind == "max" else codes


def spatial_mean(run: Run, call: Call, kind: str) -> Any:
    """Return the codes of a mean or maximum over all places of a convolution, or None."""
    x = call.args[0]
    dims = call.given(1, "dim")
    dims = [dims] if isinstance(dims, int) else dims
    if not dims:
        return None
    operand = call.operand(x)
    if not over_places(run.flow, operand.codes, dims):
        return None
    window = tuple(x.shape)[-len(dims) :]
    return pooled(run.flow, kind, operand, _numbers(call), call.shape, window, (1,) * len(dims),
                  call.out.ndim == x.ndim)  # fmt: skip


def _pooled(
    run: Run, call: Call, kind: str, window: Sequence[int], dilation: Sequence[int]
) -> Codes:
    return pooled(run.flow, kind, call.operand(call.args[0]), _numbers(call), call.shape, window,
                  dilation)  # fmt: skip


def _numbers(call: Call) -> Operand:
    out = call.out
    return Operand(None, lambda: numbers(out))


def _hull(run: Run, call: Call, x: Any, zero: bool = False, unknown: bool = False) -> Codes:
    return hull(run.flow, call.name, call.operand(x), call.shape, zero, unknown)


def _resized(run: Run, call: Call) -> Any:
    kept = "linear" in call.name
    if "grid_sampler" in call.name:
        return _sampled(run, call, int(call.args[2]) != 2)
    return _hull(run, call, call.args[0], unknown=not kept)


def _sampled(run: Run, call: Call, kept: bool) -> Codes:
    """Report entries of an image, or of a constant one, that are taken where a grid says."""
    image, grid = call.args[:2]
    if call.dynamic(image):
        codes = _hull(run, call, image, zero=True, unknown=not kept)
        decided(run.flow, [call.operand(grid)], codes)
        return codes
    shown = np.asarray(call.operand(image).read())
    low, high = float(shown.min(initial=0.0)), float(shown.max(initial=0.0))
    return run.flow.event(call.name, [call.operand(grid)], call.shape,
                          lambda _: Known(low, high) if kept else Unknown())  # fmt: skip


POOLS: dict[str, Callable[[Run, Call], Any]] = {
    **dict.fromkeys(["max_pool2d_with_indices", "max_pool3d_with_indices"], _max_pool),
    **dict.fromkeys(["avg_pool2d", "avg_pool3d"], _avg_pool),
    **dict.fromkeys(
        ["_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "adaptive_max_pool2d",
         "adaptive_max_pool3d"],
        _adaptive,
    ),
    **dict.fromkeys(
        ["upsample_linear1d", "upsample_bilinear2d", "upsample_trilinear3d", "upsample_bicubic2d",
         "_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa", "grid_sampler_2d",
         "grid_sampler_3d"],
        _resized,
    ),
}  # fmt: skip
