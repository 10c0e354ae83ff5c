"""Whole vectors that cannot be counted: bounds from models of samples, against counting."""

from __future__ import annotations

import itertools
import os
from statistics import NormalDist

import numpy as np
import pytest

import eiplane
from eiplane.information import entropy, multiplicities
from eiplane.joint.mixture import Mixture, conditioned, fitted
from eiplane.joint.modelled import Effort, modelled_bounds
from eiplane.joint.scores import Scores, normal_quantile
from eiplane.joint.source import FunctionSource
from eiplane.joint.within import within_cells
from eiplane.run import Runner

QUICK = Effort(fit=4096, told=2048, cells=64, draws=64)
FUNCTIONS = {"tanh": np.tanh, "relu": lambda z: np.maximum(z, 0.0)}


def layers_of(sizes, seed, scale):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(n, m)) * scale / np.sqrt(m) for m, n in itertools.pairwise(sizes)]


def network(layers, name):
    def run(x):
        for weight in layers[:-1]:
            x = FUNCTIONS[name](x @ weight.T)
        return np.tanh(x @ layers[-1].T)

    return run


def source_of(function, n_in, n_out, bins=(8, 8)):
    return FunctionSource(
        n_in, n_out, bins, np.ones(n_in, bool),
        function=function, in_range=(0.0, 1.0), out_range=(-1.0, 1.0),
    )  # fmt: skip


def bounds_of(source, effort=QUICK, key=1):
    return modelled_bounds(source, key, Runner(1), "x", effort)


def counted_entropy(codes):
    """Entropy of a law of few values, from very many samples; Miller and Madow's correction."""
    _, counts = np.unique(codes, return_counts=True)
    p = counts / counts.sum()
    return -(p * np.log2(p)).sum() + (len(p) - 1) / (2 * counts.sum() * np.log(2))


def codes_of(y, bins):
    found = np.clip(((y + 1) / 2 * bins).astype(np.int64), 0, bins - 1)
    return found @ bins ** np.arange(found.shape[1])


# -- pieces


def test_normal_quantiles_are_those_of_the_library():
    p = np.concatenate([10.0 ** -np.arange(1, 300, 7), np.linspace(0.001, 0.999, 999)])
    wanted = [NormalDist().inv_cdf(v) for v in p]
    np.testing.assert_allclose(normal_quantile(p), wanted, rtol=1e-13, atol=1e-15)
    assert normal_quantile(np.array([0.0, 1.0])).tolist() == [-np.inf, np.inf]


def test_scores_keep_order_and_ties(generator):
    values = np.concatenate([generator.normal(size=(2, 500)), np.full((2, 100), 7.0)], axis=1)
    scores = Scores.of(values)
    found = scores(values)
    assert np.array_equal(np.argsort(found[0, :500]), np.argsort(values[0, :500]))
    assert len(set(found[:, 500:].ravel())) == 1
    ends = scores(np.array([[-np.inf, np.inf]] * 2))
    assert np.array_equal(ends, [[-np.inf, np.inf]] * 2)


def test_models_are_normalised(generator):
    """Summed over all bins of y, and over all bins of x given any y: 1, whatever was fitted."""
    cuts = np.array([-np.inf, -0.4, 0.9, np.inf])
    mixture = fitted(generator.normal(size=(200, 4)) @ generator.normal(size=(4, 4)), 3, generator)
    every = np.array(list(itertools.product(range(3), repeat=4)))
    lo, hi = cuts[every][:, :2, None], cuts[every + 1][:, :2, None]
    ends = cuts[every][:, 2:], cuts[every + 1][:, 2:]
    told = mixture.told(lo, hi, ends, np.zeros((81, 2)), (3, 3))
    assert np.exp2(told.output[::9]).sum() == pytest.approx(1.0, abs=1e-9)
    given = np.exp2(told.bins).reshape(9, 9).sum(axis=1)
    np.testing.assert_allclose(given, 1.0, atol=1e-9)
    # Densities given y: by the trapezoidal rule over the scores, which are normal.
    axis = np.linspace(-9, 9, 241)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij")).reshape(2, -1).T
    of_y = np.repeat(lo[:1], len(grid), axis=0), np.repeat(hi[:1], len(grid), axis=0)
    ends = np.full((len(grid), 2), -np.inf), np.full((len(grid), 2), np.inf)
    told = mixture.told(*of_y, ends, grid, (3, 3))
    normal = np.exp(-0.5 * (grid**2).sum(axis=1)) / (2 * np.pi)
    mass = (np.exp2(told.density) * normal).sum() * (axis[1] - axis[0]) ** 2
    assert mass == pytest.approx(1.0, abs=1e-6)


def test_a_gaussian_is_conditioned_exactly_on_one_interval():
    """Against the moments of a truncated normal in closed form, the second number regressed."""
    square = np.array([[2.0, 0.6], [0.6, 1.0]])
    low, high = 0.3, 1.7
    total, means, squares = conditioned(
        np.array([[0.5, -1.0]]), square[None], np.array([[[low]]]), np.array([[[high]]]), 8
    )
    normal = NormalDist(0.5, np.sqrt(2.0))
    mass = normal.cdf(high) - normal.cdf(low)
    assert np.exp2(total[0]) == pytest.approx(mass, rel=2e-4)  # a share is the uniform's
    d = [normal.pdf(v) for v in (low, high)]
    mean = 0.5 + 2.0 * (d[0] - d[1]) / mass
    second = 2.0 * (1 + ((low - 0.5) * d[0] - (high - 0.5) * d[1]) / mass)
    variance = second - (mean - 0.5) ** 2
    assert means[0, 0] == pytest.approx(-1.0 + 0.3 * (mean - 0.5), abs=1e-7)
    assert squares[0, 0, 0] == pytest.approx(1.0 - 0.3**2 * (2.0 - variance), abs=1e-7)


def test_a_mixture_finds_what_made_the_sample(generator):
    which = generator.random(8000) < 0.3
    first = generator.normal(size=(8000, 2)) * [0.5, 0.2] + [2.0, 0.0]
    second = generator.normal(size=(8000, 2)) @ [[0.3, 0.2], [0.0, 0.3]] - [1.0, 1.0]
    found = fitted(np.where(which[:, None], first, second), 2, generator)
    order = np.argsort(found.means[:, 0])
    np.testing.assert_allclose(found.weights[order], [0.7, 0.3], atol=0.02)
    np.testing.assert_allclose(found.means[order], [[-1, -1], [2, 0]], atol=0.05)
    np.testing.assert_allclose(found.covariances[order[1]], np.diag([0.25, 0.04]), atol=0.02)
    assert isinstance(found, Mixture)


def test_cells_bracket_the_entropy_within(generator):
    """Of one input and two outputs, the law in each cell by a fine grid."""

    def function(x):
        return np.stack([np.sin(9 * x[:, 0]), np.cos(23 * x[:, 0])], axis=1)

    found = within_cells(source_of(function, 1, 2, (4, 8)), 400, 256, generator)
    u = (np.arange(200_000) + 0.5) / 200_000
    codes = codes_of(function(u[:, None]), 8).reshape(4, -1)
    wanted = np.mean([counted_entropy(row) for row in codes])
    assert found.most is not None
    spread = found.least.std() / 20
    assert found.least.mean() - 4 * spread <= wanted <= found.most.mean() + 4 * spread
    assert found.least.mean() > 0.95 * wanted  # 256 draws of some ten values leave little out


# -- truth

NETS = [
    ((3, 6, 4), 1.5, "tanh", 4),
    ((4, 8, 8, 6), 2.0, "tanh", 4),
    ((5, 8, 5, 3), 1.5, "relu", 8),
    ((2, 12, 10), 3.0, "tanh", 8),
]


@pytest.mark.parametrize(("sizes", "scale", "name", "bins"), NETS)
def test_truth_is_between_the_bounds(sizes, scale, name, bins):
    """Against counting all: inputs' cells are few, and every one is drawn from very often."""
    run = network(layers_of(sizes, 3, scale), name)
    rng = np.random.default_rng(0)
    n, m, count = sizes[0], sizes[-1], 1 << 20
    x = rng.random((count, n))
    codes = codes_of(run(x), bins)
    cells = np.minimum((x * bins).astype(np.int64), bins - 1) @ bins ** np.arange(n)
    output = counted_entropy(codes)
    both = entropy(multiplicities(np.unique(cells * bins**m + codes, return_counts=True)[1]))
    rest = both - n * np.log2(bins)
    found = bounds_of(source_of(run, n, m, (bins, bins)))
    close = 0.02
    for (low, high), truth in (
        (found.entropy, output), (found.rest, rest), (found.information, output - rest),
    ):  # fmt: skip
        assert low - close <= truth <= high + close
    inputs, outputs = n * np.log2(bins), m * np.log2(bins)
    assert found.entropy[1] - output < 0.45 * (outputs - output) + 0.3
    assert found.information[1] < min(inputs, outputs)
    assert found.information[0] > 0.4 * (output - rest)


def test_outputs_that_tell_everything_or_nothing():
    """Copies of the inputs, and numbers of no input: both are known."""
    copies = bounds_of(source_of(lambda x: 2 * x - 1, 4, 4))
    assert copies.information[0] > 11.0
    assert copies.information[1] <= 12.0
    assert copies.rest[0] == 0.0
    assert copies.rest[1] < 1.0
    still = bounds_of(source_of(lambda x: np.full((len(x), 3), 0.3), 4, 3))
    assert still.entropy[1] < 0.2
    twins = bounds_of(source_of(lambda x: np.repeat(np.sin(5 * x[:, :1]), 9, axis=1), 3, 9))
    assert twins.entropy[1] < 4.0  # of 27


def test_seldom_is_not_never():
    """What happens once in 2,000 samples is allowed for, whether it was seen or not."""

    def function(x):
        return np.where(x[:, :1] < 1 / 2000, np.sin(99 * x), -0.9)

    truth = 1 / 2000 * (np.log2(2000) + 4)  # at least; and at most 2**12 values then
    for key in range(3):
        assert bounds_of(source_of(function, 4, 4), key=key).entropy[1] > truth


def test_one_seed_one_answer():
    run = network(layers_of((6, 8, 5), 0, 1.0), "tanh")
    source = source_of(run, 6, 5)
    one = bounds_of(source)
    with Runner(3) as runner:
        assert modelled_bounds(source, 1, runner, "x", QUICK) == one
    assert bounds_of(source, key=2) != one


# -- as users meet them


def test_a_span_that_cannot_be_counted():
    """Two halves that know nothing of each other, hidden by permutations: each can be counted."""
    rng = np.random.default_rng(5)
    halves = [layers_of((5, 6, 5), seed, 1.2) for seed in (1, 2)]
    whole = [np.zeros((12, 10)), np.zeros((10, 12))]
    for i, half in enumerate(halves):
        whole[0][6 * i : 6 * i + 6, 5 * i : 5 * i + 5] = half[0]
        whole[1][5 * i : 5 * i + 5, 6 * i : 6 * i + 6] = half[1]
    mixed = rng.permutation(12)
    whole = [whole[0][mixed][:, rng.permutation(10)], whole[1][rng.permutation(10)][:, mixed]]
    options = {"spans": [(0, 1)], "measures": "ei"}
    alone = [eiplane.analyze(h, "tanh", samples=1 << 16, **options)[0] for h in halves]
    truth, error = sum(a.ei for a in alone), sum(a.ei_stderr for a in alone)
    output = sum(a.output_entropy for a in alone)
    with pytest.warns(eiplane.SaturationWarning, match="known to lie between"):
        found = eiplane.analyze(whole, "tanh", samples=1024, **options)[0]
    assert found.ei is None
    low, high = found.ei_bounds
    assert low - 4 * error < truth < high + 4 * error
    assert low > 0.5 * truth
    assert high < 1.6 * truth
    assert found.output_entropy_bounds[0] < output + 0.05
    assert output - 0.05 < found.output_entropy_bounds[1] < 1.3 * output


@pytest.mark.skipif("EIPLANE_MODELLED" not in os.environ, reason="a campaign, by hand")
def test_truth_is_between_the_bounds_of_many_networks():
    off = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        sizes = [int(rng.integers(2, 6)), *rng.integers(2, 20, size=rng.integers(1, 4)), 4]
        layers = layers_of(sizes, seed, float(rng.choice([0.5, 1.0, 2.0, 4.0])))
        run = network(layers, ["tanh", "relu"][seed % 2])
        x = rng.random((1 << 20, sizes[0]))
        codes = codes_of(run(x), 4)
        cells = np.minimum((x * 4).astype(np.int64), 3) @ 4 ** np.arange(sizes[0])
        output = counted_entropy(codes)
        rest = counted_entropy(cells * 4**4 + codes) - 2 * sizes[0]
        found = bounds_of(source_of(run, sizes[0], 4, (4, 4)), key=seed)
        for (low, high), truth in (
            (found.entropy, output), (found.rest, rest), (found.information, output - rest),
        ):  # fmt: skip
            off += not low - 0.01 <= truth <= high + 0.01
    assert off == 0
