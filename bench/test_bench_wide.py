"""EI of wide layers: the wide estimator beside counting, on layers whose EI is known.

The table's "ns each" are nanoseconds a filtered sample, or a counted one; of the
estimator at its default, a sample with or without filtering.
"""

from __future__ import annotations

import numpy as np
import pytest
from blocks import shuffled

import eiplane
from eiplane.joint import JointOptions
from eiplane.joint.filtering import filter_unit
from eiplane.joint.given import given_entropies
from eiplane.joint.plan import make_plan
from eiplane.joint.surrogate import surrogate_unit
from eiplane.joint.task import Target
from eiplane.joint.volumes import FilterUnit, problem
from eiplane.joint.wide import Wide
from eiplane.network import Binning, Layer, discretize
from eiplane.run import Runner

SHAPES = [(64, 32), (64, 64), (64, 256), (784, 256)]


def channel_of(n_in, n_out, spread=2.0):
    scale = spread / np.sqrt(n_in)
    weight = np.random.default_rng(0).uniform(-scale, scale, (n_out, n_in))
    return discretize(Layer(weight), Binning(), (0.0, 1.0), (0.0, 1.0))


def report(benchmark, shape, way, samples, error=None):
    benchmark.extra_info |= {
        "ns_an_increment": benchmark.stats["median"] / samples * 1e9,
        "layer": f"{shape[0]}→{shape[1]}",
        "way": way,
    }
    if error is not None:
        benchmark.extra_info["error"] = error


@pytest.mark.benchmark(group="ei of wide layers, a sample")
@pytest.mark.parametrize("shape", SHAPES)
def test_filtering(benchmark, instruction_set, shape):
    channel = channel_of(*shape)
    known = problem(channel, np.ones(shape[0], bool), np.ones(shape[1], bool), 1)
    count = 2 if shape[0] > 500 else 8
    found = benchmark.pedantic(filter_unit, (FilterUnit(known, 0, count),), rounds=3)
    assert found.unsettled == 0
    assert (found.output[:, 0] > found.within[:, 0]).all()
    report(benchmark, shape, instruction_set, count)


@pytest.mark.benchmark(group="ei of wide layers, a surrogate")
@pytest.mark.parametrize("shape", SHAPES)
def test_surrogates(benchmark, instruction_set, shape):
    channel = channel_of(*shape)
    known = problem(channel, np.ones(shape[0], bool), np.ones(shape[1], bool), 1)
    found = benchmark.pedantic(surrogate_unit, (FilterUnit(known, 0, 64, 0),), rounds=3)
    assert (found.output > found.within).mean() > 0.95
    report(benchmark, shape, instruction_set, 64)


@pytest.mark.benchmark(group="entropies of outputs given the inputs' cells, an output")
@pytest.mark.parametrize("shape", SHAPES)
def test_given(benchmark, instruction_set, shape):
    channel = channel_of(*shape)
    found = benchmark.pedantic(given_entropies, (channel, np.ones(shape[0], bool)), rounds=3)
    assert (found.errors < 1e-8).all()
    report(benchmark, shape, instruction_set, shape[1])


@pytest.mark.benchmark(group="ei of wide layers, default samples, two threads")
@pytest.mark.parametrize("shape", SHAPES)
def test_wide_estimator(benchmark, shape):
    channel = channel_of(*shape)
    with Runner(2) as runner:
        options = JointOptions("wide", influence=False)
        (piece,) = make_plan(Target.whole(channel), 1, options, runner, None).pieces

        drawn = []

        def estimate():
            wide = Wide(piece.task)
            wide.run(1 << 19, 1 << 19)
            drawn.append(wide.samples)
            return wide.information

        found = benchmark.pedantic(estimate, rounds=2)
    assert found.stderr < 0.02 * found.value
    report(benchmark, shape, "wide", drawn[-1], found.stderr)


@pytest.mark.filterwarnings("ignore::eiplane.SaturationWarning")
@pytest.mark.benchmark(group="ei of shuffled blocks")
@pytest.mark.parametrize("estimator", ["wide", "conditional", "plugin"])
def test_known_layers(benchmark, estimator):
    weight, truth = shuffled(32)
    layer = benchmark.pedantic(
        lambda: eiplane.analyze(weight, measures="ei", estimator=estimator, threads=2)[0], rounds=1
    )
    if estimator == "wide":
        assert abs(layer.ei - truth) < 0.02 * truth
    error = None if layer.ei is None else abs(layer.ei - truth)  # too much to be counted
    report(benchmark, weight.shape, estimator, layer.joint.samples, error)
