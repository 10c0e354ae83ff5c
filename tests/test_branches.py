"""Labels that are unions of intervals: their branches against volumes, EI against counting."""

import itertools
import math

import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.spatial import ConvexHull, HalfspaceIntersection, QhullError

import eiplane
from eiplane.joint.branches import most_branches, sum_branches
from eiplane.joint.polytopes import possible_branches
from eiplane.joint.volumes import FILTERED, FilterUnit, draw_samples, problem
from eiplane.network import Binning, Layer, automatic_range, discretize, get_activation

FUNCTIONS = {
    "sin": np.sin,
    "abs": np.abs,
    "cos": np.cos,
    "gaussian": lambda z: np.exp(-z * z),
    "square": lambda z: z * z,
}


def layer_of(name, n_in, n_out, spread, seed=0):
    rng = np.random.default_rng([seed, n_in, n_out])
    weight = rng.normal(size=(n_out, n_in)) * spread
    bias = rng.normal(size=n_out) - weight.sum(axis=1) / 2.0
    return Layer(weight, bias, get_activation(name))


def labels_of(layer, bins=(4, 8), count=40, within=False, out_range=None):
    found = out_range or automatic_range(layer, (0.0, 1.0))
    channel = discretize(layer, Binning(*bins, False), (0.0, 1.0), found)
    n_out, n_in = channel.weight.shape
    p = problem(channel, np.ones(n_in, bool), np.ones(n_out, bool), 5)
    samples = draw_samples(FilterUnit(p, 0, count), FILTERED)
    return p, samples, samples.branches(p, samples.known_by(p), within)


def counted(layer, function, out_range, bins):
    """EI and H(Y) by plain counting."""
    low, high = out_range
    rng, sets = np.random.default_rng(0), []
    for _ in range(4):
        x = rng.random((layer.weight.shape[1], 1 << 18))
        y = function(layer.weight @ x + layer.bias[:, None])
        labels = np.clip((y - low) / (high - low) * bins[1], 0, bins[1] - 1).astype(np.int64)
        both = np.concatenate([labels, (x * bins[0]).astype(np.int64)])
        sizes = [bins[1]] * len(labels) + [bins[0]] * len(x)
        sets.append((np.ravel_multi_index(labels, sizes[: len(labels)]),
                     np.ravel_multi_index(both, sizes)))  # fmt: skip
    h = []
    for codes in zip(*sets, strict=True):
        number = np.unique(np.concatenate(codes), return_counts=True)[1]
        p = number / number.sum()
        h.append(-(p * np.log2(p)).sum() + (len(p) - 1) / (2.0 * number.sum() * math.log(2.0)))
    return layer.weight.shape[1] * math.log2(bins[0]) + h[0] - h[1], h[0]


def volume(p, lo, hi):
    """Of the inputs in the unit cube whose outputs are in intervals; 0 where qhull sees none."""
    weight, n = p.channel.weight, p.channel.n_in
    lo, hi = np.maximum(lo, -99.0) - p.channel.bias, np.minimum(hi, 99.0) - p.channel.bias
    a = np.vstack([weight, -weight, np.eye(n), -np.eye(n)])
    c = np.concatenate([hi, -lo, np.ones(n), np.zeros(n)])
    size = np.linalg.norm(a, axis=1)
    found = linprog(  # the point farthest from all faces
        np.append(np.zeros(n), -1.0), np.column_stack([a, size]), c, bounds=[(None, None)] * (n + 1)
    )
    if found.status != 0 or found.x[-1] < 1e-7:
        return 0.0
    try:
        corners = HalfspaceIntersection(np.column_stack([a, -c]), found.x[:n]).intersections
        return float(ConvexHull(corners).volume)
    except QhullError:
        return 0.0


@pytest.mark.parametrize(("name", "n_in", "n_out", "spread"), [
    ("abs", 3, 4, 2.0), ("sin", 2, 3, 4.0), ("gaussian", 3, 3, 2.0), ("square", 2, 5, 2.0),
])  # fmt: skip
def test_all_branches_together_are_the_label(name, n_in, n_out, spread):
    layer = layer_of(name, n_in, n_out, spread)
    p, samples, labels = labels_of(layer, count=12)
    found = sum_branches(p, labels, 64, samples.index, 0)
    assert np.abs(found.gap).max() < 1e-12
    for s in range(12):
        volumes = {}
        pieces = [np.flatnonzero(labels.lo[s, :, o] < labels.hi[s, :, o]) for o in range(n_out)]
        for path in itertools.product(*pieces):
            at = list(path), np.arange(n_out)
            volumes[path] = volume(p, labels.lo[s][at], labels.hi[s][at])
        total = sum(volumes.values())
        truth = math.log2(volumes[tuple(labels.own[s])] / total)
        assert found.own[s] == pytest.approx(truth, abs=0.15)
        shares = found.share[found.sample == s]
        assert shares.sum() == pytest.approx(1.0)
        assert sorted(shares)[-1] == pytest.approx(max(volumes.values()) / total, abs=0.1)


def test_what_is_thinned_lies_between_two_estimates():
    layer = layer_of("abs", 12, 16, 1.0)
    p, samples, labels = labels_of(layer, count=60)
    whole = sum_branches(p, labels, 256, samples.index, 0)
    assert abs(whole.gap.mean()) < 0.05
    for most in (6, 16):
        few = sum_branches(p, labels, most, samples.index, 0)
        off = few.own - whole.own
        gap = few.gap.mean()
        assert gap > whole.gap.mean() - 0.02
        error = off.std() / math.sqrt(len(off))
        assert abs(off.mean()) < 0.5 * gap + 3.5 * error
    # Samples' numbers are their own, in whatever company.
    part = labels_of(layer, count=60)[2]
    some = slice(20, 40)
    alone = type(part)(part.lo[some], part.hi[some], part.own[some], part.place[some], part.width)
    again = sum_branches(p, alone, 16, samples.index[some], 0)
    np.testing.assert_array_equal(again.own, few.own[some])


def test_intervals_that_exclude_each_other():
    """Copies and multiples of a row, and rows of one input, cannot be in different places."""
    weight = np.array([[1.0, -2.0], [1.0, -2.0], [-2.0, 4.0], [3.0, 0.0], [-3.0, 0.0]])
    layer = Layer(weight, np.array([0.5, 0.5, -1.0, -1.5, 1.5]), get_activation("abs"))
    p, samples, labels = labels_of(layer, count=30)
    found = sum_branches(p, labels, 64, samples.index, 0)
    every = np.arange(30)
    assert possible_branches(p.known, labels, every, labels.own).all()
    turned = labels.own.copy()
    both = (labels.lo[:, 0, 0] < labels.hi[:, 0, 0]) & (labels.lo[:, 1, 0] < labels.hi[:, 1, 0])
    turned[:, 0] = 1 - turned[:, 0]
    assert both.any()
    assert not possible_branches(p.known, labels, every[both], turned[both]).any()
    # Two signs of each of the two: no more than four branches, whatever the copies say.
    assert np.bincount(found.sample[found.share > 0.0]).max() <= 4


def test_budgets():
    assert most_branches(1.0) == 64 and most_branches(1e12) == 8
    assert most_branches(2.0**22) == 16


CASES = [
    ("sin", 3, 4, 1.0), ("sin", 3, 4, 4.0), ("sin", 2, 3, 16.0),
    ("abs", 4, 3, 6.0), ("cos", 2, 6, 3.0), ("gaussian", 3, 4, 3.0), ("square", 4, 4, 2.0),
]  # fmt: skip


@pytest.mark.parametrize(("name", "n_in", "n_out", "spread"), CASES)
def test_far_pieces_against_counting(name, n_in, n_out, spread):
    layer = layer_of(name, n_in, n_out, spread, 3)
    options = {"measures": "ei", "bins": (4, 8), "threads": 1}
    found = [eiplane.analyze(layer, estimator="wide", rng=k, **options)[0] for k in range(2)]
    ei, output = counted(layer, FUNCTIONS[name], found[0].out_range, (4, 8))
    for f in found:
        assert f.joint.estimator == "wide"
        assert f.ei_stderr < 0.02 * f.ei
        assert abs(f.ei - ei) < 3.5 * f.ei_stderr + 0.005
        assert abs(f.output_entropy - output) < 3.5 * f.output_entropy_stderr + 0.005
        assert f.ei_bounds[0] - 0.01 <= ei <= f.ei_bounds[1] + 0.01
    plain = eiplane.analyze(layer, estimator="conditional", samples=1 << 17, **options)[0].joint
    error = np.hypot(found[0].joint.influence_in_stderr, plain.influence_in_stderr)
    off = np.abs(found[0].joint.influence_in - plain.influence_in)
    assert (off < 4.0 * error + 0.03).all()


@pytest.mark.parametrize("name", ["abs", "sin"])
def test_rows_that_repeat_and_rows_of_nothing(name):
    """Copies and multiples of rows tell less than they seem to, and a constant output nothing."""
    weight = np.random.default_rng(1).normal(size=(4, 3))
    more = np.vstack([weight, 2.0 * weight[:1], -weight[1:2], weight[2:3], np.zeros(3)])
    layer, few = (Layer(w, np.zeros(len(w)), get_activation(name)) for w in (more, more[:7]))
    options = {"measures": "ei", "bins": (4, 8), "threads": 1, "estimator": "wide"}
    found = [eiplane.analyze(layer, rng=k, **options)[0] for k in range(3)]
    ei, output = counted(layer, FUNCTIONS[name], found[0].out_range, (4, 8))
    assert abs(np.mean([f.ei for f in found]) - ei) < 2.5 * found[0].ei_stderr
    assert abs(np.mean([f.output_entropy for f in found]) - output) < 2.5 * max(
        f.output_entropy_stderr for f in found
    )
    span = found[0].out_range
    alone = eiplane.analyze(few, rng=0, out_range=span, **options)[0]
    assert alone.ei == found[0].ei


@pytest.mark.parametrize("name", ["abs", "sin"])
def test_far_pieces_where_samples_are_dropped(name):
    layer = layer_of(name, 4, 3, 2.0, 1)
    options = {
        "measures": "ei", "bins": (4, 4), "out_range": (-0.8, 0.8), "outliers": "drop",
        "threads": 1,
    }  # fmt: skip
    truth = eiplane.analyze(layer, estimator="conditional", samples=1 << 18, **options)[0]
    for seed in range(2):
        found = eiplane.analyze(layer, estimator="wide", rng=seed, **options)[0]
        assert found.joint.estimator == "wide" and 0.1 < found.joint.outlier_fraction < 0.9
        error = math.hypot(found.ei_stderr, truth.ei_stderr)
        assert abs(found.ei - truth.ei) < 3.5 * error + 0.005


def test_blocks_that_are_not_taken_apart():
    """The truth is four times what one of them has by counting; the engine is not told."""
    block = layer_of("abs", 4, 4, 2.0, 2)
    options = {"measures": "ei", "bins": (4, 8), "threads": 1}
    one = eiplane.analyze(block, estimator="conditional", samples=1 << 20, **options)[0]
    rng, weight = np.random.default_rng(3), np.full((16, 16), 1e-9)
    for k in range(4):
        weight[4 * k : 4 * k + 4, 4 * k : 4 * k + 4] = block.weight
    rows = rng.permutation(16)
    layer = Layer(weight[rows][:, rng.permutation(16)], np.tile(block.bias, 4)[rows], "abs")
    found = eiplane.analyze(layer, out_range=one.out_range, **options)[0]
    assert found.joint.estimator == "wide"
    assert abs(found.ei - 4.0 * one.ei) < min(3.5 * found.ei_stderr, 0.02 * found.ei)
    assert abs(found.output_entropy - 4.0 * one.output_entropy) < 3.5 * found.output_entropy_stderr
