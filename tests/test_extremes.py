"""The ends of the double range: a finite answer, or an error that says why, before any work."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from fuzz.exact import Output

import eiplane
from eiplane import measuring
from eiplane.network import known_activations

W = np.array([[1.0, 2.0], [-1.0, 0.5]])
QUICK = {"samples": 500, "progress": False}

activations = pytest.mark.parametrize("activation", known_activations())

#: These leave float64 themselves, or turn without end, where their argument is large.
WILD = {"exp", "sin", "cos", "tanhshrink", "gaussian"}


def finite_or_refused(activation, *arguments, **options):
    """Analyse; only an activation that is wild itself may be refused, in words."""
    try:
        finite(eiplane.analyze(*arguments, **options))
    except ValueError as error:
        assert activation in WILD, error
        assert "layer '0'" in str(error) or activation in str(error)


def finite(result):
    for layer in result:
        for quantity in ("sensitivity", "ei_parts", "ei", "phi", "degeneracy", "output_entropy"):
            value = getattr(layer, quantity)
            assert value is None or math.isfinite(value), quantity
        low, high = layer.ei_bounds
        assert 0.0 <= low <= high <= layer.n_out * math.log2(layer.out_bins) + 1e-9
        assert layer.ei is None or low <= layer.ei <= high


@pytest.fixture(autouse=True)
def nothing_leaks():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", eiplane.SaturationWarning)
        yield


@pytest.fixture
def no_work(monkeypatch):
    """No engine may start."""

    def engine(*_, **__):
        raise AssertionError("work was begun")

    for name in ("measure", "totals", "joint", "noisy_bounds", "vector_bounds", "closed_bounds"):
        monkeypatch.setattr(measuring, name, engine)


@activations
@pytest.mark.parametrize("name", ["in_range", "out_range"])
@pytest.mark.parametrize(
    ("pair", "word"),
    [
        ((0.0, 7e-321), "narrow"),  # denormal
        ((0.0, 1e-200), "narrow"),
        ((1.0, np.nextafter(1.0, 2.0)), "narrow"),  # a unit in the last place
        ((-3.0, -3.0 + 1e-14), "narrow"),
        ((-1e217, 1e217), "wide"),
        ((1e200, 1.1e200), "wide"),
    ],
)
def test_ranges_that_float64_cannot_resolve(activation, name, pair, word, no_work):
    with pytest.raises(ValueError, match=rf"{name} is too {word}"):
        eiplane.analyze([W, W], activation, **{name: pair})


def test_a_range_of_a_later_layer(no_work):
    with pytest.raises(ValueError, match="out_range is too narrow"):
        eiplane.analyze([W, W], "relu", out_range=["auto", (1.0, 1.0 + 1e-15)])


def test_more_bins_take_a_wider_range():
    pair = (1.0, 1.0 + 1e-11)
    finite(eiplane.analyze(W, "identity", bins=8, in_range=pair, **QUICK))
    with pytest.raises(ValueError, match="1024 bins of"):
        eiplane.analyze(W, "identity", bins=1024, in_range=pair)


@pytest.mark.parametrize(
    ("weights", "options", "what"),
    [
        (W * 1e300, {}, "weight"),
        (W * 1e160, {}, "weight"),
        ((W, np.array([1e200, 0.0])), {}, "bias"),
        (W * 1e100, {"in_range": (0, 1e100)}, "leave float64"),
        (W, {"baseline": 1e200}, "baseline"),
        (W * 1e100, {"baseline": 1e100}, "leave float64"),
    ],
)
@pytest.mark.parametrize("activation", ["relu", "sigmoid", "gelu", "identity"])
def test_products_that_leave_float64(weights, options, what, activation, no_work):
    with pytest.raises(ValueError, match=what):
        eiplane.analyze(weights, activation, **options)


@activations
@pytest.mark.parametrize("scale", [1e-320, 1e-200, 1e-80, 1e-9, 1e9, 1e80, 1e140])
def test_weights_of_every_size(activation, scale):
    finite_or_refused(activation, W * scale, activation, bins=4, **QUICK)


@activations
@pytest.mark.parametrize("pair", [(0.0, 1e-140), (0.0, 1e140), (1e6, 1e6 + 1e-4), (-1e-9, 1e9)])
def test_ranges_of_every_size(activation, pair):
    finite_or_refused(activation, W, activation, bins=4, in_range=pair, **QUICK)


@pytest.mark.parametrize("scale", [2.0**-400, 2.0**-60, 2.0**60, 2.0**400])
def test_units_do_not_matter(scale):
    """Inputs in other units, weights to match: powers of two change no digit of the edges."""
    usual = eiplane.analyze(W, "relu", bins=4, **QUICK)[0]
    other = eiplane.analyze(W / scale, "relu", bins=4, in_range=(0.0, scale), **QUICK)[0]
    np.testing.assert_allclose(other.ei_edges, usual.ei_edges, atol=1e-12)
    np.testing.assert_allclose(other.sensitivity_edges, usual.sensitivity_edges, atol=1e-12)


@pytest.mark.parametrize("pair", [(0.0, 1e-9), (0.0, 1e-100), (3.0, 3.0 + 1e-9)])
def test_integer_weights_of_a_thousand_million(pair):
    weights = (W * 1e9).astype(np.int64)
    layer = eiplane.analyze(weights, "relu", bins=4, in_range=pair, **QUICK)[0]
    for b, row in enumerate(weights):
        exact = Output(row.tolist(), 0.0, "relu", (4, 4), pair, layer.out_range, False)
        for a in range(2):
            assert layer.ei_edges[b, a] == pytest.approx(exact.edge(a), abs=1e-7)


@activations
def test_a_layer_that_is_constant_to_all_digits(activation):
    finite_or_refused(activation, (W * 1e-12, np.array([1e5, 1e5])), activation, **QUICK)
    finite_or_refused(activation, (W, np.array([-1e30, -1e30])), activation, **QUICK)


@pytest.mark.parametrize(("n", "samples"), [(1, 1000), (1, 50), (4, 1000), (8, 3000)])
def test_sampled_edges_pass_a_bound_by_noise_alone(n, samples):
    """A bijection of 8 bins has exactly 3 bits; what is corrected for bias scatters about that."""
    scores = []
    for seed in range(12):
        layer = eiplane.analyze(
            np.eye(n), "identity", out_range=(0, 1), method="sample", samples=samples, rng=seed,
            measures=("ei_parts", "sensitivity"), progress=False,
        )[0]  # fmt: skip
        for part in (layer.pairwise_ei, layer.pairwise_sensitivity):
            own = np.eye(n, dtype=bool)
            assert part.edges_plugin.max() <= 3.0 + 1e-12
            assert (part.edges[own] - 3.0 <= 4.0 * part.edges_stderr[own]).all()
            scores.append((part.total - 3.0 * n) / part.stderr)
    assert max(scores) < 4.5  # the total is beyond 3 bits an input by no more than its error
    assert np.mean(np.abs(scores)) < 2.0


@pytest.mark.parametrize("shape", [(3, 3), (4, 2), (2, 4), (1, 2), (2, 1)])
@pytest.mark.parametrize("estimator", ["plugin", "conditional"])
@pytest.mark.parametrize("bins", [8, (16, 4), 64])
def test_bounds_are_no_wider_than_the_trivial_ones(shape, estimator, bins):
    rng = np.random.default_rng([*shape])
    for samples in (64, 1000):
        layer = eiplane.analyze(
            rng.normal(size=shape), "tanh", measures="ei", estimator=estimator, bins=bins,
            in_range=(-1, 1), samples=samples, progress=False,
        )[0]  # fmt: skip
        low, high = layer.ei_bounds
        most = min(layer.n_in * math.log2(layer.in_bins), layer.n_out * math.log2(layer.out_bins))
        assert 0.0 <= low <= high <= most + 1e-9
        error = layer.ei_stderr if estimator == "plugin" else 1e-9
        if layer.ei is not None and error is not None:  # inside, or an error that reaches
            assert low - error - 1e-9 <= layer.ei <= high + error + 1e-9


@pytest.mark.parametrize("scale", [2.0**-1050, 2.0**-700, 2.0**-300])
def test_an_output_that_hardly_moves_is_measured_in_its_own_unit(scale):
    """tanh of a tiny z has its sign: the edge of two bins at 0 still tells it."""
    row, other = [1.0, -2.0], [0.5, 0.25]
    usual = eiplane.analyze(np.array([row, other]), "tanh", bins=4, in_range=(-1, 1), **QUICK)[0]
    weights = np.array([np.array(row) * scale, other])
    small = eiplane.analyze(weights, "tanh", bins=4, in_range=(-1, 1), **QUICK)[0]
    exact = Output(weights[0].tolist(), 0.0, "tanh", (4, 4), (-1.0, 1.0), (-1.0, 1.0), False)
    for a in range(2):
        assert small.ei_edges[0, a] == pytest.approx(exact.edge(a), abs=1e-9)
    np.testing.assert_array_equal(small.ei_edges[1], usual.ei_edges[1])
    away = eiplane.analyze((weights, np.array([0.1, 0.0])), "tanh", bins=4, **QUICK)[0]
    assert (away.ei_edges[0] == 0.0).all()


def test_entropies_stay_inside_their_bounds():
    """Four states, all about as likely: what is corrected for bias was 2.02 bits."""
    w = np.array(
        [[20.823551884884633, -9.58883716171226], [-3.9287786101790276, -40.508808287787105]]
    )
    options = {"bins": 2, "in_range": (-1, 1), "samples": 112, "progress": False}
    for seed in range(4):
        joint = eiplane.ei_between(w, [0, 1], [0, 1], activation="tanh", rng=seed, **options)
        assert 1.8 < joint.output_entropy <= 2.0
    constant = eiplane.analyze(
        [(W, None), ([[0.0, 0.0], [0.02, 0.17]], None)], ["selu", "leaky_relu(-0.5)"], bins=4,
        measures="bounds", out_range=(-0.04, 0.04), progress=False,
    )  # fmt: skip
    for layer in constant:
        low, high = layer.bounds.output_entropy_bounds
        assert 0.0 <= low <= high


# -- a baseline far off: what is perturbed keeps its own precision


@pytest.mark.parametrize("size", [1e3, 1e13, 1e20, 1e60, 1e97])
@pytest.mark.parametrize("activation", ["relu", "sigmoid", "leaky_relu(-0.5)"])
def test_others_that_cancel_leave_what_one_input_says_alone(size, activation):
    """Of three inputs two cancel at the baseline: the third is as if it were the only one."""
    alone, options = np.array([[0.37]]), {"measures": "sensitivity", "bins": 8}
    options["out_range"] = (0.45, 0.65) if activation == "sigmoid" else (-0.1, 0.5)
    expected = eiplane.analyze(alone, activation, **options)[0].sensitivity
    assert expected > 1.0
    row = np.array([[0.37, 4.0, -4.0]])
    for sign in (-size, size):
        for weight in (alone, row):
            exact = eiplane.analyze(weight, activation, baseline=sign, **options)[0]
            assert exact.sensitivity_edges[0, 0] == pytest.approx(expected, abs=1e-9)
            sampled = eiplane.analyze(
                weight, activation, baseline=sign, method="sample", samples=20_000, **options
            )[0]
            error = 6 * sampled.sensitivity_edges_stderr[0, 0] + 1e-3
            assert abs(sampled.sensitivity_edges[0, 0] - expected) < error
            # The other two meet 4 times the baseline: nothing but one bin, exactly as sampled.
            assert (exact.sensitivity_edges[0, 1:] == 0.0).all()


@pytest.mark.parametrize("noise", [0.1, ("uniform", 0.05), "dither"])
def test_noise_about_what_one_input_says_alone(noise):
    options = {"measures": "sensitivity", "bins": 4, "noise": noise, "out_range": (0.0, 0.5)}
    expected = eiplane.analyze(np.array([[0.37]]), "relu", **options)[0].sensitivity
    assert expected > 0.4
    for size in (-1e17, 1e30):
        found = eiplane.analyze(np.array([[0.37]]), "relu", baseline=size, **options)[0]
        assert found.sensitivity == pytest.approx(expected, abs=1e-9)


def test_a_far_baseline_against_fractions():
    rng, most = np.random.default_rng(5), 0.0
    for size in (1e12, 1e13, 1e14, 1e31, 1e50):
        weight = np.rint(4 * rng.normal(size=(1, 5))) / 4
        weight[0, 1:3] = 1.5, -1.5 - weight[0, 3:].sum()  # all but the first cancel
        row = Output(weight[0], 0.125, "leaky_relu(0.25)", (4, 4), (0.0, 1.0), (-1.0, 1.0), False)
        found = eiplane.analyze(
            [(weight, np.array([0.125]))], "leaky_relu(0.25)", measures="sensitivity", bins=4,
            out_range=(-1, 1), baseline=size,
        )[0]  # fmt: skip
        most = max(most, found.sensitivity_edges.max())
        for a in range(5):
            assert found.sensitivity_edges[0, a] == pytest.approx(
                row.sensitivity(a, size), abs=1e-9
            )
    assert most > 0.3
