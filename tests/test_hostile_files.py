"""Files that are damaged, or lie: a ValueError that names the file, soon and in little memory."""

import contextlib
import gzip
import io
import os
import struct
import time
import zipfile
import zlib

import numpy as np
import pytest

import eiplane
from eiplane.cli.batches import read_batches
from eiplane.cli.main import main
from eiplane.extract import ExtractOptions, to_network
from eiplane.training import History, Tracker

rng = np.random.default_rng(0)
W = rng.normal(size=(4, 3))


def everything(path):
    for layer in to_network(path, ExtractOptions("relu")).network:
        layer.load()


def refused(path, *words, within=1.0):
    """Read everything in a file, and return what is said."""
    start = time.perf_counter()
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        everything(path)
    took = time.perf_counter() - start
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text
    for word in words:
        assert word in text
    assert took < 20 * within  # a bound on a hang, not a timing


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def archive(members, compression=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as out:
        for name, data in members.items():
            out.writestr(name, data)
    return bytearray(file.getvalue())


def headers(data):
    """Return where the local and the central headers of an archive begin."""
    local = [i for i in range(len(data)) if data[i : i + 4] == b"PK\x03\x04"]
    central = [i for i in range(len(data)) if data[i : i + 4] == b"PK\x01\x02"]
    return local, central


@pytest.fixture
def saved(tmp_path):
    """Return the bytes of archives of every kind: .npz, .pt."""
    torch = pytest.importorskip("torch")
    torch.save({"fc.weight": torch.from_numpy(W)}, tmp_path / "good.pt")
    return {
        "m.npz": archive({"a.npy": npy(W)}),
        "packed.npz": archive({"a.npy": npy(W)}, zipfile.ZIP_DEFLATED),
        "m.pt": bytearray((tmp_path / "good.pt").read_bytes()),
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["m.npz", "packed.npz", "m.pt"])
@pytest.mark.parametrize("change", ["encrypted", "method", "name", "size", "local name"])
def test_odd_members_of_archives(saved, tmp_path, kind, change):
    data = saved[kind]
    local, central = headers(data)
    for at in central:
        if change == "encrypted":
            data[at + 8] |= 1
        if change == "method":
            struct.pack_into("<H", data, at + 10, 99)
        if change == "name":  # said to be UTF-8, and is not
            data[at + 9] |= 8
            data[at + 46] = 0xFF
        if change == "size":
            struct.pack_into("<I", data, at + 24, 2**31)
    for at in local:
        if change == "encrypted":
            data[at + 6] |= 1
        if change == "local name":
            data[at + 30] ^= 0x5A
    (tmp_path / kind).write_bytes(data)
    refused(tmp_path / kind)


def test_broken_deflate_streams(tmp_path):
    for at in (0, 3, 40):
        whole = archive({"a.npy": npy(np.tile(W, (50, 50)))}, zipfile.ZIP_DEFLATED)
        (local, *_), _ = headers(whole)
        start = local + 30 + len("a.npy")
        whole[start + at : start + at + 4] = b"\xff\xff\xff\xff"
        (tmp_path / "m.npz").write_bytes(whole)
        refused(tmp_path / "m.npz")


def test_a_small_archive_that_would_unpack_to_much(tmp_path):
    packed = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = packed.compress(npy(np.zeros((4, 4)))) + packed.flush()
    whole = archive({"a.npy": npy(np.zeros((4, 4)))}, zipfile.ZIP_DEFLATED)
    assert data
    _, (central,) = headers(whole)
    struct.pack_into("<I", whole, central + 24, 2**31 - 1)
    (tmp_path / "m.npz").write_bytes(whole)
    refused(tmp_path / "m.npz", "more than it holds")
    twice = io.BytesIO()
    with zipfile.ZipFile(twice, "w") as out:
        out.writestr("a.npy", npy(W))
        with pytest.warns(UserWarning, match="Duplicate"):
            out.writestr("a.npy", npy(W + 1))
    (tmp_path / "m.npz").write_bytes(twice.getvalue())
    refused(tmp_path / "m.npz", "twice")


@pytest.mark.parametrize("new", [True, False])
def test_complex_weights_name_the_file_and_the_layer(tmp_path, new):
    torch = pytest.importorskip("torch")
    state = {"fc.weight": torch.ones(3, 3, dtype=torch.complex64), "a.weight": torch.ones(2, 3)}
    torch.save(state, tmp_path / "m.pt", _use_new_zipfile_serialization=new)
    refused(tmp_path / "m.pt", "'fc'", "complex")
    np.savez(tmp_path / "m.npz", fc=np.ones((2, 2), complex))
    refused(tmp_path / "m.npz", "'fc'", "complex")
    np.savez(tmp_path / "m.npz", fc=np.full((2, 2), np.nan))
    refused(tmp_path / "m.npz", "'fc'", "NaN")


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize(
    ("size", "stride"),
    [((2**20, 2**12), (0, 0)), ((2**15, 2**15), (1, 0)), ((2**14, 2**15), (2**15, 1))],
)
def test_tensors_that_declare_more_than_their_file(tmp_path, new, size, stride):
    """torch makes room for whatever shape a pickle names, and lets strides repeat numbers."""
    torch = pytest.importorskip("torch")
    from torch import _utils

    storage = torch.ones(2**15)

    class Lying:
        def __reduce__(self):
            typed = storage._typed_storage()
            return _utils._rebuild_tensor_v2, (typed, 0, size, stride, False, {})

    torch.save({"fc.weight": Lying()}, tmp_path / "m.pt", _use_new_zipfile_serialization=new)
    refused(tmp_path / "m.pt", *(["fc.weight", "declares more"] if stride[0] < 2 else []))


def test_an_onnx_file_that_declares_more_than_it_holds(tmp_path):
    onnx = pytest.importorskip("onnx")
    from eiplane.extract.onnx.sizes import check_declared

    helper, kinds = onnx.helper, onnx.TensorProto

    def tensor(dims, name="w", kind=kinds.FLOAT, raw=None, **data):
        made = onnx.TensorProto(name=name, data_type=kind, dims=dims)
        if raw is not None:
            made.raw_data = raw
        for field, values in data.items():
            getattr(made, field).extend(values)
        return made

    def check(initializers=(), nodes=(), shape=(1, 3)):
        x = helper.make_tensor_value_info("x", kinds.FLOAT, shape)
        y = helper.make_tensor_value_info("y", kinds.FLOAT, None)
        graph = helper.make_graph(list(nodes), "g", [x], [y], list(initializers))
        check_declared(onnx, helper.make_model(graph), tmp_path / "m.onnx")

    good = [
        tensor([2, 3], raw=bytes(24)), tensor([2, 3], float_data=[0.0] * 6),
        tensor([2, 3], kind=kinds.FLOAT16, int32_data=[0] * 6), tensor([], raw=bytes(4)),
        tensor([3, 3], kind=kinds.INT4, raw=bytes(5)), tensor([0, 5]),
        tensor([4], kind=kinds.INT4, int32_data=[0] * 2),
    ]  # fmt: skip
    check(good)
    bad = [
        tensor([10**6, 10**6], raw=bytes(24)), tensor([2**31, 4], float_data=[0.0] * 8),
        tensor([2**31, 4]), tensor([3, 3], kind=kinds.DOUBLE, raw=bytes(24)),
        tensor([-1, 3], raw=bytes(24)), tensor([4, 4], kind=kinds.INT4, raw=bytes(7)),
    ]  # fmt: skip
    for one in bad:
        with pytest.raises(ValueError, match="'w'"):
            check([one])
        constant = helper.make_node("Constant", [], ["c"], value=one)
        with pytest.raises(ValueError, match="'w'"):
            check(nodes=[constant])
        branch = helper.make_graph([constant], "then", [], [])
        with pytest.raises(ValueError, match="'w'"):
            check(nodes=[helper.make_node("If", ["x"], ["y"], then_branch=branch)])
    with pytest.raises(ValueError, match="'x'"):
        check(shape=(10**6, 10**6))
    outside = tensor([10, 10])
    outside.data_location = kinds.EXTERNAL
    outside.external_data.add(key="location", value="m.data")
    with pytest.raises(ValueError, match="cannot be found"):
        check([outside])
    (tmp_path / "m.data").write_bytes(bytes(40))
    with pytest.raises(ValueError, match="holds 10"):
        check([outside])
    (tmp_path / "m.data").write_bytes(bytes(400))
    check([outside])


def test_mutated_files_are_refused_by_name(saved, tmp_path):
    """A few hundred of each kind, with a seed; whatever is read is finite, or named."""
    from random import Random

    draw = Random(0)
    for kind, whole in saved.items():
        path = tmp_path / kind
        for _ in range(150):
            data = bytearray(whole)
            for _ in range(draw.choice((1, 1, 2, 8))):
                at = draw.randrange(len(data))
                if draw.random() < 0.7:
                    data[at] = draw.randrange(256)
                else:
                    data[at : at + 4] = draw.choice((b"\xff" * 4, b"\x00\x00\x00\x7f", b""))
            path.write_bytes(data)
            try:
                for layer in to_network(path, ExtractOptions("relu")).network:
                    assert np.isfinite(layer.load().matrix()).all()
            except ValueError as error:
                assert str(path) in str(error)


def repacked(data, change=None, method=zipfile.ZIP_DEFLATED):
    """Return an archive with its members packed, those that `change` names as it says."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(bytes(data))) as old, zipfile.ZipFile(out, "w", method) as new:
        for member in old.infolist():
            content = old.read(member)
            for end, other in (change or {}).items():
                content = other if member.filename.endswith(end) else content
            new.writestr(member.filename, content)
    return out.getvalue()


@pytest.mark.parametrize("kind", ["m.npz", "m.pt"])
def test_packed_members_are_unpacked(saved, tmp_path, kind):
    """torch would show a map of the packed bytes as if they were the numbers."""
    (tmp_path / kind).write_bytes(repacked(saved[kind]))
    (layer,) = to_network(tmp_path / kind, ExtractOptions("relu")).network
    np.testing.assert_array_equal(layer.load().matrix(), W)


@pytest.mark.parametrize("member", ["data.pkl", "version", "byteorder", "serialization_id"])
def test_names_that_unpack_to_very_much_are_not_unpacked(saved, tmp_path, member, monkeypatch):
    (tmp_path / "m.pt").write_bytes(repacked(saved["m.pt"], {member: bytes(20 << 20)}))
    read = zipfile.ZipFile.read

    def counted(self, name, *rest):
        assert self.getinfo(getattr(name, "filename", name)).file_size < 1 << 20
        return read(self, name, *rest)

    monkeypatch.setattr(zipfile.ZipFile, "read", counted)
    refused(tmp_path / "m.pt", "unpacks from")


@pytest.mark.parametrize("member", ["header.npy", "edges.npy"])
def test_a_result_that_unpacks_to_very_much(tmp_path, member):
    path = tmp_path / "d.npz"
    eiplane.analyze([W], "relu", measures="sensitivity", progress=False).save(path)
    whole = path.read_bytes()
    kinds = [bytes(20 << 20)]
    if member == "header.npy":  # an array, of one empty text of five million characters
        kinds.append(npy(np.array("x" * (5 << 20))).replace(b"x", b"\0"))
    for content in kinds:
        path.write_bytes(repacked(whole, {member: content}))
        with pytest.raises(ValueError, match=r"no array of real numbers|unpacks to more") as caught:
            eiplane.load(path)
        assert str(path) in str(caught.value)


SUFFIXES = ("npz", "npy", "safetensors", "pt", "pt2", "onnx", "bin", "safetensors.index.json")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
@pytest.mark.parametrize("suffix", [*SUFFIXES, "jsonl", "saved"])
@pytest.mark.parametrize("kind", ["pipe", "device", "loop", "folder"])
def test_what_is_no_file_is_not_opened(tmp_path, kind, suffix):
    """To open a pipe waits for who writes to it, and a device may never end."""
    if suffix in ("onnx", "pt2"):
        pytest.importorskip("onnx" if suffix == "onnx" else "torch")
    path = tmp_path / f"m.{suffix}"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "loop":
        path.symlink_to(path)
    else:
        path.mkdir()
    read = {"jsonl": History.read, "saved": eiplane.load}.get(suffix)
    options = {} if suffix in ("onnx", "pt2") else {"activation": "relu"}
    with pytest.raises((ValueError, OSError)) as caught:
        (read or eiplane.analyze)(path, **({} if read else options))
    assert str(path) in str(caught.value)
    if kind in ("pipe", "device"):
        assert f"not a regular file, but a {kind}" in str(caught.value)


def test_a_folder_with_pipes_in_it(tmp_path):
    if not hasattr(os, "mkfifo"):
        pytest.skip("no pipes with names here")
    os.mkfifo(tmp_path / "a.safetensors")
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises(ValueError, match=r"a\.safetensors: not a regular file"):
        eiplane.analyze(tmp_path, "relu")


@pytest.mark.parametrize(
    "change",
    [
        b'"dtype":""', b'"dtype":null', b'"dtype":["F64"]', b'"dtype":64', b'"shape":[-4,-3]',
        b'"shape":[4.0,3]', b'"shape":[true,12]', b'"shape":null', b'"shape":[4,3,null]',
        b'"data_offsets":[-96,0]', b'"data_offsets":[96,0]', b'"data_offsets":[0,97]',
        b'"data_offsets":[0]', b'"data_offsets":[0,96.0]', b'"data_offsets":[0,1e2]',
        b'"data_offsets":[0,NaN]', b'"data_offsets":[0,99999999999999999999]',
        b'"shape":[4294967296,4294967296]', b'"dtype":"F64","dtype":"F32"',
    ],
)  # fmt: skip
def test_headers_that_lie(tmp_path, change):
    """One field of a header is another one."""
    fields = {b"dtype": b'"F64"', b"shape": b"[4,3]", b"data_offsets": b"[0,96]"}
    fields[change[1:].partition(b'"')[0]] = change.partition(b":")[2]
    body = b",".join(b'"%s":%s' % field for field in fields.items())
    text = b'{"fc.weight":{%s}}' % body
    path = tmp_path / "m.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + W.tobytes())
    refused(path)


@pytest.mark.parametrize(
    ("before", "text", "after"),
    [
        (b"\xef\xbb\xbf", b"", b""),  # a mark of byte order
        (b"", b"\xff\xfe{}", b""), (b"", b"{}{}", b""), (b"", b"[]", b""), (b"", b"NaN", b""),
        (b"", b'{"a":{}}', b""), (b"", b'{"\xff":{}}', b""), (b"", b"[" * 50_000, b""),
        (b"", b'{"a":1,"a":1}', b""),
    ],
)  # fmt: skip
def test_headers_that_are_none(tmp_path, before, text, after):
    path = tmp_path / "m.safetensors"
    path.write_bytes(before + len(text).to_bytes(8, "little") + text + after)
    refused(path)


@pytest.mark.parametrize("length", [0, 1, 3, 2**31, 2**62, 2**64 - 1])
def test_lengths_of_headers(tmp_path, length):
    path = tmp_path / "m.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + b"{}")
    refused(path)


def test_archives_that_are_odd_and_fine_or_not(tmp_path):
    """Large members' headers are read; an archive in an archive, or packed whole, is refused."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made, made.open("a.npy", "w", force_zip64=True) as member:
        member.write(npy(W))
    (tmp_path / "m.npz").write_bytes(out.getvalue())
    everything(tmp_path / "m.npz")
    for name, data in (
        ("nested.npz", archive({"a.npz": bytes(archive({"a.npy": npy(W)}))})),
        ("nested.npz", archive({"a.npy": bytes(archive({"a.npy": npy(W)}))})),
        ("packed.npz", gzip.compress(bytes(archive({"a.npy": npy(W)})))),
        ("packed.npy", gzip.compress(npy(W))),
        ("an.npz", npy(W)),
        ("an.npy", archive({"a.npy": npy(W)})),
        ("an.safetensors", npy(W)),
        ("lines.npy", npy(W).replace(b"\n", b"\r\n")),
        ("marked.npz", b"\xef\xbb\xbf" + npy(W)),
        ("empty.npz", archive({})),
    ):
        (tmp_path / name).write_bytes(data)
        refused(tmp_path / name)


def packed(members, method):
    return archive({name: npy(value) for name, value in members.items()}, method)


DAMAGES = {
    "cut": lambda data: data[: len(data) // 2],
    "one bit": lambda data: bytes(b ^ (8 if i == 60 else 0) for i, b in enumerate(data)),
    "no archive": lambda data: b"PK\x03\x04" + data[200:],
    "encrypted": lambda data: data.replace(b"\x00\x00\x00", b"\x00\x01\x00", 1),
    "empty": lambda data: b"",
}  # fmt: skip


def archives():
    for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        data = packed({"W.npy": W, "V.npy": W + 1}, method)
        start = data.index(b"W.npy") + 5
        for at in (start + 1, start + 20, start + 60):
            changed = bytearray(data)
            changed[at] ^= 0x55
            yield bytes(changed)
        yield from (damage(data) for damage in DAMAGES.values())


def test_every_reader_of_arrays_names_the_archive_that_is_damaged(tmp_path, capsys):
    run = tmp_path / "run.jsonl"
    with Tracker(lambda: [W], run, edges=True, measures="ei_parts", progress=False) as tracker:
        tracker.record(0)
    kept = tmp_path / "run.edges" / "step-000000000.npz"
    path = tmp_path / "m.npz"
    readers = {
        path: [lambda: everything(path), lambda: eiplane.load(path)],
        kept: [lambda: Tracker.load(run).edges(0)],
    }
    refusals = 0
    for data in archives():
        for place, calls in readers.items():
            place.write_bytes(data)
            for call in calls:
                try:
                    call()
                except ValueError as error:
                    assert str(place) in str(error)
                    refusals += 1
        if main(["tpm", str(path)]):
            said = capsys.readouterr().err
            assert said.startswith("eiplane: ")
            assert str(path) in said
        with contextlib.suppress(ValueError):
            try:
                read_batches(str(path))
            except ValueError as error:
                assert str(path) in str(error)
                raise
    assert refusals > 50
