"""Programs of torch.export, as modules that can be run."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

__all__ = ["is_program", "module_of", "recurrent_by_name"]


def is_program(weights: Any) -> bool:
    """Return whether something is a ``torch.export.ExportedProgram``."""
    # It can only exist where torch is imported already: never import it to find out.
    export = sys.modules.get("torch.export")
    kind = getattr(export, "ExportedProgram", None)
    return kind is not None and isinstance(weights, kind)


def module_of(program: Any) -> tuple[Any, tuple[tuple[Any, ...], dict[str, Any]] | None]:
    """Return a program's module, and the inputs that it was exported with.

    Parameters
    ----------
    program : torch.export.ExportedProgram

    Returns
    -------
    module : torch.nn.Module
    inputs : tuple of arguments and named arguments, or None
    """
    example = getattr(program, "example_inputs", None)
    if example is None:
        return program.module(), None
    args, kwargs = example
    return program.module(), (tuple(args), dict(kwargs))


@contextlib.contextmanager
def recurrent_by_name(torch: Any) -> Iterator[None]:
    """Let graphs call recurrent layers by the functions that modules call.

    A graph calls ``torch.ops.aten.lstm.input``, which no mode sees before it is taken apart.

    Parameters
    ----------
    torch : module
    """
    changed = []
    for name in ("lstm", "gru", "rnn_tanh", "rnn_relu"):
        packet = getattr(torch.ops.aten, name)
        for overload in ("input", "data"):
            changed.append((packet, overload, getattr(packet, overload)))
            setattr(packet, overload, getattr(torch._VF, name))
    try:
        yield
    finally:
        for packet, overload, before in changed:
            setattr(packet, overload, before)
