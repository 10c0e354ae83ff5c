"""What is written and read again, or pickled, is what it was: every field, and its type."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import pickle

import numpy as np
import pytest

import eiplane
from eiplane.training import History

rng = np.random.default_rng(0)
W = [rng.normal(size=(3, 4)), rng.normal(size=(2, 3))]

#: Options whose results have other fields, and settings of other types.
OPTIONS = {
    "default": {},
    "vectors": {"measures": ("ei", "redundancy_in", "redundancy_out", "degeneracy_joint")},
    "ranges by name": {"in_range": {None: (0, 1), "1": (-1, 2)}, "out_range": {"0": (0, 1)}},
    "a range a layer": {"out_range": [(0, 1), "auto"]},
    "noise": {"noise": ("uniform", 0.2), "measures": "ei_parts"},
    "sampled": {"method": "sample", "samples": 500},
    "bounds": {"measures": "bounds"},
    "spans": {"spans": "all", "measures": ("ei", "sensitivity", "ei_parts"), "samples": 2000},
    "sums": {"edges": False},
    "plugin": {"measures": "ei", "estimator": "plugin", "samples": 1000, "tol": 0.5},
    "saturated": {"measures": "ei", "spans": "all", "samples": 100},
    "numpy's": {
        "outliers": "drop", "baseline": np.float32(0.5), "samples": np.int64(4000),
        "bins": (np.int32(4), 5), "in_range": np.array([0, 1]), "rng": np.random.default_rng(3),
    },
}  # fmt: skip


def differences(a, b, place=""):
    """Yield where two values differ, in a field, an entry, a dtype or a type."""
    if type(a) is not type(b):
        yield f"{place}: {type(a).__name__} and {type(b).__name__}"
    elif isinstance(a, np.ndarray):
        if a.dtype != b.dtype or not np.array_equal(a, b, equal_nan=True):
            yield f"{place}: arrays"
    elif dataclasses.is_dataclass(a):
        for field in dataclasses.fields(a):
            one, other = getattr(a, field.name), getattr(b, field.name)
            yield from differences(one, other, f"{place}.{field.name}")
    elif isinstance(a, dict):
        if list(a) != list(b):
            yield f"{place}: {list(a)} and {list(b)}"
        for key in set(a) & set(b):
            yield from differences(a[key], b[key], f"{place}[{key!r}]")
    elif isinstance(a, list | tuple):
        if len(a) != len(b):
            yield f"{place}: lengths"
        for i, (one, other) in enumerate(zip(a, b, strict=False)):
            yield from differences(one, other, f"{place}[{i}]")
    elif a != b and not (a != a and b != b):
        yield f"{place}: {a!r} and {b!r}"


def test_differences_are_seen():
    one = eiplane.analyze(W, "relu", measures="ei_parts", progress=False)
    other = dataclasses.replace(one[1], in_range=list(one[1].in_range))
    assert list(differences(one[1], other)) == [".in_range: tuple and list"]
    edges = dataclasses.replace(one[0].pairwise_ei, edges=one[0].ei_edges + 1e-16)
    assert list(differences(one[0].pairwise_ei, edges)) == [".edges: arrays"]
    assert list(differences({"a": [1.0, math.nan]}, {"a": [1, math.nan]}))


@pytest.fixture(scope="module", params=OPTIONS)
def options(request):
    return OPTIONS[request.param]


@pytest.mark.filterwarnings("ignore::eiplane.SaturationWarning")
def test_a_decomposition(options, tmp_path):
    result = eiplane.analyze(W, "relu", progress=False, **options)
    result.save(tmp_path / "d.npz")
    loaded = eiplane.load(tmp_path / "d.npz")
    for again in (loaded, pickle.loads(pickle.dumps(result)), copy.deepcopy(result)):
        assert list(differences(result, again)) == []
    assert list(differences(result.to_dict(), json.loads(result.to_json()))) == []
    assert (str(loaded), loaded.to_html()) == (str(result), result.to_html())
    assert result.settings == loaded.settings


def test_a_decomposition_through_time(tmp_path):
    result = eiplane.through_time(
        lambda x, h: np.tanh(0.5 * h + x),
        sizes=(1, 2), state_range=(-1, 1), lags=(1, 3), bins=2, samples=2000,
    )  # fmt: skip
    result.save(tmp_path / "t.npz")
    for again in (eiplane.load(tmp_path / "t.npz"), pickle.loads(pickle.dumps(result))):
        assert list(differences(result, again)) == []
        assert again.lag(3).ei == result.lag(3).ei
        assert str(again.tpm(3)) == str(result.tpm(3))
    assert list(differences(result.to_dict(), json.loads(result.to_json()))) == []


def test_a_file_through_time_whose_lags_are_of_other_layers(tmp_path):
    result = eiplane.through_time(W[0][:, :3], activation="tanh", lags=(1, 2), samples=500)
    for lags in ((1,), (1, 2.0), "ab", ()):
        dataclasses.replace(result, lags=lags).save(tmp_path / "t.npz")
        with pytest.raises(ValueError, match=r"t\.npz is not a decomposition"):
            eiplane.load(tmp_path / "t.npz")


@pytest.mark.filterwarnings("ignore::eiplane.SaturationWarning")
def test_a_run(options, tmp_path):
    path = tmp_path / "run.jsonl"
    options = {k: v for k, v in options.items() if k != "edges"}
    metrics = ({"loss": 1.5, "n": 3, "a": np.float32(0.1)}, {"loss": math.nan}, {"b": -math.inf})
    with eiplane.Tracker(lambda: W, path, activation="relu", edges=True, **options) as tracker:
        for step, numbers in enumerate(({**metrics[0], "top": math.inf}, *metrics[1:])):
            tracker.record(step, **numbers)
    for read in (History.read(path), eiplane.Tracker.load(path).history):
        for one, other in zip(tracker.history, read, strict=True):
            for again in (other, pickle.loads(pickle.dumps(other))):
                assert one.step == again.step
                assert list(differences(list(one.layers), list(again.layers))) == []
                assert list(differences(dict(one.metrics), dict(again.metrics))) == []
    held, read = tracker.edges(2), eiplane.Tracker.load(path).edges(2)
    assert list(differences(held, read)) == []
    assert all(json.loads(line, parse_constant=pytest.fail) for line in path.open())


def test_what_else_is_measured():
    others = [
        eiplane.tpm([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0], [0.0, 0.1, 0.9]], macro="exhaustive"),
        eiplane.macro_units(W[0][:, :3]),
        eiplane.ablate(W, "weight", evaluate=lambda weights: float(sum(w.sum() for w in weights))),
    ]
    for result in others:
        assert list(differences(result, pickle.loads(pickle.dumps(result)))) == []
        text = result.to_json() if hasattr(result, "to_json") else json.dumps(result.to_dict())
        assert list(differences(result.to_dict(), json.loads(text))) == []
    more = [
        eiplane.convergence(W[0], samples=(100, 1000)),
        eiplane.ei_between(W[0], [[0], [1]], [[0], [1, 2]]),
    ]
    for result in more:
        assert list(differences(result, pickle.loads(pickle.dumps(result)))) == []
