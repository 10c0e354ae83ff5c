"""Entropies of single outputs given the cells of inputs: against fractions, counts and sampling."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from scipy import special

import eiplane
from eiplane import _core, reference
from eiplane.joint import given as module
from eiplane.joint.given import given_entropies, tractable
from eiplane.joint.sums import reach, uniform_distribution
from eiplane.network import Binning, Layer, discretize
from eiplane.run import Runner


def channel_of(weight, bins=8, activation="sigmoid", out_range=(0, 1), drop=False, bias=None):
    layer = Layer(np.asarray(weight, dtype=float), bias, activation, "made")
    bins = (bins, bins) if isinstance(bins, int) else bins
    return discretize(layer, Binning(*bins, drop), (0.0, 1.0), out_range)


def by_fractions(channel, given, output):
    """H(bin of y | bins of the given inputs, y is kept), every cell gone through in fractions."""
    w = [Fraction(float(v)) for v in channel.weight[output]]
    b = Fraction(float(channel.bias[output]))
    bins = channel.in_bins
    cuts = [Fraction(float(t)) for t in channel.rules[0].thresholds]
    widths = [abs(v) / (bins if g else 1) for v, g in zip(w, given, strict=True)]
    places = [range(bins) if g else (None,) for g in given]
    total = kept = 0.0
    cells = list(itertools.product(*places))
    for cell in cells:
        centre = b + sum(
            v * (Fraction(1, 2) if i is None else Fraction(2 * i + 1, 2 * bins))
            for v, i in zip(w, cell, strict=True)
        )
        below = [0.0, *reference.uniform_sum(widths, [t - centre for t in cuts]), 1.0]
        p = np.zeros(channel.out_bins)
        for label, share in zip(channel.rules[0].labels, np.diff(below), strict=True):
            if label >= 0:
                p[label] += max(share, 0.0)
        part = p.sum()
        kept += part
        total -= math.fsum(v * math.log2(v) for v in p if v > 0)
        total += part * math.log2(part) if part > 0 else 0.0
    return total / kept if kept else 0.0


GELU = {"activation": "gelu", "out_range": (-0.17, 1.0)}
DROPS = {"activation": "identity", "out_range": (-0.3, 0.8), "drop": True}


@pytest.mark.parametrize(
    ("n", "bins", "options"),
    [
        (1, 8, {}),
        (2, 5, {}),
        (3, 4, GELU),
        (3, 4, DROPS),
        (4, 4, {"activation": "silu", "out_range": (-0.2, 0.7)}),
        (5, 3, {}),
        (5, 2, DROPS),
        (6, 2, GELU),
        (3, (2, 16), {}),
    ],
)
@pytest.mark.parametrize("few", [0, 4])
def test_against_fractions(n, bins, options, few, monkeypatch):
    """Both ways: every centre gone through, and the series."""
    monkeypatch.setattr(module, "_FEW", few)
    rng = np.random.default_rng(n)
    weight = rng.uniform(-4, 4, (3, n)) / np.sqrt(n)
    weight[1, 0] *= 20  # one towers over the others
    weight[2] = 1.0  # centres that coincide
    channel = channel_of(weight, bins, bias=[0.1, -0.2, 0.0], **options)
    for given in (np.ones(n, bool), np.arange(n) < 1, np.arange(n) < 0, np.arange(n) % 2 == 0):
        found = given_entropies(channel, given)
        wanted = [by_fractions(channel, given, o) for o in range(3)]
        off = np.abs(found.values - wanted)
        # The distribution function of one or two inputs has corners: the series says it is poor.
        assert (off <= found.errors + 1e-9).all()
        if few:
            assert (off < 1e-6).all()


def test_against_counting_at_width():
    """Random cells of a layer of 400 inputs, the bin's distribution in each by many draws."""
    rng = np.random.default_rng(0)
    n = 400
    channel = channel_of(rng.uniform(-3, 3, (4, n)) / np.sqrt(n), 8)
    for given in (np.ones(n, bool), np.arange(n) < 300):
        found = given_entropies(channel, given)
        assert (found.errors < 1e-9).all()
        values = np.zeros((4, 4000))
        span = np.where(given, 1 / 8, 1.0)
        # The sum within a cell is that of uniforms about zero, whatever the cell.
        inner = np.concatenate(
            [(rng.random((2000, n)) - 0.5) * span @ channel.weight.T for _ in range(20)]
        )
        inner.sort(axis=0)
        for i in range(values.shape[1]):
            centre = np.where(given, (rng.integers(0, 8, n) + 0.5) / 8, 0.5) @ channel.weight.T
            for o in range(4):
                below = np.searchsorted(inner[:, o], channel.rules[0].thresholds - centre[o]) / len(
                    inner
                )
                p = np.diff(np.concatenate([[0.0], below, [1.0]]))
                p = p[p > 0]
                values[o, i] = -(p * np.log2(p)).sum()
        error = values.std(axis=1) / math.sqrt(values.shape[1])
        assert (np.abs(values.mean(axis=1) - found.values) < 4 * error + 2e-4).all()


def test_information_of_an_edge_is_the_exact_engine_s():
    """One input given: H(Y_B) less this entropy is I(x_A; y_B), which C computes another way."""
    rng = np.random.default_rng(3)
    weight = rng.normal(size=(5, 60)) * rng.choice([0.01, 1, 3], (5, 60))
    for options in ({}, GELU, {"activation": "relu", "out_range": (0, 3), "bins": (16, 6)}):
        channel = channel_of(weight, **options)
        whole = eiplane.pairwise.output_marginals(channel)
        entropy = -(whole * np.log2(np.where(whole > 0, whole, 1))).sum(axis=1)
        edges = eiplane.pairwise.exact.ei_parts(channel, Runner(1)).edges
        for a in (0, 17, 59):
            found = entropy - given_entropies(channel, np.arange(60) == a).values
            np.testing.assert_allclose(found, edges[:, a], atol=3e-9)


def test_in_closed_form():
    """One input of slope 1/2 and 8 bins: thresholds in the middle of every second bin."""
    channel = channel_of([[0.5, 0.0]], activation="identity")
    # z = x / 2 crosses k / 8 at x = k / 4: on an edge of the 8 input bins, so nothing is uncertain.
    np.testing.assert_allclose(given_entropies(channel, np.ones(2, bool)).values, 0.0, atol=1e-12)
    shifted = channel_of([[0.5, 0.0]], activation="identity", bias=[1 / 32])
    # Now at x = k / 4 - 1 / 16: in the middle of input bins 1, 3, 5, 7, half and half.
    found = given_entropies(shifted, np.ones(2, bool)).values
    np.testing.assert_allclose(found, 0.5, atol=1e-12)


def test_what_must_not_matter():
    rng = np.random.default_rng(5)
    weight = rng.uniform(-1, 1, (2, 40))
    plain = given_entropies(channel_of(weight), np.ones(40, bool)).values
    other = channel_of(np.hstack([-weight[:, ::-1], np.zeros((2, 7))]))
    other = replace(other, bias=other.bias + weight.sum(axis=1))
    np.testing.assert_allclose(given_entropies(other, np.ones(47, bool)).values, plain, atol=1e-11)
    many = given_entropies(channel_of(np.tile(weight, (300, 1))), np.ones(40, bool), Runner(2))
    np.testing.assert_array_equal(many.values, np.tile(plain, 300))
    assert (given_entropies(channel_of(weight * 0), np.ones(40, bool)).values == 0).all()
    nothing_given = given_entropies(channel_of(weight), np.zeros(40, bool)).values
    whole = eiplane.pairwise.output_marginals(channel_of(weight))
    np.testing.assert_allclose(nothing_given, -(whole * np.log2(whole)).sum(axis=1), atol=1e-9)


def test_a_dominant_weight_says_how_exact_it_is():
    rng = np.random.default_rng(0)
    for ratio in (1e2, 1e3, 1e5):
        weight = rng.uniform(-1, 1, (1, 30)) / ratio
        weight[0, 0] = 3.0
        found = given_entropies(channel_of(weight), np.ones(30, bool))
        # The rest as one more uniform of the same variance: the limit, off by a part of its share.
        two = channel_of(np.array([[3.0, np.sqrt((weight[0, 1:] ** 2).sum())]]))
        two = replace(two, bias=two.bias + 0.5 * (weight.sum() - two.weight.sum()))
        limit = given_entropies(two, np.array([True, True])).values
        assert abs(found.values[0] - limit[0]) < 0.2 / ratio + found.errors[0]
        assert found.errors[0] < (1e-8 if ratio < 1e4 else 1e-3)


@pytest.mark.parametrize("free", [False, True])
@pytest.mark.parametrize("towers", [[3.0], [2.0, -1.0, 0.6]])
def test_what_a_few_towers_leave_out_is_bounded(towers, free):
    """Cuts at the edges of cells, where what is left out matters most; and elsewhere."""
    rng = np.random.default_rng(len(towers))
    for small in (1e-6, 1e-8):
        small_ones = small * rng.uniform(-1, 1, 5 if len(towers) == 1 else 3)
        weight = np.concatenate([small_ones, towers])[None]
        given = np.ones(weight.shape[1], bool)
        given[[0, -1] if free else []] = False
        for out_range in ((0.0, 3.0), (0.1, 2.9)):
            channel = channel_of(weight, (2, 3), "identity", out_range)
            found = given_entropies(channel, given, normal=True)
            off = abs(found.values[0] - by_fractions(channel, given, 0))
            assert off <= found.errors[0] < 1e-4
            assert np.isfinite(found.normal).all()
    near = given_entropies(channel_of(np.tile(1.0, (1, 12)), 4), np.ones(12, bool))
    assert near.errors[0] < 1e-8  # none towers


def test_distribution_of_a_few_uniforms():
    rng = np.random.default_rng(1)
    for widths in ([1.0], [1e-9, 1.0], [1.0, 1.0, 1.0], [1e-3, 0.3, 0.4, 5.0]):
        t = np.concatenate([rng.uniform(-3, 3, 40), [0.0, 0.5 * sum(widths)]])
        wanted = reference.uniform_sum(list(map(Fraction, widths)), list(map(Fraction, t)))
        np.testing.assert_allclose(uniform_distribution(np.array(widths), t), wanted, atol=1e-14)
    assert uniform_distribution(np.empty(0), np.array([-1.0, 1.0])).tolist() == [0.0, 1.0]


@pytest.mark.parametrize("instructions", _core.supported())
@pytest.mark.parametrize("bins", [2, 3, 8, 64])
@pytest.mark.parametrize("n", [5, 60, 700])
def test_characteristic_functions(n, bins, instructions):
    """The pruned product with its series is the plain product."""
    rng = np.random.default_rng(n)
    steps = np.sort(rng.uniform(0, 1, n) ** 3)[::-1].copy()
    parts = np.sort(np.concatenate([steps, rng.uniform(0, 2, 3)]))[::-1].copy()
    step = 40 / reach(steps, 1.0) / 499
    w = np.arange(500) * step
    before = _core.active()
    try:
        _core.select(instructions)
        of_u, of_s = _core.sums_waves(parts, steps, bins, step, 500)
        high = _core.sums_highest(parts)
    finally:
        _core.select(before)
    np.testing.assert_allclose(of_s, reference.dirichlet_product(steps, bins, w), atol=1e-14)
    np.testing.assert_allclose(of_u, reference.sinc_product(parts, w), atol=1e-14)
    assert abs(reference.sinc_product(parts, np.array([high]))[0]) < 1e-16 or n == 5


def series(parts, steps, bins, cuts, kind, half, n, cancel=0):
    """The core's entropy on just so many points."""
    flag = np.array([cancel], np.int32)
    return _core.given_entropy(
        parts, steps, bins, cuts, kind, int(kind.max()) + 1, half, (n, n, n), 0.0, cuts, kind, flag
    )


def test_an_interrupt_is_heard():
    sizes = np.array([1.0, 0.8, 0.6])
    told = sizes, sizes[:1] / 6, 6, np.array([-0.1, 0.1]), np.arange(3, dtype=np.int32), 2.0, 64
    assert series(*told)[0] > 0.0
    with pytest.raises(KeyboardInterrupt):
        series(*told, cancel=1)


@pytest.mark.parametrize("kinds", ["plain", "many", "drops", "again"])
@pytest.mark.parametrize("n", [3, 40, 300])
def test_the_core_is_its_twin(n, kinds):
    rng = np.random.default_rng(n)
    sizes = np.sort(rng.uniform(0.2, 1, n) ** 2)[::-1].copy()
    bins, steps = 6, sizes[: n // 2 + 1] / 6
    parts = np.sort(np.concatenate([steps, sizes[n // 2 + 1 :]]))[::-1].copy()
    half = reach(parts, 1.0) + reach(steps * 5, 7 / 5)
    cuts = np.sort(rng.uniform(-0.9, 0.9, 40 if kinds == "many" else 7)) * half
    kind = np.arange(len(cuts) + 1, dtype=np.int32)
    if kinds == "drops":
        kind = np.where(np.isin(kind, [0, 3]), -1, kind - 1 - (kind > 3)).astype(np.int32)
    if kinds == "again":  # an activation that goes up and down
        kind %= 3
    value, kept = reference.given_entropy(parts, steps, bins, cuts, kind, half, 512)
    before, seen = _core.active(), []
    try:
        for name in _core.supported():
            _core.select(name)
            seen.append(series(parts, steps, bins, cuts, kind, half, 512))
    finally:
        _core.select(before)
    assert all(other == seen[0] for other in seen)
    assert seen[0][0] == pytest.approx(value, abs=1e-12)
    assert seen[0][2] == pytest.approx(kept if kinds == "drops" else 1.0, abs=1e-13)
    if n > 3:
        assert seen[0][1] < 1e-9


@pytest.mark.parametrize("options", [{}, GELU, {"activation": "silu", "out_range": (-0.2, 2)}])
@pytest.mark.parametrize("n", [2, 5, 40])
def test_surprise_as_if_normal(n, options):
    """The average of -log2 of the bin's normal probability in its cell, by many samples."""
    rng = np.random.default_rng(n)
    channel = channel_of(rng.uniform(-3, 3, (3, n)) / np.sqrt(n), **options)
    given = np.arange(n) % 3 < 2
    x = rng.random((60_000, n))
    centre = np.where(given, (np.floor(8 * x) + 0.5) / 8, 0.5) @ channel.weight.T
    labels = channel.bins_of(np.ascontiguousarray((x @ channel.weight.T).T)).T
    found = given_entropies(channel, given, normal=True).normal
    for o in range(3):
        widths = channel.weight[o] * np.where(given, 1 / 8, 1.0)
        deviation = math.sqrt((widths**2).sum() / 12)
        ends = np.concatenate([[-np.inf], channel.rules[0].thresholds, [np.inf]])
        below = special.ndtr((ends - centre[:, o, None]) / deviation)
        mine = channel.rules[0].labels == labels[:, o, None]
        surprise = -np.log2(np.maximum((np.diff(below, axis=1) * mine).sum(axis=1), 1e-9))
        error = surprise.std() / math.sqrt(len(x))
        assert abs(surprise.mean() - found[o]) < 4.5 * error + 1e-4


def test_what_it_speaks_of():
    weight = np.ones((2, 3))
    assert tractable(channel_of(weight))
    assert tractable(channel_of(np.ones((1000, 3000))))
    assert not tractable(channel_of(weight, **DROPS))


def test_influence_on_single_outputs_of_a_wide_layer():
    weight = np.random.default_rng(1).uniform(-5, 5, (30, 300)) / np.sqrt(300)
    channel = channel_of(weight)
    found = eiplane.ei_between(weight, range(300), [[o] for o in (0, 11, 29)])
    whole = eiplane.pairwise.output_marginals(channel)
    entropy = -(whole * np.log2(np.where(whole > 0, whole, 1))).sum(axis=1)
    wanted = entropy - given_entropies(channel, np.ones(300, bool)).values
    for one, o in zip(found, (0, 11, 29), strict=True):
        assert one.ei == pytest.approx(wanted[o], abs=1e-9)
        assert one.ei_stderr == 0.0
        assert one.ei_bounds[0] <= one.ei <= one.ei_bounds[1]
        assert one.ei_bounds[1] - one.ei_bounds[0] < 1e-6


def test_many_groups_with_single_outputs_are_exact():
    weight = np.random.default_rng(4).uniform(-3, 3, (4, 6))
    found = eiplane.ei_between(weight, [[0], [1, 2], [3]], [[1], [3], [0, 2]], bins=4)
    channel = channel_of(weight, 4)
    for one, inputs, output in zip(found, ([0], [1, 2]), (1, 3), strict=False):
        given = np.isin(np.arange(6), inputs)
        marginal = eiplane.pairwise.output_marginals(channel)[output]
        entropy = -(marginal * np.log2(marginal)).sum()
        wanted = entropy - given_entropies(channel, given).values[output]
        assert one.ei == pytest.approx(wanted, abs=1e-8)
        assert one.ei_stderr == 0.0
    assert found[2].samples > 0


def test_one_output_with_drops():
    weight = np.random.default_rng(2).uniform(-1, 1, (1, 4))
    options = {"activation": "identity", "out_range": (-0.3, 0.4), "outliers": "drop", "bins": 4}
    channel = channel_of(weight, 4, "identity", (-0.3, 0.4), True)
    found = eiplane.analyze(weight, measures="ei", **options)[0]
    marginal = eiplane.pairwise.output_marginals(channel)[0]
    p = marginal / marginal.sum()
    truth = -(p * np.log2(p)).sum() - by_fractions(channel, np.ones(4, bool), 0)
    assert found.ei == pytest.approx(truth, abs=1e-8)
    assert found.ei_stderr == 0.0
    counted = eiplane.analyze(weight, measures="ei", estimator="plugin", samples=400_000, **options)
    assert counted[0].ei == pytest.approx(truth, abs=5 * counted[0].ei_stderr + 1e-3)
