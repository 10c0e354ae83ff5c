"""What joins several signals: sums, products and norms, by the names that they have anywhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...network import Join, Known, Mixture, Norm, Pairwise, RangeRule, Scaled, Unknown
from .choices import moved
from .flow import Flow
from .normed import centred, normalised
from .signals import SHIFT, Codes, Operand

__all__ = ["chosen", "combined_rule", "known_norm", "product"]

#: What keeps to the corners of its operands' ranges.
_CORNERS = {"add": "add", "sub": "sub", "mul": "mul", "div": "div", "maximum": "maximum",
            "minimum": "minimum", "fmax": "maximum", "fmin": "minimum"}  # fmt: skip


def combined_rule(name: str, rules: Sequence[RangeRule], scale: float = 1.0) -> RangeRule:
    """Return the range of what joins several signals.

    Parameters
    ----------
    name : str
        ``add``, ``sub``, ``mul``, ``div``, ``maximum``, ``minimum``, ``rsub``, ``where``,
        ``masked_fill``, ``addcmul``, ``addcdiv``, ``lerp``, ``atan2``; of any other nothing is
        known.
    rules : sequence of RangeRule
        Of all operands, of any number for sums and extremes.
    scale : float
        Of the second term of a sum, or of the product that is added; a lerp's weight.

    Returns
    -------
    RangeRule
    """
    if name in _CORNERS:
        made = rules[0]
        for other in rules[1:]:
            other = other if scale == 1.0 else Scaled(scale, operands=(other,))
            made = Pairwise(_CORNERS[name], operands=(made, other))
        return made
    if name == "rsub":
        return Pairwise("sub", operands=(rules[1], rules[0]))
    if name == "where":
        return Join(True, operands=tuple(rules[1:]))
    if name == "masked_fill":
        return Join(True, operands=(rules[0], *rules[2:])) if len(rules) > 2 else Unknown()
    if name == "atan2":
        return Known(-math.pi, math.pi)
    if name in ("addcmul", "addcdiv"):
        both = Pairwise("mul" if name == "addcmul" else "div", operands=(rules[1], rules[2]))
        return Pairwise("add", operands=(rules[0], Scaled(scale, operands=(both,))))
    if name == "lerp":
        share = rules[2] if len(rules) > 2 else Known(scale, scale)
        return Mixture(operands=(share, rules[1], rules[0]))
    return Unknown()


def chosen(flow: Flow, operands: Sequence[Operand], shape: Sequence[int]) -> Codes | None:
    """Return the codes of a choice by a condition that no chosen signal is in; else None.

    Parameters
    ----------
    flow : Flow
    operands : sequence of Operand
        The condition, and what is taken where it holds and where it does not.
    shape : sequence of int
        Of the result.

    Returns
    -------
    ndarray of int64 or None
    """
    condition, *choices = operands
    shape = tuple(shape)
    if all(x.codes is None for x in choices):
        return None  # two constants: a step of the condition
    if condition.codes is not None:
        decides = flow.marks(condition.codes)
        for x in choices:
            if x.codes is not None and decides & flow.marks(x.codes, False):
                return None
    where = np.broadcast_to(np.asarray(condition.read(), dtype=bool), shape)
    taken = [np.broadcast_to(np.int64(-1) if x.codes is None else x.codes, shape) for x in choices]
    if condition.codes is not None and any(
        _some_never(codes, there) for codes, there in zip(taken, (where, ~where), strict=True)
    ):
        return None  # of another input they would be taken

    def constants() -> list[Any]:
        shown = [(x.codes, np.asarray(x.read(), dtype=np.float64)) for x in choices]
        return [a if c is None else a[c < 0] for c, a in shown]

    return moved(flow, [condition], np.where(where, *taken), constants)


def _some_never(codes: Codes, taken: NDArray[np.bool_]) -> bool:
    """Return whether some rows of a signal are taken, and others nowhere."""
    chosen = np.unique(codes[taken] >> SHIFT)
    every = np.unique(codes >> SHIFT)
    there = int((chosen >= 0).sum())
    return 0 < there < int((every >= 0).sum())


def known_norm(
    flow: Flow, name: str, operands: Sequence[Operand], shape: Sequence[int]
) -> tuple[Norm | None, dict[str, Any]]:
    """Return the norm that an operator is the last step of, and what else is known of it.

    Parameters
    ----------
    flow : Flow
    name : str
        ``sub``, ``mul`` or ``div``; others are steps of no norm.
    operands : sequence of Operand
    shape : sequence of int
        Of the result.

    Returns
    -------
    norm : Norm or None
    known : dict
        To be told to :meth:`Flow.combine`.
    """
    codes = [c for c in (x.codes for x in operands) if c is not None]
    if len(operands) != 2 or len(codes) != 2:
        return None, {}
    x, y = codes
    if name == "sub" and tuple(shape) == x.shape:
        traits = centred(flow, x, y)
        return None, {"traits": traits} if traits else {}
    if name not in ("mul", "div"):
        return None, {}
    for a, b in [(x, y), (y, x)] if name == "mul" else [(x, y)]:
        norm = normalised(flow, a, b, name == "div")
        if norm is not None:
            return norm, {}
    return None, {}


def product(
    flow: Flow, what: str, a: Operand, b: Operand, width: int, shape: Sequence[int]
) -> Codes:
    """Report a product of two signals: attention's, if the first is made of shares.

    Parameters
    ----------
    flow : Flow
    what : str
    a, b : Operand
    width : int
        Number of terms that each entry is a sum of.
    shape : sequence of int
        Of the result.

    Returns
    -------
    ndarray of int64
        Codes of the result.
    """
    origins = flow.signals.origins_in(a.codes)
    softmax = bool(origins) and all(o.traits.get("shares") for o in origins)
    shares = _shares(a) if softmax else None
    fixed = [None if x.codes is not None else _ends(x) for x in (a, b)]

    def rule(rules: list[RangeRule]) -> RangeRule:
        given = iter(rules)
        parts = [next(given) if f is None else Known(*f) for f in fixed]
        if shares == 1.0:
            return parts[1]
        if shares is not None:
            return Join(operands=(Known(0.0, 0.0), parts[1]))
        return Scaled(width, operands=(Pairwise("mul", operands=tuple(parts)),))

    return flow.event(what, [a, b], shape, rule)


def _ends(x: Operand) -> tuple[float, float]:
    found = np.asarray(x.read(), dtype=np.float64)
    return (float(found.min()), float(found.max())) if found.size else (0.0, 0.0)


def _shares(x: Operand) -> float | None:
    """Return 1 if rows are shares of one whole, less than 1 if they are parts of some."""
    found = np.asarray(x.read(), dtype=np.float64)
    if found.size == 0 or not bool((found >= 0).all()):
        return None
    sums = found.sum(axis=-1)
    if bool((sums > 1.0 + 1e-2).any()):
        return None
    return 1.0 if bool((np.abs(sums - 1.0) < 1e-2).all()) else 0.5
