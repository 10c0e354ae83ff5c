"""The sampled engine: known answers, errors, independence of how the work is cut."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import eiplane
from eiplane.network import Binning, discretize
from eiplane.pairwise import sampled as pairwise
from eiplane.run import Runner, Sampling, parallel

SAMPLES = 100_000


def sampled(weights, activation, **options):
    options = {"method": "sample", "measures": "degeneracy", "samples": SAMPLES} | options
    return eiplane.analyze(weights, activation, **options)[0]


@pytest.mark.parametrize("bins", [2, 7, 8, 64])
@pytest.mark.parametrize("k", [1, 3, 6])
def test_identity(k, bins):
    layer = sampled(np.eye(k), "identity", bins=bins, out_range=(0, 1))
    for value, error in (
        (layer.ei_parts, layer.ei_parts_stderr),
        (layer.sensitivity, layer.sensitivity_stderr),
    ):
        assert abs(value - k * np.log2(bins)) <= 5 * error
    off = layer.ei_edges[~np.eye(k, dtype=bool)]
    assert (np.abs(off) <= 5 * layer.ei_edges_stderr[~np.eye(k, dtype=bool)]).all()
    assert (layer.sensitivity_edges[~np.eye(k, dtype=bool)] == 0).all()


def test_zero_weight():
    layer = sampled([[0.0]], "sigmoid")
    assert layer.ei_parts == layer.sensitivity == 0.0


@pytest.mark.parametrize(
    ("activation", "weight", "bins", "options", "bits", "digits"),
    [
        ("sigmoid", 1, 8, {}, 0.9465, 4),
        ("sigmoid", 1, 64, {}, 3.784, 3),
        ("tanh", 1, 64, {"in_range": (-1, 1)}, 5.199, 3),
        ("relu", 1, 64, {"out_range": (0, 1)}, 6.000, 3),
        ("relu", 5, 64, {"out_range": (0, 1), "outliers": "drop"}, 3.698, 3),
        ("relu", 5, 64, {"out_range": (0, 1), "outliers": "clip"}, 1.427, 3),
    ],
)
def test_known_edges(activation, weight, bins, options, bits, digits):
    layer = sampled([[weight]], activation, bins=bins, **options)
    rounding = 0.5 * 10.0**-digits
    for value, error in (
        (layer.ei_parts, layer.ei_parts_stderr),
        (layer.sensitivity, layer.sensitivity_stderr),
    ):
        assert abs(value - bits) <= 5 * error + rounding
    if "outliers" in options:
        assert layer.outlier_fraction == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize(
    ("shape", "bins", "drop", "samples"),
    [
        ((5, 7), (8, 8), False, 20_011),
        ((60, 90), (16, 16), True, 5_001),
        ((20, 150), (8, 8), True, 9_001),
        ((20, 30), (64, 64), False, 9_999),
        ((3, 4), (256, 200), True, 3_000),
    ],
)
def test_any_cut_gives_the_same(
    generator, monkeypatch, instruction_set, shape, bins, drop, samples
):
    layer = eiplane.Layer(generator.normal(size=shape) / 3, generator.normal(size=shape[0]), "relu")
    channel = discretize(layer, Binning(*bins, drop, 0.25), (0.0, 1.0), (0.0, 1.0))
    monkeypatch.setattr(parallel, "SHORTEST_HERE", 0)  # threads even for this little
    results = []
    for threads in (1, 2, 5):
        for shared in (0, 8 << 20):
            monkeypatch.setattr(pairwise, "_SHARED_BYTES", shared)
            monkeypatch.setattr(pairwise, "_MOST_BYTES", shared)
            monkeypatch.setattr(pairwise, "_FEWEST", threads)
            monkeypatch.setattr(pairwise, "_BLOCK_BYTES", 1 << (14 + threads))
            results.append(
                [
                    engine(channel, Sampling(11, samples=samples), Runner(threads))
                    for engine in (pairwise.ei_parts, pairwise.sensitivity)
                ]
            )
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            for field in dataclasses.fields(a):
                assert np.array_equal(getattr(a, field.name), getattr(b, field.name)), field.name


def test_a_seed_and_a_layer_have_their_own_numbers(generator):
    weights = [generator.normal(size=(4, 4)) for _ in range(3)]
    options = {"method": "sample", "measures": "degeneracy", "samples": 2000}
    first = eiplane.analyze(weights, **options)
    again = eiplane.analyze(weights, **options)
    one = eiplane.analyze(weights, layers="1", **options)
    other = eiplane.analyze(weights, rng=1, **options)
    assert [x.ei_parts for x in first] == [x.ei_parts for x in again]
    assert len(one) == 1
    assert one["1"].ei_parts == first["1"].ei_parts
    assert all(a.ei_parts != b.ei_parts for a, b in zip(first, other, strict=True))
    assert len({x.ei_parts for x in eiplane.analyze([weights[0]] * 3, **options)}) == 3
    fresh = [eiplane.analyze(weights[0], rng=None, **options)[0].ei_parts for _ in range(2)]
    assert fresh[0] != fresh[1]


@pytest.mark.slow
def test_standard_errors_are_honest(generator):
    weights = generator.normal(size=(6, 8)) * 1.5
    runs = [sampled(weights, "tanh", samples=4096, rng=seed) for seed in range(200)]
    for name in ("ei_parts", "sensitivity"):
        values = np.array([getattr(r, name) for r in runs])
        errors = np.array([getattr(r, f"{name}_stderr") for r in runs])
        assert 0.85 < values.std(ddof=1) / errors.mean() < 1.15
    edges = np.array([r.ei_edges for r in runs])
    errors = np.array([r.ei_edges_stderr for r in runs])
    assert 0.9 < edges.std(axis=0, ddof=1).mean() / errors.mean() < 1.1
    # What the correction takes away is the bias: few samples against many.
    many = sampled(weights, "tanh", samples=4_000_000)
    bias = np.mean([r.ei_edges_plugin for r in runs]) - many.ei_edges.mean()
    left = edges.mean() - many.ei_edges.mean()
    assert abs(left) < 0.2 * abs(bias)


def test_tolerance(generator):
    layer = sampled(generator.normal(size=(3, 4)), "tanh", tol=0.01, samples=None)
    assert layer.ei_parts_stderr <= 0.01
    assert layer.samples > 1000
    capped = sampled(generator.normal(size=(3, 4)), "tanh", tol=1e-6, samples=20_000)
    assert capped.samples == 20_000
    assert capped.ei_parts_stderr > 1e-6


def test_spans(generator):
    linear = [generator.normal(size=(4, 5)), generator.normal(size=(3, 4))]
    product = linear[1] @ linear[0]
    options = {"method": "sample", "measures": "degeneracy", "out_range": (-6, 6)}
    span = eiplane.analyze(linear, "identity", spans=[(0, 1)], **options)
    whole = eiplane.analyze(product, "identity", **options)
    assert [x.name for x in span] == ["0..1"]
    for name in ("ei_parts", "sensitivity"):
        a, b = (getattr(x[0], f"{name}") for x in (span, whole))
        error = np.hypot(*(getattr(x[0], f"{name}_stderr") for x in (span, whole)))
        assert abs(a - b) < 5 * error
    every = eiplane.analyze(linear, "tanh", spans="all", method="sample", measures="ei_parts")
    assert [x.name for x in every] == ["0", "1", "0..1"]
    alone = eiplane.analyze(
        linear, "tanh", spans=[("1", "1")], method="sample", measures="ei_parts"
    )
    assert alone[0].ei_parts == every["1"].ei_parts


@pytest.mark.parametrize("activation", ["gelu", "silu", "softplus", "elu", "leaky_relu", "selu"])
def test_span_through_an_activation(generator, activation):
    """A span against evaluating the same chain in NumPy, with its own random numbers."""
    weights = [generator.normal(size=(6, 3)), generator.normal(size=(2, 6))]
    d = eiplane.analyze(
        weights,
        [activation, "tanh"],
        spans=[(0, 1)],
        method="sample",
        measures="ei_parts",
        samples=400_000,
    )
    x = generator.uniform(size=(400_000, 3))
    f = eiplane.get_activation(activation)
    if activation == "gelu":  # NumPy has no error function
        x = x[:20_000]
    y = np.tanh(f(x @ weights[0].T) @ weights[1].T)
    for b in range(2):
        for a in range(3):
            estimate = eiplane.mutual_information(x[:, a], y[:, b], range=((0, 1), (-1, 1)))
            bias = 49 / (2 * len(x) * np.log(2))
            assert d[0].ei_edges[b, a] == pytest.approx(estimate, abs=bias + 0.03)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
def test_bounded_memory():
    """784 to 256 neurons at 64 bins: every joint table at once would be 6.6 TB."""
    import subprocess
    import sys

    code = r"""
import re, numpy as np, eiplane
w = np.random.default_rng(0).normal(size=(256, 784)) / 28
d = eiplane.analyze(w, bins=64, method="sample", samples=2000, measures="degeneracy")
assert d[0].ei_parts > 0
# Not ru_maxrss, which starts with what the parent process had.
print(int(re.search(r"VmHWM:\s*(\d+)", open("/proc/self/status").read())[1]) // 1024)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(run.stdout) < 1024


@pytest.mark.parametrize("method", ["exact", "sample"])
@pytest.mark.parametrize("outliers", ["clip", "drop"])
def test_everything_out_of_range(method, outliers):
    """No threshold lies between inside and outside: there is no inside."""
    found = eiplane.analyze(
        [np.eye(3), np.eye(3)], "relu", method=method, out_range=(-3, -1), outliers=outliers,
        measures=("ei_parts", "sensitivity"), samples=1000 if method == "sample" else None,
    )[0]  # fmt: skip
    assert found.pairwise_ei.outlier_fraction == 1.0
    assert found.pairwise_sensitivity.outlier_fraction == 1.0
    assert found.ei_parts == found.sensitivity == 0.0
