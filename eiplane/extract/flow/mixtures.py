"""Mixtures of two signals that are written out: ``(1 - z) * n + z * h``, as gates make them.

Interval arithmetic takes the three factors of a sum of products for three signals, and finds more
than there is: between n and h it stays, if z lies in [0, 1]. So the last few products and
differences of signals are remembered, and a sum that is such a mixture is reported as one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from .recognise import PROBE, chain
from .signals import SHIFT, Codes, Operand, Signals, common

__all__ = ["Mixtures"]

#: Products and differences that are remembered, and entries of such, at most.
_LAST, _MOST = 6, 1 << 18


@dataclass(frozen=True, eq=False)
class _Pair:
    """A product or a difference of two signals, as those were then."""

    name: str
    first: Operand
    second: Operand
    codes: Codes


class Mixtures:
    """The last products and differences of signals.

    Parameters
    ----------
    signals : Signals
    """

    def __init__(self, signals: Signals) -> None:
        self._signals = signals
        self._last: deque[_Pair] = deque(maxlen=_LAST)

    def hear(self, name: str, operands: Sequence[Operand], codes: Codes) -> None:
        """Hear of an elementwise operator of several signals."""
        if name not in ("mul", "sub") or len(operands) != 2 or codes.size > _MOST:
            return
        if any(x.codes is None for x in operands):
            return
        first, second = (
            replace(x, codes=np.broadcast_to(cast("Codes", x.codes), codes.shape))
            for x in (operand.kept() for operand in operands)
        )
        self._last.append(_Pair(name, first, second, codes.copy()))

    def found(self, name: str, operands: Sequence[Operand]) -> list[Operand] | None:
        """Return the share and the two signals of ``share * a + (1 - share) * b``, or None.

        Parameters
        ----------
        name : str
            Of an operator.
        operands : sequence of Operand
            What it takes.

        Returns
        -------
        list of Operand, or None
        """
        if name not in ("add", "sub") or len(operands) != 2 or not self._last:
            return None
        first, second = operands
        if first.codes is None or second.codes is None or first.codes.shape != second.codes.shape:
            return None
        pairs = [self._made_by("mul", x.codes) for x in operands]
        if name == "add" and pairs[0] is not None and pairs[1] is not None:
            return self._shared(pairs[0], pairs[1])
        for x, pair in [(first, pairs[1]), (second, pairs[0])][: 2 if name == "add" else 1]:
            made = None if pair is None else self._towards(x, pair, name == "add")
            if made is not None:
                return made
        return None

    def _made_by(self, name: str, codes: Codes | None) -> _Pair | None:
        """Return the pair that an array is the product or difference of."""
        return next((p for p in reversed(self._last) if p.name == name and _same(p.codes, codes)),
                    None)  # fmt: skip

    def _shared(self, one: _Pair, two: _Pair) -> list[Operand] | None:
        """Return the parts of a sum of two products, if their shares make one whole."""
        for share, a in ((one.first, one.second), (one.second, one.first)):
            for rest, b in ((two.first, two.second), (two.second, two.first)):
                levels = self._complement(share, rest)
                if levels is not None:  # the gate itself, not 1 less it
                    return [share, a, b] if levels[0] <= levels[1] else [rest, b, a]
        return None

    def _towards(self, start: Operand, pair: _Pair, forward: bool) -> list[Operand] | None:
        """Return the parts of ``b + z * (a - b)``, or ``b - z * (b - a)``."""
        for share, other in ((pair.first, pair.second), (pair.second, pair.first)):
            apart = self._made_by("sub", other.codes)
            if apart is None:
                continue
            end, begun = (apart.first, apart.second) if forward else (apart.second, apart.first)
            if _same(begun.codes, start.codes):
                return [share, end, start]
        return None

    def _complement(self, share: Operand, rest: Operand) -> tuple[int, int] | None:
        """Return both levels if one signal is 1 less the other, entry by entry; else None."""
        one, two = self._signals.alone(share.codes), self._signals.alone(rest.codes)
        if one is None or two is None or one.origin is not two.origin:
            return None
        assert share.codes is not None and rest.codes is not None
        if not bool((rest.codes - share.codes == (two.base - one.base) << SHIFT).all()):
            return None
        shared = common([one, two])
        made = [chain(value, shared) for value in (one, two)]
        if made[0] is None or made[1] is None:
            return None
        with np.errstate(all="ignore"):
            whole = made[0](PROBE[None]) + made[1](PROBE[None])
        fits = np.allclose(whole, 1.0, rtol=0.0, atol=1e-12)
        return (one.level, two.level) if fits else None


def _same(a: Codes | None, b: Codes | None) -> bool:
    if a is None or b is None or a.shape != b.shape or a.size == 0:
        return False
    return bool(a.flat[0] == b.flat[0]) and bool((a == b).all())
