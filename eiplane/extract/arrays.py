"""Networks from arrays, pairs, layers and mappings of arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..network import Layer, LazyLayer, Network, real_array
from ..results import Skipped
from .options import ActivationChoice, activations_for

__all__ = [
    "Entry",
    "entry_of",
    "from_entries",
    "from_mapping",
    "from_sequence",
    "is_lone_pair",
    "is_matrix",
    "plain",
]


def from_sequence(items: Sequence[Any], activation: ActivationChoice) -> Network:
    """Return the chain of some layers.

    Parameters
    ----------
    items : sequence
        Of weights, ``(weight, bias)`` pairs and :class:`eiplane.Layer`, in any mixture.
    activation : str, Activation, sequence or mapping of those, optional
        Of those that are no :class:`eiplane.Layer`; sigmoid when left out.

    Returns
    -------
    Network

    Raises
    ------
    TypeError, ValueError
        For what is no layer, or sizes that do not chain.
    """
    if not items:
        raise ValueError("no layers were given; eiplane needs at least one weight matrix")
    given = [isinstance(item, Layer | LazyLayer) for item in items]
    if all(given) and activation is not None:
        raise ValueError("every eiplane.Layer brings its own activation; leave activation out")
    names = [
        str(item.name) if isinstance(item, Layer | LazyLayer) and item.name is not None else str(i)
        for i, item in enumerate(items)
    ]
    if isinstance(activation, str | Mapping) or not isinstance(activation, Sequence):
        free = [name for name, is_layer in zip(names, given, strict=True) if not is_layer]
        chosen = iter(activations_for(free, "sigmoid" if activation is None else activation))
    else:
        # One for each: those of ready layers have a place in the list but change nothing.
        every = activations_for(names, activation)
        chosen = iter([a for a, is_layer in zip(every, given, strict=True) if not is_layer])
    layers: list[Layer | LazyLayer] = []
    for name, item in zip(names, items, strict=True):
        if isinstance(item, Layer | LazyLayer):
            layers.append(item)
            continue
        weight, bias = item if _is_pair(item) else (item, None)
        layers.append(Layer(weight, bias, next(chosen), name))  # type: ignore[arg-type]
    return Network(layers)


def plain(value: Any) -> np.ndarray[Any, Any]:
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
    if not callable(detach):
        return np.asarray(value)
    tensor = detach().cpu()
    if any(kind in str(tensor.dtype) for kind in ("bfloat16", "float8")):
        tensor = tensor.float()
    return np.asarray(tensor.numpy())


def is_matrix(items: Any) -> bool:
    """Return whether nested lists are one matrix of numbers, not a list of layers."""
    return bool(items) and all(
        isinstance(row, list | tuple)
        and bool(row)
        and all(isinstance(x, int | float | np.number) for x in row)
        for row in items
    )


def _is_pair(item: Any) -> bool:
    if not isinstance(item, list | tuple) or len(item) != 2 or is_matrix(item):
        return False
    return item[1] is None or np.ndim(_cheap(item[1])) == 1


def _cheap(value: Any) -> Any:
    detach = getattr(value, "detach", None)
    return np.empty(tuple(value.shape)) if callable(detach) else value


def is_lone_pair(items: Sequence[Any]) -> bool:
    """Return whether ``items`` is one ``(weight, bias)`` pair and not a list of layers."""
    return isinstance(items, tuple) and _is_pair(items) and np.ndim(_cheap(items[0])) >= 2


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
        Why it cannot be read as numbers, if it cannot.
    """

    name: str
    shape: tuple[int, ...]
    read: Callable[[], Any]
    problem: str = ""


def entry_of(name: str, value: Any) -> Entry | None:
    """Return the entry of an array or a tensor in memory.

    Parameters
    ----------
    name : str
    value : ndarray or tensor

    Returns
    -------
    Entry or None
        None for a tensor of integers that is no weight by its name: positions, masks, counts.
    """
    problem = ""
    if callable(getattr(value, "detach", None)):
        kind = str(value.dtype).rpartition(".")[2]
        if not kind.startswith(("float", "bfloat", "complex")):
            if "weight" not in name.rpartition(".")[2]:
                return None
            problem = f"its numbers are of type {kind}: without their scales they are no weights"
        elif str(value.layout) != "torch.strided":
            problem = f"a sparse tensor ({value.layout}); make it dense"
        elif value.is_meta:
            problem = "it has no values: it is on the meta device"
    return Entry(name, tuple(map(int, value.shape)), lambda: value, problem)


def from_mapping(
    weights: Mapping[str, Any], activation: ActivationChoice, what: str
) -> tuple[Network, tuple[Skipped, ...]]:
    """Return the layers of a state dict or another mapping of names to arrays.

    Parameters
    ----------
    weights : mapping of str to array
        What is no array, or an array of integers, is passed over.
    activation : str, Activation, sequence or mapping of those
    what : str
        What it is, for errors.

    Returns
    -------
    network : Network
        Not chained.
    skipped : tuple of Skipped

    Raises
    ------
    ValueError
        If there is no weight, or no activation was given.
    """
    entries = []
    for name, value in weights.items():
        if not isinstance(name, str):
            raise TypeError(f"{what} must have names for keys, not {name!r}")
        if isinstance(value, list | tuple):
            value = real_array(value, f"entry {name!r}")
        if hasattr(value, "shape"):  # no step count or the like
            entry = entry_of(name, value)
            entries += [] if entry is None else [entry]
    return from_entries(entries, activation, what)


def from_entries(
    entries: Iterable[Entry], activation: ActivationChoice, what: str
) -> tuple[Network, tuple[Skipped, ...]]:
    """Return the layers of named arrays: each weight with its bias, read when needed.

    A weight is an array of two or more dimensions. Its bias is the one-dimensional array of that
    name with ``weight`` (or a leading ``W``) replaced by ``bias`` (``b``). Weights whose bias fits
    only the other way round are kept as ``(n_in, n_out)``, as in Hugging Face's ``Conv1D``: they
    are turned, and with them all matrices whose last name is the same, such as ``c_proj``.

    Parameters
    ----------
    entries : iterable of Entry
    activation : str, Activation, sequence or mapping of those
    what : str
        What it is, for errors.

    Returns
    -------
    network : Network
        Not chained.
    skipped : tuple of Skipped

    Raises
    ------
    ValueError
        If there is no weight, or no activation was given.
    """
    known = {entry.name: entry for entry in entries}
    weights = [e for e in known.values() if len(e.shape) >= 2]
    skipped = tuple(Skipped(layer_name(e.name), e.problem) for e in weights if e.problem)
    weights = [e for e in weights if not e.problem]
    empty = [e.name for e in weights if 0 in e.shape]
    if empty:
        raise ValueError(f"{what}: weight {empty[0]!r} is empty")
    if not weights:
        raise ValueError(
            f"{what} holds no weight of two or more dimensions"
            + (f"; skipped: {skipped[0].name} ({skipped[0].reason})" if skipped else "")
            + (f"; it holds {', '.join([*known][:20])}" if known else "")
        )
    if activation is None:
        raise ValueError(
            f"{what} does not say which activations follow its {len(weights)} weights; pass "
            "activation='relu' or another, a list of one per layer, or a mapping of names or globs"
        )
    biases = {e.name: bias for e in weights if (bias := known.get(_bias_name(e.name))) is not None}
    biases = {n: b for n, b in biases.items() if len(b.shape) == 1 and not b.problem}
    turned = {
        _leaf(e.name)
        for e in weights
        if len(e.shape) == 2 and e.name in biases
        and biases[e.name].shape[0] == e.shape[1] != e.shape[0]
    }  # fmt: skip
    names = [layer_name(e.name) for e in weights]
    # Two arrays of one module (weight and W, say) keep their full names.
    names = [e.name if names.count(n) > 1 else n for n, e in zip(names, weights, strict=True)]
    layers = []
    for name, e, act in zip(names, weights, activations_for(names, activation), strict=True):
        turn = _leaf(e.name) in turned and len(e.shape) == 2 and e.name.endswith("weight")
        turn = turn and (e.name not in biases or biases[e.name].shape[0] == e.shape[1])
        layers.append(_lazy(name, e, biases.get(e.name), act, turn))
    return Network(layers, chained=False), skipped


def _lazy(name: str, weight: Entry, bias: Entry | None, activation: Any, turn: bool) -> LazyLayer:
    def read() -> Layer:
        array = weight.read()
        offset = None if bias is None else bias.read()
        return Layer(array.T if turn else array, offset, lazy.activation, name)

    shape = weight.shape[::-1] if turn else weight.shape
    lazy = LazyLayer(name, shape, activation, read)
    return lazy


def layer_name(name: str) -> str:
    """Return the layer's name for a weight's: ``"fc1.weight"`` is the weight of ``"fc1"``."""
    return name.removesuffix(".weight") or name


def _leaf(name: str) -> str:
    return layer_name(name).rpartition(".")[2]


def _bias_name(name: str) -> str:
    head, dot, last = name.rpartition(".")
    if "weight" in last:
        return head + dot + last.replace("weight", "bias")
    if last[:1] in "Ww" and (last[1:] == "" or last[1:].isdigit()):
        return head + dot + "b" + last[1:]
    return ""
