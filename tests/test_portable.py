"""Elementary functions that have the same digits on every machine, against mpmath."""

from __future__ import annotations

import hashlib
import math
import os
import subprocess
import sys

import mpmath
import numpy as np
import pytest

from eiplane.network import Binning, Layer, discretize, get_activation, known_activations, portable

RNG = np.random.default_rng(5)


def either(most, n=150):
    """Values of both signs, of all sizes up to `most`."""
    sizes = 10 ** RNG.uniform(-30, np.log10(most), n)
    return np.concatenate([RNG.uniform(-most, most, n), RNG.choice([-1, 1], n) * sizes])


#: Arguments, the function, and how many units of the last place it may be off.
CASES = {
    "exp": (either(700), mpmath.exp, 1),
    "expm1": (either(50), mpmath.expm1, 1.5),
    "log": (
        np.concatenate([10 ** RNG.uniform(-307, 307, 150), 1 + 1e-5 * either(1), [5e-324]]),
        mpmath.log,
        1,
    ),
    "log1p": (np.concatenate([either(0.999), 10 ** RNG.uniform(0, 300, 100)]), mpmath.log1p, 1),
    "tanh": (either(22), mpmath.tanh, 3),
    "arctanh": (either(0.9999), mpmath.atanh, 2),
    "erf": (either(6), mpmath.erf, 2),
    "erfc": (np.concatenate([either(6), RNG.uniform(6, 26, 100)]), mpmath.erfc, 6),
    "sin": (either(100), mpmath.sin, 2),
    "cos": (either(100), mpmath.cos, 2),
    "tan": (either(1.5), mpmath.tan, 3),
    "arctan": (either(1e6), mpmath.atan, 4),
}


@pytest.mark.parametrize("name", CASES)
def test_errors(name):
    x, function, most = CASES[name]
    found = getattr(portable, name)(x)
    with mpmath.workdps(60):
        for at, value in zip(x.tolist(), found.tolist(), strict=True):
            true = function(mpmath.mpf(at))
            unit = mpmath.mpf(float(np.spacing(abs(float(true)))))
            assert abs(mpmath.mpf(value) - true) <= most * unit, (at, value)


@pytest.mark.parametrize("name", CASES)
def test_ends_signs_and_shapes(name):
    x = np.array([0.0, -0.0, 1, -1, np.inf, -np.inf, np.nan, 800, -800, 2, 5e-324, 1e-310, 1e300])
    function = getattr(portable, name)
    with np.errstate(all="ignore"):
        known = getattr(math, name) if name in ("erf", "erfc") else getattr(np, name)
        true = np.array([known(v) for v in x])
    np.testing.assert_allclose(function(x), true, rtol=2e-15, atol=0, equal_nan=True)
    plain = ~np.isnan(true)
    assert (np.signbit(function(x)) == np.signbit(true))[plain].all()
    assert function(x.reshape(13, 1)).shape == (13, 1)
    assert function(0.5) == function(np.array([0.5]))[0]
    assert function(np.zeros(0)).shape == (0,)


def thresholds_digest():
    """A digest of every known activation's thresholds, and of its values."""
    total = hashlib.sha256()
    for name in sorted(known_activations()):
        activation = get_activation(name)
        low, high = activation.natural_range or (-0.7, 2.3)
        channel = discretize(
            Layer(np.ones((1, 2)), np.zeros(1), activation),
            Binning(9, 9, False, 0.0), (-1.0, 1.0), (low, high),
        )  # fmt: skip
        total.update(np.ascontiguousarray(channel.tables()[0]).tobytes())
        total.update(np.asarray(activation(np.linspace(-8, 8, 301))).tobytes())
    return total.hexdigest()


def test_thresholds_do_not_depend_on_what_numpy_finds_in_the_cpu():
    features = np.__config__.show(mode="dicts").get("SIMD Extensions", {}).get("found", [])
    if not features:
        pytest.skip("NumPy has nothing here to go without")
    program = "import test_portable; print(test_portable.thresholds_digest())"
    plain = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True,
        env={**os.environ, "NPY_DISABLE_CPU_FEATURES": " ".join(features)},
        cwd=os.path.dirname(__file__),
    )  # fmt: skip
    assert plain.stdout.strip() == thresholds_digest()
