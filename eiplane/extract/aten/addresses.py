"""Storages told apart by their addresses, as long as none of those is given to another.

A weak reference keeps the address. torch has a class for such references, which gives each back in
a destructor; Python drops whatever is raised in one, so that a Ctrl-C that comes there is lost, and
there are many of them in a run. So they are given back here, some at once, and not by destructors.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

__all__ = ["Addresses"]

#: References to hold before those to storages that are gone are given back. What stands for one,
#: small as it is, lies in the middle of memory that was freed, and keeps that from being used as a
#: whole.
_FEW = 64


class Addresses:
    """The addresses of the storages of one run.

    Parameters
    ----------
    torch : module
    """

    def __init__(self, torch: Any) -> None:
        storage = torch.UntypedStorage
        self._expired, self._give_back = storage._expired, storage._free_weak_ref
        self._held: set[int] = set()
        self._forget: list[Callable[[Collection[int]], None]] = []
        self._most = _FEW

    def tell(self, forget: Callable[[Collection[int]], None]) -> None:
        """Have something called with the addresses that may be given to other storages soon."""
        self._forget.append(forget)

    def hold(self, tensor: Any) -> int:
        """Return the address of a tensor's storage, which is that storage's until it is told."""
        storage = tensor.untyped_storage()
        address = int(storage._cdata)
        if address not in self._held:
            if len(self._held) >= self._most:
                self.sweep()
            self._held.add(storage._weak_ref())
        return address

    def sweep(self) -> None:
        """Give the addresses of storages back that are gone."""
        gone = {address for address in self._held if self._expired(address)}
        for forget in self._forget:
            forget(gone)
        self._give(gone)
        self._most = 2 * len(self._held) + _FEW

    def close(self) -> None:
        """Give all addresses back."""
        for forget in self._forget:
            forget(self._held)
        self._give(self._held.copy())

    def _give(self, addresses: set[int]) -> None:
        while addresses:
            address = addresses.pop()
            self._held.discard(address)  # first: an interrupt in between must not free it twice
            self._give_back(address)
