"""A module's state, and that of the random generators, kept and given back."""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

__all__ = ["State", "untouched"]


class State:
    """What a module is like: modes, attributes, buffers, and the random generators.

    Parameters
    ----------
    module : torch.nn.Module
    torch : module
    eager : ExitStack
        Closed with it: holds torch's compiler back.
    """

    def __init__(self, module: Any, torch: Any, eager: contextlib.ExitStack) -> None:
        self._torch, self._eager, self._is_eager = torch, eager, False
        modules = self._modules = list(module.modules())
        self._attributes = [dict(vars(m)) for m in modules]
        # A script's are no dictionaries, nor can its forward pass change them.
        held = [d for m in modules for d in (m._parameters, m._buffers, m._modules)]
        self._parts = [(d, dict(d)) for d in held if isinstance(d, dict)]
        self._modes = [getattr(m, "training", None) for m in modules]
        self._buffers = [(m._buffers, name, b) for m in modules for name, b in m._buffers.items()]
        self._copies = [None if b is None else b.detach().clone() for _, _, b in self._buffers]
        self._versions = [
            None if b is None or b.is_inference() else b._version for _, _, b in self._buffers
        ]
        # Their forward pass shortens their rows, in place.
        tables = [m.weight for m in modules if getattr(m, "max_norm", None) is not None]
        self._tables = [(w, w.detach().clone()) for w in tables]
        self._random = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002

    def be_eager(self) -> bool:
        """Hold torch's compiler back if it is there; return whether it was not held before.

        What calls it (as ``torch.cond`` does) imports it, which takes seconds.
        """
        stance = getattr(getattr(self._torch, "compiler", None), "set_stance", None)
        if self._is_eager or stance is None or "torch._dynamo" not in sys.modules:
            return False
        self._eager.enter_context(stance("force_eager"))
        self._is_eager = True
        return True

    def begin(self) -> None:
        """Give everything back but for the mode, which is that of evaluation.

        The attribute itself: a train() of the user's own may do more than set it.
        """
        self.restore()
        self._torch.set_rng_state(self._random[2])
        for m, mode in zip(self._modules, self._modes, strict=True):
            if mode is not None:  # as of a script that is frozen
                m.training = False

    def restore(self) -> None:
        """Give everything back but for torch's own generators."""
        for m, saved in zip(self._modules, self._attributes, strict=True):
            now = vars(m)
            for key in set(now) - set(saved):
                del now[key]
            now.update((key, value) for key, value in saved.items() if now.get(key) is not value)
        for now, saved in self._parts:
            if len(now) != len(saved) or any(now.get(k) is not v for k, v in saved.items()):
                now.clear()
                now.update(saved)
        for m, mode in zip(self._modules, self._modes, strict=True):
            if mode is not None and m.training is not mode:
                m.training = mode  # a script keeps it elsewhere
        with self._torch.no_grad():
            kept = zip(self._buffers, self._copies, self._versions, strict=True)
            for table, before in self._tables:
                self._put_back(table, before)
            for (owner, name, b), copy, version in kept:
                owner[name] = b
                if b is not None and (version is None or b._version != version):
                    self._put_back(b, copy)
        random.setstate(self._random[0])
        np.random.set_state(self._random[1])  # noqa: NPY002

    def _put_back(self, tensor: Any, before: Any) -> None:
        made = self._torch.inference_mode() if tensor.is_inference() else contextlib.nullcontext()
        with made:  # what was made in inference mode is written to in it alone
            tensor.copy_(before)


@contextlib.contextmanager
def untouched(module: Any, torch: Any) -> Iterator[State]:
    """Run in evaluation mode and without gradients, and leave everything as it was.

    Parameters
    ----------
    module : torch.nn.Module
    torch : module

    Yields
    ------
    State
        For further runs that are to begin as the first one did.
    """
    eager = contextlib.ExitStack()
    state = State(module, torch, eager)
    mha = torch.backends.mha if hasattr(torch.backends, "mha") else None
    fast = mha.get_fastpath_enabled() if mha is not None else False
    devices = {p.device for p in module.parameters() if p.device.type == "cuda"}
    try:
        if mha is not None:
            mha.set_fastpath_enabled(False)
        with torch.random.fork_rng(devices=list(devices)), torch.no_grad(), eager:
            state.be_eager()
            state.begin()
            yield state
    finally:
        if mha is not None:
            mha.set_fastpath_enabled(fast)
        state.restore()
