"""Networks from files of tensors: .npz, .npy, .safetensors, .pt; none of them runs any code.

Only names and shapes are read at first; a layer's numbers when it is measured. What a file says of
its sizes is compared with its size before anything is read.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..files import check_regular, kind_of
from ..network import Network
from ..results import Skipped
from .entries import Entry
from .numpy_files import read_npy, read_npz
from .options import ExtractOptions
from .safetensors import read_names, read_safetensors
from .state import from_entries
from .torch_files import read_torch

__all__ = ["from_path"]


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
    if path.exists() and not path.is_dir():
        check_regular(path)
    if path.suffix.lower() == ".onnx" and not path.is_dir():
        from .onnx import from_onnx

        return from_onnx(path, options)
    skipped: list[Skipped] = []
    if path.is_dir():
        entries = _directory(path)
    elif path.name.endswith(".index.json"):
        entries = _index(path)
    else:
        suffix = path.suffix.lower()
        if suffix not in _READERS and suffix not in _TORCH:
            raise ValueError(_not_read(path))
        if path.stat().st_size == 0:
            raise ValueError(f"{path}: the file is empty")
        kind = kind_of(path, "eiplane.analyze")
        if kind:
            raise ValueError(f"{path}: it is {kind}")
        if suffix in _TORCH:
            entries, skipped = read_torch(path, options.key)
        else:
            entries = _READERS[suffix](path)
    if options.key is not None and path.suffix.lower() not in _TORCH:
        raise ValueError(
            f"{path}: key= chooses among the state dicts of a .pt file; this one has names alone: "
            "use layers="
        )
    network, more = from_entries(entries, options.activation, str(path), _beside(path))
    return network, (*skipped, *more)


def _not_read(path: Path) -> str:
    """Return what is said of a file that is not read."""
    kind = kind_of(path, "eiplane.analyze")
    if kind:
        return f"{path}: no file that eiplane takes weights from; it is {kind}"
    return (
        f"{path}: not a kind of file that eiplane reads; it reads "
        f"{', '.join(sorted((*_READERS, *_TORCH)))}, .pt2, .onnx, and directories of .safetensors"
    )


def _beside(path: Path) -> dict[str, Any]:
    """Return what the files beside weights say of quantisation and adapters."""
    folder = path if path.is_dir() else path.parent
    config = _json(folder / "config.json").get("quantization_config")
    quantised = config or _json(folder / "quantize_config.json")
    return {
        "file": True,
        "quantization": quantised if isinstance(quantised, dict) else {},
        "adapter": _json(folder / "adapter_config.json"),
    }


def _json(path: Path) -> dict[str, Any]:
    """Return a file's object; an empty one if there is none, or it is something else."""
    try:
        check_regular(path)
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _directory(path: Path) -> list[Entry]:
    indexes = sorted(path.glob("*.safetensors.index.json"))
    if len(indexes) == 1:
        adapter = path / "adapter_model.safetensors"
        return _index(indexes[0]) + (read_safetensors(adapter) if adapter.is_file() else [])
    shards = sorted(path.glob("*.safetensors"))
    if not shards:
        kind = kind_of(path)
        told = f"; it is {kind}" if kind else ""
        raise ValueError(f"{path}: the directory holds no .safetensors file{told}")
    if indexes:
        raise ValueError(
            f"{path}: the directory holds {len(indexes)} indexes "
            f"({', '.join(i.name for i in indexes)}); pass the one that you mean"
        )
    entries = [entry for shard in shards for entry in read_safetensors(shard)]
    seen: set[str] = set()
    for entry in entries:
        if entry.name in seen:
            raise ValueError(f"{path}: tensor {entry.name!r} is in more than one file")
        seen.add(entry.name)
    return entries


def _index(path: Path) -> list[Entry]:
    """Return the tensors of several files, as an index lists them."""
    check_regular(path)
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
            shards[shard] = {entry.name: entry for entry in read_safetensors(place)}
            everything[shard] = read_names(place)
        if name not in everything[shard]:
            raise ValueError(f"{path}: tensor {name!r} is not in {shard!r}, as it says")
        if name in shards[shard]:
            entries.append(shards[shard][name])
    return entries


_READERS: dict[str, Callable[[Path], list[Entry]]] = {
    ".npz": read_npz,
    ".npy": read_npy,
    ".safetensors": read_safetensors,
}
_TORCH = (".pt", ".pth", ".bin", ".ckpt")
