"""The paper's experiments: known facts, protocols, and that quick versions run and continue."""

import gzip
import json
import math

import numpy as np
import pytest

import eiplane
from eiplane.reproduce import EXPERIMENTS, reproduce

pytest.importorskip("matplotlib")
torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

from eiplane.files import read_records  # noqa: E402
from eiplane.reproduce import toy  # noqa: E402
from eiplane.reproduce.ablation import BAND, band_of  # noqa: E402
from eiplane.reproduce.data import digits, iris, mnist, read_idx  # noqa: E402
from eiplane.reproduce.learning import IRIS, mnist_protocols  # noqa: E402
from eiplane.reproduce.measuring import differentiation, follow, layers_of  # noqa: E402
from eiplane.reproduce.training import Protocol, accuracy_of, train, trained  # noqa: E402


def peak(activation, bins, low, high, step):
    weights = np.arange(low, high, step).round(10)
    return weights[toy.edge_ei(weights, activation, bins).argmax()]


def test_the_maximum_moves_to_e_for_sigmoid():
    # In the paper's steps of 0.05 it is 2.75 at 1024 bins.
    assert peak("sigmoid", 1024, 2.5, 3.0, 0.05) == 2.75
    assert abs(peak("sigmoid", 1024, 2.5, 3.0, 0.01) - math.e) < 0.05
    assert abs(peak("sigmoid", 8, 2.0, 3.5, 0.01) - math.e) > 0.4
    assert toy.fine_bin_limit("sigmoid") == pytest.approx(2.70, abs=0.01)


def test_the_maximum_moves_towards_coth_1_for_tanh():
    target = 1 / math.tanh(1)
    fine, finer = (peak("tanh", bins, 0.9, 1.7, 0.01) for bins in (512, 1024))
    assert abs(finer - target) < abs(fine - target) < 0.2
    assert toy.fine_bin_limit("tanh") == pytest.approx(1.27, abs=0.01)


@pytest.mark.parametrize("bins", [8, 16, 64])
def test_the_maximum_is_at_1_for_relu(bins):
    assert peak("relu", bins, 0.5, 3.0, 0.05) == 1.0
    assert toy.edge_ei(np.array([1.0]), "relu", bins)[0] == pytest.approx(math.log2(bins))


def test_large_weights():
    large = np.array([30.0, 300.0, 3000.0])
    falling = toy.edge_ei(large, "sigmoid", 8)
    assert (np.diff(falling) < 0).all()
    assert falling[-1] < 0.005
    for bins in (8, 16):
        assert toy.edge_ei(large, "tanh", bins)[-1] == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu"])
@pytest.mark.parametrize("pair", [(1.0, 2.0), (-3.0, 4.5), (10.0, -9.8), (0.1, 0.1)])
def test_the_ei_of_two_inputs_against_sampling(activation, pair):
    # A million draws, counted by cell pair and output bin; plug-in bias below a hundredth.
    bins, options = 8, toy.SETTINGS[activation]
    rng = np.random.default_rng(1)
    lo, hi = options["in_range"]
    x = rng.uniform(lo, hi, (1_000_000, 2))
    z = x @ np.array(pair)
    y = {"sigmoid": 1 / (1 + np.exp(-z)), "tanh": np.tanh(z), "relu": np.maximum(z, 0)}[activation]
    low, high = options["out_range"]
    kept = (y >= low) & (y <= high)
    cell = np.floor((x[kept] - lo) / (hi - lo) * bins).astype(int) @ [bins, 1]
    out = np.minimum((y[kept] - low) / (high - low) * bins, bins - 1).astype(int)
    table = np.bincount(cell * bins + out, minlength=bins**3).reshape(bins**2, bins) / kept.sum()

    def entropy(p):
        return -(p[p > 0] * np.log2(p[p > 0])).sum()

    expected = entropy(table.sum(0)) + entropy(table.sum(1)) - entropy(table)
    if activation != "relu":  # a sample dropped makes the cells unequal: there H(Y) - H(Y|X) too
        assert entropy(table.sum(1)) == pytest.approx(2 * math.log2(bins), abs=1e-3)
    assert toy.whole_ei(pair, activation, bins) == pytest.approx(expected, abs=4e-3)


@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
def test_the_ei_of_two_inputs_against_the_joint_engine(activation):
    pair = (2.0, -3.5)
    layer = eiplane.analyze(
        np.array([pair]), activation, bins=16, measures="ei", **toy.SETTINGS[activation]
    )[0]
    assert toy.whole_ei(pair, activation, 16) == pytest.approx(
        layer.ei, abs=5 * layer.ei_stderr + 1e-6
    )


def test_the_ei_of_two_inputs_is_no_less_than_that_of_its_parts():
    rng = np.random.default_rng(2)
    pairs = rng.uniform(-10, 10, (40, 2))
    layer = eiplane.analyze(pairs, "sigmoid", bins=16, measures="ei_parts")[0]
    for pair, parts in zip(pairs, layer.ei_edges.sum(axis=1), strict=True):
        assert toy.whole_ei(pair, "sigmoid", 16) >= parts - 1e-9


def test_protocols_are_the_paper_s():
    assert (IRIS.sizes, IRIS.epochs, IRIS.batch, IRIS.every) == ((4, 5, 5, 3), 4000, 10, 50)
    assert (IRIS.seeds, IRIS.shared, IRIS.rate) == ((0, 0, 0), True, 0.01)
    named = {p.name: p for p in mnist_protocols()}
    assert list(named) == [
        "25-6-5", "25-6-6-6-5", "25-6-6-6-6-6-5", "25-6-6-6-5-tanh", "25-6-6-6-5-relu",
    ]  # fmt: skip
    assert {(p.epochs, p.batch, p.seeds, p.shared) for p in named.values()} == {
        (500, 50, (1, 2, 3), False)
    }
    assert [p.every for p in named.values()] == [10, 10, 10, 20, 20]
    assert IRIS.measured[:2] == [0, 50]
    assert IRIS.measured[-1] == 4000


def test_data_sets():
    flowers = iris(0)
    assert (flowers.x.shape, flowers.test_x.shape) == ((100, 4), (50, 4))
    assert 0 < flowers.x.min() < flowers.x.max() < 1
    pictures = digits(0)
    assert pictures.x.shape == (700, 25)
    assert set(pictures.label) == {0, 1, 2, 3, 4}
    assert 0 <= pictures.x.min() < pictures.x.max() <= 1


def test_training_is_plain_gradient_descent_of_each_run_alone():
    task = iris(0)
    protocol = Protocol((4, 3, 3), epochs=2, batch=10, every=1, seeds=(4, 9))
    both = train(protocol, task)
    for i, seed in enumerate(protocol.seeds):
        stream = torch.Generator().manual_seed(seed)
        weights = [
            (2 * torch.rand(n_out, n_in, generator=stream) - 1) / n_in**0.5
            for n_in, n_out in ((4, 3), (3, 3))
        ]
        x, target = torch.from_numpy(task.x), torch.from_numpy(task.targets())
        model = torch.nn.Sequential(
            torch.nn.Linear(4, 3, bias=False), torch.nn.Sigmoid(),
            torch.nn.Linear(3, 3, bias=False), torch.nn.Sigmoid(),
        )  # fmt: skip
        with torch.no_grad():
            for parameter, weight in zip(model.parameters(), weights, strict=True):
                parameter.copy_(weight)
        descent = torch.optim.SGD(model.parameters(), lr=0.01)
        for _ in range(2):
            for batch in torch.randperm(100, generator=stream).split(10):
                descent.zero_grad()
                torch.nn.MSELoss(reduction="sum")(model(x[batch]), target[batch]).backward()
                descent.step()
        for kept, parameter in zip(both.network(-1, i), model.parameters(), strict=True):
            np.testing.assert_allclose(kept, parameter.detach().numpy(), atol=1e-6)
    assert np.abs(both.weights[0][0]).max() <= 0.5


def test_training_is_the_same_again_and_is_kept(tmp_path):
    task = iris(0)
    protocol = Protocol((4, 3, 3), epochs=3, batch=10, every=2, seeds=(1, 2))
    first = trained(protocol, task, tmp_path / "w.npz", None)
    again = trained(protocol, task, tmp_path / "w.npz", None)
    other = train(protocol, task)
    for a, b, c in zip(first.weights, again.weights, other.weights, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)
    with pytest.raises(ValueError, match="another training"):
        trained(Protocol((4, 3, 3), epochs=4), task, tmp_path / "w.npz", None)


def test_measuring_continues_where_it_stopped(tmp_path):
    task = iris(0)
    protocol = Protocol((4, 3, 3), epochs=4, batch=10, every=1, seeds=(1, 2))
    snapshots = train(protocol, task)
    whole = follow(snapshots, protocol, tmp_path)
    path = tmp_path / "4-3-3-run2.jsonl"
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    again = follow(snapshots, protocol, tmp_path)
    assert path.read_bytes() == data
    assert [h.steps.tolist() for h in again] == [[0, 1, 2, 3, 4]] * 2
    expected = eiplane.analyze(
        layers_of(snapshots.network(4, 1), "sigmoid"), bins=8, out_range=(0, 1), outliers="drop",
        measures="ei_parts",
    )  # fmt: skip
    assert whole[1].values("layer 2", "ei_parts")[-1] == expected[1].ei_parts
    assert whole[1].metric("test_loss")[2] == snapshots.metrics["test_loss"][2, 1]


def test_accuracy_of_many_networks():
    task = iris(0)
    snapshots = train(Protocol((4, 5, 3), epochs=40, batch=10, every=20, seeds=(3, 4, 5)), task)
    found = accuracy_of([w[-1] for w in snapshots.weights], "sigmoid", task.test_x, task.test_label)
    np.testing.assert_allclose(found, snapshots.metrics["test_accuracy"][-1])


@pytest.mark.parametrize("shape", [(5, 4), (3, 5), (6, 25), (1, 1)])
def test_bands_part_the_edges(shape):
    values = np.random.default_rng(0).random(shape)
    bands = [band_of(values, start) for start in range(0, 100, BAND)]
    assert (np.sum(bands, axis=0) == 1).all()
    means = [values[b].mean() for b in bands if b.any()]
    assert (np.diff(means) > 0).all()


def test_differentiation():
    from made_up import decomposition

    from eiplane.training import History, Record

    def moved(*ends):
        start = decomposition(*[(0.0, 0.0)] * len(ends))
        return differentiation(History([Record.of(0, start), Record.of(1, decomposition(*ends))]))

    alike = moved((2.0, 2.0), (4.0, 4.0))  # 20 edges each
    assert alike["angle"] == pytest.approx(0.0, abs=1e-5)
    assert alike["distance"] == pytest.approx(math.hypot(2, 2) / 20)
    across = moved((2.0, 0.0), (0.0, 2.0))
    assert across["angle"] == pytest.approx(90.0)
    assert across["spread"] == pytest.approx(math.sqrt(2))


def write_idx(path, array):
    head = b"\0\0\x08" + bytes([array.ndim]) + np.array(array.shape, ">u4").tobytes()
    data = head + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def test_idx_files(tmp_path):
    rng = np.random.default_rng(0)
    array = rng.integers(0, 256, (3, 4, 5))
    for name in ("plain", "packed.gz"):
        write_idx(tmp_path / name, array)
        np.testing.assert_array_equal(read_idx(tmp_path / name), array)
    (tmp_path / "bad").write_bytes(b"hello")
    (tmp_path / "bad.gz").write_bytes(b"hello")
    (tmp_path / "short").write_bytes((tmp_path / "plain").read_bytes()[:-1])
    for name, match in (("bad", "not an IDX"), ("bad.gz", "not a gzip"), ("short", "length")):
        with pytest.raises(ValueError, match=match):
            read_idx(tmp_path / name)


def test_mnist_from_the_test_images_alone(tmp_path):
    with pytest.raises(FileNotFoundError, match="t10k-images"):
        mnist(tmp_path)
    rng = np.random.default_rng(0)
    write_idx(tmp_path / "t10k-images-idx3-ubyte.gz", rng.integers(0, 256, (10_000, 28, 28)))
    with pytest.raises(FileNotFoundError, match="t10k-labels"):
        mnist(tmp_path)
    write_idx(tmp_path / "t10k-labels-idx1-ubyte.gz", np.arange(10_000) % 10)
    task = mnist(tmp_path)
    assert (task.x.shape, task.test_x.shape) == ((4300, 25), (700, 25))
    assert "only the test images" in task.note
    # Shrinking keeps the mean.
    assert task.x.mean() == pytest.approx(0.5, abs=0.01)


QUICK = {
    "toy": ["a-b", "a-b-maximum", "ab-c", "ab-c-sensitivity"],
    "iris": ["4-5-5-3-plane", "4-5-5-3-history", "4-5-5-3-phi"],
    "digits": ["25-6-6-6-5-plane", "25-6-6-6-5-history", "25-6-6-6-5-phi"],
    "convergence": ["convergence"],
    "ablation": ["ablation"],
    "memorization": ["plane", "histories"],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_quick_versions_write_data_figures_and_a_summary_and_continue(name, tmp_path):
    out = tmp_path / "out"
    summary = reproduce(name, out, quick=True)
    assert summary.startswith(f"# {name}")
    assert "## What the paper" in summary
    assert "## What was found" in summary
    assert (out / "summary.md").read_text().strip() == summary
    for figure in QUICK[name]:
        assert (out / f"{figure}.png").stat().st_size > 5000
        assert (out / f"{figure}.pdf").read_bytes()[:4] == b"%PDF"
    data = {p: p.read_bytes() for p in out.glob("*.jsonl")}
    assert data
    for path, content in data.items():  # a kill in the middle of each file
        path.write_bytes(content[: int(0.6 * len(content))])
    assert reproduce(name, out, quick=True) == summary
    assert {p: p.read_bytes() for p in out.glob("*.jsonl")} == data
    for path in data:
        assert read_records(path)


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="not empty"):
        reproduce("toy", tmp_path, quick=True)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]
    other = tmp_path / "other"
    other.mkdir()
    (other / "experiment.json").write_text(json.dumps({"experiment": "iris", "quick": True}))
    with pytest.raises(ValueError, match="holds the experiment iris"):
        reproduce("toy", other, quick=True)


def test_the_command_says_what_is_wrong(tmp_path, capsys):
    from eiplane.cli import main

    assert main(["reproduce", "mnist", "--out", str(tmp_path / "m")]) == 1
    assert "--data" in capsys.readouterr().err
    assert main(["reproduce", "mnist", "--data", str(tmp_path / "none")]) == 1
    assert "no such folder" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        main(["reproduce", "something"])
    assert stop.value.code == 2
    with pytest.raises(ValueError, match="no experiment 'something'"):
        reproduce("something", tmp_path)
    claims = {name for name, (module, _) in EXPERIMENTS.items() if module.startswith("claims.")}
    assert set(QUICK) | {"mnist"} | claims == set(EXPERIMENTS)
