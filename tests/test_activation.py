"""Preimages: binning z by thresholds is binning f(z) by edges."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import eiplane
from eiplane import Layer, get_activation
from eiplane.network import automatic_range
from eiplane.network.closed import CLOSED
from eiplane.network.monotone import unbounded
from eiplane.network.preimage import preimages

NAMES = [
    *CLOSED,
    "leaky_relu(0.2)",
    "leaky_relu(-0.5)",
    "leaky_relu(0)",
    "hardtanh(0, 6)",
    "elu(0.3)",
]


def bins_of(values, edges, drop):
    bins = len(edges) - 1
    k = np.searchsorted(edges, values, side="right") - 1
    k = np.where(values == edges[-1], bins - 1, k)
    outside = (values < edges[0]) | (values > edges[-1])
    return np.where(outside, -1, k) if drop else np.clip(k, 0, bins - 1)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("limits", [(0, 1), (-1, 1), (-0.1, 3), (-3, -1), (-0.2, 0), (7, 9)])
@pytest.mark.parametrize("bins", [2, 8, 63, 1024])
@pytest.mark.parametrize("drop", [False, True])
def test_preimage(generator, name, limits, bins, drop):
    activation = get_activation(name)
    edges = np.linspace(*limits, bins + 1)
    thresholds, labels, *_ = preimages(activation.pieces, edges, drop)
    assert (np.diff(thresholds) > 0).all()
    assert len(labels) == len(thresholds) + 1
    assert (labels[1:] != labels[:-1]).all()
    z = np.concatenate([generator.uniform(-10, 10, 1500), generator.normal(size=500) * 0.1])
    values = activation(z)
    near = np.abs(values[:, None] - edges).min(axis=1) < 1e-14
    got = labels[np.searchsorted(thresholds, z, side="right")]
    wanted = bins_of(values, edges, drop)
    assert np.array_equal(got[~near], wanted[~near])


def test_flat_pieces_on_an_edge():
    relu = get_activation("relu")
    thresholds, labels, *_ = preimages(relu.pieces, np.linspace(-1, 1, 3), True)
    found = labels[np.searchsorted(thresholds, [-5.0, 0.0, 0.5, 1.0, 1.1], side="right")]
    assert found.tolist() == [1, 1, 1, 1, -1]
    hard = get_activation("hardtanh")
    thresholds, labels, *_ = preimages(hard.pieces, np.linspace(-1, 1, 3), True)
    assert labels[np.searchsorted(thresholds, [-9.0, 9.0], side="right")].tolist() == [0, 1]


@pytest.mark.parametrize("name", NAMES)
def test_pieces(name):
    activation = get_activation(name)
    assert activation.pieces[0].start == -np.inf
    assert activation.pieces[-1].stop == np.inf
    for piece, after in zip(activation.pieces, activation.pieces[1:], strict=False):
        assert piece.stop == after.start
    for piece in activation.pieces:
        z = np.linspace(max(piece.start, -6), min(piece.stop, 6), 51)[1:-1]
        z = z[(z >= piece.start) & (z < piece.stop)]  # of sign the single point 0
        if piece.inverse is None:
            assert (activation(z) == piece.at_start).all()
        else:
            assert np.allclose(piece.inverse(activation(z)), z, atol=1e-6)


@pytest.mark.parametrize("scale", [1e300, 1.0])
def test_searched_inverses_are_exact_and_quick_next_to_zero(scale):
    calls = []

    def function(z):
        calls.append(len(z))
        with np.errstate(over="ignore"):
            return scale * z

    y = scale * np.array([5e-324, 1e-310, 1e-250, 0.1, 1.0, 3.7e5, 1e7])
    inverse = unbounded(function, 0.0, np.inf, rising=True)
    z = inverse(y)
    taken = len(calls)
    assert (function(z) >= y).all()
    assert (function(np.nextafter(z, -1.0))[z > 0] < y[z > 0]).all()
    assert taken < 20  # halving lengths, not numbers of doubles, takes a thousand


@pytest.mark.parametrize("name", NAMES)
def test_travels_between_processes(name):
    activation = get_activation(name)
    again = pickle.loads(pickle.dumps(activation))
    z = np.linspace(-3, 3, 41)
    assert again.name == activation.name
    assert np.array_equal(again(z), activation(z))


def test_automatic_range():
    assert automatic_range(Layer(np.eye(2), activation="sigmoid"), (0, 1)) == (0.0, 1.0)
    assert automatic_range(Layer(np.eye(2), activation="tanh"), (0, 1)) == (-1.0, 1.0)
    # One input: 4 standard deviations reach past the ends, which clip it.
    assert automatic_range(Layer([[2.0]], [1.0], "identity"), (0, 1)) == (1.0, 3.0)
    wide = Layer(np.ones((1, 100)), activation="relu")
    low, high = automatic_range(wide, (0, 1))
    assert (low, high) == pytest.approx((50 - 4 * np.sqrt(100 / 12), 50 + 4 * np.sqrt(100 / 12)))
    assert automatic_range(Layer(-np.ones((1, 100)), activation="relu"), (0, 1)) == (-0.5, 0.5)
    low, high = automatic_range(Layer([[-2.0, 3.0]], activation="gelu"), (0, 1))
    assert low == pytest.approx(-0.169971, abs=1e-5)
    assert high == pytest.approx(2.9959502, abs=1e-5)


# -- a name decides nothing

#: What nobody would call so.
STRANGE = {
    "stairs": lambda z: np.where(np.abs(z) > 0.1, 0.25 + 0.5 * (z > 0.4), 0.0),
    "wave": lambda z: 0.5 + 0.4 * np.sin(5.0 * z),
}
LABELS = [
    "identity",
    "relu",
    "leaky_relu(0.2), abs, gt(0.1)",
    "hardtanh",
    "sigmoid",
    "tanh",
    "silu",
]


def asked(activation, label):
    """Everything that reads what a function can do, asked of one with a certain name."""
    rng = np.random.default_rng(5)
    first, last = rng.normal(size=(4, 3)), rng.normal(size=(2, 4))
    odd = eiplane.Activation.from_function(activation, label)
    common = {"progress": False, "threads": 1, "samples": 2_000}
    yield eiplane.analyze([first], odd, in_range=(-1, 1), **common)
    yield eiplane.analyze([first[:2]], odd, in_range=(-1, 1), noise=0.05, measures="ei_parts")
    pool = [Layer(first, None, odd), Layer(last, None, "identity")]
    yield eiplane.analyze(pool, spans=[(0, 1)], in_range=(-1, 1), **common)
    pool = eiplane.Pool("max", (2, 2), activation=odd)
    pooled = Layer(rng.normal(size=(2, 1, 2, 2)), None, "relu", "conv", 1, pool)
    yield eiplane.analyze([pooled], in_range=(-1, 1), **common)
    pool = eiplane.Pool("mean", (2, 2))
    pooled = Layer(rng.normal(size=(2, 1, 2, 2)), None, odd, "conv", 1, pool)
    yield eiplane.analyze([pooled], in_range=(-1, 1), **common)


def test_a_name_decides_nothing():
    stairs = STRANGE["stairs"]
    wanted = list(asked(stairs, "mine"))
    for label in LABELS[::2]:
        for found, same in zip(asked(stairs, label), wanted, strict=True):
            for name in (
                "sensitivity",
                "ei_parts",
                "ei",
                "ei_bounds",
                "phi",
                "method",
                "out_range",
            ):
                assert getattr(found[0], name) == getattr(same[0], name), (label, name)


def test_rows_that_share_a_function_keep_it_under_any_name():
    mine = eiplane.Activation.from_function(STRANGE["wave"])
    renamed = eiplane.per_row([mine] * 4, "identity")
    found, wanted = (
        eiplane.analyze([np.ones((4, 2))], f, measures="sensitivity", noise=0.1)
        for f in (renamed, mine)
    )
    assert found[0].sensitivity == wanted[0].sensitivity


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("strange", STRANGE)
def test_spans_of_functions_that_are_not_what_they_are_called(strange, label):
    """One input swept, the other held; the answer is what counting says."""
    rng = np.random.default_rng(11)
    first, last = rng.normal(size=(3, 2)), rng.normal(size=(1, 3))
    odd = eiplane.Activation.from_function(STRANGE[strange], label)
    layers = [Layer(first, None, odd), Layer(last, None, "identity")]
    (d,) = eiplane.analyze(
        layers, spans=[(0, 1)], in_range=(-1, 1), out_range=(-1.5, 1.5), measures="sensitivity"
    )
    steps = 1 << 17
    sweep = (np.arange(steps) + 0.5) / steps * 2 - 1
    for a in range(2):
        x = np.zeros((2, steps))
        x[a] = sweep
        y = (last @ STRANGE[strange](first @ x))[0]
        out = np.clip(np.floor((y + 1.5) / 3 * 8), 0, 7).astype(int)
        table = (
            np.histogram2d(np.arange(steps) * 8 // steps, out, bins=8, range=[[0, 8]] * 2)[0]
            / steps
        )
        expected = table.sum(1, keepdims=True) * table.sum(0)
        some = table > 0
        counted = (table[some] * np.log2(table[some] / expected[some])).sum()
        assert d.pairwise_sensitivity.edges[0, a] == pytest.approx(counted, abs=3e-4)
