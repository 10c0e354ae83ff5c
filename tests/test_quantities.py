"""The table of quantities: one row, and everything that lists quantities has it."""

from __future__ import annotations

import inspect
import json
import os
import shutil
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pytest
from made_up import decomposition, layer

import eiplane
from eiplane.results import MEASURES, TABLE, Decomposition, LayerResult, bounds_of, row_of
from eiplane.results.layer import PARTS
from eiplane.run import Settings
from eiplane.training import History, Record

LISTED = {row.name for row in TABLE if row.listed}


def hint(kind, attribute):
    """The declared type of an attribute of a measure, a field or a property."""
    found = inspect.getattr_static(kind, attribute, None)
    if isinstance(found, property):
        return get_type_hints(found.fget)["return"]
    return get_type_hints(kind)[attribute]


def test_a_row_s_type_is_that_of_where_it_lives():
    checked = 0
    for row in TABLE:
        (kind,) = get_args(row.__orig_class__)
        assert row.where or row.compute, row
        for part, attribute in row.where:
            for place in PARTS[part]:
                if getattr(place, attribute, "") is None:
                    continue  # what is not kept
                found = hint(place, attribute)
                assert found == kind or set(get_args(found)) == {kind, type(None)}, (row, found)
                checked += 1
    assert checked > 20


def test_a_type_checker_sees_every_row(tmp_path, monkeypatch):
    api = pytest.importorskip("mypy.api")
    source = tmp_path / "typed.py"
    source.write_text(
        "from typing import Any, assert_type\n"
        "from numpy import float64\nfrom numpy.typing import NDArray\n"
        "from eiplane import LayerResult\n"
        "def check(r: LayerResult) -> None:\n"
        "    assert_type(r.phi, float | None)\n"
        "    assert_type(r.ei_bounds, tuple[float, float] | None)\n"
        "    assert_type(r.ei_edges, NDArray[float64] | None)\n"
        "    assert_type(r.converged, bool | None)\n"
        "    r.no_such_quantity\n"
        "    r.ei = 1.0\n"
    )
    root = Path(eiplane.__file__).parents[1]
    if root.name != "site-packages":  # mypy finds an installed package by itself
        monkeypatch.setenv("MYPYPATH", str(root))
    command = ["--strict", "--follow-imports=silent", "--config-file=", f"--cache-dir={tmp_path}"]
    said = api.run([*command, str(source)])[0].splitlines()
    errors = [line for line in said if "error:" in line]
    assert len(errors) == 2, said
    assert 'has no attribute "no_such_quantity"' in errors[0]
    assert "Incompatible types in assignment" in errors[1]


def test_help_and_completion_show_every_row():
    for row in TABLE:
        assert inspect.isdatadescriptor(inspect.getattr_static(LayerResult, row.name))
        assert inspect.getdoc(getattr(LayerResult, row.name)) == row.__doc__
        assert row.__doc__.endswith(".")
        assert row.name in dir(LayerResult)


def test_a_quantity_cannot_be_set():
    found = layer("fc", 1.0, 2.0)
    with pytest.raises(AttributeError):
        found.ei = 3.0
    with pytest.raises(AttributeError):
        object.__setattr__(found, "ei", 3.0)


def test_a_dictionary_has_every_row_that_is_listed_and_was_measured():
    found = eiplane.analyze(np.eye(3), measures=list(MEASURES), method="sample", samples=500)[0]
    own = {f.name for f in fields(LayerResult)} - set(PARTS) - {"wiring"}  # the whole network's
    measured = {row.name for row in TABLE if getattr(found, row.name) is not None}
    assert set(found.to_dict()) == own | (measured & LISTED)
    assert {"error_bound", "converged"} == LISTED - measured  # exact only; without tol
    assert not any(isinstance(v, list) and len(v) > 2 for v in found.to_dict(edges=False).values())


@pytest.mark.parametrize("name", sorted(MEASURES))
def test_what_can_be_asked_for_is_there(name):
    found = eiplane.analyze(np.eye(2), measures=name)[0]
    assert getattr(found, name) is not None
    assert set(MEASURES[name]) == Settings(name).measures


def test_where_only_bounds_are_known_they_are_shown():
    known = layer("known", 1.0, 2.0)
    joint = replace(known.joint, ei=None, ei_stderr=None, ei_bounds=(0.25, 3.0))
    unknown = replace(known, name="unknown", joint=joint)
    assert unknown.phi is unknown.effectiveness is unknown.degeneracy_joint is None
    text = str(Decomposition((known, unknown))).splitlines()
    cells = [c.strip() for c in text[3].split("  ") if c.strip()]
    assert cells[7:9] == ["between 0.25 and 3", "between -0.75 and 2"]
    assert cells[10] == "between 0.02083 and 0.25"  # of four inputs of 3 bits, rounded outwards
    alone = Decomposition((unknown,))
    assert "between 0.25 and 3" in str(alone)
    assert ">between 0.25 and 3</td>" in alone._repr_html_()
    assert unknown.to_dict()["ei_bounds"] == [0.25, 3.0]
    assert "ei" not in unknown.to_dict()
    run = History([Record.of(0, alone)])
    assert {"ei", "phi"} <= set(run.quantities)
    assert np.isnan(run.values("unknown", "ei")).all()
    assert run.bounds("unknown", "ei").tolist() == [[0.25, 3.0]]
    assert np.isnan(run.bounds("unknown", "sensitivity")).all()
    assert bounds_of("ei") is row_of("ei_bounds")


def test_a_curve_draws_bounds_where_nothing_else_is_known():
    pytest.importorskip("matplotlib")
    known = layer("fc", 1.0, 2.0)
    joint = replace(known.joint, ei=None, ei_stderr=None, ei_bounds=(0.25, 3.0))
    unknown = replace(known, joint=joint)
    records = [Record.of(i, Decomposition((x,))) for i, x in enumerate((known, unknown, unknown))]
    ax = eiplane.plot.curve(History(records), "ei")
    _, bars = ax.collections
    assert [s.tolist() for s in bars.get_segments()] == [
        [[1.0, 0.25], [1.0, 3.0]],
        [[2.0, 0.25], [2.0, 3.0]],
    ]
    (error,) = eiplane.plot.curve(History(records[:1]), "ei").collections
    assert error.get_segments()[0].tolist() == [[0.0, 1.23], [0.0, 1.27]]  # two standard errors


ROW = """
    surplus = Quantity[float](
        compute=lambda result: None if result.ei is None else 2.0 * result.ei,
        doc="Twice ``ei``.",
        needs=("ei",), heading="twice", tracked=True, words="twice the EI", symbol="$2 EI$",
    )
    surplus_bounds = Quantity[Bounds]("joint.ei_bounds", doc="Of ``surplus``.")
    estimator = Quantity[str]("joint.estimator", doc="Of ``ei``.", unit="", heading="estimator")
"""

SCRIPT = """
import json, sys, numpy, eiplane
from eiplane.plot import curve
from eiplane.report import write_report
d = eiplane.analyze(numpy.eye(2), measures="surplus")
t = eiplane.Tracker(lambda: numpy.eye(2), measures="surplus")
t.record(0)
seen = {}
class Log:
    def log(self, values, step): seen.update(values)
t2 = eiplane.Tracker(lambda: numpy.eye(2), measures="surplus", loggers=[Log()]); t2.record(0)
write_report(t, sys.argv[1])
print(json.dumps({
    "value": d[0].surplus, "ei": d[0].ei, "dict": d[0].to_dict(), "text": str(d),
    "frame": list(d.to_dataframe().columns), "history": t.history.quantities,
    "bounds": t.history.bounds("0", "surplus").tolist(), "logged": sorted(seen),
    "axis": curve(t, "surplus").get_ylabel(), "xarray": t.to_xarray().quantity.values.tolist(),
    "file": eiplane.__file__,
}))
"""


def test_a_new_quantity_is_one_row(tmp_path):
    """Add rows to a copy of the package, and nothing else: all that lists quantities has them."""
    for library in ("matplotlib", "pandas", "xarray"):
        pytest.importorskip(library)
    package = tmp_path / "eiplane"
    shutil.copytree(
        Path(eiplane.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__", "*.c")
    )
    table = package / "results" / "quantities.py"
    mark = "    phi = Quantity[float]("
    source = table.read_text()
    assert source.count(mark) == 1
    table.write_text(source.replace(mark, ROW.strip("\n") + "\n" + mark))
    page = tmp_path / "page.html"
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(page)], capture_output=True, text=True, cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path), "MPLBACKEND": "agg"}, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    said = json.loads(run.stdout)
    assert Path(said["file"]).parent == package
    assert said["value"] == 2 * said["ei"] == said["dict"]["surplus"]
    assert said["dict"]["estimator"] == "conditional"
    assert said["dict"]["surplus_bounds"] == said["bounds"][0]
    headings, _, line = (text.split() for text in said["text"].splitlines())
    assert headings[4:7] == ["EI", "twice", "estimator"]
    assert "conditional" in line
    assert {"surplus", "surplus_bounds", "estimator"} <= set(said["frame"])
    assert "surplus" in said["history"]
    assert "surplus" in said["xarray"]
    assert "eiplane/0/surplus" in said["logged"]
    assert said["axis"] == "$2 EI$ (bits)"
    assert "twice the EI" in page.read_text()


def test_a_tracker_follows_what_the_table_says():
    followed = [row.name for row in TABLE if row.tracked and row.per == "layer"]
    bare = History([Record.of(0, decomposition((1.0, 4.0)))])  # without influences of nodes
    assert bare.quantities == [q for q in followed if not q.startswith("redundancy")]
    options = {"measures": ("sensitivity", "ei_parts", "ei")}
    found = eiplane.analyze(np.eye(3) + 0.1, "sigmoid", in_range=(0, 1), **options)
    run = History([Record.of(0, found)])
    assert run.quantities == followed
    assert [q for q in followed if q not in run.shown] == ["outlier_fraction"]  # zero throughout
