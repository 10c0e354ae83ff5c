"""Rows of 8 to 32 inputs, against sums over subsets in rational arithmetic.

Their series is cut off early (csrc/exact/ei_agree.c), and of many bins a few places are looked at
(csrc/exact/ei_nodes.c).
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

from eiplane import Layer, _core, analyze
from eiplane.network import Binning, automatic_range, discretize
from eiplane.pairwise import exact
from eiplane.run import Runner

HERE = Runner(threads=1)


def distribution(groups: dict[Fraction, int], points: list[Fraction]) -> list[Fraction]:
    """P(S <= s), S a sum of uniforms on [-w/2, w/2]: groups tells how many there are of a width.

    Of equal widths it only matters how many are in a subset.
    """
    n = sum(groups.values())
    unit = math.lcm(*(w.denominator for w in groups), *(2 * s.denominator for s in points))
    subsets: dict[int, int] = {}
    for counts in itertools.product(*(range(m + 1) for m in groups.values())):
        place = sum(k * int(w * unit) for k, w in zip(counts, groups, strict=True))
        ways = math.prod(math.comb(m, k) for k, m in zip(counts, groups.values(), strict=True))
        subsets[place] = subsets.get(place, 0) + (-1) ** sum(counts) * ways
    whole = math.factorial(n) * math.prod(int(w * unit) ** m for w, m in groups.items())
    half = sum((w * m for w, m in groups.items()), Fraction(0)) / 2
    found = []
    for s in points:
        y = int((s + half) * unit)
        found.append(Fraction(sum(c * (y - a) ** n for a, c in subsets.items() if y > a), whole))
    return found


def information(channel, output: int, input_: int) -> float:
    """I(x_A; y_B) in bits, of a channel whose intervals between thresholds are all bins."""
    rule = channel.rules[0]
    assert len(set(rule.labels.tolist())) == len(rule.labels)
    low, high = Fraction(channel.in_lo), Fraction(channel.in_hi)
    weights = [Fraction(w) for w in channel.weight[output]]
    centre = Fraction(channel.bias[output]) + sum(weights) * (low + high) / 2
    widths = [abs(w) * (high - low) for w in weights]
    own, bins = widths.pop(input_), channel.in_bins
    groups = {w: widths.count(w) for w in widths if w}
    groups[own / bins] = groups.get(own / bins, 0) + 1
    thresholds = [Fraction(t) for t in rule.thresholds if math.isfinite(t)]
    points = [
        t - centre - own * Fraction(2 * i + 1 - bins, 2 * bins)
        for i in range(bins)
        for t in thresholds
    ]
    below = distribution(groups, points)
    m = len(thresholds)
    table = np.empty((bins, m + 1))
    for i in range(bins):
        ends = [Fraction(0), *below[i * m : (i + 1) * m], Fraction(1)]
        table[i] = [float(b - a) for a, b in itertools.pairwise(ends)]

    def entropy(p):
        return -math.fsum(x * math.log2(x) for x in p.ravel() if x > 0)

    return entropy(table.mean(axis=0)) - entropy(table) / bins


def channel_of(row, activation, bins, in_range=(0.0, 1.0), share=0.5):
    weight = np.atleast_2d(np.asarray(row, float))
    layer = Layer(weight, -share * weight.sum(axis=1), activation)
    return discretize(layer, Binning(*bins), in_range, automatic_range(layer, in_range))


#: Few different widths: the sums over subsets stay short.
WIDTHS = {
    "equal": lambda n: [0.75] * n,
    "two kinds": lambda n: [1.25] * (n // 2) + [-0.4] * (n - n // 2),
    "one wide": lambda n: [2.5] + [0.3] * (n - 1),
    "wide, narrow": lambda n: [1.5] * 3 + [0.5] * (n - 4) + [1e-3],
    "giants": lambda n: [40.0, -40.0] + [0.25] * (n - 2),
}


@pytest.mark.parametrize("fan_in", [8, 9, 12, 16, 20, 25, 32, 33])
@pytest.mark.parametrize("name", WIDTHS)
def test_against_sums_over_subsets(name, fan_in):
    row = WIDTHS[name](fan_in)
    wide, narrow = int(np.argmax(np.abs(row))), int(np.argmin(np.abs(row)))
    cases = [("sigmoid", (8, 8), 0.5), ("tanh", (4, 4), 0.45), ("identity", (5, 16), 0.6)]
    for activation, bins, share in cases:
        channel = channel_of(row, activation, bins, share=share)
        parts = exact.ei_parts(channel, HERE)
        assert parts.error_bound <= 1e-9
        for at in {wide, narrow}:
            error = abs(parts.edges[0, at] - information(channel, 0, at))
            assert error <= min(1e-9, parts.error_bound + 1e-13), (activation, bins, at, error)


@pytest.mark.parametrize("fan_in", [8, 12, 16, 25])
@pytest.mark.parametrize("bins", [(24, 6), (64, 7), (25, 8), (48, 3)])
def test_a_few_places_of_many_bins(fan_in, bins):
    for row in (WIDTHS["equal"](fan_in), WIDTHS["two kinds"](fan_in), WIDTHS["one wide"](fan_in)):
        channel = channel_of(row, "tanh", bins, (-1.0, 2.0), share=0.4)
        parts = exact.ei_parts(channel, HERE)
        assert parts.error_bound <= 1e-9
        error = abs(parts.edges[0, 0] - information(channel, 0, 0))
        assert error <= min(1e-9, parts.error_bound + 1e-13), error


def test_far_tails():
    """Cells that are next to never hit, on one side or on both."""
    for fan_in, share in ((10, 0.1), (14, 0.9), (18, 0.5), (24, 0.75)):
        channel = channel_of([0.9] * 5 + [0.35] * (fan_in - 5), "identity", (32, 40), share=share)
        parts = exact.ei_parts(channel, HERE)
        assert parts.error_bound <= 1e-9
        for at in (0, fan_in - 1):
            error = abs(parts.edges[0, at] - information(channel, 0, at))
            assert error <= min(1e-9, parts.error_bound + 1e-13), (fan_in, at, error)


def test_every_instruction_set_and_cut_gives_the_same_bits(generator):
    before, seen = _core.active(), set()
    kinds = ((8, "relu", 8), (13, "tanh", 33), (20, "sigmoid", 64), (31, "gelu", 24))
    channels = [
        channel_of(generator.normal(size=(4, n)) * 3 / np.sqrt(n), activation, (b, b))
        for n, activation, b in kinds
    ]
    try:
        for name in _core.supported():
            _core.select(name)
            for k, channel in enumerate(channels):
                for threads in (1, 3):
                    parts = exact.ei_parts(channel, Runner(threads=threads))
                    seen.add((k, parts.edges.tobytes(), parts.error_bound))
                alone = exact.ei_parts(channel.rows(2, 3), HERE)
                assert (alone.edges == parts.edges[2:3]).all()
    finally:
        _core.select(before)
    assert len(seen) == len(channels)


def test_dropped_rows_take_the_stricter_way():
    row = [0.9, -1.4, 0.6, 1.0, 0.3, 0.8, -0.2, 0.5, 0.7, 0.4]
    layer = Layer(np.array([row]), [0.1], "sigmoid")
    every = discretize(layer, Binning(8, 8), (0.0, 1.0), (0.0, 1.0))
    kept = discretize(layer, Binning(8, 8, drop=True), (0.0, 1.0), (0.0, 1.0))
    clipped, dropped = exact.ei_parts(every, HERE), exact.ei_parts(kept, HERE)
    assert np.abs(clipped.edges - dropped.edges).max() <= clipped.error_bound + dropped.error_bound


@pytest.mark.parametrize("outliers", ["clip", "drop"])
@pytest.mark.parametrize("bins", [8, 30])
def test_a_row_is_the_same_whatever_came_before_it(bins, outliers):
    """Rows of two kinds, which take different ways, by turns."""
    w = np.random.default_rng(0).normal(size=(600, 16))
    w[1::2] *= 1e-3
    w[1::2, 0] = 1.0
    options = {"measures": "ei_parts", "bins": (32, bins), "in_range": (-1, 1)}
    options |= {"outliers": outliers, "out_range": (-28, 28)}

    def edges(weight, threads=1):
        return analyze([weight], "identity", threads=threads, **options)[0].ei_edges

    found = edges(w)
    assert (edges(w[::-1])[::-1] == found).all()
    assert (edges(w, threads=3) == found).all()
    assert (edges(w, threads=4) == found).all()
    assert (np.concatenate([edges(row[None]) for row in w[:40]]) == found[:40]).all()
