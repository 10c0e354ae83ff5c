"""What a .pt2 file holds: the description of a graph, and tensors."""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..zips import checked_members, opened

__all__ = ["DTYPES", "Archive", "UnknownSizeError", "read_archive", "sizes_of"]

#: Codes of types in the description, and their names in torch.
DTYPES = {
    1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32",
    8: "float64", 9: "complex32", 10: "complex64", 11: "complex128", 12: "bool", 13: "bfloat16",
    28: "uint16", 29: "float8_e4m3fn", 30: "float8_e5m2", 31: "float8_e4m3fnuz",
    32: "float8_e5m2fnuz", 33: "float8_e8m0fnu", 34: "uint32", 35: "uint64",
}  # fmt: skip

#: A description is text; no weights are in it.
_MOST_TEXT = 1 << 28

#: Numbers of an example input beyond which a description's sizes are no one's intention.
_MOST_INPUT = 1 << 31


class UnknownSizeError(ValueError):
    """A size is a symbol, and nothing says what number it was."""


@dataclass(frozen=True)
class Archive:
    """What was read.

    Parameters
    ----------
    program : mapping
        The description.
    tensors : mapping of str to Tensor
        Weights and constants by name.
    parameters : frozenset of str
        Which of them are parameters.
    """

    program: Mapping[str, Any]
    tensors: Mapping[str, Any]
    parameters: frozenset[str]


def read_archive(torch: Any, path: Path, key: str | None) -> Archive:
    """Return what a file holds.

    Parameters
    ----------
    torch : module
    path : Path
    key : str or None
        Which of several programs.

    Returns
    -------
    Archive

    Raises
    ------
    ValueError
        If the file is damaged, or holds what is not read here; it names the file.
    """
    with opened(path, "not a whole file of torch.export") as archive:
        members = {m.filename: m for m in checked_members(archive)}
        root = _root(path, members)
        name = _chosen(path, members, root, key)
        program = _json(path, archive, members, f"{root}models/{name}.json")
        if not isinstance(program.get("graph_module"), dict):
            raise ValueError(f"{path}: {name}.json describes no graph")
        tensors: dict[str, Any] = {}
        parameters: set[str] = set()
        for folder, what in (("weights", "weights"), ("constants", "constants")):
            config = f"{root}data/{folder}/{name}_{what}_config.json"
            if config not in members:
                continue
            listed = _json(path, archive, members, config).get("config")
            if not isinstance(listed, dict):
                raise ValueError(f"{path}: {config} lists no tensors")
            for tensor, about in listed.items():
                try:
                    tensors[tensor] = _tensor(
                        torch, archive, members, f"{root}data/{folder}/", about
                    )
                except (KeyError, TypeError, RuntimeError, ValueError) as error:
                    said = str(error).splitlines()[0] if str(error) else type(error).__name__
                    raise ValueError(f"{path}: tensor {tensor!r}: {said}") from None
                if about.get("is_param"):
                    parameters.add(tensor)
    return Archive(program, tensors, frozenset(parameters))


def _root(path: Path, members: Mapping[str, Any]) -> str:
    """Return the folder that everything lies in."""
    found = {n[: n.index("models/")] for n in members
             if n.count("/") <= 2 and "models/" in n and n.endswith(".json")}  # fmt: skip
    if len(found) == 1:
        return found.pop()
    names = {n.rsplit("/", 1)[-1] for n in members}
    if "serialized_exported_program.json" in names:
        raise ValueError(
            f"{path}: it was saved by a torch before 2.8, with its weights pickled; load it there "
            "and save it again with torch.export.save of a newer one"
        )
    if any("data/aotinductor/" in n for n in members):
        raise ValueError(
            f"{path}: it holds compiled code (AOTInductor) and no program, and eiplane never runs "
            "code from a file; save the program itself with torch.export.save"
        )
    raise ValueError(f"{path}: it holds no program of torch.export")


def _chosen(path: Path, members: Mapping[str, Any], root: str, key: str | None) -> str:
    head = f"{root}models/"
    names = [n[len(head) : -len(".json")] for n in members
             if n.startswith(head) and n.endswith(".json")]  # fmt: skip
    if key is not None:
        if key not in names:
            raise ValueError(f"{path}: no program {key!r}; there are {', '.join(names)}")
        return key
    if len(names) > 1:
        raise ValueError(
            f"{path}: it holds {len(names)} programs ({', '.join(names)}); choose one with key="
        )
    return names[0]


def _json(path: Path, archive: zipfile.ZipFile, members: Mapping[str, Any], name: str) -> Any:
    if name not in members:
        raise ValueError(f"{path}: {name} is missing")
    if members[name].file_size > _MOST_TEXT:
        raise ValueError(f"{path}: {name} has {members[name].file_size} bytes")
    try:
        found = json.loads(archive.read(name))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: {name} is no JSON ({error})") from None
    return found if isinstance(found, dict) else {}


def _tensor(
    torch: Any, archive: zipfile.ZipFile, members: Mapping[str, Any], folder: str, about: Any
) -> Any:
    """Return a tensor: its bytes, as its description says that they lie."""
    file = str(about["path_name"])
    if folder + file not in members:
        raise ValueError(f"its file {file!r} is missing")
    if file.startswith("custom_obj"):
        raise ValueError("it is an object of some class, pickled; eiplane never runs code of files")
    data = archive.read(folder + file)
    if about["use_pickle"]:
        try:
            return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        except Exception:
            raise ValueError(
                "it is pickled and more than a tensor; eiplane never runs code of files"
            ) from None
    meta = about["tensor_meta"]
    sizes, strides = sizes_of(meta["sizes"]), sizes_of(meta["strides"])
    start = sizes_of([meta["storage_offset"]])[0]
    dtype = getattr(torch, DTYPES[meta["dtype"]])
    if meta["layout"] != 7:
        raise ValueError("it is sparse, or of another layout")
    if min([*sizes, *strides, start, 0]) < 0 or len(sizes) != len(strides):
        raise ValueError(f"it declares the shape {sizes}")
    count = math.prod(sizes)
    reach = (
        start + 1 + sum((n - 1) * s for n, s in zip(sizes, strides, strict=True)) if count else 0
    )
    held = len(data) // dtype.itemsize
    if max(reach, count) > held:
        raise ValueError(f"it declares {max(reach, count)} numbers and holds {held}")
    if not count:
        return torch.empty(sizes, dtype=dtype)
    flat = torch.frombuffer(bytearray(data), dtype=dtype, count=held)
    return flat.as_strided(sizes, strides, start)


def sizes_of(values: Sequence[Any]) -> tuple[int, ...]:
    """Return sizes as numbers: of a symbol the one that it was exported with.

    Parameters
    ----------
    values : sequence of mapping

    Returns
    -------
    tuple of int
    """
    found = []
    for value in values:
        if "as_int" in value:
            found.append(int(value["as_int"]))
        else:
            hint = (value.get("as_expr") or {}).get("hint") or {}
            if "as_int" not in hint:
                raise UnknownSizeError("a size is a symbol, and no number is given for it")
            found.append(int(hint["as_int"]))
    if math.prod(max(1, n) for n in found) > _MOST_INPUT:
        raise ValueError(f"it declares the shape {tuple(found)}")
    return tuple(found)
