"""Layers from named arrays: state dicts, files of weights, parameter trees."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from ..network import Layer, LazyLayer, Network
from ..results import Skipped
from .adapters import adapted, is_adapter
from .checkpoints import flattened
from .entries import Entries, Entry, layer_name, leaf, plain, sibling
from .flax import cell_gates, is_convolutional_cell, unfolded
from .helpers import helper_reason
from .options import ActivationChoice, activations_for
from .orientation import Orientation, bias_of, is_transposed_convolution, kernel_part
from .quantised import dequantised
from .recurrent import Part, gates_of, is_convolutional
from .reparametrised import combined

__all__ = ["from_entries", "from_mapping"]


def from_mapping(
    weights: Mapping[str, Any], activation: ActivationChoice, what: str, key: str | None = None
) -> tuple[Network, tuple[Skipped, ...]]:
    """Return the layers of a state dict, a checkpoint or a tree of parameters.

    Parameters
    ----------
    weights : mapping of str to array
        Possibly nested. What is no array, or an array of integers, is passed over.
    activation : str, Activation, sequence or mapping of those
    what : str
        What it is, for errors.
    key : str, optional
        Which of several state dicts in it.

    Returns
    -------
    network : Network
        Not chained.
    skipped : tuple of Skipped

    Raises
    ------
    ValueError
        If there is no weight, no activation was given, or there are several networks.
    """
    entries, skipped = flattened(weights, what, key)
    network, more = from_entries(entries, activation, what)
    return network, (*skipped, *more)


def from_entries(
    entries: Iterable[Entry],
    activation: ActivationChoice,
    what: str,
    about: Mapping[str, Any] | None = None,
) -> tuple[Network, tuple[Skipped, ...]]:
    """Return the layers of named arrays: each weight with its bias, read when needed.

    A weight is an array of two or more dimensions. Reparametrised and quantised weights and
    adapters are put together first; what is no linear map by its name or shape is listed. A
    ``kernel`` has its outputs last; any other weight whose bias fits only the other way round is
    ``(in, out)`` too, as in Hugging Face's ``Conv1D``.

    Parameters
    ----------
    entries : iterable of Entry
    activation : str, Activation, sequence or mapping of those
        Gates and adapters bring their own.
    what : str
        What it is, for errors.
    about : mapping, optional
        Of a file, ``"file"``; ``"quantization"`` and ``"adapter"``: what others beside it say.

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
    about = about or {}
    skipped: list[Skipped] = []
    table = unfolded(combined(known, skipped))
    table = dequantised(table, skipped, about.get("quantization"))
    table = adapted(table, skipped, about.get("adapter"))
    parts = _parts(table, skipped, what)
    if not parts:
        raise ValueError(
            f"{what} holds no weight of two or more dimensions"
            + (f"; skipped: {skipped[0].name} ({skipped[0].reason})" if skipped else "")
            + (f"; it holds {', '.join([*known][:20])}" if known else "")
        )
    free = [part.name for part in parts if part.activation is None]
    if activation is None and free:
        raise ValueError(
            f"{what} does not say which activations follow its {len(free)} weights; pass "
            "activation='relu' or another, a list of one per layer, or a mapping of names or globs"
        )
    chosen = _activations(parts, free, activation)
    file = what if about.get("file") else ""
    layers = [_lazy(part, act, file) for part, act in zip(parts, chosen, strict=True)]
    ranges = {part.name: part.in_range for part in parts if part.in_range is not None}
    return Network(layers, chained=False, in_ranges=ranges), tuple(skipped)


def _activations(parts: list[Part], free: list[str], choice: ActivationChoice) -> list[Any]:
    """Return each layer's activation: its own, unless the user names that very layer."""
    if isinstance(choice, Mapping):
        own = {p.name: p.activation for p in parts if p.activation is not None}
        rest = {k: v for k, v in choice.items() if k not in own}
        found = dict(zip(free, activations_for(free, rest), strict=True)) if free else {}
        return [choice.get(p.name, own[p.name]) if p.name in own else found[p.name] for p in parts]
    if choice is None:
        return [part.activation for part in parts]
    every = activations_for([part.name for part in parts], choice)
    return [part.activation or act for part, act in zip(parts, every, strict=True)]


def _parts(table: Entries, skipped: list[Skipped], what: str) -> list[Part]:
    """Return the layers of a table of arrays; list the rest."""
    weights = [e for e in table.values() if len(e.shape) >= 2 and not e.is_bookkeeping]
    sides = Orientation([e for e in weights if not e.problem], table)
    parts: list[Part] = []
    for entry in weights:
        reason = entry.problem or helper_reason(entry, table)
        found: Part | str | list[Part] | None = reason
        if not reason and 0 in entry.shape:
            raise ValueError(f"{what}: weight {entry.name!r} is empty")
        if not reason:
            found = gates_of(entry, table)
        if found is None and leaf(entry.name) == "kernel":
            found = cell_gates(entry, table)
        if found is None:
            found = _part(entry, table, sides)
        if isinstance(found, str):
            if not _is_bias(entry, table):
                skipped.append(Skipped(layer_name(entry.name), found))
        else:
            parts += found if isinstance(found, list) else [found]
    count = Counter(part.name for part in parts)
    full = {layer_name(e.name): e.name for e in reversed(weights)}
    # Two arrays of one module (weight and W, say) keep their full names.
    return [
        replace(p, name=full[p.name]) if count[p.name] > 1 and p.name in full else p for p in parts
    ]


def _is_bias(entry: Entry, table: Entries) -> bool:
    """Return whether an array of two dimensions is the bias of a kernel with heads, or a GRU's."""
    return leaf(entry.name) == "bias" and sibling(entry.name, "kernel") in table


def _part(entry: Entry, table: Entries, sides: Orientation) -> Part | str:
    """Return the layer of a weight, or why it is none."""
    if is_convolutional(entry, table) or is_convolutional_cell(entry, table):
        return "a recurrent layer of convolutions: its gates are not told apart"
    if re.search(r"(^|_)kernel$", leaf(entry.name)):
        return kernel_part(entry, table)
    if is_transposed_convolution(entry, table):
        return (
            "a transposed convolution: what one output sees depends on its stride, which a file "
            "does not say; pass the module"
        )
    bias = bias_of(entry, table)
    if bias is not None and bias.problem:
        return f"its bias cannot be read: {bias.problem}"
    if bias is not None and len(bias.shape) != 1:
        bias = None
    last, first = entry.shape[-1], entry.shape[0]
    if bias is not None and len(entry.shape) > 2 and bias.shape == (last,) != (first,):
        return kernel_part(entry, table)  # a convolution's, as Haiku keeps it
    turn = sides.turned(entry)
    if turn is None and entry.shape[0] == entry.shape[1]:
        return (
            "square, and its name is used both for (out, in) and for (in, out) weights; pass the "
            "array itself, turned as it should be"
        )
    shape = entry.shape[::-1] if turn else entry.shape
    act = "identity" if is_adapter(entry.name) else None
    name = layer_name(entry.name)
    return Part(
        name,
        shape,
        (lambda: plain(entry.read()).T) if turn else entry.read,
        None if bias is None else bias.read,
        act,
    )


def _lazy(part: Part, activation: Any, file: str) -> LazyLayer:
    def read() -> Layer:
        try:
            offset = None if part.bias is None else part.bias()
            return Layer(part.weight(), offset, lazy.activation, part.name, part.groups)
        except (TypeError, ValueError) as error:
            if not file or file in str(error):
                raise
            raise ValueError(f"{file}: {error}") from None

    lazy = LazyLayer(part.name, part.shape, activation, read, part.groups)
    return lazy
