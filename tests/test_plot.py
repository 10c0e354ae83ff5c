"""Pictures: what they show, and that they leave everything else alone."""

import itertools
import shutil
import subprocess
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest
from made_up import decomposition, layer, run

plt = pytest.importorskip("matplotlib.pyplot")

from matplotlib.colors import to_rgb  # noqa: E402
from PIL import Image  # noqa: E402

import eiplane.plot as pictures  # noqa: E402
from eiplane import analyze  # noqa: E402
from eiplane.plot.labels import Label, place  # noqa: E402
from eiplane.plot.movies import _Film  # noqa: E402
from eiplane.plot.planes import Plane  # noqa: E402
from eiplane.plot.roles import roles  # noqa: E402
from eiplane.plot.style import looks  # noqa: E402
from eiplane.results import Decomposition, LayerResult  # noqa: E402
from eiplane.training import History, Record  # noqa: E402
from eiplane.training.history import as_history  # noqa: E402


@pytest.fixture(autouse=True)
def _no_window():
    plt.switch_backend("agg")


def marks(ax):
    """Return the points of single markers: label of the colour to coordinates."""
    return [line.get_xydata()[0] for line in ax.lines if len(line.get_xydata()) == 1]


def has(ax, *point):
    return any(np.allclose(mark, point) for mark in marks(ax))


def names(ax):
    return {t.get_text(): t for t in ax.texts if t.get_text()}


def test_the_plane_is_turned_by_45_degrees():
    ax = pictures.causal_plane(decomposition((2.0, 5.0), (1.0, 4.0)))
    expected = np.array([[3.0, 7.0], [3.0, 5.0]]) / np.sqrt(2)  # (s - d, s + d), same EI: upright
    np.testing.assert_allclose(sorted(map(tuple, marks(ax))), sorted(map(tuple, expected)))


def test_the_plain_plane_has_degeneracy_across_and_sensitivity_up():
    ax = pictures.causal_plane(decomposition((2.0, 5.0)), rotated=False)
    assert has(ax, 2.0, 5.0)
    assert "degeneracy" in ax.get_xlabel()
    assert "sensitivity" in ax.get_ylabel()


def test_the_joint_plane_splits_by_the_joint_ei():
    network = Decomposition((layer("a", 2.0, 5.0, ei=4.5),), (), {})
    ax = pictures.causal_plane(network, ei="joint", rotated=False)
    assert has(ax, 0.5, 5.0)


def test_contours_lie_where_their_labels_say():
    ax = pictures.causal_plane(decomposition((2.0, 5.0), (1.0, 9.0)))
    lines = [line for line in ax.lines if list(line.get_ydata()) == [0, 1]]
    uprights = {round(line.get_xdata()[0] * np.sqrt(2), 9) for line in lines}
    (top,) = ax.child_axes
    ax.figure.canvas.draw()
    shown = {round(float(t.get_text()), 9) for t in top.get_xticklabels()}
    assert shown == uprights
    assert len(shown) >= 3
    low, high = ax.get_xlim()
    np.testing.assert_allclose(top.get_xlim(), (low * np.sqrt(2), high * np.sqrt(2)))


def test_slanted_contours_are_lines_of_equal_ei():
    ax = pictures.causal_plane(decomposition((2.0, 5.0), (1.0, 9.0)), rotated=False)
    lines = [line.get_xydata() for line in ax.lines if len(line.get_xydata()) == 2]
    assert len(lines) >= 3
    for line in lines:
        ei = line[:, 1] - line[:, 0]
        assert ei[0] == pytest.approx(ei[1])
        assert f"{round(ei[0], 6):g}" in names(ax)


def test_axes_in_axes_out_and_no_pyplot_figure():
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure()
    FigureCanvasAgg(figure)
    for draw in (
        pictures.causal_plane,
        pictures.trajectory,
        pictures.phi,
        lambda r, ax: pictures.compare([r, r], ax),
        lambda r, ax: pictures.curve(r, "ei", ax),
        pictures.layers,
        lambda r, ax: pictures.edges(layer("a", 1.0, 2.0), ax),
        lambda r, ax: pictures.network(decomposition((1.0, 2.0)), ax),
    ):
        ax = figure.subplots()
        assert draw(run(), ax=ax) is ax
        figure.clear()
    assert plt.get_fignums() == []


def test_start_is_hollow_and_end_is_filled():
    ax = pictures.trajectory(run(layers=1))
    single = [line for line in ax.lines if len(line.get_xydata()) == 1]
    hollow = [line for line in single if to_rgb(line.get_markerfacecolor()) == (1, 1, 1)]
    filled = [line for line in single if to_rgb(line.get_markerfacecolor()) != (1, 1, 1)]
    assert len(hollow) == len(filled) == 1
    assert hollow[0].get_ydata()[0] < filled[0].get_ydata()[0]  # this run goes up
    shown = [t.get_text() for t in ax.get_legend().get_texts()]
    assert shown == ["step 0", "step 1,000"]


def test_time_is_shade():
    ax = pictures.trajectory(run(layers=1))
    (lines,) = ax.collections
    light = lines.get_colors()[:, :3].sum(axis=1)
    assert (np.diff(light) < 0).all()


@pytest.mark.parametrize("rotated", [True, False])
def test_labels_collide_neither_with_each_other_nor_with_the_axes(rotated):
    rng = np.random.default_rng(3)
    close = [(2 + 0.1 * rng.random(), 5 + 0.1 * rng.random()) for _ in range(6)]
    ax = pictures.causal_plane(decomposition((0.0, 1.0), *close), rotated=rotated)
    shown = names(ax)
    ax.figure.canvas.draw()
    boxes = [shown[f"fc{i + 1}"].get_window_extent() for i in range(7)]
    for a, b in itertools.combinations(boxes, 2):
        assert not a.overlaps(b)
    frame = ax.get_window_extent()
    for box in boxes:
        assert frame.x0 <= box.x0 < box.x1 <= frame.x1
        assert frame.y0 <= box.y0 < box.y1 <= frame.y1


def test_a_label_keeps_off_what_is_drawn():
    ax = plt.subplots()[1]
    ax.set(xlim=(0, 1), ylim=(0, 1))
    wall = np.array([[x, y] for x in np.linspace(0.5, 0.9, 60) for y in np.linspace(0.35, 0.65, 9)])
    (text,) = place(ax, [Label("here", 0.5, 0.5, "#0072B2")], wall)
    ax.figure.canvas.draw()
    box = text.get_window_extent()
    inside = (ax.transData.transform(wall) > box.min) & (ax.transData.transform(wall) < box.max)
    assert not inside.all(axis=1).any()


def test_the_line_of_a_far_label_goes_along_in_a_film():
    """A line that stayed where the last frame has it pointed at nothing in all others."""
    sizes = [1.0 + 0.001 * k for k in range(16)]
    crowd = [
        Decomposition(tuple(layer(f"a layer of size {x}", x, 2.0 + step, (2, 2)) for x in sizes))
        for step in range(3)
    ]
    film = _Film(as_history(crowd), Plane(True, "parts", None, "linear"), (5, 5), 60, None)
    assert any(line is not None for line in film.leaders)
    for _ in film.frames():
        for name, line in zip(film.names, film.leaders, strict=True):
            assert line is None or line.xy == name.xy


def test_layers_differ_in_grey_by_mark_and_line():
    for count in (2, 3, 6):
        chosen = looks(count)
        assert len({x.marker for x in chosen}) == count
        assert len({str(x.line) for x in chosen}) == count
        assert len({x.color for x in chosen}) == count
    light = [float(np.dot(to_rgb(x.color), (0.2126, 0.7152, 0.0722))) for x in looks(20)]
    assert (np.diff(light) > 0).all()  # a deep network: from dark to light


def ends(ax):
    """The marks of layers where they end, without those of legends."""
    return [x for x in ax.lines if len(x.get_xydata()) == 1 and x.get_markersize() == 9]


def depth_keys(ax):
    return [a for a in ax.child_axes if a.get_ylabel() == "position of the layer"]


def test_a_deep_network_is_told_apart_by_role_and_depth():
    names = [f"h.{i}.{part}" for i in range(8) for part in ("attn", "mlp")]
    deep = Decomposition(
        tuple(layer(name, 0.1 * i, 1 + 0.2 * i) for i, name in enumerate(names)), (), {}
    )
    ax = pictures.causal_plane(deep)
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["attn", "mlp"]
    marks = [x.get_marker() for x in ends(ax)]
    assert marks == marks[:2] * 8
    assert marks[0] != marks[1]
    assert [x.get_marker() for x in ax.get_legend().legend_handles] == marks[:2]
    light = [float(np.dot(to_rgb(x.get_markerfacecolor()), (0.2, 0.7, 0.1))) for x in ends(ax)]
    assert (np.diff(light) > 0).all()
    (bar,) = depth_keys(ax)
    np.testing.assert_allclose(sorted(bar.get_ylim()), [1, 16])
    ax = pictures.causal_plane(deep, role=lambda name: "block " + name.split(".")[1])
    assert [t.get_text() for t in ax.get_legend().get_texts()] == [f"block {i}" for i in range(8)]
    ax = pictures.causal_plane(decomposition(*[(0.1 * i, 1 + 0.2 * i) for i in range(30)]))
    assert ax.get_legend() is None  # fc1 to fc30: one group
    assert len({x.get_marker() for x in ends(ax)}) == 1
    ax = pictures.compare([deep, deep])
    assert len(depth_keys(ax)) == 1


def test_few_layers_keep_a_mark_and_a_name_each():
    ax = pictures.causal_plane(decomposition(*[(0.1 * i, 1 + 0.2 * i) for i in range(12)]))
    assert len({x.get_marker() for x in ends(ax)}) == 12
    assert {f"fc{i + 1}" for i in range(12)} <= set(names(ax))
    assert ax.get_legend() is None


@pytest.mark.parametrize("rotated", [True, False])
def test_the_plane_in_bits_per_edge_and_per_output(rotated):
    network = Decomposition((layer("a", 20.0, 60.0, (5, 4)), layer("b", 2.0, 9.0, (3, 1))), (), {})
    for normalize, sizes in (("edges", (20, 3)), ("outputs", (5, 3))):
        ax = pictures.causal_plane(network, normalize=normalize, rotated=rotated)
        for (d, s), size in zip([(20.0, 60.0), (2.0, 9.0)], sizes, strict=True):
            point = ((s - d) / np.sqrt(2), (s + d) / np.sqrt(2)) if rotated else (d, s)
            assert has(ax, *np.divide(point, size))
        assert f"bits per {normalize[:-1]}" in ax.get_xlabel()
        assert f"bits per {normalize[:-1]}" in ax.get_ylabel()
    with pytest.raises(ValueError, match="'edges' or 'outputs', not 'inputs'"):
        pictures.causal_plane(network, normalize="inputs")
    with pytest.raises(ValueError, match="'linear' or 'symlog'"):
        pictures.causal_plane(network, scale="log")
    bare = History([Record(0, ({"name": "a", "sensitivity": 1.0, "degeneracy": 0.5},))])
    with pytest.raises(ValueError, match="by outputs: 'a' has no n_out"):
        pictures.causal_plane(bare, normalize="outputs")


def unknown(name, shape=(5, 4)):
    """A layer of whose EI only bounds are known, and whose EI_parts was sampled."""
    rest = layer(name, 1.0, 3.0, shape)
    pairs = replace(rest.pairwise_ei, method="sample", stderr=0.25, error_bound=None)
    joint = replace(rest.joint, ei=None, ei_stderr=None, ei_bounds=(1.5, 4.5))
    return replace(rest, pairwise_ei=pairs, joint=joint)


def test_errors_and_bounds_are_divided_as_the_points_are():
    network = Decomposition((unknown("a"),), (), {})
    drawn = []
    for normalize in (None, "edges"):
        ax = pictures.causal_plane(network, normalize=normalize, rotated=False, contours=False)
        drawn.append(np.array([s for c in ax.collections for s in c.get_segments()]))
    np.testing.assert_allclose(drawn[1], drawn[0] / 20)
    assert np.ptp(drawn[0][0][:, 0]) == pytest.approx(4 * 0.25)
    ax = pictures.causal_plane(network, ei="joint", normalize="outputs", rotated=False)
    spans = [s for c in ax.collections for s in c.get_segments()]
    assert any(np.allclose(np.sort(s[:, 0]), [(3 - 4.5) / 5, (3 - 1.5) / 5]) for s in spans)


@pytest.mark.parametrize("rotated", [True, False])
def test_small_and_large_layers_share_a_symlog_plane(rotated):
    points = [(1.0, 1.5), (-0.5, 20.0), (3000.0, 3600.0), (40.0, 30.0)]
    ax = pictures.causal_plane(decomposition(*points), scale="symlog", rotated=rotated)
    assert (ax.get_xscale(), ax.get_yscale()) == ("symlog", "symlog")
    assert ax.xaxis.get_transform().linthresh == ax.yaxis.get_transform().linthresh
    for d, s in points:
        assert has(ax, *(((s - d) / np.sqrt(2), (s + d) / np.sqrt(2)) if rotated else (d, s)))
    seen = np.array([ax.transAxes.inverted().transform(ax.transData.transform(p))
                     for p in (x.get_xydata()[0] for x in ends(ax))])  # fmt: skip
    assert ((seen > 0) & (seen < 1)).all()
    gaps = [np.abs(a - b).max() for a, b in itertools.combinations(seen, 2)]
    assert min(gaps) > 0.05  # on linear axes the small ones would be one point
    lines = [x for x in ax.lines if len(x.get_xydata()) > 1]
    if rotated:
        upright = {round(float(x.get_xdata()[0] * np.sqrt(2)), 6) for x in lines}
        said = {round(float(t), 6) for t in names(ax) if not t.startswith("fc")}
        assert said == upright
        assert 0.0 in said
    else:
        for line in lines:
            ei = line.get_ydata() - line.get_xdata()
            np.testing.assert_allclose(ei, ei[0], atol=1e-9)
        assert len(lines) >= 4


def roles_drawn(ax):
    """Lines with data, in the order of drawing."""
    return [x for x in ax.lines if len(x.get_xdata()) and x.get_zorder() == 3]


def test_layers_draws_a_line_a_role_through_its_layers():
    parts = [f"h.{i}.{part}" for i in range(3) for part in ("attn.c_attn", "mlp.c_fc")]
    made = [layer(name, 1.0, 3.0 + i) for i, name in enumerate(["wte", *parts, "head"])]
    network = Decomposition(tuple(made), (), {})
    ax = pictures.layers(network)
    attn, mlp, other = roles_drawn(ax)
    np.testing.assert_array_equal(attn.get_xdata(), [2, 4, 6])
    np.testing.assert_array_equal(mlp.get_xdata(), [3, 5, 7])
    np.testing.assert_array_equal(other.get_xdata(), [1, 8])
    assert other.get_linestyle() == "None"  # these have nothing in common
    for line in (attn, mlp, other):
        np.testing.assert_allclose(line.get_ydata(), [made[int(x) - 1].ei_parts
                                                      for x in line.get_xdata()])  # fmt: skip
    shown = [t.get_text() for t in ax.get_legend().get_texts()]
    assert shown == ["attn.c_attn", "mlp.c_fc", "other layers"]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["wte", *parts, "head"]
    ax = pictures.layers(network, role=lambda name: name[0], quantities="sensitivity")
    assert [len(x.get_xdata()) for x in roles_drawn(ax)] == [1, 7]
    (line,) = roles_drawn(pictures.layers(decomposition((1.0, 3.0), (1.0, 5.0), (1.0, 4.0))))
    np.testing.assert_allclose(line.get_ydata(), [2.0, 4.0, 3.0])


def test_legends_beside_the_axes_are_inside_the_picture():
    long = [f"{part}.{i}.a_long_name_of_a_role_{part}" for i in range(7) for part in ("x", "y")]
    network = Decomposition(tuple(layer(name, 1.0, 3.0) for name in long), (), {})
    for ax in (
        pictures.layers(network, quantities=["ei", "ei_parts"]),
        pictures.causal_plane(network),
        pictures.compare([Decomposition(network.layers[:2], (), {})] * 2),
    ):
        ax.figure.canvas.draw()
        for legend in (c for c in ax.get_children() if type(c).__name__ == "Legend"):
            assert legend.get_window_extent().x1 <= ax.figure.bbox.x1


def test_layers_never_leads_through_what_is_not_known():
    network = Decomposition((layer("a", 1, 3), unknown("b"), layer("c", 1, 4)), (), {})
    ax = plt.subplots()[1]
    assert pictures.layers(network, ax, quantities="ei") is ax
    (line,) = roles_drawn(ax)
    assert np.isnan(line.get_ydata()).tolist() == [False, True, False]
    bars = {float(s[0, 0]): s[:, 1] for c in ax.collections for s in c.get_segments()}
    assert sorted(bars) == [1.0, 2.0, 3.0]
    np.testing.assert_allclose(bars[2.0], [1.5, 4.5])  # the bounds
    np.testing.assert_allclose(bars[1.0], [network[0].ei - 0.02, network[0].ei + 0.02])
    ax = pictures.layers(network, quantities=["ei_parts", "ei"], normalize="outputs")
    bars = [s for c in ax.collections for s in c.get_segments()]
    assert sum(np.allclose(s[:, 1], [0.3, 0.9]) for s in bars) == 1
    assert sum(np.allclose(s[:, 1], [(2 - 0.5) / 5, (2 + 0.5) / 5]) for s in bars) == 1
    assert ax.get_ylabel() == "bits per output"
    only = Decomposition((unknown("a"), unknown("b")), (), {})
    ax = pictures.layers(only, quantities="ei", scale="symlog")
    assert ax.get_yscale() == "symlog"
    assert np.isnan(roles_drawn(ax)[0].get_ydata()).all()
    low, high = ax.get_ylim()
    assert low < 1.5 < 4.5 < high


def test_layers_says_what_it_cannot_draw():
    network = decomposition((1.0, 3.0))
    for wrong, words in (
        ({"quantities": "weights"}, "'weights' was not measured"),
        ({"quantities": ["ei", "effectiveness"]}, "several units"),
        ({"quantities": "effectiveness", "normalize": "edges"}, "share"),
        ({"quantities": []}, "one to 4"),
        ({"normalize": "inputs"}, "'edges' or 'outputs'"),
        ({"scale": "log"}, "'linear' or 'symlog'"),
    ):
        with pytest.raises(ValueError, match=words):
            pictures.layers(network, **wrong)
    bare = Decomposition((LayerResult("a", 2, 2, "relu", 8, 8, (0, 1), (0, 1)),), (), {})
    with pytest.raises(ValueError, match="nothing was measured"):
        pictures.layers(bare)
    assert plt.get_fignums() == []


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["0", "2", "4"], ["layers"] * 3),
        (["features.0", "features.3", "head.1", "head.4"], ["features"] * 2 + ["head"] * 2),
        (
            ["conv1", "layer1.0.conv1", "layer2.0.conv1", "layer2.0.downsample.0", "fc",
             "layer3.0.downsample.0"],
            ["other layers", "conv1", "conv1", "downsample.0", "other layers", "downsample.0"],
        ),
        (
            ["encoder.layers.0.fc", "encoder.layers.1.fc", "decoder.layers.0.fc",
             "decoder.layers.1.fc"],
            ["encoder.layers.fc"] * 2 + ["decoder.layers.fc"] * 2,
        ),
        (["/h.0/mlp/fc", "/h.1/mlp/fc", "h.0.mlp.fc..h.1.mlp.fc"],
         ["mlp.fc", "mlp.fc", "other layers"]),
        (["stages.0.blocks.0.mlp.0", "stages.0.blocks.1.mlp.0", "stages.1.blocks.0.mlp.0"],
         ["mlp.0"] * 3),
    ],
)  # fmt: skip
def test_roles(given, expected):
    assert roles(given) == expected


def test_the_rarest_roles_are_put_together():
    given = [f"h.{i}.{part}" for part in "abcde" for i in range(2 + ord(part) % 2)]
    found = roles(given, most=3)
    assert len(set(found)) == 3
    assert {f for f, name in zip(found, given, strict=True) if name[-1] in "ace"} <= {
        "a", "c", "e", "other layers"
    }  # fmt: skip
    assert all(f == "other layers" for f, n in zip(found, given, strict=True) if n[-1] in "bd")


def test_the_plane_says_which_measure_is_missing():
    bare = Decomposition((LayerResult("a", 2, 2, "relu", 8, 8, (0, 1), (0, 1)),), (), {})
    with pytest.raises(ValueError, match="'sensitivity' and 'ei_parts'"):
        pictures.causal_plane(bare)
    with pytest.raises(ValueError, match="'parts' or 'joint'"):
        pictures.causal_plane(decomposition((1, 2)), ei="whole")
    with pytest.raises(TypeError, match="not int"):
        pictures.causal_plane(3)
    with pytest.raises(ValueError, match="'phi' was not measured"):
        pictures.phi(bare)
    assert plt.get_fignums() == []


def test_decomposition_plot_is_the_causal_plane():
    ax = decomposition((2.0, 5.0)).plot(rotated=False)
    assert has(ax, 2.0, 5.0)


def test_what_is_no_axes_and_a_single_run_are_refused():
    d = decomposition((2.0, 5.0))
    for draw in (lambda: pictures.compare(d), lambda: pictures.compare(d, d)):
        with pytest.raises(TypeError, match="several runs are compared, in one argument"):
            draw()
    for draw in (pictures.causal_plane, pictures.layers):
        with pytest.raises(TypeError, match="ax has to be Axes of matplotlib, not Decomposition"):
            draw(d, d)


def test_compare_tells_layers_by_colour_and_runs_by_mark():
    ax = pictures.compare({"true": run(layers=2), "shuffled": run(steps=5, layers=2)})
    ends = [x for x in ax.lines if len(x.get_xydata()) == 1 and x.get_markersize() == 9]
    assert len(ends) == 4
    assert len({x.get_color() for x in ends}) == 4 or len({x.get_marker() for x in ends}) == 2
    assert len({x.get_markerfacecolor() for x in ends}) == 2
    legends = [c for c in ax.get_children() if type(c).__name__ == "Legend"]
    shown = {t.get_text() for legend in legends for t in legend.get_texts()}
    assert shown == {"fc1", "fc2", "true", "shuffled"}


def test_history_draws_metrics_then_every_quantity():
    axes = pictures.history(run())
    labels = [ax.get_ylabel() for ax in axes]
    assert labels[:2] == ["loss", "accuracy"]
    assert len(axes) == 2 + 10  # all but outlier_fraction, which is zero throughout
    np.testing.assert_allclose(axes[2].lines[0].get_ydata(), run().values("fc1", "sensitivity"))
    with pytest.raises(ValueError, match="12 panels"):
        pictures.history(run(), ax=plt.subplots(1, 2)[1])


def test_phi_shows_its_bounds_and_zero():
    (alone,) = pictures.phi(run(layers=1), bounds=False).collections
    ax = pictures.phi(run(layers=1))
    band, error = ax.collections
    for drawn, ends in ((band, [0.15, 0.45]), (error, [0.23, 0.27]), (alone, [0.23, 0.27])):
        heights = drawn.get_paths()[0].vertices[:, 1]
        np.testing.assert_allclose([heights.min(), heights.max()], ends)
    assert any(list(line.get_ydata()) == [0, 0] for line in ax.lines)


def test_edges_shows_the_matrix_upright():
    result = layer("a", 1.0, 3.0, shape=(3, 2))
    ax = pictures.edges(result)
    np.testing.assert_array_equal(ax.images[0].get_array(), result.ei_edges)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("input", "output")
    shown = [t.get_text() for t in ax.texts]
    assert shown == [f"{v:.2f}" for v in result.ei_edges.ravel()]
    with pytest.raises(ValueError, match="quantity must be one of"):
        pictures.edges(result, quantity="weights")


def test_negative_degeneracy_is_centred_on_zero():
    ax = pictures.edges(layer("a", -1.0, 3.0), quantity="degeneracy_edges")
    low, high = ax.images[0].get_clim()
    assert low == -high < 0


def test_matrices_share_one_scale():
    axes = pictures.matrices(decomposition((1.0, 3.0), (1.0, 9.0)))
    assert axes[0].images[0].get_clim() == axes[1].images[0].get_clim()


def test_network_widths_and_colours_go_by_bits():
    chain = Decomposition((layer("a", 1, 3, (3, 4)), layer("b", 1, 6, (2, 3))), (), {})
    ax = pictures.network(chain, chain=True)
    lines = ax.collections[0]
    values = np.sort(np.concatenate([x.ei_edges.ravel() for x in chain]))
    widths = lines.get_linewidths()
    assert len(widths) == 12 + 6
    np.testing.assert_allclose(np.diff(widths) / 4.5 * values.max(), np.diff(values), atol=1e-12)
    nodes = [len(c.get_offsets()) for c in ax.collections[1:]]
    assert nodes == [4, 3, 2]
    unchained = Decomposition((layer("a", 1, 3, (3, 4)), layer("b", 1, 6, (2, 2))), (), {})
    with pytest.raises(ValueError, match="'b' takes 2 inputs"):
        pictures.network(unchained, chain=True)


def test_network_leaves_weak_nodes_of_wide_layers_out():
    wide = Decomposition((layer("a", 1, 3, (3, 40)),), (), {})
    ax = pictures.network(wide, max_nodes=10)
    assert len(ax.collections[0].get_linewidths()) == 30
    assert "+ 30 more" in names(ax)


def test_gif_has_a_frame_a_record(tmp_path):
    target = pictures.animate(run(steps=6), tmp_path / "run.gif", dpi=50, fps=10)
    with Image.open(target) as gif:
        assert gif.n_frames == 6
        assert gif.info["loop"] == 0
        pixels = []
        for i in range(6):
            gif.seek(i)
            pixels.append(np.asarray(gif.convert("RGB")).copy())
    assert all((a != b).any() for a, b in itertools.pairwise(pixels))
    assert (pixels[0][2, 2] == 255).all()
    assert list(tmp_path.iterdir()) == [target]
    assert plt.get_fignums() == []


def test_animate_takes_fewer_frames_evenly(tmp_path):
    target = pictures.animate(run(steps=30), tmp_path / "run.gif", dpi=40, max_frames=5)
    with Image.open(target) as gif:
        assert gif.n_frames == 5


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
def test_mp4(tmp_path):
    target = pictures.animate(run(steps=4), tmp_path / "run.mp4", dpi=50, seconds=0.2)
    assert target.read_bytes()[4:8] == b"ftyp"
    assert list(tmp_path.iterdir()) == [target]


def test_a_moving_picture_fails_whole(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"\.gif or an \.mp4"):
        pictures.animate(run(), tmp_path / "run.avi")
    monkeypatch.setattr("eiplane.plot.movies.tints", lambda colours: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        pictures.animate(run(steps=2), tmp_path / "run.gif", dpi=40)
    assert list(tmp_path.iterdir()) == []


def test_importing_the_pictures_imports_no_matplotlib():
    code = "import sys, eiplane.plot; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_run_without_steps_between_is_a_point():
    ax = pictures.trajectory(History([Record.of(7, decomposition((1.0, 2.0)))]))
    assert len(marks(ax)) == 1
    assert not ax.collections


def test_a_picture_is_written_whole_and_forgotten(tmp_path):
    ax = pictures.phi(run())
    assert pictures.save_figure(ax, tmp_path / "phi.png").read_bytes()[1:4] == b"PNG"
    assert plt.get_fignums() == []
    with pytest.raises(ValueError, match=r"'phi.txt': .*png"):
        pictures.save_figure(pictures.phi(run()), tmp_path / "phi.txt")
    with pytest.raises(OSError, match="nowhere"):
        pictures.save_figure(pictures.phi(run()), tmp_path / "nowhere" / "phi.png")
    assert [p.name for p in tmp_path.iterdir()] == ["phi.png"]


def test_the_same_picture_is_the_same_file(tmp_path):
    for kind in ("png", "pdf"):
        files = [
            pictures.save_figure(pictures.phi(run()), tmp_path / f"{i}.{kind}") for i in (1, 2)
        ]
        assert files[0].read_bytes() == files[1].read_bytes()


def test_demo_prints_the_table_and_draws(tmp_path, monkeypatch, capsys):
    from eiplane.cli import main

    monkeypatch.chdir(tmp_path)
    assert main(["demo"]) == 0
    out = capsys.readouterr().out
    assert all(f"layer {i}" in out for i in (1, 2, 3))
    assert "4→5" in out
    with Image.open(tmp_path / "causal_plane.png") as picture:
        assert np.asarray(picture.convert("RGB")).std() > 10


def test_plot_command(tmp_path, capsys):
    from eiplane.cli import main
    from eiplane.files import Appender

    path = tmp_path / "run.jsonl"
    with Appender(path) as file:
        file.append({"eiplane": 1, "options": {}})
        for record in run():
            file.append(record.to_json())
    other = tmp_path / "other.jsonl"
    other.write_bytes(path.read_bytes())
    for extra in (
        [],
        ["--kind", "history"],
        ["--kind", "phi"],
        ["--plain", "--ei", "joint"],
        ["--normalize", "edges", "--scale", "symlog"],
        ["--kind", "layers", "--quantities", "ei,phi", "--normalize", "outputs"],
    ):
        out = tmp_path / "out.png"
        assert main(["plot", str(path), str(out), *extra]) == 0
        assert out.stat().st_size > 10_000
        out.unlink()
    assert main(["plot", str(path), str(other), str(tmp_path / "two.pdf")]) == 0
    np.savez(tmp_path / "weights.npz", a=np.eye(3), b=np.ones((2, 3)))
    drawn = ["--plot", str(tmp_path / "a.png"), "--plot-kind", "layers", "--scale", "symlog"]
    assert main(["analyze", str(tmp_path / "weights.npz"), "--activation", "tanh", *drawn]) == 0
    assert (tmp_path / "a.png").stat().st_size > 5_000
    assert main(["plot", str(path), str(other), str(tmp_path / "two.gif")]) == 1
    assert "several runs" in capsys.readouterr().err
    assert main(["plot", str(tmp_path / "none.jsonl"), str(tmp_path / "x.png")]) == 1
    assert "none.jsonl" in capsys.readouterr().err
    assert plt.get_fignums() == []


# ---- what moved ----------------------------------------------------------------------------------


def arrows(ax):
    """Where arrows begin and end, by their colour."""
    return {
        to_rgb(t.arrow_patch.get_edgecolor()[:3]): tuple(np.round([*t.xyann, *t.xy], 9).tolist())
        for t in ax.texts
        if t.arrow_patch is not None and not t.get_text()
    }


def test_arrows_lead_from_one_decomposition_to_the_next():
    before = decomposition((1.0, 3.0), (2.0, 5.0), (0.5, 1.0))
    after = decomposition((1.5, 4.0), (2.0, 6.0), (0.5, 2.0))
    joint = replace(after[2].joint, ei=None, ei_stderr=None, ei_bounds=(0.5, 1.0), saturated=True)
    after = Decomposition((*after.layers[:2], replace(after[2], joint=joint)))
    ax = pictures.compare({"before": before, "after": after}, rotated=False)
    colours = [to_rgb(look.color) for look in looks(3)]
    assert arrows(ax) == {
        colours[0]: (1.0, 3.0, 1.5, 4.0),
        colours[1]: (2.0, 5.0, 2.0, 6.0),
        colours[2]: (0.5, 1.0, 0.5, 2.0),
    }
    # The third's joint EI is not known after: nothing leads to it.
    ax = pictures.compare([before, after], rotated=False, ei="joint")
    assert set(arrows(ax)) == set(colours[:2])
    assert arrows(pictures.compare([run(), run()])) == {}  # ways are lines already


def bars(ax):
    """Names of the rows, and how far each bar reaches."""
    shown = [t.get_text() for t in ax.get_yticklabels()]
    reach = {
        round(b.get_y() + b.get_height() / 2): round(float(2 * b.get_x() + b.get_width()), 9)
        for b in ax.patches
    }
    return [(name, reach.get(i)) for i, name in enumerate(shown)]


def test_changes_are_bars_the_greatest_first():
    before = decomposition((1.0, 3.0), (2.0, 5.0), (0.5, 1.0))
    after = decomposition((1.0, 3.5), (2.0, 3.0), (0.5, 1.0))
    ax = pictures.changes(before, after, quantity="sensitivity")
    assert bars(ax) == [("fc2", -2.0), ("fc1", 0.5), ("fc3", 0.0)]
    assert [len(c.get_segments()) for c in ax.collections] == []  # exact: no whisker
    ax = pictures.changes(before, after, quantity="sensitivity", normalize="edges", most=2)
    assert bars(ax) == [("fc2", -0.1), ("fc1", 0.025)]
    assert "2 of 3 layers" in ax.get_title()
    ax = pictures.changes(before, after, quantity="ei")
    (whiskers,) = ax.collections[0].get_segments()
    assert np.ptp(whiskers[:, 0]) == pytest.approx(4 * 0.01 * np.sqrt(2))
    left = pictures.changes(before, after, scale="symlog")
    assert left.get_xscale() == "symlog" and "EI" in left.get_xlabel()


def test_a_change_between_bounds_is_a_line_without_a_bar():
    known, other = decomposition((1.0, 3.0), (1.0, 2.0)), decomposition((1.0, 3.0), (1.0, 2.0))
    joints = [
        replace(x.joint, ei=None, ei_stderr=None, ei_bounds=bounds, saturated=True)
        for x, bounds in ((known[0], (0.5, 1.0)), (other[0], (2.0, 4.0)))
    ]
    first = Decomposition((replace(known[0], joint=joints[0]), known[1]))
    last = Decomposition((replace(other[0], joint=joints[1]), replace(other[1], joint=None)))
    ax = pictures.changes(first, last, quantity="ei")
    assert bars(ax) == [("fc1", None)]  # of the other nothing is known
    (line,) = ax.collections[0].get_segments()
    assert line[:, 0].tolist() == [1.0, 3.5]
    with pytest.raises(ValueError, match="no layer of one name and shape"):
        pictures.changes(decomposition((1.0, 2.0)), Decomposition((layer("x", 1.0, 2.0),)))
    with pytest.raises(ValueError, match="not known"):
        pictures.changes(first[:1] and Decomposition(first[:1]), last, quantity="determinism")
    with pytest.raises(ValueError, match="share"):
        pictures.changes(known, other, quantity="effectiveness", normalize="edges")


# ---- edges in motion -----------------------------------------------------------------------------


def moving(count):
    """Decompositions whose first edge grows from step to step, the others fixed."""
    found = []
    for i in range(count):
        made = layer("fc1", 0.5, 1.5)
        edges = np.full((5, 4), 0.2)
        edges[0, 0] = i / (count - 1)
        found.append(
            Decomposition((replace(made, pairwise_ei=replace(made.pairwise_ei, edges=edges)),))
        )
    return found


def test_edges_move(tmp_path):
    place = pictures.animate_edges(moving(5), tmp_path / "edges.gif", fps=5, dpi=60)
    with Image.open(place) as film:
        assert film.n_frames == 5
        first = np.asarray(film.convert("RGB")).astype(int)
        film.seek(4)
        last = np.asarray(film.convert("RGB")).astype(int)
        assert film.info["duration"] == 8 * 200
    moved = np.abs(first - last).sum(axis=2) > 60
    rows, columns = np.nonzero(moved)
    below = rows > 0.2 * len(moved)  # above stands the step
    # One square of five by four: it changes from the scale's one end to the other.
    high, wide = np.ptp(rows[below]) + 1, np.ptp(columns[below]) + 1
    assert moved[rows[below].min() : rows[below].max(), columns[below].min() :
                 columns[below].max()].mean() > 0.95  # fmt: skip
    assert 0.01 < high * wide / moved.size < 0.05
    assert plt.get_fignums() == []


def test_edges_of_a_tracked_run_move(tmp_path, generator):
    import eiplane

    weights = [generator.normal(size=(3, 4)), generator.normal(size=(2, 3))]
    path = tmp_path / "run.jsonl"
    with eiplane.Tracker(lambda: weights, path, edges=True, measures="ei_parts") as tracker:
        for step in range(3):
            tracker.record(step, loss=1.0 / (step + 1))
            weights[0] = 0.5 * weights[0]
    for source in (tracker, path):
        made = pictures.animate_edges(source, tmp_path / "a.gif", layers="0", dpi=40, max_frames=2)
        with Image.open(made) as film:
            assert film.n_frames == 2
    from eiplane.cli import main

    assert main(["plot", str(path), str(tmp_path / "a.gif"), "--kind", "edges"]) == 0
    with pytest.raises(ValueError, match=r"no edges of 'x'; there are '0', '1'"):
        pictures.animate_edges(path, tmp_path / "b.gif", layers="x")
    with pytest.raises(ValueError, match="edges=True"):
        pictures.animate_edges(path, tmp_path / "b.gif", quantity="sensitivity_edges")
    with pytest.raises(ValueError, match="no measure of edges"):
        pictures.animate_edges(path, tmp_path / "b.gif", quantity="ei")
    with pytest.raises(ValueError, match=r"\.gif or an \.mp4"):
        pictures.animate_edges(path, tmp_path / "b.html")
    with pytest.raises(TypeError, match="History"):
        pictures.animate_edges(tracker.history, tmp_path / "b.gif")
    assert sorted(p.name for p in tmp_path.glob("*.gif")) == ["a.gif"]


# ---- every picture -------------------------------------------------------------------------------


def test_several_panels_take_several_axes():
    import eiplane

    micro = np.kron(np.eye(2), np.full((2, 2), 0.5))
    cases = [
        (lambda ax: pictures.matrices(decomposition((1.0, 3.0), (1.0, 9.0)), ax), 2),
        (lambda ax: pictures.transitions(eiplane.tpm(micro), ax), 2),
        (lambda ax: pictures.history(run(), ax, quantities=["ei"]), 3),
    ]
    for draw, count in cases:
        axes = plt.subplots(1, 4)[1]
        assert list(draw(axes)) == list(axes[:count])
        with pytest.raises(ValueError, match="panels but got 1 axes"):
            draw(axes[:1])


def test_every_picture_takes_axes():
    import inspect

    files = {"animate", "animate_edges", "save_figure", "text_plane"}
    for name in set(pictures.__all__) - files:
        assert "ax" in inspect.signature(getattr(pictures, name)).parameters, name


def test_lags_have_errors_and_bounds_and_no_line_through_what_is_not_known():
    from eiplane.recurrence import ThroughTime

    rows = [layer(f"lag {i}", 1.0, 2.0 + i) for i in (1, 2, 3)]
    joint = replace(rows[1].joint, ei=None, ei_stderr=None, ei_bounds=(0.5, 4.0), saturated=True)
    rows[1] = replace(rows[1], joint=joint)
    ax = pictures.lags(ThroughTime(tuple(rows), lags=(1, 2, 3)), quantities=["ei"])
    assert np.isnan(ax.lines[0].get_ydata()).tolist() == [False, True, False]
    segments = [s for c in ax.collections for s in c.get_segments() if np.size(s)]
    assert [s[:, 1].tolist() for s in segments if s[0, 0] == s[-1, 0] == 2 and len(s) == 2
            and np.isfinite(s).all()] == [[0.5, 4.0]]  # fmt: skip
    errors = [np.ptp(s[:, 1]) for s in segments if s[0, 0] == 1]
    assert errors == [pytest.approx(4 * 0.01)]


def test_pictures_say_of_which_layers_nothing_is_known():
    """Redundancies are counted where they can be; a layer without them is no empty place."""
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=(40, 30)), rng.normal(size=(3, 40))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = analyze(weights, measures=("ei_parts", "ei"), samples=5000, estimator="conditional")
    assert found[0].redundancy_in is None and found[1].redundancy_in is not None
    for quantity in ("redundancy_in", "redundancy_out"):
        drawn = pictures.layers(found, quantities=quantity)
        assert [(t.get_text(), t.xy[0]) for t in drawn.texts] == [("not known", 1.0)]
        (line,) = pictures.curve([found, found], quantity).texts
        assert line.get_text() == "not known: 0"
    # Where there are bounds they are drawn.
    assert not pictures.layers(found, quantities="ei").texts
