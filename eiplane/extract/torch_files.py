"""Tensors in files of torch; never more than tensors, and no code."""

from __future__ import annotations

import errno
import inspect
import math
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..files import is_damage, require
from ..results import Skipped
from .checkpoints import flattened
from .entries import Entry
from .zips import checked_members, opened

__all__ = ["read_torch"]

#: What members without tensors (names, versions) may unpack to: so many times what they take, and
#: so much. A few hundred bytes of zeros would keep every reader busy for seconds.
_NAMES_RATIO, _NAMES = 100, 1 << 20

#: Of a number, by its code; one, where it is not said.
_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "C64": 8}


def read_torch(path: Path, key: str | None = None) -> tuple[list[Entry], list[Skipped]]:
    """Return the tensors of a state dict in a file of torch.

    Parameters
    ----------
    path : Path
    key : str, optional
        Which of several.

    Returns
    -------
    entries : list of Entry
    skipped : list of Skipped
        Tensors that stand beside the state dict.

    Raises
    ------
    ValueError
        If the file is damaged, holds more than weights, none, or several networks.
    """
    torch = require("torch", "torch")
    try:
        loaded = _load(torch, path)
    except MemoryError:
        _check_fits(path)
        raise ValueError(f"{path}: it declares more than it holds") from None
    except Exception as error:
        if not is_damage(error):
            raise
        text = str(error).strip()
        if os.strerror(errno.ENOMEM) in text:  # of mapping the file itself
            raise MemoryError(f"{path}: too large for the memory that there is") from None
        if any(word in text for word in ("weights_only", "Unsupported", "TorchScript")):
            raise ValueError(
                f"{path}: it holds more than weights, and eiplane never runs code from a file; "
                "save module.state_dict() instead"
            ) from None
        said = text.removeprefix(f"{path}: ").splitlines()
        reason = said[0] if said else type(error).__name__
        raise ValueError(f"{path}: not a whole file of torch weights ({reason})") from None
    if isinstance(loaded, torch.Tensor):
        loaded = {"weight": loaded}
    if isinstance(loaded, list | tuple) and any(isinstance(part, Mapping) for part in loaded):
        loaded = {str(k): part for k, part in enumerate(loaded)}
    if not isinstance(loaded, Mapping):
        raise ValueError(f"{path}: it holds no state dict, but {type(loaded).__name__}")
    names = {k: v for k, v in loaded.items() if isinstance(k, str)}
    entries, skipped = flattened(names, str(path), key)
    if not entries:
        raise ValueError(f"{path}: it holds no state dict, but {', '.join(map(repr, loaded))}")
    size = path.stat().st_size
    for entry in entries:
        # torch makes room for whatever shape a pickle names, and lets strides repeat numbers.
        if math.prod(entry.shape) * _BYTES.get(entry.code, 1) > size:
            raise ValueError(
                f"{path}: tensor {entry.name!r} of shape {entry.shape} declares more than the "
                f"file's {size} bytes hold"
            )
    return entries, skipped


def _check_fits(path: Path) -> None:
    """Raise MemoryError if a file's own bytes are too many for this machine."""
    try:
        bytearray(path.stat().st_size)
    except MemoryError:
        raise MemoryError(f"{path}: too large for the memory that there is") from None


def _load(torch: Any, path: Path) -> Any:
    options: dict[str, Any] = {"map_location": "cpu", "weights_only": True}
    with path.open("rb") as file:
        start = file.read(4)
    if start != b"PK\x03\x04" and not zipfile.is_zipfile(path):
        return torch.load(path, **options)  # as torch wrote them before 1.6
    with opened(path, "not a whole archive") as archive:
        members = checked_members(archive)
        if any(m.filename.endswith("/constants.pkl") for m in members):
            raise ValueError("TorchScript")
        for member in members:
            if "/data/" in member.filename:
                continue
            if member.file_size > _NAMES_RATIO * member.compress_size + _NAMES:
                raise ValueError(
                    f"{path}: member {member.filename!r} unpacks from {member.compress_size} bytes "
                    f"to {member.file_size}; no file of torch weights does"
                )
            # Read through Python's own reader first: it checks names, sizes and checksums.
            archive.read(member)
        # A map of a packed tensor would show its packed bytes.
        mapped = all(m.compress_type == zipfile.ZIP_STORED for m in members)
    if "mmap" in inspect.signature(torch.load).parameters:  # since torch 2.1
        options["mmap"] = mapped
    return torch.load(str(path), **options)
