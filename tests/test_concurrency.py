"""Several threads at once: the same numbers, no record lost; with and without a GIL."""

from __future__ import annotations

import itertools
import json
import sys
import sysconfig
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import eiplane
from eiplane import _core
from eiplane.run import progress

rng = np.random.default_rng(0)
W = [rng.normal(size=(4, 3)), rng.normal(size=(2, 4))]

CALLS = {
    "exact": {"measures": ("sensitivity", "ei_parts")},
    "sampled": {"measures": ("sensitivity", "ei_parts"), "method": "sample", "samples": 5000},
    "conditional": {"measures": "ei", "samples": 20_000, "estimator": "conditional"},
    "wide": {"measures": "ei", "samples": 256, "estimator": "wide"},
    "bounds": {"measures": "bounds"},
}


def at_once(work, threads):
    """Run work(i) in so many threads, which begin together; return what each gave."""
    start = threading.Barrier(threads)

    def begin(i):
        start.wait(60)
        return work(i)

    with ThreadPoolExecutor(threads) as pool:
        return [f.result(300) for f in [pool.submit(begin, i) for i in range(threads)]]


@pytest.mark.filterwarnings("ignore::eiplane.SaturationWarning")
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("threads", [2, 4])
def test_calls_at_once_give_the_numbers_of_one_alone(call, threads):
    def work(i):
        return eiplane.analyze(W, "tanh", rng=i, threads=2, progress=False, **CALLS[call]).to_json()

    alone = [work(i) for i in range(threads)]
    assert at_once(work, threads) == alone


def test_one_layer_and_its_results_are_shared():
    layer = eiplane.Layer(W[0], activation="gelu")
    result = eiplane.analyze(layer, progress=False, samples=2000)

    def work(i):
        again = eiplane.analyze(layer, progress=False, samples=2000)
        return result.to_json() == again.to_json(), str(result), result[0].phi

    assert len({*at_once(work, 4)}) == 1
    assert at_once(work, 4)[0][0]


@pytest.mark.parametrize("background", [False, True])
def test_records_from_four_threads(tmp_path, background):
    """Every step once, in memory and in the file, whoever measured it."""
    path = tmp_path / "run.jsonl"
    tracker = eiplane.Tracker(
        lambda: W, path, activation="relu", measures=("sensitivity",), background=background,
        edges=True, progress=False,
    )  # fmt: skip

    def work(i):
        for step in range(12):  # some of them another thread has too
            tracker.record(step + 6 * i, loss=float(step))

    at_once(work, 4)
    tracker.close()
    steps = list(range(12 + 6 * 3))
    assert tracker.history.steps.tolist() == steps
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert sorted(x["step"] for x in lines if "step" in x) == steps
    expected = eiplane.analyze(W, "relu", measures="sensitivity", progress=False)
    for step in steps:
        edges = tracker.edges(step)["0/sensitivity_edges"]
        np.testing.assert_array_equal(edges, expected[0].sensitivity_edges)


def test_a_bar_that_four_threads_tell(monkeypatch, capsys):
    monkeypatch.setattr(progress, "_PATIENCE", 0.0)
    seen = []
    with progress.progress_bar(True) as shown:
        inner = shown.show

        def show(done, total, what, new):
            seen.append((what, new))
            inner(done, total, what, new)

        monkeypatch.setattr(shown, "show", show)
        at_once(lambda i: [shown(k, 50, f"work {i}") for k in range(50)], 4)
    assert len(seen) == 200
    # What is new is what differs from the one before: no other thread came between.
    for before, after in itertools.pairwise(seen):
        assert after[1] == (before[0] != after[0])
    assert "Traceback" not in capsys.readouterr().err


def test_a_callable_may_be_told_by_several_calls():
    told = []

    def work(i):
        return eiplane.analyze(
            rng.normal(size=(100, 100)), measures="ei_parts", threads=2,
            progress=lambda done, total, what: told.append((done, total)),
        )[0].ei_parts  # fmt: skip

    at_once(work, 4)
    assert told
    assert all(0 <= done <= total for done, total in told)


def test_instruction_sets_are_chosen_once(instruction_set):
    assert set(at_once(lambda _: _core.active(), 4)) == {instruction_set}


@pytest.mark.skipif(
    not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="this interpreter has its lock"
)
def test_the_lock_stays_off():
    assert not sys._is_gil_enabled()
