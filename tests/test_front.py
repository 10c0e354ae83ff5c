"""The first minutes: options, completion, tables on a terminal, pages and notebooks."""

from __future__ import annotations

import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

import eiplane
from eiplane.cli import main
from eiplane.cli.values import read_activation, read_bytes, read_spans
from eiplane.run import CHOICES, progress_bar, stage


@pytest.fixture
def file(tmp_path, generator):
    path = tmp_path / "w.npz"
    np.savez(path, **{"fc1.weight": generator.normal(size=(3, 4)), "head": np.ones((2, 3))})
    return path


@pytest.fixture
def result(generator):
    layers = [
        eiplane.Layer(generator.normal(size=(3, 4)), name="a<b"),
        generator.normal(size=(2, 3)),
    ]
    return eiplane.analyze(layers, measures=("sensitivity", "ei_parts", "ei"))


def completed(script, *words):
    """What bash offers when the last word is completed."""
    code = f'{script}\nCOMP_WORDS=("$@"); COMP_CWORD=$(($#-1)); _eiplane; echo ${{COMPREPLY[*]}}'
    run = subprocess.run(
        ["bash", "-c", code, "bash", *words], capture_output=True, text=True, check=True
    )
    return run.stdout.split()


class Elements(HTMLParser):
    """Every element is closed, and what there is of each."""

    def __init__(self, text):
        super().__init__()
        self.open, self.seen = [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in ("meta", "br", "path", "rect"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


# -- options


def test_every_option_of_analyze_is_on_the_command_line(capsys):
    with pytest.raises(SystemExit):
        main(["analyze", "--help"])
    text = capsys.readouterr().out
    other = {"weights": "FILE", "rng": "--seed", "executor": "--dask", "input_data": "--data",
             "edges": "--no-edges"}  # fmt: skip
    for name in inspect.signature(eiplane.analyze).parameters:
        assert other.get(name, "--" + name.replace("_", "-")) in text, name
    for group in ("the network:", "bins and ranges:", "what comes out:", "examples:"):
        assert group in text
    for words in CHOICES.values():
        assert "{" + ",".join(words) + "}" in text


def test_options_reach_analyze(file, capsys):
    arguments = [
        "analyze", str(file), "--activation", "tanh", "--activation", "head=relu",
        "--in-range", "-1,1", "--in-range", "head=-2,2", "--memory-limit", "64M",
        "--measures", "sensitivity", "--bins", "4,8", "--format", "json",
    ]  # fmt: skip
    assert main(arguments) == 0
    first, head = json.loads(capsys.readouterr().out)["layers"]
    assert (first["activation"], head["activation"]) == ("tanh", "relu")
    assert (first["in_range"], head["in_range"]) == ([-1, 1], [-2, 2])
    assert (first["in_bins"], first["out_bins"]) == (4, 8)
    assert main([*arguments, "--memory-limit", "1"]) == 1
    assert "memory_limit" in capsys.readouterr().err
    assert main([*arguments, "--spans", "fc1..head"]) == 1
    assert "not fed by" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (read_bytes, "512M", 512 * 2**20),
        (read_bytes, "1.5GiB", 3 * 2**29),
        (read_bytes, "1e6", 1_000_000),
        (read_spans, "all", "all"),
        (read_spans, "a.0..b.1,b.1..c", [("a.0", "b.1"), ("b.1", "c")]),
        (read_activation, "leaky_relu(0.1)", "leaky_relu(0.1)"),
        (read_activation, "f(1,2),tanh", ["f(1,2)", "tanh"]),
    ],
)
def test_how_values_are_written(read, text, value):
    assert read(text) == value


@pytest.mark.parametrize(("read", "text"), [(read_bytes, "much"), (read_spans, "a..b..c")])
def test_values_that_are_none(read, text):
    with pytest.raises(ValueError):  # noqa: PT011 - argparse says the rest
        read(text)


def test_dask_by_its_address(file, capsys):
    distributed = pytest.importorskip("distributed")
    options = ["analyze", str(file), "--activation", "tanh", "--in-range", "0,1", "--format", "csv"]
    assert main(options) == 0
    here = capsys.readouterr().out
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        assert main([*options, "--dask", cluster.scheduler_address]) == 0
    assert capsys.readouterr().out == here


# -- completion


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_bash_completes(capsys):
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    assert completed(script, "eiplane", "an") == ["analyze"]
    assert completed(script, "eiplane", "analyze", "--form") == ["--format"]
    assert completed(script, "eiplane", "analyze", "--format", "") == [
        "table",
        "json",
        "csv",
        "html",
    ]
    assert completed(script, "eiplane", "analyze", "--format", "=", "ht") == ["html"]
    assert completed(script, "eiplane", "analyze", "--measures", "ei,sens") == ["ei,sensitivity"]
    assert completed(script, "eiplane", "analyze", "--estimator", "") == [*CHOICES["estimator"]]
    assert completed(script, "eiplane", "analyze", "weights") == []  # names of files are readline's


@pytest.mark.skipif(not shutil.which("zsh"), reason="needs zsh")
def test_zsh_takes_its_script(capsys, tmp_path):
    assert main(["completion", "zsh"]) == 0
    path = tmp_path / "script"
    path.write_text(capsys.readouterr().out)
    check = "autoload -Uz compinit; compinit -D -u; source $1; echo $_comps[eiplane]"
    run = subprocess.run(
        ["zsh", "-f", "-c", check, "zsh", path], capture_output=True, text=True, check=True
    )
    assert (run.stdout.strip(), run.stderr) == ("_eiplane", "")


# -- tables and pages


def on_a_terminal(arguments, columns):
    """What the command writes to a terminal of that width, and its exit status."""
    pty = pytest.importorskip("pty")
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm-256color", COLUMNS=str(columns))
        os.execv(sys.executable, [sys.executable, "-m", "eiplane", *map(str, arguments)])
    written = b""
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # the end, on Linux
            break
        if not part:
            break
        written += part
    return written.decode(), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_terminal_gets_colour_and_nothing_is_cut(file):
    options = ("analyze", file, "--activation", "tanh", "--in-range", "0,1", "--measures", "phi")
    text, status = on_a_terminal(options, 50)
    assert status == 0
    assert "\x1b[" in text
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    assert plain.count("fc1") > 1  # in pieces
    d = eiplane.analyze(str(file), "tanh", in_range=(0, 1), measures="phi")
    for row in d.table()[1]:
        assert all(cell in plain for cell in row)
    assert max(map(len, plain.splitlines())) <= 50


def test_a_page(file, capsys):
    options = [
        "analyze",
        str(file),
        "--activation",
        "tanh",
        "--in-range",
        "0,1",
        "--format",
        "html",
    ]
    assert main(options) == 0
    page = capsys.readouterr().out
    assert page.rstrip().endswith("</html>")
    assert page.count("EI of every edge") == 2  # of two small layers as tables
    assert main([*options, "--no-edges"]) == 0
    assert "EI of every edge" not in capsys.readouterr().out


def test_bars_and_heat_maps(result):
    html = result._repr_html_()
    seen = Elements(html).seen
    assert sum("linear-gradient" in attrs.get("style", "") for _, attrs in seen) >= 2 * 5
    assert "a&lt;b" in html
    scopes = [attrs["scope"] for tag, attrs in seen if tag == "th"]
    assert scopes.count("row") == 2
    layer = result["a<b"]
    small = layer._repr_html_()
    Elements(small)
    assert f"{layer.ei_edges[1, 2]:.3g}</td>" in small
    assert f"rgba(20,130,200,{0.6:.2f})" in small  # the greatest


def test_the_map_of_a_large_layer_is_its_blocks_means():
    edges = np.zeros((130, 200))
    edges[:3, :4] = 0.5  # one block, for 130 / 64 and 200 / 64 rounded up
    edges[129, 199] = 0.25
    part = eiplane.analyze(np.ones((2, 2)), measures="ei_parts")[0]
    from dataclasses import replace

    layer = replace(part, pairwise_ei=replace(part.pairwise_ei, edges=edges))
    html = layer._repr_html_()
    seen = Elements(html).seen
    picture = next(attrs for tag, attrs in seen if tag == "svg")
    assert picture["viewbox"] == "0 0 50 44"
    assert "mean of up to 12 edges" in picture["aria-label"]
    drawn = {attrs["fill-opacity"]: attrs["d"] for tag, attrs in seen if tag == "path"}
    # The last block of rows has 1 row: its 4 edges have a mean of 0.25 / 4.
    assert drawn == {"1": "M0 0h1v1h-1z", "0.125": "M49 43h1v1h-1z"}
    assert len(html) < 5000


def test_a_plane_in_characters(result):
    text = eiplane.plot.text_plane(result, width=40, height=10)
    lines = text.splitlines()
    assert all(name in text for name in ("1  a<b", "2  1"))
    assert sum("1" in line.partition("|")[2] for line in lines) == 1
    with pytest.raises(ValueError, match="too small"):
        eiplane.plot.text_plane(result, width=3)


def test_the_demo_without_matplotlib(tmp_path):
    code = (
        "import sys, importlib.util as u\n"
        "find = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'matplotlib' else find(name, *a)\n"
        "sys.modules['matplotlib'] = None\n"
        "from eiplane.cli import main; sys.exit(main(['demo']))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert run.returncode == 0, run.stderr
    assert "layer 3" in run.stdout
    assert "3  layer 3" in run.stdout
    assert 'pip install "eiplane[plot]"' in run.stdout
    assert list(tmp_path.iterdir()) == []


# -- progress


def test_progress_in_a_notebook_is_one_line_that_goes_away(monkeypatch):
    pytest.importorskip("rich")
    import types

    from eiplane.run import progress

    shown = []
    handle = types.SimpleNamespace(update=shown.append)

    def display(line, display_id):
        shown.append(line)
        return handle

    shell = types.SimpleNamespace(kernel=object())
    ipython = types.ModuleType("IPython")
    ipython.get_ipython = lambda: shell
    module = types.ModuleType("IPython.display")
    module.display = display
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    monkeypatch.setattr(progress, "_PATIENCE", 0.0)
    monkeypatch.setattr(progress, "_PAUSE", 0.0)
    with progress_bar() as tell:
        stage(tell, 2, 3)
        tell(1, 4, "fc<1>: EI")
        tell(2, 4, "fc<1>: EI")
    assert repr(shown[0]) == "2/3 fc<1>: EI 25%"
    assert re.fullmatch(r"2/3 fc<1>: EI 50% \(.+, .+ left\)", repr(shown[1]))
    assert "fc&lt;1&gt;" in shown[1]._repr_html_()
    Elements(shown[1]._repr_html_())
    assert repr(shown[-1]) == ""


def test_nothing_is_shown_in_a_pipe():
    with progress_bar() as tell:
        assert tell is None
