"""Codes beside every storage that holds something that depends on the input.

They are addressed as the tensors of that storage are, by sizes, strides and offset; so a view needs
nothing, and a write through a view reaches whatever shares its storage.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..flow import Codes

__all__ = ["Shadows"]

_SWEEP = 1 << 25  # bytes


class Shadows:
    """Codes of storages, as long as those live.

    Parameters
    ----------
    torch : module
    """

    def __init__(self, torch: Any) -> None:
        self._torch = torch
        self._weak = torch.multiprocessing.reductions.StorageWeakRef
        self._codes: dict[tuple[int, int], tuple[Any, Any]] = {}
        self._bytes, self._limit = 0, _SWEEP

    def holds(self, tensor: Any) -> bool:
        """Return whether a tensor's storage has codes."""
        return self._key(tensor) in self._codes

    def get(self, tensor: Any) -> Codes | None:
        """Return a tensor's codes, or None if it is a constant; a view of what is kept."""
        found = self._codes.get(self._key(tensor))
        if found is None:
            return None
        view: Codes = self._view(found[1], tensor).numpy()
        return view

    def put(self, tensor: Any, codes: Codes | None) -> None:
        """Write a tensor's codes; None: it is constant now."""
        key = self._key(tensor)
        found = self._codes.get(key)
        if found is None and codes is None:
            return
        size = tensor.untyped_storage().nbytes() // max(1, tensor.element_size())
        torch = self._torch
        if found is None:
            assert codes is not None
            whole = tensor.is_contiguous() and tensor.numel() == size
            if whole and codes.flags.c_contiguous and codes.flags.writeable:
                shadow = torch.from_numpy(codes.reshape(-1))
                self._keep(key, tensor, shadow)
                return
            shadow = torch.full((size,), -1, dtype=torch.int64)
            self._keep(key, tensor, shadow)
        else:
            shadow = found[1]
            if shadow.numel() < size:  # the storage has grown
                grown = torch.full((size,), -1, dtype=torch.int64)
                grown[: shadow.numel()] = shadow
                shadow = grown
                self._codes[key] = found[0], shadow
        view = self._view(shadow, tensor)
        if codes is None:
            view.fill_(-1)
        else:
            view.copy_(torch.from_numpy(np.ascontiguousarray(codes).reshape(tuple(tensor.shape))))

    def _view(self, shadow: Any, tensor: Any) -> Any:
        return shadow.as_strided(tensor.size(), tensor.stride(), tensor.storage_offset())

    def _key(self, tensor: Any) -> tuple[int, int]:
        return tensor.untyped_storage()._cdata, tensor.element_size()

    def _keep(self, key: tuple[int, int], tensor: Any, shadow: Any) -> None:
        self._bytes += 8 * shadow.numel()
        if self._bytes > self._limit:
            self._codes = {k: v for k, v in self._codes.items() if not v[0].expired()}
            self._bytes = sum(8 * v[1].numel() for v in self._codes.values())
            self._limit = max(_SWEEP, 2 * self._bytes)
        # A weak reference keeps the storage's number from being given to another.
        self._codes[key] = self._weak(tensor.untyped_storage()), shadow
