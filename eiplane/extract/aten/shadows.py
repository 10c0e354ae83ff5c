"""Codes beside every storage that holds something that depends on the input.

They are addressed as the tensors of that storage are, by sizes, strides and offset; so a view needs
nothing, and a write through a view reaches whatever shares its storage. What reads the same bytes
as numbers of another size (a complex one, say) has codes of its own; those are not known any more
once the bytes are written.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable
from typing import Any

import numpy as np

from ...network import Unknown
from ..flow import Codes, Flow, Operand
from .addresses import Addresses

__all__ = ["Shadows"]

_SWEEP = 1 << 25  # bytes

_RETYPED = "its memory is written as numbers of one type and read as those of another"


class Shadows:
    """Codes of storages, as long as those live.

    Parameters
    ----------
    torch : module
    addresses : Addresses
    flow : Flow
    """

    def __init__(self, torch: Any, addresses: Addresses, flow: Flow) -> None:
        self._torch, self._addresses, self._flow = torch, addresses, flow
        self._codes: dict[int, dict[int, Any]] = {}  # by address and by the size of an entry
        self._bytes, self._limit = 0, _SWEEP
        addresses.tell(self._forget)

    def holds(self, tensor: Any) -> bool:
        """Return whether a tensor's storage has codes."""
        return bool(self._codes.get(tensor.untyped_storage()._cdata))

    def get(self, tensor: Any) -> Codes | None:
        """Return a tensor's codes, or None if it is a constant; a view of what is kept."""
        shadow = self._of(tensor)
        if shadow is None:
            others = self._others(tensor)
            if not others:
                return None
            shadow = self._retyped(others.values(), _size(tensor))
            self._keep(tensor, shadow)
        view: Codes = self._view(shadow, tensor).numpy()
        return view

    def put(self, tensor: Any, codes: Codes | None, writes: bool = False) -> None:
        """Write a tensor's codes; None: it is constant now.

        Parameters
        ----------
        tensor : torch.Tensor
        codes : ndarray of int64 or None
        writes : bool
            Whether its memory was written to, and not only looked at in another way.
        """
        for kind, other in self._others(tensor).items() if writes else ():
            there = self._codes[tensor.untyped_storage()._cdata]
            there[kind] = self._retyped([other], other.numel())
        shadow = self._of(tensor)
        if shadow is None and codes is None:
            return
        size = _size(tensor)
        torch = self._torch
        if shadow is None:
            assert codes is not None
            whole = tensor.is_contiguous() and tensor.numel() == size
            if whole and codes.flags.c_contiguous and codes.flags.writeable:
                self._keep(tensor, torch.from_numpy(codes.reshape(-1)))
                return
            shadow = torch.full((size,), -1, dtype=torch.int64)
            self._keep(tensor, shadow)
        elif shadow.numel() < size:  # the storage has grown
            grown = torch.full((size,), -1, dtype=torch.int64)
            grown[: shadow.numel()] = shadow
            shadow = grown
            self._keep(tensor, shadow)
        view = self._view(shadow, tensor)
        if codes is None:
            view.fill_(-1)
        else:
            view.copy_(torch.from_numpy(np.ascontiguousarray(codes).reshape(tuple(tensor.shape))))

    def _view(self, shadow: Any, tensor: Any) -> Any:
        return shadow.as_strided(tensor.size(), tensor.stride(), tensor.storage_offset())

    def _of(self, tensor: Any) -> Any:
        found = self._codes.get(tensor.untyped_storage()._cdata)
        return None if found is None else found.get(tensor.element_size())

    def _others(self, tensor: Any) -> dict[int, Any]:
        """Return the codes of a storage's numbers of other sizes."""
        found = self._codes.get(tensor.untyped_storage()._cdata, {})
        return {kind: s for kind, s in found.items() if kind != tensor.element_size()}

    def _retyped(self, shadows: Iterable[Any], size: int) -> Any:
        """Return codes for what is made of some others in a way that is not followed."""
        codes = [s.numpy().copy() for s in shadows]
        used = [Operand(c, functools.partial(np.zeros, len(c))) for c in codes]
        made = self._flow.event("another type", used, (size,), lambda _: Unknown(),
                                unknown=_RETYPED)  # fmt: skip
        return self._torch.from_numpy(made)

    def _keep(self, tensor: Any, shadow: Any) -> None:
        self._bytes += 8 * shadow.numel()
        if self._bytes > self._limit:
            self._addresses.sweep()
            self._limit = max(_SWEEP, 2 * self._bytes)
        address = self._addresses.hold(tensor)
        self._codes.setdefault(address, {})[tensor.element_size()] = shadow

    def _forget(self, addresses: Collection[int]) -> None:
        for address in addresses:
            self._codes.pop(address, None)
        self._bytes = sum(8 * s.numel() for kinds in self._codes.values() for s in kinds.values())


def _size(tensor: Any) -> int:
    """Return how many numbers of a tensor's type its storage holds."""
    return int(tensor.untyped_storage().nbytes() // max(1, tensor.element_size()))
