"""Whole vectors with noise on the outputs: bounds against quadrature, sums of parts, proofs."""

from __future__ import annotations

from math import log2, pi

import numpy as np
import pytest

import eiplane
from eiplane.joint.mixture import fitted
from eiplane.network import Noise
from eiplane.pairwise import NoisyLayer, Surroundings


def bounds_of(layer, noise, **options):
    options = {"measures": "ei", "bins": 4, "threads": 1} | options
    found = eiplane.analyze([layer], noise=noise, **options)[0]
    assert found.ei is None
    return found.ei_bounds, found.output_entropy_bounds


def curve_truth(weights, bias, std, bins):
    """EI and h(T) - h(e) of one input and two outputs through tanh: both integrals on grids."""
    x = (np.arange(bins * 400) + 0.5) / (bins * 400)
    y = np.tanh(np.outer(x, weights) + bias)
    axes = [np.arange(v.min() - 6 * std, v.max() + 6 * std, std / 4) for v in y.T]
    peaks = [
        np.exp(-0.5 * ((axis[:, None] - v) / std) ** 2) / (std * np.sqrt(2 * pi))
        for axis, v in zip(axes, y.T, strict=True)
    ]
    area = (std / 4) ** 2
    density = np.stack([
        peaks[0][:, cell] @ peaks[1][:, cell].T / 400
        for cell in (slice(k * 400, (k + 1) * 400) for k in range(bins))
    ])  # fmt: skip

    def entropy(p):
        return -(p * np.log2(np.maximum(p, 1e-300))).sum() * area

    whole = entropy(density.mean(axis=0))
    own = log2(2 * pi * np.e * std**2)
    return whole - np.mean([entropy(p) for p in density]), whole - own


@pytest.mark.parametrize("std", [0.05, 0.3])
def test_gaussian_noise_against_quadrature(std):
    weights, bias = np.array([3.0, -1.5]), np.array([-1.0, 0.7])
    information, output = curve_truth(weights, bias, std, 4)
    layer = eiplane.Layer(weights[:, None], bias, "tanh")
    for seed in range(2):
        ei, entropy = bounds_of(layer, std, rng=seed)
        assert ei[0] - 1e-3 <= information <= ei[1] + 1e-3
        assert entropy[0] - 1e-3 <= output <= entropy[1] + 1e-3
        assert ei[1] - ei[0] < 0.3
        assert entropy[1] - entropy[0] < 0.3


@pytest.mark.parametrize(
    ("noise", "name", "count"),
    [(0.1, "tanh", 6), (0.02, "identity", 3), (("uniform", 0.2), "tanh", 3),
     ("dither", "sigmoid", 2)],
    ids=str,
)  # fmt: skip
def test_parts_that_do_not_talk_add_up(noise, name, count):
    """One input to one output each, shuffled: EI is the sum of the edges, which are exact."""
    rng = np.random.default_rng(count)
    weight = np.diag(rng.uniform(1, 3, size=count))[rng.permutation(count)]
    layer = eiplane.Layer(weight, rng.normal(size=count) * 0.3, name)
    found = eiplane.analyze([layer], noise=noise, measures=("ei_parts", "ei"), bins=4)[0]
    low, high = found.ei_bounds
    assert low - 1e-6 <= found.ei_parts <= high + 1e-6
    assert high <= found.output_entropy_bounds[1]


def test_twins_tell_little_more_than_one():
    """Two outputs that are one, each with noise of its own: as one with less noise."""
    single = eiplane.Layer([[2.0, -1.0]], [0.1], "identity")
    twins = eiplane.Layer([[2.0, -1.0], [2.0, -1.0]], [0.1, 0.1], "identity")
    options = {"measures": "bounds", "bins": 4}
    truth = eiplane.analyze([single], noise=0.1 / np.sqrt(2), **options)[0]
    low, high = truth.output_entropy_bounds
    _, output = bounds_of(twins, 0.1)
    assert output[0] - 1e-6 <= high
    assert low <= output[1] + 1e-6
    assert output[1] - output[0] < 0.3
    assert output[1] < high + 0.2


def test_a_wide_linear_layer_and_the_log_determinant():
    """What all inputs tell is within 0.2546 bits a dimension of the closed form, and so bounded."""
    weight = np.random.default_rng(1).normal(size=(5, 8)) / 2
    layer = eiplane.Layer(weight, None, "identity")
    ei, output = bounds_of(layer, 0.2)
    closed = eiplane.gaussian_ei(weight, 0.2)
    assert closed - 5 * 0.2546 <= output[0] <= output[1] <= closed + 1e-6
    assert 0.3 * closed < ei[0] <= ei[1] <= output[1]


def test_densities_of_a_mixture_are_normalised(generator):
    """Over a grid of points, and over all bins of x given any of them."""
    mixture = fitted(generator.normal(size=(300, 3)) * [1.0, 0.5, 1.0], 2, generator)
    axis = np.linspace(-9, 9, 181)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij")).reshape(2, -1).T
    cuts = np.array([-np.inf, -0.3, 0.8, np.inf])
    total = np.zeros(len(grid))
    for k in range(3):
        ends = tuple(np.full((len(grid), 1), cuts[k + side]) for side in (0, 1))
        density, bins = mixture.of_points(grid, ends, 3)
        total += np.exp2(bins)
    np.testing.assert_allclose(total, 1.0, atol=1e-9)
    assert np.exp2(density).sum() * (axis[1] - axis[0]) ** 2 == pytest.approx(1.0, abs=1e-6)


def test_bounds_alone_take_no_samples(monkeypatch):
    def never(*_):
        raise AssertionError

    monkeypatch.setattr("eiplane.joint.noisy.noised_bounds", never)
    layer = eiplane.Layer(np.eye(2), None, "tanh")
    found = eiplane.analyze([layer], noise=0.1, measures="bounds")[0]
    assert found.ei_bounds[0] < found.ei_bounds[1]


def test_one_seed_one_answer():
    layer = eiplane.Layer(np.random.default_rng(0).normal(size=(3, 4)), None, "relu")
    one, three = (bounds_of(layer, 0.1, threads=n) for n in (1, 3))
    assert one == three
    assert bounds_of(layer, 0.1, rng=1) != one


def test_weights_of_zero_and_far_outputs():
    """Nothing is told, or everything: no infinite or missing number."""
    nothing = eiplane.Layer(np.zeros((2, 2)), [0.1, 0.2], "tanh")
    assert bounds_of(nothing, 0.1)[0][1] < 1e-6
    far = eiplane.Layer(np.diag([100.0, 100.0, 100.0]), None, "identity")
    ei, output = bounds_of(far, ("uniform", 1.0))
    assert 4.0 < ei[0] <= ei[1] <= 6.0
    assert np.isfinite(output).all()
    assert (
        NoisyLayer(far, Noise("uniform", 1.0), Surroundings((0, 1), 4, 0.0), (0, 1), 4).width == 1
    )
