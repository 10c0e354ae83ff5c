"""Named arrays that live somewhere: their names and shapes are known, their numbers read later."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..network import refuse_masked

__all__ = [
    "Entries",
    "Entry",
    "code_of",
    "entry_of",
    "float8",
    "layer_name",
    "leaf",
    "owner",
    "parent",
    "plain",
    "sibling",
    "swapped",
    "words_of",
]

#: Codes of numbers by their names in torch and NumPy; as .safetensors has them.
_CODES = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "half": "F16",
    "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2", "float8_e8m0fnu": "F8_E8M0",
    "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8", "uint64": "U64",
    "uint32": "U32", "uint16": "U16", "uint8": "U8", "bool": "BOOL", "complex64": "C64",
    "complex128": "C128",
}  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """An array that lives somewhere: its name and shape are known, its numbers are read on demand.

    Parameters
    ----------
    name : str
    shape : tuple of int
    read : callable
        Returns the array.
    problem : str
        Why it cannot be read as a weight's numbers, if it cannot.
    code : str
        Of its numbers, as in the format .safetensors: ``"F32"``, ``"F8_E4M3"``, ``"I8"``.
    """

    name: str
    shape: tuple[int, ...]
    read: Callable[[], Any]
    problem: str = ""
    code: str = "F64"

    @property
    def is_bookkeeping(self) -> bool:
        """Whether these are integers or truth values that no name calls a weight."""
        whole = self.code[0] in "IU" or self.code == "BOOL"
        return bool(self.problem) and whole and "weight" not in leaf(self.name)


Entries = dict[str, Entry]


def plain(value: Any) -> NDArray[Any]:
    """Return an array or a tensor as a NumPy array, its numbers unchecked.

    Parameters
    ----------
    value : array_like or tensor

    Returns
    -------
    ndarray
        A view where that is possible; small floats that NumPy lacks come as float32.
    """
    detach = getattr(value, "detach", None)
    if callable(detach):
        tensor = detach().cpu()
        if getattr(tensor, "is_quantized", False):
            tensor = tensor.dequantize()
        if any(kind in str(tensor.dtype) for kind in ("bfloat16", "float8")):
            tensor = tensor.float()
        return np.asarray(tensor.numpy())
    refuse_masked(value, "an array")
    array = np.asarray(value)
    if array.dtype.kind == "V" and "float" in array.dtype.name:
        return array.astype(np.float32)  # of ml_dtypes, as JAX has them
    return array


def float8(kind: str) -> NDArray[np.float32]:
    """Return the values of all 256 bytes of an eight-bit type.

    Parameters
    ----------
    kind : str
        ``"F8_E4M3"``, ``"F8_E5M2"`` (OCP 8-bit floating point, 2023) or ``"F8_E8M0"`` (a power of
        two, OCP microscaling formats, 2023).

    Returns
    -------
    ndarray of float32, shape (256,)
    """
    byte = np.arange(256)
    if kind == "F8_E5M2":  # the upper half of a float16
        return (byte.astype("<u2") << 8).view("<f2").astype(np.float32)
    if kind == "F8_E8M0":
        return np.where(byte == 255, np.nan, np.exp2(byte - 127.0)).astype(np.float32)
    sign, exponent, mantissa = byte >> 7, (byte >> 3) & 15, byte & 7
    size = np.where(
        exponent == 0, mantissa / 8.0 * 2.0**-6, (1 + mantissa / 8.0) * np.exp2(exponent - 7.0)
    )
    size = np.where((byte & 127) == 127, np.nan, size)  # no infinities, one NaN of each sign
    return np.where(sign, -size, size).astype(np.float32)


def code_of(kind: str) -> str:
    """Return the code of numbers by the name of their type in torch or NumPy."""
    return _CODES.get(kind, kind.upper() or "?")


def entry_of(name: str, value: Any) -> Entry:
    """Return the entry of an array or a tensor in memory.

    Parameters
    ----------
    name : str
    value : ndarray or tensor

    Returns
    -------
    Entry
    """
    problem = ""
    kind = str(value.dtype).rpartition(".")[2]
    code = code_of(kind)
    if callable(getattr(value, "detach", None)):
        if getattr(value, "is_quantized", False):
            code = "F32"  # it carries its scales itself
        elif code[0] not in "FC" and code != "BF16":
            problem = f"its numbers are of type {kind}: without their scales they are no weights"
        elif str(value.layout) != "torch.strided":
            problem = f"a sparse tensor ({value.layout}); make it dense"
        if value.is_meta:
            problem = "it has no values: it is on the meta device"
    if code.startswith("F8"):
        problem = f"its numbers are of type {kind}: without their scales they are no weights"
    return Entry(name, tuple(map(int, value.shape)), lambda: plain(value), problem, code)


# -- names ------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def _split(name: str) -> tuple[str, str]:
    """Return what a name says of the module, with the separator, and its last part."""
    at = max(name.rfind("."), name.rfind("/")) + 1
    return name[:at], name[at:]


def leaf(name: str) -> str:
    """Return the last part of a name: ``"weight"`` of ``"fc1.weight"``."""
    return _split(name)[1].removesuffix(":0")


def parent(name: str) -> str:
    """Return the module's name: ``"block.fc1"`` of ``"block.fc1.weight"``."""
    return _split(name)[0][:-1]


def owner(name: str) -> str:
    """Return the last part of the module's name: ``"fc1"`` of ``"block.fc1.weight"``."""
    return _split(parent(name))[1]


def sibling(name: str, last: str) -> str:
    """Return the name with another last part."""
    head, old = _split(name)
    return head + last + (":0" if old.endswith(":0") else "")


def layer_name(name: str) -> str:
    """Return the layer's name for a weight's: ``"fc1.weight"`` is the weight of ``"fc1"``."""
    return (parent(name) if leaf(name) in ("weight", "kernel") else name) or name


def words_of(text: str) -> tuple[str, ...]:
    """Return the words of a part of a name, without numbers: of ``"LayerNorm_2"`` layer, norm."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text)
    return tuple(w for w in re.split(r"[^a-z]+", spaced.lower()) if w)


def swapped(
    entries: Mapping[str, Entry], made: Mapping[str, Entry], gone: Iterable[str]
) -> Entries:
    """Return entries with some of them taken out and others put in their places.

    Parameters
    ----------
    entries : mapping of str to Entry
    made : mapping of str to Entry
        By the name of the entry whose place each takes.
    gone : iterable of str

    Returns
    -------
    dict of str to Entry
    """
    out = set(gone)
    table: Entries = {}
    for name, entry in entries.items():
        if name in made:
            table[made[name].name] = made[name]
        elif name not in out:
            table[name] = replace(entry, name=name)
    return table
