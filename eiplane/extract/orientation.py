"""Which way a weight of a file is turned, and what its bias is called."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .entries import Entries, Entry, layer_name, leaf, owner, parent, plain, sibling, words_of
from .recurrent import Part

__all__ = ["Orientation", "bias_of", "kernel_part"]

Array = NDArray[Any]

#: GPT-2's own names for weights that its ``Conv1D`` keeps as (in, out); others use them for
#: ``Linear``, so one of a family has to show which way it is.
_FAMILIES = (frozenset(("c_attn", "c_fc", "c_proj", "q_attn")),)

_HEADS_IN = frozenset(("query", "key", "value"))
_HEADS_OUT = frozenset(("out", "attention_output"))

#: Arrays that hold the biases of weights held in one array or list of those.
_PLURALS = {"weights": "biases", "coefs_": "intercepts_", "kernels": "biases"}

#: The same of arrays that have their number in their name, as scikit-learn's have when saved.
_NUMBERED = re.compile(r"^(weights|coefs|kernels)_?(\d+)$")

#: What ``numpy.savez`` calls arrays that are given no names: those of layers in turn.
_UNNAMED = re.compile(r"^arr_(\d+)$")


def bias_of(entry: Entry, entries: Entries) -> Entry | None:
    """Return what a weight's name makes its bias, if that is there.

    Parameters
    ----------
    entry : Entry
    entries : dict of str to Entry

    Returns
    -------
    Entry or None
        Unchecked.
    """
    last = leaf(entry.name)
    if last in ("depthwise_kernel", "recurrent_kernel"):
        return None
    name = ""
    if last.endswith("kernel"):
        name = sibling(entry.name, "bias")
    elif "weight" in last:
        name = sibling(entry.name, last.replace("weight", "bias"))
    elif last[:1] in "Ww" and (last[1:] == "" or last[1:].isdigit()):
        name = sibling(entry.name, "b" + last[1:])
    elif last.isdigit() and owner(entry.name) in _PLURALS:
        head = parent(entry.name).removesuffix(owner(entry.name))
        name = f"{head}{_PLURALS[owner(entry.name)]}.{last}"
    elif match := _NUMBERED.match(last):
        plural = _PLURALS.get(match[1]) or _PLURALS[f"{match[1]}_"].rstrip("_")
        name = sibling(entry.name, plural + last[len(match[1]) :])
    elif match := _UNNAMED.match(entry.name):
        found = entries.get(f"arr_{int(match[1]) + 1}")
        fits = found is not None and len(found.shape) == 1 and found.shape[0] in entry.shape
        return found if fits else None
    return entries.get(name)


def kernel_part(entry: Entry, entries: Entries) -> Part | str:
    """Return the layer of a ``kernel`` as Keras and Flax keep it, or why it is none.

    Parameters
    ----------
    entry : Entry
        ``(in, out)``; ``(*window, in, out)`` of a convolution.
    entries : dict of str to Entry

    Returns
    -------
    Part or str

    Notes
    -----
    Flax's ``DenseGeneral`` and Keras' attention keep heads apart: ``(in, heads, size)`` for
    queries, keys and values, ``(heads, size, out)`` for what they give.
    """
    module, last, shape = owner(entry.name), leaf(entry.name), entry.shape
    bias = bias_of(entry, entries)
    if "transpose" in words_of(module) or "deconv" in module.lower():
        return "a transposed convolution: what one output sees depends on its stride"
    wide = math.prod(bias.shape) if bias is not None else 0
    if bias is not None and bias.problem:
        return f"its bias cannot be read: {bias.problem}"
    heads = sum(
        len(entries[n].shape) == 3
        for h in ("query", "key", "value")
        if (n := _cousin(entry.name, h)) in entries
    )
    name = layer_name(entry.name)
    if len(shape) == 3 and module in _HEADS_IN and (heads == 3 or wide == shape[1] * shape[2]):
        return _part(
            name, entry, bias, (shape[1] * shape[2], shape[0]), lambda a: a.reshape(len(a), -1).T
        )
    if len(shape) == 3 and module in _HEADS_OUT and heads:
        flat = (shape[2], shape[0] * shape[1])
        return _part(name, entry, bias, flat, lambda a: a.reshape(-1, a.shape[-1]).T)
    axes = 1 if bias is None else len(bias.shape)
    if axes > 1 and bias is not None and bias.shape == shape[-axes:] and len(shape) == axes + 1:
        # Its outputs are several axes, as those of Flax's DenseGeneral.
        if axes == 2 and shape[0] == shape[1] and "general" not in words_of(module):
            return (
                f"a kernel of shape {shape} with a bias for each of the first two axes: of several "
                "outputs' axes, or of layers that are stacked, which its name does not say"
            )
        return _part(name, entry, bias, (wide, shape[0]), lambda a: a.reshape(len(a), -1).T)
    if axes == 1 and "general" in words_of(module) and len(shape) > 2:
        flat = (shape[-1], math.prod(shape[:-1]))
        return _part(name, entry, bias, flat, lambda a: a.reshape(-1, a.shape[-1]).T)
    depthwise = last == "depthwise_kernel" or (
        len(shape) > 2 and axes == 1 and wide == shape[-2] * shape[-1] != shape[-1]
    ) or ("depthwise" in words_of(module) and shape[-2:][0] > 1)  # fmt: skip
    if depthwise and len(shape) > 2:
        n_in, times = shape[-2:]

        def spread(a: Array) -> Array:  # output k sees input k // times alone
            return np.moveaxis(a, (-2, -1), (0, 1)).reshape(n_in * times, 1, *a.shape[:-2])

        return _part(name, entry, bias, (n_in * times, 1, *shape[:-2]), spread, n_in)
    if bias is None and len(shape) == 3 and not _is_window(entry.name):
        return (
            f"a kernel of shape {shape} without a bias: of a convolution, or of layers that are "
            "stacked (as by flax.linen.scan), which its name does not say"
        )
    if bias is not None and bias.shape != shape[-1:]:
        return (
            f"its bias of shape {bias.shape} does not fit a kernel of shape {shape}, which has its "
            "outputs last"
        )
    turned = (shape[-1], shape[-2], *shape[:-2])
    return _part(name, entry, bias, turned, lambda a: np.moveaxis(a, (-1, -2), (0, 1)))


def _is_window(name: str) -> bool:
    """Return whether a name says that this is a convolution's."""
    said = words_of(parent(name))
    return any(w.startswith("conv") or w in ("downsample", "stem", "patch") for w in said)


def _cousin(name: str, module: str) -> str:
    """Return the name of the same array in another module beside this one."""
    up = parent(name)
    return sibling(up, module) + name[len(up) :]


def _part(
    name: str,
    entry: Entry,
    bias: Entry | None,
    shape: tuple[int, ...],
    turn: Callable[[Array], Array],
    groups: int = 1,
) -> Part:
    offset = None if bias is None else bias.read
    return Part(
        name,
        shape,
        lambda: turn(plain(entry.read())),
        None if offset is None else lambda: plain(offset()).reshape(-1),
        groups=groups,
    )


class Orientation:
    """Which matrices of a file are kept as ``(in, out)``, by what their biases say.

    A weight whose bias fits only the other way round is ``(in, out)``, and with it are all
    matrices whose module has the same name (or a name of the same documented family).

    Parameters
    ----------
    weights : list of Entry
    entries : dict of str to Entry
    """

    def __init__(self, weights: list[Entry], entries: Entries) -> None:
        self._entries = entries
        self._turned: set[str] = set()
        self._straight: set[str] = set()
        for entry in weights:
            if len(entry.shape) == 2:
                n_out, n_in = entry.shape
                bias = bias_of(entry, entries)
                wide = bias.shape[0] if bias is not None and len(bias.shape) == 1 else None
                if n_out != n_in and wide in (n_out, n_in):
                    side = self._straight if wide == n_out else self._turned
                    side.add(self._group(entry))

    def _group(self, entry: Entry) -> str:
        name = layer_name(entry.name)
        last = leaf(name)
        if any(last in family for family in _FAMILIES):
            return "c_*"
        if _is_counted(entry):
            return "*"
        return last

    def turned(self, entry: Entry) -> bool | None:
        """Return whether a matrix is ``(in, out)``; None if nothing says which way it is."""
        if len(entry.shape) != 2:
            return False
        if _is_projection(entry, self._entries) or re.search(r"/~/|~", parent(entry.name)):
            return True  # OpenAI's CLIP (x @ proj), Haiku
        group = self._group(entry)
        bias = bias_of(entry, self._entries)
        wide = bias.shape[0] if bias is not None and len(bias.shape) == 1 else None
        if entry.shape[0] != entry.shape[1] and wide in entry.shape:
            return wide == entry.shape[1]
        if group in self._turned and group not in self._straight:
            return leaf(entry.name).lower().startswith("w") or group == "*"
        if group == "c_*" and group not in self._straight and leaf(entry.name) == "weight":
            return None
        return False


def _is_counted(entry: Entry) -> bool:
    """Return whether a name only counts: all of a file are turned as one of them shows."""
    return bool(_NUMBERED.match(leaf(entry.name)) or _UNNAMED.match(entry.name))


def _is_projection(entry: Entry, entries: Entries) -> bool:
    known = entry.name in ("text_projection", "visual.proj")
    return known and "logit_scale" in entries and "positional_embedding" in entries


def is_transposed_convolution(entry: Entry, entries: Entries) -> bool:
    """Return whether a weight is one by its module's name or its bias: ``(in, out, *window)``."""
    if len(entry.shape) < 3:
        return False
    words = words_of(owner(entry.name))
    if {"transpose", "transposed", "deconv", "upconv", "convtranspose"} & set(words):
        return True
    bias = bias_of(entry, entries)
    if bias is None or len(bias.shape) != 1:
        return False
    n_out, n_first, n_second = bias.shape[0], *entry.shape[:2]
    return n_out != n_first and n_out % n_second == 0
