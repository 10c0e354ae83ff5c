"""Arguments that are none, one by one; arrays of every kind; numbers at the ends of the doubles."""

from __future__ import annotations

import math
import warnings
from fractions import Fraction

import numpy as np
import pytest
from fuzz import campaign, refusals

import eiplane
from eiplane.joint.sums import uniform_distribution
from eiplane.network.monotone import unbounded
from eiplane.network.preimage import preimages

TABLES = {**refusals.OPTIONS, "weights": refusals.WEIGHTS, "unknown": refusals.UNKNOWN}


@pytest.mark.parametrize("name", TABLES)
def test_every_value_that_is_none_is_refused(name):
    for number in range(len(TABLES[name])):
        case = {"wrong": {name: number}, "good": {}}
        wrong = campaign.problem(refusals, case)
        assert wrong is None, f"{refusals.words(case)}: {wrong}"


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("kind", refusals.FINE)
def test_kinds_of_arrays_give_what_float64_gives(kind, activation):
    assert campaign.problem(refusals, {"fine": kind, "activation": activation}) is None


def test_a_refusal_that_is_missing_would_be_found():
    refused = {"wrong": {"bins": 0}, "good": {}}
    assert campaign.problem(refusals, refused) is None
    before = refusals.OPTIONS["bins"]
    refusals.OPTIONS["bins"] = (4,)
    try:
        assert campaign.problem(refusals, refused).kind == "taken"
    finally:
        refusals.OPTIONS["bins"] = before


@pytest.mark.parametrize("missing", [[[True, False], [False, False]], True])
def test_masked_entries_are_missing(missing):
    masked = np.ma.masked_array(np.ones((2, 2)), mask=missing)
    count = masked.size if missing is True else 1
    for call in (
        lambda: eiplane.analyze(masked, "relu"),
        lambda: eiplane.analyze([np.ones((2, 2)), masked], "relu"),
        lambda: eiplane.analyze({"fc.weight": masked}, "relu"),
        lambda: eiplane.Layer(masked, activation="relu"),
        lambda: eiplane.tpm(masked / 2),
        lambda: eiplane.mutual_information(masked.ravel(), np.arange(4.0)),
        lambda: eiplane.entropy(masked.ravel()),
    ):
        with pytest.raises(ValueError, match=f"{count} masked entries"):
            call()


@pytest.mark.parametrize("scale", [2.0**-1070, 2.0**-900, 1.0, 2.0**900, 2.0**1015])
def test_samples_in_any_unit(scale):
    x = np.array([0.0, 1.0, 2.0, 3.0, 3.0, 1.0])
    y = np.array([1.0, 1.0, 2.0, 5.0, 5.0, 0.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = eiplane.mutual_information(x * scale, -y * scale, bins=(4, 3))
    assert got == eiplane.mutual_information(x, -y, bins=(4, 3)) > 0.5
    far = np.array([-1.0, 1.0, 1.0]) * 1.7e308  # their distance is no double
    assert eiplane.mutual_information(far, far, bins=2) == pytest.approx(0.9182958340544896)


@pytest.mark.parametrize(
    ("weight", "noise", "width"),
    [(1e150, 1e-150, 1e150), (3.0, 1e-100, 1e100), (1e-150, 1e150, 1e-150), (2.0, 0.1, 1.0)],
)
def test_the_closed_form_at_any_ratio(weight, noise, width):
    """One edge: log2(1 + (w width / noise)^2 / 12) / 2, in whole numbers of logarithms."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = eiplane.gaussian_ei([[weight]], noise, in_range=(0.0, width))
    power = 2.0 * (math.log2(weight) + math.log2(width) - math.log2(noise)) - math.log2(12.0)
    want = 0.5 * power if power > 60 else 0.5 * math.log1p(2.0**power) / math.log(2.0)
    assert got == pytest.approx(want, rel=1e-12, abs=1e-300)


@pytest.mark.parametrize("scale", [0.0, -1e-160, 1e-160, 1e160, np.inf, np.nan])
def test_noise_whose_square_leaves_float64(scale):
    for call in (
        lambda: eiplane.gaussian_ei([[1.0]], scale),
        lambda: eiplane.analyze([[1.0]], "relu", noise=("uniform", scale)),
    ):
        with pytest.raises(ValueError, match="noise"):
            call()


@pytest.mark.parametrize("scale", [2.0**-1000, 2.0**-400, 2.0**400, 2.0**900])
def test_sums_of_uniforms_in_any_unit(scale):
    widths, t = np.array([0.25, 0.5, 2.0]), np.linspace(-2.0, 2.0, 41)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = uniform_distribution(widths * scale, t * scale)
    np.testing.assert_array_equal(got, uniform_distribution(widths, t))
    with np.errstate(all="ignore"):
        tiny = uniform_distribution(np.array([5e-324, 1.0]), t)
    np.testing.assert_allclose(tiny, np.clip(t + 0.5, 0.0, 1.0), atol=1e-15)


def test_noise_far_below_what_it_is_added_to_is_quick():
    """What is too far to add a digit is left out; the whole would take minutes."""
    layer = eiplane.analyze(
        [[40.0, 7.0]], "identity", noise=0.02, measures="sensitivity", threads=1, progress=False
    )[0]
    # Eight bins, each a thousand deviations wide: all three bits, but at the seven edges.
    assert layer.sensitivity_edges[0, 0] == pytest.approx(3.0, abs=0.02)
    assert layer.sensitivity_edges[0, 1] == pytest.approx(3.0, abs=0.1)


def test_few_inputs_and_a_kink_out_of_reach_are_not_refused():
    """relu from 0.1 to 1.6, where it is the identity: the same numbers."""
    options = {"noise": 0.5, "measures": "ei_parts", "bins": 3, "progress": False}
    layer = eiplane.Layer([[1.0, 0.5]], [0.1], "relu")
    same = eiplane.Layer([[1.0, 0.5]], [0.1], "identity")
    got = eiplane.analyze(layer, **options)[0].ei_edges
    np.testing.assert_allclose(got, eiplane.analyze(same, **options)[0].ei_edges, atol=1e-10)


@pytest.mark.parametrize("rising", [True, False])
def test_halvings_at_once_are_halvings_one_by_one(rising, generator):
    """The places of an inverse, against a plain bisection to the last digit."""

    def f(z):
        z = z if rising else -z
        return z + np.exp(-z * z / 4.0) * 0.25 * z

    inverse = unbounded(f, 0.0, np.inf, True) if rising else unbounded(f, -np.inf, 0.0, False)
    for count in (0, 1, 3, 200):
        y = np.sort(generator.random(count) * 7.0)
        for got, value in zip(inverse(y), y, strict=True):
            low, high = (0.0, max(1.0, 2.0 * value + 50.0)) if rising else (-800.0, 0.0)
            while low < (middle := 0.5 * (low + high)) < high:
                at_or_after = (f(np.array([middle]))[0] >= value) == rising
                low, high = (low, middle) if at_or_after else (middle, high)
            assert got == high


@pytest.mark.parametrize("name", ["relu", "gelu", "mish", "hardswish", "tanh", "sin", "gaussian"])
@pytest.mark.parametrize("drop", [True, False])
def test_edges_and_ends_at_once(name, drop, generator):
    pieces = eiplane.get_activation(name).pieces_on(-6.0, 6.0)
    for bins in (1, 2, 7):
        edges = np.linspace(*np.sort(generator.normal(size=2)), bins + 1)
        found = preimages(pieces, edges, drop)
        apart = (*preimages(pieces, edges, drop)[:2], *preimages(pieces, edges[[0, -1]], True)[:2])
        for one, other in zip(found, apart, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.longdouble, Fraction])
def test_numbers_of_any_kind_are_those_of_python(kind):
    weights = np.random.default_rng(0).normal(size=(2, 3))
    for name, value in (
        ("baseline", 0.5), ("noise", 0.25), ("noise", ("uniform", 0.25)), ("tol", 0.5),
        ("in_range", (-1.0, 0.5)), ("out_range", (-1.0, 0.5)),
    ):  # fmt: skip
        given = (
            tuple(v if isinstance(v, str) else kind(v) for v in value)
            if isinstance(value, tuple)
            else kind(value)
        )
        options = {"measures": ("sensitivity", "ei_parts"), "progress": False}
        got = eiplane.analyze(weights, **options, **{name: given})
        assert got.to_json() == eiplane.analyze(weights, **options, **{name: value}).to_json()
    score = eiplane.ablate([weights], "weight", evaluate=lambda model: kind(0.5)).scores
    assert (score == 0.5).all()
    assert eiplane.Tracker(lambda: [weights]).record(0, loss=kind(0.5)).metrics == {"loss": 0.5}


@pytest.mark.parametrize("huge", [10**400, -(10**400)], ids=["up", "down"])
def test_numbers_that_no_float_can_hold(huge):
    """Refused by the words that infinity is, or taken for it where that is a number."""
    function = eiplane.Activation.from_function
    for refused in (
        lambda: function(np.tanh, natural_range=sorted((0, huge))),
        lambda: function(np.tanh, interval=sorted((0, huge))),
        lambda: eiplane.gaussian_ei(np.eye(2), huge),
        lambda: eiplane.gaussian_ei(np.eye(2), 1.0, in_range=sorted((0, huge))),
        lambda: eiplane.through_time(np.eye(2), state_range=sorted((0, huge))),
        lambda: eiplane.through_time(np.eye(2), activation="tanh", lags=(huge,)),
        lambda: eiplane.through_time(lambda x, h: h, sizes=(1, huge)),
        lambda: eiplane.tpm([[huge, 0], [0, 1]]),
        lambda: eiplane.Layer([[huge]]),
        lambda: eiplane.mutual_information([0, huge], [0, 1]),
    ):
        with pytest.raises((ValueError, TypeError)):
            refused()
    score = eiplane.ablate([np.eye(2)], "weight", evaluate=lambda model: huge).scores
    assert (score == np.copysign(np.inf, huge > 0 or -1)).all()
