"""Graphs of torch.export as modules: every node an operator of ATen, or arithmetic of sizes."""

from __future__ import annotations

import inspect
import math
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from ..programs import Example
from .archive import DTYPES, Archive, UnknownSizeError, sizes_of

__all__ = ["Program"]

_ATEN = re.compile(r"^torch\.ops\.aten\.([A-Za-z_][A-Za-z0-9_]*)\.([A-Za-z_][A-Za-z0-9_]*)$")

#: Operators of ATen that do more than compute.
_REFUSED = frozenset(["from_file", "save", "set", "set_", "_print", "warn", "format"])

#: Those that are better known by the functions which they come from.
_RECURRENT = frozenset(["lstm", "gru", "rnn_tanh", "rnn_relu"])


def _power(a: Any, b: Any) -> Any:
    if isinstance(a, int) and isinstance(b, int) and abs(a) > 1 and abs(b) > 64:
        raise ValueError("a size to a power that no size has")
    return a**b


#: Arithmetic of sizes, by the last word of what the graph calls it.
_SIZES: dict[str, Callable[..., Any]] = {
    **{name: getattr(operator, name)
       for name in ("add", "sub", "mul", "floordiv", "truediv", "mod", "neg", "eq", "ne", "lt",
                    "le", "gt", "ge", "and_", "or_", "not_", "getitem")},
    "pow": _power, "ceil": math.ceil, "floor": math.floor, "trunc": math.trunc, "sqrt": math.sqrt,
    "sym_int": int, "sym_float": float, "sym_max": max, "sym_min": min, "sym_not": operator.not_,
    "sym_ite": lambda c, a, b: a if c else b, "sym_sum": sum, "_sym_sqrt": math.sqrt,
    "sym_sqrt": math.sqrt,
}  # fmt: skip
_ARITHMETIC = re.compile(r"^(?:_operator|operator|math|torch)\.([a-z_]+)$")

_FORMATS = {1: "contiguous_format", 2: "channels_last", 3: "channels_last_3d", 4: "preserve_format"}


class Program:
    """A program as a module.

    Parameters
    ----------
    torch : module
    archive : Archive
    """

    def __init__(self, torch: Any, archive: Archive) -> None:
        self._torch = torch
        described = archive.program["graph_module"]
        self._graph = described["graph"]
        self._signature = described["signature"]
        self._names: dict[str, str] = {}
        self._fixed: dict[str, Any] = {}
        self.inputs: list[str] = []
        for given in self._signature["input_specs"]:
            self._input(given)
        self.module = _module(torch, archive)
        self.module.forward = _Forward(self)
        self.functions = [self._function(node) for node in self._graph["nodes"]]

    def _input(self, given: Mapping[str, Any]) -> None:
        ((kind, about),) = given.items()
        if kind == "user_input":
            ((sort, value),) = about["arg"].items()
            if sort == "as_tensor":
                self.inputs.append(str(value["name"]))
            elif sort in ("as_sym_int", "as_sym_float", "as_sym_bool") and "as_name" in value:
                self.inputs.append(str(value["as_name"]))
        elif kind in ("parameter", "buffer", "tensor_constant"):
            name = {"parameter": "parameter_name", "buffer": "buffer_name"}.get(
                kind, "tensor_constant_name"
            )
            self._names[str(about["arg"]["name"])] = str(about[name])
        elif kind == "constant_input":
            ((_, value),) = about["value"].items()
            self._fixed[str(about["name"])] = value
        else:
            raise ValueError(f"it takes {kind.replace('_', ' ')}s, which eiplane does not read")

    def example(self) -> Example | None:
        """Return inputs of the shapes that it was exported with, if it says them."""
        try:
            return Example(self._example(), {}, self._at_once())
        except UnknownSizeError:
            return None

    def _at_once(self) -> int | None:
        """Return the first size of all inputs, if it is one number."""
        found = {
            meta["sizes"][0].get("as_int")
            for meta in map(self._graph["tensor_values"].get, self.inputs)
            if meta is not None and meta["sizes"]
        }
        size = found.pop() if len(found) == 1 else None
        return None if size is None else int(size)

    def _example(self) -> tuple[Any, ...]:
        torch = self._torch
        generator = torch.Generator().manual_seed(0)
        made: list[Any] = []
        for name in self.inputs:
            meta = self._graph["tensor_values"].get(name)
            if meta is None:
                found = self._graph["sym_int_values"].get(name)
                made.append(sizes_of([found])[0] if found is not None else 1)
                continue
            sizes, dtype = sizes_of(meta["sizes"]), getattr(torch, DTYPES[meta["dtype"]])
            if dtype.is_floating_point:
                made.append(torch.rand(sizes, generator=generator).to(dtype))
            else:
                on = dtype is torch.bool or "mask" in name
                made.append(torch.full(sizes, int(on), dtype=dtype))
        return tuple(made)

    # -- running

    def run(self, given: Mapping[str, Any]) -> Any:
        """Run the graph.

        Parameters
        ----------
        given : mapping of str to Tensor
            Its inputs.

        Returns
        -------
        list
            What the module returned, in order.
        """
        module, values = self.module, {**self._fixed, **given}
        for inner, name in self._names.items():
            values[inner] = _attribute(module, name)
        for node, function in zip(self._graph["nodes"], self.functions, strict=True):
            args, kwargs = [], {}
            for entry in node["inputs"]:
                value = self._value(entry["arg"], values)
                if entry.get("kind") == 2:
                    kwargs[entry["name"]] = value
                else:
                    args.append(value)
            _place(node["outputs"], function(*args, **kwargs), values)
        kept = [s for s in self._signature["output_specs"] if "user_output" in s]
        return [self._value(s["user_output"]["arg"], values) for s in kept]

    def _function(self, node: Mapping[str, Any]) -> Callable[..., Any]:
        """Return what a node calls."""
        target = str(node["target"])
        if found := _ATEN.match(target):
            name, overload = found.groups()
            if name in _REFUSED:
                raise ValueError(f"it calls {target}, which does more than compute")
            if name in _RECURRENT:
                return getattr(self._torch._VF, name)  # type: ignore[no-any-return]
            packet = getattr(self._torch.ops.aten, name, None)
            function = getattr(packet, overload, None)
            if isinstance(function, self._torch._ops.OpOverload):
                return function  # type: ignore[no-any-return]
        elif (found := _ARITHMETIC.match(target)) and found[1] in _SIZES:
            return _SIZES[found[1]]
        raise ValueError(f"it calls {target}, which is no operator of ATen's that this torch has")

    def _value(self, argument: Mapping[str, Any], values: Mapping[str, Any]) -> Any:
        """Return an argument."""
        ((kind, value),) = argument.items()
        torch = self._torch
        if kind == "as_none":
            return None
        if kind in ("as_tensor", "as_token"):
            return values[value["name"]]
        if kind in ("as_tensors",):
            return [values[v["name"]] for v in value]
        if kind in ("as_sym_int", "as_sym_float", "as_sym_bool", "as_optional_tensor"):
            return self._one(value, values)
        if kind in ("as_sym_ints", "as_sym_floats", "as_sym_bools", "as_optional_tensors"):
            return [self._one(v, values) for v in value]
        if kind == "as_nested_tensors":
            return [[values[v["name"]] for v in several] for several in value]
        if kind == "as_scalar_type":
            return getattr(torch, DTYPES[value])
        if kind == "as_memory_format":
            return getattr(torch, _FORMATS[value])
        if kind == "as_layout":
            return torch.strided
        if kind == "as_device":
            return torch.device("cpu")
        if kind == "as_complex":
            return complex(value["real"], value["imag"])
        if kind == "as_float":
            return float(value)  # "Infinity" and "NaN" are texts
        if kind in ("as_int", "as_ints", "as_floats", "as_bool", "as_bools", "as_string",
                    "as_strings", "as_int_lists", "as_float_lists"):  # fmt: skip
            return value
        raise ValueError(f"an argument of the kind {kind.removeprefix('as_')!r} is not read")

    def _one(self, value: Mapping[str, Any], values: Mapping[str, Any]) -> Any:
        ((kind, inner),) = value.items()
        if kind == "as_name":
            return values[inner]
        if kind == "as_tensor":
            return values[inner["name"]]
        return None if kind == "as_none" else inner


def _place(outputs: Any, made: Any, values: dict[str, Any]) -> None:
    """Put what a node returns where its outputs say."""
    if len(outputs) == 1 and "as_tensors" not in outputs[0]:
        made = [made[0] if isinstance(made, tuple) and len(made) == 1 else made]
    elif len(outputs) == 1:
        made = [list(made)]
    for output, value in zip(outputs, made, strict=True):
        ((kind, about),) = output.items()
        if kind == "as_tensor":
            values[about["name"]] = value
        elif kind == "as_tensors":
            for one, part in zip(about, value, strict=True):
                values[one["name"]] = part
        elif kind in ("as_sym_int", "as_sym_float", "as_sym_bool"):
            if "as_name" in about:
                values[about["as_name"]] = value
        elif kind == "as_optional_tensor" and "as_tensor" in about:
            values[about["as_tensor"]["name"]] = value
        elif kind not in ("as_none", "as_optional_tensor"):
            raise ValueError(f"a result of the kind {kind.removeprefix('as_')!r} is not read")


def _module(torch: Any, archive: Archive) -> Any:
    """Return a module that holds the tensors, by their dotted names."""
    root = type("Program", (torch.nn.Module,), {})()
    for full, tensor in archive.tensors.items():
        *path, leaf = full.split(".")
        owner = root
        for part in path:
            if part not in owner._modules:
                owner.add_module(part, torch.nn.Module())
            owner = owner._modules[part]
        if full in archive.parameters and tensor.is_floating_point():
            owner.register_parameter(leaf, torch.nn.Parameter(tensor, requires_grad=False))
        else:
            owner.register_buffer(leaf, tensor)
    return root


def _attribute(module: Any, name: str) -> Any:
    for part in name.split("."):
        module = getattr(module, part)
    return module


class _Forward:
    """The forward pass of a program, with the names of its inputs."""

    def __init__(self, program: Program) -> None:
        self._program = program
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        names = [n if n.isidentifier() else f"input{k}" for k, n in enumerate(program.inputs)]
        self.__signature__ = inspect.Signature([inspect.Parameter(n, kind) for n in names])

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run it."""
        names = self._program.inputs
        if len(args) > len(names) or set(kwargs) - set(names):
            raise TypeError(f"it takes {len(names)} inputs: {', '.join(names)}")
        given = dict(zip(names, args, strict=False)) | kwargs
        missing = [n for n in names if n not in given]
        if missing:
            raise TypeError(f"it also takes {', '.join(missing)}")
        return self._program.run(given)
