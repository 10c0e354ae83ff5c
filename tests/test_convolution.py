"""Convolutions and poolings are measured as the dense layers of their receptive fields."""

import math

import numpy as np
import pytest

import eiplane
from eiplane import Layer, Network
from eiplane.network import Binning, Pool, automatic_range, discretize

rng = np.random.default_rng(0)
PAIRWISE = ("sensitivity", "ei_parts")
CONV = rng.normal(size=(3, 2, 2, 3)) / 2
BIAS = rng.normal(size=3) / 2


def same(a, b, tolerance=0.0):
    for name in ("ei_edges", "sensitivity_edges"):
        x, y = getattr(a, name), getattr(b, name)
        np.testing.assert_allclose(x.ravel(), y.ravel(), rtol=0, atol=tolerance)
    assert a.in_range == b.in_range
    assert a.out_range == pytest.approx(b.out_range)


@pytest.mark.parametrize("method", ["exact", "sample"])
@pytest.mark.parametrize("activation", ["sigmoid", "gelu", "relu"])
def test_a_convolution_is_the_dense_layer_of_its_receptive_field(method, activation):
    options = {"measures": PAIRWISE, "method": method, "in_range": (-1, 1)}
    options |= {"samples": 5000} if method == "sample" else {}
    conv = eiplane.analyze(Layer(CONV, BIAS, activation), **options)[0]
    dense = eiplane.analyze(Layer(CONV.reshape(3, -1), BIAS, activation), **options)[0]
    same(conv, dense)
    assert conv.ei_edges.shape == CONV.shape
    assert conv.n_in == 12


@pytest.mark.parametrize("method", ["exact", "sample"])
def test_every_group_is_a_layer_of_its_own(method):
    options = {"measures": PAIRWISE, "method": method}
    options |= {"samples": 5000} if method == "sample" else {}
    weight = rng.normal(size=(4, 1, 3))
    whole = eiplane.analyze(Layer(weight, activation="tanh", groups=4), **options)[0]
    assert whole.ei_edges.shape == (4, 1, 3)
    assert whole.n_in == 12
    for k in range(4):
        alone = eiplane.analyze(Layer(weight[k : k + 1], activation="tanh"), **options)[0]
        tolerance = 0.0 if method == "exact" else 0.2
        np.testing.assert_allclose(whole.ei_edges[k], alone.ei_edges[0], atol=tolerance)


def test_average_pooling_without_activation_is_exact():
    # Written out: the mean over two by two positions of a kernel of 2 x 3, at stride 1.
    kernel = np.zeros((3, 2, 3, 4))
    for i in range(2):
        for j in range(2):
            kernel[:, :, i : i + 2, j : j + 3] += CONV / 4
    dense = eiplane.analyze(Layer(kernel.reshape(3, -1), BIAS, "relu"), measures=PAIRWISE)[0]
    torch = pytest.importorskip("torch")
    conv = torch.nn.Conv2d(2, 3, (2, 3), dtype=torch.float64)
    with torch.no_grad():
        conv.weight.copy_(torch.as_tensor(CONV))
        conv.bias.copy_(torch.as_tensor(BIAS))
    module = torch.nn.Sequential(conv, torch.nn.AvgPool2d(2), torch.nn.ReLU())
    pooled = eiplane.analyze(module, input_size=(1, 2, 8, 8), measures=PAIRWISE)[0]
    assert pooled.method == dense.method == "exact"
    assert pooled.ei_edges.shape == (3, 2, 3, 4)
    same(pooled, dense, 1e-9)


POOLS = [
    ("relu", Pool("max", (2, 2))),
    ("relu", Pool("mean", (2, 2), (2, 1), (1, 2))),
    ("gelu", Pool("max", (2, 3), (1, 2))),
    ("identity", Pool("max", (2, 2), activation="gelu")),
    ("tanh", Pool("mean", (1, 3), activation="sigmoid")),
    ("sigmoid", Pool("max", (3, 1), activation="tanh")),
]


@pytest.mark.parametrize(("activation", "pool"), POOLS)
@pytest.mark.parametrize("groups", [1, 3])
def test_the_channel_of_a_pooled_convolution_computes_the_layer(activation, pool, groups):
    weight = CONV if groups == 1 else CONV[:, :1]
    layer = Layer(weight, BIAS, activation, "conv", groups, pool)
    span = automatic_range(layer, (-1.0, 1.0))
    channel = discretize(layer, Binning(out_bins=7), (-1.0, 1.0), span)
    x = rng.uniform(-1, 1, size=(2000, channel.n_in))
    value = x
    for stage in channel.stages:
        if stage.width:
            value = value.reshape(len(x), stage.n_out, stage.width).max(axis=-1)
        else:
            value = stage.activation(value @ stage.weight.T + stage.bias)
    z = value @ channel.weight.T + channel.bias
    y = layer(np.tile(x, groups)) if groups > 1 else layer(x)
    edges = np.linspace(*span, 8)
    expected = np.clip(np.searchsorted(edges, y, side="right") - 1, 0, 6)
    found = channel.rules[0].bins_of(z)
    near = np.abs(y[..., None] - edges).min(-1) < 1e-9
    np.testing.assert_array_equal(found[~near], expected[~near])
    inside = (y >= span[0]) & (y <= span[1])
    assert inside.mean() > 0.99
    outside = channel.rules[0].outside_of(z)
    np.testing.assert_array_equal(outside[~near], ~inside[~near])


@pytest.mark.parametrize(("activation", "pool"), POOLS)
def test_a_pooled_convolution_measured_in_numpy(activation, pool):
    layer = Layer(CONV, BIAS, activation, "conv", 1, pool)
    result = eiplane.analyze(layer, measures=PAIRWISE, samples=50_000, in_range=(-1, 1))[0]
    assert result.method == "sample"
    assert result.ei_edges.shape == layer.edge_shape == result.sensitivity_edges.shape
    assert result.n_in == math.prod(layer.edge_shape[1:])
    assert result.activation == f"{activation}, {pool}"
    n = 20_000
    x = rng.uniform(-1, 1, size=(n, layer.n_in))
    y = layer(x)
    everything = layer(np.zeros(layer.n_in))
    edges = result.ei_edges.reshape(3, -1)
    alone = result.sensitivity_edges.reshape(3, -1)
    for a in range(0, layer.n_in, 3):
        only = np.zeros_like(x)
        only[:, a] = x[:, a]
        moved = layer(only)
        assert np.isfinite(everything).all()
        for b in range(3):

            def information(values, a=a, b=b):
                return eiplane.mutual_information(
                    x[:, a], np.clip(values[:, b], *result.out_range), bins=8,
                    range=((-1, 1), result.out_range),
                )  # fmt: skip

            bias = 49 / (2 * n * math.log(2))
            assert information(y) == pytest.approx(edges[b, a], abs=0.01 + bias)
            assert information(moved) == pytest.approx(alone[b, a], abs=0.03)
    with pytest.raises(ValueError, match="method='exact' is for single layers without pooling"):
        eiplane.analyze(layer, method="exact", measures=PAIRWISE)


def test_ranges_of_pooled_layers():
    def span(activation, pool):
        return automatic_range(Layer(CONV, BIAS, activation, pool=pool), (0.0, 1.0))

    alone = automatic_range(Layer(CONV, BIAS, "relu"), (0.0, 1.0))
    assert span("relu", Pool("max", (2, 2))) == alone
    assert span("tanh", Pool("mean", (2, 2))) == (-1.0, 1.0)
    assert span("relu", Pool("mean", (2, 2), activation="sigmoid")) == (0.0, 1.0)
    low, high = span("relu", Pool("mean", (2, 2), activation="elu"))
    assert (low, high) == alone  # what ELU leaves as it is


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("min", (2,)), "'max' or 'mean'"),
        (("max", ()), "positive"),
        (("max", (0,)), "positive"),
        (("max", (2, 2), (1,)), "same number"),
        (("max", (2,), (1,), (0,)), "positive"),
    ],
)
def test_bad_poolings(arguments, message):
    with pytest.raises(ValueError, match=message):
        Pool(*arguments)


def test_a_pooling_must_fit_its_layer():
    with pytest.raises(ValueError, match="layer 'c': a pooling of 1 dimensions does not fit"):
        Layer(CONV, name="c", pool=Pool("max", (2,)))
    with pytest.raises(ValueError, match="does not fit a weight of shape"):
        Layer(np.ones((2, 3)), pool=Pool("max", (2,)))


def test_hidden_states_have_their_own_range():
    a, b = Layer(np.ones((2, 3)), name="a"), Layer(np.ones((2, 2)), name="b")
    network = Network([a, b], sources={}, in_ranges={"b": (-1.0, 1.0)})
    d = eiplane.analyze(network, measures=PAIRWISE, in_range=(0, 5))
    assert [x.in_range for x in d] == [(0.0, 5.0), (-1.0, 1.0)]


def test_a_span_goes_only_through_straight_links():
    a, b = Layer(np.eye(3), name="a"), Layer(np.eye(3), name="b")
    options = {"measures": PAIRWISE, "samples": 1000, "spans": [("a", "b")]}
    assert len(eiplane.analyze([a, b], **options)) == 1
    shuffled = Network([a, b], sources={"b": ("a",)}, straight=())
    with pytest.raises(ValueError, match="in another order"):
        eiplane.analyze(shuffled, **options)
