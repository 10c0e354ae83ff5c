"""Nodes that take a signal as it is: attention, choices, random numbers, searches."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...network import Join, Known, Mapped, RangeRule, Scaled, Unknown
from ..flow import Codes
from ..tables import words
from .call import Call

if TYPE_CHECKING:
    from .run import Run

__all__ = ["MIXES", "RANDOM", "reason_of"]

#: Nodes that draw numbers, and where those lie (by default).
RANDOM = {
    "RandomUniform": (0.0, 1.0),
    "RandomUniformLike": (0.0, 1.0),
    "RandomNormal": None,
    "RandomNormalLike": None,
    "Bernoulli": (0.0, 1.0),
    "Multinomial": None,
}

#: What they take is used as it is, and of what they give nothing is known.
_PLAIN = words(
    """
    ArgMax ArgMin NonZero OneHot Det NonMaxSuppression Col2Im Size EyeLike AffineGrid
    NegativeLogLikelihoodLoss SoftmaxCrossEntropyLoss LpPool GlobalLpPool CumProd DFT STFT
    """
)


def reason_of(kind: str) -> str:
    """Return why a layer is not analysed whose output such a node takes."""
    if kind in ("Loop", "Scan", "If", "SequenceMap"):
        return f"its output goes to {kind}, whose graph inside is not followed"
    if kind in ("DynamicQuantizeLinear",):
        return f"its output goes to {kind}, whose grid depends on the data"
    return f"its output goes to {kind}, which eiplane does not know"


def _used(run: Run, call: Call) -> list[Codes | None]:
    return [
        None
        if out is None
        else run.flow.event(call.kind, call.signals(), out.shape, lambda _: Unknown())
        for out in call.outs
    ]


def _attention(run: Run, call: Call) -> Any:
    """A mixture of the values."""
    values = sum(call.dynamic(k) for k in (0, 1))
    known = call.dynamic(2)

    def rule(rules: list[RangeRule]) -> RangeRule:
        return rules[values] if known else Unknown()

    first, *others = _used(run, call)
    del first
    return [run.flow.event(call.kind, call.signals(), call.shape, rule), *others]


def _rotary(run: Run, call: Call) -> Any:
    """Pairs of entries are turned: none grows by more than the root of two."""
    if not call.dynamic(0):
        return run.unknown(call)

    def rule(rules: list[RangeRule]) -> RangeRule:
        x = rules[0]
        # A turn of the box has its corners on a circle.
        return Join(operands=(Scaled(2.0**0.5, operands=(x,)), Scaled(-(2.0**0.5), operands=(x,))))

    return run.flow.event(call.kind, call.signals(), call.shape, rule)


def _dynamic_grid(run: Run, call: Call) -> list[Codes | None]:
    """Whole numbers from 0 to 255, of a grid from the data's least to its greatest, and 0."""

    def zero(rules: list[RangeRule]) -> RangeRule:
        return Mapped(_zero_of, True, operands=(Join(operands=(rules[0],)),))

    rules: list[Callable[[list[RangeRule]], RangeRule]]
    rules = [lambda _: Known(0.0, 255.0), lambda _: Unknown(), zero]
    return [
        None
        if out is None
        else run.flow.event(
            call.kind, call.signals(), out.shape, rule, unknown=reason_of(call.kind)
        )
        for out, rule in zip(call.outs, rules, strict=False)
    ]


def _zero_of(least: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the end of the zero point for an end of the data: 0 if none of it is below zero."""
    return np.where(least < 0, 255.0, 0.0)


def _bernoulli(run: Run, call: Call) -> Any:
    return run.flow.event(call.kind, call.signals(), call.shape, lambda _: Known(0.0, 1.0),
                          traits={"random": True})  # fmt: skip


MIXES: dict[str, Callable[[Run, Call], Any]] = {
    **dict.fromkeys(_PLAIN, _used),
    "Attention": _attention,
    "RotaryEmbedding": _rotary,
    "DynamicQuantizeLinear": _dynamic_grid,
    "Bernoulli": _bernoulli,
}
