"""Layers in single precision: every interval is the one that double precision gives."""

from itertools import pairwise

import numpy as np
import pytest

import eiplane
from eiplane import Layer, _core, reference
from eiplane.network import Binning, Stage, discretize
from eiplane.pairwise.job import Job

CANCEL = np.zeros(1, np.int32)
FUNCTIONS = ("identity", "relu", "leaky_relu", "sigmoid", "tanh", "hardtanh", "hardsigmoid")


def tables(channel, samples, key):
    """Return the tables of all edges, and those of NumPy in double precision."""
    core = _core.CoreChannel(channel)
    job = Job(key, 0, channel.n_out, 0, channel.n_in, 0, samples)
    counts = _core.pairs_count(core, job, CANCEL)
    draws = np.stack([reference.draws(key, k, 0, samples) for k in range(channel.n_in)])
    labels = reference.output_bins(
        channel, reference.evaluate(channel, reference.inputs(channel, draws))
    )
    for b in range(channel.n_out):
        for a in range(channel.n_in):
            x = reference.input_bins(channel, draws[a])
            own = _core.pairs_table(core, job, counts, b, a)
            yield own, reference.joint_table(x, labels[b], channel.in_bins, channel.out_bins)


def network(generator, sizes, function, scale, bins, in_range=(0, 1), out="tanh"):
    stages, layers = [], []
    for n_in, n_out in pairwise(sizes):
        layers.append((generator.normal(size=(n_out, n_in)) * scale, generator.normal(size=n_out)))
    for weight, bias in layers[:-1]:
        activation = eiplane.get_activation(function)
        stages.append(Stage(weight.shape[1], weight.shape[0], weight, bias, activation))
    layer = Layer(*layers[-1], out)
    return discretize(layer, Binning(4, bins), in_range, (-0.9, 0.8), tuple(stages))


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("scale", [0.3, 2.0, 40.0, 1e6])
def test_intervals_are_those_of_double_precision(instruction_set, generator, function, scale):
    for sizes in ((3, 5, 2), (7, 6, 4, 3, 1)):
        channel = network(generator, sizes, function, scale, 60)
        for found, wanted in tables(channel, 4096, 5):
            assert np.array_equal(found, wanted)


@pytest.mark.parametrize("function", ["sigmoid", "tanh"])
def test_curves_are_within_their_error(instruction_set, generator, function):
    near = np.arange(-8192, 8193, dtype=np.float32) / np.float32(1024)  # the ends of every piece
    far = 10.0 ** generator.uniform(-30, 30, 1000)
    beside, usual = np.nextafter(near, np.float32(9)), generator.normal(size=200_000) * 4
    values = np.concatenate([near, beside, usual, far, -far, [0.0]]).astype(np.float32)
    found, error = _core.quick_activate(function, values)
    exact = values.astype(np.float64)
    with np.errstate(over="ignore"):
        wanted = np.tanh(exact) if function == "tanh" else 1 / (1 + np.exp(-exact))
    assert np.all(np.abs(found - wanted) <= error)
    assert error.max() < 1e-6


@pytest.mark.parametrize("function", ["relu", "hardtanh", "leaky_relu"])
def test_values_on_a_threshold(instruction_set, function):
    """A flat piece, or every value, on the edge of a bin: as in double precision."""
    third = np.array([[1.0, 1 / 3], [0.1, -0.3]])
    stage = Stage(2, 2, third, np.array([-0.4, 0.1]), eiplane.get_activation(function))
    for bias in (0.0, 0.25, 0.1 + 0.2, 0.3):
        layer = Layer(np.array([[1.0, 1.0], [0.0, 0.0]]), np.array([bias, bias]), "identity")
        channel = discretize(layer, Binning(4, 10), (0, 1), (0, 1), (stage,))
        for found, wanted in tables(channel, 2048, 3):
            assert np.array_equal(found, wanted)


@pytest.mark.parametrize("in_range", [(-1e-30, 1e-30), (1e6, 1e6 + 1), (-1e25, 1e25)])
def test_ranges_that_single_precision_hardly_holds(instruction_set, generator, in_range):
    channel = network(generator, (3, 4, 2), "tanh", 1.0, 8, in_range)
    for found, wanted in tables(channel, 2048, 3):
        assert np.array_equal(found, wanted)
