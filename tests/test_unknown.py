"""What is only known to lie between bounds: never a number, never a line, everywhere said."""

from __future__ import annotations

import csv
import io
import json
import re
import warnings
from dataclasses import replace

import numpy as np
import pytest
from made_up import layer

import eiplane
from eiplane.cli import main
from eiplane.cli.screen import print_result
from eiplane.files import Appender
from eiplane.joint import SaturationWarning
from eiplane.plot.planes import Plane, ways
from eiplane.results import TABLE, Decomposition, LayerResult, bounds_of, error_of
from eiplane.results.table import between, with_error
from eiplane.training import History, Record
from eiplane.training.record import QUANTITIES

#: What follows from EI or H(Y).
FOLLOWING = (
    "ei", "phi", "degeneracy_joint", "output_entropy", "determinism", "specificity",
    "effectiveness",
)  # fmt: skip
REDUNDANCIES = ("redundancy_in", "redundancy_out")  # without EI nothing is known of them


def unknown(name="fc", degeneracy=1.0, sensitivity=2.0):
    """A layer whose EI is known to lie between 0.25 and 3 bits, H(Y) between 1 and 9."""
    known = layer(name, degeneracy, sensitivity)
    joint = replace(
        known.joint, ei=None, ei_stderr=None, ei_bounds=(0.25, 3.0), output_entropy=None,
        output_entropy_stderr=None, output_entropy_bounds=(1.0, 9.0), saturated=True, coverage=0.1,
    )  # fmt: skip
    return replace(known, joint=joint)


def sampled(name="fc"):
    """A layer of which every number has an error."""
    known = layer(name, 1.0, 2.0)
    parts = [
        replace(p, method="sample", stderr=0.02, error_bound=None, samples=100)
        for p in (known.pairwise_sensitivity, known.pairwise_ei)
    ]
    joint = replace(
        known.joint, influence_in=np.full(4, 0.2), influence_in_stderr=np.full(4, 0.01),
        influence_out=np.full(5, 0.3), influence_out_stderr=np.full(5, 0.01),
    )  # fmt: skip
    return replace(known, pairwise_sensitivity=parts[0], pairwise_ei=parts[1], joint=joint)


def run_of(*found):
    return History([Record.of(i, Decomposition((x,))) for i, x in enumerate(found)])


@pytest.fixture
def agg():
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("agg")
    return plt


# ---- the engine ----------------------------------------------------------------------------------


def silently(function, *arguments, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SaturationWarning)
        return function(*arguments, **options)


WIDE = np.random.default_rng(0).uniform(-1, 1, (40, 60)) / 3


def nothing_but_bounds(found):
    assert found.saturated
    assert (
        found.ei is found.ei_stderr is found.output_entropy is found.output_entropy_stderr is None
    )
    low, high = found.ei_bounds
    assert 0.0 <= low < high
    assert found.output_entropy_bounds[0] <= found.output_entropy_bounds[1]


@pytest.mark.parametrize(
    ("weights", "options"),
    [
        (WIDE, {"estimator": "conditional"}),
        ([WIDE, WIDE[:, :40]], {"spans": [(0, 1)]}),  # too much to count, and no other way
        (eiplane.Layer(np.eye(3), [9.0] * 3, "identity"),
         {"out_range": (0, 1), "outliers": "drop"}),
        (eiplane.Layer(np.zeros((2, 2)), [9.0] * 2, "identity"),
         {"out_range": (0, 1), "outliers": "drop"}),
    ],
)  # fmt: skip
def test_what_neither_way_can_measure_is_none(weights, options):
    with pytest.warns(SaturationWarning, match="is known to lie between .* and no more"):
        found = eiplane.analyze(weights, measures=("ei_parts", "ei"), **options)[-1]
    nothing_but_bounds(found.joint)
    assert all(getattr(found, q) is None for q in FOLLOWING)
    assert found.phi_bounds[0] <= found.phi_bounds[1]


def test_a_wide_layer_is_not_saturated_where_one_way_works():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = eiplane.analyze(WIDE, measures="ei")[0]
    assert not found.saturated
    assert found.ei_bounds[0] < found.ei < found.ei_bounds[1]


def test_a_layer_with_one_piece_unknown_is_unknown():
    weight = np.zeros((43, 61))
    weight[:40, :60], weight[40:, 60] = WIDE, 1.0
    found = silently(eiplane.analyze, weight, measures="ei", estimator="conditional")[0]
    nothing_but_bounds(found.joint)
    apart = silently(eiplane.analyze, WIDE, measures="ei", estimator="conditional")[0]
    assert found.ei_bounds[0] > apart.ei_bounds[0] + 0.5  # the other piece's is added


def test_groups_of_which_too_little_was_seen_are_none():
    inputs = [range(30), range(30, 60)]
    alone = silently(
        eiplane.ei_between, WIDE, range(60), range(40), estimator="conditional", samples=1000
    )
    nothing_but_bounds(alone)
    span = silently(  # one stream for several groups
        eiplane.ei_between, WIDE, [[0], [1]], range(40), estimator="conditional", samples=1000
    )
    for found in span:
        nothing_but_bounds(found)
    shared = silently(eiplane.ei_between, WIDE, inputs, range(40), estimator="plugin", samples=1000)
    assert all(f.saturated and f.ei is not None for f in shared)  # the paper's, as it is


def test_convergence_has_gaps_where_nothing_is_known(agg):
    seen = eiplane.convergence(WIDE[:6, :6] * 9, samples=[100, 1 << 17], quantities=["conditional"])
    assert np.isnan(seen.values["conditional"]).tolist() == [True, False]
    assert np.isnan(seen.stderr["conditional"]).tolist() == [True, False]
    first, second = (line.split() for line in str(seen).splitlines()[1:])
    assert first[1] == "-"
    assert second[2] == "±"
    top = eiplane.plot.convergence(seen).get_ylim()[1]
    assert np.isfinite(top)


# ---- tables --------------------------------------------------------------------------------------


def test_bounds_are_rounded_away_from_each_other():
    rng = np.random.default_rng(1)
    for value in np.concatenate([rng.normal(size=200) * 10.0 ** rng.integers(-6, 7, 200), [0.0]]):
        low, high = map(
            float, re.fullmatch("between (.+) and (.+)", between(value, value)).groups()
        )
        assert low <= value <= high
        assert high - low <= 1.1e-3 * abs(value)
    assert between(0.25, 3.0) == "between 0.25 and 3"
    assert between(0.1 + 0.2, 0.7) == "between 0.3 and 0.7"


def test_errors_are_given_to_their_first_digit():
    assert with_error(1.23456, 0.0123) == "1.23 ± 0.01"
    assert with_error(1.23456, 0.0) == with_error(1.23456, None) == "1.235"
    assert with_error(123.4, 20.0) == "123 ± 20"


@pytest.mark.parametrize("way", ["text", "notebook", "page", "screen"])
def test_tables_say_between(way, capsys, monkeypatch):
    found = Decomposition((layer("known", 1.0, 2.0), unknown("unknown")))
    if way == "screen":
        monkeypatch.setattr("sys.stdout.isatty", lambda: True)
        monkeypatch.setenv("COLUMNS", "220")
        print_result(found)
        text = capsys.readouterr().out
    else:
        text = {"text": str, "notebook": Decomposition._repr_html_, "page": Decomposition.to_html}[
            way
        ](found)
    for words in ("0.25 and 3", "-0.75 and 2", "1 and 9", "0.02083 and 0.25"):
        assert f"between {words}" in text, words
    assert "1.25 ± 0.01" in text
    assert "nan" not in text.lower().replace("nano", "")
    assert "None" not in text
    assert "between 0.25 and 3" in str(unknown())
    assert "between 0.25 and 3" in unknown()._repr_html_()


def test_a_bar_between_bounds_is_faint_and_starts_at_the_lower_one():
    html = Decomposition((unknown(), layer("known", 1.0, 2.0)))._repr_html_()
    bars = re.findall(
        r"transparent ([\d.]+)%,rgba\(20,130,200,([\d.]+)\) \1%,[^ ]+ ([\d.]+)%", html
    )
    assert (f"{25 / 3:.1f}", "0.15", "100.0") in bars  # EI: of 3 bits, from 0.25


# ---- files ---------------------------------------------------------------------------------------


def test_files_keep_none_and_its_bounds(tmp_path):
    found = Decomposition((layer("known", 1.0, 2.0), unknown("unknown")))
    found.save(tmp_path / "d.npz")
    back = eiplane.load(tmp_path / "d.npz")
    assert [x.to_dict() for x in back] == [x.to_dict() for x in found]
    assert isinstance(back[1], LayerResult)
    assert back[1].ei is back[1].output_entropy is None
    entry = json.loads(found.to_json(tmp_path / "d.json"))["layers"][1]
    assert entry["ei_bounds"] == [0.25, 3.0]
    assert entry["saturated"] is True
    assert not {*FOLLOWING, "ei_stderr", "phi_stderr"} & set(entry)


def test_data_frames_have_nan_and_bounds():
    pytest.importorskip("pandas")
    frame = Decomposition((layer("known", 1.0, 2.0), unknown("unknown"))).to_dataframe()
    assert frame["ei"].isna().tolist() == [False, True]
    assert frame["ei_bounds"]["unknown"] == [0.25, 3.0]
    frame = run_of(unknown(), layer("fc", 1.0, 2.0)).to_dataframe()
    assert frame["ei"].isna().tolist() == [True, False]
    assert frame["phi_bounds"].tolist()[0] == pytest.approx([-0.75, 2.0])


def test_arrays_have_nan_errors_and_bounds():
    pytest.importorskip("xarray")
    array = run_of(layer("fc", 1.0, 2.0), unknown()).to_xarray()
    assert np.isnan(array.sel(quantity="ei").values[:, 0]).tolist() == [False, True]
    assert array.sel(quantity="ei_stderr", step=0).item() == 0.01
    assert array.sel(quantity="ei_low", step=1).item() == 0.25
    assert array.sel(quantity="ei_high", step=1).item() == 3.0
    assert "outlier_fraction_stderr" not in array.quantity


class Log:
    def __init__(self):
        self.seen = {}

    def log(self, values, step):
        self.seen[step] = values


def test_a_tracker_records_bounds_and_tells_loggers(tmp_path):
    log = Log()
    with silently(
        eiplane.Tracker,
        lambda: WIDE,
        tmp_path / "run.jsonl",
        estimator="conditional",
        loggers=[log],
    ) as tracker:
        silently(tracker.record, 0)
    again = eiplane.Tracker.load(tmp_path / "run.jsonl").history
    assert np.isnan(again.values("0", "ei")).all()
    assert np.isnan(again.errors("0", "ei")).all()
    low, high = again.bounds("0", "ei")[0]
    assert log.seen[0]["eiplane/0/ei_low"] == low < high == log.seen[0]["eiplane/0/ei_high"]
    assert {"eiplane/0/phi_low", "eiplane/0/sensitivity"} <= set(log.seen[0])
    assert "eiplane/0/ei" not in log.seen[0]


def test_the_command_says_between(tmp_path, capsys):
    np.savez(tmp_path / "w.npz", fc=WIDE)
    command = ["analyze", str(tmp_path / "w.npz"), "--activation", "sigmoid"]
    command += ["--estimator", "conditional", "--measures", "ei,phi"]
    said = {}
    for kind in ("table", "json", "csv", "html"):
        assert silently(main, [*command, "--format", kind]) in (0, None)
        said[kind] = capsys.readouterr().out
    assert said["table"].count("between") >= 3
    assert said["html"].count("between") >= 3
    entry = json.loads(said["json"])["layers"][0]
    (row,) = csv.DictReader(io.StringIO(said["csv"]))
    assert json.loads(row["ei_bounds"]) == entry["ei_bounds"]
    assert "ei" not in entry
    assert "ei" not in row


# ---- pictures ------------------------------------------------------------------------------------


def test_every_tracked_number_with_an_error_says_it():
    found = sampled()
    for quantity in QUANTITIES:
        if quantity == "outlier_fraction":
            continue
        error = error_of(quantity)
        assert error is not None, quantity
        assert getattr(found, error.name) > 0.0, quantity
    for quantity in FOLLOWING:
        bounds = getattr(unknown(), bounds_of(quantity).name)
        assert bounds[0] < bounds[1], quantity
        known = getattr(found, bounds_of(quantity).name)
        assert known is None or known[0] < getattr(found, quantity) < known[1]


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_curves_have_bands_and_bars_and_no_line_across(quantity, agg):
    run = run_of(sampled(), sampled(), unknown(), sampled(), sampled())
    ax = eiplane.plot.curve(run, quantity, bounds=False)
    line = next(x for x in ax.lines if x.get_label() == "fc")
    bounded = quantity in FOLLOWING
    gone = bounded or quantity in REDUNDANCIES
    assert np.isnan(line.get_ydata()).tolist() == [False, False, gone, False, False]
    polygons = [c for c in ax.collections if hasattr(c, "get_facecolors") and c.get_paths()]
    if quantity == "outlier_fraction":
        assert not polygons
        return
    error = getattr(sampled(), error_of(quantity).name)
    heights = np.concatenate([p.vertices[:, 1] for p in ax.collections[0].get_paths()])
    value = getattr(sampled(), quantity)
    assert heights.min() == pytest.approx(value - 2 * error)
    assert heights.max() == pytest.approx(value + 2 * error)
    if gone:
        assert len(ax.collections[0].get_paths()) == 2  # before and after
    if bounded:
        (bar,) = ax.collections[-1].get_segments()
        bounds = getattr(unknown(), bounds_of(quantity).name)
        np.testing.assert_allclose(bar, [[2.0, bounds[0]], [2.0, bounds[1]]])


def test_history_and_phi_draw_what_is_not_known(agg):
    run = run_of(layer("fc", 1.0, 2.0), unknown())
    axes = eiplane.plot.history(run)
    assert all(ax.collections for ax in axes if ax.get_ylabel().startswith(("$EI$", "output")))
    assert len(eiplane.plot.phi(run).collections) >= 2


@pytest.mark.parametrize("rotated", [True, False])
def test_the_plane_draws_a_line_where_the_layer_is_somewhere_on_it(rotated, agg):
    plane = Plane(rotated, "joint")
    (way,) = ways(run_of(unknown()), plane)
    assert way.ends_open
    assert len(way.points) == 0
    corners = plane.points(np.array([-1.0, 1.75]), np.array([2.0, 2.0]))  # sensitivity less bounds
    np.testing.assert_allclose(way.spans[0], corners)
    ax = eiplane.plot.causal_plane(run_of(unknown()), ei="joint", rotated=rotated)
    spans = [s for c in ax.collections for s in c.get_segments()]
    assert any(np.allclose(s, corners) for s in spans)
    assert [t.get_text() for t in ax.texts].count("fc") == 1
    inside = [min(ax.get_xlim()) <= x <= max(ax.get_xlim()) for x in corners[:, 0]]
    assert all(inside)


def test_ways_are_interrupted_where_nothing_is_known(agg, tmp_path):
    found = [layer("fc", 1.0 + k, 3.0 + k) for k in range(4)]
    run = run_of(found[0], found[1], unknown(), found[2], found[3])
    (way,) = ways(run, Plane(True, "joint"))
    assert len(way.points) == 4
    assert len(way.pieces) == 2  # of three
    assert np.isnan(way.interrupted[2]).all()
    assert not way.ends_open
    assert way.until(2).ends_open
    for source in (run, run_of(unknown(), unknown()), run_of(found[0], unknown())):
        eiplane.plot.trajectory(source, ei="joint")
        eiplane.plot.compare({"a": source, "b": run}, ei="joint")
        path = eiplane.plot.animate(source, tmp_path / "way.gif", ei="joint", dpi=40)
        assert path.stat().st_size > 0
        text = eiplane.plot.text_plane(source, ei="joint")
        assert "~" in text
        assert "only bounds of EI are known" in text
    assert "~" not in eiplane.plot.text_plane(run)  # of the parts everything is known


def test_points_of_the_plane_have_error_bars(agg):
    for ei, name in (("parts", "ei_parts"), ("joint", "ei")):
        (way,) = ways(run_of(sampled()), Plane(False, ei))
        across, both = way.errors
        error = getattr(sampled(), error_of(name).name)
        np.testing.assert_allclose(across[1] - across[0], [4 * error, 0.0])
        np.testing.assert_allclose(both[1] - both[0], [0.08, 0.08])
        ax = eiplane.plot.causal_plane(run_of(sampled()), ei=ei, rotated=False)
        assert sum(len(c.get_segments()) for c in ax.collections) >= 2
    (way,) = ways(run_of(layer("fc", 1.0, 2.0)), Plane(False, "parts"))
    assert len(way.errors) == 0  # exact


def test_the_plot_command_draws_bounds(tmp_path, agg):
    path = tmp_path / "run.jsonl"
    with Appender(path) as file:
        file.append({"eiplane": 1, "options": {}})
        for record in run_of(unknown(), layer("fc", 1.0, 2.0), unknown()):
            file.append(record.to_json())
    for kind in ("plane", "history", "phi"):
        main(["plot", str(path), str(tmp_path / f"{kind}.png"), "--kind", kind, "--ei", "joint"])
        assert (tmp_path / f"{kind}.png").stat().st_size > 1000


# ---- reports -------------------------------------------------------------------------------------


def test_the_report_has_errors_and_bounds(tmp_path):
    from eiplane.report import write_report

    page = write_report(run_of(sampled(), unknown()), tmp_path / "r.html").read_text()
    data = json.loads(re.search(r'id="data">(.*)</script>', page).group(1))
    (found,) = data["sources"][0]["layers"]
    assert found["texts"]["ei"] == ["1.25 ± 0.01", "between 0.25 and 3"]
    assert found["values"]["ei"] == [1.25, None]
    assert found["errors"]["ei"] == [0.01, None]
    assert [b[1] for b in found["bounds"]["ei"]] == [0.25, 3.0]
    assert found["texts"]["phi"][1] == "between -0.75 and 2"
    assert found["errors"]["sensitivity"] == [0.02, 0.0]


def test_no_row_of_the_table_is_lost_for_want_of_ei():
    found = unknown()
    for row in TABLE:
        value = getattr(found, row.name)  # none raises
        if row.name.endswith("_stderr") and row.name[:-7] in FOLLOWING:
            assert value is None, row.name


@pytest.mark.filterwarnings("ignore::eiplane.SaturationWarning")
def test_where_a_first_look_is_dropped_as_a_whole_and_more_is_not():
    """Some 60 in a million are kept: EI was called 0 bits, without an error."""
    rng = np.random.default_rng(2)
    weight = rng.normal(size=(12, 20)) * 3 / np.sqrt(20)
    bias = -weight.sum(axis=1) / 2
    x = np.random.default_rng(0).random((400_000, 20))
    kept = (np.abs(np.tanh(x @ weight.T + bias)) <= 0.45).all(axis=1).mean()
    assert 1e-5 < kept < 2e-4
    for seed in (0, 1):
        found = eiplane.analyze(
            [eiplane.Layer(weight, bias, "tanh")], measures="ei", rng=seed, samples=400_000,
            out_range=(-0.45, 0.45), outliers="drop",
        )[0].joint  # fmt: skip
        assert found.ei is None
        assert found.saturated
        assert found.coverage == 0.0


@pytest.mark.filterwarnings("ignore::eiplane.SaturationWarning")
@pytest.mark.parametrize("low", [4.72, 4.6, 4.5])
def test_a_few_samples_that_are_kept_are_not_all_that_there_is(low):
    """Three, 40 or 130 of half a million, mostly alike: nothing rare is ruled out by those."""
    weight = np.ones((3, 5))
    weight[1, 0], weight[2, 1] = 1.01, 1.02
    high = 5.03
    # Inputs near 1 alone are kept: counted where they are.
    x = 1.0 - np.random.default_rng(0).random((1_000_000, 5)) * (5.0 - low + 0.05)
    z = x[(x >= 0.0).all(axis=1)] @ weight.T
    kept = z[(z >= low).all(axis=1)]
    assert len(kept) > 2000
    labels = ((kept - low) / (high - low) * 2).astype(int)
    p = np.unique(labels, axis=0, return_counts=True)[1] / len(kept)
    entropy = -(p * np.log2(p)).sum()
    for seed in range(4):
        found = eiplane.analyze(
            [eiplane.Layer(weight, None, "identity")], measures="ei", bins=(8, 2), rng=seed,
            out_range=(low, high), outliers="drop",
        )[0].joint  # fmt: skip
        assert found.output_entropy_bounds[0] <= entropy <= found.output_entropy_bounds[1]
        if found.output_entropy is not None:
            assert abs(found.output_entropy - entropy) < 4 * found.output_entropy_stderr
