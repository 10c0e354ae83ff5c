"""Programs of torch.export, as modules that can be run."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

__all__ = ["Example", "in_parts", "is_program", "module_of", "recurrent_by_name"]


@dataclass(frozen=True)
class Example:
    """What a program was exported with.

    Parameters
    ----------
    args : tuple
    kwargs : dict
    at_once : int or None
        The batch size that it is bound to; None if it takes any, or has none.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    at_once: int | None = None


def in_parts(
    args: tuple[Any, ...], kwargs: dict[str, Any], at_once: int | None
) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Yield arguments in parts of the batch size that a program is bound to.

    Parameters
    ----------
    args : tuple
    kwargs : dict
    at_once : int or None

    Yields
    ------
    tuple of arguments and named arguments
        All at once where the sizes are no multiple of it.
    """
    sizes = {int(a.shape[0]) for a in (*args, *kwargs.values()) if getattr(a, "ndim", 0)}
    size = sizes.pop() if len(sizes) == 1 else 0
    if at_once is None or size <= at_once or size % at_once:
        yield args, kwargs
        return
    for start in range(0, size, at_once):
        rows = slice(start, start + at_once)

        def part(value: Any, rows: slice = rows) -> Any:
            return value[rows] if getattr(value, "ndim", 0) else value

        yield tuple(part(a) for a in args), {k: part(v) for k, v in kwargs.items()}


def is_program(weights: Any) -> bool:
    """Return whether something is a ``torch.export.ExportedProgram``."""
    # It can only exist where torch is imported already: never import it to find out.
    export = sys.modules.get("torch.export")
    kind = getattr(export, "ExportedProgram", None)
    return kind is not None and isinstance(weights, kind)


def module_of(program: Any) -> tuple[Any, Example | None]:
    """Return a program's module, and what it was exported with.

    Parameters
    ----------
    program : torch.export.ExportedProgram

    Returns
    -------
    module : torch.nn.Module
    example : Example or None
    """
    example = getattr(program, "example_inputs", None)
    if example is None:
        return program.module(), None
    args, kwargs = example
    given = set(program.graph_signature.user_inputs)
    sizes: set[Any] = set()
    for node in program.graph.nodes:
        value = node.meta.get("val")
        if node.op == "placeholder" and node.name in given and getattr(value, "ndim", 0):
            # A size that is left open is an object of its own kind.
            sizes.add(value.shape[0] if isinstance(value.shape[0], int) else None)
    bound = sizes.pop() if len(sizes) == 1 else None
    return program.module(), Example(tuple(args), dict(kwargs), bound)


_RECURRENT = ("lstm", "gru", "rnn_tanh", "rnn_relu",
              "lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell")  # fmt: skip


@contextlib.contextmanager
def recurrent_by_name(torch: Any, module: Any) -> Iterator[None]:
    """Let graphs call recurrent layers by the functions that modules call.

    A graph calls ``torch.ops.aten.lstm.input``, which no mode sees before it is taken apart. Other
    modules are left alone: parts of torch that they import look the operators up.

    Parameters
    ----------
    torch : module
    module : torch.nn.Module
    """
    changed = []
    graphs = "torch.fx" in sys.modules and any(
        isinstance(part, sys.modules["torch.fx"].GraphModule) for part in module.modules()
    )
    for name in _RECURRENT if graphs else ():
        packet = getattr(torch.ops.aten, name)
        for overload in ("default",) if name.endswith("cell") else ("input", "data"):
            changed.append((packet, overload, getattr(packet, overload)))
            setattr(packet, overload, getattr(torch._VF, name))
    try:
        yield
    finally:
        for packet, overload, before in changed:
            setattr(packet, overload, before)
