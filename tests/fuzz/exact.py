"""Information of single edges and outputs in fractions: the mathematics, and nothing of eiplane.

``z = b + sum_i w_i x_i`` with independent uniform ``x_i``. The distribution function of such a sum
is a piecewise polynomial, by inclusion and exclusion over the corners of the box (Feller, *An
Introduction to Probability Theory* II, I.9), and exact in fractions. Edges of bins are carried
back through the activation with 60 digits.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from fractions import Fraction

import mpmath

Interval = tuple[Fraction, Fraction]
INF = math.inf

#: Inputs up to which the sum over corners is quick.
MOST_INPUTS = 4


def fraction(value: mpmath.mpf) -> Fraction:
    """Return a number of many digits as a fraction."""
    sign, mantissa, exponent, _ = value._mpf_
    return Fraction(-mantissa if sign else mantissa) * Fraction(2) ** exponent


def _logit(y: Fraction) -> Fraction:
    with mpmath.workdps(60):
        v = mpmath.mpf(y.numerator) / y.denominator
        return fraction(mpmath.log(v) - mpmath.log1p(-v))


def _atanh(y: Fraction) -> Fraction:
    with mpmath.workdps(60):
        return fraction(mpmath.atanh(mpmath.mpf(y.numerator) / y.denominator))


def _same(y: Fraction) -> Fraction:
    return y


#: Rising activations: the least and greatest value, whether each is reached, and the inverse between.
Rising = tuple[float, bool, float, bool, Callable[[Fraction], Fraction]]
RISING: dict[str, Rising] = {
    "identity": (-INF, False, INF, False, _same),
    "relu": (0.0, True, INF, False, _same),
    "leaky_relu(0.25)": (-INF, False, INF, False, lambda y: y if y >= 0 else 4 * y),
    "hardtanh": (-1.0, True, 1.0, True, _same),
    "sigmoid": (0.0, False, 1.0, False, _logit),
    "tanh": (-1.0, False, 1.0, False, _atanh),
}


def first_reached(activation: str, value: Fraction) -> Fraction | float:
    """Return the least z with ``f(z) >= value``; minus infinity if all are, infinity if none is."""
    low, low_reached, high, high_reached, inverse = RISING[activation]
    if value <= low or (value == low and low_reached):
        return -INF
    if value > high or (value == high and not high_reached):
        return INF
    return inverse(value)


def below(t: Fraction | float, base: Fraction, widths: Sequence[Fraction]) -> Fraction:
    """Return ``P(base + a sum of uniforms of these widths < t)``."""
    if t in (INF, -INF):
        return Fraction(int(t > 0))
    assert isinstance(t, Fraction)
    rest = t - base
    widths = [w for w in widths if w]
    if not widths:
        return Fraction(int(rest > 0))
    if rest >= sum(widths):
        return Fraction(1)
    total, n = Fraction(0), len(widths)
    for corner in itertools.product((0, 1), repeat=n):
        part = rest - sum((w for w, c in zip(widths, corner, strict=True) if c), Fraction(0))
        if part > 0:
            total += (-1) ** sum(corner) * part**n
    return total / (math.factorial(n) * math.prod(widths))


class Output:
    """One output of a layer, exactly."""

    def __init__(
        self,
        weights: Sequence[float],
        bias: float,
        activation: str,
        bins: tuple[int, int],
        in_range: tuple[float, float],
        out_range: tuple[float, float],
        drop: bool,
        edge_shift: Fraction = Fraction(0),
        shift: Fraction = Fraction(0),
    ) -> None:
        """Take the numbers as the fractions that they are; the shifts are for conditioning."""
        self.weights = [Fraction(w) for w in weights]
        self.bias = Fraction(bias) + shift
        self.bins, self.drop = bins, drop
        self.low, self.high = Fraction(in_range[0]), Fraction(in_range[1])
        lo, hi = Fraction(out_range[0]), Fraction(out_range[1])
        edges = [lo + (hi - lo) * k / bins[1] + edge_shift for k in range(bins[1] + 1)]
        self.cuts = [first_reached(activation, e) for e in edges]
        _, _, high_end, reached, _ = RISING[activation]
        if reached and edges[-1] == high_end:  # the upper edge itself belongs to the last bin
            self.cuts[-1] = INF

    def probabilities(self, boxes: Sequence[Interval]) -> list[Fraction]:
        """Return the probabilities of the output's bins, inputs uniform on intervals."""
        ends = [(w * a, w * b) for w, (a, b) in zip(self.weights, boxes, strict=True)]
        base = self.bias + sum((min(e) for e in ends), Fraction(0))
        widths = [max(e) - min(e) for e in ends]
        f = [below(t, base, widths) for t in self.cuts]
        inside = [b - a for a, b in itertools.pairwise(f)]
        if not self.drop:
            inside[0] += f[0]
            inside[-1] += 1 - f[-1]
        return inside

    def cell(self, k: int) -> Interval:
        """Return bin k of an input."""
        step = (self.high - self.low) / self.bins[0]
        return self.low + k * step, self.low + (k + 1) * step

    def edge(self, a: int) -> float:
        """Return ``I(x_a; y)`` with every input perturbed."""
        whole = [(self.low, self.high)] * len(self.weights)
        return self._information(a, whole)

    def sensitivity(self, a: int, baseline: float) -> float:
        """Return ``I(x_a; y)`` with the others at the baseline."""
        return self._information(a, [(Fraction(baseline),) * 2] * len(self.weights))

    def _information(self, a: int, boxes: list[Interval]) -> float:
        rows = []
        for k in range(self.bins[0]):
            boxes[a] = self.cell(k)
            rows.append(self.probabilities(boxes))
        return information(rows)

    def whole(self) -> float:
        """Return ``I(X; y)`` of all inputs' bins."""
        cells = itertools.product(range(self.bins[0]), repeat=len(self.weights))
        return information([self.probabilities([self.cell(k) for k in ks]) for ks in cells])


def information(rows: Sequence[Sequence[Fraction]]) -> float:
    """Return the information in bits of a table of weights; 0 of an empty one."""
    total = sum(map(sum, rows))
    if total <= Fraction(1, 10**12) * len(rows):
        return 0.0
    columns = [sum(c) for c in zip(*rows, strict=True)]
    bits = 0.0
    for row in rows:
        of_row = sum(row)
        for value, column in zip(row, columns, strict=True):
            if value > 0:
                bits += float(value / total) * _log2(value * total / (of_row * column))
    return bits


def _log2(ratio: Fraction) -> float:
    if Fraction(1, 2) < ratio < 2:  # near 1 the difference counts
        return math.log1p(float(ratio - 1)) / math.log(2.0)
    return math.log2(ratio.numerator) - math.log2(ratio.denominator)
