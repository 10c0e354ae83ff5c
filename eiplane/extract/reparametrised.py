"""Weights that a file keeps in parts: weight norm, spectral norm, pruning; combined, or refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..results import Skipped
from .entries import Entries, Entry, layer_name, leaf, plain, sibling, swapped

__all__ = ["combined"]

Array = NDArray[np.float64]

_NEW = re.compile(r"^(.*?)parametrizations\.([^.]+)\.(.+)$")
_OLD = re.compile(r"^(.+)_(g|v|u|orig|mask)$")


def combined(entries: Entries, skipped: list[Skipped]) -> Entries:
    """Return entries with every reparametrised weight (or bias) as one.

    Parameters
    ----------
    entries : dict of str to Entry
    skipped : list of Skipped
        Takes those whose function a file does not say (orthogonal, user-defined, ...).

    Returns
    -------
    dict of str to Entry

    Notes
    -----
    As torch documents them: ``torch.nn.utils.weight_norm`` (``_g``, ``_v``), ``spectral_norm``
    (``_orig``, ``_u``, ``_v``), ``prune`` (``_orig``, ``_mask``), and
    ``torch.nn.utils.parametrizations`` of ``weight_norm`` (``original0``, ``original1``) and
    ``spectral_norm`` (``original``, ``0._u``, ``0._v``).
    """
    groups: dict[str, dict[str, Entry]] = {}
    for name, entry in entries.items():
        if match := _NEW.match(name):
            groups.setdefault(match[1] + match[2], {})[match[3]] = entry
        elif match := _OLD.match(leaf(name)):
            groups.setdefault(sibling(name, match[1]), {})[f"_{match[2]}"] = entry
    made: dict[str, Entry] = {}
    gone: set[str] = set()
    for target, parts in groups.items():
        keys = frozenset(parts)
        if not _is_reparametrised(target, keys, parts, target in entries):
            continue
        names = [part.name for part in parts.values()]
        gone.update(names)
        whole = _whole(target, keys, parts)
        if whole is not None:
            made[names[0]] = whole
        elif "bias" not in leaf(target) or target.endswith("weight"):
            listed = ", ".join(leaf(n) if "parametriz" not in n else n for n in names)
            reason = (
                f"its weight is kept in parts ({listed}) that do not say how they combine; load "
                "the module and pass that"
            )
            skipped.append(Skipped(layer_name(target), reason))
        elif (weight := sibling(target, leaf(target).replace("bias", "weight"))) in entries:
            gone.add(weight)
            reason = (
                f"its bias is kept in parts ({', '.join(names)}) that do not say how they "
                "combine; load the module and pass that"
            )
            skipped.append(Skipped(layer_name(weight), reason))
    return swapped(entries, made, gone)


def _is_reparametrised(
    target: str, keys: frozenset[str], parts: dict[str, Entry], whole_there: bool
) -> bool:
    if not all(key.startswith("_") for key in keys):
        return True  # of torch.nn.utils.parametrize: nothing else has such names
    if whole_there:
        return False  # the weight itself is there: a mask beside it is only that
    if "_orig" in keys:
        return True
    if {"_g", "_v"} <= keys:
        return _is_norm(parts["_g"].shape, parts["_v"].shape)
    return leaf(target).startswith("weight") and keys != {"_mask"}


def _is_norm(g: tuple[int, ...], v: tuple[int, ...]) -> bool:
    """Return whether g can be the length of v along one axis, or as a whole."""
    if len(g) in (0, 1) and int(np.prod(g)) == 1:
        return True
    kept = [i for i, n in enumerate(g) if n != 1]
    return len(g) == len(v) and len(kept) <= 1 and all(g[i] == v[i] for i in kept)


def _whole(target: str, keys: frozenset[str], parts: dict[str, Entry]) -> Entry | None:
    """Return the weight that the parts make, or None if they do not say how."""
    if any(part.code[0] not in "FIUB" for part in parts.values()):
        return None
    if keys in ({"_g", "_v"}, {"original0", "original1"}):
        g, v = (parts[k] for k in sorted(keys))
        if not _is_norm(g.shape, v.shape) or len(v.shape) < 2:
            return None
        return _entry(target, v, lambda: _weight_norm(_values(g), _values(v)))
    if keys == {"_orig", "_mask"}:
        whole, mask = parts["_orig"], parts["_mask"]
        if whole.shape != mask.shape:
            return None
        return _entry(target, whole, lambda: _values(whole) * _values(mask))
    for names in (("_orig", "_u", "_v"), ("original", "0._u", "0._v")):
        if keys == set(names):
            return _spectral(target, *(parts[n] for n in names))
    return None


def _axis(shape: tuple[int, ...], u: tuple[int, ...], v: tuple[int, ...]) -> int | None:
    """Return the axis of the rows of the matrix whose singular vectors u and v are."""
    size = int(np.prod(shape))
    fits = [i for i in (0, 1) if i < len(shape) and u == (shape[i],) and v == (size // shape[i],)]
    return fits[0] if fits else None


def _entry(target: str, like: Entry, read: Callable[[], Any]) -> Entry:
    return Entry(target, like.shape, read, like.problem, like.code)


def _values(entry: Entry) -> Array:
    return plain(entry.read()).astype(np.float64)


def _weight_norm(g: Array, v: Array) -> Array:
    axes = tuple(i for i in range(v.ndim) if g.ndim != v.ndim or g.shape[i] == 1)
    length = np.sqrt((v * v).sum(axis=axes, keepdims=True))
    with np.errstate(invalid="ignore", divide="ignore"):  # a row of zeros is told as NaN later
        scale = g if g.ndim == v.ndim else g.reshape((1,) * v.ndim)
        return np.asarray(v / length * scale)


def _spectral(target: str, whole: Entry, u: Entry, v: Entry) -> Entry | None:
    axis = _axis(whole.shape, u.shape, v.shape)
    if axis is None:
        return None

    def read() -> Array:
        weight = _values(whole)
        matrix = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)
        return weight / float(_values(u) @ matrix @ _values(v))

    return _entry(target, whole, read)
