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
from eiplane.cli.main import main
from eiplane.cli.wording import spoken


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


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["analyse", "w.npz"], "'analyse' (did you mean 'analyze'?)"),
        (["--versoin"], "no such option: --versoin (did you mean '--version'?)"),
        (["analyze", "w.npz", "--activaton", "relu"], "analyze: no such option: --activaton (d"),
        (["analyze", "w.npz", "--bins=8", "more"], "eiplane analyze: unexpected more"),
        (["analyze", "w.npz", "--format", "cvs"], "'cvs' (did you mean 'csv'?)"),
        (["reproduce", "iriss"], "'iriss' (did you mean 'iris'?)"),
        (["plot", "run.jsonl"], "required: OUT.png"),
    ],
)
def test_slips_of_the_pen(arguments, said, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert re.search(r"\(try eiplane.* --help\)$", line)


def test_without_a_command_there_is_help(capsys):
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2
    shown = capsys.readouterr().err
    assert re.search(r"^commands:$", shown, re.M)
    for name in ("analyze", "completion", "reproduce"):
        assert re.search(rf"^    {name} +\w", shown, re.M)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["analyze", "ww.npz"], "ww.npz: no such file or directory (did you mean 'w.npz'?)"),
        (["analyze", "no/w.npz"], "no/w.npz: no such file or directory: there is no folder no"),
        (["analyze", "w.npz"], "pass --activation relu or another"),
        (["analyze", "w.npz", "--activation", "rleu"], "(did you mean 'relu'?); known: abs"),
        (["analyze", "w.npz", "--activation=relu", "--measures=phy"], "mean 'phi'?); choose"),
        (["analyze", "w.npz", "--input-size=3"], "--input-size and --data are for torch"),
        (["report", "w.npz", "page.png"], "page.png: its name must end in .html, .htm"),
        (["plot", "w.npz", "page.png"], "w.npz is no file of a tracked run"),
    ],
)
def test_what_went_wrong_is_said_in_its_own_words(arguments, said, file, capsys, monkeypatch):
    monkeypatch.chdir(file.parent)
    assert main(arguments) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


@pytest.mark.parametrize(
    "arguments",
    [
        ["analyze", "w.npz", "--activation", "relu", "--save", "no/out.npz"],
        ["analyze", "w.npz", "--activation", "relu", "--plot", "no/out.png"],
        ["analyze", "w.npz", "--activation", "relu", "--plot", "out.odd"],
        ["report", "w.npz", "no/out.html"],
        ["tpm", "w.npz", "--plot", "out.odd"],
        ["plot", "run.jsonl", "out.odd"],
        ["demo", "--out", "no/out.png"],
    ],
)
def test_where_nothing_can_be_written_is_said_at_once(arguments, file, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(file.parent)
    monkeypatch.setattr("eiplane.cli.analyze.analyze", None)  # nothing is measured
    assert main(arguments) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search("there is no folder no|its name must end in .png, .pdf, .svg", line)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("give it with in_range=(lo, hi), or", "give it with --in-range LO,HI, or"),
        ("with in_range={'a b': (lo, hi)} for", "with --in-range 'a b=LO,HI' for"),
        ("method='exact' takes", "--method exact takes"),
        ("leave outliers= out", "leave --outliers out"),
        ("strict=True fails", "--strict fails"),
        ("the words of bins are its own", "the words of bins are its own"),
    ],
)
def test_the_command_line_speaks_of_its_options(message, said):
    assert spoken(message) == said
