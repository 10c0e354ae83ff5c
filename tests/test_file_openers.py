"""Every kind of file, handed to every function that opens one: what it is, and what opens it."""

import json
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest

import eiplane
from eiplane import loggers
from eiplane.extract import ExtractOptions, to_network
from eiplane.files import kind_of
from eiplane.training import History

rng = np.random.default_rng(0)
WEIGHTS = [rng.normal(size=(5, 4)), rng.normal(size=(3, 5))]

OPENERS = {
    "eiplane.load": eiplane.load,
    "eiplane.Tracker.load": eiplane.Tracker.load,
    "eiplane.analyze": lambda path: to_network(path, ExtractOptions("relu")),
    "History": History.read,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a file of each kind that eiplane writes, or reads without other libraries."""
    path = tmp_path_factory.mktemp("kinds")
    result = eiplane.analyze(WEIGHTS, measures="sensitivity")
    result.save(path / "result.npz")
    result.to_html(path / "page.html")
    (path / "result.json").write_text(json.dumps(result.to_dict(), indent=1))
    tracker = eiplane.Tracker(
        lambda: WEIGHTS, path / "run.jsonl", measures="sensitivity", edges=True,
        loggers=[loggers.CSV(path / "run.csv")],
    )  # fmt: skip
    tracker.record(0)
    tracker.close()
    np.savez(path / "weights.npz", a=WEIGHTS[0], b=WEIGHTS[1])
    np.save(path / "weight.npy", WEIGHTS[0])
    data = np.ones((3, 4), np.float32).tobytes()
    header = json.dumps({"w": {"dtype": "F32", "shape": [3, 4], "data_offsets": [0, len(data)]}})
    (path / "m.safetensors").write_bytes(len(header).to_bytes(8, "little") + header.encode() + data)
    return path


#: The function that opens a file; none for what is only looked at.
OPENED = {
    "result.npz": "eiplane.load", "run.jsonl": "eiplane.Tracker.load",
    "weights.npz": "eiplane.analyze", "weight.npy": "eiplane.analyze",
    "m.safetensors": "eiplane.analyze", "page.html": None, "run.csv": None, "result.json": None,
}  # fmt: skip


@pytest.mark.parametrize("name", OPENED)
@pytest.mark.parametrize("opener", OPENERS)
def test_the_function_that_opens_a_file_is_named(folder, name, opener):
    path, right = folder / name, OPENED[name]
    reads = {right, "History"} if right == "eiplane.Tracker.load" else {right}
    if opener in reads:
        assert OPENERS[opener](path) is not None
        return
    with pytest.raises(ValueError, match="it is ") as caught:
        OPENERS[opener](path)
    said = str(caught.value)
    assert str(path) in said
    assert "allow_pickle" not in said
    assert "codec" not in said
    assert (f"which {right} opens" in said) == (right is not None)


def test_the_command_line_says_so_too(folder):
    for command, name, right in (
        ("analyze", "run.jsonl", "eiplane.Tracker.load"), ("plot", "result.npz", "eiplane.load"),
    ):  # fmt: skip
        more = [str(folder / "out.png")] if command == "plot" else []
        ran = subprocess.run(
            [sys.executable, "-m", "eiplane", command, str(folder / name), *more],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert ran.returncode == 1
        assert f"which {right} opens" in ran.stderr


def test_names_and_contents_of_a_result_count(tmp_path, folder):
    renamed = tmp_path / "other.bin"
    renamed.write_bytes((folder / "result.npz").read_bytes())
    with pytest.raises(ValueError, match=r"which eiplane\.load opens"):
        to_network(renamed, ExtractOptions("relu"))
    np.savez(tmp_path / "w.npz", header=WEIGHTS[0], other=WEIGHTS[1])  # an array that is called so
    names = to_network(tmp_path / "w.npz", ExtractOptions("relu")).network.names
    assert names == ("header", "other")
    cut = tmp_path / "cut.npz"
    cut.write_bytes((folder / "result.npz").read_bytes()[:200])
    with pytest.raises(ValueError, match="is not a decomposition that eiplane saved"):
        eiplane.load(cut)
    with pytest.raises(OSError, match=r"nothing\.npz"):
        eiplane.load(tmp_path / "nothing.npz")


FOREIGN = {
    "m.gguf": (b"GGUF\3\0\0\0", "GGUF"), "m.bin": (b"GGUF\3\0\0\0", "GGUF"),
    "m.h5": (b"\x89HDF\r\n\x1a\n", "load_model"), "m.keras": (b"PK\3\4", "load_model"),
    "m.tflite": (b"\x1c\0\0\0TFL3", "TensorFlow Lite"), "m.pkl": (b"\x80\4", "pickle"),
    "m.joblib": (b"\x80\4", "pickle"), "m.msgpack": (b"\x81", "msgpack_restore"),
    "m.ckpt.index": (b"\0", "load_checkpoint"), "m.mat": (b"MATLAB 5.0 MAT", "loadmat"),
    "m.csv": (b"1,2\n", "loadtxt"), "0.distcp": (b"\x80", "dcp_to_torch_save"),
    "m.mlmodel": (b"\x08", "Core ML"), "saved_model.pb": (b"\x08", "SavedModel"),
}  # fmt: skip


@pytest.mark.parametrize("name", FOREIGN)
def test_formats_of_others_are_refused_by_name(tmp_path, name):
    content, word = FOREIGN[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match="it is ") as caught:
        to_network(tmp_path / name, ExtractOptions("relu"))
    assert word in str(caught.value)
    if name == "saved_model.pb":
        with pytest.raises(ValueError, match="SavedModel"):
            to_network(tmp_path, ExtractOptions("relu"))


def test_directories_say_what_they_are(tmp_path):
    for inside, word in (("_METADATA", "Orbax"), (".metadata", "dcp_to_torch_save"),
                         ("pytorch_model.bin", "pytorch_model.bin")):  # fmt: skip
        folder = tmp_path / word
        folder.mkdir()
        (folder / inside).write_bytes(b"{}")
        with pytest.raises(ValueError, match=r"no \.safetensors file; it is") as caught:
            to_network(folder, ExtractOptions("relu"))
        assert word in str(caught.value)


def test_archives_that_are_odd_are_of_no_kind(tmp_path):
    path = tmp_path / "odd.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "text")
    assert kind_of(path) == ""
    path.write_bytes(path.read_bytes()[:40])
    assert kind_of(path) == ""


@pytest.mark.parametrize("form", ["adam", "sgd", "adagrad", "by name"])
def test_what_an_optimizer_keeps_is_no_network(tmp_path, form):
    torch = pytest.importorskip("torch")
    net = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.ReLU(), torch.nn.Linear(5, 3))
    slots = {"sgd": ["momentum_buffer"], "adagrad": ["sum"]}.get(form, ["exp_avg", "exp_avg_sq"])
    state = {
        "state": {
            name if form == "by name" else k: {slot: torch.ones_like(p) for slot in slots}
            for k, (name, p) in enumerate(net.named_parameters())
        },
        "param_groups": [{"lr": 0.1, "betas": (0.9, 0.999), "params": [0, 1, 2, 3]}],
    }
    torch.save(state, tmp_path / "optimizer.pt")
    with pytest.raises(ValueError, match="the state of an optimizer, not of a network"):
        to_network(tmp_path / "optimizer.pt", ExtractOptions("relu"))
    beside = {"net": net.state_dict(), "whatever": state}
    torch.save(beside, tmp_path / "both.pt")
    names = to_network(tmp_path / "both.pt", ExtractOptions("relu")).network.names
    assert names == ("0", "2")
    flat = {f"0.{k}": v for k, v in net[0].state_dict().items()} | {
        "0.weight.exp_avg": torch.ones(5, 4), "0.momentum_buffer": torch.ones(5, 4),
    }  # fmt: skip
    found = to_network(flat, ExtractOptions("relu"))
    assert found.network.names == ("0",)
    assert {s.reason for s in found.skipped} == {
        "what an optimizer keeps of a parameter: no linear map"
    }


def test_a_pickle_is_never_loaded(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    (tmp_path / "m.pkl").write_bytes(pickle.dumps(Evil()))
    for open_it in OPENERS.values():
        with pytest.raises(ValueError, match="never runs code"):
            open_it(tmp_path / "m.pkl")
    assert not (tmp_path / "ran").exists()
