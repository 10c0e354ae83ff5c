"""mutual_information against scikit-learn on the same bins."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import mutual_info_score

import eiplane


def binned(values, bins, limits):
    edges = np.linspace(*limits, bins + 1)
    return np.clip(np.searchsorted(edges, values, side="right") - 1, 0, bins - 1)


def by_sklearn(x, y, bins, limits):
    a, b = (binned(np.asarray(v, float), bins, limits) for v in (x, y))
    return mutual_info_score(a, b) / math.log(2)


@pytest.mark.parametrize("bins", [2, 3, 8, 10, 64, 1024])
def test_random(generator, bins):
    x = generator.uniform(size=5000)
    y = x**2 + generator.normal(size=5000) * 0.1
    got = eiplane.mutual_information(x, y, bins, (0, 1))
    assert got == pytest.approx(by_sklearn(x, y, bins, (0, 1)), abs=1e-12)


@pytest.mark.parametrize(
    "values",
    [
        [0.5, 0.5, 0.5, 0.5],  # constant
        [0.0, 0.125, 0.25, 1.0],  # on the edges
        [-0.0, 0.0, 5e-324, 1e-310],  # signed zero, denormals
        [0.01, 0.02, 0.98, 0.99],  # empty bins
        [-3.0, 0.5, 0.7, 17.0],  # outside
        [0.1, 0.2, 0.3, 0.7],  # 0.1 * 3 is not 0.3
    ],
)
def test_boundaries(generator, values):
    x = np.repeat(values, 5)
    y = generator.permutation(x)
    for bins in (2, 8, 10):
        got = eiplane.mutual_information(x, y, bins, (0, 1))
        assert got == pytest.approx(by_sklearn(x, y, bins, (0, 1)), abs=1e-12)


@given(
    arrays(np.float64, st.integers(1, 60), elements=st.floats(-2, 2, allow_subnormal=True)),
    st.integers(2, 40),
)
def test_any(x, bins):
    y = np.roll(x, 1)
    got = eiplane.mutual_information(x, y, bins, (-1.0, 1.5))
    assert got == pytest.approx(by_sklearn(x, y, bins, (-1.0, 1.5)), abs=1e-12)
    assert got >= 0


def test_default_range_is_each_sample_s_own(generator):
    x, y = generator.normal(size=500), generator.normal(size=500) * 1e6
    y += x * 1e6
    a = binned(x, 8, (x.min(), x.max()))
    b = binned(y, 8, (y.min(), y.max()))
    assert eiplane.mutual_information(x, y) == pytest.approx(
        mutual_info_score(a, b) / math.log(2), abs=1e-12
    )
    assert eiplane.mutual_information(np.ones(5), np.arange(5.0)) == 0.0


def test_inputs_are_left_alone(generator):
    x = generator.uniform(size=100)
    for given_x in (x, x[::2], x.astype(">f8"), x.astype(np.float32), (x * 9).astype(int)):
        given_x.flags.writeable = False
        before = given_x.copy()
        eiplane.mutual_information(given_x, given_x)
        assert np.array_equal(given_x, before)


@pytest.mark.parametrize(
    ("x", "y", "options", "error", "message"),
    [
        ([1.0], [1.0, 2.0], {}, ValueError, "one length"),
        ([[1.0]], [[1.0]], {}, ValueError, "one-dimensional"),
        ([], [], {}, ValueError, "empty"),
        ([np.nan], [1.0], {}, ValueError, "NaN"),
        ([1j], [1.0], {}, TypeError, "real"),
        ([1.0], [1.0], {"bins": 1}, ValueError, "2 to 1024"),
        ([1.0], [1.0], {"bins": 2.5}, TypeError, "whole"),
        ([1.0], [1.0], {"range": (1, 0)}, ValueError, "lo < hi"),
        ([1.0], [1.0], {"range": 3}, ValueError, "pair"),
        ([1.0], [1.0], {"range": (0, np.inf)}, ValueError, "finite"),
    ],
)
def test_bad_input(x, y, options, error, message):
    with pytest.raises(error, match=message):
        eiplane.mutual_information(x, y, **options)


@pytest.mark.parametrize("offset", [1, 4])
def test_arrays_off_their_boundary(offset, generator):
    """As a file that is mapped at an odd offset has them; undefined where C reads it."""
    from eiplane.network import Layer

    def moved(array):
        held = bytearray(array.nbytes + 8)
        out = np.frombuffer(held, array.dtype, array.size, offset).reshape(array.shape)
        out[:] = array
        assert not out.flags.aligned
        return out

    w, b = generator.normal(size=(3, 4)), generator.normal(size=3)
    layer = Layer(moved(w), moved(b))
    for found, wanted in ((layer.matrix(), w), (layer.offsets(), b)):
        assert found.flags.aligned
        assert found.flags.c_contiguous
        np.testing.assert_array_equal(found, wanted)
    x, y = generator.random(50), generator.random(50)
    found = eiplane.mutual_information(moved(x), moved(y))
    assert found == eiplane.mutual_information(x, y)
