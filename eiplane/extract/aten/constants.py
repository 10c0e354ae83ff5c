"""Where constant tensors come from: parameters, buffers, attributes, and what is made of them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from .addresses import Addresses
from .parts import Part, part_of

__all__ = ["Constants"]


@dataclass(frozen=True)
class _Named:
    """A named tensor and where in its storage it lies."""

    name: str
    start: int
    stop: int
    rows: int
    row: int
    own: Any


class Constants:
    """Names of constant tensors.

    Parameters
    ----------
    torch : module
    module : torch.nn.Module
    addresses : Addresses
    """

    def __init__(self, torch: Any, module: Any, addresses: Addresses) -> None:
        self._torch, self._addresses = torch, addresses
        addresses.tell(self._forget)
        self._named: dict[int, list[_Named]] = {}
        self._loose: dict[int, tuple[Any, str]] = {}
        self._computed: dict[int, frozenset[str]] = {}
        self._parts: dict[int, frozenset[tuple[str, Part | None]]] = {}  # of what was computed
        self._root = type(module).__name__.lower()
        self.weights: list[tuple[str, Any]] = []  # parameters that are matrices, or more
        self._learnt: set[str] = set()
        self._matrices: set[str] = set()
        self.others: list[tuple[str, Any]] = []  # buffers and attributes that are
        self._sections: dict[str, list[tuple[str, int, int]]] = {}
        nn = torch.nn
        embeddings = {
            f"{name}.weight".lstrip(".")
            for name, m in _modules(module)
            if isinstance(m, nn.Embedding | nn.EmbeddingBag)
        }
        by_id: dict[int, tuple[Any, list[str]]] = {}
        for name, value in [
            *module.named_parameters(remove_duplicate=False),
            *module.named_buffers(remove_duplicate=False),
            *_attributes(torch, module),
        ]:
            by_id.setdefault(id(value), (value, []))[1].append(_plain(name))
        for value, names in by_id.values():
            # A tied weight goes by the name of the module that multiplies with it.
            best = next((n for n in names if n not in embeddings), names[0])
            self._add(best, value)
            if isinstance(value, nn.Parameter):
                self._learnt.add(best)
                if sum(n > 1 for n in value.shape) > 1:
                    self._matrices.add(best)
            if value.ndim >= 2 and isinstance(value, nn.Parameter):
                self.weights.append((best, value))
            elif value.ndim >= 2 and value.is_floating_point():
                self.others.append((best, value))
        for name, value in self.weights:
            # As torch's attention names it: in a graph or a script that name is all there is.
            wide, e = value.shape[0], value.shape[-1]
            if name.rpartition(".")[2] == "in_proj_weight" and wide == 3 * e:
                self._sections[name] = [(s, k * e, (k + 1) * e) for k, s in enumerate("qkv")]

    def _add(self, name: str, value: Any) -> None:
        start, stop = _extent(value)
        try:
            key = value.untyped_storage()._cdata
        except (NotImplementedError, RuntimeError):
            self._loose[id(value)] = value, name  # a quantised or sparse tensor
            return
        row = value.stride(0) if value.ndim else 1
        rows = value.shape[0] if value.ndim else 1
        self._named.setdefault(key, []).append(_Named(name, start, stop, rows, row, value))

    def knows(self, tensor: Any) -> bool:
        """Return whether a tensor is a parameter, a buffer or an attribute, or a part of one."""
        return tensor.untyped_storage()._cdata in self._named

    def names(self, tensor: Any) -> frozenset[str]:
        """Return the names of the tensors that a constant is made of."""
        key = _storage(tensor)
        if key is None:
            loose = self._loose.get(id(tensor))
            return frozenset() if loose is None else frozenset([loose[1]])
        here = self._named.get(key)
        if here is not None:
            start, stop = _extent(tensor)
            return frozenset(n.name for n in here if n.start < stop and start < n.stop)
        return self._computed.get(key, frozenset())

    def parts(self, tensor: Any) -> frozenset[tuple[str, Part | None]]:
        """Return the names of the tensors that a constant is made of, and which part of each."""
        key = _storage(tensor)
        here = None if key is None else self._named.get(key)
        if here is None:
            return frozenset() if key is None else self._parts.get(key, frozenset())
        names = self.names(tensor)
        return frozenset((n.name, part_of(tensor, n.own)) for n in here if n.name in names)

    def learnt(self, names: frozenset[str]) -> bool:
        """Return whether there is a parameter among some names."""
        return not names.isdisjoint(self._learnt)

    def of_matrix(self, names: frozenset[str]) -> bool:
        """Return whether there is a parameter with several rows and columns among some names."""
        return not names.isdisjoint(self._matrices)

    def computed(self, tensors: Iterable[Any], of: Iterable[Any]) -> None:
        """Note that some constants were computed of others."""
        of = list(of)
        names: frozenset[str] = frozenset().union(*(self.names(t) for t in of))
        if not names:
            return
        parts: frozenset[tuple[str, Part | None]] = frozenset().union(*(self.parts(t) for t in of))
        for tensor in tensors:
            if _storage(tensor) is None:
                self._loose[id(tensor)] = tensor, ", ".join(sorted(names))
                continue
            if not self.knows(tensor):
                address = self._addresses.hold(tensor)
                self._computed[address] = names | self._computed.get(address, frozenset())
                self._parts[address] = parts | self._parts.get(address, frozenset())

    def _forget(self, addresses: Collection[int]) -> None:
        for address in addresses:
            self._computed.pop(address, None)
            self._parts.pop(address, None)

    def place(self, tensor: Any) -> Any:
        """Return what tells a weight from others of the same names."""
        storage = tensor.untyped_storage()
        named = storage._cdata in self._named
        return (storage._cdata, tensor.storage_offset()) if named else None

    def sections(self, tensor: Any, names: frozenset[str]) -> list[tuple[str, slice]]:
        """Return the named blocks of a weight's rows, if it has any."""
        if len(names) != 1:
            return []
        (name,) = names
        blocks = self._sections.get(name)
        here = [n for n in self._named.get(tensor.untyped_storage()._cdata, []) if n.name == name]
        if not blocks or not here:
            return []
        first = (tensor.storage_offset() - here[0].start) // max(1, here[0].row)
        rows = max(tensor.shape)  # of the matrix or its transpose
        rows = int(tensor.shape[0] if tensor.stride(0) == here[0].row else tensor.shape[1])
        found = []
        for suffix, start, stop in blocks:
            a, b = max(start - first, 0), min(stop - first, rows)
            if a < b:
                found.append((suffix, slice(a, b)))
        return found

    def title(self, name: str) -> str:
        """Return a parameter's name, less a last ``weight``."""
        if name == "weight":
            return self._root
        return re.sub(r"((\.|_)weight|/kernel)$", "", name)

    def name(self, names: frozenset[str]) -> str:
        """Return a layer's name from the parameters that its weight is made of."""
        if not names:
            return f"{self._root}.constant"
        if len(names) == 1:
            return self.title(next(iter(names)))
        # A weight computed of several, as by weight_norm or a parametrization: their module's name.
        found = _common(names)
        if not found and 0 < len(names & self._matrices) < len(names):
            return self.name(names & self._matrices)  # the rest are scales, codes, steps
        return found or self._root


def _common(names: Iterable[str]) -> str:
    """Return the module that some parameters belong to."""
    common = []
    for pieces in zip(*(name.split(".") for name in sorted(names)), strict=False):
        if len(set(pieces)) > 1:
            break
        common.append(pieces[0])
    text = ".".join(common).removesuffix(".parametrizations.weight")
    return text.removesuffix("parametrizations.weight")


def _storage(tensor: Any) -> int | None:
    """Return what tells a tensor's storage from others, or None if it has none."""
    try:
        return int(tensor.untyped_storage()._cdata)
    except (NotImplementedError, RuntimeError):
        return None


def _plain(name: str) -> str:
    """Return a name without what torch.compile and Keras put around a module."""
    return re.sub(r"^.*_torch_params\.", "", name.replace("_orig_mod.", ""))


def _modules(module: Any) -> Iterable[tuple[str, Any]]:
    """Yield all modules by the names that they have without torch.compile."""
    for name, part in module.named_modules():
        yield f"{name}.".replace("_orig_mod.", "").removesuffix("."), part


def _extent(tensor: Any) -> tuple[int, int]:
    start = tensor.storage_offset()
    if tensor.numel() == 0:
        return start, start
    reach = sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True))
    return start, start + reach + 1


def _attributes(torch: Any, module: Any) -> Iterable[tuple[str, Any]]:
    """Yield the tensors that modules keep as plain attributes, in lists and mappings too."""
    for prefix, part in module.named_modules():
        for name, value in vars(part).items():
            if name not in _OF_TORCH:
                yield from _held(torch, f"{prefix}.{name}".lstrip("."), value)
            if isinstance(value, torch.jit.ScriptFunction):
                yield from _in_graph(torch, f"{prefix}.{name}".lstrip("."), value)
        if isinstance(part, torch.jit.ScriptModule):
            yield from _in_graph(torch, prefix, part)


def _in_graph(torch: Any, prefix: str, script: Any) -> Iterable[tuple[str, Any]]:
    """Yield the tensors that a script has in itself: freezing makes constants of all weights."""
    try:
        graph = script.graph
    except (AttributeError, RuntimeError):  # a script without a forward pass
        return
    for node in graph.findAllNodes("prim::Constant"):
        kind = node.kindOf("value") if "value" in node.attributeNames() else ""
        name = f"{prefix}.{node.output().debugName().removeprefix('self.')}".lstrip(".")
        if kind == "t":
            yield name, node.t("value")
        elif kind == "ival":
            yield from _held(torch, name, node.ival("value"))


#: What torch keeps in a module by itself.
_OF_TORCH = frozenset(["_parameters", "_buffers", "_modules"])

#: How deep lists and mappings may lie in each other.
_DEPTH = 4


def _held(torch: Any, name: str, value: Any, depth: int = 0) -> Iterable[tuple[str, Any]]:
    if isinstance(value, torch.Tensor):
        yield name, value
    elif depth < _DEPTH and isinstance(value, dict | list | tuple):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, one in items:
            if isinstance(one, torch.Tensor | dict | list | tuple):
                yield from _held(torch, f"{name}.{key}", one, depth + 1)
