"""State dicts found in what a checkpoint holds, however deep; trees of parameters."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..network import real_array
from ..results import Skipped
from .entries import Entry, entry_of
from .flax import with_norms

__all__ = ["flattened"]

#: What holds the state of training, not of a network.
_TRAINING = re.compile(
    r"optim(?!ized\w*cell)|(^|_)opt(_|$)|scheduler|scaler|(^|_)rng|callbacks|loops|hyper_parameters|amp|grads?$"
    r"|batch_stats$|param_groups",
    re.IGNORECASE,
)

#: Names of what holds a whole network: not a part of its layers' names.
_WHOLE = re.compile(
    r"(^|_)(state_dict|params|parameters|weights|model|module|net|network|variables|ema|teacher"
    r"|student|state|checkpoint)$",
    re.IGNORECASE,
)

_MAX_DEPTH = 64


@dataclass(frozen=True)
class _Found:
    """A network in a mapping.

    Parameters
    ----------
    path : str
        Where it was found.
    arrays : dict of str to array
    whole : bool
        Whether this is a network by itself, or a branch of a tree that may belong to others.
    """

    path: str
    arrays: dict[str, Any]
    whole: bool


def flattened(
    weights: Mapping[Any, Any], what: str, key: str | None = None
) -> tuple[list[Entry], list[Skipped]]:
    """Return the arrays of the network that a mapping holds.

    Parameters
    ----------
    weights : mapping
        A state dict, a checkpoint with one or more of those in it, or a tree of parameters: a
        mapping of modules to mappings of arrays, as Flax and Keras have them.
    what : str
        What it is, for errors.
    key : str, optional
        Which of several: its path (``"model.state_dict"``), or the last part of that.

    Returns
    -------
    entries : list of Entry
        Of a tree, their names joined by dots.
    skipped : list of Skipped
        Arrays beside the state dict that was found.

    Raises
    ------
    TypeError
        For keys that are no names.
    ValueError
        If there are several and ``key`` does not choose one, or none has that key.
    """
    for name in weights:
        if not isinstance(name, str):
            raise TypeError(f"{what} must have names for keys, not {name!r}")
    found, loose = _networks(weights, "", 0)
    if key is not None:
        chosen = _choose(found, str(key), what)
        return _entries(with_norms(chosen.arrays, weights)), []
    if len(found) > 1:
        raise ValueError(
            f"{what} holds {len(found)} networks: {_listed(found)}; choose one with key="
        )
    if not found and "param_groups" in weights:
        raise ValueError(f"{what} holds the state of an optimizer, not of a network")
    if not found:
        return _entries(dict(_arrays(weights))), []
    beside = [Skipped(name, f"an array beside the state dict {found[0].path!r}") for name in loose]
    return _entries(with_norms(found[0].arrays, weights)), beside if found[0].path else []


def _choose(found: list[_Found], key: str, what: str) -> _Found:
    named = [f for f in found if f.path == key]
    named = named or [f for f in found if f.path.rpartition(".")[2] == key]
    named = named or [f for f in found if f.path.startswith(f"{key}.")]
    if len(named) == 1:
        return named[0]
    # A branch of a tree, or of a flat state dict, is a network too.
    branches = [_branch(f, key) for f in found]
    branches = [b for b in branches if b.arrays]
    if not named and len(branches) == 1:
        return branches[0]
    if not found:
        raise ValueError(f"{what} holds no state dict; key={key!r} chooses nothing")
    there = _listed(found) if len(found) > 1 or found[0].path else "one network, without a key"
    raise ValueError(f"{what}: key={key!r} chooses {len(named)} networks; there are: {there}")


def _branch(found: _Found, key: str) -> _Found:
    inner = {
        name[len(key) + 1 :]: array
        for name, array in found.arrays.items()
        if name.startswith((f"{key}.", f"{key}/"))
    }
    return _Found(key, inner, True)


def _listed(found: list[_Found]) -> str:
    return ", ".join(
        f"{f.path or '(the top level)'} ({sum(_is_weight(a) for a in f.arrays.values())} weights)"
        for f in found
    )


def _networks(node: Any, path: str, depth: int) -> tuple[list[_Found], list[str]]:
    """Return the networks below a node, and the names of weights that belong to none."""
    if depth > _MAX_DEPTH:
        raise ValueError(f"{path[:60]!r}... is nested more than {_MAX_DEPTH} deep")
    direct = dict(_arrays(node))
    has_weights = any(_is_weight(a) for a in direct.values())
    below: list[tuple[str, _Found]] = []
    for name, child in _children(node):
        inner, _ = _networks(child, f"{path}.{name}" if path else name, depth + 1)
        below += [(name, f) for f in inner]
    if has_weights and any("." in n or "/" in n for n in direct):
        return [_Found(path, direct, True), *(f for _, f in below)], []
    wholes = sum(f.whole for _, f in below)
    containers = [name for name, _ in below if _WHOLE.search(name)]
    if wholes or len(containers) > 1:
        own = [_Found(path, direct, True)] if _looks_like_weights(direct) else []
        others = [] if own else [n for n, a in direct.items() if _is_weight(a)]
        return [*own, *(replace(f, whole=True) for _, f in below)], others
    if len(below) == 1 and containers and not has_weights:
        return [replace(below[0][1], whole=True)], []
    merged = {f"{name}.{k}": a for name, f in below for k, a in f.arrays.items()} | direct
    if below or has_weights:
        return [_Found(path, merged, False)], []
    return [], []


def _looks_like_weights(direct: Mapping[str, Any]) -> bool:
    return any(
        _is_weight(a) and re.search(r"weight|kernel|^[wW]\d*$", n) for n, a in direct.items()
    )


def _is_weight(value: Any) -> bool:
    return len(value.shape) >= 2


def _arrays(node: Any) -> Iterator[tuple[str, Any]]:
    """Yield the arrays that a mapping or list holds itself."""
    items = node.items() if isinstance(node, Mapping) else enumerate(node)
    for name, value in items:
        if isinstance(value, list | tuple) and _is_numbers(value):
            try:
                yield str(name), real_array(value, f"entry {str(name)!r}")
            except TypeError:  # betas, a schedule, ... of a checkpoint may be of any shape
                if re.search(r"weight|kernel", str(name)):
                    raise
        elif (array := _array(value)) is not None:
            yield str(name), array


def _array(value: Any) -> Any:
    """Return an array, a tensor or what holds one; None for anything else."""
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return value
    inner = getattr(value, "value", None)  # as Flax boxes its parameters
    if hasattr(inner, "shape") and hasattr(inner, "dtype"):
        return inner
    return None


def _is_numbers(value: Any) -> bool:
    while isinstance(value, list | tuple) and value:
        value = value[0]
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _children(node: Any) -> Iterator[tuple[str, Any]]:
    items = node.items() if isinstance(node, Mapping) else enumerate(node)
    of_optimizer = isinstance(node, Mapping) and "param_groups" in node
    for name, value in items:
        if of_optimizer and name == "state":
            continue
        nested = isinstance(value, Mapping) or (
            isinstance(value, list | tuple) and not _is_numbers(value)
        )
        if nested and value and not _TRAINING.search(str(name)):
            yield str(name), value


def _entries(arrays: Mapping[str, Any]) -> list[Entry]:
    return [entry_of(name, value) for name, value in arrays.items()]
