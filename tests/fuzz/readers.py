"""Fuzzed files of weights: structured mutations of every format that eiplane reads.

A file is measured, or refused by an error that names it: quickly, without taking memory that it
only claims to hold, and without running anything that it brings.
"""

from __future__ import annotations

import atexit
import base64
import contextlib
import gzip
import io
import json
import os
import pickle
import re
import resource
import shutil
import tempfile
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np

import eiplane

from .campaign import Case, Wrong

#: Seconds and bytes that a small file may take: most of both is for a busy machine.
SECONDS, BYTES = 2.0, 2 << 30

#: What a payload would leave behind.
CANARY = "eiplane-fuzz-ran-code"

Files = dict[str, bytes]

_EXTREMES = (0, 1, 2, 7, 127, 128, 255, 2**15, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1)


# -- whole files --------------------------------------------------------------------------------


def _arrays(rng: np.random.Generator) -> dict[str, np.ndarray]:
    kind = str(rng.choice(["f4", "f8", "f2"]))
    sizes = rng.integers(1, 5, 3)
    return {
        "fc1.weight": rng.normal(size=(sizes[1], sizes[0])).astype(kind),
        "fc1.bias": rng.normal(size=sizes[1]).astype(kind),
        "fc2.weight": rng.normal(size=(sizes[2], sizes[1])).astype(kind),
        "steps": np.arange(3),
    }


def _npz(rng: np.random.Generator) -> bytes:
    out = io.BytesIO()
    (np.savez if rng.random() < 0.5 else np.savez_compressed)(out, **_arrays(rng))
    return out.getvalue()


def _npy(rng: np.random.Generator) -> bytes:
    out = io.BytesIO()
    np.save(out, _arrays(rng)["fc1.weight"])
    return out.getvalue()


def pack_safetensors(header: object, body: bytes) -> bytes:
    """Return a .safetensors file of this header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def _safetensors(rng: np.random.Generator) -> bytes:
    names = {"f8": "F64", "f4": "F32", "f2": "F16", "i8": "I64"}
    header, body = {}, b""
    for name, array in _arrays(rng).items():
        data = array.tobytes()
        kind = names[array.dtype.str[1:]]
        header[name] = {
            "dtype": kind, "shape": list(array.shape),
            "data_offsets": [len(body), len(body) + len(data)],
        }  # fmt: skip
        body += data
    return pack_safetensors(header, body)


def _pt(rng: np.random.Generator) -> bytes:
    import torch

    out = io.BytesIO()
    state = {k: torch.from_numpy(v) for k, v in _arrays(rng).items()}
    wrapped = {"state_dict": state, "epoch": 3} if rng.random() < 0.3 else state
    torch.save(wrapped, out, _use_new_zipfile_serialization=bool(rng.random() < 0.7))
    return out.getvalue()


def _pt2(rng: np.random.Generator) -> bytes:
    import torch

    sizes = rng.integers(1, 4, 3).tolist()
    net = torch.nn.Sequential(
        torch.nn.Linear(sizes[0], sizes[1]), torch.nn.ReLU(), torch.nn.Linear(sizes[1], sizes[2])
    )
    out = io.BytesIO()
    torch.export.save(torch.export.export(net.eval(), (torch.zeros(2, sizes[0]),)), out)
    return out.getvalue()


def _onnx(rng: np.random.Generator) -> bytes:
    from onnx import TensorProto, helper, numpy_helper

    arrays = _arrays(rng)
    w, b = arrays["fc1.weight"].astype("f4"), arrays["fc1.bias"].astype("f4")
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["z"], transB=1, name="fc"),
        helper.make_node("Relu", ["z"], ["y"], name="act"),
    ]
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", w.shape[1]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", w.shape[0]])],
        [numpy_helper.from_array(w, "w"), numpy_helper.from_array(b, "b")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


def _decomposition(rng: np.random.Generator) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", eiplane.SaturationWarning)
        result = eiplane.analyze(
            [rng.normal(size=(2, 3))], "relu", samples=64, method="sample", progress=False
        )
    with tempfile.TemporaryDirectory() as folder:
        result.save(Path(folder) / "d.npz")
        return (Path(folder) / "d.npz").read_bytes()


WHOLE: dict[str, Callable[[np.random.Generator], bytes]] = {
    "w.npz": _npz, "w.npy": _npy, "w.safetensors": _safetensors, "w.pt": _pt, "w.onnx": _onnx,
    "saved.npz": _decomposition, "w.pt2": _pt2,
}  # fmt: skip


def _available(name: str) -> bool:
    library = {"w.pt": "torch", "w.pt2": "torch", "w.onnx": "onnx"}.get(name)
    try:
        return library is None or __import__(library) is not None
    except ImportError:
        return False


# -- what is done to them -----------------------------------------------------------------------


def _bytes(data: bytes, rng: np.random.Generator) -> bytes:
    """Change some bytes: of any format."""
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        if not out:
            break
        at, length = int(rng.integers(len(out))), int(2 ** rng.uniform(0, 7))
        kind = rng.integers(7)
        if kind == 0:
            out[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            del out[at : at + length]
        elif kind == 2:
            out[at:at] = rng.bytes(length)
        elif kind == 3:
            del out[at:]
        elif kind == 4:
            out[at:at] = out[at : at + length]
        elif kind == 5:
            out[at : at + length] = bytes(min(length, len(out) - at))
        else:
            size = int(rng.choice([1, 2, 4, 8]))
            value = int(rng.choice(_EXTREMES)) % 256**size
            out[at : at + size] = value.to_bytes(size, "little")
    return bytes(out)


def _json_value(value: object, rng: np.random.Generator) -> object:
    """Change a JSON value somewhere inside."""
    if isinstance(value, dict) and value and rng.random() < 0.8:
        out = dict(value)
        key = str(rng.choice(list(out)))
        what = rng.random()
        if what < 0.1:
            del out[key]
        elif what < 0.2:
            out[key + str(rng.integers(9))] = out[key]
        else:
            out[key] = _json_value(out[key], rng)
        return out
    if isinstance(value, list) and value and rng.random() < 0.8:
        at = int(rng.integers(len(value)))
        return [*value[:at], _json_value(value[at], rng), *value[at + 1 :]]
    deep: object = 0
    for _ in range(int(rng.choice([1, 5, 300]))):
        deep = [deep]
    choices: list[object] = [
        None, True, -1, 0, 1.5, 1e308, "", "x" * 300, "F32", "../../w.safetensors", [], {}, deep,
        [0, 0], [2**62, 2**62], "\udcff", *_EXTREMES,
    ]  # fmt: skip
    return choices[int(rng.integers(len(choices)))]


def _header(data: bytes, rng: np.random.Generator) -> bytes:
    """Change the header of a .safetensors file, its length kept true."""
    length = int.from_bytes(data[:8], "little")
    text, body = data[8 : 8 + length], data[8 + length :]
    kind = rng.random()
    if kind < 0.6:
        return pack_safetensors(_json_value(json.loads(text), rng), body)
    if kind < 0.7:  # a name given twice
        return pack_safetensors(text[:-1] + b"," + text[1:], body)
    if kind < 0.8:
        return pack_safetensors(b"[" * (100_000 if rng.random() < 0.05 else 2000), body)
    if kind < 0.9:
        return pack_safetensors(text.replace(b"fc1", b"\xff\xfe\x00"), body)
    return pack_safetensors(text.replace(b'"F', b'"C'), body)


def _npy_header(data: bytes, rng: np.random.Generator) -> bytes:
    """Change the header of a .npy file as text."""
    if data[:6] != b"\x93NUMPY":
        return _bytes(data, rng)
    length = int.from_bytes(data[8:10], "little")
    text, body = data[10 : 10 + length].decode("latin1").strip(), data[10 + length :]
    kinds = ("<c8", "|O", "<U9", "|V8", "<f4", "<f16", "<M8[s]", ">f8", "|b1", "<i1", "junk")
    shapes = (
        "()", "(0,)", "(1000000, 1000000)", "(2147483648, 4)", "(-1, -1)", "(1,)*9", "(2, 2", "[2, 2]",
        "(True, 2)", "(2.0, 2)", "(" * 300 + ")" * 300, "(" + "1," * 40 + ")",
        "(99999999999999999999, 0)",
    )  # fmt: skip
    what = rng.random()
    if what < 0.4:
        start, stop = text.find("'descr': ") + 9, text.find(", 'fortran")
        text = text[:start] + repr(str(rng.choice(kinds))) + text[stop:]
    elif what < 0.8:
        start, stop = text.find("'shape': ") + 9, text.rfind(")") + 1
        text = text[:start] + str(rng.choice(shapes)) + text[stop:]
    elif what < 0.9:
        text = text.replace("False", "True")
    else:
        text = str(rng.choice(["{}", "None", "__import__('os').getcwd()", "{'shape': (2, 2)}", ""]))
    version = bytes([int(rng.choice([1, 1, 1, 2, 3, 9])), 0])
    size = (len(text) + 1).to_bytes(2 if version[0] == 1 else 4, "little")
    return b"\x93NUMPY" + version + size + text.encode("latin1") + b"\n" + body


class _Payload:
    """Runs code when it is unpickled by anything that does so."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {tempfile.gettempdir()}/{CANARY}",)


def _pickles(rng: np.random.Generator) -> bytes:
    deep = 200_000 if rng.random() < 0.02 else 1000
    payloads = (
        lambda: pickle.dumps(_Payload(), 2),
        lambda: pickle.dumps({"fc1.weight": _Payload()}, 2),
        lambda: b"\x80\x02" + b"(" * deep + b"t" * deep + b".",
        lambda: b"\x80\x02]" + b"q\x000" * 3 + b".",
        lambda: b"\x80\x02cos\nsystem\n(S'true'\ntR.",
        lambda: b"\x80\x02}X\xff\xff\xff\x7fabc.",
        lambda: b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f.",
        lambda: b"\x80\x02]" + b"(h\x00h\x00e" * 50 + b".",
        lambda: b"",
    )
    return payloads[int(rng.integers(len(payloads)))]()


def _packed_size(rng: np.random.Generator) -> int:
    """Return how much is packed: to pack much takes long."""
    what = rng.random()
    return 300 << 20 if what < 0.002 else 5 << 20 if what < 0.02 else 200 << 10


def _zip(data: bytes, rng: np.random.Generator) -> bytes:
    """Change an archive: its members, their names, flags and sizes."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [(i, archive.read(i)) for i in archive.infolist()]
    except zipfile.BadZipFile:
        return _bytes(data, rng)
    at = int(rng.integers(len(members)))
    kind = int(rng.integers(8))
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a name given twice
        with zipfile.ZipFile(out, "w") as archive:
            for i, (info, content) in enumerate(members):
                name, method = info.filename, info.compress_type
                if i == at:
                    if kind == 0:
                        content = _npy_header(content, rng)
                    elif kind == 1:
                        content = _bytes(content, rng)
                    elif kind == 2:
                        archive.writestr(name, content)
                    elif kind == 3:
                        name = str(
                            rng.choice(["../../x.npy", "/x.npy", "x/", "x" * 3000, "\u00ff.npy"])
                        )
                    elif kind == 4:
                        method = int(rng.choice([zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]))
                    elif kind == 5:
                        continue
                    elif kind == 6:  # a few bytes that say they are hundreds of kilo- or megabytes
                        content, method = bytes(_packed_size(rng)), 8
                    elif name.endswith(".pkl"):
                        content = _pickles(rng)
                archive.writestr(name, content, method)
    made = bytearray(out.getvalue())
    if kind == 7 or rng.random() < 0.3:  # fields of the headers: flags, methods, sizes
        starts = [m.start() for m in re.finditer(rb"PK(\x01\x02|\x03\x04)", made)]
        if starts:
            start = int(rng.choice(starts)) + int(
                rng.choice([6, 8, 10, 14, 18, 20, 22, 24, 26, 42])
            )
            what = rng.random()
            if what < 0.3:
                made[start] |= 1  # encrypted
            elif what < 0.6:
                made[start : start + 4] = rng.bytes(4)
            else:
                made[start] ^= 1 << int(rng.integers(8))
    return bytes(made)


def _graph(data: bytes, rng: np.random.Generator) -> bytes:
    """Change an ONNX graph."""
    import onnx

    model = onnx.load_model_from_string(data)
    graph = model.graph
    tensor = graph.initializer[int(rng.integers(len(graph.initializer)))]
    kind = int(rng.integers(12))
    if kind == 0:
        del tensor.dims[:]
        dims = ([10**6, 10**6], [2**31, 4], [2**40, 2**40], [0, 3], [-1, 2], [2**62], [])
        tensor.dims.extend(dims[int(rng.integers(len(dims)))])
    elif kind == 1:
        tensor.raw_data = tensor.raw_data[: int(rng.integers(len(tensor.raw_data) + 1))]
    elif kind == 2:
        tensor.data_type = int(rng.integers(0, 24))
    elif kind == 3:
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (
            (
                "location",
                str(rng.choice(["../../../../etc/passwd", "w.onnx", "none.bin", "/dev/zero", ""])),
            ),
            ("offset", str(rng.choice(["0", "-1", "99999999999", "x"]))),
            ("length", str(rng.choice(["16", "-1", "99999999999999", "x"]))),
        ):
            tensor.external_data.add(key=key, value=value)
    elif kind == 4:
        graph.node[0].input[int(rng.integers(3))] = str(
            rng.choice(["", "x", "y", "z", "none", "w"])
        )
    elif kind == 5:
        graph.node[int(rng.integers(2))].op_type = str(
            rng.choice(
                ["If", "Loop", "Conv", "MatMul", "Softmax", "Reshape", "Nothing", "", "Gemm"]
            )
        )
    elif kind == 6:
        dim = graph.input[0].type.tensor_type.shape.dim
        dim[int(rng.integers(2))].dim_value = int(rng.choice([0, -1, 2**31, 2**62, 10**6]))
    elif kind == 7:
        graph.node[0].attribute[0].i = int(rng.choice([-1, 0, 2, 2**62]))
    elif kind == 8:
        graph.node.extend([graph.node[0]] * int(rng.integers(1, 50)))
    elif kind == 9:
        graph.input[0].type.tensor_type.elem_type = int(rng.integers(0, 24))
    elif kind == 10:
        model.opset_import[0].version = int(rng.choice([0, 1, 6, 99, 2**40]))
    else:
        tensor.name = str(rng.choice(["", "x", "b", "\x00"]))
    return bytes(model.SerializeToString())


MUTATIONS: dict[str, tuple[Callable[[bytes, np.random.Generator], bytes], ...]] = {
    "w.npz": (_bytes, _zip, _zip),
    "w.npy": (_bytes, _npy_header, _npy_header),
    "w.safetensors": (_bytes, _header, _header),
    "w.pt": (_bytes, _zip, _zip),
    "w.pt2": (_bytes, _zip, _zip),
    "w.onnx": (_bytes, _graph, _graph),
    "saved.npz": (_bytes, _zip),
}


#: How often each comes up: those that take long to read, whole, less often.
_SHARES = {
    "w.npz": 36, "w.npy": 30, "w.safetensors": 48, "w.pt": 36, "w.onnx": 2, "w.pt2": 1,
    "saved.npz": 8,
}  # fmt: skip

#: Whole files of each format, all made once: half of the time went there.
_KEPT = 40


@cache
def _names() -> tuple[str, ...]:
    return tuple(n for n, share in _SHARES.items() if _available(n) for _ in range(share))


@cache
def _made(name: str, number: int) -> bytes:
    return WHOLE[name](np.random.default_rng([number, 1]))


def _whole(name: str, number: int) -> bytes:
    return _made(name, number % 3 if name == "w.pt2" else number)  # seconds each


def prepare() -> None:
    """Make all whole files, which the processes of a campaign then share."""
    for name in dict.fromkeys(_names()):
        for number in range(_KEPT):
            _whole(name, number)


def make(rng: np.random.Generator) -> Case:
    """Return a file, or a folder of them, and which is to be opened."""
    names = _names()
    name = names[int(rng.integers(len(names)))]
    if name == "w.safetensors" and rng.random() < 0.1:
        return _shards(rng)
    if rng.random() < 0.03:
        return _odd(name, rng)
    data = _whole(name, int(rng.integers(_KEPT)))
    choices = MUTATIONS[name]
    data = choices[int(rng.integers(len(choices)))](data, rng)
    if rng.random() < 0.2:
        data = _bytes(data, rng)
    return _case({name: data}, name)


def _shards(rng: np.random.Generator) -> Case:
    one, two = (_whole("w.safetensors", int(rng.integers(_KEPT))) for _ in range(2))
    two = two.replace(b"fc1.", b"fc3.").replace(b"fc2.", b"fc4.").replace(b"steps", b"stepz")
    index: object = {
        "metadata": {"total_size": 1},
        "weight_map": {"fc1.weight": "a.safetensors", "fc3.weight": "b.safetensors"},
    }
    if rng.random() < 0.7:
        index = _json_value(index, rng)
    text = json.dumps(index).encode()
    if rng.random() < 0.2:
        text = _bytes(text, rng)
    if rng.random() < 0.3:
        one = _header(one, rng)
    name = "m.safetensors.index.json"
    files = {"a.safetensors": one, "b.safetensors": two, name: text}
    return _case(files, "." if rng.random() < 0.3 else name)


def _odd(name: str, rng: np.random.Generator) -> Case:
    """Return a file that is another one than its name says, is no file, is packed or is empty."""
    data = _whole(name, int(rng.integers(_KEPT)))
    other = ("w.npz", "w.npy", "w.safetensors", "w.pt", "w.bin", "w")[int(rng.integers(6))]
    kind = int(rng.integers(7))
    if kind == 0:
        data = b""
    elif kind == 1:
        data = gzip.compress(data)
    elif kind == 2:
        data = b"\xef\xbb\xbf" + data
    elif kind == 3:
        data = data.replace(b"\n", b"\r\n")
    elif kind == 4:  # an archive in an archive
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr("fc1.weight.npy", data)
        data = out.getvalue()
    elif kind == 5:
        data += rng.bytes(int(rng.integers(1, 300)))
    case = _case({other if rng.random() < 0.5 else name: data}, "")
    case["open"] = next(iter(case["files"]))
    if kind == 6:
        case["kind"] = ("folder", "fifo", "loop", "device")[int(rng.integers(4))]
    return case


def _case(files: Files, opened: str) -> Case:
    return {"files": {k: base64.b64encode(v).decode() for k, v in files.items()}, "open": opened}


# -- the check ----------------------------------------------------------------------------------


@contextlib.contextmanager
def _memory(extra: int) -> Iterator[None]:
    """Let this process take so many bytes more, and no others."""
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (now + extra, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@cache
def scratch(_process: int) -> Path:
    """Return a folder for the files of this process, in memory where there is such a place."""
    memory = Path("/dev/shm")
    parent = memory if memory.is_dir() and os.access(memory, os.W_OK) else None
    place = Path(tempfile.mkdtemp(prefix="eiplane-fuzz-", dir=parent)) / "here"
    place.mkdir()
    atexit.register(shutil.rmtree, place.parent, ignore_errors=True)
    return place


def _lay(place: Path, case: Case) -> None:
    """Put the files of a case in an empty folder."""
    for name, data in case["files"].items():
        path = place / name
        kind = case.get("kind")
        if kind == "folder":
            path.mkdir()
        elif kind == "fifo":
            os.mkfifo(path)
        elif kind == "loop":
            path.symlink_to(path)
        elif kind == "device":
            path.symlink_to("/dev/zero")
        else:
            path.write_bytes(base64.b64decode(data))


def _clear(place: Path) -> None:
    for entry in os.scandir(place):
        os.rmdir(entry) if entry.is_dir(follow_symlinks=False) else os.unlink(entry)


def check(case: Case) -> None:
    """Raise Wrong for what must not be."""
    canary = Path(tempfile.gettempdir()) / CANARY
    place = scratch(os.getpid())
    _clear(place)  # what was cut off by an alarm may have left something
    _lay(place, case)
    path = place / case["open"]
    start = time.process_time()
    try:
        with _memory(BYTES), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", RuntimeWarning)
            _read(path)
    except (ValueError, TypeError, OSError) as error:
        names = ["here", *case["files"]] if len(case["files"]) > 1 else [case["open"]]
        if not any(name in str(error) for name in names):
            raise Wrong(f"file not named by {type(error).__name__}", str(error)[:300]) from error
    finally:
        ran = canary.exists()
        canary.unlink(missing_ok=True)
        _clear(place)
    if ran:
        raise Wrong("ran code", case["open"])
    if time.process_time() - start > SECONDS:
        raise Wrong("slow", f"{time.process_time() - start:.1f} s")


def _read(path: Path) -> None:
    if path.name == "saved.npz":
        result = eiplane.load(path)
        str(result)
        return
    options = (
        {} if path.suffix in (".onnx", ".pt2") else {"activation": "hardtanh", "out_range": (-1, 1)}
    )
    result = eiplane.analyze(
        path, bins=2, measures="sensitivity", method="exact", threads=1, progress=False, **options
    )
    for layer in result:
        if not np.isfinite(layer.sensitivity):
            raise Wrong("not finite", layer.name)


def smaller(case: Case) -> Iterator[Case]:
    """Return shorter files: only those cut at the end still have a chance to be the same case."""
    files = {k: base64.b64decode(v) for k, v in case["files"].items()}
    for name, data in files.items():
        if len(data) > 400:
            for keep in (len(data) // 2, len(data) - 100):
                yield {**case, **_case({**files, name: data[:keep]}, case["open"])}
