"""EI of whole vectors, against deep-ei 0.7.0 on the same weights, in one run.

The table's "ns each" are nanoseconds a sample here. deep-ei is given one thread of torch.
"""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import eiplane
from eiplane.joint import JointOptions, joint
from eiplane.joint.vectors import Counter, CountJob, rows_of
from eiplane.network import Binning, Layer, discretize
from eiplane.run import Runner, Sampling

SAMPLES = 1_000_000
SHAPE = (6, 6)


def weight_of(n_in, n_out):
    generator = np.random.default_rng(n_in)
    return generator.uniform(-5, 5, (n_out, n_in)).astype(np.float32) / np.sqrt(n_in)


def report(benchmark, way, samples, error=None):
    benchmark.extra_info |= {
        "ns_an_increment": benchmark.stats["median"] / samples * 1e9,
        "layer": f"{SHAPE[0]}→{SHAPE[1]}",
        "way": way,
    }
    if error is not None:
        benchmark.extra_info["error"] = error


def measure(weight, estimator, samples, threads):
    return eiplane.analyze(
        weight, measures="ei", estimator=estimator, samples=samples, threads=threads
    )[0]


@pytest.mark.filterwarnings("ignore::eiplane.SaturationWarning")
@pytest.mark.benchmark(group="ei, plug-in")
def test_plugin_deep_ei(benchmark):
    peer = pytest.importorskip("peer", reason='needs deep-ei: pip install "eiplane[bench]"')
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        weight = weight_of(*SHAPE)
        theirs = benchmark.pedantic(
            peer.Peer(weight).ei, (SAMPLES,), rounds=3, iterations=1, warmup_rounds=0
        )
    finally:
        torch.set_num_threads(threads)
    ours = [
        eiplane.analyze(weight, measures="ei", estimator="plugin", samples=SAMPLES, rng=s)[0].ei
        for s in range(5)
    ]
    # Both are the same estimator of other samples: its spread is seen from ours.
    assert abs(theirs - np.mean(ours)) < 8 * np.std(ours, ddof=1) + 0.002
    report(benchmark, "deep-ei", SAMPLES)


@pytest.mark.filterwarnings("ignore::eiplane.SaturationWarning")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.benchmark(group="ei, plug-in")
def test_plugin(benchmark, threads):
    weight = weight_of(*SHAPE)
    layer = benchmark.pedantic(
        measure, (weight, "plugin", SAMPLES, threads), rounds=9, warmup_rounds=1
    )
    best = measure(weight, "conditional", 20 * SAMPLES, 2)
    assert abs(layer.ei - best.ei) < 4 * layer.ei_stderr
    report(benchmark, f"eiplane, {threads} thread{'s' * (threads > 1)}", SAMPLES)


@pytest.mark.benchmark(group="ei, plug-in")
def test_counting_alone(benchmark):
    """X, Y and both, evaluation included, on one thread: no entropies, errors or bounds."""
    channel = discretize(Layer(weight_of(*SHAPE)), Binning(8, 8), (0.0, 1.0), (0.0, 1.0))
    sets = (rows_of(channel, None, ()), rows_of(channel, (), None))

    def count():
        counter = Counter(channel, CountJob(1, 0, 0, 0, sets, ((0, 1),)), Runner(1))
        counter.extend(SAMPLES)
        return counter.result()

    counted = benchmark.pedantic(count, rounds=9, warmup_rounds=1)
    assert counted.of_set(0).total == counted.of_pair(0).total == SAMPLES
    report(benchmark, "eiplane, counting alone", SAMPLES)


@pytest.mark.parametrize("samples", [100_000, SAMPLES])
@pytest.mark.benchmark(group="ei, conditional")
def test_conditional(benchmark, samples):
    weight = weight_of(*SHAPE)
    layer = benchmark.pedantic(
        measure, (weight, "conditional", samples, 1), rounds=9, warmup_rounds=1
    )
    best = measure(weight, "conditional", 50 * SAMPLES, 2)
    assert abs(layer.ei - best.ei) < 5 * np.hypot(layer.ei_stderr, best.ei_stderr)
    if samples == SAMPLES:
        assert layer.ei_stderr < 0.01
        assert abs(layer.ei - best.ei) < 0.02
    report(benchmark, f"eiplane, {samples} evaluations", samples, layer.ei_stderr)


@pytest.mark.benchmark(group="ei, conditional")
def test_without_control_variates(benchmark, monkeypatch):
    """The same draws without what is known of single outputs."""
    from eiplane.joint import plan as module

    monkeypatch.setattr(module, "tractable", lambda channel: False)
    channel = discretize(Layer(weight_of(*SHAPE)), Binning(8, 8), (0.0, 1.0), (0.0, 1.0))
    options = JointOptions(influence=False)
    result = benchmark.pedantic(
        joint,
        (channel, Sampling(0, samples=SAMPLES), options, Runner(1)),
        rounds=5,
        warmup_rounds=1,
    )
    best = measure(weight_of(*SHAPE), "conditional", 50 * SAMPLES, 2)
    assert abs(result.ei - best.ei) < 5 * np.hypot(result.ei_stderr, best.ei_stderr)
    report(benchmark, "eiplane, no control variates", SAMPLES, result.ei_stderr)


@pytest.mark.benchmark(group="ei, plug-in, 25→6")
def test_ten_million_samples_fit_in_four_gibibytes(benchmark):
    """Every input vector is another: the largest tables there are for so many samples."""
    code = """
import pathlib, re, warnings, numpy as np, eiplane
warnings.simplefilter("ignore", eiplane.SaturationWarning)
w = np.random.default_rng(25).uniform(-1, 1, (6, 25)) / 5
d = eiplane.analyze(w, measures="ei", estimator="plugin", samples=10_000_000)[0]
assert d.ei_samples == 10_000_000 and abs(d.ei - d.output_entropy) < 0.1
peak = re.search(r"VmHWM:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())
print(int(peak[1]) // 1024)
"""

    def run():
        command = [sys.executable, "-c", code]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    peak = int(benchmark.pedantic(run, rounds=1, iterations=1))
    assert peak < 4096
    benchmark.extra_info |= {
        "ns_an_increment": benchmark.stats["median"] / 1e7 * 1e9,
        "layer": "25→6",
        "way": f"eiplane, 1e7, peak {peak} MiB",
    }
