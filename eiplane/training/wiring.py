"""What has to stay as it is in a module, so that its layers are where they were and mean the same.

A training changes numbers in parameters' memory. Whatever else may change what a module computes is
looked at: which modules there are, their classes and what these hold, parameters and where they
lie, hooks on the way forward, settings that are numbers, words or containers of them, objects that
hold those (also such as can be called), and tensors and arrays that are no parameters. What a
function reads from elsewhere (a closure, a global name) is not seen.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterator, Mapping, Set
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

import numpy as np

__all__ = ["Wiring"]

#: What of a module's own attributes has no part in its forward pass in evaluation mode.
_APART = frozenset({
    "training", "_backward_hooks", "_backward_pre_hooks", "_non_persistent_buffers_set",
    "_state_dict_hooks", "_state_dict_pre_hooks", "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks", "_is_full_backward_hook",
})  # fmt: skip

_PLAIN = (int, float, complex, str, bytes, bool, type(None))

#: What is no more than itself; classes of these libraries stay as they are.
_ITSELF = (FunctionType, BuiltinFunctionType, property, classmethod, staticmethod)
_LIBRARIES = ("builtins", "collections", "numpy", "torch", "typing")

#: Objects inside objects are looked at down to here, beginning anew at every module.
_DEEPEST = 6


class Wiring:
    """A module as it was when this was made.

    Parameters
    ----------
    module : torch.nn.Module
    """

    def __init__(self, module: Any) -> None:
        look = _Look()
        look.whole(module)
        self._module = module
        self._marks = look.marks
        self._kept = look.kept  # what is kept alive lends its identity to nothing else

    def same(self) -> bool:
        """Return whether all is as it was but for the numbers in parameters."""
        look = _Look()
        look.whole(self._module)
        return look.marks == self._marks


class _Look:
    """Marks that are equal where nothing has changed, and the objects that some are of."""

    def __init__(self) -> None:
        self.marks: list[Any] = []
        self.kept: list[Any] = []
        self._seen: set[int] = set()

    def _identity(self, value: Any) -> None:
        self.marks.append(id(value))
        self.kept.append(value)

    def whole(self, module: Any) -> None:
        """Note a module, and the hooks that all modules have."""
        everywhere = sys.modules.get("torch.nn.modules.module")
        for name in ("_global_forward_hooks", "_global_forward_pre_hooks"):
            self.value(getattr(everywhere, name, None), 0)
        self.module(module)

    def module(self, module: Any) -> None:
        self._identity(module)
        if id(module) in self._seen:
            return
        self._seen.add(id(module))
        self._class(type(module), 0)
        for name, value in vars(module).items():
            if name == "_parameters":
                for key, parameter in value.items():
                    self.marks.append(key)
                    self.tensor(parameter, counted=False)
            elif name not in _APART:
                self.marks.append(name)
                self.value(value, 0)

    def _class(self, kind: type, depth: int) -> None:
        """Note a class and what is written in it, but for those of libraries."""
        self.marks.append(id(kind))
        if id(kind) in self._seen:
            return
        self._seen.add(id(kind))
        self.kept.append(kind)
        for one in kind.__mro__:
            if str(one.__module__).partition(".")[0] in _LIBRARIES:
                self.marks.append(id(one.__dict__.get("forward")))
                continue
            for name, value in one.__dict__.items():
                if not name.startswith("__"):
                    self.marks.append(name)
                    self.value(value, depth + 1)

    def tensor(self, tensor: Any, counted: bool = True) -> None:
        """Note where a tensor is; ``counted``: and how often it was written to."""
        self._identity(tensor)
        if tensor is None:
            return
        try:
            self.marks += (tensor.data_ptr(), tensor.shape, tensor.stride(), id(tensor.dtype))
            if counted:
                self.marks.append(tensor._version)
        except (RuntimeError, ValueError):
            # Sparse, not made yet, or of inference mode: it does not tell, so it counts as changed.
            self.marks.append(object())

    def value(self, value: Any, depth: int) -> None:
        """Note anything that a module has."""
        kind = type(value)
        if kind in _PLAIN:
            self.marks.append(value)
            return
        if kind in _ITSELF:
            self._identity(value)
            return
        if depth > _DEEPEST:
            self._identity(value)
        elif isinstance(value, (dict, Mapping)):  # dict first: the other takes time
            self.marks.append(len(value))
            for key, item in value.items():
                self.value(key, depth + 1)
                self.value(item, depth + 1)
        elif isinstance(value, list | tuple):
            self.marks.append(len(value))
            for item in value:
                self.value(item, depth + 1)
        elif isinstance(value, Set):
            self.marks.append(frozenset(id(x) if type(x) not in _PLAIN else x for x in value))
            self.kept += value
        else:
            self._object(value, kind, depth)

    def _object(self, value: Any, kind: type, depth: int) -> None:
        if hasattr(kind, "named_parameters") and hasattr(kind, "forward"):
            self.module(value)
            return
        if hasattr(kind, "data_ptr") and hasattr(kind, "_version"):
            self.tensor(value)
            return
        if isinstance(value, MethodType):  # made anew whenever it is asked for
            self._identity(value.__func__)
            self.value(value.__self__, depth + 1)
            return
        self._identity(value)
        if isinstance(value, np.ndarray):
            self.marks.append(zlib.crc32(value.tobytes()))
        elif isinstance(value, type):
            self._class(value, depth)
        elif id(value) not in self._seen:
            self._seen.add(id(value))
            self._class(kind, depth)
            for held in _held(value, kind):
                self.value(held, depth + 1)


def _held(value: Any, kind: type) -> Iterator[Any]:
    """Yield what an object holds."""
    held = getattr(value, "__dict__", None)
    if isinstance(held, dict):
        yield held
    for one in kind.__mro__:
        slots = one.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            yield getattr(value, name, None)
    if kind is partial:
        yield from (value.func, value.args, value.keywords)
