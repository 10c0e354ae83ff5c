"""Whole layers by sampling, against deep-ei 0.7.0 on the same weights, in one run."""

from __future__ import annotations

import numpy as np
import pytest

import eiplane

peer = pytest.importorskip("peer", reason='needs deep-ei: pip install "eiplane[bench]"')

SAMPLES, FEW = 100_000, 5_000
LAYERS = [(6, 6), (25, 6), (100, 50)]


def weight_of(n_in, n_out, reach=None):
    """Weights uniform in +-5 / sqrt(n_in), or +-reach."""
    generator = np.random.default_rng(n_in)
    reach = 5 / np.sqrt(n_in) if reach is None else reach
    return generator.uniform(-reach, reach, (n_out, n_in)).astype(np.float32)


def measure(weight, measure, samples, threads):
    return eiplane.analyze(
        weight, method="sample", measures=measure, samples=samples, threads=threads
    )[0]


def report(benchmark, shape, way, samples):
    increments = samples * shape[0] * shape[1]
    benchmark.extra_info |= {
        "ns_an_increment": benchmark.stats["median"] / increments * 1e9,
        "layer": f"{shape[0]}→{shape[1]}",
        "way": way,
    }


def agree(ours, theirs, errors):
    """Edge by edge within sampling error: both estimates are noisy."""
    z = (ours - theirs) / (np.sqrt(2) * errors + 1e-6)
    assert np.abs(z).max() < 6
    assert abs(z.mean()) < 6 / np.sqrt(z.size)


@pytest.mark.parametrize("shape", LAYERS, ids=str)
@pytest.mark.benchmark(group="ei_parts")
def test_ei_parts_deep_ei(benchmark, shape):
    weight = weight_of(*shape)
    theirs = benchmark.pedantic(peer.Peer(weight).ei_edges, (SAMPLES,), rounds=3, iterations=1)
    ours = measure(weight, "ei_parts", SAMPLES, 1)
    agree(ours.ei_edges_plugin, theirs, ours.ei_edges_stderr)
    report(benchmark, shape, "deep-ei", SAMPLES)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("shape", [*LAYERS, (784, 256)], ids=str)
@pytest.mark.benchmark(group="ei_parts")
def test_ei_parts(benchmark, shape, threads):
    weight = weight_of(*shape)
    layer = benchmark.pedantic(
        measure, (weight, "ei_parts", SAMPLES, threads), rounds=7, warmup_rounds=1
    )
    exact = eiplane.analyze(weight, measures="ei_parts")[0]
    # What the correction for bias leaves, where output bins are seen a few times only, is a few
    # per cent of it: on 200,000 edges at once more than the noise.
    left = 0.1 * abs(layer.ei_parts_plugin - layer.ei_parts)
    assert abs(layer.ei_parts - exact.ei_parts) < 5 * layer.ei_parts_stderr + left
    report(benchmark, shape, f"eiplane, {threads} thread{'s' * (threads > 1)}", SAMPLES)


@pytest.mark.parametrize("shape", LAYERS, ids=str)
@pytest.mark.benchmark(group="sensitivity")
def test_sensitivity_deep_ei(benchmark, shape):
    weight = weight_of(*shape, reach=3)  # one input alone has to cross bins
    theirs = benchmark.pedantic(peer.Peer(weight).sensitivity_edges, (FEW,), rounds=3, iterations=1)
    ours = measure(weight, "sensitivity", FEW, 1)
    # The peer rounds the sigmoid to float32: 0.5 - epsilon, of a tiny weight, falls in another bin.
    clear = np.abs(weight) > 2e-3
    # A bin that one of the two samples never reached shows in neither's stated error: one sample
    # more or less there is log2(FEW) / FEW bits.
    error = np.sqrt(2) * ours.sensitivity_edges_stderr + np.log2(FEW) / FEW
    z = ((ours.sensitivity_edges_plugin - theirs) / error)[clear]
    assert np.abs(z).max() < 7
    report(benchmark, shape, "deep-ei", FEW)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("shape", [*LAYERS, (784, 256)], ids=str)
@pytest.mark.benchmark(group="sensitivity")
def test_sensitivity(benchmark, shape, threads):
    weight = weight_of(*shape, reach=3)  # one input alone has to cross bins
    layer = benchmark.pedantic(
        measure, (weight, "sensitivity", FEW, threads), rounds=7, warmup_rounds=1
    )
    exact = eiplane.analyze(weight, measures="sensitivity")[0]
    left = 0.1 * abs(layer.sensitivity_plugin - layer.sensitivity)
    assert abs(layer.sensitivity - exact.sensitivity) < 5 * layer.sensitivity_stderr + left
    report(benchmark, shape, f"eiplane, {threads} thread{'s' * (threads > 1)}", FEW)
