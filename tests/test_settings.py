"""The options of an analysis: an object that cannot be built unchecked."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError, replace

import pytest

from eiplane.run import Settings


def test_what_is_taken_and_what_it_becomes():
    settings = Settings(
        "phi", bins=[4, 6], in_range=[0, 2], outliers="drop", baseline=1, samples=1e4, tol=1
    )
    assert settings.measures == {"ei_parts", "ei"}
    assert settings.bins == (4, 6)
    assert settings.in_range == (0.0, 2.0)
    assert settings.samples == 10_000
    assert isinstance(settings.samples, int)
    binning = settings.binning
    assert (binning.in_bins, binning.out_bins, binning.drop, binning.baseline) == (4, 6, True, 1.0)
    assert pickle.loads(pickle.dumps(settings)) == settings


def test_plain_values_are_those_that_are_kept_with_results():
    assert Settings(("ei", "sensitivity"), out_range=[(0, 1), "auto"]).to_dict() == {
        "measures": ["ei", "sensitivity"], "bins": [8, 8], "in_range": [0.0, 1.0],
        "out_range": [[0.0, 1.0], "auto"], "outliers": "clip", "baseline": 0.0, "method": "auto",
        "samples": None, "tol": None, "estimator": "auto", "ranges": "auto",
        "quantiles": [0.001, 0.999], "noise": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("measures", (), "nothing to compute"),
        ("measures", "psi", "unknown 'psi'"),
        ("bins", 1, "from 2 to 1024"),
        ("in_range", (1, 0), "lo < hi"),
        ("out_range", "wide", "out_range must be 'auto'"),
        ("outliers", "keep", "outliers must be 'clip' or 'drop'"),
        ("baseline", float("nan"), "finite"),
        ("method", "guess", "method must be"),
        ("samples", 1, "from 2"),
        ("tol", 0, "positive"),
        ("estimator", "best", "estimator must be"),
        ("ranges", "wide", "ranges must be 'auto' or 'data'"),
        ("quantiles", 0.5, "quantiles must be a pair"),
        ("quantiles", (0.9, 0.1), "quantiles must have lo < hi"),
        ("quantiles", (-0.1, 0.9), "quantiles must be from 0 to 1"),
        ("quantiles", (0.0, 99.9), "quantiles must be from 0 to 1"),
    ],
)
def test_it_checks_itself_also_when_it_is_changed(option, value, message):
    with pytest.raises(ValueError, match=message):
        Settings(**{"measures": "ei", option: value})
    with pytest.raises(ValueError, match=message):
        replace(Settings("ei"), **{option: value})
    with pytest.raises(FrozenInstanceError):
        setattr(Settings("ei"), option, value)


def test_changed_it_is_the_same_but_for_that():
    settings = Settings("degeneracy", bins=5, out_range=[(0, 1)], method="sample", samples=100)
    changed = replace(settings, samples=200)
    assert changed.samples == 200
    assert replace(changed, samples=100) == settings
    named = Settings("ei", in_range={"fc*": (-1, 2)}, out_range={None: (0, 3), "fc1": "auto"})
    assert named.in_range is None
    assert named.input_range == (0.0, 1.0)
    again = replace(named, samples=200)
    assert again.in_range_of("fc1") == (-1.0, 2.0)
    assert [again.range_of(0, 2, name) for name in ("fc1", "fc2")] == ["auto", (0.0, 3.0)]
    assert replace(again, samples=None) == named
