"""Lines of a run that are not decoded before somebody asks: the same records, the same errors."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import threading

import numpy as np
import pytest

import eiplane
from eiplane.files import Familiar, familiar, read_records
from eiplane.training import History, Record, Tracker

MANY = 400


def line(step, loss=0.5, value=1.25, **more):
    layer = {"name": "a", "n_in": 2, "n_out": 2, "ei_parts": value, "ei_bounds": [0.0, value]}
    record = {"step": step, "metrics": {"loss": loss, **more}, "layers": [layer]}
    return json.dumps(record, separators=(",", ":")).encode()


def write(path, lines):
    header = b'{"eiplane":1,"options":{"activation":"relu","measures":["ei_parts"]}}'
    path.write_bytes(b"\n".join([header, *lines]) + b"\n")
    return path


@pytest.fixture
def lines():
    rng = np.random.default_rng(0)
    found = [line(i, float(rng.exponential()), float(rng.normal())) for i in range(MANY)]
    found[300] = line(300, None)  # not finite
    found[310] = line(310, 0.5, None)
    found[320] = line(320, 3, -7)
    found[330] = line(330, 1e-300, 1e22, accuracy=0.5)
    found[340] = line(340).replace(b":", b" : ")
    found[350] = line(350) + b"\r"
    found[360] = line(360, 10**40)  # more digits than a pattern takes
    return found


def test_what_is_read_is_what_is_written(tmp_path, lines):
    path = write(tmp_path / "run.jsonl", lines)
    for records in (History.read(path).records, Tracker.load(path).history.records):
        assert len(records) == MANY
        for one, text in zip(records, lines, strict=True):
            expected = json.loads(text)
            metrics = {k: np.nan if v is None else float(v) for k, v in expected["metrics"].items()}
            assert one.step == expected["step"]
            assert list(one.layers) == expected["layers"]
            assert one.metrics.keys() == metrics.keys()
            np.testing.assert_array_equal([*one.metrics.values()], [*metrics.values()])


def test_opening_a_long_run_decodes_little_of_it(tmp_path):
    path = write(tmp_path / "run.jsonl", [line(i, 1 / (i + 1)) for i in range(2000)])
    history = History.read(path)
    assert history.steps.tolist() == list(range(2000))
    decoded = sum("layers" in vars(record) for record in history)
    assert decoded < 300
    assert history[1999].metrics == {"loss": 1 / 2000}
    assert sum("layers" in vars(record) for record in history) == decoded + 1


@pytest.mark.parametrize(
    "number", ["1.2.3", "01", "--1", "1e", ".5", "1.", "+1", "1e+-3", "-", "1-1", "0x1", "1 2", ""]
)
@pytest.mark.parametrize("place", [b'"step":390', b'"loss":0.5', b'"n_in":2', b"[0.0,"])
def test_a_broken_number_is_told_on_opening(tmp_path, number, place):
    lines = [line(i) for i in range(MANY)]
    start = place[: place.index(b":") + 1] if b":" in place else b"["
    end = b"," if place.endswith(b",") else b""
    lines[390] = lines[390].replace(place, start + number.encode() + end)
    path = write(tmp_path / "run.jsonl", lines)
    with pytest.raises(ValueError, match=r"run\.jsonl, line 392"):
        History.read(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b'"step":390', b'"step":390.0', "whole number"),
        (b'"step":390', b'"step":-390', "whole number"),
        (b'"step":390', b'"step":99999999999999999999', "whole number"),
        (b'"step":390', b'"step":true', "whole number"),
        (b'"ei_parts":1.25', b'"ei_parts":"1.25"', "no number"),
        (b'"ei_parts":1.25', b'"ei_parts":[1.25]', "no number"),
        (b'"loss":0.5', b'"loss":"x"', "not a record"),
        (b'"layers":', b'"later":', "layers"),
    ],
)
def test_a_line_that_is_no_record_is_told_on_opening(tmp_path, old, new, message):
    lines = [line(i) for i in range(MANY)]
    assert old in lines[390]
    lines[390] = lines[390].replace(old, new)
    path = write(tmp_path / "run.jsonl", lines)
    for read in (History.read, Tracker.load):
        with pytest.raises(ValueError, match=message):
            read(path)


def test_a_cut_last_line_is_left_out(tmp_path):
    path = write(tmp_path / "run.jsonl", [line(i) for i in range(MANY)])
    whole = path.read_bytes()
    for cut, left in ((1, MANY), (2, MANY - 1), (60, MANY - 1)):
        path.write_bytes(whole[:-cut])
        assert len(History.read(path)) == left


def test_the_last_of_two_steps_counts_as_ever(tmp_path):
    twice = [line(i).replace(b'"metrics"', b'"step":7,"metrics"') for i in range(MANY)]
    assert History.read(write(tmp_path / "run.jsonl", twice)).steps.tolist() == [7]
    escaped = [one.replace(b'"step":7', b'"st\\u0065p":7') for one in twice]
    assert History.read(write(tmp_path / "run.jsonl", escaped)).steps.tolist() == [7]


@pytest.mark.parametrize(("old", "new"), [(b":", b": "), (b",", b" ,"), (b":0.5", b": 0.5 ")])
def test_other_spaces_change_nothing(tmp_path, old, new):
    lines = [line(i).replace(old, new) for i in range(MANY)]
    history = History.read(write(tmp_path / "run.jsonl", lines))
    assert history.steps.tolist() == list(range(MANY))
    assert history.metric("loss").tolist() == [0.5] * MANY


def test_names_with_digits_are_kept_apart(tmp_path):
    lines = [line(i).replace(b'"a"', b'"a,%d,"' % (i % 3)) for i in range(MANY)]
    history = History.read(write(tmp_path / "run.jsonl", lines))
    assert history.layers == ["a,0,", "a,1,", "a,2,"]
    assert np.isfinite(history.values("a,1,", "ei_parts")).tolist() == [
        i % 3 == 1 for i in range(MANY)
    ]


def test_a_mutated_line_is_known_only_if_it_decodes(monkeypatch):
    monkeypatch.setattr(familiar, "_OFTEN", 1)
    known = Familiar("step", Record.from_json)
    good = line(7, -2.5e-7, 3.0)
    assert known.known(good) is not None
    rng = np.random.default_rng(3)
    letters = b'0123456789+-.eE,:"[]{} nul'
    accepted = 0
    for _ in range(20_000):
        data = bytearray(good)
        for _ in range(int(rng.integers(1, 4))):
            at, to = int(rng.integers(len(data))), letters[int(rng.integers(len(letters)))]
            if rng.random() < 0.5:
                data[at] = to
            elif rng.random() < 0.5:
                del data[at]
            else:
                data.insert(at, to)
        found = known.known(bytes(data))
        if found is not None:
            value = json.loads(bytes(data))
            assert dict(found) == value
            assert found.number == value["step"] == Record.from_json(value).step
            accepted += bytes(data) != good
    assert accepted > 200


def test_lines_that_are_all_different_take_no_more_room(monkeypatch):
    known = Familiar("step", Record.from_json)
    for i in range(3000):
        assert known.known(b'{"step":1,"' + b"x" * i + b'":1}') is None
    assert len(known._seen) == familiar._KINDS


@pytest.fixture
def unread(tmp_path):
    record = History.read(write(tmp_path / "run.jsonl", [line(i) for i in range(MANY)]))[-1]
    assert "layers" not in vars(record)
    return record


def test_an_unread_record_is_one_like_any_other(unread):
    whole = Record.from_json(json.loads(line(MANY - 1)))
    for other in (pickle.loads(pickle.dumps(unread)), copy.copy(unread), copy.deepcopy(unread)):
        assert "layers" not in vars(other)
        assert other.to_json() == whole.to_json()
    assert dataclasses.replace(unread, step=3).layers == whole.layers
    assert repr(unread) == repr(whole)
    assert unread.difference(whole) == ""
    with pytest.raises(AttributeError, match="no attribute 'loss'"):
        unread.loss  # noqa: B018
    with pytest.raises(dataclasses.FrozenInstanceError):
        unread.step = 3
    assert vars(unread).keys() == vars(whole).keys()


def test_threads_may_ask_at_once(tmp_path):
    path = write(tmp_path / "run.jsonl", [line(i) for i in range(2000)])
    history, found, failed = History.read(path), [], []

    def ask():
        try:
            found.append([record.layers[0]["ei_parts"] for record in history])
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert found == [[1.25] * 2000] * 4


def test_a_long_run_goes_on(tmp_path):
    weights = [np.eye(2)]
    path, options = tmp_path / "run.jsonl", {"activation": "relu", "measures": "ei_parts"}
    with Tracker(weights, path, progress=False, **options) as tracker:
        tracker.record(0, loss=1.0)
    first = read_records(path)[1]
    with path.open("a") as file:
        for step in range(1, MANY):
            file.write(json.dumps({**first, "step": step}, separators=(",", ":")) + "\n")
    with Tracker(weights, path, progress=False, **options) as tracker:
        tracker.record(MANY, loss=2.0)
    assert History.read(path).steps.tolist() == list(range(MANY + 1))
    with (
        Tracker([np.eye(3)], path, progress=False, **options) as tracker,
        pytest.raises(ValueError, match="n_in 2 and has 3"),
    ):
        tracker.record(MANY + 1)
    assert len(eiplane.Tracker.load(path)) == MANY + 1
