"""Networks from files: every kind, every type of number, every corruption."""

import io
import json
import os
import struct
import subprocess
import sys
import textwrap
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from eiplane import analyze
from eiplane.extract import ExtractOptions, to_network

rng = np.random.default_rng(0)
W1, B1, W2 = rng.normal(size=(4, 3)), rng.normal(size=4), rng.normal(size=(2, 4))
STATE = {"fc1.weight": W1, "fc1.bias": B1, "fc2.weight": W2, "norm.weight": B1}


def read(path, **options):
    return to_network(path, ExtractOptions(**({"activation": "relu"} | options))).network


def safetensors_bytes(tensors, header=None):
    """Write the format by hand, so that a test can lie in it."""
    entries, data = {}, b""
    for name, (kind, array) in tensors.items():
        raw = np.ascontiguousarray(array).tobytes()
        entries[name] = {
            "dtype": kind,
            "shape": list(array.shape),
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    text = json.dumps(entries if header is None else header(entries)).encode()
    return struct.pack("<Q", len(text)) + text + data


def plain_safetensors(header=None):
    return safetensors_bytes({k: ("F64", v) for k, v in STATE.items()}, header)


@pytest.fixture
def files(tmp_path):
    """Write the same weights as every kind of file."""
    torch = pytest.importorskip("torch")
    np.savez(tmp_path / "plain.npz", **STATE)
    np.savez_compressed(tmp_path / "packed.npz", **STATE)
    (tmp_path / "m.safetensors").write_bytes(plain_safetensors())
    state = {k: torch.from_numpy(v) for k, v in STATE.items()}
    torch.save(state, tmp_path / "m.pt")
    torch.save({"epoch": 3, "state_dict": state, "optimizer": {"lr": 0.1}}, tmp_path / "m.pth")
    torch.save(state, tmp_path / "m.bin", _use_new_zipfile_serialization=False)
    shards = tmp_path / "shards"
    shards.mkdir()
    half = {"fc1.weight": W1, "norm.weight": B1}, {"fc1.bias": B1, "fc2.weight": W2}
    for i, part in enumerate(half):
        (shards / f"m-{i}.safetensors").write_bytes(
            safetensors_bytes({k: ("F64", v) for k, v in part.items()})
        )
    places = {k: f"m-{i}.safetensors" for i, part in enumerate(half) for k in part}
    (shards / "m.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    return tmp_path


KINDS = ["plain.npz", "packed.npz", "m.safetensors", "m.pt", "m.pth", "m.bin", "shards",
         "shards/m.safetensors.index.json"]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file(files, kind):
    network = read(files / kind)
    assert set(network.names) == {"fc1", "fc2"}
    assert not network.chained
    layers = {layer.name: layer for layer in network}
    assert layers["fc1"].shape == (4, 3)
    loaded = layers["fc1"].load()
    np.testing.assert_array_equal(loaded.weight, W1)
    np.testing.assert_array_equal(loaded.bias, B1)
    assert loaded.activation.name == "relu"
    np.testing.assert_array_equal(layers["fc2"].load().weight, W2)
    assert to_network(str(files / kind), ExtractOptions("relu", "fc2")).selected == ("fc2",)
    with pytest.raises(ValueError, match=r"does not say which activations follow its 2 weights"):
        to_network(files / kind)


def test_a_directory_without_index(files):
    (files / "shards" / "m.safetensors.index.json").unlink()
    assert set(read(files / "shards").names) == {"fc1", "fc2"}


def test_a_single_array(tmp_path):
    np.save(tmp_path / "w.npy", W1)
    (layer,) = read(tmp_path / "w.npy")
    assert layer.name == "w"
    np.testing.assert_array_equal(layer.load().weight, W1)


def test_the_format_s_own_library_agrees(tmp_path):
    library = pytest.importorskip("safetensors.numpy")
    library.save_file(STATE, tmp_path / "m.safetensors", metadata={"format": "pt"})
    for layer in read(tmp_path / "m.safetensors"):
        np.testing.assert_array_equal(layer.load().weight, STATE[f"{layer.name}.weight"])


def test_half_precision_of_torch(tmp_path):
    torch = pytest.importorskip("torch")
    library = pytest.importorskip("safetensors.torch")
    weight = torch.randn(5, 4)
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        state = {"fc.weight": weight.to(dtype), "fc.bias": weight[:, 0].to(dtype).contiguous()}
        library.save_file(state, tmp_path / "m.safetensors")
        torch.save(state, tmp_path / "m.pt")
        for name in ("m.safetensors", "m.pt"):
            layer = read(tmp_path / name)[0].load()
            np.testing.assert_array_equal(layer.matrix(), state["fc.weight"].double().numpy())
            np.testing.assert_array_equal(layer.offsets(), state["fc.bias"].double().numpy())


@pytest.mark.parametrize("dtype", ["<f2", ">f4", ">f8", "<f8", "<i4"])
def test_arrays_of_every_type(tmp_path, dtype):
    weight = np.arange(12).reshape(4, 3).astype(dtype)
    frozen = weight.copy()
    frozen.flags.writeable = False
    np.savez(tmp_path / "m.npz", a=weight, b=np.asfortranarray(weight), c=frozen)
    for layer in read(tmp_path / "m.npz"):
        np.testing.assert_array_equal(layer.load().matrix(), np.arange(12.0).reshape(4, 3))
    strided = np.repeat(weight, 2, axis=1)[:, ::2]
    for array in (frozen, strided, weight[::-1][::-1]):
        (layer,) = to_network(array).network
        np.testing.assert_array_equal(layer.matrix(), np.arange(12.0).reshape(4, 3))


def test_quantised_weights_are_listed_and_positions_passed_over(tmp_path):
    data = safetensors_bytes({
        "a.weight": ("F32", W1.astype("<f4")), "q.qweight": ("I32", np.ones((2, 2), "<i4")),
        "position_ids": ("I64", np.ones((1, 8), "<i8")),
        "f.weight": ("F8_E4M3", np.ones((2, 2), "u1")),
    })  # fmt: skip
    (tmp_path / "m.safetensors").write_bytes(data)
    with pytest.warns(UserWarning, match="2 parts were not analysed"):
        found = to_network(tmp_path / "m.safetensors", ExtractOptions("relu"))
    assert found.network.names == ("a",)
    assert {s.name for s in found.skipped} == {"q.qweight", "f"}
    assert "I32" in found.skipped[0].reason


def test_only_what_is_asked_for_is_checked(tmp_path):
    bad = W1.copy()
    bad[0, 0] = np.nan
    np.savez(tmp_path / "m.npz", good=W1, bad=bad)
    network = read(tmp_path / "m.npz")
    network[0].load()
    with pytest.raises(ValueError, match="layer 'bad': weight has 1 entries that are NaN"):
        network[1].load()


# -- corruption --------------------------------------------------------------------------------


def problem(path, *words, kind=ValueError, load=False):
    def read_it():
        network = read(path)
        return [layer.load() for layer in network] if load else network

    with pytest.raises(kind) as caught:
        read_it()
    for word in (str(path.name if path.name != "shards" else path), *words):
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "kind", ["plain.npz", "packed.npz", "m.safetensors", "m.pt", "m.pth", "m.bin"]
)
def test_cut_short(files, kind):
    whole = (files / kind).read_bytes()
    for keep in (0, 1, 7, 8, 40, len(whole) // 2, len(whole) - 1):
        (files / kind).write_bytes(whole[:keep])
        problem(files / kind)


@pytest.mark.parametrize(
    "kind", ["m.npz", "m.npy", "m.safetensors", "m.pt", "m.pth", "m.index.json"]
)
def test_not_what_its_name_says(tmp_path, kind):
    for content in (
        b"\x00" * 100,
        b"hello, world",
        os.urandom(3000),
        b"{}",
        b"PK\x03\x04" + b"x" * 50,
    ):
        (tmp_path / kind).write_bytes(content)
        problem(tmp_path / kind)


def test_files_of_other_kinds(files):
    problem(files / "m.safetensors" / "x", "not a kind of file")
    (files / "m.txt").write_text("1 2 3")
    problem(files / "m.txt", "not a kind of file", ".safetensors")
    os.rename(files / "m.pt", files / "wrong.safetensors")
    problem(files / "wrong.safetensors", "not a whole .safetensors")
    os.rename(files / "m.safetensors", files / "wrong.npz")
    problem(files / "wrong.npz", "not a whole .npz")
    os.rename(files / "plain.npz", files / "wrong.pt")
    problem(files / "wrong.pt")
    (files / "empty").mkdir()
    problem(files / "empty", "no .safetensors file")
    with pytest.raises(FileNotFoundError, match=r"none\.npz"):
        read(files / "none.npz")


def test_a_safetensors_file_that_lies(tmp_path):
    path = tmp_path / "m.safetensors"

    def lie(change, *words):
        def header(entries):
            change(entries)
            return entries

        path.write_bytes(plain_safetensors(header))
        problem(path, *words)

    lie(lambda e: e["fc1.weight"].update(shape=[4, 4]), "fc1.weight", "128", "96")
    lie(lambda e: e["fc1.weight"].update(shape=[2**62, 2**62]), "fc1.weight")
    lie(lambda e: e["fc1.weight"].update(shape=[-4, -3]), "fc1.weight")
    lie(lambda e: e["fc1.weight"].update(shape="43"), "fc1.weight")
    lie(lambda e: e["fc1.weight"].update(shape=[4.0, 3]), "fc1.weight")
    lie(lambda e: e["fc1.weight"].update(dtype="F32"), "fc1.weight", "48")
    lie(lambda e: e["fc1.weight"].pop("shape"), "fc1.weight")
    lie(lambda e: e.update(x=3), "'x'")
    lie(lambda e: e["fc1.bias"].update(data_offsets=[0, 32]), "overlap")
    lie(lambda e: e["norm.weight"].update(data_offsets=[10000, 10032]), "cut short", "norm.weight")
    lie(lambda e: e["norm.weight"].update(dtype="X9", data_offsets=[5, 3]), "norm.weight")
    twice = b'{"a": {"dtype": "F64", "shape": [1, 1], "data_offsets": [0, 8]}, "a": 1}'
    for text in (twice, b"[]", b"3", b"[" * 90_000, b'{"a": NaN}', b"\xff\xfe{}"):
        path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(8))
        problem(path)
    for length in (0, 1, 2**63, 10**9, 101):
        path.write_bytes(struct.pack("<Q", length) + b"{}" + bytes(90))
        problem(path)


def test_an_npz_file_that_lies(tmp_path):
    path = tmp_path / "m.npz"

    def with_member(content, name="a.npy", compression=zipfile.ZIP_STORED):
        with zipfile.ZipFile(path, "w", compression) as archive:
            archive.writestr(name, content)

    def array_bytes(array, **options):
        file = io.BytesIO()
        np.save(file, array, **options)
        return file.getvalue()

    good = array_bytes(W1)
    with_member(good[:-8])
    problem(path, "'a'", "needs")
    with_member(good + bytes(8))
    problem(path, "'a'", "needs")
    with_member(good.replace(b"(4, 3)", b"(9, 9)"))
    problem(path, "'a'", "needs")
    with_member(good.replace(b"(4, 3)", b"(-4,3)"))
    problem(path)
    with_member(b"\x93NUMPY" + b"\x09" * 100)
    problem(path, "'a'")
    with_member(good, "a.txt")
    problem(path, "no weight")
    with_member(array_bytes(np.array([[object()]]), allow_pickle=True))
    problem(path, "'a'", "Python objects")
    # Bytes changed on the way: the archive's checksum tells, when the layer is read.
    with_member(good)
    whole = bytearray(path.read_bytes())
    whole[whole.index(W1.tobytes()[:8])] ^= 255
    path.write_bytes(whole)
    problem(path, "a.npy", "CRC", load=True)


def test_an_index_that_lies(files):
    path = files / "shards" / "m.safetensors.index.json"
    good = json.loads(path.read_text())

    def lie(content, *words):
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        problem(path, *words)

    lie({}, "weight_map")
    lie({"weight_map": []})
    lie("[1")
    lie({"weight_map": good["weight_map"] | {"x": "m-9.safetensors"}}, "m-9.safetensors", "missing")
    lie({"weight_map": good["weight_map"] | {"x": "m-0.safetensors"}}, "'x'", "m-0")
    (files / "other.safetensors").write_bytes(plain_safetensors())
    for place in ("../other.safetensors", str(files / "other.safetensors"), "..", "", 3, "a.txt"):
        lie({"weight_map": {"fc1.weight": place}}, "fc1.weight")


def test_code_in_a_file_is_never_run(tmp_path):
    torch = pytest.importorskip("torch")
    mark = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {mark}",)

    for new in (True, False):
        torch.save({"fc.weight": torch.ones(2, 2), "x": Evil()}, tmp_path / "m.pt",
                   _use_new_zipfile_serialization=new)  # fmt: skip
        problem(tmp_path / "m.pt", "more than weights", "state_dict")
        torch.save(torch.nn.Linear(2, 2), tmp_path / "m.pt", _use_new_zipfile_serialization=new)
        problem(tmp_path / "m.pt", "more than weights")
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)), tmp_path / "m.pt")
    problem(tmp_path / "m.pt", "TorchScript module")
    np.savez(tmp_path / "m.npz", a=np.array([[Evil()]], dtype=object))
    problem(tmp_path / "m.npz", "Python objects")
    assert not mark.exists()


def test_a_checkpoint_without_weights(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"epoch": 3}, tmp_path / "m.pt")
    problem(tmp_path / "m.pt", "no state dict")
    torch.save([1, 2], tmp_path / "m.pt")
    problem(tmp_path / "m.pt", "no state dict")
    torch.save(torch.ones(3, 4), tmp_path / "m.pt")
    assert read(tmp_path / "m.pt")[0].shape == (3, 4)
    sparse = {"a.weight": torch.eye(3).to_sparse(), "b.weight": torch.eye(3)}
    torch.save(sparse, tmp_path / "m.pt")
    with pytest.warns(UserWarning, match="a: a sparse tensor"):
        assert read(tmp_path / "m.pt").names == ("b",)


# -- size --------------------------------------------------------------------------------------


def write_holes(path, names, n):
    """Write a file of matrices of zeros that takes next to no room; return where they begin."""
    size = 4 * n * n
    header = {
        name: {"dtype": "F32", "shape": [n, n], "data_offsets": [i * size, (i + 1) * size]}
        for i, name in enumerate(names)
    }
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        start = file.tell()
        file.truncate(start + len(names) * size)
    return start


def sparse_shards(folder, shards, each, n):
    """Write a model of holes: so many shards of so many matrices; return its index."""
    names = {}
    for shard in range(shards):
        own = [f"{shard}.{i}.weight" for i in range(each)]
        write_holes(folder / f"m-{shard}.safetensors", own, n)
        names |= dict.fromkeys(own, f"m-{shard}.safetensors")
    index = folder / "m.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": names}))
    return index


def test_without_edges_a_file_takes_the_memory_of_a_layer(tmp_path):
    n, most = 256, {}
    for shards in (1, 6):
        folder = tmp_path / str(shards)
        folder.mkdir()
        index = sparse_shards(folder, shards, 4, n)
        for edges in (True, False):
            analyze(index, "relu", in_range=(0, 1), layers="0.0", measures="ei_parts")  # imports
            tracemalloc.start()
            d = analyze(
                index,
                "relu",
                in_range=(0, 1),
                measures=("ei_parts", "sensitivity"),
                edges=edges,
                threads=1,
            )
            most[shards, edges] = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert len(d) == 4 * shards
    matrix = 8 * n * n
    assert most[6, True] - most[1, True] > 20 * 2 * matrix * 0.9  # kept: two of every layer
    assert most[6, False] - most[1, False] < matrix
    assert most[6, False] < 6 * matrix


def torch_version():
    torch = pytest.importorskip("torch")
    return tuple(int(n) for n in torch.__version__.split(".")[:2])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["safetensors", "pt"])
def test_a_file_of_a_gibibyte_takes_little_memory(tmp_path, kind):
    """Matrices of 4 MiB, two hundred and fifty-six or for torch, which writes no holes, fewer."""
    if not Path("/proc/self/status").exists():
        pytest.skip("it needs to know the peak of resident memory")
    if kind == "pt" and torch_version() < (2, 1):
        pytest.skip("before 2.1 torch maps no files")
    path = tmp_path / f"m.{kind}"
    n, count = 1024, (256 if kind == "safetensors" else 80)
    if kind == "safetensors":
        size = 4 * n * n
        start = write_holes(path, [f"blocks.{i}.weight" for i in range(count)], n)
        with path.open("r+b") as file:
            file.seek(start + 77 * size)
            file.write(rng.normal(size=(n, n)).astype("<f4").tobytes())
        assert path.stat().st_blocks * 512 < 2 * size + 2**20
        limit = 300
    else:
        torch = pytest.importorskip("torch")
        torch.save({f"blocks.{i}.weight": torch.zeros(n, n) for i in range(count)}, path)
        limit = None
    code = """
        import sys
        def peak():  # of this program alone, unlike getrusage, which remembers its parent's
            lines = open("/proc/self/status").read().splitlines()
            return int(next(x for x in lines if x.startswith("VmHWM")).split()[1])
        base = peak()
        import eiplane
        from eiplane.extract import ExtractOptions, to_network
        if sys.argv[1].endswith("pt"):
            import torch
            base = peak()
        found = to_network(sys.argv[1], ExtractOptions("relu", "blocks.77"))
        assert found.selected == ("blocks.77",) and len(found.network) >= 80
        d = eiplane.analyze(sys.argv[1], activation="relu", layers="blocks.77",
                            measures=("ei_parts", "sensitivity"))
        assert d[0].ei_edges.shape == (1024, 1024) and len(d) == 1
        print(peak() // 1024, base // 1024)
    """
    out = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(path)],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    most, base = map(int, out.split())
    assert most < (limit if limit is not None else base + 100)
