"""The report: its parts against NumPy and the results, and what is written."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from made_up import decomposition, layer, run

import eiplane
from eiplane.cli import main
from eiplane.cli.report import names_of
from eiplane.files import Appender
from eiplane.report import write_report
from eiplane.report.edges import edges_of, extremes, greatest
from eiplane.report.groups import grouped
from eiplane.report.heat import heat_map
from eiplane.results import (
    Change,
    Decomposition,
    Skipped,
    change_of,
    html_edges,
    matched,
)
from eiplane.training import History

VOID = {"meta", "link", "img", "input", "br"}


class Page(HTMLParser):
    """Elements with their attributes and text; every one that opens is closed."""

    def __init__(self, text):
        super().__init__()
        self.text, self.open, self.seen, self.tables = text, [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.seen.append([tag, dict(attrs), ""])
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")
        if tag not in VOID:
            self.open.append((tag, len(self.seen) - 1))

    def handle_startendtag(self, tag, attrs):
        self.seen.append([tag, dict(attrs), ""])

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        for _, i in self.open:
            self.seen[i][2] += data
        if any(tag in ("td", "th") for tag, _ in self.open):
            self.tables[-1][-1][-1] += data

    def all(self, tag, **wanted):
        return [
            (attrs, text)
            for name, attrs, text in self.seen
            if name == tag and all(attrs.get(k) == v for k, v in wanted.items())
        ]

    def one(self, tag, **wanted):
        (found,) = self.all(tag, **wanted)
        return found

    @property
    def data(self):
        return json.loads(self.one("script", id="data")[1])

    def table(self, caption):
        """The rows of the table with this caption, by their headings."""
        captions = [text for _, text in self.all("caption")]
        head, *rows = self.tables[[c.startswith(caption) for c in captions].index(True)]
        return [dict(zip([h.strip() for h in head], row, strict=True)) for row in rows]


def page_of(source, path, **options):
    return Page(write_report(source, path / "page.html", **options).read_text())


@pytest.fixture
def network(generator):
    layers = [
        eiplane.Layer(generator.normal(size=(5, 4)), name="fc1", activation="tanh"),
        eiplane.Layer(generator.normal(size=(3, 5)), name="fc2", activation="relu"),
    ]
    return eiplane.analyze(layers, measures=("sensitivity", "ei_parts", "ei"), samples=2000)


# ---- what the page says --------------------------------------------------------------------------


def test_the_table_has_every_number_with_its_error(network, tmp_path):
    page = page_of(network, tmp_path)
    rows = page.table("Layers, bits")
    assert [row["layer"] for row in rows] == ["fc1", "fc2"]
    for row, found in zip(rows, network, strict=True):
        shown, error = row["EI"].split(" ± ")
        assert float(shown) == pytest.approx(found.ei, abs=10 * float(error))
        assert float(error) == pytest.approx(found.ei_stderr, rel=0.6)
        assert row["EI_parts"] == f"{found.ei_parts:.4g}"
        assert row["sensitivity"] == f"{found.sensitivity:.4g}"
        assert row["shape"] == f"{found.n_in}→{found.n_out}"
        low, high = found.in_range
        assert row["inputs"] == f"[{low:.4g}, {high:.4g}] {found.range_source}"


def test_bounds_are_bounds_and_nothing_is_a_dash(tmp_path):
    known = layer("known", 1.0, 2.0)
    joint = replace(known.joint, ei=None, ei_stderr=None, ei_bounds=(0.25, 3.0),
                    output_entropy=None, output_entropy_stderr=None, saturated=True)  # fmt: skip
    bare = replace(known, name="bare", joint=None, pairwise_sensitivity=None)
    d = Decomposition((known, replace(known, name="open", joint=joint), bare))
    page = page_of(d, tmp_path)
    rows = {row["layer"]: row for row in page.table("Layers, bits")}
    assert rows["open"]["EI"] == "between 0.25 and 3"
    assert (rows["bare"]["EI"], rows["bare"]["sensitivity"]) == ("-", "-")
    cells = {text: attrs for attrs, text in page.all("td")}
    assert float(cells["1.25 ± 0.01"]["data-v"]) == known.ei
    assert "data-v" not in cells["between 0.25 and 3"]
    assert float(cells["between 0.25 and 3"]["data-m"]) == 1.625
    assert not {"data-v", "data-m"} & set(cells["-"])
    data = page.data["sources"][0]["layers"]
    assert data[1]["values"]["ei"] == [None]
    assert [b[0] for b in data[1]["bounds"]["ei"]] == [0.25, 3.0]
    assert data[2]["texts"]["ei"] == [""]
    assert "EI of whole layers: 1 known with a standard error, 1 known between bounds alone, " in (
        page.text
    )


def test_what_was_not_analysed_and_where_ranges_come_from(tmp_path):
    rows = [replace(layer(n, 1.0, 2.0), range_source=s) for n, s in
            (("a", "assumed"), ("b", "norm"), ("c", "assumed"), ("d", None))]  # fmt: skip
    skipped = [Skipped("emb.0", "a <table>"), Skipped("emb.1", "a <table>"), Skipped("x", "why")]
    page = page_of(Decomposition(tuple(rows), tuple(skipped)), tmp_path)
    reasons = [text for _, text in page.all("dt")]
    assert "a <table> (2)" in reasons and "why (1)" in reasons
    assert "emb.0, emb.1" in [text for _, text in page.all("dd")]
    sources = {r["source"]: (r["layers"], r["which"]) for r in page.table("Where the ranges")}
    assert sources["assumed*"] == ("2", "a, c")
    assert sources["norm"] == ("1", "b") and sources["unknown"] == ("1", "d")
    assert "* assumed: nothing says where these inputs live" in page.text


def test_settings_seed_and_version_are_there(network, tmp_path):
    page = page_of(network, tmp_path)
    rows = {row["option"]: row["value"] for row in page.table("Settings, eiplane")}
    assert rows["rng"] == "0" and rows["bins"] == "8, 8" and rows["samples"] == "2000"
    assert rows["tol"] == "not set"
    assert f"eiplane {eiplane.__version__}" in page.text


@pytest.mark.parametrize(
    "name",
    ["</script><script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "@DATA@", "&lt"],
)
def test_names_are_text_not_markup(name, tmp_path):
    d = decomposition((1.0, 2.0), (1.5, 4.0))
    evil = replace(d[0], name=name)
    d = Decomposition((evil, d[1]), (Skipped(name, name),), {name: name})
    for source in (d, {name: d, "b": decomposition((1.0, 2.0))}, History([*run()], name)):
        page = page_of(source, tmp_path, title=name)
        assert page.one("h1")[1] == name
        assert len(page.all("script")) == 2
        assert not [a for a, _ in page.all("img") if not a["src"].startswith("data:image/png")]
        assert not [a for _, a, _ in page.seen if any(k.startswith("on") for k in a)]
        if not isinstance(source, History):
            assert page.data["layers"][0]["name"] == name
            assert name in [text for _, text in page.all("a")]


def test_nothing_is_asked_for_and_only_the_page_s_own_script_may_run(network, tmp_path):
    page = page_of({"a": network, "b": network}, tmp_path)
    links = [a[k] for _, a, _ in page.seen for k in ("href", "src", "action") if k in a]
    assert all(link.startswith(("#", "data:")) for link in links)
    assert "http" not in re.sub(r"http-equiv|http://www.w3.org/2000/svg", "", page.text)
    policy = page.all("meta")[3][0]["content"]
    script = [text for attrs, text in page.all("script") if "id" not in attrs]
    digest = base64.b64encode(hashlib.sha256(script[0].encode()).digest()).decode()
    assert policy.startswith("default-src 'none';") and f"script-src 'sha256-{digest}'" in policy
    ids = [a["id"] for _, a, _ in page.seen if "id" in a]
    assert len(ids) == len(set(ids))
    assert all(link[1:] in ids for link in links if link.startswith("#"))


def test_the_page_can_be_used_without_eyes_or_mouse(network, tmp_path):
    page = page_of({"a": network, "b": network}, tmp_path)
    assert page.one("html")[0]["lang"] == "en"
    assert page.all("a")[0][0] == {"class": "skip", "href": "#main"}
    headings = [a for a, _ in page.all("th") if "aria-sort" in a]
    assert headings and all(a["scope"] == "col" for a in headings)
    assert len(page.all("caption")) == len(page.all("table"))
    assert all(a.get("alt") for a, _ in page.all("img"))
    assert all(a.get("aria-label") or a.get("aria-hidden") for a, _ in page.all("svg"))
    named = {a["id"] for a, _ in page.all("h2")}
    assert {a["aria-labelledby"] for a, _ in page.all("section") if "id" in a} == named
    # Every control stands in a label, or has one.
    for tag in ("input", "select"):
        for attrs, _ in page.all(tag):
            inside = re.search(rf'<label[^>]*>(?:(?!</label>).)*id="{attrs["id"]}"', page.text)
            assert inside or attrs.get("aria-label"), attrs


def test_one_page_for_one_result(network, tmp_path):
    first = write_report(network, tmp_path / "a.html", title="t").read_bytes()
    assert write_report(network, tmp_path / "b.html", title="t").read_bytes() == first
    assert network.to_html(tmp_path / "c.html", title="t").encode() == first
    assert (tmp_path / "c.html").read_bytes() == first
    assert "<details id" not in network.to_html(edges=False)
    with pytest.raises(OSError, match="none"):
        network.to_html(tmp_path / "none" / "d.html")
    with pytest.raises(ValueError, match="no record"):
        write_report(History([]), tmp_path / "empty.html")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.html", "b.html", "c.html"]


# ---- edges and nodes -----------------------------------------------------------------------------


def pixels(figure):
    image = pytest.importorskip("PIL.Image")
    data = base64.b64decode(re.search(r"base64,([^\"]+)", figure)[1])
    return np.asarray(image.open(io.BytesIO(data)).convert("RGBA")).astype(int)


@pytest.mark.parametrize("shape", [(7, 9), (100, 33), (65, 130)])
@pytest.mark.parametrize("signed", [False, True])
def test_a_heat_map_is_the_means_of_its_blocks(shape, signed, generator):
    matrix = generator.gamma(0.3, size=shape) - (0.3 if signed else 0.0)
    seen = pixels(heat_map(matrix, "EI", 32, signed=signed))
    steps = [-(-n // 32) for n in shape]
    means = np.array([
        [matrix[i : i + steps[0], j : j + steps[1]].mean() for j in range(0, shape[1], steps[1])]
        for i in range(0, shape[0], steps[0])
    ])  # fmt: skip
    assert seen.shape[:2] == means.shape
    share = np.abs(means) / (np.abs(means).max() if signed else means.max())
    share[means < 0] *= signed
    np.testing.assert_allclose(seen[..., 3] / 255, np.sqrt(share), atol=0.5 / 40 + 0.5 / 255)
    strong = share > 0.01
    assert ((seen[..., 2] > seen[..., 0]) == (means > 0))[strong].all()  # blue is above zero


def test_nothing_at_all_is_an_empty_map():
    assert (pixels(heat_map(np.zeros((3, 4)), "EI", 8))[..., 3] == 0).all()


def test_the_strongest_and_the_deadest_are_those_that_sorting_finds(generator):
    wide = layer("a", 1.0, 2.0, shape=(30, 40))
    values = generator.gamma(0.5, size=(30, 40))
    values[3, 5] = values[20, 0] = 0.0
    wide = replace(wide, pairwise_ei=replace(wide.pairwise_ei, edges=values))
    page = Page(extremes(wide, edges_of(wide)))
    edges, outputs, inputs = page.tables

    def names(table):
        rows = [row[0] for row in table[1:]]
        return [rows[1:6], rows[7:]]

    def sorted_names(numbers, call):
        order = sorted(range(len(numbers)), key=lambda i: numbers[i])
        return [[call(i) for i in order[::-1][:5]], [call(i) for i in order[:5]]]

    expected = sorted_names(values.ravel(), lambda i: f"{i % 40} → {i // 40}")
    assert names(edges)[0] == expected[0]
    assert names(edges)[1][:2] == ["5 → 3", "0 → 20"]  # as they stand in the weight
    assert names(edges)[1][2:] == expected[1][2:]
    assert names(outputs) == sorted_names(values.sum(axis=1), str)
    assert names(inputs) == sorted_names(values.sum(axis=0), str)
    assert "2 of 1,200 edges cannot be told from 0" in page.text
    assert edges[8][1] == "at most 1e-12"


@pytest.mark.parametrize("count", [1, 4, 30, 60])
def test_of_equal_ones_the_first_are_the_greatest(count, generator):
    values = generator.integers(0, 4, size=60).astype(float)  # as pruning leaves them
    expected = sorted(range(60), key=lambda i: (-values[i], i))[:count]
    assert greatest(values, count).tolist() == expected


def test_sampled_edges_have_their_errors(generator):
    few = layer("a", 1.0, 2.0, shape=(3, 2))
    values, errors = np.arange(6.0).reshape(3, 2), np.full((3, 2), 0.25)
    part = replace(few.pairwise_ei, edges=values, edges_stderr=errors, method="sample",
                   stderr=0.1, error_bound=None)  # fmt: skip
    few = replace(few, pairwise_ei=part)
    page = Page(extremes(few, edges_of(few)))
    rows = {row[0]: row[1] for row in page.tables[0][2:]}
    assert rows["1 → 2"] == "5.0 ± 0.2" or rows["1 → 2"] == "5.0 ± 0.3"
    outputs = {row[0]: row[1] for row in page.tables[1][2:]}
    assert outputs["2"] == "9.0 ± 0.5"  # the sum of two errors: no sum's error can be more
    assert "1 of 6 edges cannot be told from 0" in page.text


def test_kernels_are_called_by_their_places():
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.ReLU())
    d = eiplane.analyze(model, input_size=(2, 6, 6), measures="ei_parts")
    top = int(np.argmax(d[0].ei_edges))
    out, inner, y, x = (int(i) for i in np.unravel_index(top, d[0].ei_edges.shape))
    assert f"{inner} → {out}, at {y}, {x}" in d.to_html()


# ---- side by side --------------------------------------------------------------------------------


def test_changes_are_differences_with_their_errors(tmp_path):
    a, b = layer("fc", 1.0, 2.0), layer("fc", 1.5, 4.0)
    assert change_of(a, b, "sensitivity") == Change(2.0, 0.0)
    ei = change_of(a, b, "ei")
    assert (ei.value, ei.error) == (pytest.approx(b.ei - a.ei), pytest.approx(0.01 * 2**0.5))
    assert change_of(b, a, "ei").text == "-1.50 ± 0.01"
    assert ei.text == "+1.50 ± 0.01"
    bare = replace(a, joint=None)
    assert change_of(bare, b, "ei") == Change()
    assert change_of({"ei_parts": 1.0}, {"ei_parts": 0.5, "ei_parts_stderr": 0.0}, "ei_parts").text


@pytest.mark.parametrize("seed", range(5))
def test_bounds_of_a_change_hold_every_difference(seed):
    rng = np.random.default_rng(seed)
    ends = np.sort(rng.uniform(0, 9, size=(2, 2)), axis=1)
    layers = []
    for low, high in ends.tolist():
        known = layer("fc", 1.0, 2.0)
        joint = replace(known.joint, ei=None, ei_stderr=None, ei_bounds=(low, high))
        layers.append(replace(known, joint=joint))
    low, high = change_of(*layers, "ei").bounds
    corners = [b - a for a in ends[0] for b in ends[1]]
    assert (low, high) == (pytest.approx(min(corners)), pytest.approx(max(corners)))
    # An exact number against bounds; one with an error is no bound.
    exact = replace(
        layers[0], joint=replace(layers[0].joint, ei=2.0, ei_stderr=0.0, ei_bounds=None)
    )
    assert change_of(exact, layers[1], "ei").bounds == pytest.approx(tuple(ends[1] - 2.0))


def test_layers_are_matched_by_name_and_shape(tmp_path):
    a = Decomposition((layer("x", 1, 2), layer("y", 1, 3), layer("z", 1, 2)), (), {"bins": [8, 8]})
    b = Decomposition((layer("z", 1, 5), layer("x", 1, 2.5), layer("y", 1, 3, (5, 3)),
                       layer("w", 1, 2)), (), {"bins": [4, 4]})  # fmt: skip
    assert matched(a, b) == (["x", "z"], ["y", "w"])
    page = page_of({"before": a, "after": b}, tmp_path)
    rows = {row["layer"]: row for row in page.table("Changes against before")}
    assert list(rows) == ["x", "z"]
    assert rows["z"]["sensitivity: before"] == "2" and rows["z"]["sensitivity: after"] == "5"
    left = [text for _, text in page.all("li")]
    assert "y: 4→5 in before, 3→5 in after" in left
    assert "w: before does not have it, 4→5 in after" in left
    assert "measured with different bins" in page.one("p", **{"class": "warn"})[1]
    settings = page.one("tr", **{"class": "differs"})[1]
    assert settings == "bins8, 84, 4"


def test_of_three_networks_each_is_compared_with_the_first(tmp_path):
    a = Decomposition((layer("x", 1, 2), layer("y", 1, 3), layer("z", 1, 4)))
    b = Decomposition((layer("x", 1, 2.5, (6, 4)), layer("y", 1, 3.5)))
    c = Decomposition((layer("x", 1, 2.75), layer("w", 1, 2)))
    assert matched(a, b, c) == (["x", "y"], ["x", "y", "z", "w"])
    page = page_of({"a": a, "b": b, "c": c}, tmp_path)
    rows = {row["layer"]: row for row in page.table("Changes against a")}
    assert list(rows) == ["x", "y"]
    ends = [rows[n][f"sensitivity: change, {s}"] for n in "xy" for s in "bc"]
    assert ends == ["-", "+0.75", "+0.5", "-"]  # where shapes differ, or there is none, no number
    assert "z: 5→4" not in page.text and "z: 4→5 in a, b does not have it, c does not" in page.text
    alone = page_of({"a": a, "d": Decomposition((layer("w", 1, 2),))}, tmp_path)
    assert "No layer is there with one name and shape." in alone.text
    assert not any("Changes against" in text for _, text in alone.all("caption"))


def test_a_plug_in_s_number_from_too_few_samples_is_not_called_known(tmp_path):
    joint = replace(layer("a", 1.0, 2.0).joint, ei=0.5, ei_stderr=40.0, ei_bounds=(1.0, 3.0),
                    estimator="plugin", saturated=True)  # fmt: skip
    some = Decomposition((replace(layer("a", 1.0, 2.0), joint=joint), layer("b", 1.0, 2.0)))
    page = page_of(some, tmp_path)
    rows = {row["layer"]: row for row in page.table("Layers, bits")}
    assert rows["a (saturated)"]["EI"] == "0 ± 40 (between 1 and 3)"
    assert rows["b"]["EI"] == "1.25 ± 0.01"
    assert "EI of whole layers: 1 known with a standard error, 1 counted from too few" in page.text
    texts = page.data["sources"][0]["layers"][0]["texts"]
    assert texts["ei"] == ["0 ± 40 (between 1 and 3)"]
    assert texts["ei_parts"] == ["1"]


def test_sensitivity_that_only_counts_edges_is_told(tmp_path):
    # No bias, inputs about the baseline: the output rests on the border of two of eight bins.
    weight = 1e-3 * (1.0 + np.arange(6.0)).reshape(2, 3)
    border = eiplane.Layer(weight, name="border", activation="tanh")
    beside = eiplane.Layer(weight, np.full(2, 0.1), name="beside", activation="tanh")
    found = {
        one.name: page_of(
            eiplane.analyze([one], measures="sensitivity", in_range=(-1, 1)), tmp_path
        ).text
        for one in (border, beside)
    }
    assert "In 1 layer (border) every edge has a sensitivity of 1 bit" in found["border"]
    assert "every edge has a sensitivity" not in found["beside"]


def test_one_is_one_and_two_are_several(tmp_path):
    one = page_of(eiplane.analyze([np.eye(1)], measures=("sensitivity", "ei_parts")), tmp_path)
    assert "1 layer with 1 edge between inputs and outputs. Edges of 1 layer are" in one.text
    assert not re.search(r"\b1 (layers|edges|inputs|outputs|parts)\b", one.text)
    skipped = Decomposition((layer("a", 1, 2),), (Skipped("b", "why"),))
    assert "1 layer; 1 part was not analysed." in page_of(skipped, tmp_path).text
    titled = page_of({"a": skipped, "b": skipped, "c": skipped}, tmp_path)
    assert titled.one("h1")[1] == "a, b and c"


def test_every_quantity_that_is_shown_says_what_it_means(network, tmp_path):
    page = page_of(network, tmp_path)
    meanings = [text for _, text in page.all("dd")]
    assert len(meanings) == len(page.data["labels"]) + 4
    for text in meanings:
        assert len(text) > 20 or text == "Sensitivity less EI."
        assert "Not known where it is not known" not in text and "``" not in text


def test_changes_of_sampled_edges_have_their_errors(tmp_path):
    few = layer("a", 1.0, 2.0, shape=(3, 2))
    both = []
    for shift, error in ((0.0, 0.3), (1.0, 0.4)):
        values = shift + np.arange(6.0).reshape(3, 2)
        part = replace(few.pairwise_ei, edges=values, edges_stderr=np.full((3, 2), error),
                       method="sample", stderr=0.1, error_bound=None)  # fmt: skip
        both.append(Decomposition((replace(few, pairwise_ei=part),)))
    rows = page_of({"x": both[0], "y": both[1]}, tmp_path).table("Edges that changed most")
    assert rows[0] == {
        "input → output": "0 → 0", "x": "0.0 ± 0.3", "y": "1.0 ± 0.4", "change": "+1.0 ± 0.5",
    }  # fmt: skip
    small = both[0][0]
    text = Page(html_edges(small)).tables[0]
    assert text[3][2] == "5.0 ± 0.3" and text[1][1] == "0.0 ± 0.3"


def test_many_layers_whose_names_do_not_repeat_are_put_together(tmp_path):
    some = Decomposition(tuple(layer(f"n{i}x", 1.0, 2.0 + i) for i in range(50)))
    page = page_of(some, tmp_path)
    blocks = [text for attrs, text in page.all("summary") if "to" in text.split()[:2]]
    assert blocks == [
        "1 to 20: n0x … n19x 20 layers", "21 to 40: n20x … n39x 20 layers",
        "41 to 50: n40x … n49x 10 layers",
    ]  # fmt: skip
    assert "A row is a block" not in page.text
    assert len(page.all("details")) == 53


def test_three_models_and_runs_beside_models(tmp_path):
    three = {"a": decomposition((1, 2)), "b": decomposition((1, 3)), "c": run(steps=4, layers=1)}
    page = page_of(three, tmp_path)
    head = list(page.table("Changes against a")[0])
    assert head[head.index("sensitivity: a") :][:5] == [
        "sensitivity: a", "sensitivity: b", "sensitivity: c",
        "sensitivity: change, b", "sensitivity: change, c",
    ]  # fmt: skip
    assert [s["steps"] for s in page.data["sources"]] == [[0], [0], [0, 333, 667, 1000]]
    assert page.all("section", id="history")


def test_a_run_shows_its_last_edges_where_they_were_kept(tmp_path, generator):
    weights = [generator.normal(size=(3, 4))]
    path = tmp_path / "run.jsonl"
    with eiplane.Tracker(lambda: weights, path, edges=True, measures="ei_parts") as tracker:
        for step in range(2):
            weights[0] = (step + 1) * weights[0]
            tracker.record(step)
    known = eiplane.analyze(weights, measures="ei_parts")[0]
    top = int(np.argmax(known.ei_edges))
    for source in (tracker, path):
        page = page_of(source, tmp_path)
        edges = next(t for t in page.tables if t[0] == ["edge", "EI"])
        assert edges[2] == [f"{top % 4} → {top // 4}", f"{known.ei_edges.max():.4g}"]
        assert [a["href"] for a, _ in page.all("a") if "layer" in a["href"]] == ["#layer-0"]
    page = page_of(tracker.history, tmp_path)  # which has no matrices: nothing leads there
    assert not [a for a, _ in page.all("a") if "layer" in a["href"]]


def test_a_network_of_which_nothing_was_analysed(tmp_path):
    page = page_of(Decomposition((), (Skipped("a", "why"),)), tmp_path)
    assert "0 layers with 0 edges" in page.text
    assert "why (1)" in [text for _, text in page.all("dt")]


# ---- many layers, long runs ----------------------------------------------------------------------


def test_many_layers_go_by_block_and_role_and_stay_small(tmp_path, generator):
    names = [f"h.{b}.{part}" for b in range(25) for part in ("q", "k", "v", "out", "up")]
    rows = []
    for name in names:
        made = layer(name, 1.0, 2.0, shape=(96, 96))
        values = generator.gamma(0.5, size=(96, 96))
        rows.append(replace(made, pairwise_ei=replace(made.pairwise_ei, edges=values)))
    path = write_report(Decomposition(tuple(rows)), tmp_path / "deep.html")
    assert path.stat().st_size < 5e6
    page = Page(path.read_text())
    groups = grouped(names)
    assert {(g.role, g.block) for g in groups} == {
        (part, f"h.{b}") for b in range(25) for part in ("q", "k", "v", "out", "up")
    }
    assert len({g.color for g in groups}) > 90 and len({g.mark for g in groups}) == 5
    blocks = [text for a, text in page.all("details") if a.get("class") == "block"]
    assert len(blocks) == 25 and all("5 layers" in text for text in blocks)
    assert len(page.all("details")) == 25 + 125
    assert page.all("input", id="search")


def test_very_many_layers_side_by_side_still_fit(tmp_path, generator):
    networks = []
    for _ in range(2):
        edges = generator.gamma(0.5, size=(64, 64))
        made = layer("", 1.0, 2.0, shape=(64, 64))
        made = replace(made, pairwise_ei=replace(made.pairwise_ei, edges=edges))
        networks.append(Decomposition(tuple(replace(made, name=f"b.{i}.x") for i in range(600))))
    path = write_report({"a": networks[0], "b": networks[1]}, tmp_path / "many.html")
    assert path.stat().st_size < 5e6
    page = Page(path.read_text())
    assert len(page.table("Changes against a")) == 600
    assert len(page.all("details", **{"class": None})) == 100 + 2  # and the sources' own tables
    assert "The 500 layers that follow are in the table alone." in page.text


def test_a_long_run_is_thinned_and_keeps_its_ends(tmp_path):
    long = run(steps=1001, layers=4)
    path = write_report(long, tmp_path / "long.html")
    assert path.stat().st_size < 5e6
    (source,) = Page(path.read_text()).data["sources"]
    assert 200 < len(source["steps"]) < 700 and source["of"] == len(long)
    assert (source["steps"][0], source["steps"][-1]) == (0, 1000)
    places = [long.steps.tolist().index(s) for s in source["steps"]]
    values = long.values("fc2", "ei")[places]
    np.testing.assert_allclose(source["layers"][1]["values"]["ei"], values, rtol=1e-5)


# ---- from files ----------------------------------------------------------------------------------


def test_what_files_are_called_side_by_side():
    assert names_of(["a/m.npz", "b/n.npz"]) == ["m.npz", "n.npz"]
    assert names_of(["x/a/m.npz", "x/b/m.npz"]) == ["a/m.npz", "b/m.npz"]
    assert names_of(["m.npz", "m.npz"]) == ["m.npz", "m.npz (2)"]


def test_report_command(tmp_path, capsys, generator):
    path = tmp_path / "run.jsonl"
    with Appender(path) as file:
        file.append({"eiplane": 1, "options": {"bins": 4}})
        for record in run():
            file.append(record.to_json())
    out = tmp_path / "page.html"
    assert main(["report", str(path), str(out), "--title", "Mine"]) == 0
    page = Page(out.read_text())
    assert page.one("h1")[1] == "Mine" and page.all("input", id="slider")
    assert page.table("Settings")[0] == {"option": "bins", "run.jsonl": "4"}
    for name in ("before", "after"):
        np.savez(tmp_path / f"{name}.npz", fc=generator.normal(size=(3, 4)))
    files = [str(tmp_path / f"{name}.npz") for name in ("before", "after")]
    options = ["--activation", "tanh", "--in-range", "-1,1", "--bins", "4"]
    assert main(["report", *files, str(out), *options]) == 0
    page = Page(out.read_text())
    assert page.one("h1")[1] == "before.npz and after.npz"
    known = [eiplane.analyze(f, "tanh", in_range=(-1, 1), bins=4) for f in files]
    (row,) = page.table("Changes against before.npz")
    assert row["EI of the parts: after.npz"] == f"{known[1][0].ei_parts:.4g}"
    change = known[1][0].ei_parts - known[0][0].ei_parts
    assert float(row["EI of the parts: change"]) == pytest.approx(change, rel=1e-3)
    known[0].save(tmp_path / "saved.npz")
    assert main(["report", str(tmp_path / "saved.npz"), str(out)]) == 0  # measured already
    headings, (cells,) = known[0].table()
    (row,) = Page(out.read_text()).table("Layers of saved.npz")
    assert row["EI"] == cells[headings.index("EI")]


def test_a_report_that_cannot_be_made_leaves_no_file(tmp_path, capsys):
    np.savez(tmp_path / "w.npz", fc=np.eye(3))
    cases = {
        "none.jsonl": "none.jsonl", "none.npz": "none.npz", "w.npz": "activation",
    }  # fmt: skip
    for name, said in cases.items():
        assert main(["report", str(tmp_path / name), str(tmp_path / "x.html")]) == 1
        err = capsys.readouterr().err
        assert said in err and err.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["w.npz"]


def test_large_models_get_bounds_if_nothing_is_said(tmp_path, generator):
    small, large = generator.normal(size=(3, 4)), 0.1 * generator.normal(size=(320, 320))
    page = page_of({"small": [small], "large": [large]}, tmp_path)
    measured = {row["option"]: row for row in page.table("Settings")}["measures"]
    assert measured["small"] == "ei, ei_parts, sensitivity"
    assert measured["large"] == "bounds, ei_parts, sensitivity"
    (row,) = page.table("Layers of large")
    assert row["EI"].startswith("between ")


def test_options_for_what_is_measured_already_are_refused_not_ignored(tmp_path):
    d = eiplane.analyze([np.eye(3)], measures="ei_parts")
    target = tmp_path / "page.html"
    with pytest.raises(ValueError, match="bins: options are for what is still to be measured"):
        write_report(d, target, bins=3)
    assert not target.exists()
    write_report({"there": d, "new": [np.eye(3)]}, target, bins=8, measures="ei_parts")
    with_edges = write_report(d, target, threads=1).stat().st_size
    assert write_report(d, target, edges=False).stat().st_size < with_edges
    with pytest.raises(TypeError, match="title must be a str"):
        write_report(d, target, title=3)
    sums = eiplane.analyze([np.eye(3)], measures="ei_parts", edges=False)
    with pytest.raises(ValueError, match=r"ei_edges was not kept \(edges=False\)"):
        eiplane.plot.network(sums)
