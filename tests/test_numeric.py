"""Activations found numerically, against closed forms, sweeps and functions made to be known."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import eiplane
from eiplane import Activation, Layer, analyze, get_activation
from eiplane.network import Binning, automatic_range, discretize
from eiplane.network.closed import CLOSED
from eiplane.network.numeric import find_pieces
from eiplane.network.preimage import preimages
from eiplane.network.table import tabulated

PARAMETERS = [
    "leaky_relu(0.2)", "leaky_relu(-0.5)", "leaky_relu(0)", "hardtanh(0, 6)", "elu(0.3)",
    "celu(0.3)", "hardshrink(0.1)", "softshrink(0.1)", "threshold(0.3, -1)", "step(1)",
    "silu(3)", "softplus(5)",
]  # fmt: skip


def swept(function, weight, bias, out_range, bins, points=200_001):
    """Sensitivity of one edge by a plain sweep: x uniform on (0, 1), f(w x + b) binned."""
    x = (np.arange(points) + 0.5) / points
    y = function(weight * x + bias)
    edges = np.linspace(*out_range, bins + 1)
    k = np.clip(np.searchsorted(edges, y, side="right") - 1, 0, bins - 1)
    table = np.histogram2d(np.minimum((x * bins).astype(int), bins - 1), k, bins, [[0, bins]] * 2)[
        0
    ]
    p = table / points
    expected = p.sum(1, keepdims=True) * p.sum(0, keepdims=True)
    some = p > 0
    return float((p[some] * np.log2(p[some] / expected[some])).sum())


@pytest.mark.parametrize("name", [*CLOSED, *PARAMETERS])
def test_what_is_known_is_found(generator, name):
    """Numbers of bits from pieces found numerically are those from the closed form."""
    known = get_activation(name)
    found = Activation.from_function(known.function, name="it")
    weight, bias = generator.normal(size=(6, 5)) * 2, generator.normal(size=6)
    layer = Layer(weight, bias, known)
    span = automatic_range(layer, (-1.0, 1.0))
    options = {"in_range": (-1, 1), "out_range": span, "measures": ("ei_parts", "sensitivity")}
    a, b = (analyze(Layer(weight, bias, f), **options)[0] for f in (known, found))
    assert np.abs(a.ei_edges - b.ei_edges).max() < 1e-9
    assert np.abs(a.sensitivity_edges - b.sensitivity_edges).max() < 1e-9
    if known.natural_range is None:
        again = automatic_range(Layer(weight, bias, found), (-1.0, 1.0))
        assert again == pytest.approx(span, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(
    "function",
    [
        np.sin,
        lambda z: np.maximum(z, 0) ** 2,
        lambda z: np.clip(np.rint(z / 0.037), -20, 31) * 0.037,  # fake-quantise
        lambda z: z - np.floor(z),
        lambda z: (z > 0.3).astype(float),
        np.sign,
        lambda z: 30 * np.tanh(z / 30),
        lambda z: z / (1 + np.exp(-1.7 * z)),
        lambda z: np.abs(np.sin(5 * z)) * np.exp(-z * z),
        lambda z: np.where(np.abs(z) > 0.1, z, 0.0),
        lambda z: 0.25 * z + 0 * z.sum(),
        lambda z: np.where(z < -1, z + 1, np.where(z < 0.25, 2 - z, np.cos(7 * z))),
    ],
)
@pytest.mark.parametrize(("weight", "bias"), [(3.0, -1.0), (-7.0, 2.5), (40.0, -17.0), (0.3, 0.0)])
def test_against_a_sweep(function, weight, bias):
    activation = Activation.from_function(function, name="it")
    layer = Layer([[weight]], [bias], activation)
    low, high = automatic_range(layer, (0.0, 1.0))
    z = bias + weight * np.linspace(0, 1, 400_001)
    values = function(z)
    if high - low != 1.0:  # not constant
        assert low == pytest.approx(values.min(), abs=1e-3 * (high - low))
        assert high == pytest.approx(values.max(), abs=1e-3 * (high - low))
        assert low <= values.min() + 1e-12 and values.max() <= high + 1e-12
    # A range whose edges avoid the values of the steps.
    span = (low - 0.0137 * (high - low), high + 0.0191 * (high - low))
    found = analyze(layer, bins=9, out_range=span, measures="sensitivity", baseline=0.0)[0]
    assert found.sensitivity == pytest.approx(swept(function, weight, bias, span, 9), abs=2e-3)


def test_turning_points_and_crossings_of_a_wave():
    pieces = find_pieces(np.sin, -50.0, 70.0, "sin")
    turns = np.array([p.start for p in pieces[1:]])
    wanted = (np.arange(-100, 100) + 0.5) * np.pi
    wanted = wanted[(wanted > -50) & (wanted < 70)]
    assert np.abs(turns - wanted).max() < 1e-12 * 70
    edges = np.linspace(-1, 1, 9)
    thresholds, *_ = preimages(pieces, edges, False)
    places = np.arcsin(edges[1:-1])[:, None] + 2 * np.pi * np.arange(-20, 20)
    wanted = np.unique(np.concatenate([places.ravel(), (np.pi - places).ravel()]))
    wanted = wanted[(wanted > -50) & (wanted < 70)]
    assert np.abs(thresholds - wanted).max() < 1e-12 * 70


@pytest.mark.parametrize(
    ("function", "wanted"),
    [
        (lambda z: (z - 0.3) ** 2 + 5, [0.3]),
        (lambda z: z**3 - 3 * z, [-1.0, 1.0]),
        (lambda z: np.abs(z - 1.7), [1.7]),
        (lambda z: np.exp(-(((z - 3.3) / 1e-3) ** 2)), [3.3]),  # narrow
        (lambda z: np.maximum(0, 1 - np.abs(z - 2.2) / 0.01), [2.2]),
        (lambda z: ((z > 1.234) & (z < 1.24)).astype(float), [1.234, 1.24]),
        (lambda z: np.minimum(z, 3 - 1e3 * (z - 1) ** 2), None),
        (lambda z: np.where(z < 0.7, z, z - 1), [0.7]),
    ],
)
def test_turning_points_of_one_function(function, wanted):
    pieces = find_pieces(function, -20.0, 20.0, "it")
    if wanted is None:
        assert len(pieces) == 2
        return
    turns = [p.start for p in pieces[1:]]
    if len(wanted) == 2 and len(turns) == 1:  # a plateau: anywhere on it
        assert wanted[0] - 1e-12 <= turns[0] <= wanted[1] + 1e-12
    else:
        assert turns == pytest.approx(wanted, rel=1e-11)


@st.composite
def piecewise(draw):
    """Cut points with a gap, and on every part a slope and a jump before it."""
    gaps = draw(st.lists(st.floats(0.05, 3.0), min_size=1, max_size=8))
    cuts = np.cumsum(gaps) - sum(gaps) / 2
    slopes = draw(
        st.lists(
            st.one_of(st.just(0.0), st.floats(-3, -0.05), st.floats(0.05, 3)),
            min_size=len(cuts) + 1,
            max_size=len(cuts) + 1,
        )
    )
    jumps = draw(
        st.lists(
            st.one_of(st.just(0.0), st.floats(-2, -0.1), st.floats(0.1, 2)),
            min_size=len(cuts),
            max_size=len(cuts),
        )
    )
    return cuts, np.array(slopes), np.array(jumps)


def made(cuts, slopes, jumps):
    """The piecewise linear function, closed on the right of every cut."""
    starts = [0.0]
    for i, jump in enumerate(jumps):
        before = cuts[i] - cuts[i - 1] if i else 0.0
        starts.append(starts[-1] + (slopes[i] * before if i else 0.0) + jump)

    def function(z):
        k = np.searchsorted(cuts, z, side="right")
        origin = np.where(k == 0, cuts[0], cuts[np.maximum(k - 1, 0)])
        return np.array(starts)[k] + slopes[k] * (z - origin)

    return function


@settings(max_examples=150, deadline=None)
@given(piecewise(), st.integers(2, 40), st.booleans(), st.floats(0.1, 0.9))
@example((np.array([0.0]), np.array([0.0, 0.0]), np.array([1.0])), 2, False, 0.5)
def test_piecewise_functions(parts, bins, drop, place):
    """Every z is binned as its value is: on both sides of every threshold, and everywhere."""
    cuts, slopes, jumps = parts
    function = made(cuts, slopes, jumps)
    reach = float(np.abs(cuts).max()) + 2.0
    z = np.linspace(-reach, reach, 3001)
    low, high = function(z).min(), function(z).max()
    edges = np.linspace(low + 0.1 * place * (high - low) - 0.01, high + 0.0123 * place, bins + 1)
    thresholds, labels, *_ = preimages(find_pieces(function, -reach, reach, "it"), edges, drop)
    assert (np.diff(thresholds) > 0).all() and len(labels) == len(thresholds) + 1
    inner = thresholds[np.abs(thresholds) < reach]
    z = np.concatenate([z, cuts, inner * (1 + 1e-11) + 1e-11, inner * (1 - 1e-11) - 1e-11])
    z = z[np.abs(z) <= reach]
    values = function(z)
    k = np.searchsorted(edges, values, side="right") - 1
    outside = (values < edges[0]) | (values > edges[-1])
    wanted = np.where(outside, -1, k) if drop else np.clip(k, 0, bins - 1)
    near = np.abs(values[:, None] - edges).min(axis=1) < 1e-12
    found = labels[np.searchsorted(thresholds, z, side="right")]
    assert np.array_equal(found[~near], wanted[~near])


def test_steps_on_the_edges_of_bins():
    """Values that stand exactly on an edge belong to the bin above it; on the last to the last."""
    stairs = Activation.from_function(lambda z: np.clip(np.floor(z), 0, 4), "stairs")
    channel = discretize(Layer([[9.0]], [-2.0], stairs), Binning(8, 4, True), (0, 1), (0, 4))
    z = np.array([-1.5, 0.5, 1.5, 2.5, 3.5, 4.5, 6.9])
    assert channel.rules[0].bins_of(z).tolist() == [0, 0, 1, 2, 3, 3, 3]
    falling = stairs.scaled(-1, 4)
    channel = discretize(Layer([[9.0]], [-2.0], falling), Binning(8, 4, True), (0, 1), (0, 4))
    assert channel.rules[0].bins_of(z).tolist() == [3, 3, 3, 2, 1, 0, 0]


@pytest.mark.parametrize(
    "name", ["tanh", "relu", "gelu", "sin", "round", "hardshrink(0.1)", "sign"]
)
@pytest.mark.parametrize(("c", "d"), [(10.0, 0.5), (-0.3, 0.0), (1.0, -2.0)])
def test_scaled(generator, name, c, d):
    plain = get_activation(name)
    scaled = plain.scaled(c, d)
    z = np.linspace(-5, 5, 101)
    assert np.array_equal(scaled(z), c * plain(z) + d)
    assert pickle.loads(pickle.dumps(scaled)) == scaled
    weight = generator.normal(size=(3, 4)) * 2
    span = automatic_range(Layer(weight, None, scaled), (-1.0, 1.0))
    base = automatic_range(Layer(weight, None, plain), (-1.0, 1.0))
    assert span == pytest.approx(sorted((c * base[0] + d, c * base[1] + d)))
    options = {"in_range": (-1, 1), "bins": 7, "measures": ("ei_parts", "sensitivity")}
    if name in ("tanh", "relu", "gelu", "sin"):  # of steps, values may stand on edges
        a = analyze(Layer(weight, None, plain), **options)[0]
        b = analyze(Layer(weight, None, scaled), **options)[0]
        assert np.allclose(a.ei_edges, b.ei_edges, atol=1e-9)
        assert np.allclose(a.sensitivity_edges, b.sensitivity_edges, atol=1e-9)
    assert get_activation("tanh").scaled(10, 0.5).name == "10 * tanh + 0.5"


def cubed(z):
    return z**3


def test_travels_if_its_function_does():
    activation = Activation.from_function(cubed)
    assert activation.name == "cubed"
    assert pickle.loads(pickle.dumps(activation)) == activation
    local = Activation.from_function(lambda z: z, name="mine")
    with pytest.raises(pickle.PicklingError, match=r"'mine'.*top level of a module"):
        pickle.dumps(local)


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (
            np.log,
            ValueError,
            r"layer '0': activation 'it': is (nan|-inf) at z = -?[0-9.]+; it must",
        ),
        (lambda z: 1 / z, ValueError, "is inf at z = 0"),
        (lambda z: np.float32(z), TypeError, "computes in float32"),
        (lambda z: z.sum(), TypeError, "real numbers of the same shape"),
        (lambda z: z + 0j, TypeError, "real numbers"),
        (math.sin, TypeError, r"layer '0': activation 'it': failed on.*numpy.vectorize"),
        (lambda z: np.sin(1e7 * z), ValueError, "turns more than 4096 times"),
        (lambda z: np.sin(1e3 * z), ValueError, "crosses the edges of the 64 bins"),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_functions_that_cannot_be_measured(function, error, message):
    activation = Activation.from_function(function, name="it")
    with pytest.raises(error, match=message):
        analyze([np.array([[2.0, -1.0]])], activation, bins=64, out_range=(-1, 1))


def test_where_it_is_defined():
    root = Activation.from_function(np.sqrt, interval=(0, 9))
    layer = analyze([[[9.0]]], root, bins=3, measures="sensitivity")[0]
    assert layer.out_range == (0.0, 3.0)
    assert layer.sensitivity == pytest.approx(swept(np.sqrt, 9.0, 0.0, (0, 3), 3), abs=1e-3)
    with pytest.raises(
        ValueError, match=r"'sqrt': is defined from 0 to 9, but the layer can reach"
    ):
        analyze([[[9.5]]], root)
    for bad in ((1, 0), (0, math.inf), (0,), "ab"):
        with pytest.raises((TypeError, ValueError), match="interval must be"):
            Activation.from_function(np.sqrt, interval=bad)
    with pytest.raises(TypeError, match="made of a callable"):
        Activation.from_function("relu")


def test_one_a_layer_and_by_name(tmp_path):
    weights = {"a.weight": np.eye(3), "b.weight": np.ones((2, 3))}
    np.savez(tmp_path / "w.npz", **weights)
    wave = Activation.from_function(np.sin, name="wave")
    for source in (weights, tmp_path / "w.npz"):
        found = analyze(source, {"a*": wave, "*": "relu"}, measures="sensitivity")
        assert [layer.activation for layer in found] == ["wave", "relu"]
    found = analyze([np.eye(3), np.eye(3)], ["relu", wave], measures="sensitivity")
    assert [layer.activation for layer in found] == ["relu", "wave"]


def test_names():
    assert get_activation("swish(2)").name == "silu(2.0)"
    assert get_activation("clip(0, 6)") == get_activation("relu6")
    assert get_activation("hard_swish") == get_activation("hardswish")
    for bad in ("silu(-1)", "softshrink(-1)", "round(0)", "step(nan)", "hardtanh(5)", "relu(1)"):
        with pytest.raises(ValueError, match=r"parameter|bound"):
            get_activation(bad)
    assert eiplane.get_activation("sin").natural_range == (-1.0, 1.0)


@pytest.mark.parametrize(
    "function",
    [
        np.sin,
        np.rint,
        np.sign,
        np.abs,
        lambda z: np.clip(np.rint(z / 0.0237) + 3, 0, 255) * 0.0237,
        lambda z: np.where(np.abs(z) > 0.1, z, 0.0),
        lambda z: np.maximum(z, 0) ** 2,
        lambda z: 1 / (1 + np.exp(-1e3 * (z - 0.3))),
        lambda z: 17 * z - np.floor(17 * z),
        get_activation("gelu").function,
    ],
)
@pytest.mark.parametrize("ends", [(-20.0, 25.0), (0.0, 1.0), (-0.3, -0.1), (-3.0, 400.0)])
@pytest.mark.filterwarnings("ignore:overflow")
def test_tables(generator, function, ends):
    table = tabulated(function, *ends, "it")
    z = np.concatenate([generator.uniform(*ends, 50_000), generator.normal(size=10_000), ends, [0]])
    z = z[(z >= ends[0]) & (z <= ends[1])]
    wanted = function(z)
    steep = np.abs(function(z * (1 + 1e-15)) - function(z * (1 - 1e-15)))
    assert (np.abs(table(z) - wanted) <= 1e-12 * (1 + np.abs(wanted)) + 10 * steep).all()


def test_a_function_that_writes_into_what_it_is_given(generator):
    def in_place(z):
        np.maximum(z, 0.0, out=z)
        return z

    weight = generator.normal(size=(4, 3))
    options = {"measures": ("ei_parts", "sensitivity"), "spans": "all", "samples": 2000}
    options["method"] = "sample"
    own = Activation.from_function(in_place)
    found = analyze([weight, weight.T], [own, "tanh"], **options)
    wanted = analyze([weight, weight.T], ["relu", "tanh"], **options)
    for a, b in zip(found, wanted, strict=True):
        assert np.allclose(a.ei_edges, b.ei_edges, atol=1e-9)
        assert np.allclose(a.sensitivity_edges, b.sensitivity_edges, atol=1e-9)


def test_a_function_whose_last_digit_depends_on_the_place_in_the_array():
    """As that of vectors is: the numbers left over at the end are computed in another way."""

    def function(z):
        z = np.asarray(z, dtype=np.float64)
        lanes = np.arange(z.size).reshape(z.shape) % 4
        nudged = np.where(lanes == 3, np.nextafter(z, np.inf), z)
        return np.mod(np.maximum(nudged, 0.0) * 0.7, 0.7)

    for low, high in np.random.default_rng(0).uniform([-4.0, 1.5], [-1.0, 7.0], size=(60, 2)):
        pieces = find_pieces(function, low, high, "it")
        starts = [piece.start for piece in pieces]
        assert starts == sorted(starts)
        thresholds, labels, *_ = preimages(pieces, np.array([-0.1, 0.35, 0.8]), False)
        z = np.linspace(low, high, 2001)
        ours = labels[np.searchsorted(thresholds, z, side="right")]
        assert (ours != (function(z) >= 0.35)).mean() < 2e-3
