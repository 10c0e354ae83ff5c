"""Training for quantisation: what is rounded to a grid and stays a float is a staircase."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...network import Unknown
from ..flow import Operand, Step
from ..flow.pointwise import pointwise
from .call import Call, numbers

if TYPE_CHECKING:
    from .run import Run

__all__ = ["QUANTISED"]


@dataclass(frozen=True)
class _Staircase:
    """Rounding to a grid of steps, within bounds."""

    low: float
    high: float

    def __call__(self, arrays: list[NDArray[Any]]) -> NDArray[Any]:
        """Return the values on the grid; takes values, steps and zero points."""
        x, step, zero = (np.asarray(a, dtype=np.float64) for a in arrays)
        # torch keeps steps in single precision and multiplies with what it gets for one by them:
        # of doubles too, so that is where the staircase has its steps.
        step = np.asarray(step, dtype=np.float32)
        per_step = np.float64(np.float32(1.0) / step)
        placed = np.clip(np.rint(x * per_step) + zero, self.low, self.high)
        result: NDArray[Any] = (placed - zero) * np.float64(step)
        return result


def _staircase(
    run: Run, call: Call, scale: Any, zero: Any, low: Any, high: Any, axis: int | None
) -> Any:
    """Report an array that is rounded to a grid."""
    x = call.args[0]

    def constant(value: Any) -> Operand:
        shown = numbers(value) if isinstance(value, run.torch.Tensor) else np.asarray(value)
        if axis is not None and shown.size > 1:
            sides = [1] * x.ndim
            sides[axis] = shown.size
            shown = shown.reshape(sides)
        kept = np.array(shown, dtype=np.float64)
        return Operand(None, lambda: kept)

    made = _Staircase(float(low), float(high))
    codes = pointwise(
        run.flow, "fake_quantize", [call.operand(x), constant(scale), constant(zero)], call.shape,
        lambda constants: Step("fake_quantize", made, constants, True), lambda _: Unknown(),
    )  # fmt: skip
    return [codes, *(None for _ in call.outs[1:])]


def _kept(call: Call) -> Any:
    codes = call.operand(call.args[0]).codes
    return [None if codes is None else codes.copy(), *(None for _ in call.outs[1:])]


def _per_tensor(run: Run, call: Call) -> Any:
    scale, zero, low, high = call.args[1:5]
    return _staircase(run, call, scale, zero, low, high, None)


def _per_tensor_switched(run: Run, call: Call) -> Any:
    scale, zero, switch, low, high = call.args[1:6]
    if not bool(numbers(switch).reshape(-1)[0]):
        return _kept(call)
    return _staircase(run, call, scale, zero, low, high, None)


def _per_channel(run: Run, call: Call) -> Any:
    scale, zero, axis, low, high = call.args[1:6]
    return _staircase(run, call, scale, zero, low, high, int(axis))


def _observed(run: Run, call: Call) -> Any:
    """An observer and a rounding in one: it has written the step that this run used."""
    _, _, switch, _, _, scale, zero, _, low, high, axis = call.args[:11]
    by_row = call.given(11, "per_row_fake_quant", False)
    if not bool(numbers(switch).reshape(-1)[0]):
        return _kept(call)
    return _staircase(run, call, scale, zero, low, high, int(axis) if by_row else None)


QUANTISED: dict[str, Callable[[Run, Call], Any]] = {
    "fake_quantize_per_tensor_affine_cachemask": _per_tensor,
    "fake_quantize_per_tensor_affine": _per_tensor,
    "_fake_quantize_learnable_per_tensor_affine": _per_tensor,
    "_fake_quantize_per_tensor_affine_cachemask_tensor_qparams": _per_tensor_switched,
    "fake_quantize_per_channel_affine_cachemask": _per_channel,
    "fake_quantize_per_channel_affine": _per_channel,
    "_fake_quantize_learnable_per_channel_affine": _per_channel,
    "_fused_moving_avg_obs_fq_helper": _observed,
}
