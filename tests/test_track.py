"""Following a training: the file survives kills, and the training notices nothing."""

import json
import signal
import subprocess
import sys
import textwrap
import warnings

import numpy as np
import pytest

import eiplane
from eiplane.files import Appender, read_records
from eiplane.training import History, Record, Tracker, as_history
from eiplane.training.loggers import log_scalars
from eiplane.training.tracker import is_main_process

FAST = {"measures": ("sensitivity", "ei_parts"), "samples": 2000, "threads": 1}


def growing(step):
    """Return the weights of a network at a step."""
    rng = np.random.default_rng(5)
    return [(1 + 0.1 * step) * rng.normal(size=shape) for shape in ((3, 2), (2, 3))]


class Net:
    """A network that changes when it is told to."""

    def __init__(self):
        self.step = 0

    def __call__(self):
        return growing(self.step)


def track(path, steps, **options):
    net = Net()
    with Tracker(net, path, **FAST, **options) as tracker:
        for net.step in steps:
            tracker.record(net.step, loss=1.0 / (1 + net.step))
        return tracker.history


def test_a_record_is_what_analyze_says(tmp_path):
    history = track(tmp_path / "run.jsonl", range(3))
    expected = eiplane.analyze(growing(2), **FAST)
    for layer in expected:
        for quantity in ("sensitivity", "ei_parts", "degeneracy"):
            assert history.values(layer.name, quantity)[2] == getattr(layer, quantity)
    assert history.metric("loss").tolist() == [1.0, 0.5, 1 / 3]


def test_the_file_is_a_line_of_json_a_record_and_loads_again(tmp_path):
    path = tmp_path / "deeper" / "run.jsonl"
    history = track(path, range(4))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line.get("step") for line in lines] == [None, 0, 1, 2, 3]
    loaded = Tracker.load(path)
    assert loaded.history.steps.tolist() == [0, 1, 2, 3]
    assert [r.to_json() for r in loaded.history] == [r.to_json() for r in history]
    with pytest.raises(ValueError, match="no model"):
        loaded.record(9)


def test_every_passes_steps_over(tmp_path):
    history = track(tmp_path / "run.jsonl", range(10), every=4)
    assert history.steps.tolist() == [0, 4, 8]


def test_a_resumed_run_doubles_nothing(tmp_path):
    path = tmp_path / "run.jsonl"
    track(path, range(5))
    before = path.read_bytes()
    with pytest.warns(UserWarning, match="step 3 is in .* already"):
        history = track(path, range(3, 8))
    assert history.steps.tolist() == list(range(8))
    assert path.read_bytes().startswith(before)
    assert [r.get("step") for r in read_records(path)] == [None, *range(8)]


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize(
    ("other", "difference"),
    [
        ([np.eye(3), np.eye(3)], "layer '1' is there only now"),
        ([np.ones((2, 3))], "layer '0' had n_out 3 and has 2"),
        ([np.ones((3, 4))], "layer '0' had n_in 3 and has 4"),
        ([eiplane.Layer(np.eye(3), None, "relu", "0")], "activation 'identity' and has 'relu'"),
        ([eiplane.Layer(np.eye(3), None, "identity", "fc")], "layer 'fc' is there only now"),
    ],
)
def test_another_architecture_is_another_run(tmp_path, other, difference, background):
    path = tmp_path / "run.jsonl"
    first = [eiplane.Layer(np.eye(3), None, "identity", "0")]
    with Tracker(first, path, measures="sensitivity") as tracker:
        tracker.record(0)
    before = path.read_bytes()

    def go_on():
        made = [x if isinstance(x, eiplane.Layer) else eiplane.Layer(x, None, "identity", str(i))
                for i, x in enumerate(other)]  # fmt: skip
        with Tracker(made, path, measures="sensitivity", background=background) as tracker:
            tracker.record(1)

    with pytest.raises(ValueError, match=difference):
        go_on()
    assert path.read_bytes() == before
    with Tracker(first, path, measures="sensitivity") as tracker:
        tracker.record(1)
    assert path.read_bytes().startswith(before)


def test_a_tracker_is_true_before_its_first_record():
    tracker = Tracker([np.eye(2)])
    assert len(tracker) == 0
    assert tracker
    assert bool(Tracker(None))


def test_a_run_can_be_started_anew(tmp_path):
    path = tmp_path / "run.jsonl"
    track(path, range(5), edges=True)
    history = track(path, [7], resume=False)
    assert history.steps.tolist() == [7]
    assert not list(path.with_suffix(".edges").iterdir())


def test_other_options_are_another_run(tmp_path):
    path = tmp_path / "run.jsonl"
    track(path, range(2))
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"\"samples\": 2000.*resume=False"):
        Tracker(Net(), path, measures=("sensitivity", "ei_parts"), samples=3000)
    Tracker(Net(), path, **(FAST | {"threads": 2})).close()  # threads change no number
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"hello\n", "line 1"),
        (b'{"step": 1}\n', "not the file of a tracked run"),
        (b'{"eiplane": 99, "options": {}}\n', "newer"),
        (b'{"eiplane": 1, "options": {}}\n{"step": "one"}\n', "not a record"),
        (b'{"eiplane": 1, "options": {}}\n[1]\n', "line 2: it is not a JSON object"),
    ],
)
def test_other_files_are_refused_and_left_alone(tmp_path, content, match):
    path = tmp_path / "run.jsonl"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=match):
        Tracker.load(path)
    with pytest.raises(ValueError, match=match + "|options"):
        Tracker(Net(), path, **FAST)
    assert path.read_bytes() == content


def test_a_cut_line_is_mended_wherever_it_was_cut(tmp_path):
    whole = tmp_path / "whole.jsonl"
    track(whole, range(4))
    data = whole.read_bytes()
    ends = [i + 1 for i, byte in enumerate(data) if byte == ord("\n")]
    rng = np.random.default_rng(1)
    for cut in {*rng.integers(0, len(data), 40).tolist(), *ends, *(e - 1 for e in ends), 0, 1}:
        path = tmp_path / "cut.jsonl"
        path.write_bytes(data[:cut])
        # What is left are the lines that were complete, those that lack but their end included.
        lines = sum(end <= cut + 1 for end in ends)
        net = Net()
        with Tracker(net, path, **FAST) as tracker:
            assert tracker.steps == list(range(max(lines - 1, 0)))
            for net.step in range(len(tracker), 4):
                tracker.record(net.step, loss=1.0 / (1 + net.step))
        # Where there was nothing to write, nothing was.
        assert path.read_bytes() == (data if lines <= 4 else data[:cut])


KILLED = """
import os, signal, sys, time, random
import numpy as np
from eiplane.training import Tracker

path, seed = sys.argv[1], int(sys.argv[2])
chance = random.Random(seed)
weights = [np.array([[1.0, 2.0], [3.0, -1.0]])]
real = os.write

def slowly(file, data):  # a record takes many writes, so that most kills hit one in the middle
    if file == slow:
        time.sleep(2e-4)
        return real(file, data[:37])
    return real(file, data)

acknowledged = []
for life in range(50):
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        with Tracker(weights, path, measures="ei_parts", samples=200, threads=1) as t:
            slow = t._file._file if life % 2 else -1
            os.write = slowly
            start = t.steps[-1] + 1 if t.steps else 0
            for step in range(start, start + 100_000):
                t.record(step, loss=float(step))
                real(write, step.to_bytes(4, "little"))
        os._exit(0)
    os.close(write)
    # One life in three may end before its first record; the others write some, however slow.
    data = os.read(read, 4) if life % 3 else b""
    time.sleep(chance.uniform(0.004, 0.05))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with open(read, "rb") as pipe:
        data += pipe.read()
    acknowledged += [int.from_bytes(data[i:i + 4], "little") for i in range(0, len(data), 4)]
    steps = Tracker.load(path).steps if os.path.exists(path) and os.path.getsize(path) else []
    missing = set(acknowledged) - set(steps)
    assert not missing, (life, missing)
    assert steps == list(range(len(steps))), (life, steps)
    assert len(steps) <= len(set(acknowledged)) + life + 1, life
with Tracker(weights, path, measures="ei_parts", samples=200, threads=1) as t:
    t.record(len(t))
print(len(acknowledged))
"""


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="no fork on this system")
def test_fifty_kills_at_random_lose_and_double_nothing(tmp_path):
    path = tmp_path / "run.jsonl"
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLED), str(path), "11"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 33  # it did record something between the kills
    records = read_records(path)
    steps = [r["step"] for r in records[1:]]
    assert steps == list(range(len(steps)))
    assert path.read_bytes().endswith(b"\n")
    values = {r["layers"][0]["ei_parts"] for r in records[1:]}
    assert len(values) == 1


def test_a_full_disk_leaves_no_half_line(tmp_path, monkeypatch):
    import os

    path = tmp_path / "run.jsonl"
    with Appender(path) as file:
        file.append({"a": 1})
        real = os.write

        def full(handle, data):
            if len(data) < 6:
                raise OSError(28, "No space left on device")
            return real(handle, data[:4])

        monkeypatch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space"):
            file.append({"b": 2})
        monkeypatch.undo()
        file.append({"c": 3})
    assert read_records(path) == [{"a": 1}, {"c": 3}]


def test_metrics_that_are_no_finite_numbers(tmp_path):
    path = tmp_path / "run.jsonl"
    with Tracker(Net(), path, **FAST) as tracker:
        tracker.record(0, loss=float("nan"), accuracy=np.float32(0.5))
        with pytest.raises(TypeError, match="metric 'note' must be a number"):
            tracker.record(1, note="good")
    assert "NaN" not in path.read_text()
    history = Tracker.load(path).history
    assert np.isnan(history.metric("loss")[0])
    assert history.metric("accuracy")[0] == 0.5
    assert len(history) == 1


@pytest.mark.parametrize(("step", "error"), [(1.5, TypeError), ("1", TypeError), (-1, ValueError)])
def test_bad_steps(step, error):
    with pytest.raises(error, match="step must be"):
        Tracker(Net(), **FAST).record(step)


def test_bad_options_are_told_at_once(tmp_path):
    with pytest.raises(TypeError, match="colour"):
        Tracker(Net(), tmp_path / "run.jsonl", colour="red")
    with pytest.raises(ValueError, match="every must be"):
        Tracker(Net(), every=0)
    assert list(tmp_path.iterdir()) == []


def test_a_bad_network_leaves_no_record(tmp_path):
    path = tmp_path / "run.jsonl"
    tracker = Tracker([np.array([[np.nan]])], path, **FAST)
    with pytest.raises(ValueError, match="NaN or infinite"):
        tracker.record(0)
    tracker.close()
    assert Tracker.load(path).steps == []


def test_per_edge_matrices(tmp_path):
    path = tmp_path / "run.jsonl"
    track(path, range(2), edges=True)
    expected = eiplane.analyze(growing(1), **FAST)
    kept = Tracker.load(path).edges(1)
    np.testing.assert_array_equal(kept["0/ei_edges"], expected[0].ei_edges)
    np.testing.assert_array_equal(kept["1/degeneracy_edges"], expected[1].degeneracy_edges)
    with pytest.raises(KeyError, match="step 9"):
        Tracker.load(path).edges(9)
    memory = Tracker(Net(), edges=True, **FAST)
    memory.record(0)
    np.testing.assert_array_equal(
        memory.edges(0)["0/ei_edges"], eiplane.analyze(growing(0), **FAST)[0].ei_edges
    )


def test_only_rank_zero_writes(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    path = tmp_path / "run.jsonl"
    assert not is_main_process()
    with Tracker(Net(), path, **FAST) as tracker:
        assert tracker.record(0) is None
        assert not tracker.due(0)
    assert not path.exists()
    monkeypatch.setenv("RANK", "0")
    assert is_main_process()


class Log:
    def __init__(self):
        self.calls = []

    def log(self, values, step):
        self.calls.append((step, values))


class Board:
    def __init__(self):
        self.scalars = {}

    def add_scalar(self, key, value, step):
        self.scalars[key, step] = value


def test_loggers():
    log, board = Log(), Board()
    tracker = Tracker(Net(), loggers=[log, board], every=2, **FAST)
    for step in range(3):
        tracker.record(step)
    assert [step for step, _ in log.calls] == [0, 2]
    sent = log.calls[0][1]
    assert sent["eiplane/1/ei_parts"] == as_history(tracker).values("1", "ei_parts")[0]
    assert {k for k, step in board.scalars if step == 2} == set(sent)
    with pytest.raises(TypeError, match="list has neither"):
        log_scalars([[]], tracker.history[0])


def test_the_training_notices_nothing(tmp_path):
    torch = pytest.importorskip("torch")
    torch.manual_seed(3)
    model = torch.nn.Sequential(
        torch.nn.Linear(4, 5), torch.nn.Sigmoid(), torch.nn.Linear(5, 3), torch.nn.Sigmoid()
    )
    model.train()
    model[0].eval()
    model(torch.rand(2, 4)).sum().backward()
    before = {
        "modes": [m.training for m in model.modules()],
        "weights": [p.detach().clone() for p in model.parameters()],
        "grads": [p.grad.clone() for p in model.parameters()],
        "torch": torch.get_rng_state(),
        "numpy": np.random.get_state()[1].copy(),  # noqa: NPY002
        "hooks": [len(m._forward_hooks) for m in model.modules()],
    }
    with Tracker(model, tmp_path / "run.jsonl", **FAST) as tracker:
        record = tracker.record(0, loss=torch.tensor(0.25))
    assert record.metrics == {"loss": 0.25}
    assert [layer["n_in"] for layer in record.layers] == [4, 5]
    assert [m.training for m in model.modules()] == before["modes"]
    assert all(map(torch.equal, model.parameters(), before["weights"]))
    assert all(map(torch.equal, [p.grad for p in model.parameters()], before["grads"]))
    assert all(p.requires_grad for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), before["torch"])
    assert (np.random.get_state()[1] == before["numpy"]).all()  # noqa: NPY002
    assert [len(m._forward_hooks) for m in model.modules()] == before["hooks"]


def test_data_frame_and_xarray():
    pytest.importorskip("pandas")
    pytest.importorskip("xarray")
    net = Net()
    tracker = Tracker(net, **FAST)
    for net.step in (0, 3):
        tracker.record(net.step, loss=float(net.step))
    frame = tracker.to_dataframe()
    assert frame.index.names == ["step", "layer"]
    assert frame.loc[(3, "1"), "loss"] == 3.0
    array = tracker.to_xarray()
    assert array.dims == ("step", "layer", "quantity")
    assert array.sel(step=3, layer="1", quantity="degeneracy") == pytest.approx(
        frame.loc[(3, "1"), "degeneracy"]
    )
    assert array.coords["loss"].values.tolist() == [0.0, 3.0]


def test_as_history(tmp_path):
    path = tmp_path / "run.jsonl"
    history = track(path, range(2))
    network = eiplane.analyze(growing(0), **FAST)
    assert as_history(path).steps.tolist() == [0, 1]
    assert as_history(str(path)).name == "run"
    assert as_history(history) is history
    assert as_history(network).steps.tolist() == [0]
    assert as_history([network, network]).steps.tolist() == [0, 1]
    assert as_history([Record.of(4, network)]).steps.tolist() == [4]
    with pytest.raises(TypeError, match="not list"):
        as_history([])
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(ValueError, match="holds no record"):
        as_history(tmp_path / "empty.jsonl")


def test_history_is_sorted_sliced_and_told_apart():
    network = eiplane.analyze(growing(0), **FAST)
    history = History([Record.of(s, network) for s in (5, 1, 3, 1)])
    assert history.steps.tolist() == [1, 3, 5]
    assert history[1:].steps.tolist() == [3, 5]
    assert history.quantities == ["sensitivity", "ei_parts", "degeneracy", "outlier_fraction"]
    assert np.isnan(history.values("0", "ei")).all()


def test_demo_snapshots_are_those_of_the_script():
    pytest.importorskip("sklearn")
    from eiplane.cli.data import train_iris
    from eiplane.cli.demo import iris_snapshots

    kept = iris_snapshots()
    assert kept["epochs"][0] == 0
    assert kept["epochs"][-1] == 4000
    assert kept["test_accuracy"][-1] > 0.9
    # The first epochs again: float32 sums may differ between machines in their last digits.
    train_iris_epochs = train_iris.EPOCHS
    try:
        train_iris.EPOCHS = 100
        again = train_iris.train()
    finally:
        train_iris.EPOCHS = train_iris_epochs
    for i in range(3):
        weights = again[f"weight_{i}"]
        np.testing.assert_allclose(weights, kept[f"weight_{i}"][: len(weights)], atol=1e-4)


def small_model():
    torch = pytest.importorskip("torch")
    torch.manual_seed(1)
    return torch.nn.Sequential(
        torch.nn.Linear(4, 5), torch.nn.Sigmoid(), torch.nn.Linear(5, 3), torch.nn.Tanh()
    )


def test_a_module_is_followed_through_updates_and_replacements():
    torch = pytest.importorskip("torch")
    model = small_model()
    tracker = Tracker(model, **FAST)

    def agrees(step):
        record = tracker.record(step)
        expected = eiplane.analyze(model, **FAST)
        assert [x["name"] for x in record.layers] == [x.name for x in expected]
        assert [x["sensitivity"] for x in record.layers] == [x.sensitivity for x in expected]
        return [x["sensitivity"] for x in record.layers]

    seen = [agrees(0)]
    with torch.no_grad():
        model[0].weight.mul_(3.0)  # as an optimizer does
    seen.append(agrees(1))
    model[2].weight = torch.nn.Parameter(4.0 * torch.rand(3, 5))
    seen.append(agrees(2))
    model[0].weight.data = 5.0 * torch.rand(5, 4)
    seen.append(agrees(3))
    model[1] = torch.nn.Tanh()
    seen.append(agrees(4))
    assert len({tuple(values) for values in seen}) == len(seen)
    with torch.no_grad():
        model[0].weight[1, 2] = float("nan")
    with pytest.raises(ValueError, match=r"NaN or infinite.*\[1, 2\]"):
        tracker.record(5)


def test_wiring_is_read_once(monkeypatch):
    import eiplane.training.watch

    model, calls = small_model(), []
    real = eiplane.training.watch.to_network
    monkeypatch.setattr(
        eiplane.training.watch, "to_network", lambda *a: calls.append(1) or real(*a)
    )
    tracker = Tracker(model, **FAST)
    for step in range(5):
        tracker.record(step)
    assert len(calls) == 1


def test_measuring_in_the_background(tmp_path):
    torch = pytest.importorskip("torch")
    model = small_model()
    path = tmp_path / "run.jsonl"
    expected, log = [], Log()
    with Tracker(model, path, background=True, edges=True, loggers=[log], **FAST) as tracker:
        for step in range(4):
            assert tracker.record(step, loss=step) is None
            expected.append(eiplane.analyze(model, **FAST))
            with torch.no_grad():  # at once: the tracker has its own copy
                model[0].weight.mul_(2.0)
        assert tracker.steps == [0, 1, 2, 3]
    history = Tracker.load(path).history
    assert history.steps.tolist() == [0, 1, 2, 3]
    assert history.metric("loss").tolist() == [0, 1, 2, 3]
    for i, found in enumerate(expected):
        assert history.values("0", "sensitivity")[i] == found[0].sensitivity
    np.testing.assert_array_equal(
        Tracker.load(path).edges(2)["0/ei_edges"], expected[2][0].ei_edges
    )
    assert [step for step, _ in log.calls] == [0, 1, 2, 3]


def test_arrays_in_the_background():
    net = Net()
    with Tracker(net, background=True, activation="tanh", **FAST) as tracker:
        for net.step in range(2):
            tracker.record(net.step)
    expected = eiplane.analyze(growing(1), "tanh", **FAST)
    assert as_history(tracker).values("1", "ei_parts")[1] == expected[1].ei_parts


def test_trouble_in_the_background_is_told():
    from eiplane.training.background import Background

    tracker = Tracker(Net(), background=True, bins=1)
    tracker.record(0)
    with pytest.raises(ValueError, match="bins must be"):
        tracker.close()
    worker = Background(lambda number, result: None)
    worker.kill()
    with pytest.raises(RuntimeError, match="has ended"):
        worker.submit(0, growing(0), {})


def test_tensorboard(tmp_path):
    tensorboard = pytest.importorskip("torch.utils.tensorboard", exc_type=ImportError)
    board = tensorboard.SummaryWriter(tmp_path)
    Tracker(Net(), loggers=[board], **FAST).record(3)
    board.close()
    assert b"eiplane/0/ei_parts" in next(tmp_path.iterdir()).read_bytes()


def test_lightning():
    torch = pytest.importorskip("torch")
    lightning = pytest.importorskip("lightning.pytorch", exc_type=ImportError)
    pytest.importorskip("lightning.pytorch.plugins.environments")
    from eiplane import callbacks

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = small_model()

        def training_step(self, batch, index):
            loss = self.net(batch[0]).square().sum()
            self.log("loss", loss)
            return loss

        def configure_optimizers(self):
            return torch.optim.SGD(self.net.parameters(), lr=0.01)

    module = Module()
    tracker = Tracker(module.net, every=3, **FAST)
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.rand(40, 4)), 4)
    # Lightning asks MPI otherwise, which may be installed in part.
    environment = lightning.plugins.environments.LightningEnvironment()
    trainer = lightning.Trainer(
        plugins=[environment],
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
        callbacks=[callbacks.lightning(tracker)],
    )  # fmt: skip
    trainer.fit(module, data)
    assert tracker.steps == [0, 3, 6, 9]
    assert np.isfinite(tracker.history.metric("loss")[1:]).all()
    assert len(set(as_history(tracker).values("0", "ei_parts"))) == 4


def test_hugging_face(tmp_path):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    from eiplane import callbacks

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = small_model()

        def forward(self, x, labels=None):
            return {"loss": self.net(x).square().sum()}

    model = Model()
    tracker = Tracker(model.net, every=2, **FAST)
    arguments = transformers.TrainingArguments(
        str(tmp_path), max_steps=5, per_device_train_batch_size=4, logging_steps=1, report_to=[],
        save_strategy="no", disable_tqdm=True, use_cpu=True,
    )  # fmt: skip
    data = [{"x": torch.rand(4), "labels": 0} for _ in range(40)]
    transformers.Trainer(
        model, arguments, train_dataset=data, callbacks=[callbacks.hugging_face(tracker)]
    ).train()
    assert tracker.steps == [0, 2, 4]
    assert np.isfinite(tracker.history.metric("loss")[1:]).all()


def test_hugging_face_s_events_without_a_trainer():
    transformers = pytest.importorskip("transformers")
    from eiplane import callbacks

    net = Net()
    tracker = Tracker(net, every=2, **FAST)
    callback = callbacks.hugging_face(tracker)
    state = transformers.TrainerState(is_world_process_zero=True)
    callback.on_train_begin(None, state, None)
    for net.step in range(1, 5):
        state.global_step = net.step
        state.log_history.append({"loss": 1 / net.step, "epoch": 0.5, "step": net.step})
        callback.on_step_end(None, state, None)
    assert tracker.steps == [0, 2, 4]
    assert tracker.history.metric("loss")[1] == 0.5
    assert tracker.history.metrics == ["loss"]
    other = transformers.TrainerState(is_world_process_zero=False, global_step=6)
    callback.on_step_end(None, other, None)
    assert tracker.steps == [0, 2, 4]


@pytest.fixture
def keras(monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    return pytest.importorskip("keras")


def test_keras(keras):
    from eiplane import callbacks

    part = keras.layers
    model = keras.Sequential(
        [keras.Input((4,)), part.Dense(5, "sigmoid"), part.Dropout(0.1), part.Dense(3, "softmax")]
    )
    tracker = Tracker(model, every=5, **FAST)
    model.compile(
        optimizer=keras.optimizers.SGD(0.01), loss=keras.losses.SparseCategoricalCrossentropy()
    )
    x = np.random.default_rng(0).random((40, 4)).astype(np.float32)
    chosen = np.arange(40) % 3
    model.fit(x, chosen, epochs=1, batch_size=4, verbose=0, callbacks=[callbacks.keras(tracker)])
    assert tracker.steps == [0, 5, 10]
    assert tracker.history.metrics == ["loss"]
    now = eiplane.analyze(callbacks.keras_layers(model), **FAST)
    for layer in now:
        assert as_history(tracker).values(layer.name, "sensitivity")[-1] == layer.sensitivity


@pytest.mark.parametrize("softmax", ["argument", "activation", "layer", "loss"])
def test_dense_layers_of_keras_give_its_own_predictions(keras, softmax):
    from eiplane import callbacks

    part = keras.layers
    last = {
        "argument": [part.Dense(3, "softmax")],
        "activation": [part.Dense(3), part.Activation("softmax")],
        "layer": [part.Dense(3), part.Softmax()],
        "loss": [part.Dense(3)],
    }[softmax]
    model = keras.Sequential(
        [keras.Input((4,)), part.Dense(5), part.ReLU(), part.Dense(6, "tanh"), *last]
    )
    layers = callbacks.keras_layers(model)
    assert [(x.n_in, x.n_out, x.activation.name) for x in layers] == [
        (4, 5, "relu"), (5, 6, "tanh"), (6, 3, "identity"),
    ]  # fmt: skip
    x = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    out = x
    for layer in layers:
        out = layer(out)
    if softmax != "loss":
        out = np.exp(out)
        out /= out.sum(1, keepdims=True)
    np.testing.assert_allclose(out, model.predict(x, verbose=0), rtol=1e-4, atol=1e-6)


def test_weights_are_asked_of_keras_before_they_are_measured(keras, monkeypatch):
    """While JAX trains they are only in the model once a callback has asked for it."""
    from eiplane import callbacks

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    tracker = Tracker(model, every=3, **FAST)
    callback, asked = callbacks.keras(tracker), []
    of_callback = property(lambda self: asked.append((self.step, tuple(tracker.steps))))
    monkeypatch.setattr(type(callback), "model", of_callback)
    callback.on_train_begin()
    for batch in range(4):
        callback.on_train_batch_end(batch)
    assert asked == [(0, ()), (3, (0,))]
    assert tracker.steps == [0, 3]


def test_what_is_no_chain_of_dense_layers_of_keras(keras):
    from eiplane import callbacks

    part = keras.layers
    rows, image = keras.Input((4,)), keras.Input((8, 1))
    added = part.Dense(3)(part.Add()([part.Dense(4, "relu")(rows), rows]))
    embedded = part.Dense(3)(part.Flatten()(part.Embedding(9, 2)(rows)))
    scaled = part.Dense(3)(part.LayerNormalization()(part.Dense(4, "relu")(rows)))
    seen = part.Dense(3)(part.Flatten()(part.Conv1D(2, 3, use_bias=False)(image)))
    for given, made, why in [
        (rows, added, "does not take what dense"),
        (rows, embedded, "an embedding table"),
        (rows, scaled, "does not take what dense"),
        (image, seen, "conv1d.*: not dense"),
    ]:
        with pytest.raises(TypeError, match=f"no chain of Dense layers.*{why}"):
            callbacks.keras_layers(keras.Model(given, made))


def test_models_that_can_be_called_are_not():
    """What is given to a tracker is called for a model only if it is none itself."""
    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Tanh())
    program = torch.export.export(module, (torch.zeros(1, 3),))
    for given in (module, program):
        assert callable(given)
        for model in (given, lambda given=given: given):
            (layer,) = Tracker(model, **FAST).record(0).layers
            assert (layer["n_in"], layer["activation"]) == (3, "tanh")


def test_models_of_keras_that_are_no_modules_are_not_called(keras, monkeypatch):
    from eiplane.training.watch import called

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, "softmax")])
    monkeypatch.setattr("eiplane.extract._is_module", lambda model: False)  # as with JAX
    assert callable(model)
    assert called(model) is model
    assert called(lambda: model) is model


def test_a_callback_without_its_framework_says_what_it_needs(monkeypatch):
    from eiplane import callbacks

    for name in ("lightning.pytorch", "lightning", "pytorch_lightning"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ModuleNotFoundError, match="needs lightning"):
        callbacks.lightning(Tracker(Net(), **FAST))


@pytest.mark.parametrize("kind", ["norm", "slope", "embedding"])
def test_what_training_changes_beside_the_weights_is_read_anew(kind):
    torch = pytest.importorskip("torch")
    nn = torch.nn
    first = nn.Embedding(5, 4) if kind == "embedding" else nn.Linear(3, 4)
    middle = {"norm": nn.LayerNorm(4), "slope": nn.PReLU(4), "embedding": nn.Identity()}[kind]
    module = nn.Sequential(first, middle, nn.Linear(4, 2), nn.Tanh())
    x = torch.zeros(1, 3, dtype=torch.long) if kind == "embedding" else torch.rand(2, 3)
    options = {"measures": "sensitivity", "input_data": x}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tracker = Tracker(module, **options)
        tracker.record(0)
        with torch.no_grad():
            changed = first.weight if kind == "embedding" else middle.weight
            changed.mul_(3.0).add_(0.5)
        tracker.record(1)
        expected = eiplane.analyze(module, **options)
    for layer in expected:
        assert as_history(tracker).values(layer.name, "sensitivity")[1] == layer.sensitivity
    assert (
        as_history(tracker).values(expected[-1].name, "sensitivity")[0] != expected[-1].sensitivity
    )


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="no such signal on Windows")
def test_networks_larger_than_a_pipe_wait_without_the_training():
    """Submitting takes a copy and returns, whatever is still being measured."""
    from eiplane.training import Background

    done, weights = [], [np.full((4, 40_000), 1e-3)]
    background = Background(lambda number, result: done.append(number))
    options = {"activation": "sigmoid", "measures": "sensitivity", "progress": False, "threads": 1}
    # Nothing is measured yet when all are submitted, or the process would have to be that fast.
    background._process.send_signal(signal.SIGSTOP)
    try:
        for number in range(5):
            background.submit(number, weights, options)
        assert done == []
    finally:
        background._process.send_signal(signal.SIGCONT)
    background.close()
    assert done == list(range(5))


def test_a_background_that_dies_is_told():
    from eiplane.training import Background

    background = Background(lambda number, result: None)
    background._process.kill()
    background._process.wait()
    with pytest.raises(RuntimeError, match="has ended"):
        background.submit(0, [np.eye(2)], {})
    background.close()
