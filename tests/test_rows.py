"""A function of its own for every output: the stack of layers with one output each."""

from __future__ import annotations

import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

import eiplane
from eiplane import Activation, Layer, _core, analyze, get_activation, per_row, reference
from eiplane.joint import JointOptions, joint
from eiplane.joint.exact import exact_single
from eiplane.joint.given import given_entropies
from eiplane.network import Binning, automatic_range, discretize
from eiplane.pairwise.job import Job
from eiplane.run import Runner, Sampling

CANCEL = np.zeros(1, np.int32)


def wave(z):
    return np.sin(3 * z)


ROWS = [
    "relu", "sigmoid", Activation.from_function(wave), "leaky_relu(0.3)", "relu", "hardshrink(0.1)",
    get_activation("tanh").scaled(2, -0.5), "sign", "round", "gelu",
]  # fmt: skip


@pytest.fixture
def layer(generator):
    weight = generator.normal(size=(len(ROWS), 6))
    return Layer(weight, generator.normal(size=len(ROWS)), per_row(ROWS), "made")


def alone(layer, b):
    return Layer(layer.weight[b : b + 1], layer.bias[b : b + 1], ROWS[b], "made")


@pytest.mark.parametrize("method", ["exact", "sample"])
@pytest.mark.parametrize("outliers", ["clip", "drop"])
@pytest.mark.parametrize("bins", [2, 8, 64])
def test_pairwise_measures_are_those_of_every_row_alone(layer, method, outliers, bins):
    options = {
        "measures": ("ei_parts", "sensitivity"), "method": method, "outliers": outliers,
        "bins": bins, "out_range": (-0.8, 1.1), "in_range": (-1, 1), "baseline": 0.25,
    }  # fmt: skip
    if method == "sample":
        options["samples"] = 20_000
    whole = analyze(layer, **options)[0]
    rows = [analyze(alone(layer, b), **options)[0] for b in range(len(ROWS))]
    for which in ("ei_edges", "sensitivity_edges"):
        stacked = np.concatenate([getattr(r, which) for r in rows])
        # Exact: the plan of the quadrature is one for all rows; sampled: the same counts.
        assert np.abs(getattr(whole, which) - stacked).max() < (
            2e-9 if method == "exact" else 1e-12
        )
    for part in ("pairwise_ei", "pairwise_sensitivity"):
        share = np.mean([getattr(r, part).outlier_fraction for r in rows])
        assert getattr(whole, part).outlier_fraction == pytest.approx(share, abs=1e-12)


@pytest.mark.parametrize("bins", [(8, 8), (64, 64), (100, 300)])
@pytest.mark.parametrize("drop", [False, True])
def test_counts(instruction_set, layer, bins, drop):
    channel = discretize(layer, Binning(*bins, drop, 0.3), (-1.0, 1.0), (-0.1, 1.0))
    core = _core.CoreChannel(channel)
    outputs, inputs = len(ROWS), 6
    for masks in (0, 1):
        job = Job(77, 1, outputs, 0, inputs, 64, 3000, masks=masks)
        counts = _core.pairs_count(core, job, CANCEL)
        for b in range(1, outputs):
            table = _core.pairs_table(core, job, counts, b - 1, 2)
            wanted = reference.pair_table(channel, 77, 64, 3000, b, 2)
            assert np.array_equal(table, wanted), (b, masks)


@pytest.mark.parametrize("estimator", ["conditional", "plugin"])
@pytest.mark.parametrize("drop", [False, True])
def test_joint_measures_against_a_grid(generator, estimator, drop):
    rows = ["relu", "sigmoid", "sign", Activation.from_function(wave)]
    layer = Layer(generator.normal(size=(4, 2)), generator.normal(size=4) * 0.3, per_row(rows))
    bins, span = 4, (-0.4, 1.05)
    channel = discretize(layer, Binning(bins, bins, drop), (-1.0, 1.0), span)
    points = 1200
    axis = -1 + 2 * (np.arange(points) + 0.5) / points
    x = np.stack([g.ravel() for g in np.meshgrid(axis, axis, indexing="ij")], axis=-1)
    z = x @ layer.weight.T + layer.bias
    values = np.stack([get_activation(f)(z[:, b]) for b, f in enumerate(rows)])
    edges = np.linspace(*span, bins + 1)
    k = np.searchsorted(edges, values, side="right") - 1
    kept = ((values >= span[0]) & (values <= span[1])).all(axis=0) | (not drop)
    code = np.ravel_multi_index(np.clip(k, 0, bins - 1)[:, kept], (bins,) * 4)
    cell = (np.minimum((x + 1) / 2 * bins, bins - 1).astype(int) @ [bins, 1])[kept]

    def entropy(v):
        p = np.unique(v, return_counts=True)[1] / len(v)
        return float(-(p * np.log2(p)).sum())

    truth = entropy(cell) + entropy(code) - entropy(cell * bins**4 + code)
    options = JointOptions(estimator, influence=False)
    found = joint(channel, Sampling(1, samples=400_000), options, Runner(1))
    assert abs(found.ei - truth) < 4 * (found.ei_stderr or 0.0) + 4e-3
    if not drop:
        outside = ((values < span[0]) | (values > span[1])).any(axis=0).mean()
        assert found.outlier_fraction == pytest.approx(outside, abs=0.01)
        some = eiplane.ei_between(
            layer, [0], [1, 3], bins=bins, in_range=(-1, 1), out_range=span, samples=400_000
        )
        x0 = np.minimum((x[:, 0] + 1) / 2 * bins, bins - 1).astype(int)
        y = np.clip(k, 0, bins - 1)[1] * bins + np.clip(k, 0, bins - 1)[3]
        truth = entropy(x0) + entropy(y) - entropy(x0 * bins**2 + y)
        assert some.ei == pytest.approx(truth, abs=4 * (some.ei_stderr or 0.0) + 4e-3)


def test_one_input_by_its_intervals(generator):
    rows = ["relu", "sign", Activation.from_function(wave), "round"]
    layer = Layer(generator.normal(size=(4, 1)) * 2, generator.normal(size=4), per_row(rows))
    channel = discretize(layer, Binning(5, 6), (-1.0, 1.0), (-0.9, 1.3))
    found = exact_single(channel, np.arange(4))
    points = 1_000_000
    x = -1 + 2 * (np.arange(points) + 0.5) / points
    edges = np.linspace(-0.9, 1.3, 7)
    code = np.zeros(points, int)
    for b, f in enumerate(rows):
        y = get_activation(f)(layer.weight[b, 0] * x + layer.bias[b])
        code = code * 6 + np.clip(np.searchsorted(edges, y, side="right") - 1, 0, 5)
    p = np.unique(code, return_counts=True)[1] / points
    assert found.output_entropy == pytest.approx(-(p * np.log2(p)).sum(), abs=1e-4)


def test_given_entropies(layer):
    channel = discretize(layer, Binning(4, 8), (-1.0, 1.0), (-0.8, 1.1))
    given = np.array([True, False, True, True, False, False])
    together = given_entropies(channel, given).values
    for b in range(len(ROWS)):
        single = discretize(alone(layer, b), Binning(4, 8), (-1.0, 1.0), (-0.8, 1.1))
        assert together[b] == pytest.approx(given_entropies(single, given).values[0], abs=1e-12)


@pytest.mark.parametrize("method", ["exact", "sample"])
def test_threads_and_processes(method):
    generator = np.random.default_rng(3)
    names = ["relu", "sigmoid", "leaky_relu(0.2)", "hardtanh(-0.5, 0.5)", "elu"]
    layer = Layer(generator.normal(size=(300, 40)), None, per_row((names * 60)[:300]), "made")
    options = {"method": method, "measures": ("ei_parts", "sensitivity"), "out_range": (-1, 2)}
    if method == "sample":
        options["samples"] = 2_000
    one = analyze(layer, threads=1, **options)[0]
    two = analyze(layer, threads=3, **options)[0]
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        sent = analyze(layer, executor=pool, **options)[0]
    for other in (two, sent):
        assert np.array_equal(one.ei_edges, other.ei_edges)
        assert np.array_equal(one.sensitivity_edges, other.sensitivity_edges)
        assert one.pairwise_ei.stderr == other.pairwise_ei.stderr


@pytest.mark.parametrize("kind", ["max", "mean"])
@pytest.mark.parametrize("place", ["before", "after"])
def test_a_slope_for_every_channel_of_a_pooled_convolution(generator, kind, place):
    slopes = per_row(["leaky_relu(0.1)", "leaky_relu(-0.5)", Activation.from_function(wave)])
    weight = generator.normal(size=(3, 1, 2, 2))
    before, after = (slopes, "identity") if place == "before" else ("tanh", slopes)
    pool = eiplane.Pool(kind, (2, 2), activation=after)
    layer = Layer(weight, generator.normal(size=3), before, "conv", pool=pool)
    span = automatic_range(layer, (-1.0, 1.0))
    channel = discretize(layer, Binning(out_bins=5), (-1.0, 1.0), span)
    x = generator.uniform(-1, 1, size=(4000, 9))
    y = layer(x)
    z = reference.evaluate(channel, x.T)
    edges = np.linspace(*span, 6)
    near = np.abs(y[..., None] - edges).min(-1) < 1e-9
    wanted = np.clip(np.searchsorted(edges, y, side="right") - 1, 0, 4)
    assert np.array_equal(channel.bins_of(z).T[~near], wanted[~near])


@pytest.mark.parametrize(
    "activation",
    [
        "sin",
        "hardshrink(0.1)",
        "step(0.2)",
        "round",
        "relu_squared",
        per_row(["sin", "relu", "abs"]),
    ],
)
def test_spans_through_any_function(generator, activation):
    """Counts of the core, of its twin, and of the layers themselves."""
    first = Layer(generator.normal(size=(3, 2)), generator.normal(size=3), activation, "a")
    last = Layer(generator.normal(size=(2, 3)), None, "tanh", "b")
    found = analyze(
        [first, last], measures="ei_parts", spans=[(0, 1)], samples=200_000, out_range=(-1, 1)
    )[0]
    x = generator.random((400_000, 2))
    y = last(first(x))
    for b in range(2):
        for a in range(2):
            wanted = eiplane.mutual_information(x[:, a], y[:, b], bins=8, range=((0, 1), (-1, 1)))
            assert found.ei_edges[b, a] == pytest.approx(wanted, abs=6e-3)


def test_per_row():
    rows = per_row(["relu", "leaky_relu(0.2)", "relu"])
    assert len(rows.distinct) == 2 and rows.rule.tolist() == [0, 1, 0]
    assert per_row(["relu"] * 3) == get_activation("relu")
    assert pickle.loads(pickle.dumps(rows)) == rows
    assert per_row(["sigmoid", "tanh"]).natural_range == (-1.0, 1.0)
    assert per_row(["sigmoid", "relu"]).natural_range is None
    z = np.array([[-1.0, -1.0, 2.0], [1.0, -2.0, -1.0]])
    assert rows(z).tolist() == [[0.0, -0.2, 2.0], [1.0, -0.4, 0.0]]
    assert np.array_equal(rows(z.T, axis=0), rows(z).T)
    assert rows.scaled(2, 1)(z).tolist() == (2 * rows(z) + 1).tolist()
    assert rows.repeated(2).rule.tolist() == [0, 0, 1, 1, 0, 0]
    low, high = automatic_range(Layer(np.eye(3), [-1, -1, -1], rows), (0, 1))
    assert (low, high) == (-0.2, 0.0)
    with pytest.raises(ValueError, match=r"layer 'x': .* functions for 3 outputs, but there are 2"):
        Layer(np.ones((2, 2)), activation=rows, name="x")
    with pytest.raises(ValueError, match="none"):
        per_row([])
    with pytest.raises(TypeError, match="sequence"):
        per_row("relu")
    with pytest.raises(ValueError, match="one function an output"):
        per_row([rows, "relu"])
