"""The command line on good input."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

import eiplane


def run(*arguments, environment=None):
    return subprocess.run(
        [sys.executable, "-m", "eiplane", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=os.environ | (environment or {}),
    )


@pytest.fixture
def file(tmp_path, generator):
    path = tmp_path / "w.npz"
    np.savez(path, **{"fc1.weight": generator.normal(size=(3, 4)), "fc1.bias": np.ones(3)})
    return path


def test_table_json_csv(file):
    options = ("analyze", file, "--activation", "tanh", "--measures", "degeneracy", "--bins", "8,4",
               "--in-range", "0,1")  # fmt: skip
    table, text, rows = (run(*options, "--format", f) for f in ("table", "json", "csv"))
    for result in (table, text, rows):
        assert result.returncode == 0, result.stderr
        assert result.stderr == ""
    decoded = json.loads(text.stdout)
    assert decoded["units"] == "bits"
    layer = decoded["layers"][0]
    assert layer["name"] == "fc1"
    assert (layer["in_bins"], layer["out_bins"]) == (8, 4)
    assert np.shape(layer["ei_edges"]) == (3, 4)
    row = next(csv.DictReader(io.StringIO(rows.stdout)))
    assert float(row["ei_parts"]) == layer["ei_parts"]
    assert f"{layer['ei_parts']:.4g}" in table.stdout
    with np.load(file) as weights:
        pair = (weights["fc1.weight"], weights["fc1.bias"])
    same = eiplane.analyze([pair], "tanh", bins=(8, 4), measures="degeneracy")
    assert same[0].ei_parts == layer["ei_parts"]


def test_an_output_without_arrows(file):
    options = ("analyze", file, "--activation", "tanh", "--samples", "1000")
    plain = run(*options, environment={"PYTHONIOENCODING": "ascii"})
    assert plain.returncode == 0, plain.stderr
    whole = run(*options, environment={"PYTHONIOENCODING": "utf-8"})
    assert "4→3" in whole.stdout

    def words(text):
        return [word for word in text.split() if set(word) != {"-"}]

    assert words(plain.stdout) == words(whole.stdout.replace("→", "->").replace("±", "+-"))
    head, _, first = plain.stdout.splitlines()[:3]
    assert head.index("activation") == first.index("tanh")


def test_save_and_plot(file, tmp_path):
    saved, drawn = tmp_path / "d.npz", tmp_path / "plane.png"
    result = run(
        "analyze",
        file,
        "--activation",
        "relu",
        "--measures",
        "degeneracy",
        "--save",
        saved,
        "--plot",
        drawn,
    )
    assert result.returncode == 0, result.stderr
    assert eiplane.load(saved)[0].name == "fc1"
    assert drawn.read_bytes().startswith(b"\x89PNG")


def test_info():
    result = run("info")
    assert result.returncode == 0
    assert "eiplane" in result.stdout
    assert re.search(r"in use +\w+", result.stdout)
    plain = run("info", environment={"EIPLANE_CPU": "baseline", "EIPLANE_THREADS": "3"})
    assert re.search(r"in use +baseline", plain.stdout)
    assert re.search(r"threads +3", plain.stdout)
    assert run("--version").stdout.startswith("eiplane ")


def test_unknown_instruction_set_is_said_at_import():
    result = run("info", environment={"EIPLANE_CPU": "mmx"})
    assert result.returncode == 1
    assert "EIPLANE_CPU" in result.stderr
    assert "Traceback" not in result.stderr


def test_help_of_every_command():
    top = run("--help")
    for command in re.findall(r"^ {4}(\w+) ", top.stdout, flags=re.M):
        result = run(command, "--help")
        assert result.returncode == 0
        assert "usage: eiplane" in result.stdout
