"""Wide layers of known EI: shuffled blocks, each gone through point by point, none of it eiplane's.

``bench/calibration.py`` does the same with many more layers, blocks and seeds.
"""

import itertools
import math

import numpy as np
import pytest

import eiplane

COUPLING = 1e-9  # between blocks, so that they are not taken apart

ACTIVATIONS = {
    "sigmoid": lambda z: 1.0 / (1.0 + np.exp(-z)),
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0.0),
}
RANGES = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0), "relu": (0.0, 1.5)}

#: Inputs and outputs of a block, activation, bins, spread of the weights, points a side of a cell.
LAYERS = [
    (3, 3, "sigmoid", 4, 4.0, 30),
    (2, 2, "tanh", 8, 1.5, 50),
    (3, 2, "relu", 8, 2.0, 14),
    (2, 4, "sigmoid", 8, 3.0, 50),
    (4, 2, "tanh", 4, 2.5, 16),
    (2, 3, "relu", 16, 1.0, 25),
    (3, 4, "tanh", 4, 1.0, 30),
    (3, 3, "sigmoid", 8, 0.7, 14),
]
BLOCKS, SEEDS = 8, 4


def grid_ei(weight, activation, bins, points):
    """EI of a small layer: every point of a grid within every cell."""
    n = weight.shape[1]
    low, high = RANGES[activation]
    side = (np.arange(points) + 0.5) / (points * bins)
    inside = np.stack(np.meshgrid(*[side] * n, indexing="ij")).reshape(n, -1)
    within, whole = [], {}
    names = np.random.default_rng(0).integers(
        1, 1 << 62, len(weight)
    )  # sums overflow, as hashes do
    for cell in itertools.product(range(bins), repeat=n):
        x = inside + np.array(cell)[:, None] / bins
        y = (ACTIVATIONS[activation](weight @ x) - low) / (high - low) * bins
        labels = np.clip(y.astype(int), 0, bins - 1)
        codes, count = np.unique(names @ labels, return_counts=True)
        p = count / count.sum()
        within.append(-(p * np.log2(p)).sum())
        for code, share in zip(codes.tolist(), p.tolist(), strict=True):
            whole[code] = whole.get(code, 0.0) + share
    p = np.array(list(whole.values())) / len(within)
    return -(p * np.log2(p)).sum() - np.mean(within)


def shuffled(weight, blocks, rng):
    """Return a layer of blocks, no two alike, that all have the EI of one."""
    m, n = weight.shape
    whole, bias = np.full((blocks * m, blocks * n), COUPLING), np.zeros(blocks * m)
    for k in range(blocks):
        rows, columns = rng.permutation(m), rng.permutation(n)
        turned = rng.random(n) < 0.5  # 1 - x for x
        own = weight[rows][:, columns]
        bias[k * m : (k + 1) * m] = own[:, turned].sum(axis=1)
        whole[k * m : (k + 1) * m, k * n : (k + 1) * n] = np.where(turned, -own, own)
    rows, columns = rng.permutation(len(whole)), rng.permutation(blocks * n)
    return whole[rows][:, columns], bias[rows]


def test_stated_errors_are_the_errors():
    ratios = []
    for i, (n, m, activation, bins, spread, points) in enumerate(LAYERS):
        rng = np.random.default_rng([8, i])
        part = rng.uniform(-spread, spread, (m, n)) / math.sqrt(n)
        truth = BLOCKS * grid_ei(part, activation, bins, points)
        weight, bias = shuffled(part, BLOCKS, rng)
        for seed in range(SEEDS):
            [layer] = eiplane.analyze(
                eiplane.Layer(weight, bias, activation), measures="ei", bins=bins,
                out_range=RANGES[activation], estimator="wide", rng=seed,
            )  # fmt: skip
            slack = 1e-3 * truth  # of the grid
            assert layer.ei_bounds[0] - slack <= truth <= layer.ei_bounds[1] + slack
            assert abs(layer.ei / truth - 1.0) < 0.03
            ratios.append((layer.ei - truth) / layer.ei_stderr)
    # 32 estimates of 8 layers: by halves of the errors, or with twice as much bias, it would be 2.
    assert 0.65 < np.sqrt(np.mean(np.square(ratios))) < 1.35
    assert np.max(np.abs(ratios)) < 3.5


@pytest.mark.parametrize(
    ("n", "m", "activation", "bins", "spread", "points", "blocks"),
    [
        (3, 3, "relu", 4, 2.0, 30, 6),
        (3, 3, "relu", 4, 1.5, 30, 6),
        (2, 4, "sigmoid", 8, 1.2, 50, 4),
    ],
)
def test_counting_knows_what_it_has_not_seen(n, m, activation, bins, spread, points, blocks):
    # Products of many distributions have tails that no sample has seen the end of.
    rng = np.random.default_rng([9, n])
    part = rng.uniform(-spread, spread, (m, n)) / math.sqrt(n)
    truth = blocks * grid_ei(part, activation, bins, points)
    weight, bias = shuffled(part, blocks, rng)
    layers = [
        eiplane.analyze(
            eiplane.Layer(weight, bias, activation), measures="ei", bins=bins,
            out_range=RANGES[activation], estimator="conditional", rng=seed,
        )[0]
        for seed in range(4)
    ]  # fmt: skip
    assert all(layer.joint.coverage > 0.9 and not layer.saturated for layer in layers)
    off = np.array([layer.ei - truth for layer in layers])
    stated = np.array([layer.ei_stderr for layer in layers])
    assert 0.3 < np.sqrt(np.mean(off**2) / np.mean(stated**2)) < 1.5
    assert np.abs(off).max() < 0.005 * truth


def test_few_inputs_of_many_outputs():
    # Their outputs' intervals overlap most, which is where the approximation is at its worst.
    ratios = []
    for i, (n, m, activation, bins, spread, points) in enumerate([
        (2, 24, "sigmoid", 16, 3.0, 30),
        (2, 40, "tanh", 16, 2.0, 30),
        (3, 30, "tanh", 8, 1.0, 10),
        (3, 30, "sigmoid", 8, 4.0, 10),
    ]):  # fmt: skip
        weight = np.random.default_rng([10, i]).uniform(-spread, spread, (m, n)) / math.sqrt(n)
        truth = grid_ei(weight, activation, bins, points)
        for seed in range(3):
            [layer] = eiplane.analyze(
                eiplane.Layer(weight, activation=activation), measures="ei", bins=bins,
                out_range=RANGES[activation], estimator="wide", rng=seed,
            )  # fmt: skip
            assert abs(layer.ei / truth - 1.0) < 0.02
            assert layer.ei_stderr < 0.01 * truth
            ratios.append((layer.ei - truth) / layer.ei_stderr)
    assert np.sqrt(np.mean(np.square(ratios))) < 1.4
    assert np.max(np.abs(ratios)) < 3.5
