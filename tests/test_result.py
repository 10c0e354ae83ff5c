"""Results: printing, files, data frames."""

from __future__ import annotations

import io
import json
import re
import sys

import numpy as np
import pytest

import eiplane
from eiplane.results import TABLE


@pytest.fixture(scope="module")
def result():
    weights = np.random.default_rng(3).normal(size=(2, 3, 3))
    return eiplane.analyze(list(weights), method="sample", samples=2000)


def test_is_a_sequence(result):
    assert len(result) == 2
    assert result[-1] is result["1"] is result.layers[1]
    assert [layer.name for layer in result] == ["0", "1"]
    assert result[:1] == result.layers[:1]
    with pytest.raises(KeyError, match="no layer 'x'; there are '0', '1'"):
        result["x"]
    with pytest.raises(IndexError):
        result[2]


def test_what_follows(result):
    for layer in result:
        assert layer.ei_parts == pytest.approx(layer.ei_edges.sum(), rel=1e-14)
        assert layer.sensitivity == pytest.approx(layer.sensitivity_edges.sum(), rel=1e-14)
        assert layer.degeneracy == layer.sensitivity - layer.ei_parts
        assert np.array_equal(layer.degeneracy_edges, layer.sensitivity_edges - layer.ei_edges)
        assert layer.ei_parts_plugin == pytest.approx(layer.ei_edges_plugin.sum(), rel=1e-14)
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


# -- without edges

_W = list(np.random.default_rng(3).normal(size=(2, 3, 3)))


def _module_part():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 1, 2), torch.nn.ReLU(), torch.nn.MaxPool2d(2))
    return net, {"spans": [("0", "2")], "input_size": (1, 1, 3, 3), "out_range": {"2": (0, 2)},
                 "measures": "bounds", "samples": 500}  # fmt: skip


@pytest.mark.filterwarnings("ignore::eiplane.SaturationWarning")  # of the plug-in's few samples
@pytest.mark.parametrize(
    "given",
    [
        lambda: (_W, {"samples": 500}),
        lambda: (_W, {"method": "sample", "samples": 500, "spans": "all"}),
        lambda: (_W, {"estimator": "plugin", "samples": 500}),
        lambda: (_W[:1], {"noise": 0.3, "measures": ("sensitivity", "bounds")}),
        _module_part,
    ],
    ids=["exact", "sampled", "plugin", "noise", "part"],
)
def test_without_edges_all_else_is_the_same(given, tmp_path):
    weights, options = given()
    activation = "relu" if isinstance(weights, list) else None
    full = eiplane.analyze(weights, activation, **options)
    light = eiplane.analyze(weights, activation, **options, edges=False)
    assert light.to_dict(edges=False) == full.to_dict(edges=False)
    assert str(light) == str(full)
    for layer, whole in zip(light, full, strict=True):
        assert whole.ei_edges is not None or whole.sensitivity_edges is not None
        for row in (q for q in TABLE if q.per == "edge"):
            assert getattr(layer, row.name) is None
        assert layer.ei_parts_plugin == whole.ei_parts_plugin
        assert layer.sensitivity_stderr == whole.sensitivity_stderr
        assert layer.phi_bounds == whole.phi_bounds
        assert layer.without_edges().to_dict() == layer.to_dict() == whole.without_edges().to_dict()
    path = tmp_path / "d.npz"
    light.save(path)
    back = eiplane.load(path)
    assert back.to_json() == light.to_json()
    assert back[0].pairwise_ei == light[0].pairwise_ei
    assert back[0].phi_bounds == light[0].phi_bounds
    for page in (light.to_html(), light._repr_html_(), light[0]._repr_html_()):
        assert light[0].name in page
    if light[0].sensitivity is not None:
        light.plot()


def test_a_version_that_knows_no_results_without_edges_says_so(tmp_path):
    formats = {}
    for edges in (True, False):
        eiplane.analyze(_W, "relu", measures="ei_parts", edges=edges).save(tmp_path / "d.npz")
        with np.load(tmp_path / "d.npz") as file:
            formats[edges] = json.loads(str(file["header"]))["format"]
    assert formats == {True: 1, False: 2}


def test_edges_is_yes_or_no():
    with pytest.raises(TypeError, match="edges must be True or False, got 'all'"):
        eiplane.analyze(_W, edges="all")
    with pytest.raises(TypeError, match="takes no edges: they are what is removed"):
        eiplane.ablate(_W, evaluate=lambda w: 0.0, edges=False)
