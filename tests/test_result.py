"""Results: printing, files, data frames."""

from __future__ import annotations

import io
import json
import re
import sys

import numpy as np
import pytest

import eiplane


@pytest.fixture(scope="module")
def result():
    weights = np.random.default_rng(3).normal(size=(2, 3, 3))
    return eiplane.analyze(list(weights), method="sample", samples=2000)


def test_is_a_sequence(result):
    assert len(result) == 2
    assert result[-1] is result["1"] is result.layers[1]
    assert [layer.name for layer in result] == ["0", "1"]
    assert result[:1] == result.layers[:1]
    with pytest.raises(KeyError, match="no layer 'x'; there are 0, 1"):
        result["x"]
    with pytest.raises(IndexError):
        result[2]


def test_what_follows(result):
    for layer in result:
        assert layer.ei_parts == layer.ei_edges.sum()
        assert layer.sensitivity == layer.sensitivity_edges.sum()
        assert layer.degeneracy == layer.sensitivity - layer.ei_parts
        assert np.array_equal(layer.degeneracy_edges, layer.sensitivity_edges - layer.ei_edges)
        assert layer.ei_parts_plugin == layer.ei_edges_plugin.sum()
        assert layer.ei_edges.shape == layer.ei_edges_stderr.shape == (3, 3)
        assert layer.method == "sample"
        assert layer.samples == 2000


def test_absent_is_none_not_zero():
    layer = eiplane.analyze(np.eye(2), measures="sensitivity")[0]
    assert (
        layer.ei is layer.phi is layer.ei_parts is layer.degeneracy is layer.output_entropy is None
    )
    assert "ei_parts" not in layer.to_dict()


def test_frozen(result):
    with pytest.raises(AttributeError):
        result[0].name = "other"
    with pytest.raises(AttributeError):
        result.layers = ()


def test_table(result):
    lines = str(result).splitlines()
    assert lines[0].split()[:4] == ["layer", "shape", "activation", "method"]
    assert len(lines) == 4
    value, error = re.search(r"(\d+\.\d+) ± (0\.0*\d)\b", lines[2]).groups()
    assert float(value) == pytest.approx(
        result[0].sensitivity, abs=10.0 ** -len(value.split(".")[1])
    )
    assert float(error) == pytest.approx(result[0].sensitivity_stderr, rel=0.5)
    html = result._repr_html_()
    assert html.count("<tr>") == 3
    assert f"{value} ± {error}" in html


def test_html_is_escaped():
    layer = eiplane.Layer(np.eye(2), name="<script>")
    html = eiplane.analyze(layer, measures="sensitivity")._repr_html_()
    assert "<script>" not in html


def same(a, b):
    assert a.settings == b.settings
    assert a.skipped == b.skipped
    assert json.dumps(a.to_dict()) == json.dumps(b.to_dict())


def test_save_and_load(result, tmp_path):
    path = tmp_path / "d.npz"
    result.save(path)
    again = eiplane.load(path)
    same(result, again)
    assert again[0].ei_edges.dtype == np.float64
    assert [p.name for p in tmp_path.iterdir()] == ["d.npz"]


def test_json(result, tmp_path):
    path = tmp_path / "d.json"
    text = result.to_json(path)
    assert path.read_text() == text
    decoded = json.loads(text)
    assert decoded["layers"][0]["ei_parts"] == result[0].ei_parts
    assert np.array_equal(decoded["layers"][1]["ei_edges"], result[1].ei_edges)
    assert "ei_edges" not in json.loads(result.to_json(edges=False))["layers"][0]


def test_data_frame(result):
    frame = result.to_dataframe()
    assert list(frame.index) == ["0", "1"]
    assert frame.loc["1", "ei_parts"] == result[1].ei_parts


def test_failed_write_leaves_what_was_there(result, tmp_path, monkeypatch):
    path = tmp_path / "d.npz"
    path.write_bytes(b"before")

    def fail(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.raises(OSError, match="disk full"):
        result.save(path)
    assert path.read_bytes() == b"before"
    assert [p.name for p in tmp_path.iterdir()] == ["d.npz"]


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 cut short"])
def test_load_of_something_else(tmp_path, content):
    path = tmp_path / "d.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"d\.npz is not a decomposition"):
        eiplane.load(path)
    np.savez(path, a=np.ones(3))
    with pytest.raises(ValueError, match=r"d\.npz is not a decomposition"):
        eiplane.load(path)
    with pytest.raises(OSError, match="none"):
        eiplane.load(tmp_path / "none.npz")


def test_load_of_a_cut_file(result, tmp_path):
    path = tmp_path / "d.npz"
    result.save(path)
    whole = path.read_bytes()
    for length in range(0, len(whole) - 1, max(1, len(whole) // 40)):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="not a decomposition"):
            eiplane.load(path)


@pytest.mark.parametrize(
    ("encoding", "shape"), [("utf-8", "3→2"), ("cp1252", "3->2"), ("ascii", "3->2"), (None, "3→2")]
)
def test_print_never_fails_for_want_of_a_sign(monkeypatch, encoding, shape):
    layer = eiplane.Layer(np.ones((2, 3)), np.zeros(2), "tanh", name="größe 大")
    d = eiplane.analyze([layer], samples=1000)
    raw = io.BytesIO()
    kind = io.StringIO() if encoding is None else io.TextIOWrapper(raw, encoding=encoding)
    monkeypatch.setattr(sys, "stdout", kind)
    print(d)
    print(d[0])
    kind.flush()
    shown = kind.getvalue() if encoding is None else raw.getvalue().decode(encoding)
    assert shown.count(shape) == 2
    assert ("大" in shown) == (encoding in ("utf-8", None))
    assert "gr" in shown
