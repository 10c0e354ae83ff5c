"""Traced modules whose operations are parts as modules are, by their names in the graph."""

from __future__ import annotations

import copy
import sys
from typing import Any

from .programs import Example, is_program
from .programs import module_of as program_of

__all__ = ["kind_of", "module_of", "parts_of"]

#: Functions whose results have a known range, by the module that does the same.
_SAME = {
    "sigmoid": "Sigmoid", "tanh": "Tanh", "softmax": "Softmax", "relu6": "ReLU6",
    "hardsigmoid": "Hardsigmoid", "softsign": "Softsign",
}  # fmt: skip

_CALLS = ("call_function", "call_method", "placeholder")


def module_of(given: Any) -> tuple[Any, Example | None]:
    """Return the module that is to be run of a model, and what a program was exported with.

    Of a graph of torch.fx every input, function and method is a part of its own, and so of an
    exported program. What is compiled is the module it was compiled from.

    Parameters
    ----------
    given : object

    Returns
    -------
    module : torch.nn.Module or None
    example : Example or None
    """
    torch = sys.modules.get("torch")
    module, example = getattr(given, "_orig_mod", given), None
    if torch is None:
        return None, None
    if is_program(module):
        module, example = program_of(module)
    if not isinstance(module, torch.nn.Module):
        return None, None
    if isinstance(module, torch.fx.GraphModule):
        module = _with_calls(module, torch)
    return module, example


def parts_of(given: Any) -> frozenset[str]:
    """Return the names of the parts of a model; none of what is no module."""
    module, _ = module_of(given)
    if module is None:
        return frozenset()
    return frozenset(name for name, _ in module.named_modules() if name)


def kind_of(part: Any) -> str:
    """Return the class of a part, or that of the module that does what a function does."""
    return str(part.kind) if type(part).__module__ == __name__ else type(part).__name__


def _with_calls(module: Any, torch: Any) -> Any:
    """Return a graph that does the same, with the same weights, all by modules."""
    made = torch.fx.GraphModule(module, copy.deepcopy(module.graph), type(module).__name__)
    call = _call(torch)
    for node in list(made.graph.nodes):
        if node.op not in _CALLS or hasattr(made, node.name):
            continue
        if node.op == "placeholder":
            with made.graph.inserting_after(node):
                own = made.graph.create_node("call_module", node.name, (node,))
            node.replace_all_uses_with(own, lambda user, own=own: user is not own)
            made.add_module(node.name, call(_same))
            continue
        function = node.target
        if node.op == "call_method":
            function = _Method(function)
        made.add_module(node.name, call(function))
        node.op, node.target = "call_module", node.name
    made.recompile()
    return made


def _same(value: Any) -> Any:
    return value


class _Method:
    """Calls a method of the first argument."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, own: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(own, self.name)(*args, **kwargs)


def _call(torch: Any) -> Any:
    """Return the class of a module that calls a function."""

    class Call(torch.nn.Module):  # type: ignore[misc]
        def __init__(self, function: Any) -> None:
            super().__init__()
            self.function = function
            self.kind = _kind(function, torch)

        def forward(self, *args: Any, **kwargs: Any) -> Any:
            return self.function(*args, **kwargs)

    return Call


def _kind(function: Any, torch: Any) -> str:
    """Return what the module is called that does the same; the function's name where none does."""
    if isinstance(function, _Method):
        name = function.name.rstrip("_")
        return _SAME.get(name, name)
    name = str(getattr(function, "__name__", "function"))
    if isinstance(function, torch._ops.OpOverload):
        name = name.split(".")[0]
        return _SAME.get(name, name) if function.namespace == "aten" else name
    own = [getattr(room, name, None) for room in (torch, torch.nn.functional, torch.special)]
    return _SAME.get(name, name) if any(function is one for one in own) else name
