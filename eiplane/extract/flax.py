"""Parameter trees of Flax: scanned layers, low-rank adapters, normed kernels, gates of cells."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .entries import Entries, Entry, leaf, owner, parent, plain, sibling, swapped
from .recurrent import Part

__all__ = ["cell_gates", "is_convolutional_cell", "unfolded", "with_norms"]

Array = NDArray[Any]

#: The eps of ``flax.linen.WeightNorm``.
_EPS = 1e-12

#: Maps of a cell by their modules' names: its function, and which module has the bias.
_CELLS = {
    "LSTM": {"i": ("sigmoid", "h"), "f": ("sigmoid", "h"), "g": ("tanh", "h"),
             "o": ("sigmoid", "h")},
    "GRU": {"r": ("sigmoid", "i"), "z": ("sigmoid", "i"), "n": ("tanh", "")},
    "MGU": {"f": ("sigmoid", "i"), "n": ("tanh", "")},
}  # fmt: skip
_BLOCKS = {4: "ifgo", 3: "rzn"}


def unfolded(entries: Entries) -> Entries:
    """Return a tree with every layer's own kernel in it.

    Parameters
    ----------
    entries : dict of str to Entry

    Returns
    -------
    dict of str to Entry

    Notes
    -----
    As Flax documents them: ``nn.WeightNorm`` keeps ``"layer/kernel/scale"`` beside the kernel,
    ``nn.SpectralNorm`` ``"layer/kernel/sigma"``; ``nnx.LoRA`` adds ``x @ lora_a @ lora_b``;
    ``nn.scan`` and ``nn.vmap`` stack the parameters of alike layers along a first axis.
    """
    if not any(leaf(name) == "kernel" for name in entries):
        return entries
    return _split_up(_with_adapters(_normed(entries)))


def with_norms(arrays: Mapping[str, Any], tree: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the arrays of a network and what norms of its kernels keep elsewhere in the tree.

    Parameters
    ----------
    arrays : mapping of str to array
    tree : mapping
        Where they are from, other collections in it: ``nn.SpectralNorm`` keeps its ``sigma`` in
        ``batch_stats``, in a module of its own.

    Returns
    -------
    dict of str to array
        Those as ``"layer.kernel/sigma"``.
    """
    made = dict(arrays)
    for path, value in _norms_in(tree, ()):
        *modules, name = path
        kernel, _, last = name.rpartition("/")
        kernel = kernel.replace("/", ".")
        places = (modules[1:-1], modules[:-1], modules[1:], modules)
        names = [".".join([*place, kernel]) for place in places]
        found = next((n for n in names if n in arrays), None)
        if found is not None and f"{found[: -len('.kernel')]}/kernel/{last}" not in arrays:
            made[f"{found}/{last}"] = value
    return made


def _norms_in(node: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if not isinstance(node, Mapping) or len(path) > 64:
        return
    for name, value in node.items():
        if isinstance(value, Mapping):
            yield from _norms_in(value, (*path, str(name)))
        elif str(name).endswith(("/kernel/scale", "/kernel/sigma", "/kernel/u")):
            inner = value if hasattr(value, "shape") else getattr(value, "value", None)
            if hasattr(inner, "shape"):
                yield (*path, str(name)), inner


def _kernel_of(entries: Entries, name: str) -> Entry | None:
    """Return a kernel by its path, whatever joins the parts of its name."""
    head, _, last = name.rpartition("/")
    return entries.get(name) or entries.get(f"{head}.{last}")


def _normed(entries: Entries) -> Entries:
    made: dict[str, Entry] = {}
    gone: set[str] = set()
    for name, entry in entries.items():
        path, _, last = name.rpartition("/")
        kernel = _kernel_of(entries, path) if last in ("scale", "sigma", "u") else None
        if kernel is None or leaf(kernel.name) != "kernel":
            continue
        gone.add(name)
        if last == "scale":
            made[kernel.name] = replace(kernel, read=_by_scale(kernel, entry), code="F64")
        elif last == "u" or f"{path}/u" not in entries:
            made[kernel.name] = replace(kernel, read=_by_sigma(kernel, entry), code="F64")
    return swapped(entries, made, gone)


def _values(entry: Entry) -> NDArray[np.float64]:
    return plain(entry.read()).astype(np.float64)


def _by_scale(kernel: Entry, scale: Entry) -> Callable[[], Array]:
    def read() -> Array:
        value, size = _values(kernel), _values(scale)
        axes = tuple(range(value.ndim - size.ndim))
        return np.asarray(
            value / np.sqrt((value * value).sum(axis=axes, keepdims=True) + _EPS) * size
        )

    return read


def _by_sigma(kernel: Entry, beside: Entry) -> Callable[[], Array]:
    """Return a kernel over its greatest singular value: by one step from u, as Flax does it."""

    def read() -> Array:
        value, given = _values(kernel), _values(beside)
        sigma = float(given.reshape(-1)[0])
        if given.size > 1:
            matrix = value.reshape(-1, value.shape[-1])
            v = _unit(matrix @ given.reshape(-1))
            sigma = float(v @ matrix @ _unit(v @ matrix))
        return np.asarray(value / (sigma if sigma != 0 else 1.0))

    return read


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    unit: NDArray[np.float64] = vector / np.sqrt((vector * vector).sum() + _EPS)
    return unit


def _with_adapters(entries: Entries) -> Entries:
    made: dict[str, Entry] = {}
    for name, a in entries.items():
        b = entries.get(sibling(name, "lora_b"))
        if leaf(name) != "lora_a" or b is None or len(a.shape) != 2 or len(b.shape) != 2:
            continue
        base = next((e for e in (entries.get(n) for n in _bases(name)) if e is not None
                     and e.shape == (a.shape[0], b.shape[1])), None)  # fmt: skip
        for part, last in ((a, "lora_A"), (b, "lora_B")):
            title = f"{parent(part.name)}.{last}.weight".lstrip(".")
            made[part.name] = Entry(title, part.shape[::-1], _turned(part), part.problem, part.code)
        if base is not None:
            made[base.name] = replace(base, read=_sum(base, a, b), code="F64")
    return swapped(entries, made, ())


def _bases(name: str) -> list[str]:
    """Return where the kernel that an adapter changes may be."""
    up = parent(name)
    return [sibling(up, "kernel"), sibling(name, "base_module") + ".kernel",
            sibling(name, "base_module") + "/kernel", sibling(name, "kernel")]  # fmt: skip


def _turned(entry: Entry) -> Callable[[], Array]:
    return lambda: plain(entry.read()).T


def _sum(base: Entry, a: Entry, b: Entry) -> Callable[[], Array]:
    return lambda: _values(base) + _values(a) @ _values(b)


# -- layers that are stacked along a first axis ---------------------------------------------------


def _split_up(entries: Entries) -> Entries:
    """Return entries with the stacked layers of a scan one by one."""
    stacks: dict[str, int] = {}
    for name, entry in entries.items():
        kernel = entries.get(sibling(name, "kernel")) if leaf(name) == "bias" else None
        if kernel is None or len(entry.shape) != 2 or len(kernel.shape) != 3:
            continue
        count, n_in, n_out = kernel.shape
        if entry.shape != (count, n_out) or entry.shape == (n_in, n_out):
            continue  # of heads: one bias for each of them
        top = parent(parent(name))
        while top and _all_stacked(entries, parent(top), count):
            top = parent(top)
        if top and _all_stacked(entries, top, count):
            stacks[top] = count
        else:
            stacks[parent(name)] = count
    table: Entries = {}
    for name, entry in entries.items():
        stack = next((s for s in stacks if name.startswith((f"{s}.", f"{s}/"))), None)
        if stack is None or not entry.shape:
            table[name] = entry
            continue
        for k in range(stacks[stack]):
            title = f"{stack}.{k}{name[len(stack) :]}"
            table[title] = replace(entry, name=title, shape=entry.shape[1:], read=_row(entry, k))
    return table


def _all_stacked(entries: Entries, top: str, count: int) -> bool:
    if not top:
        return False
    inside = [e for n, e in entries.items() if n.startswith((f"{top}.", f"{top}/"))]
    return all(e.shape[:1] == (count,) for e in inside if e.shape)


def _row(entry: Entry, k: int) -> Callable[[], Array]:
    return lambda: plain(entry.read())[k]


# -- recurrent cells ------------------------------------------------------------------------------


def _beside(entry: Entry, entries: Entries, module: str, last: str = "kernel") -> Entry | None:
    up = parent(entry.name)
    return entries.get(sibling(up, module) + entry.name[len(up) :].replace("kernel", last))


def cell_gates(entry: Entry, entries: Entries) -> list[Part] | None:
    """Return the gates of a cell of Flax that a kernel is or holds, or None if it is none.

    Parameters
    ----------
    entry : Entry
        Named ``kernel``, ``(in, out)``.
    entries : dict of str to Entry

    Returns
    -------
    list of Part or None

    Notes
    -----
    ``LSTMCell``: ``ii if ig io`` of the input, ``hi hf hg ho`` with the biases of the state;
    ``GRUCell``: ``ir iz in`` with biases, ``hr hz hn``, of which ``hn`` has its own; ``MGUCell``
    has ``if in``, ``hf hn`` likewise; ``SimpleCell`` ``i`` with a bias and ``h``. Those of ``nnx``
    may have ``dense_i`` and ``dense_h`` with all gates side by side.
    """
    module = owner(entry.name)
    if len(entry.shape) != 2:
        return None
    if module in ("dense_i", "dense_h"):
        return _blocks(entry, entries, module[-1])
    if module in ("i", "h"):
        return _simple(entry, entries, module)
    for gates in _CELLS.values():
        names = [side + letter for side in "ih" for letter in gates]
        if module in names and all(_beside(entry, entries, n) is not None for n in names):
            side, letter = module[0], module[1]
            act, biased = gates[letter]
            linear = letter == "n" and side == "h"
            bias = _beside(entry, entries, (biased or side) + letter, "bias")
            inside = (-1.0, 1.0) if side == "h" else None
            return [Part(parent(entry.name), entry.shape[::-1], _turned(entry),
                         None if bias is None else bias.read,
                         "identity" if linear else act, inside)]  # fmt: skip
    return None


def _simple(entry: Entry, entries: Entries, side: str) -> list[Part] | None:
    """Return a map of a SimpleCell: of the input, with the bias, or of the state."""
    inner, outer = _beside(entry, entries, "h"), _beside(entry, entries, "i")
    if inner is None or outer is None or _beside(entry, entries, "h", "bias") is not None:
        return None
    if inner.shape != (inner.shape[0],) * 2 or outer.shape[1:] != inner.shape[1:]:
        return None
    bias = _beside(entry, entries, "i", "bias")
    return [Part(parent(entry.name), entry.shape[::-1], _turned(entry),
                 None if bias is None else bias.read, "tanh",
                 (-1.0, 1.0) if side == "h" else None)]  # fmt: skip


def is_convolutional_cell(entry: Entry, entries: Entries) -> bool:
    """Return whether a kernel is one of a ConvLSTMCell's: ``ih`` or ``hh``, four gates in each."""
    if owner(entry.name) not in ("ih", "hh") or len(entry.shape) < 3:
        return False
    inner, outer = _beside(entry, entries, "hh"), _beside(entry, entries, "ih")
    if inner is None or outer is None:
        return False
    return inner.shape[-1] == outer.shape[-1] == 4 * inner.shape[-2]


def _blocks(entry: Entry, entries: Entries, side: str) -> list[Part] | None:
    hidden, other = _beside(entry, entries, "dense_h"), _beside(entry, entries, "dense_i")
    if hidden is None or other is None or len(hidden.shape) != 2:
        return None
    size, wide = hidden.shape
    count, rest = divmod(wide, max(1, size))
    if rest or count not in _BLOCKS or entry.shape[1] != wide:
        return None
    biases = {s: _beside(entry, entries, f"dense_{s}", "bias") for s in "ih"}
    made = []
    for k, letter in enumerate(_BLOCKS[count]):
        cut = slice(k * size, (k + 1) * size)
        apart = letter == "n"
        there = [b for s, b in biases.items() if b is not None and (not apart or s == side)]
        linear = apart and side == "h"
        act = "identity" if linear else _CELLS["LSTM" if count == 4 else "GRU"][letter][0]
        made.append(Part(f"{parent(entry.name)}.{letter}", (size, entry.shape[0]),
                         _columns(entry, cut), _added(there, cut), act,
                         (-1.0, 1.0) if side == "h" else None))  # fmt: skip
    return made


def _columns(entry: Entry, cut: slice) -> Callable[[], Array]:
    return lambda: plain(entry.read())[:, cut].T


def _added(biases: list[Entry], cut: slice) -> Callable[[], Array] | None:
    if not biases:
        return None
    return lambda: np.sum([_values(b)[cut] for b in biases], axis=0)
