"""Bounds of whole vectors at any width: they hold, they are tight; and what they rest on."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

import eiplane
from eiplane import _core, reference
from eiplane.joint.averages import Controls, student_four, widened_mean
from eiplane.joint.bounds import KnownOutputs, WholeBounds, _rank, closed_form, repeated
from eiplane.joint.bracket import bracket, known_outputs, sample_count
from eiplane.joint.densities import log_backward, log_forward
from eiplane.joint.given import given_entropies
from eiplane.joint.indirect import dropped_bounds, staged_bounds
from eiplane.joint.kept import _share_of
from eiplane.joint.surprise import cell_surprise
from eiplane.joint.volumes import problem
from eiplane.network import Binning, Layer, Pool, discretize
from eiplane.reference import Polytopes, mixed, restricted
from eiplane.run import Runner

ACTIVATIONS = [("sigmoid", (0, 1)), ("relu", (0, 1.5)), ("gelu", (-0.17, 1.2)), ("tanh", (-1, 1))]


def channel_of(weight, bins=8, activation="sigmoid", out_range=(0, 1), drop=False):
    bins = (bins, bins) if isinstance(bins, int) else bins
    layer = Layer(np.asarray(weight, dtype=float), None, activation, "made")
    return discretize(layer, Binning(*bins, drop), (0.0, 1.0), out_range)


def uniform(n_out, n_in, size, seed=0):
    return np.random.default_rng(seed).uniform(-size, size, (n_out, n_in)) / np.sqrt(n_in)


def entropy_of(vectors):
    code = np.zeros(vectors.shape[1], np.int64)
    for row in vectors:
        code = code * 16 + row
    p = np.unique(code, return_counts=True)[1] / len(code)
    return float(-(p * np.log2(p)).sum())


def by_grid(channel):
    """EI and H(Y), given that samples are kept, of a small layer: every point of a fine grid."""
    n, bins = channel.n_in, channel.in_bins
    points = {1: 2000, 2: 80, 3: 16}[n]
    axis = (np.arange(bins * points) + 0.5) / (bins * points)
    grid = np.stack([g.ravel() for g in np.meshgrid(*[axis] * n, indexing="ij")])
    z = channel.weight @ grid + channel.bias[:, None]
    y = channel.rules[0].labels[np.searchsorted(channel.rules[0].thresholds, z, side="right")]
    kept = (y >= 0).all(axis=0)
    x = np.minimum((grid * bins).astype(int), bins - 1)[:, kept]
    y = y[:, kept]
    return entropy_of(x) + entropy_of(y) - entropy_of(np.vstack([x, y])), entropy_of(y)


def shuffled(blocks, copies, seed):
    """Independent blocks behind a permutation of inputs and outputs."""
    m, n = blocks[0].shape
    weight = np.zeros((copies * m, copies * n))
    for i in range(copies):
        weight[i * m : (i + 1) * m, i * n : (i + 1) * n] = blocks[i % len(blocks)]
    rng = np.random.default_rng(seed)
    return weight[rng.permutation(copies * m)][:, rng.permutation(copies * n)]


def bounds_of(channel, samples=None, key=1, threads=1, given=None):
    given = np.ones(channel.n_in, bool) if given is None else given
    known = known_outputs(channel, given, Runner(1))
    return bracket(channel, given, known, Runner(threads), key, None, samples)


def share(interval):
    return (interval[1] - interval[0]) / (0.5 * sum(interval))


# ---- they hold ----------------------------------------------------------------------------------

MADE = [(3, 3, 6, 2.0), (5, 2, 8, 8.0), (2, 2, 16, 0.5)]


@pytest.mark.parametrize("case", range(len(MADE)))
@pytest.mark.parametrize("kind", range(len(ACTIVATIONS)))
def test_truth_is_inside_at_any_width(case, kind):
    """The engine is not told that the layer falls apart; every piece was gone through by itself."""
    n_out, n_in, copies, size = MADE[case]
    rng = np.random.default_rng(10 * case + kind)
    blocks = [rng.uniform(-size, size, (n_out, n_in)) / np.sqrt(n_in) for _ in range(2)]
    options = (4, *ACTIVATIONS[kind])
    pieces = [by_grid(channel_of(b, *options)) for b in blocks]
    ei, entropy = (sum(pieces[i % 2][k] for i in range(copies)) for k in (0, 1))
    channel, slack = channel_of(shuffled(blocks, copies, case), *options), 3e-3 * copies
    closed = bounds_of(channel, 0)
    for found in (closed, bounds_of(channel, 32)):
        for low, high, truth in (
            (*found.information, ei),
            (*found.entropy, entropy),
            (*found.rest, entropy - ei),
        ):
            assert low - slack <= truth <= high + slack
    assert found.information[0] >= closed.information[0]
    assert found.information[1] <= closed.information[1]


def test_identity_and_copies():
    channel = channel_of(np.eye(40)[np.random.default_rng(0).permutation(40)], 8, "identity")
    for samples in (0, 32):
        assert bounds_of(channel, samples).information == pytest.approx((120.0, 120.0), abs=1e-4)
    twice = channel_of(np.vstack([np.eye(40)] * 2), 8, "identity")
    assert bounds_of(twice, 32).information == pytest.approx((120.0, 120.0), abs=1e-4)
    assert bounds_of(twice, 32).entropy == pytest.approx((120.0, 120.0), abs=1e-4)


def test_groups_of_inputs():
    weight = uniform(3, 3, 4.0)
    channel, given = channel_of(weight, 4), np.array([True, True, False])
    found = bounds_of(channel, 64, given=given)
    truth = eiplane.ei_between(weight, [0, 1], [0, 1, 2], bins=4, samples=1 << 20)
    assert found.information[0] - 0.01 <= truth.ei <= found.information[1] + 0.01
    wide = channel_of(uniform(30, 60, 3.0))
    half = bounds_of(wide, 32, given=np.arange(60) < 30).information
    whole = bounds_of(wide, 32).information
    assert half[0] < half[1] < whole[1]
    assert half[0] > 0.1 * whole[0]


# ---- they are tight -----------------------------------------------------------------------------


def test_100_to_50():
    weight = np.random.default_rng(0).uniform(-0.1, 0.1, (50, 100))
    found = bounds_of(channel_of(weight))
    assert share(found.information) < 0.25
    closed = bounds_of(channel_of(weight), 0)
    assert closed.information[0] < found.information[0] < 40 < closed.information[1]


def test_64_to_256():
    found = bounds_of(channel_of(uniform(256, 64, 2.0)), 32)
    assert share(found.information) < 0.35


def test_closed_forms_of_784_to_256():
    """A page of the design has [348, 547], from a Gaussian estimate of the single outputs."""
    layer = eiplane.analyze(uniform(256, 784, 5.0), measures="bounds")[0]
    low, high = layer.ei_bounds
    assert 330 < low < 430 < high < 560
    assert layer.phi_bounds[0] > 0  # its sign is proved without a sample
    assert layer.ei is None
    assert layer.output_entropy_bounds[0] > low


# ---- what they rest on --------------------------------------------------------------------------


def polytopes(channel, samples, seed=0, cell=False):
    rng = np.random.default_rng(seed)
    n, width = channel.n_in, 1.0 / channel.in_bins if cell else 1.0
    u = rng.random((samples, n))
    start = np.floor(u / width) * width
    place = np.searchsorted(channel.rules[0].thresholds, u @ channel.weight.T, side="right")
    ends = np.concatenate([[-np.inf], channel.rules[0].thresholds, [np.inf]])
    lo, hi = ends[place][..., None], ends[place + 1][..., None]
    return Polytopes(channel.weight, lo, hi, u, start, np.full(n, width)), place


def test_forward_is_normalised():
    """The model's probabilities of all outputs sum to 1, in either space."""
    for weight in (uniform(3, 2, 4.0), uniform(6, 1, 4.0)):
        channel = channel_of(weight, 3)
        m = len(weight)
        labels = np.stack([g.ravel() for g in np.meshgrid(*[np.arange(3)] * m, indexing="ij")], 1)
        ends = np.concatenate([[-np.inf], channel.rules[0].thresholds, [np.inf]])
        n, shape = weight.shape[1], (len(labels), weight.shape[1])
        every = Polytopes(weight, ends[labels][..., None], ends[labels + 1][..., None],
                          np.full(shape, 0.5), np.zeros(shape), np.ones(n))  # fmt: skip
        assert np.exp2(log_forward(every, 3)).sum() == pytest.approx(1.0, abs=1e-7)


def test_backward_is_a_density():
    """r(u | y) integrates to 1 over the inputs of one output vector: an average over a grid."""
    channel = channel_of(uniform(2, 2, 4.0), 4)
    points = 200
    axis = (np.arange(points) + 0.5) / points
    u = np.stack([g.ravel() for g in np.meshgrid(axis, axis, indexing="ij")], axis=1)
    ends = np.concatenate([[-np.inf], channel.rules[0].thresholds, [np.inf]])
    place = np.searchsorted(
        channel.rules[0].thresholds, np.array([[0.3, 0.6]]) @ channel.weight.T, "right"
    )
    place = np.repeat(place, len(u), axis=0)
    lo, hi = ends[place][..., None], ends[place + 1][..., None]
    # Only inputs that have these outputs are ever asked for; the rest of r's mass lies elsewhere.
    inside = ((u @ channel.weight.T > lo[..., 0]) & (u @ channel.weight.T <= hi[..., 0])).all(
        axis=1
    )
    p = Polytopes(
        channel.weight, lo[inside], hi[inside], u[inside], np.zeros_like(u[inside]), np.ones(2)
    )
    mass = np.exp2(log_backward(p)).sum() / points**2
    assert 0.8 < mass < 1.0 + 0.02


@pytest.mark.parametrize("shape", [(4, 40, 3.0), (4, 3, 3.0), (3, 6, 3.0)])
def test_surprise_within_cells_has_the_mean_that_is_known(shape):
    channel = channel_of(uniform(*shape), 8, "gelu", (-0.17, 1.0))
    u = np.random.default_rng(1).random((20_000, channel.n_in))
    labels = channel.bins_of(channel.weight @ u.T).T
    given = np.arange(channel.n_in) < max(2, channel.n_in - 1)
    middle = np.where(given, (np.floor(u * 8) + 0.5) / 8, 0.5)
    found = cell_surprise(channel, given, middle @ channel.weight.T, labels)
    error = found.std() / math.sqrt(len(found))
    assert abs(found.mean() - given_entropies(channel, given).values.sum()) < 4 * error


@pytest.mark.parametrize("cell", [False, True])
@pytest.mark.parametrize("shape", [(3, 2, 5.0), (2, 3, 3.0), (6, 2, 3.0)])
def test_both_bracket_the_entropy(shape, cell):
    channel = channel_of(uniform(*shape), 4)
    p, _ = polytopes(channel, 2000, cell=cell)
    ei, entropy = by_grid(channel)
    truth = entropy - ei if cell else entropy
    below, above = log_backward(p), -log_forward(p, 4)
    for values, sign in ((below, 1.0), (above, -1.0)):
        error = 4 * values.std() / math.sqrt(len(values))
        assert sign * (values.mean() - truth) < error + 0.01
    assert above.mean() - below.mean() < 1.0


def test_moments_of_restricted_normals():
    from scipy import integrate

    cases = [(0.3, 1.0, -1.0, 2.0), (0.0, 1.0, 6.0, np.inf), (0.0, 1e-12, -0.5, 0.5),
             (50.0, 1.0, -np.inf, 0.0), (2.0, 4.0, 0.1, 0.1001), (-3.0, 0.0, 0.0, 1.0)]  # fmt: skip
    for h, l, lo, hi in cases:  # noqa: E741
        found = restricted(*(np.array([v]) for v in (h, l, lo, hi)))
        start, stop = max(lo, -30.0), min(hi, 30.0)
        ends = np.array([start, stop, np.clip(h / (l or 1), start, stop)])
        top = float((h * ends - l * ends * ends / 2).max())

        def moment(k, h=h, l=l, top=top, start=start, stop=stop):  # noqa: E741
            f = lambda t: t**k * math.exp(h * t - l * t * t / 2 - top)  # noqa: E731
            return integrate.quad(f, start, stop, epsabs=0, epsrel=1e-11, limit=500)[0]

        mass, first, second = (moment(k) for k in range(3))
        assert found.log_mass[0] == pytest.approx(math.log(mass) + top, abs=1e-7)
        assert found.mean[0] == pytest.approx(first / mass, abs=1e-7)
        spread = second / mass - (first / mass) ** 2
        assert found.variance[0] == pytest.approx(spread, rel=1e-4, abs=1e-12)


def test_moments_of_unions():
    h, l = np.zeros(1), np.ones(1)  # noqa: E741
    both = mixed(h, l, np.array([[-np.inf, 0.5, 3.0]]), np.array([[-1.0, np.inf, 2.0]]))
    one, two = (
        restricted(h, l, np.array([a]), np.array([b])) for a, b in ((-np.inf, -1.0), (0.5, np.inf))
    )
    p, q = math.exp(one.log_mass[0]), math.exp(two.log_mass[0])
    assert both.log_mass[0] == pytest.approx(math.log(p + q))
    mean = (p * one.mean[0] + q * two.mean[0]) / (p + q)
    assert both.mean[0] == pytest.approx(mean)
    square = (p * (one.variance + one.mean**2) + q * (two.variance + two.mean**2)) / (p + q)
    assert both.variance[0] == pytest.approx(square[0] - mean**2)


def test_total_correlation_by_hand():
    """TC(Z) <= sum h(Z_B) - log2 |det|, here of a turn by 45 degrees."""
    weight = np.array([[1.0, 1.0], [1.0, -1.0]])
    entropies = np.array([2.0, 2.0])
    known = KnownOutputs(np.array([[0.25] * 4] * 2), np.array([0.4, 0.5]), 0.0)
    channel = channel_of(weight, (8, 4), "identity", (-1, 2))
    found = closed_form(channel, np.ones(2, bool), known)
    # A sum of two uniforms has 1/2 log2(2 pi e / 6) = 0.7546 bits at most; log2 |det| = 1.
    correlation = 2 * 0.5 * math.log2(2 * math.pi * math.e / 6) - 1.0
    assert found.entropy[0] == pytest.approx(entropies.sum() - correlation, abs=1e-5)
    assert found.information[0] == pytest.approx(3.1 - correlation, abs=1e-5)
    assert found.entropy[1] == pytest.approx(4.0)
    # H(Y | X) is at least 0.9 less the correlation, and I at most H(Y) less that.
    assert found.rest[0] == pytest.approx(0.5, abs=1e-6)


def test_rank():
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(20, 2)) @ rng.normal(size=(2, 20))
    assert bounds_of(channel_of(weight, (4, 64)), 0).information[1] <= 2 * 2 + 1e-5


def test_what_bounds_say_of_each_other():
    found = WholeBounds((0.0, 10.0), (5.0, 6.0), (1.0, 2.0)).joined()
    assert found.information == (3.0, 5.0)
    assert found.within(WholeBounds((3.5, 9.0), (0.0, 9.0), (0.0, 9.0))).information == (3.5, 5.0)


def test_same_numbers_for_any_cut():
    channel = channel_of(uniform(20, 30, 3.0))
    one = bounds_of(channel, 64)
    assert one == bounds_of(channel, 64, threads=3)
    with ThreadPoolExecutor(2) as pool:
        known = known_outputs(channel, np.ones(30, bool), Runner(1))
        runner = Runner(2, executor=pool)
        assert bracket(channel, np.ones(30, bool), known, runner, 1, None, 64) == one
    assert bounds_of(channel, 64, key=2) != one


def test_awkward_layers():
    """Dependent rows, zeros, outputs out of reach, weights of very different size."""
    rng = np.random.default_rng(1)
    low = rng.normal(size=(30, 3)) @ rng.normal(size=(3, 40))
    mixed_sizes = rng.normal(size=(20, 20)) * 10.0 ** rng.integers(-9, 3, (20, 20))
    sparse = rng.normal(size=(30, 30)) * (rng.random((30, 30)) < 0.1)
    for weight in (low, mixed_sizes, sparse, np.zeros((3, 4)), np.ones((4, 50))):
        channel = channel_of(weight)
        channel = replace(channel, bias=channel.bias + 100.0 * (np.arange(len(weight)) == 1))
        found = bounds_of(channel, 32)
        for low_end, high_end in (found.information, found.entropy, found.rest):
            assert math.isfinite(low_end)
            assert math.isfinite(high_end)
            assert 0.0 <= low_end <= high_end


# ---- dropped, pooled, several layers ------------------------------------------------------------


@pytest.mark.parametrize(("size", "width"), [(1.0, 1.6), (2.0, 2.8)])
def test_dropped(size, width):
    weight = uniform(3, 2, size, 3)
    channel = channel_of(weight, 4, "identity", (-width / 2, width / 2), drop=True)
    channel = replace(channel, bias=-weight.sum(axis=1) / 2)
    ei, entropy = by_grid(channel)
    for samples in (0, 64):
        found = dropped_bounds(channel, np.ones(2, bool), np.arange(3), Runner(1), 0, samples)
        assert found.information[0] - 0.01 <= ei <= found.information[1] + 0.01
        assert found.entropy[0] - 0.01 <= entropy <= found.entropy[1] + 0.01
    assert found.information[0] > 0.0
    assert found.information[1] < 4.0  # less than the inputs' own entropy


def information_by_grid(channel, given, outs, side):
    """``I(X; Y | kept)``, ``H(Y | kept)`` and P(kept), of some inputs and outputs, by a grid."""
    axis = (np.arange(side) + 0.5) / side
    grid = np.stack([g.ravel() for g in np.meshgrid(*[axis] * channel.n_in, indexing="ij")])
    z = channel.weight @ grid + channel.bias[:, None]
    y = channel.rules[0].labels[np.searchsorted(channel.rules[0].thresholds, z, side="right")]
    kept = (y >= 0).all(axis=0)
    bins = channel.in_bins
    x = np.minimum((grid * bins).astype(int), bins - 1)[given][:, kept]
    y = y[outs][:, kept]
    ei = entropy_of(x) + entropy_of(y) - entropy_of(np.vstack([x, y]))
    return ei, entropy_of(y), kept.mean()


@pytest.mark.parametrize("activation", ["identity", "silu"])
@pytest.mark.parametrize(("n", "half"), [(1, 0.4), (2, 0.15), (2, 0.6), (3, 0.35)])
def test_most_is_dropped(n, half, activation):
    """Groups as well: inputs that do not count, outputs that only drop."""
    rng = np.random.default_rng([n, int(100 * half)])
    weight = rng.uniform(-2.0, 2.0, (4, n))
    spread = (-half, half) if activation == "identity" else (-0.2, half / 3)
    channel = channel_of(weight, 4, activation, spread, drop=True)
    channel = replace(channel, bias=rng.normal(0.0, 0.1, 4) - weight.sum(axis=1) / 2)
    side = {1: 1 << 16, 2: 600, 3: 96}[n]
    for given, outs in ((np.ones(n, bool), np.arange(4)), (np.arange(n) < 1, np.array([2, 0]))):
        ei, entropy, share = information_by_grid(channel, given, outs, side)
        assert 0.01 < share < 0.7
        found = dropped_bounds(channel, given, outs, Runner(1), 3, 64)
        slack = 0.03 if n == 3 else 0.01
        for truth, (low, high) in ((ei, found.information), (entropy, found.entropy)):
            assert low - slack <= truth <= high + slack
        assert found == dropped_bounds(channel, given, outs, Runner(2), 3, 64)
    assert found.entropy[0] > 0.0  # the trivial bounds say nothing


@pytest.mark.parametrize("drop", [False, True])
def test_what_happens_in_one_sample_of_a_hundred(drop):
    """Most sets of a few dozen samples have met it never, or once."""
    if drop:
        weight, bias, bins = np.array([[1.0, 0.0], [0.0, 20.0]]), np.array([-0.3, -19.8]), (4, 5)
    else:
        weight = 20.0 * np.array([[1.0, 0.3, 0.0], [1.0, 0.25, 0.1], [1.0, 0.2, 0.2]])
        bias, bins = np.array([-23.6, -24.0, -24.8]), (4, 4)
    channel = discretize(Layer(weight, bias, "relu"), Binning(*bins, drop=drop), (0, 1), (0, 0.5))
    given, outs = np.ones(weight.shape[1], bool), np.arange(int(drop), len(weight))
    ei, entropy, share = information_by_grid(channel, given, outs, 1000 if drop else 100)
    assert (share < 0.9) == drop
    assert 0.03 < entropy < 0.3
    for key in range(4 if drop else 10):
        if drop:
            found = dropped_bounds(channel, given, outs, Runner(1), key)
        else:
            known = known_outputs(channel, given, Runner(1))
            found = bracket(channel, given, known, Runner(1), key)
        for truth, (low, high) in ((ei, found.information), (entropy, found.entropy)):
            assert low - 0.005 <= truth <= high + 0.005


def test_the_log_of_a_share_that_is_kept_is_unbiased():
    """The wait for a kept draw, against the cells' exact shares."""
    channel = channel_of([[1.0, 0.3]], 4, "identity", (0.2, 0.9), drop=True)
    p = problem(channel, np.ones(2, bool), np.ones(1, bool), 5)
    start = np.array([0.75, 0.25])
    axis = (np.arange(2000) + 0.5) / 8000
    z = (start[0] + axis)[:, None] + 0.3 * (start[1] + axis)
    share = (z < 0.9).mean()
    found = [_share_of(p, start, i) for i in range(400)]
    assert 0.05 < share < 0.3
    error = np.std(found) / 20.0
    assert abs(np.mean(found) - math.log2(share)) < 4.0 * error + 0.01


def test_a_wide_layer_that_drops_most_has_bounds():
    weight = np.random.default_rng(0).uniform(-1.0, 1.0, (6, 20))
    layer = Layer(weight, -weight.sum(axis=1) / 2, "identity", "drops")
    found = eiplane.analyze(
        layer, measures="ei", outliers="drop", out_range=(-1, 1), rng=1, estimator="wide"
    )[0]  # fmt: skip
    low, high = found.ei_bounds
    assert found.joint.outlier_fraction > 0.6
    assert 0.0 < low <= found.ei <= high < 0.85 * 6 * 3


@pytest.mark.parametrize("kind", ["max", "mean"])
def test_bounds_of_pooled_convolutions(kind):
    """Against points of a grid: nine inputs of two bins, one position of two channels."""
    kernel = np.random.default_rng(3).normal(size=(2, 1, 2, 2))
    layer = Layer(kernel, None, "relu", "conv", 1, Pool(kind, (2, 2)))
    closed, sampled = (
        eiplane.analyze([layer], bins=(2, 4), out_range=(0, 2), measures=measures)[0]
        for measures in ("bounds", "ei")
    )
    rng = np.random.default_rng(0)
    within, whole = [], np.zeros(16)
    windows = [np.ix_([a, a + 1], [b, b + 1]) for a in (0, 1) for b in (0, 1)]
    for cell in range(512):
        x = (rng.random((1000, 9)) + (cell >> np.arange(9) & 1)) / 2.0
        places = [np.arange(9).reshape(3, 3)[w].ravel() for w in windows]
        z = np.stack([x[:, p] @ kernel.reshape(2, 4).T for p in places])
        y = np.maximum(z.max(axis=0), 0.0) if kind == "max" else np.maximum(z, 0.0).mean(axis=0)
        labels = np.clip((y * 2.0).astype(int), 0, 3)
        p = np.bincount(labels @ [1, 4], minlength=16) / len(x)
        whole += p / 512
        within.append(-(p[p > 0] * np.log2(p[p > 0])).sum())
    entropy = -(whole[whole > 0] * np.log2(whole[whole > 0])).sum()
    for found in (closed, sampled):
        low, high = found.ei_bounds
        assert low - 0.01 <= entropy - np.mean(within) <= high + 0.01
        assert found.output_entropy_bounds[0] <= entropy <= found.output_entropy_bounds[1] + 1e-3
    assert sampled.ei_bounds[1] < 3.9  # less than all that two outputs can tell


def test_maximum_pooling_is_bounded_by_what_it_pools():
    kernel = np.random.default_rng(0).normal(size=(4, 1, 2, 2))
    pool = Pool("max", (2, 2), (2, 2))
    channel = discretize(
        Layer(kernel, None, "relu", "conv", 1, pool), Binning(4, 4), (0, 1), (0, 2)
    )
    given = np.ones(channel.n_in, bool)
    high, entropy = staged_bounds(channel, given, Runner(1))
    assert high <= 9 * 2
    assert entropy <= 4 * 2
    measured = eiplane.analyze(
        [Layer(kernel, None, "relu", "conv", 1, pool)], bins=4, out_range=(0, 2), measures="ei"
    )[0]
    assert measured.ei <= high + 4 * measured.ei_stderr


def test_a_span_passes_no_more_than_the_rank_of_its_first_map():
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=(2, 9)), rng.normal(size=(12, 2))]
    span = eiplane.analyze(weights, spans=[(0, 1)], measures="bounds", activation="tanh")[0]
    assert span.ei_bounds[1] <= 2 * 3 + 1e-5
    # Single layers do not bound it: the values between them are not binned on their way.
    coarse = [np.array([[0.01]]), np.array([[100.0]])]
    d = eiplane.analyze(coarse, "identity", out_range=[(0, 1), (0, 1)], spans="all", samples=50_000)
    by_name = {layer.name: layer for layer in d}
    assert by_name["0..1"].ei > 2.9 > 0.5 > by_name["0"].ei
    assert by_name["0..1"].ei <= by_name["0..1"].ei_bounds[1]


@pytest.mark.parametrize("sign", [1, -1])
def test_means_of_long_tails_are_widened_towards_them(sign):
    rng, none = np.random.default_rng(0), Controls(np.zeros((0, 64)), np.zeros(0))
    missed = plain = 0
    for _ in range(20_000):
        values = sign * rng.exponential(size=64)
        mean, below, above = widened_mean(values, none)
        missed += not mean - below <= sign <= mean + above
        plain += abs(mean - sign) > student_four(63) * values.std(ddof=1) / 8.0
    assert missed <= 8 < 12 <= plain  # without it, 20; were the values normal, 1
    values = rng.normal(size=100_000)
    wide = Controls(np.zeros((0, len(values))), np.zeros(0))
    mean, below, above = widened_mean(values, wide)
    assert above == pytest.approx(below, rel=1e-3)
    assert above == pytest.approx(4.0 * values.std() / math.sqrt(len(values)), rel=0.01)


def test_widened_by_student_s_quantile():
    for freedom in (13, 20, 29, 61):
        assert student_four(freedom) == pytest.approx(
            stats.t.ppf(stats.norm.cdf(4.0), freedom), rel=1e-3
        )


def test_rank_and_copies():
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(6, 9))
    twice = np.vstack([weight, 2.0 * weight[:2], weight[3:4]])
    for scale in (1.0, 1e-100, 1e100):
        assert _rank(scale * weight) == _rank(scale * weight.T) == 6
        assert _rank(scale * twice) == _rank(scale * twice.T) == 6
    nearly = np.vstack([weight, weight[0] + 1e-7 * rng.normal(size=9)])
    assert _rank(nearly) == 7
    assert repeated(channel_of(twice)).tolist() == [False] * 8 + [True]
    signed = np.array([[0.0, 1.0], [-0.0, 1.0]])
    assert repeated(channel_of(signed)).tolist() == [False, True]


def test_layers_of_half_a_million_weights_have_sampled_bounds():
    assert 16 <= sample_count(1536, 384) <= 64
    assert sample_count(10_000, 10_000) == 0


# ---- the core and its twin ----------------------------------------------------------------------


@pytest.mark.parametrize("cell", [False, True])
@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 20), (6, 2), (16, 10), (10, 16), (40, 6), (20, 61), (9, 300)]
)
@pytest.mark.parametrize("kind", [0, 2])
def test_core_and_twin_agree(shape, cell, kind):
    """One interval a bin, and unions of several."""
    weight = uniform(*shape, 3.0)
    weight[:, -1] *= np.arange(len(weight)) % 2 == 1  # an output that its last input cannot move
    if shape[1] == 1:
        weight = uniform(*shape, 3.0)
    channel = channel_of(weight, 8, *ACTIVATIONS[kind])
    p, place = polytopes(channel, 9, cell=cell)
    if kind:  # the bin's every interval
        rule = channel.rules[0]
        ends = np.concatenate([[-np.inf], rule.thresholds, [np.inf]])
        mine = rule.labels[place][..., None] == rule.labels
        p = replace(p, lo=np.where(mine, ends[:-1], 0.0), hi=np.where(mine, ends[1:], -1.0))
    twins = reference.log_forward(p, 8), reference.log_backward(p)
    found = log_forward(p, 8), log_backward(p)
    for slow, fast in zip(twins, found, strict=True):
        assert fast == pytest.approx(slow, abs=1e-6)
    some = replace(p, lo=p.lo[3:5], hi=p.hi[3:5], u=p.u[3:5], start=p.start[3:5])
    assert (log_forward(some, 8) == found[0][3:5]).all()
    assert (log_backward(some) == found[1][3:5]).all()


def test_a_sample_s_density_does_not_depend_on_what_memory_held():
    rng = np.random.default_rng(0)

    def boxes(n_out, n_in, scale):
        weight = scale * rng.normal(size=(n_out, n_in))
        u = rng.random((6, n_in))
        lo = (np.floor(3.0 * u @ weight.T) / 3.0)[:, :, None]
        return Polytopes(weight, lo, lo + 1.0 / 3.0, u, np.zeros_like(u), np.ones(n_in))

    p = boxes(7, 9, 1.0)
    found = [log_backward(p)]
    for scale in (1e-3, 1.0, 1e3, 1e6):  # leaves numbers of every size behind
        for shape in ((3, 9), (7, 9), (8, 16), (17, 20)):
            log_backward(boxes(*shape, scale))
            found.append(log_backward(p))
    assert (np.array(found) == found[0]).all()
    for i in range(6):
        alone = replace(p, lo=p.lo[i:][:1], hi=p.hi[i:][:1], u=p.u[i:][:1], start=p.start[i:][:1])
        assert log_backward(alone)[0] == found[0][i]


def test_core_stops_when_asked():
    p, _ = polytopes(channel_of(uniform(4, 6, 3.0)), 3)
    flag = np.ones(1, np.int32)
    lo = np.ascontiguousarray(p.lo.transpose(0, 2, 1))
    hi = np.ascontiguousarray(p.hi.transpose(0, 2, 1))
    job = SimpleNamespace(uniform=1e-3, bins=8, block=2, first=5, again=2, damping=0.7)
    with pytest.raises(KeyboardInterrupt):
        _core.bounds_forward(job, p.weight, lo, hi, flag)
    with pytest.raises(KeyboardInterrupt):
        _core.bounds_backward(job, p.weight, lo, hi, p.u - 0.5, flag)


def test_same_bits_on_every_instruction_set():
    p, _ = polytopes(channel_of(uniform(20, 40, 3.0)), 3)
    found = []
    before = _core.active()
    for instructions in _core.supported():
        _core.select(instructions)
        found.append((log_forward(p, 8).tobytes(), log_backward(p).tobytes()))
    _core.select(before)
    assert len(set(found)) == 1


@pytest.mark.parametrize("coupling", [0.0, 1e-12, 1e-9, 1e-6])
@pytest.mark.parametrize("error", [0.0, 5e-4])
def test_controls_that_do_not_vary_explain_nothing(coupling, error):
    """Every output is as good as one input: each sample is as likely as any other.

    What is known of single outputs is off by as much as it is said to be.
    """
    n, bins = 4, 4
    weight = np.eye(n)[np.random.default_rng(0).permutation(n)] + coupling
    channel = channel_of(weight, bins, "identity")
    known = known_outputs(channel, np.ones(n, bool), Runner(1))
    known = replace(known, rest=known.rest + error, error=known.error + error)
    found = bracket(channel, np.ones(n, bool), known, Runner(1), 1)
    # The coupling moves a value by at most n * coupling, over an edge for that share of a cell's
    # width; of so many bits is what that takes away.
    share = n * coupling * bins
    lost = n * (-share * math.log2(share) + 3.0 * share) if share else 0.0
    low, high = found.information
    assert 2.0 * n - lost - 4.0 * n * error - 1e-3 < low <= 2.0 * n
    assert high >= 2.0 * n - lost
    assert found.entropy[0] <= 2.0 * n + lost
