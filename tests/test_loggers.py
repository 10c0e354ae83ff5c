"""Loggers of tracked runs: what was written, as the library or a plain reader reads it."""

from __future__ import annotations

import csv
import json
import struct

import numpy as np
import pytest

from eiplane import Tracker, loggers

OPTIONS = {"activation": "identity", "measures": ("sensitivity", "ei_parts"), "progress": False}
WEIGHTS = [np.array([[1.0, -0.5], [0.25, 2.0]]), np.array([[0.5, 1.5]])]


def run(log, steps=(0, 10, 20)):
    """A tracked run of weights that grow; its numbers, by step, layer and quantity."""
    scale = [1.0]
    tracker = Tracker(lambda: [w * scale[0] for w in WEIGHTS], loggers=[log], **OPTIONS)
    for step in steps:
        scale[0] = 1.0 + step / 7
        tracker.record(step, loss=1.0)
    history = tracker.history
    return {
        (step, layer, quantity): value
        for layer in history.layers
        for quantity in history.quantities
        for step, value in zip(steps, history.values(layer, quantity), strict=True)
    }


def read_csv(path):
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {(int(r["step"]), r["layer"], r["quantity"]): float(r["value"]) for r in rows}, len(rows)


def test_csv(tmp_path):
    path = tmp_path / "run.csv"
    wanted = run(loggers.CSV(path))
    got, rows = read_csv(path)
    assert got == wanted
    assert rows == len(wanted) == 3 * 2 * len({q for _, _, q in wanted})
    more = run(loggers.CSV(path), (30,))
    got, rows = read_csv(path)
    assert got == wanted | more
    assert rows == len(wanted) + len(more)


def test_csv_takes_any_name(tmp_path):
    log = loggers.CSV(tmp_path / "run.csv")
    log.log({'eiplane/a, "b"/c\nd/ei_parts': 0.1, "eiplane/é/ei": np.float32(0.1)}, 3)
    got, _ = read_csv(log.path)
    assert got == {(3, 'a, "b"/c\nd', "ei_parts"): 0.1, (3, "é", "ei"): float(np.float32(0.1))}


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"\xff\xfe\x00", b"step,layer\n"])
def test_csv_spares_other_files(content, tmp_path):
    path = tmp_path / "other.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="no log of a tracker"):
        loggers.CSV(path)
    assert path.read_bytes() == content
    with pytest.raises(OSError, match="none"):
        loggers.CSV(tmp_path / "none" / "run.csv")


def test_wandb_gets_an_axis_of_its_own():
    class Run:
        defined, rows = [], []

        def define_metric(self, name, step_metric=None):
            self.defined.append((name, step_metric))

        def log(self, numbers):
            self.rows.append(numbers)

    wanted = run(loggers.wandb(Run()))
    assert Run.defined == [("eiplane/step", None), ("eiplane/*", "eiplane/step")]
    got = {
        (row["eiplane/step"], *key.removeprefix("eiplane/").rsplit("/", 1)): value
        for row in Run.rows
        for key, value in row.items()
        if key != "eiplane/step"
    }
    assert got == wanted
    with pytest.raises(TypeError, match="one already"):
        loggers.wandb(Run(), mode="offline")


def leveldb_records(data):
    """The records of a file of wandb's: LevelDB's log format, after seven bytes of its own."""
    assert data[:4] == b":W&B"
    at, record = 7, b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:  # what is left of a block is padding
            at += 32768 - at % 32768
            continue
        length, kind = struct.unpack("<HB", data[at + 4 : at + 7])
        record += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # full, last
            yield record
            record = b""


def test_wandb_offline(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    from wandb.proto import wandb_internal_pb2

    monkeypatch.setenv("WANDB_SILENT", "true")
    log = loggers.wandb(mode="offline", dir=str(tmp_path), project="eiplane")
    wanted = run(log)
    log.run.finish()
    assert wandb.run is None
    (file,) = tmp_path.rglob("*.wandb")
    got = {}
    for data in leveldb_records(file.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        row = {i.key or "/".join(i.nested_key): i.value_json for i in record.history.item}
        for key, value in row.items():
            if key.startswith("eiplane/") and key != "eiplane/step":
                layer, quantity = key.removeprefix("eiplane/").rsplit("/", 1)
                got[json.loads(row["eiplane/step"]), layer, quantity] = json.loads(value)
    assert got == wanted


def test_mlflow_file_store(tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # versions from 3 on ask for it
    log = loggers.mlflow(tracking_uri=tmp_path / "runs", experiment="test")
    wanted = run(log)
    log.log({"eiplane/odd*name[0]/ei": 0.5}, 7)
    keys = {f"eiplane/{layer}/{quantity}" for _, layer, quantity in wanted}
    got = {
        (metric.step, *key.removeprefix("eiplane/").rsplit("/", 1)): metric.value
        for key in keys
        for metric in log.client.get_metric_history(log.run_id, key)
    }
    assert got == wanted
    (odd,) = log.client.get_metric_history(log.run_id, "eiplane/odd_name_0_/ei")
    assert (odd.step, odd.value) == (7, 0.5)
    again = loggers.mlflow(log.run_id, tracking_uri=tmp_path / "runs")
    again.log({"eiplane/0/ei": 1.0}, 99)
    assert len(log.client.get_metric_history(log.run_id, "eiplane/0/ei")) == 1
    (file,) = (tmp_path / "runs").rglob("metrics/eiplane/0/ei_parts")
    assert [int(line.split()[2]) for line in file.read_text().splitlines()] == [0, 10, 20]


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_what_is_not_installed_is_said(name, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, name, None)
    with pytest.raises(ImportError, match=rf"this needs {name}, .*pip install"):
        getattr(loggers, name)()
