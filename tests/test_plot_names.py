"""Pictures of awkward networks: long and odd names, many panels, a narrow scale, a point."""

from __future__ import annotations

import itertools
import warnings
from dataclasses import replace

import numpy as np
import pytest
from made_up import decomposition, layer
from test_unknown import unknown

plt = pytest.importorskip("matplotlib.pyplot")

import eiplane  # noqa: E402
import eiplane.plot as pictures  # noqa: E402
from eiplane.ablation import Ablation  # noqa: E402
from eiplane.joint import Convergence  # noqa: E402
from eiplane.plot.names import shown_name, shown_names  # noqa: E402
from eiplane.report import write_report  # noqa: E402
from eiplane.results import Decomposition  # noqa: E402
from eiplane.training import History, Record  # noqa: E402

#: Names that are formulas, hidden from legends, of several lines, too long or alike at their ends.
ODD = [
    "$x^{2$", "a$b$", "_fc", "_orig_mod.fc", "two\nlines", "x" * 200,
    "encoder.0." + 8 * "attention.", "encoder.1." + 8 * "attention.",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _no_window():
    plt.switch_backend("agg")


def network(names=ODD):
    return Decomposition(tuple(layer(n, 1.0, 2.0 + 0.3 * i) for i, n in enumerate(names)))


def history():
    return History([Record.of(i, network(), {"_loss$": 1.0}) for i in range(3)])


def drawn(figure):
    """Draw; return every text that is seen."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.canvas.draw()
    texts = [t for t in figure.findobj(plt.Text) if t.get_visible() and t.get_text().strip()]
    return [t for t in texts if not set(t.get_text()) <= set("0123456789.−e+$\\mathdful{}^")]


def counted(axis):
    """How many ticks of an axis are seen."""
    low, high = sorted(axis.get_view_interval())
    return sum(low <= place <= high for place in axis.get_majorticklocs())


def test_names_are_cut_escaped_and_stay_distinct():
    shown = shown_names(ODD)
    assert len(set(shown)) == len(ODD) and all(len(t) <= 40 for t in shown)
    assert not any(t.startswith("_") for t in shown) and "\n" not in "".join(shown)
    assert shown[:5] == [r"\$x^{2\$", r"a\$b\$", " _fc", " _orig_mod.fc", "two lines"]
    assert [t.split(":")[0] for t in shown[6:]] == ["7", "8"]
    assert shown_name("short") == "short"


@pytest.mark.parametrize(
    "draw",
    [
        lambda: pictures.causal_plane(network()),
        lambda: pictures.trajectory(history()),
        lambda: pictures.compare({"_a$b$": network(), "y" * 90: network()}),
        lambda: pictures.layers(network()),
        lambda: pictures.layers(network(), role=lambda name: name[:3]),
        lambda: pictures.curve(history(), "ei_parts"),
        lambda: pictures.phi(history()),
        lambda: pictures.history(history())[0],
        lambda: pictures.changes(network(), network()),
        lambda: pictures.matrices(network())[0],
        lambda: pictures.edges(network()[5]),
        lambda: pictures.network(Decomposition(tuple(layer(n, 1, 2, (4, 4)) for n in ODD))),
    ],
    ids=[
        "plane", "trajectory", "compare", "layers", "roles", "curve", "phi", "history", "changes",
        "matrices", "edges", "network",
    ],
)  # fmt: skip
def test_no_name_is_a_formula_or_fills_the_picture(draw):
    figure = draw().figure
    wide = figure.get_size_inches()[0] * figure.dpi
    for text in drawn(figure):
        box = text.get_window_extent()
        assert box.width < 0.7 * wide and box.x0 > -1 and box.x1 < wide + 1, text
        assert "aaaa" not in text.get_text() and len(text.get_text()) < 80


def test_a_legend_has_every_layer():
    for ax in (pictures.curve(history(), "ei_parts"), pictures.phi(history())):
        shown = [t.get_text() for t in ax.get_legend().get_texts()]
        assert shown == shown_names(ODD)
    counts = {"plugin": np.array([1.0, 2.0])}
    one = Convergence("_fc$a$", np.array([10, 100]), counts, {"plugin": np.zeros(2)})
    ax = pictures.convergence([one, replace(one, name="b")])
    assert len(ax.get_legend().get_texts()) == 2
    drawn(ax.figure)


@pytest.mark.parametrize("count", [1, 5, 8])
def test_many_heat_maps_stand_in_rows_and_cover_nothing(count):
    some = Decomposition(tuple(layer(f"block.{i}.dense", 1.0, 2.0, (8, 8)) for i in range(count)))
    axes = pictures.matrices(some)
    assert len(axes) == count
    figure = axes[0].figure
    for _ in range(2):  # titles know only then where they are
        figure.canvas.draw()
    assert max(figure.get_size_inches()) < 20
    boxes = [ax.get_tightbbox() for ax in axes]
    for a, b in itertools.combinations(boxes, 2):
        apart = a.x1 <= b.x0 + 2 or b.x1 <= a.x0 + 2 or a.y1 <= b.y0 + 2 or b.y1 <= a.y0 + 2
        assert apart
    for ax in axes:
        assert ax.get_window_extent().width > 80
        # Numbers are inside their squares, or are not there.
        square = ax.get_window_extent().width / 8
        assert all(t.get_window_extent().width < square for t in ax.texts)


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (30, 2), (5, 4)])
def test_edges_are_counted_in_whole_numbers(shape):
    ax = pictures.edges(layer("a", 1.0, 2.0, shape))
    ax.figure.canvas.draw()
    for axis, count in ((ax.xaxis, shape[1]), (ax.yaxis, shape[0])):
        low, high = sorted(axis.get_view_interval())
        places = [p for p in axis.get_majorticklocs() if low <= p <= high]
        assert places and all(p == round(p) and 0 <= p < count for p in places)


@pytest.mark.parametrize("rotated", [True, False])
@pytest.mark.parametrize("points", [[(0.0, 0.95)], [(30.0, 33.0), (31.0, 35.0)], [(0.3, 0.41)]])
def test_a_narrow_symlog_scale_has_numbers(points, rotated):
    ax = pictures.causal_plane(decomposition(*points), scale="symlog", rotated=rotated)
    texts = drawn(ax.figure)
    assert counted(ax.xaxis) >= 3 and counted(ax.yaxis) >= 3
    assert {t.get_text() for t in texts} >= {f"fc{i + 1}" for i in range(len(points))}
    if rotated:
        assert sum(len(line.get_xdata()) == 2 for line in ax.lines) >= 3  # of equal EI
    ax = pictures.layers(decomposition(*points), scale="symlog", quantities="sensitivity")
    assert counted(ax.yaxis) >= 3


def seen(ax):
    """How many pixels of the picture differ from white inside the axes."""
    ax.axis("off")
    for text in ax.texts:
        text.set_visible(False)
    ax.figure.canvas.draw()
    return int((np.asarray(ax.figure.canvas.buffer_rgba())[..., :3] < 200).any(axis=2).sum())


def test_bounds_that_are_one_point_are_seen():
    """matplotlib draws nothing of a line from a point to itself."""
    point = unknown()
    point = replace(point, joint=replace(point.joint, ei_bounds=(1.5, 1.5)))
    one = Decomposition((point,))
    records = History([Record.of(0, one)])
    for draw in (
        lambda: pictures.causal_plane(one, ei="joint", contours=False),
        lambda: pictures.curve(records, "ei", legend=False),
        lambda: pictures.layers(one, quantities="ei"),
    ):
        assert seen(draw()) >= 4
    before = Decomposition((replace(point, joint=replace(point.joint, ei_bounds=(1.0, 1.0))),))
    ax = pictures.changes(before, one, quantity="ei")
    assert any(
        len(x.get_xdata()) == 2 and np.allclose(x.get_xdata(), 0.5) and x.get_marker() == "o"
        for x in ax.lines
    )


def test_curves_that_differ_say_wherein():
    shares, scores = np.array([0.0, 0.5, 1.0]), np.array([1.0, 0.5, 0.2])
    edges = Ablation("ei", "edges", "lowest", "layer", shares, np.array([0, 2, 4]), 4, scores, ())
    neurons = replace(edges, structure="neurons", by="<lambda>")
    ax = pictures.ablation([edges, neurons])
    assert ax.get_xlabel() == "edges or neurons removed (%), lowest first"
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["ei, edges", "<lambda>, neurons"]
    ax = pictures.ablation([edges, replace(edges, order="highest"), replace(edges, by="_own")])
    assert ax.get_xlabel() == "edges removed (%)"
    assert [t.get_text() for t in ax.get_legend().get_texts()] == [
        "ei, lowest first", "ei, highest first", " _own, lowest first",
    ]  # fmt: skip


def test_layers_of_a_result_are_drawn_as_it_is(tmp_path):
    whole = network(["a", "b", "c"])
    for draw in (pictures.causal_plane, pictures.layers):
        some, alone = draw(whole[1:]), draw(whole[1])
        assert len(seen_marks(some)) == 2 and len(seen_marks(alone)) == 1
    assert len(pictures.matrices(whole[1:])) == 2
    square = Decomposition(tuple(layer(n, 1, 2, (4, 4)) for n in "abc"))
    assert len(pictures.network(square[:2]).collections[0].get_linewidths()) == 32
    page = write_report(whole[1:], tmp_path / "some.html").read_text()
    assert "2 layers." in page and ">c</a>" in page and ">a</a>" not in page


def seen_marks(ax):
    """Points that single layers are drawn at."""
    lines = [x for x in ax.lines if x.get_marker() not in ("None", "") and x.get_zorder() > 2.9]
    return np.concatenate([x.get_xydata() for x in lines])


@pytest.mark.parametrize(
    ("draw", "what"),
    [
        (lambda d: pictures.edges(d), "matrices draws all"),
        (lambda d: pictures.network("d.npz"), "network draws a Decomposition"),
        (lambda d: pictures.matrices([1, 2]), "matrices draws a Decomposition"),
        (lambda d: pictures.lags(d), "what eiplane.through_time returns, not Decomposition"),
        (lambda d: pictures.transitions(np.eye(2)), "what eiplane.tpm returns, not ndarray"),
    ],
)
def test_what_cannot_be_drawn_is_told_what_can(draw, what):
    with pytest.raises(TypeError, match=what):
        draw(network(["a"]))


@pytest.mark.parametrize("function", ["delta_ei_parts", "macro_units", "convergence", "ei_between"])
def test_functions_of_one_layer_say_so(function, tmp_path):
    torch = pytest.importorskip("torch")
    for given in (torch.nn.Linear(2, 2), "model.npz", tmp_path):
        more = ([0], [0]) if function == "ei_between" else ()
        with pytest.raises(TypeError, match="one layer is measured here"):
            getattr(eiplane, function)(given, *more)
