"""Pictures: what they show, and that they leave everything else alone."""

import itertools
import shutil
import subprocess
import sys

import numpy as np
import pytest
from made_up import decomposition, layer, run

plt = pytest.importorskip("matplotlib.pyplot")

from matplotlib.colors import to_rgb  # noqa: E402
from PIL import Image  # noqa: E402

import eiplane.plot as pictures  # noqa: E402
from eiplane.plot.labels import Label, place  # noqa: E402
from eiplane.plot.style import looks  # noqa: E402
from eiplane.results import Decomposition, LayerResult  # noqa: E402
from eiplane.training import History, Record  # noqa: E402


@pytest.fixture(autouse=True)
def _no_figure_left():
    plt.switch_backend("agg")
    yield
    plt.close("all")


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


def test_layers_differ_in_grey_by_mark_and_line():
    for count in (2, 3, 6):
        chosen = looks(count)
        assert len({x.marker for x in chosen}) == count
        assert len({str(x.line) for x in chosen}) == count
        assert len({x.color for x in chosen}) == count
    light = [float(np.dot(to_rgb(x.color), (0.2126, 0.7152, 0.0722))) for x in looks(20)]
    assert (np.diff(light) > 0).all()  # a deep network: from dark to light


def test_a_deep_network_gets_a_legend():
    ax = pictures.causal_plane(decomposition(*[(0.1 * i, 1 + 0.2 * i) for i in range(30)]))
    shown = [t.get_text() for t in ax.get_legend().get_texts()]
    assert len(shown) == 24
    assert (shown[0], shown[-1]) == ("fc1", "fc30")
    assert ax.get_legend().get_title().get_text() == "24 of 30 layers"
    ax = pictures.causal_plane(decomposition(*[(0.1 * i, 1 + 0.2 * i) for i in range(20)]))
    assert len(ax.get_legend().get_texts()) == 20
    assert not ax.get_legend().get_title().get_text()


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
    ax = pictures.network(chain)
    lines = ax.collections[0]
    values = np.sort(np.concatenate([x.ei_edges.ravel() for x in chain]))
    widths = lines.get_linewidths()
    assert len(widths) == 12 + 6
    np.testing.assert_allclose(np.diff(widths) / 4.5 * values.max(), np.diff(values), atol=1e-12)
    nodes = [len(c.get_offsets()) for c in ax.collections[1:]]
    assert nodes == [4, 3, 2]
    unchained = Decomposition((layer("a", 1, 3, (3, 4)), layer("b", 1, 6, (2, 2))), (), {})
    with pytest.raises(ValueError, match="'b' takes 2 inputs"):
        pictures.network(unchained)


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
    monkeypatch.setattr("eiplane.plot.movies._palette", lambda colours: 1 / 0)
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
    for extra in ([], ["--kind", "history"], ["--kind", "phi"], ["--plain", "--ei", "joint"]):
        out = tmp_path / "out.png"
        assert main(["plot", str(path), str(out), *extra]) == 0
        assert out.stat().st_size > 10_000
        out.unlink()
    assert main(["plot", str(path), str(other), str(tmp_path / "two.pdf")]) == 0
    assert main(["plot", str(path), str(other), str(tmp_path / "two.gif")]) == 1
    assert "several runs" in capsys.readouterr().err
    assert main(["plot", str(tmp_path / "none.jsonl"), str(tmp_path / "x.png")]) == 1
    assert "none.jsonl" in capsys.readouterr().err
    assert plt.get_fignums() == []
