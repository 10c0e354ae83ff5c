"""The wide estimator: against its twin, against volumes known otherwise, against counting."""

import math
import warnings
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

import eiplane
from eiplane import _core
from eiplane.joint.filtering import filter_unit
from eiplane.joint.polytopes import constraints, directions, unions
from eiplane.joint.volumes import FilterUnit, Settings, problem
from eiplane.network import Binning, Layer, automatic_range, discretize, get_activation
from eiplane.reference import wide as twin

NEVER = np.zeros(1, np.int32)
FINE = Settings(60, 0.8, 1e-9)


def dense(n_in, n_out, spread, seed=0):
    scale = spread / math.sqrt(n_in)
    return np.random.default_rng(seed).uniform(-scale, scale, (n_out, n_in))


def channel_of(weight, activation="sigmoid", bins=(8, 8), drop=False, out_range=None):
    layer = Layer(weight, None, get_activation(activation))
    found = out_range or automatic_range(layer, (0.0, 1.0))
    return discretize(layer, Binning(*bins, drop), (0.0, 1.0), found)


def core(weight, inputs, outputs, settings=FINE):
    """The core's answer for one sample."""
    ends, limits = np.array(inputs, float), np.array(outputs, float)
    found = _core.wide_run(
        settings, np.ascontiguousarray(weight), np.ascontiguousarray(ends[None, :, 0]),
        np.ascontiguousarray(ends[None, :, 1]), np.ascontiguousarray(limits[None, :, 0]),
        np.ascontiguousarray(limits[None, :, 1]), np.ones(1, np.uint8), np.array([3], np.uint32),
        NEVER,
    )  # fmt: skip
    return [x[0] for x in found]


def intervals_around(weight, seed, width=0.25):
    """Intervals that hold the outputs of a random input."""
    rng = np.random.default_rng(seed)
    z = weight @ (rng.random(weight.shape[1]) - 0.5)
    found = []
    for value in z:
        low = value - width * rng.random()
        found.append((low if rng.random() >= 0.3 else -math.inf, low + width))
    return found


@pytest.mark.parametrize("instructions", _core.supported())
@pytest.mark.parametrize("shape", [(3, 2), (2, 5), (9, 17), (17, 9), (8, 8), (1, 3), (12, 1)])
@pytest.mark.parametrize("kind", ["plain", "cut"])
def test_the_core_is_its_twin(instructions, shape, kind):
    before = _core.active()
    n_in, n_out = shape
    weight = dense(n_in, n_out, 2.0, n_in)
    outputs = intervals_around(weight, n_out)
    inputs = [(-0.5, 0.5)] * n_in
    if kind == "cut":
        u = np.random.default_rng(n_out).random(n_in) - 0.5  # the input that they are around
        inputs = [(max(x - 0.2, -0.5), min(x + 0.3, 0.5)) for x in u]
        outputs[0] = (-math.inf, math.inf)
    try:
        _core.select(instructions)
        evidence, correction, _, _, h, square = core(weight, inputs, outputs)
    finally:
        _core.select(before)
    slow = twin.polytope_evidence(weight, inputs, outputs, 60, 0.8, 1e-9)
    assert evidence == pytest.approx(slow.evidence, abs=1e-7)
    assert correction == pytest.approx(slow.correction, abs=2e-5)
    np.testing.assert_allclose(h, slow.h, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(square, slow.l, rtol=1e-4, atol=1e-4)


def test_every_instruction_set_gives_the_same_bits():
    channel = channel_of(dense(20, 13, 3.0))
    p = problem(channel, np.ones(20, bool), np.ones(13, bool), 5)
    before, seen = _core.active(), []
    try:
        for name in _core.supported():
            _core.select(name)
            found = filter_unit(FilterUnit(p, 3, 12))
            seen.append([found.output, found.within, found.posterior])
    finally:
        _core.select(before)
    for other in seen[1:]:
        for a, b in zip(seen[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_threads_and_executors_change_nothing():
    def run(**where):
        return eiplane.analyze(
            dense(12, 40, 2.0), measures="ei", estimator="wide", samples=100, **where
        )[0].joint

    one = run(threads=1)
    with ProcessPoolExecutor(2) as pool:
        others = [run(threads=3), run(executor=pool)]
    for other in others:
        assert (other.ei, other.ei_stderr, other.output_entropy) == (
            one.ei, one.ei_stderr, one.output_entropy,
        )  # fmt: skip
        np.testing.assert_array_equal(other.influence_in, one.influence_in)


# ---- volumes known otherwise ---------------------------------------------------------------------


def test_a_volume_without_limits_is_the_inputs_own():
    weight = dense(3, 2, 2.0)
    inputs = [(-0.5, 0.5), (-0.25, 0.25), (0.1, 0.2)]
    evidence, correction, *_ = core(weight, inputs, [(-math.inf, math.inf)] * 2)
    assert evidence == pytest.approx(math.log(0.5 * 0.1), abs=1e-12)
    assert correction == 0.0


@pytest.mark.parametrize("shape", [(2, 1), (2, 3), (3, 3), (4, 2), (3, 6)])
def test_volumes_against_counting(shape):
    weight = dense(*shape, 3.0, 2)
    rng = np.random.default_rng(1)
    u = rng.random((4_000_000, shape[0])) - 0.5
    z = u @ weight.T
    off = []
    for seed in range(6):
        outputs = intervals_around(weight, seed, 0.4)
        inside = np.ones(len(u), bool)
        for j, (a, b) in enumerate(outputs):
            inside &= (a < z[:, j]) & (z[:, j] < b)
        evidence, correction, *_ = core(weight, [(-0.5, 0.5)] * shape[0], outputs)
        off.append(evidence + 0.8 * correction - math.log(inside.mean()))
        assert abs(off[-1]) < 0.12
    assert abs(np.mean(off)) < 0.04


def test_near_copies_of_an_input():
    # Two limits on almost one variable: the pair is integrated, so nothing of it is lost.
    for a, b in [(0.1, 0.4), (-0.499, 0.3), (-0.2, math.inf)]:
        evidence, correction, *_ = core(np.array([[1.0, 1e-4]]), [(-0.5, 0.5)] * 2, [(a, b)])
        truth = math.log(min(b, 0.5) - a)
        assert evidence + correction == pytest.approx(truth, abs=2e-3)


# ---- constraints ---------------------------------------------------------------------------------


def test_outputs_of_one_direction_and_of_one_input_are_put_together():
    row = np.array([1.0, -0.5, 0.25])
    weight = np.stack([row, 2.0 * row, -row, [0.0, 3.0, 0.0], np.zeros(3)])
    known = directions(channel_of(weight, "identity"), True)
    assert [list(r) for r in known.rows] == [[0, 1, 2], [3]]
    assert list(known.single) == [-1, 1]
    lo = np.array([[[-1.0, -1.0, -2.0, 0.3, -9.0]]]) + known.centre
    hi = np.array([[[1.0, 1.2, 0.3, 0.9, 9.0]]]) + known.centre
    c = constraints(known, lo, hi, np.zeros((1, 2)), np.ones(3))
    np.testing.assert_allclose(c.weight, row[None])
    np.testing.assert_allclose((c.out_lo[0, 0, 0], c.out_hi[0, 0, 0]), (-0.3, 0.6))
    np.testing.assert_allclose((c.in_lo[0, 1], c.in_hi[0, 1]), (0.1, 0.3))


def test_unions_of_labels():
    u = unions(np.array([0.0, 1.0, 2.0]), np.array([1, 0, 1, -1], np.int32), 2)
    assert u.pieces == 2
    assert u.lo[1].tolist() == [-math.inf, 1.0] and u.hi[1].tolist() == [0.0, 2.0]
    assert u.lo[2, 0] == -math.inf and u.hi[2, 0] == 2.0  # all that is kept
    assert u.lo[3, 0] == 2.0 and u.hi[3, 0] == math.inf


# ---- estimates -----------------------------------------------------------------------------------


def joint(weight, **options):
    options = {"measures": "ei", "estimator": "wide", "threads": 2} | options
    return eiplane.analyze(weight, **options)[0].joint


@pytest.mark.parametrize("kind", ["identity", "permutation", "copies", "multiples"])
def test_layers_that_only_move_their_inputs(kind):
    eye, order = np.eye(16), np.random.default_rng(0).permutation(16)
    weight = {
        "identity": eye, "permutation": eye[order], "copies": np.vstack([eye, eye[order]]),
        "multiples": np.vstack([eye, 2.0 * eye]),
    }[kind]  # fmt: skip
    whole = channel_of(weight, "identity", out_range=(0.0, 1.0))  # not taken apart
    p = problem(whole, np.ones(16, bool), np.ones(len(weight), bool), 1)
    found = filter_unit(FilterUnit(p, 0, 20))
    np.testing.assert_allclose(found.output.sum(axis=1) - found.within.sum(axis=1), 48.0, rtol=1e-9)


CASES = [
    (6, 6, 5.0, "sigmoid", 8, "clip"),
    (25, 6, 3.0, "tanh", 8, "clip"),
    (4, 12, 2.0, "sigmoid", 4, "clip"),
    (3, 24, 3.0, "sigmoid", 8, "clip"),
    (8, 8, 1.0, "identity", 16, "clip"),
    (10, 5, 3.0, "gelu", 8, "clip"),
    (5, 7, 4.0, "silu", 4, "clip"),
    (8, 4, 2.0, "identity", 8, "drop"),
]


@pytest.mark.parametrize(("n_in", "n_out", "spread", "activation", "bins", "outliers"), CASES)
def test_against_counting(n_in, n_out, spread, activation, bins, outliers):
    weight = dense(n_in, n_out, spread, n_in + n_out)
    options = {"activation": activation, "bins": bins, "outliers": outliers}
    truth = joint(weight, estimator="conditional", samples=1 << 20, **options)
    found = [joint(weight, rng=seed, **options) for seed in range(3)]
    assert not truth.saturated and all(f.estimator == "wide" for f in found)
    for f in found:
        error = math.hypot(f.ei_stderr, truth.ei_stderr)
        assert abs(f.ei - truth.ei) < 3.5 * error
        assert f.ei_stderr < 0.02 * f.ei
        assert abs(f.output_entropy - truth.output_entropy) < 3.5 * math.hypot(
            f.output_entropy_stderr, truth.output_entropy_stderr
        )
    if outliers == "clip":
        error = np.hypot(found[0].influence_in_stderr, truth.influence_in_stderr)
        assert (np.abs(found[0].influence_in - truth.influence_in) < 4.0 * error + 0.02).all()


def test_influences_where_samples_are_dropped():
    """Of single inputs and outputs, given that a sample is kept: against plain counting."""
    weight = dense(10, 3, 2.0, 4)
    low, high, bins = -0.7, 0.9, 4
    rng = np.random.default_rng(0)
    x, z = [], []
    for _ in range(4):
        some = rng.random((500_000, 10))
        out = some @ weight.T
        kept = ((out >= low) & (out <= high)).all(axis=1)
        x.append(some[kept])
        z.append(out[kept])
    inputs = (np.concatenate(x) * bins).astype(int)
    outputs = ((np.concatenate(z) - low) / (high - low) * bins).astype(int)
    share = len(inputs) / 2_000_000

    def entropy(columns):
        count = np.bincount(np.ravel_multi_index(columns.T, [bins] * columns.shape[1]))
        p = count[count > 0] / count.sum()
        return -(p * np.log2(p)).sum() + (len(p) - 1) / (2 * math.log(2) * count.sum())

    both = [np.column_stack([inputs[:, k], outputs]) for k in range(10)]
    wanted = [entropy(b[:, :1]) + entropy(outputs) - entropy(b) for b in both]
    options = {"activation": "identity", "out_range": (low, high), "bins": bins, "outliers": "drop"}
    off = []
    for seed in range(3):
        found = joint(weight, rng=seed, **options)
        assert found.estimator == "wide"
        assert abs(found.outlier_fraction - (1.0 - share)) < 0.02
        off.append((found.influence_in - wanted) / found.influence_in_stderr)
        counted = joint(weight, estimator="conditional", rng=seed, **options)
        error = np.hypot(found.influence_out_stderr, counted.influence_out_stderr)
        assert (np.abs(found.influence_out - counted.influence_out) < 4.0 * error).all()
    assert np.abs(off).max() < 4.0
    assert np.sqrt(np.mean(np.square(off))) < 1.6


def test_estimates_stay_within_their_bounds():
    # An identity behind a coupling that keeps it in one piece: bounds are all but exact.
    weight = np.eye(12) + 1e-9
    found = joint(weight, activation="identity", out_range=(0, 1), bins=4, samples=40)
    for value, stderr, (low, high) in (
        (found.ei, found.ei_stderr, found.ei_bounds),
        (found.output_entropy, found.output_entropy_stderr, found.output_entropy_bounds),
    ):
        assert 23.99 < low <= value <= high <= 24.0
        assert stderr <= high - low


def test_blocks_that_are_not_taken_apart():
    # A coupling of 1e-9 hides that the layer falls into blocks; the truth is the blocks' sum.
    rng = np.random.default_rng(3)
    weight = np.full((24, 24), 1e-9)
    truth = 0.0
    for k in range(4):
        block = dense(6, 6, 4.0, k)
        weight[6 * k : 6 * k + 6, 6 * k : 6 * k + 6] = block
        truth += joint(block, estimator="conditional", samples=1 << 20).ei
    weight = weight[rng.permutation(24)][:, rng.permutation(24)]
    for seed in range(3):
        found = joint(weight, estimator="auto", rng=seed)
        assert found.estimator == "wide"
        assert abs(found.ei - truth) < min(3.5 * found.ei_stderr, 0.02 * truth)


def test_wide_layers_have_an_answer_with_an_error():
    weight = dense(100, 50, 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing is saturated
        layer = eiplane.analyze(weight)[0]
    assert layer.joint.estimator == "wide" and layer.joint.coverage is None
    assert not layer.saturated
    assert abs(layer.ei - 33.3) < 1.0  # 1,500 samples without control variates: 33.23 +- 0.17
    assert layer.ei_stderr < 0.02 * layer.ei
    assert layer.phi > 10.0
    assert layer.influence_in.sum() < layer.ei


def test_a_tolerance_is_kept():
    found = joint(dense(12, 40, 2.0), estimator="auto", tol=0.1)
    assert found.converged and found.ei_stderr <= 0.1
    few = joint(dense(12, 40, 2.0), estimator="auto", tol=0.01, samples=1 << 16)
    assert few.converged is False


def test_samples_are_those_asked_for():
    assert joint(dense(12, 40, 2.0), samples=70).samples == 70


def test_groups_of_wide_layers():
    layer = Layer(dense(60, 50, 2.0), activation="sigmoid")
    found = eiplane.ei_between(layer, range(30), range(50), threads=2)
    whole = eiplane.ei_between(layer, range(60), range(50), threads=2)
    assert found.estimator == whole.estimator == "wide"
    assert found.ei + 2.0 < whole.ei
    assert abs(found.output_entropy - whole.output_entropy) < 4.0 * math.hypot(
        found.output_entropy_stderr, whole.output_entropy_stderr
    )


def test_stages_are_counted_even_so():
    weights = [dense(5, 4, 3.0), dense(4, 3, 3.0)]
    span = eiplane.analyze(weights, spans=[(0, 1)], estimator="wide", measures="ei")[-1]
    assert span.joint.estimator == "conditional"


@pytest.mark.parametrize("seed", [1, 2, 4, 5])
def test_filtering_that_settles_on_nonsense_claims_nothing(seed):
    """Many narrow pieces: what goes astray is no number, and errors are finite."""
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(5, 3))
    layer = Layer(4.0 * weight, -weight.sum(axis=1) / 2, "abs")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", eiplane.SaturationWarning)
        warnings.simplefilter("error", RuntimeWarning)
        found = eiplane.analyze(layer, measures="ei", bins=(8, 64), estimator="wide")[0]
    low, high = found.ei_bounds
    if found.ei is not None:
        assert low <= found.ei <= high and math.isfinite(found.ei_stderr)
    counted = eiplane.analyze(layer, measures="ei", bins=(8, 64), out_range=found.out_range)[0]
    assert low - 0.1 <= counted.ei <= high + 0.1
    assert found.ei is None or abs(found.ei - counted.ei) < 3.5 * found.ei_stderr + 0.1
