"""Volumes by cooling: against the twin, against volumes known otherwise, and what they are for."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import ConvexHull, HalfspaceIntersection

import eiplane
from eiplane import _core
from eiplane.joint.cooling import cool_unit
from eiplane.joint.filtering import filter_unit
from eiplane.joint.volumes import FilterUnit, Settings, problem
from eiplane.network import Binning, Layer, automatic_range, discretize, get_activation
from eiplane.reference.cooling import cooled_volume
from eiplane.reference.wide import polytope_evidence

NEVER = np.zeros(1, np.int32)
FINE = Settings(60, 0.8, 1e-9, 3, False, 7, 15)


def boxes(n_in, n_out, seed, width=0.3):
    """Weights, and intervals of outputs about those of a random input."""
    rng = np.random.default_rng([seed, n_in, n_out])
    weight = rng.uniform(-1.0, 1.0, (n_out, n_in))
    u = rng.random(n_in) - 0.5
    lo = weight @ u - width * rng.random(n_out)
    return weight, lo, lo + width, u


def run(weight, lo, hi, settings, streams=(0,)):
    """The core's evidence and cooled volume, in nats."""
    count, n = len(streams), weight.shape[1]
    found = _core.wide_run(
        settings, weight, np.full((count, n), -0.5), np.full((count, n), 0.5),
        np.tile(lo, (count, 1)), np.tile(hi, (count, 1)), np.zeros(count, np.uint8),
        np.array(streams, np.uint32), NEVER,
    )  # fmt: skip
    return found[0], found[3]


def volume(weight, lo, hi, inside):
    """Log of the volume of the polytope in the unit cube, by qhull."""
    n = weight.shape[1]
    a = np.vstack([weight, -weight, np.eye(n), -np.eye(n)])
    c = np.concatenate([hi, -lo, np.full(2 * n, 0.5)])
    found = HalfspaceIntersection(np.column_stack([a, a @ inside - c]), np.zeros(n))
    return math.log(ConvexHull(found.intersections).volume)


@pytest.mark.parametrize("instructions", _core.supported())
@pytest.mark.parametrize("shape", [(3, 2), (2, 5), (5, 9), (9, 4)])
@pytest.mark.parametrize("by_inputs", [False, True])
def test_the_core_is_its_twin(instructions, shape, by_inputs):
    before = _core.active()
    n = shape[0]
    weight, lo, hi, _ = boxes(*shape, 1)
    lo[0] = -math.inf
    try:
        _core.select(instructions)
        cooled = run(weight, lo, hi, replace(FINE, by_inputs=by_inputs), [5])[1][0]
    finally:
        _core.select(before)
    slow = polytope_evidence(
        weight, [(-0.5, 0.5)] * n, list(zip(lo, hi, strict=True)), 60, 0.8, 1e-9
    )
    deviation = np.sqrt(np.linalg.inv(slow.precision).diagonal())
    limits = np.concatenate([np.full(n, -0.5), lo]), np.concatenate([np.full(n, 0.5), hi])
    twin = cooled_volume(
        np.vstack([np.eye(n), weight]), limits, slow.mean,
        slow.precision if by_inputs or n <= 8 else None, deviation, 3, (7, 15, 5),
    )  # fmt: skip
    assert cooled == pytest.approx(twin, abs=1e-5)


@pytest.mark.parametrize("shape", [(2, 8), (3, 24), (5, 5), (6, 3)])
def test_volumes_are_those_of_polytopes(shape):
    off = []
    for seed in range(30):
        weight, lo, hi, inside = boxes(*shape, seed)
        settings = replace(FINE, sweeps=16, by_inputs=True)
        cooled = run(weight, lo, hi, settings, range(8))[1]
        off.append(cooled.mean() - volume(weight, lo, hi, inside))
    assert abs(np.mean(off)) < 4.0 * np.std(off) / math.sqrt(len(off)) + 1e-3
    assert np.std(off) < 0.05


def test_boxes_leave_no_noise():
    weight = np.eye(7)[:3]
    lo, hi = np.array([-0.1, -0.4, 0.2]), np.array([0.3, -0.35, 0.45])
    cooled = run(weight, lo, hi, replace(FINE, by_inputs=True), range(4))[1]
    assert cooled == pytest.approx(np.full(4, math.log(0.4 * 0.05 * 0.25)), abs=1e-4)
    assert np.ptp(cooled) < 1e-9


def channel_of(weight, activation="sigmoid", drop=False):
    layer = Layer(weight, None, get_activation(activation))
    return discretize(layer, Binning(8, 8, drop), (0.0, 1.0), automatic_range(layer, (0.0, 1.0)))


def test_every_instruction_set_gives_the_same_bits():
    weight = np.random.default_rng(0).normal(size=(13, 20))
    p = problem(channel_of(weight), np.ones(20, bool), np.ones(13, bool), 5)
    before, seen = _core.active(), []
    try:
        for name in _core.supported():
            _core.select(name)
            found = cool_unit(FilterUnit(p, 3, 4))
            seen.append(np.stack([found.output, found.within]))
    finally:
        _core.select(before)
    for other in seen[1:]:
        np.testing.assert_array_equal(seen[0], other)


def test_samples_are_those_that_were_filtered():
    weight = np.random.default_rng(1).normal(size=(30, 3))
    p = problem(channel_of(weight), np.ones(3, bool), np.ones(30, bool), 5)
    found, cooled = filter_unit(FilterUnit(p, 0, 96)), cool_unit(FilterUnit(p, 0, 96))
    # The correction is a good guess of what is missed, if not of all of it.
    for name in ("output", "within"):
        guess, missed = getattr(found, name)[:, 1], getattr(cooled, name)
        assert 0.3 * guess.mean() < missed.mean() < 1.1 * guess.mean() and guess.mean() > 0.05


@pytest.mark.parametrize("shape", [(2, 8, 64), (3, 24, 16), (4, 40, 8)])
def test_few_inputs_of_many_outputs(shape):
    n, m, bins = shape
    weight = np.random.default_rng([n, m]).uniform(-2.0, 2.0, (m, n))
    layer = Layer(weight, None, get_activation("tanh"))
    found = eiplane.analyze(layer, measures="ei", bins=bins, estimator="wide", rng=1)[0]
    # What the outputs' bins tell of 400 inputs, by the volumes of the polytopes that they are in.
    rng, values = np.random.default_rng(2), []
    ends = np.arctanh(np.linspace(-1.0, 1.0, bins + 1)[1:-1])
    ends = np.concatenate([[-99.0], ends, [99.0]])
    for u in rng.random((400, n)):
        at = np.searchsorted(ends, weight @ u) - 1
        cell = np.floor(u * bins) / bins
        lo, hi = ends[at], ends[at + 1]
        told = []
        for corner, side in ((np.zeros(n), 1.0), (cell, 1.0 / bins)):
            middle = corner + 0.5 * side
            shift = weight @ middle
            args = weight * side, lo - shift, hi - shift, (u - middle) / side
            told.append(volume(*args) / math.log(2.0))
        values.append(told[1] - told[0])
    error = math.hypot(found.ei_stderr, np.std(values) / math.sqrt(len(values)))
    assert found.joint.estimator == "wide"
    assert abs(found.ei - np.mean(values)) < 4.0 * error
    assert found.ei_stderr < 0.01 * found.ei


@pytest.mark.parametrize("pairs", [1, 3])
def test_samples_that_are_all_alike_have_no_noise(pairs):
    """Sums and differences of pairs, each in one of two bins: most cells are in one alone."""
    weight = np.kron(np.eye(pairs), [[1.0, 1.0], [1.0, -1.0]])
    layer = Layer(weight, np.tile([0.0, 1.0], pairs), get_activation("identity"))
    options = {"bins": (8, 2), "out_range": (0, 2), "measures": "ei", "estimator": "wide"}
    found = eiplane.analyze(layer, **options)[0]
    assert found.joint.estimator == "wide"
    # Both cut through the corners of cells: of 64 cells 8 are halved by one, 8 by the other.
    assert found.ei == pytest.approx((2.0 - 16 / 64) * pairs, abs=3.0 * found.ei_stderr + 1e-6)
    assert found.output_entropy == pytest.approx(
        2.0 * pairs, abs=1e-6 + found.output_entropy_stderr
    )
    low, high = found.ei_bounds
    assert low - 1e-9 <= (2.0 - 16 / 64) * pairs <= high + 1e-9
