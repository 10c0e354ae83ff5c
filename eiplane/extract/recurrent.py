"""Weights of a file that hold several layers: gates, and attention's three projections."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .entries import Entries, Entry, leaf, owner, plain, sibling, words_of

__all__ = ["Part", "gates_of"]

Array = NDArray[Any]

_TORCH = re.compile(r"^weight_(ih|hh|hr)((?:_l(\d+))?(?:_reverse)?)$")

#: Gates in the order of their blocks, by their number: of torch, and of Keras.
_TORCH_GATES = {4: "ifgo", 3: "rzn", 1: ""}
_KERAS_GATES = {4: "ifco", 3: "zrh", 1: ""}
_NEW = "ngch"  # the new state's; the others are sigmoid


@dataclass(frozen=True)
class Part:
    """A layer of a file.

    Parameters
    ----------
    name : str
    shape : tuple of int
        Of the weight, the outputs first.
    weight, bias : callable
        Return the array; the bias may be None.
    activation : str, optional
        Where it is known; else the user's.
    in_range : tuple of float, optional
        Of its inputs, where those cannot leave it.
    groups : int
    """

    name: str
    shape: tuple[int, ...]
    weight: Callable[[], Array]
    bias: Callable[[], Array] | None = None
    activation: str | None = None
    in_range: tuple[float, float] | None = None
    groups: int = 1


@dataclass(frozen=True)
class _Cell:
    """A recurrent layer's two biases and what its gates are called."""

    gates: str
    size: int
    bias_in: Callable[[], Array] | None
    bias_hidden: Callable[[], Array] | None
    resets_after: bool = True

    def parts(
        self,
        name: str,
        shape: tuple[int, ...],
        read: Callable[[], Array],
        inner: bool,
        in_range: tuple[float, float] | None,
    ) -> list[Part]:
        """Return the layers of one of the two matrices, ``(gates * size, n_in)``.

        A gate adds up what comes from the input and what comes from the hidden state; each matrix
        is taken with the other one's input at zero, so with the sum of both biases. The new state
        of a GRU multiplies what comes from the hidden state by the reset gate first: that block
        is linear, with its own bias.
        """
        made = []
        for k, gate in enumerate(self.gates or [""]):
            rows = slice(k * self.size, (k + 1) * self.size)
            alone = gate in ("n", "h") and self.resets_after
            act: str | None = "tanh" if gate in _NEW else "sigmoid"
            if not gate:
                act = None
            elif alone and inner:
                act = "identity"
            both = [self.bias_hidden if inner else self.bias_in] if alone else [
                self.bias_in, self.bias_hidden,
            ]  # fmt: skip
            made.append(
                Part(
                    f"{name}.{gate}" if gate else name,
                    (self.size, shape[1]),
                    _rows(read, rows),
                    _summed([b for b in both if b is not None], rows),
                    act,
                    in_range,
                )
            )
        return made


def _rows(read: Callable[[], Array], rows: slice) -> Callable[[], Array]:
    return lambda: read()[rows]


def _summed(biases: list[Callable[[], Array]], rows: slice) -> Callable[[], Array] | None:
    if not biases:
        return None
    return lambda: np.sum([np.asarray(b()[rows], np.float64) for b in biases], axis=0)


def gates_of(entry: Entry, entries: Entries) -> list[Part] | None:
    """Return the layers of a matrix that holds several: gates, or attention's q, k and v.

    Parameters
    ----------
    entry : Entry
    entries : dict of str to Entry

    Returns
    -------
    list of Part or None
        None if it is none, or how many gates it has cannot be told.
    """
    if match := _TORCH.match(leaf(entry.name)):
        return _torch(entry, entries, match[1], match[2], match[3])
    if leaf(entry.name) in ("kernel", "recurrent_kernel"):
        return _keras(entry, entries)
    if leaf(entry.name) == "in_proj_weight" and len(entry.shape) == 2:
        return _attention(entry, entries)
    return None


def _attention(entry: Entry, entries: Entries) -> list[Part] | None:
    """Return torch's ``MultiheadAttention``'s projections, whose outputs meet in products."""
    wide, n_in = entry.shape
    if wide != 3 * n_in:
        return None
    bias = entries.get(sibling(entry.name, "in_proj_bias"))
    read = None if bias is None or bias.shape != (wide,) or bias.problem else bias.read
    made = []
    for k, which in enumerate("qkv"):
        rows = slice(k * n_in, (k + 1) * n_in)
        offset = None if read is None else _rows(read, rows)
        name = sibling(entry.name, f"in_proj.{which}")
        made.append(Part(name, (n_in, n_in), _rows(entry.read, rows), offset, "identity"))
    return made


def _torch(
    entry: Entry, entries: Entries, side: str, suffix: str, level: str | None
) -> list[Part] | None:
    hidden = entries.get(sibling(entry.name, f"weight_hh{suffix}"))
    projection = entries.get(sibling(entry.name, f"weight_hr{suffix}"))
    if hidden is None or len(hidden.shape) != 2 or len(entry.shape) != 2:
        return None
    inside = (-1.0, 1.0)
    if side == "hr":  # it takes o * tanh(c), which never leaves (-1, 1)
        return [Part(entry.name, entry.shape, entry.read, None, "identity", inside)]
    size = hidden.shape[1] if projection is None else projection.shape[1]
    count, rest = divmod(entry.shape[0], max(size, 1))
    if rest or count not in _TORCH_GATES:
        return None
    biases: list[Callable[[], Array] | None] = []
    for which in ("ih", "hh"):
        bias = entries.get(sibling(entry.name, f"bias_{which}{suffix}"))
        fits = bias is not None and bias.shape == (entry.shape[0],) and not bias.problem
        biases.append(bias.read if bias is not None and fits else None)
    # A plain RNN's function may be a ReLU, and a projected state has no bounds.
    bounded = count > 1 and projection is None
    deeper = side == "hh" or (level is not None and level != "0")
    cell = _Cell(_TORCH_GATES[count], size, biases[0], biases[1])
    return cell.parts(
        entry.name, entry.shape, entry.read, side == "hh", inside if bounded and deeper else None
    )


def _keras(entry: Entry, entries: Entries) -> list[Part] | None:
    hidden = entries.get(sibling(entry.name, "recurrent_kernel"))
    if hidden is None or len(hidden.shape) != 2 or len(entry.shape) != 2:
        return None
    size, wide = hidden.shape
    count, rest = divmod(wide, max(size, 1))
    if rest or count not in _KERAS_GATES or entry.shape[1] != wide:
        return None
    bias = entries.get(sibling(entry.name, "bias"))
    first: Callable[[], Array] | None = None
    second: Callable[[], Array] | None = None
    after = False
    if bias is not None and bias.shape == (wide,):
        first = bias.read
    elif bias is not None and bias.shape == (2, wide):  # of a GRU that resets afterwards
        table, after = bias, True
        first, second = (lambda: plain(table.read())[0]), (lambda: plain(table.read())[1])
    cell = _Cell(_KERAS_GATES[count], size, first, second, after and count == 3)
    inner = leaf(entry.name) == "recurrent_kernel"
    inside = (-1.0, 1.0) if inner and count > 1 else None

    def read() -> Array:
        return plain(entry.read()).T

    return cell.parts(entry.name, entry.shape[::-1], read, inner, inside)


def is_convolutional(entry: Entry, entries: Entries) -> bool:
    """Return whether this is a kernel of a recurrent layer of convolutions."""
    other = entries.get(sibling(entry.name, "recurrent_kernel"))
    return other is not None and (len(other.shape) > 2 or "conv" in words_of(owner(entry.name)))
