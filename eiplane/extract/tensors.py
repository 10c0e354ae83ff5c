"""Networks from files of tensors: .npz, .npy, .safetensors, .pt; none of them runs any code.

Only names and shapes are read at first; a layer's numbers when it is measured. What a file says of
its sizes is compared with its size before anything is read.
"""

from __future__ import annotations

import itertools
import json
import math
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from ..files import require
from ..network import Network
from ..results import Skipped
from .arrays import Entry, entry_of, from_entries
from .options import ExtractOptions

__all__ = ["from_path"]

#: As the format's own library has it.
MAX_HEADER = 100_000_000

_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4",
    "I16": "<i2", "I8": "|i1", "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1", "BOOL": "|b1",
    "F8_E4M3": "|u1", "F8_E5M2": "|u1", "F8_E8M0": "|u1", "C64": "<c8",
}  # fmt: skip
_FLOATS = ("F64", "F32", "F16", "BF16")


def from_path(path: Path, options: ExtractOptions) -> tuple[Network, tuple[Skipped, ...]]:
    """Return the layers of a file of weights.

    Parameters
    ----------
    path : Path
        A ``.npz``, ``.npy``, ``.safetensors``, ``.pt``, ``.pth``, ``.bin``, ``.ckpt`` or ``.onnx``
        file, a ``.safetensors.index.json`` of shards, or a directory with such shards.
    options : ExtractOptions
        With ``activation``, which no file of weights says (ONNX does).

    Returns
    -------
    network : Network
        Not chained, but for ONNX.
    skipped : tuple of Skipped

    Raises
    ------
    ValueError
        For a file that is cut short, lies about its sizes, is not what its name says or of a kind
        that eiplane does not read; it names the file.
    OSError
        If it cannot be read.
    """
    if path.suffix.lower() == ".onnx" and not path.is_dir():
        from .onnx import from_onnx

        return from_onnx(path, options)
    if path.is_dir():
        entries = _directory(path)
    elif path.name.endswith(".index.json"):
        entries = _index(path)
    else:
        suffix = path.suffix.lower()
        if suffix not in _READERS:
            raise ValueError(
                f"{path}: not a kind of file that eiplane reads; it reads "
                f"{', '.join(sorted(_READERS))}, .onnx, and directories of .safetensors"
            )
        if path.stat().st_size == 0:
            raise ValueError(f"{path}: the file is empty")
        entries = _READERS[suffix](path)
    return from_entries(entries, options.activation, str(path))


# -- NumPy ------------------------------------------------------------------------------------


def _npz(path: Path) -> list[Entry]:
    entries = []
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if not member.filename.endswith(".npy"):
                    continue
                name = member.filename.removesuffix(".npy")
                with archive.open(member) as file:
                    shape = _npy_header(path, name, file, member.file_size)
                entries.append(Entry(name, shape, _npz_reader(path, member.filename)))
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise ValueError(f"{path}: not a whole .npz archive ({error})") from None
    return entries


def _npz_reader(path: Path, member: str) -> Callable[[], NDArray[Any]]:
    def read() -> NDArray[Any]:
        try:
            with zipfile.ZipFile(path) as archive, archive.open(member) as file:
                return np.asarray(npy.read_array(file, allow_pickle=False))
        except (zipfile.BadZipFile, EOFError, ValueError, zlib.error) as error:
            raise ValueError(f"{path}: array {member!r} is damaged ({error})") from None

    return read


def _npy_header(path: Path, name: str, file: IO[bytes], size: int) -> tuple[int, ...]:
    """Return the shape of an array in NumPy's format; check that its numbers fit the size."""
    try:
        version = npy.read_magic(file)
        header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = header(file)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path}: array {name!r} is not in NumPy's format ({error})") from None
    if dtype.hasobject:
        raise ValueError(
            f"{path}: array {name!r} holds Python objects, which only running code could load; "
            "save plain numbers"
        )
    expected = file.tell() + math.prod(shape) * dtype.itemsize
    if expected != size:
        raise ValueError(
            f"{path}: array {name!r} of shape {shape} and type {dtype} needs {expected} bytes, "
            f"but has {size}"
        )
    return tuple(map(int, shape))


def _npy(path: Path) -> list[Entry]:
    with path.open("rb") as file:
        shape = _npy_header(path, path.stem, file, path.stat().st_size)

    def read() -> NDArray[Any]:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))

    return [Entry(path.stem, shape, read)]


# -- safetensors ------------------------------------------------------------------------------


def _safetensors(path: Path) -> list[Entry]:
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or not 2 <= length <= min(size - 8, MAX_HEADER):
            raise ValueError(
                f"{path}: not a whole .safetensors file (its header would take {length} of its "
                f"{size} bytes)"
            )
        text = file.read(length)
    try:
        header = json.loads(text.decode(), object_pairs_hook=_once)
        if not isinstance(header, dict):
            raise ValueError("it is no object")
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not a .safetensors file (its header: {error})") from None
    header.pop("__metadata__", None)
    spans: list[tuple[int, int, str]] = []
    entries = []
    for name, about in header.items():
        try:
            kind, shape = str(about["dtype"]), tuple(about["shape"])
            begin, end = about["data_offsets"]
            counts = (*shape, begin, end)
            if any(type(n) is not int or n < 0 for n in counts):
                raise ValueError
        except (KeyError, TypeError, ValueError):
            raise ValueError(f"{path}: the header says nothing clear of {name!r}") from None
        problem = _problem(kind, name)
        if kind in _DTYPES:
            needed = math.prod(shape) * np.dtype(_DTYPES[kind]).itemsize
            if end - begin != needed:
                raise ValueError(
                    f"{path}: tensor {name!r} of shape {shape} and type {kind} needs {needed} "
                    f"bytes, but the header gives it {end - begin}"
                )
        if end < begin or 8 + length + end > size:
            raise ValueError(
                f"{path}: cut short: tensor {name!r} ends at byte {8 + length + end} of {size}"
            )
        spans.append((begin, end, name))
        if problem is not None:
            read = _mapped(path, kind, shape, 8 + length + begin)
            entries.append(Entry(name, shape, read, problem))
    spans.sort()
    for (_, end, name), (begin, _, other) in itertools.pairwise(spans):
        if begin < end:
            raise ValueError(f"{path}: tensors {name!r} and {other!r} overlap")
    return entries


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("it names a tensor twice")
    return made


def _problem(kind: str, name: str) -> str | None:
    """Return why a tensor is no weight, "" if it may be one, None if it is of no interest."""
    if kind in _FLOATS:
        return ""
    if "weight" not in name.rpartition(".")[2]:
        return None  # positions, masks and the like
    return f"its numbers are of type {kind}: without their scales they are no weights"


def _mapped(path: Path, kind: str, shape: tuple[int, ...], offset: int) -> Callable[[], Any]:
    def read() -> NDArray[Any]:
        array: NDArray[Any] = np.memmap(path, np.dtype(_DTYPES[kind]), "r", offset, shape)
        if kind == "BF16":  # the upper half of a float32
            return (array.astype("<u4") << 16).view("<f4")
        return array

    return read


def _directory(path: Path) -> list[Entry]:
    indexes = sorted(path.glob("*.safetensors.index.json"))
    if len(indexes) == 1:
        return _index(indexes[0])
    shards = sorted(path.glob("*.safetensors"))
    if not shards:
        raise ValueError(f"{path}: the directory holds no .safetensors file")
    if indexes:
        raise ValueError(
            f"{path}: the directory holds {len(indexes)} indexes "
            f"({', '.join(i.name for i in indexes)}); pass the one that you mean"
        )
    entries = [entry for shard in shards for entry in _safetensors(shard)]
    seen: set[str] = set()
    for entry in entries:
        if entry.name in seen:
            raise ValueError(f"{path}: tensor {entry.name!r} is in more than one file")
        seen.add(entry.name)
    return entries


def _index(path: Path) -> list[Entry]:
    """Return the tensors of several files, as an index lists them."""
    try:
        places = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
        if not isinstance(places, dict) or not places:
            raise ValueError("weight_map is empty or no object")
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"{path}: not an index of .safetensors files ({type(error).__name__}: {error})"
        ) from None
    entries: list[Entry] = []
    shards: dict[str, dict[str, Entry]] = {}
    everything: dict[str, set[str]] = {}
    for name, shard in places.items():
        # An index names its neighbours, never a file elsewhere.
        if not isinstance(shard, str) or Path(shard).name != shard or shard in ("", ".", ".."):
            raise ValueError(f"{path}: {name!r} is said to be in {shard!r}, no file beside it")
        if not shard.endswith(".safetensors"):
            raise ValueError(f"{path}: {name!r} is said to be in {shard!r}, no .safetensors file")
        if shard not in shards:
            place = path.parent / shard
            if not place.is_file():
                raise ValueError(f"{path}: the file {shard!r} that it names is missing")
            shards[shard] = {entry.name: entry for entry in _safetensors(place)}
            everything[shard] = _names(place)
        if name not in everything[shard]:
            raise ValueError(f"{path}: tensor {name!r} is not in {shard!r}, as it says")
        if name in shards[shard]:
            entries.append(shards[shard][name])
    return entries


def _names(path: Path) -> set[str]:
    """Return all names in a file's header, which has been checked already."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        return set(json.loads(file.read(length)))


# -- torch ------------------------------------------------------------------------------------


def _torch(path: Path) -> list[Entry]:
    torch = require("torch", "torch")
    try:
        loaded = _load_pt(torch, path)
    except (MemoryError, OSError):
        raise
    except Exception as error:
        text = str(error).strip()
        if any(word in text for word in ("weights_only", "Unsupported", "TorchScript")):
            raise ValueError(
                f"{path}: it holds more than weights, and eiplane never runs code from a file; "
                "save module.state_dict() instead"
            ) from None
        said = text.splitlines()
        reason = said[0] if said else type(error).__name__
        raise ValueError(f"{path}: not a whole file of torch weights ({reason})") from None
    state = _state_dict(torch, loaded)
    if state is None:
        raise ValueError(f"{path}: it holds no state dict, but {type(loaded).__name__}")
    entries = []
    for name, value in state:
        entry = entry_of(name, value)
        if entry is not None:
            entries.append(entry)
    return entries


def _load_pt(torch: Any, path: Path) -> Any:
    options = {"map_location": "cpu", "weights_only": True}
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(name.endswith("/constants.pkl") for name in archive.namelist()):
                raise ValueError("TorchScript")
        return torch.load(path, mmap=True, **options)
    return torch.load(path, **options)  # as torch wrote them before 1.6


def _state_dict(torch: Any, loaded: Any) -> list[tuple[str, Any]] | None:
    """Return the named tensors of what a checkpoint holds."""
    if isinstance(loaded, torch.Tensor):
        return [("weight", loaded)]
    if not isinstance(loaded, Mapping):
        return None
    tensors = [(str(k), v) for k, v in loaded.items() if isinstance(v, torch.Tensor)]
    if tensors:
        return tensors
    for key in ("state_dict", "model_state_dict", "model", "module", "net", "weights", "params"):
        inner = loaded.get(key)
        if isinstance(inner, Mapping) and any(isinstance(v, torch.Tensor) for v in inner.values()):
            return [(str(k), v) for k, v in inner.items() if isinstance(v, torch.Tensor)]
    return None


_READERS: dict[str, Callable[[Path], list[Entry]]] = {
    ".npz": _npz,
    ".npy": _npy,
    ".safetensors": _safetensors,
    ".pt": _torch,
    ".pth": _torch,
    ".bin": _torch,
    ".ckpt": _torch,
}
