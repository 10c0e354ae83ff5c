"""Several layers at once: against grids and areas; errors, seeds, what is refused."""

from __future__ import annotations

import itertools
import json
import warnings

import numpy as np
import pytest

import eiplane
from eiplane import _core, reference
from eiplane.cli.main import main
from eiplane.information import information_of, jackknife
from eiplane.network import Binning, Layer, Stage, discretize
from eiplane.pairwise.called import Called
from eiplane.pairwise.job import Job
from eiplane.run import points_of

CANCEL = np.zeros(1, np.int32)
FUNCTIONS = {
    "relu": lambda z: np.maximum(z, 0.0),
    "leaky_relu": lambda z: np.where(z > 0, z, 0.01 * z),
    "hardtanh": lambda z: np.clip(z, -1.0, 1.0),
    "tanh": np.tanh,
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "sin": np.sin,
    "silu": lambda z: z / (1 + np.exp(-z)),
    "elu": lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))),
}


def chain(sizes, seed, scale=1.5):
    rng = np.random.default_rng(seed)
    return [
        (rng.normal(size=(n, m)) * scale / np.sqrt(m) * 1.5, rng.normal(size=n) * 0.3)
        for m, n in itertools.pairwise(sizes)
    ]


def run(layers, functions, x):
    for (weight, bias), name in zip(layers, functions, strict=True):
        x = FUNCTIONS[name](weight @ x + bias[:, None])
    return x


def counted(x, y, bins, out_range):
    """Information between every row of x in (0, 1) and of y, by plain counting."""
    low, high = out_range
    given = np.minimum((x * bins).astype(int), bins - 1)
    found = np.clip(((y - low) / (high - low) * bins).astype(int), 0, bins - 1)
    edges = np.empty((len(y), len(x)))
    for b, a in itertools.product(range(len(y)), range(len(x))):
        table = np.bincount(given[a] * bins + found[b], minlength=bins * bins).reshape(bins, bins)
        p = table / max(table.sum(), 1)
        expected = p.sum(axis=1, keepdims=True) * p.sum(axis=0, keepdims=True)
        some = p > 0
        edges[b, a] = (p[some] * np.log2(p[some] / expected[some])).sum()
    return edges


def grid(n, points):
    axis = (np.arange(points) + 0.5) / points
    return np.stack(np.meshgrid(*[axis] * n, indexing="ij")).reshape(n, -1)


def analyze(layers, functions, **options):
    options = {"spans": [(0, len(layers) - 1)], "measures": "degeneracy", "threads": 1} | options
    return eiplane.analyze(layers, functions, **options)[0]


# -- points, replicates


def test_points_are_those_of_the_twin(instruction_set, generator):
    for first, count in ((0, 320), (64 * 977, 128)):
        points = points_of(12345, 3, 260)
        core = _core.CorePoints(points)
        for k in (0, 1, 7, 255):
            wanted = reference.lattice(int(points.factors[k]), int(points.shifts[k]), first, count)
            assert np.array_equal(core.draw(k, first, count), wanted)
        beyond = reference.draws(12345, 259, first, count, purpose=4)
        assert np.array_equal(core.draw(259, first, count), beyond)


def test_points_are_spread_out():
    """Every 2**m points lie one in each interval of 2**-m: exactly so before the tent is bent."""
    points = points_of(1, 0, 40)
    core = _core.CorePoints(points)
    for k in range(40):
        r = core.draw(k, 0, 1024).astype(np.int64)
        assert np.abs(np.sort(r) / 2**32 - (np.arange(1024) + 0.5) / 1024).max() < 1.01 / 1024
        mean = (core.draw(k, 0, 4096).astype(float) + 0.5).mean() / 2**32
        assert mean == pytest.approx(0.5, abs=2e-4)


@pytest.mark.parametrize(
    ("in_bins", "out_bins", "drop"), [(8, 8, False), (5, 7, True), (40, 30, False)]
)
def test_replicates_are_counted_and_reduced_as_the_twin_does(
    instruction_set, generator, in_bins, out_bins, drop
):
    stage = Stage(4, 3, generator.normal(size=(3, 4)), generator.normal(size=3),
                  eiplane.get_activation("tanh"))  # fmt: skip
    layer = Layer(generator.normal(size=(2, 3)) * 2, None, "tanh")
    channel = discretize(layer, Binning(in_bins, out_bins, drop), (0, 1), (-0.8, 0.9), (stage,))
    core = _core.CoreChannel(channel)
    sizes = [200, 200, 199, 199]
    counts, tables = [], np.zeros((4, 2, 4, in_bins, out_bins))
    for r, count in enumerate(sizes):
        points = points_of(9, r, 4)
        job = Job(9, 0, 2, 0, 4, 0, count)
        counts.append(_core.pairs_count(core, job, CANCEL, _core.CorePoints(points)))
        draws = np.stack([
            reference.lattice(int(f), int(s), 0, count)
            for f, s in zip(points.factors, points.shifts, strict=True)
        ])  # fmt: skip
        labels = reference.output_bins(
            channel, reference.evaluate(channel, reference.inputs(channel, draws))
        )
        for b, a in itertools.product(range(2), range(4)):
            x = reference.input_bins(channel, draws[a])
            whole = reference.joint_table(x, labels[b], in_bins, out_bins)
            assert np.array_equal(_core.pairs_table(core, job, counts[-1], b, a), whole)
            tables[r, b, a] = whole[:, :-1]
    jobs = [Job(9, 0, 2, 0, 4, 0, count) for count in (8300, 8192, 513, 64)]
    places = [_core.CorePoints(points_of(9, r, 4)) for r in range(4)]
    each = _core.pairs_count_each(core, jobs, places, CANCEL)
    for job, at, found in zip(jobs, places, each, strict=True):
        assert np.array_equal(_core.pairs_count(core, job, CANCEL, at), found)
    part = Job(9, 1, 2, 1, 3, 0, sizes[0])
    found = _core.replicates_reduce(
        core, Job(9, 0, 2, 0, 4, 0, 200), part, np.stack(counts), CANCEL
    )
    firsts, seconds = np.zeros(4), np.zeros((4, 4))
    for i, a in enumerate((1, 2)):
        edge = reference.replicated(tables[:, 1, a].astype(int), sharing=4)
        wanted = (edge.information, edge.corrected, edge.variance, edge.doubt)
        assert np.allclose([f[0, i] for f in found[:4]], wanted, rtol=1e-6, atol=1e-6)
        firsts += edge.first
        seconds += edge.second
    assert np.allclose(found[4] * _core.FINE, firsts, atol=1e-8)
    assert np.allclose(found[5] * _core.FINE, seconds, atol=1e-8)
    of_sum = reference.replicated_variance(firsts, seconds)
    assert _core.replicates_variance(firsts, seconds) == pytest.approx(of_sum, rel=1e-9)


@pytest.mark.parametrize("strength", [0.0, 4.0])
def test_replicates_without_bias_and_with_the_right_error(generator, strength):
    """Of independent samples, with much information and none; and cells that are rare."""
    p = generator.dirichlet(np.full(6, 0.4), size=5) * strength + np.full(6, 1 / 6)
    p /= p.sum()
    truth = float(information_of(p))
    tables = generator.multinomial(75, p.ravel(), size=(100, 16)).reshape(100, 16, 5, 6)
    found = [reference.replicated(each) for each in tables]
    plugin = np.mean([f.information for f in found]) - truth
    corrected = np.array([f.corrected for f in found])
    assert plugin > 0.005
    assert abs(corrected.mean() - truth) < 0.06 * plugin + 4 * corrected.std() / np.sqrt(100)
    stated = np.mean([f.variance for f in found])
    ratio = np.sqrt(stated / corrected.var())
    assert ratio > 0.8
    if strength:  # no variance is below nothing: of noise alone somewhat too much is stated
        assert ratio < 1.25


@pytest.mark.parametrize("count", [4, 16])
def test_the_variance_of_two_orders_is_that_of_the_estimate(generator, count):
    """Of skewed replicates: a slope, known only with noise of its own, and a curvature."""
    slope, curved = np.array([3.0, 1.0]), np.array([[2.0, 0.5], [0.5, -1.0]])
    each = generator.exponential(size=(6000, count, 2)) - 1.0
    mean = each.mean(axis=1)
    apart = each - mean[:, None]
    second = apart @ curved @ apart.transpose(0, 2, 1)
    first = np.einsum("tri,ti->tr", apart, slope + mean @ curved)
    bias = np.trace(second, axis1=1, axis2=2) / (2 * count * (count - 1))
    found = mean @ slope + np.einsum("ti,ij,tj->t", mean, curved, mean) / 2 - bias
    stated = [
        _core.replicates_variance(np.ascontiguousarray(a), np.ascontiguousarray(b))
        for a, b in zip(first, second, strict=True)
    ]
    assert found.mean() == pytest.approx(0.0, abs=4 * found.std() / np.sqrt(6000))
    # Below nothing it is cut off, which a few replicates do at times.
    assert np.mean(stated) == pytest.approx(found.var(), rel=0.08 if count == 16 else 0.25)


def test_errors_of_rare_outputs_are_what_they_say():
    """One output leaves its bin once in 200 samples, one in some thousand, one never."""
    layers = [
        Layer(np.ones((1, 6)), [-4.4], "relu"),
        Layer(np.array([[1.0], [1.0], [-1.0]]), [-0.4, -0.8, -0.1], "relu"),
    ]
    options = {"spans": [(0, 1)], "bins": (4, 2), "out_range": (0, 1e-6), "measures": "ei_parts"}
    exact = eiplane.analyze(layers, **options)[0]
    assert exact.pairwise_ei.method == "exact"
    found = [
        eiplane.analyze(layers, method="sample", samples=1 << 14, rng=s, **options)[0].pairwise_ei
        for s in range(48)
    ]
    for b in range(2):
        wrong = np.sqrt(np.mean([(f.edges[b] - exact.ei_edges[b]) ** 2 for f in found]))
        said = np.sqrt(np.mean([f.edges_stderr[b] ** 2 for f in found]))
        assert 0.75 < said / wrong < 1.3
    wrong = np.sqrt(np.mean([(f.total - exact.ei_parts) ** 2 for f in found]))
    assert 0.75 < np.sqrt(np.mean([f.stderr**2 for f in found])) / wrong < 1.3
    assert (found[0].edges[2] == 0.0).all()
    assert (found[0].edges_stderr[2] > 0.0).all()
    assert (found[0].edges_stderr[2] < 1.0 / (1 << 14)).all()


def test_errors_of_a_function_that_is_called_are_what_they_say(generator):
    """A residual block with a rare unit beside it, against plain counting."""
    up, down = generator.normal(size=(5, 3)), generator.normal(size=(2, 5)) / 2

    def block(x):
        h = np.tanh(x[:, :2] + np.maximum(x @ up.T, 0.0) @ down.T)
        return np.column_stack([h, np.maximum(x.sum(axis=1) - 2.6, 0.0)])

    made = Called("block", block, 3, 3, (0, 1), (0, 1), (8, 8), False, 0.0)
    x = generator.random((3, 1 << 20))
    truth = counted(x, block(x.T).T, 8, (0, 1)) - 7 * 7 / (2 * np.log(2) * (1 << 20))
    found = [made.measure("ei_parts", seed, 1 << 13) for seed in range(40)]
    for b in (slice(0, 2), slice(2, 3)):
        wrong = np.sqrt(np.mean([(f.edges[b] - truth[b]) ** 2 for f in found]))
        said = np.sqrt(np.mean([f.edges_stderr[b] ** 2 for f in found]))
        assert 0.75 < said / wrong < 1.4
    wrong = np.sqrt(np.mean([(f.total - truth.sum()) ** 2 for f in found]))
    assert 0.75 < np.sqrt(np.mean([f.stderr**2 for f in found])) / wrong < 1.4


def test_the_jackknife_takes_the_bias_away(generator):
    p = generator.dirichlet(np.ones(12)).reshape(3, 4)
    truth = float(information_of(p))
    tables = generator.multinomial(40, p.ravel(), size=(4000, 16)).reshape(4000, 16, 3, 4)
    found = jackknife(np.moveaxis(tables, 1, 0).astype(float))
    plugin, corrected = found.plugin.mean() - truth, found.corrected.mean() - truth
    assert plugin > 0.004
    assert abs(corrected) < 0.05 * plugin + 4 * found.corrected.std() / np.sqrt(4000)
    # It is widened by 15 / 13, for there are few replicates, and errs on the safe side.
    assert 1.0 < found.variance.mean() / found.corrected.var() < 1.4


# -- truth


NETS = [
    ((2, 4, 3), ["tanh", "tanh"], 1200, 8),
    ((3, 5, 4, 2), ["silu", "sigmoid", "tanh"], 112, 8),
    ((4, 5, 4, 4, 2), ["tanh", "elu", "tanh", "sigmoid"], 32, 4),
    ((5, 6, 2), ["sigmoid", "tanh"], 16, 4),
]


@pytest.mark.parametrize(("sizes", "functions", "points", "bins"), NETS)
def test_against_a_dense_grid(sizes, functions, points, bins):
    layers = chain(sizes, 5)
    out_range = (0.0, 1.0) if functions[-1] == "sigmoid" else (-1.0, 1.0)
    truth, coarse = (
        counted(x, run(layers, functions, x), bins, out_range)
        for x in (grid(sizes[0], points), grid(sizes[0], points // 2 // bins * bins))
    )
    assert truth.sum() > 0.1
    found = analyze(layers, functions, bins=bins, samples=1 << 16)
    error = np.abs(found.ei_edges - truth)
    assert (error <= 4 * found.pairwise_ei.edges_stderr + np.abs(truth - coarse) + 1e-4).all()
    off = abs(found.ei_parts - truth.sum())
    assert off <= 4 * found.ei_parts_stderr + abs(truth.sum() - coarse.sum()) + 1e-4


def test_errors_are_what_they_say():
    """Over networks whose truth is exact and seeds: the root mean square of error over stated."""
    ratios, single = [], []
    for sizes, name in (((2, 5, 3), "relu"), ((3, 4, 2), "leaky_relu"), ((2, 4, 4, 2), "hardtanh")):
        for net in range(3):
            layers, functions = chain(sizes, net), [name] * (len(sizes) - 2) + ["tanh"]
            exact = analyze(layers, functions, measures="ei_parts")
            assert exact.pairwise_ei.method == "exact"
            for seed in range(12):
                found = analyze(layers, functions, measures="ei_parts", method="sample",
                                samples=1 << 13, rng=seed)  # fmt: skip
                ratios.append((found.ei_parts - exact.ei_parts) / found.ei_parts_stderr)
                single.append((found.ei_edges - exact.ei_edges) / found.pairwise_ei.edges_stderr)
    assert 0.8 < np.sqrt(np.mean(np.square(ratios))) < 1.25
    assert 0.7 < np.sqrt(np.mean(np.concatenate([s.ravel() for s in single]) ** 2)) < 1.25


def test_lattices_are_better_than_chance():
    """25-6-6-6-5, the same number of samples: independent ones against replicated lattices."""
    from eiplane.pairwise import replicated
    from eiplane.run import Runner

    gains = []
    for net in range(2):
        layers = chain((25, 6, 6, 6, 5), net, 1.0)
        stages = tuple(
            Stage(w.shape[1], len(w), w, b, eiplane.get_activation("tanh")) for w, b in layers[:-1]
        )
        channel = discretize(Layer(*layers[-1], "tanh"), Binning(), (0, 1), (-1, 1), stages)
        chance, spread = [], []
        for seed in range(12):
            job = Job(seed, 0, 5, 0, 25, 0, 1 << 16)
            edges = _core.pairs_run(_core.CoreChannel(channel), job, CANCEL)
            chance.append((edges.information - edges.excess).sum())
            spread.append(replicated.ei_parts(channel, seed, 1 << 16, Runner(1)).total)
        gains.append(np.var(chance) / np.var(spread))
    assert np.mean(gains) > 4


# -- exactly


@pytest.mark.parametrize("name", ["tanh", "sin", "silu", "relu", "elu", "hardtanh", "sigmoid"])
@pytest.mark.parametrize(("baseline", "outliers"), [(0.0, "clip"), (0.4, "drop")])
def test_sensitivity_is_exact(name, baseline, outliers):
    layers = chain((4, 6, 5, 3), 11, 2.0)
    functions = [name, name, "tanh"]
    options = {"measures": "sensitivity", "baseline": baseline, "outliers": outliers, "bins": 6,
               "out_range": (-0.9, 0.7)}  # fmt: skip
    found = analyze(layers, functions, **options)
    part = found.pairwise_sensitivity
    assert part.method == "exact"
    assert part.error_bound < 1e-8
    u = (np.arange(6 * 20_000) + 0.5) / (6 * 20_000)
    outside = 0.0
    for a in range(4):
        x = np.full((4, len(u)), baseline)
        x[a] = u
        y = run(layers, functions, x)
        beyond = (y < -0.9) | (y > 0.7)
        outside += beyond.mean() / 4
        for b in range(3):
            kept = ~beyond[b] if outliers == "drop" else slice(None)
            [[wanted]] = counted(u[kept][None], y[b][kept][None], 6, (-0.9, 0.7))
            assert found.sensitivity_edges[b, a] == pytest.approx(wanted, abs=4e-4)
    assert part.outlier_fraction == pytest.approx(outside, abs=1e-4)


def test_sensitivity_of_pooled_convolutions_and_rows():
    rng = np.random.default_rng(2)
    weight = rng.normal(size=(3, 2, 2))
    from eiplane.network import Pool

    layer = Layer(weight, rng.normal(size=3), "tanh", pool=Pool("max", (2,)))
    exact = eiplane.analyze(layer, measures="sensitivity", out_range=(-1, 1))[0]
    sampled = eiplane.analyze(layer, measures="sensitivity", out_range=(-1, 1), method="sample",
                              samples=200_000)[0]  # fmt: skip
    assert exact.pairwise_sensitivity.method == "exact"
    error = np.abs(exact.sensitivity_edges - sampled.sensitivity_edges)
    assert (error <= 5 * sampled.pairwise_sensitivity.edges_stderr + 1e-4).all()


@pytest.mark.parametrize("name", ["tanh", "sin", "relu"])
def test_one_hidden_unit_is_exact(name):
    layers, functions = chain((2, 1, 5, 3), 3, 4.0), [name, name, "tanh"]
    found = analyze(layers, functions, method="exact")
    x = grid(2, 1200)
    wanted = counted(x, run(layers, functions, x), 8, (-1, 1))
    assert wanted.max() > 0.02
    assert np.allclose(found.ei_edges, wanted, atol=2e-3)
    sampled = analyze(layers, functions, method="sample")
    error = np.abs(found.ei_edges - sampled.ei_edges)
    assert (error < 5 * sampled.pairwise_ei.edges_stderr).all()


def test_a_span_without_activations_is_one_layer(generator):
    a, b = generator.normal(size=(4, 5)), generator.normal(size=(3, 4))
    options = {"out_range": (-4, 4), "measures": "degeneracy"}
    span = eiplane.analyze([a, b], "identity", spans=[(0, 1)], **options)[0]
    whole = eiplane.analyze(b @ a, "identity", **options)[0]
    assert span.pairwise_ei.method == "exact"
    assert np.allclose(span.ei_edges, whole.ei_edges, atol=1e-9)
    assert np.allclose(span.sensitivity_edges, whole.sensitivity_edges, atol=1e-9)
    with pytest.raises(ValueError, match="noise is for single layers"):
        eiplane.analyze([a, b], "identity", spans=[(0, 1)], noise=0.1, **options)


def test_few_inputs_by_areas():
    """y = |x_1 - x_2|, built of two units: the areas of its table by hand, in fractions."""
    layers = [(np.array([[1.0, -1.0], [-1.0, 1.0]]), np.zeros(2)), (np.ones((1, 2)), np.zeros(1))]
    found = analyze(layers, ["relu", "identity"], bins=(4, 2), out_range=[(0, 1), (0, 1)],
                    method="exact")  # fmt: skip
    high = np.array([3, 1, 1, 3]) / 32  # of x_1 in a quarter and y >= 1/2
    p = np.stack([0.25 - high, high], axis=1)
    wanted = float(information_of(p))
    assert np.allclose(found.ei_edges, wanted, atol=1e-12)


@pytest.mark.parametrize("sizes", [(2, 5, 4, 3), (3, 4, 3, 2)])
@pytest.mark.parametrize("outliers", ["clip", "drop"])
def test_few_inputs_by_simplices(sizes, outliers):
    layers, functions = chain(sizes, 8), ["relu", "hardtanh", "tanh"]
    found = analyze(layers, functions, measures="ei_parts", out_range=(-0.8, 0.9),
                    outliers=outliers)  # fmt: skip
    assert found.pairwise_ei.method == "exact"
    x = grid(sizes[0], 1200 if sizes[0] == 2 else 112)
    y = run(layers, functions, x)
    for b, values in enumerate(y):
        kept = (values >= -0.8) & (values <= 0.9) if outliers == "drop" else slice(None)
        wanted = counted(x[:, kept], values[kept][None], 8, (-0.8, 0.9))[0]
        assert np.allclose(found.ei_edges[b], wanted, atol=3e-3)


def test_too_many_pieces_are_sampled(monkeypatch):
    monkeypatch.setattr("eiplane.pairwise.simplices._MOST", 4000)
    layers = chain((3, 40, 40, 8), 1, 4.0)
    functions = ["relu", "relu", "tanh"]
    found = analyze(layers, functions, measures="ei_parts", samples=4096)
    assert found.pairwise_ei.method == "sample"
    with pytest.raises(ValueError, match="too many pieces"):
        analyze(layers, functions, measures="ei_parts", method="exact")
    with pytest.raises(ValueError, match="one hidden unit"):
        analyze(chain((4, 3, 2), 1), "tanh", measures="ei_parts", method="exact")


def test_blocks_and_threads_change_nothing(monkeypatch):
    from eiplane.pairwise import replicated

    layers = chain((6, 5, 4), 2)
    options = {"measures": "degeneracy", "samples": 20_000, "method": "sample"}
    wanted = analyze(layers, "tanh", **options)
    assert wanted.samples == 20_000
    for threads, size in ((3, 64 << 20), (1, 40_000), (2, 9_000)):
        monkeypatch.setattr(replicated, "_BYTES", size)
        found = analyze(layers, "tanh", **options | {"threads": threads})
        assert np.array_equal(found.ei_edges, wanted.ei_edges)
        assert found.ei_parts_stderr == wanted.ei_parts_stderr
    exact = [analyze(layers, "tanh", measures="sensitivity", threads=n) for n in (1, 3)]
    assert np.array_equal(exact[0].sensitivity_edges, exact[1].sensitivity_edges)


def test_more_inputs_than_the_lattice_has(generator):
    """Those beyond are random: still right."""
    weight = np.zeros((2, 300))
    weight[0, 0], weight[1, 299] = 4.0, 4.0
    layers = [(weight, -np.ones(2) * 2), (np.eye(2) * 3, np.zeros(2))]
    found = analyze(layers, ["tanh", "tanh"], measures="ei_parts", samples=1 << 15)
    alone = chain_of_one(4.0, -2.0, 3.0)
    assert found.ei_edges[0, 0] == pytest.approx(
        alone, abs=5 * found.pairwise_ei.edges_stderr[0, 0] + 1e-3
    )
    assert found.ei_edges[1, 299] == pytest.approx(
        alone, abs=5 * found.pairwise_ei.edges_stderr[1, 299] + 1e-3
    )
    assert abs(found.ei_edges[0, 299]) < 5 * found.pairwise_ei.edges_stderr[0, 299]


def chain_of_one(weight, bias, after):
    x = (np.arange(80_000) + 0.5)[None] / 80_000
    return float(counted(x, np.tanh(after * np.tanh(weight * x + bias)), 8, (-1, 1))[0, 0])


@pytest.mark.parametrize("scale", [1.0, 1e-14, 1e140])
def test_a_span_whose_outputs_are_all_dropped_has_an_error_that_is_one(scale):
    """Nothing is kept: no information, and a bound that is not below 0."""
    first = eiplane.Layer(np.array([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0]]), None, "hardtanh(0, 6)")
    second = eiplane.Layer(np.array([[0.0, -1.2, 0.0]]) * scale, None, "elu")
    span = eiplane.analyze(
        [first, second], out_range=(0.0, 5.029), outliers="drop", spans="all",
        measures="sensitivity",
    )[-1].pairwise_sensitivity  # fmt: skip
    assert span.outlier_fraction == pytest.approx(1.0)
    assert span.edges.tolist() == [[0.0, 0.0]]
    assert 0.0 <= span.error_bound < 1e-9


@pytest.mark.parametrize(
    ("spans", "message"),
    [(5, "a list of pairs, got 5"), ([0, 1], "got 0"), (["ab"], "got 'ab'"), ([None], "got None"),
     ([(0, 1, 2)], "is a pair"), ([(1, 0)], "ends before it begins"), ([(0, 7)], "no layer 7")],
)  # fmt: skip
def test_what_is_no_list_of_spans(spans, message):
    with pytest.raises((TypeError, ValueError), match=message):
        eiplane.analyze([np.eye(2), np.eye(2)], "tanh", spans=spans)


# -- the command line


@pytest.fixture
def graph(tmp_path):
    """An ONNX file of three dense layers, which says how they are wired."""
    pytest.importorskip("onnx")
    from onnx_graphs import node, saved

    rng = np.random.default_rng(0)
    weights = {"fc1": rng.normal(size=(3, 4)), "fc2": rng.normal(size=(4, 4)),
               "head": rng.normal(size=(4, 2))}  # fmt: skip
    nodes = [
        node("MatMul", "x fc1", "a"), node("Tanh", "a", "b"), node("MatMul", "b fc2", "c"),
        node("Tanh", "c", "d"), node("MatMul", "d head", "e"), node("Tanh", "e", "y"),
    ]  # fmt: skip
    weights = {k: v.astype(np.float32) for k, v in weights.items()}
    return str(saved(tmp_path / "m.onnx", nodes, weights)), [w.T for w in weights.values()]


def test_spans_on_the_command_line(graph, capsys):
    path, weights = graph
    options = ["--measures", "sensitivity", "--in-range", "0,1", "--format", "json"]
    whole = eiplane.analyze(weights, "tanh", spans="all", measures="sensitivity")
    for words, wanted in (
        ("all", ["0", "1", "2", "0..1", "0..2", "1..2"]), ("fc1..head", ["0..2"]),
        ("fc1..fc2,fc2..head", ["0..1", "1..2"]), ("layers", ["0", "1", "2"]),
    ):  # fmt: skip
        assert main(["analyze", path, *options, "--spans", words]) == 0
        said = json.loads(capsys.readouterr().out)
        assert len(said["layers"]) == len(wanted)
        for layer, name in zip(said["layers"], wanted, strict=True):
            mine = whole[name].sensitivity_edges
            np.testing.assert_allclose(layer["sensitivity_edges"], mine, atol=1e-6)


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        ("fc1", 2, "invalid spans value: 'fc1'"),
        ("fc1..", 2, "invalid spans value"),
        ("fc1..fc2..head", 2, "invalid spans value"),
        ("fc1..fc2,", 2, "invalid spans value"),
        ("", 2, "invalid spans value"),
        ("fc1..nope", 1, "no layer 'nope'; there are "),
        ("head..fc1", 1, "it ends before it begins"),
    ],
)
def test_spans_that_are_none_on_the_command_line(graph, capsys, words, status, message):
    arguments = ["analyze", graph[0], "--measures", "sensitivity", "--spans", words]
    if status == 2:
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == 2
    else:
        assert main(arguments) == status
    said = capsys.readouterr()
    assert message in said.err
    assert said.out == ""
    assert "Traceback" not in said.err


def test_a_file_that_does_not_say_how_it_is_wired(tmp_path, capsys):
    path = tmp_path / "w.npz"
    np.savez(path, fc1=np.ones((4, 3)), head=np.ones((2, 4)))
    assert main(["analyze", str(path), "--activation", "tanh", "--spans", "fc1..head"]) == 1
    assert "says nothing of the wiring: give a list of layers" in capsys.readouterr().err


def test_all_spans_of_layers_that_do_not_follow_each_other(tmp_path, capsys):
    """A file of weights does not say what feeds what: no span is added, and that is said."""
    path = tmp_path / "w.npz"
    np.savez(path, one=np.ones((3, 4)), two=np.ones((2, 3)))
    options = {"activation": "tanh", "in_range": (0, 1), "measures": "ei_parts"}
    with pytest.warns(UserWarning, match="spans='all' adds no span: 'one' and 'two': .*wiring"):
        found = eiplane.analyze(str(path), spans="all", **options)
    assert len(found) == 2
    main(["analyze", str(path), "--activation", "tanh", "--in-range", "0,1", "--spans", "all"])
    assert "adds no span" in capsys.readouterr().err
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(eiplane.analyze([np.ones((3, 4)), np.ones((2, 3))], spans="all", **options)) == 3
        assert len(eiplane.analyze([np.ones((3, 4))], spans="all", **options)) == 1
