"""Preimages: binning z by thresholds is binning f(z) by edges."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from eiplane import Layer, get_activation
from eiplane.network import automatic_range
from eiplane.network.closed import CLOSED
from eiplane.network.monotone import unbounded
from eiplane.network.preimage import preimage

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
    thresholds, labels = preimage(activation.pieces, edges, drop)
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
    thresholds, labels = preimage(relu.pieces, np.linspace(-1, 1, 3), True)
    found = labels[np.searchsorted(thresholds, [-5.0, 0.0, 0.5, 1.0, 1.1], side="right")]
    assert found.tolist() == [1, 1, 1, 1, -1]
    hard = get_activation("hardtanh")
    thresholds, labels = preimage(hard.pieces, np.linspace(-1, 1, 3), True)
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
