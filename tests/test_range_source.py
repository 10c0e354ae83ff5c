"""Where each layer's input range comes from, and who is told."""

from __future__ import annotations

import inspect
import json
import warnings
from dataclasses import replace

import numpy as np
import pytest
from made_up import layer

import eiplane
from eiplane import AssumedRangeWarning
from eiplane.report import write_report
from eiplane.results import Decomposition, LayerResult
from eiplane.training import History, Record

FAST = {"measures": "sensitivity", "method": "sample", "samples": 100}


def sources(decomposition):
    return {x.name: x.range_source for x in decomposition}


def analyze_quietly(*args, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return eiplane.analyze(*args, **options, **FAST)


def test_arrays_in_a_chain():
    d = analyze_quietly([np.eye(2)] * 3, ["tanh", "relu", "sigmoid"], spans="all")
    assert sources(d) == {
        "0": "given", "1": "activation", "2": "activation", "0..1": "given", "0..2": "given",
        "1..2": "activation",
    }  # fmt: skip
    d = analyze_quietly([np.eye(2)] * 2, "relu", in_range={"1": (-3, 3)})
    assert sources(d) == {"0": "given", "1": "given"}


def test_a_file_of_weights_says_nothing_unless_the_user_does():
    weights = {"a.weight": np.eye(2), "b.weight": np.eye(2), "c.weight": np.eye(3)}
    line = inspect.currentframe().f_lineno + 2
    with pytest.warns(AssumedRangeWarning) as caught:
        d = eiplane.analyze(weights, "relu", **FAST)
    assert sources(d) == dict.fromkeys("abc", "assumed")
    (one,) = caught
    assert (one.filename, one.lineno) == (__file__, line)
    text = str(one.message)
    for part in ("3 layers", "[0, 1]", "a, b, c", "in_range={'a': (lo, hi)}", "ranges='data'"):
        assert part in text
    # the default by another name is the user's word
    assert sources(analyze_quietly(weights, "relu", in_range=(0, 1))) == dict.fromkeys(
        "abc", "given"
    )
    with pytest.warns(AssumedRangeWarning, match="of 2 layers"):
        d = eiplane.analyze(weights, "relu", in_range={"b": (0, 2)}, **FAST)
    assert sources(d) == {"a": "assumed", "b": "given", "c": "assumed"}
    with pytest.warns(AssumedRangeWarning, match="of 1 layer is"):
        eiplane.analyze(weights, "relu", layers="c", **FAST)
    d = analyze_quietly(weights, "relu", layers="c", in_range={"c": (0, 2)})
    assert sources(d) == {"c": "given"}


@pytest.fixture
def mixed():
    names = ("given", "activation", "interval", "norm", "data", "assumed")
    made = (replace(layer(name, 1.0, 2.0), range_source=name, in_range=(-0.5, 4)) for name in names)
    return Decomposition(tuple(made))


def test_the_table_tells_where_there_is_something_to_tell(mixed):
    headings, rows = mixed.table()
    assert headings[4] == "inputs"
    assert [row[4] for row in rows] == [
        "[-0.5, 4] given", "[-0.5, 4] activation", "[-0.5, 4] interval", "[-0.5, 4] norm",
        "[-0.5, 4] data", "[-0.5, 4] assumed*",
    ]  # fmt: skip
    lines = str(mixed).splitlines()
    assert lines[-1].startswith("* assumed")
    assert sum("*" in line for line in lines) == 2
    assert lines[0].index("inputs") == lines[2].index("[-0.5")
    html = mixed._repr_html_()
    assert '<th scope="col">inputs</th>' in html
    assert ">[-0.5, 4] assumed*</td>" in html
    assert "<p>* assumed" in html
    assert "* assumed" in str(mixed[-1])
    assert "*" not in str(Decomposition(mixed[2:5]))


def test_the_table_of_plain_arrays_has_no_word_of_it(mixed):
    plain = Decomposition(mixed[:2])
    assert "inputs" not in plain.table()[0]
    assert "*" not in str(plain) + plain._repr_html_()
    before = tuple(replace(x, range_source=None) for x in plain)
    assert str(Decomposition(before)) == str(plain)


def test_it_is_kept(mixed, tmp_path):
    mixed.save(tmp_path / "d.npz")
    assert sources(eiplane.load(tmp_path / "d.npz")) == sources(mixed)
    assert [x["range_source"] for x in json.loads(mixed.to_json())["layers"]] == list(
        sources(mixed)
    )
    assert mixed.to_dataframe()["range_source"].tolist() == list(sources(mixed))


def test_files_of_older_versions_have_none(mixed, tmp_path):
    mixed.save(tmp_path / "d.npz")
    with np.load(tmp_path / "d.npz") as file:
        arrays = dict(file)
    header = json.loads(str(arrays["header"]))
    for packed in header["layers"]:
        del packed["range_source"]
    np.savez(tmp_path / "old.npz", **(arrays | {"header": np.array(json.dumps(header))}))
    old = eiplane.load(tmp_path / "old.npz")
    assert [x.range_source for x in old] == [None] * 6
    assert "range_source" not in old[0].to_dict()
    assert "inputs" not in old.table()[0]


def test_a_result_s_own_fields_have_it():
    (result,) = analyze_quietly(np.eye(2))
    assert isinstance(result, LayerResult)
    assert result.range_source == "given"


def page_data(source, path):
    text = write_report(source, path).read_text()
    start = text.index('id="data">') + len('id="data">')
    return json.loads(text[start : text.index("</script>", start)])


def test_the_report_tells_it(mixed, tmp_path):
    data = page_data([Decomposition(mixed[:2]), mixed], tmp_path / "r.html")
    assert data["tells_inputs"]
    assert data["legend"].startswith("* assumed")
    assert [x["inputs"] for x in data["sources"][0]["layers"]] == [
        ["[-0.5, 4] given"] * 2, ["[-0.5, 4] activation"] * 2, ["", "[-0.5, 4] interval"],
        ["", "[-0.5, 4] norm"], ["", "[-0.5, 4] data"], ["", "[-0.5, 4] assumed*"],
    ]  # fmt: skip
    data = page_data(Decomposition(mixed[:2]), tmp_path / "plain.html")
    assert not data["tells_inputs"]
    assert not data["legend"]


def test_records_without_it_can_be_reported(mixed, tmp_path):
    record = Record.of(0, mixed)
    old = [{k: v for k, v in x.items() if k != "range_source"} for x in record.layers]
    data = page_data(History([Record(0, tuple(old))]), tmp_path / "r.html")
    assert not data["tells_inputs"]
    assert data["sources"][0]["layers"][0]["inputs"] == ["[-0.5, 4]"]


def test_the_command_line_warns_in_a_line(tmp_path, capsys):
    from eiplane.cli import main

    np.savez(tmp_path / "w.npz", a=np.eye(2), b=np.eye(2))
    command = ["analyze", str(tmp_path / "w.npz"), "--activation", "relu", "--method", "sample",
               "--samples", "100", "--measures", "sensitivity"]  # fmt: skip
    assert main(command) == 0
    out, err = capsys.readouterr()
    assert "assumed*" in out
    assert err.startswith("eiplane: warning: nothing says where")
    assert err.count("\n") == 1
    assert main([*command, "--in-range", "0,1"]) == 0
    out, err = capsys.readouterr()
    assert "assumed" not in out
    assert not err
