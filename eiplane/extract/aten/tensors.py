"""What tensors among an operator's arguments are to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...network import Known, NetworkInput, RangeRule, Unknown
from .call import tensors_in

__all__ = [
    "as_tensors",
    "filled_names",
    "has_storage",
    "range_of_input",
    "read_by",
    "refuse_layouts",
    "results_of",
    "shares",
    "written_by",
]


def has_storage(tensor: Any) -> bool:
    """Return whether a tensor's numbers lie in a storage."""
    try:
        tensor.untyped_storage()
    except (NotImplementedError, RuntimeError):
        return False
    return True


def as_tensors(torch: Any, func: Any, args: Any) -> Any:
    """Return the arguments of a comparison as tensors: of a trace, sizes are numbers here."""
    if func is not torch.ops.aten.equal.default:
        return args
    return tuple(a if isinstance(a, torch.Tensor) else torch.tensor(a) for a in args)


def refuse_layouts(tensor: Any) -> None:
    """Raise ValueError for a tensor that has no storage of numbers."""
    if tensor.is_nested:
        raise ValueError("it uses nested tensors, which cannot be followed; pad them instead")
    if tensor.is_mkldnn:
        raise ValueError(
            "it keeps tensors in a layout of its own (optimize_for_inference), which cannot be "
            "followed; pass it as it was before"
        )


def shares(tensor: Any, others: list[Any]) -> bool:
    """Return whether a tensor shares its storage with one of some others."""
    try:
        key = tensor.untyped_storage()._cdata
    except (NotImplementedError, RuntimeError):
        return False
    for other in others:
        try:
            if (
                other.untyped_storage()._cdata == key
                and tensor.element_size() == other.element_size()
            ):
                return True
        except (NotImplementedError, RuntimeError):
            continue
    return False


def written_by(func: Any, args: Any, kwargs: Any) -> Any:
    """Return the argument that an operator writes into."""
    for k, argument in enumerate(func._schema.arguments):
        info = argument.alias_info
        if info is not None and info.is_write:
            return args[k] if k < len(args) else kwargs.get(argument.name)
    return None


def results_of(torch: Any, func: Any, args: Any, kwargs: Any, out: Any) -> list[Any]:
    """Return what an operator gives; of one that gives nothing, what it writes into."""
    if isinstance(out, list | tuple) and out:
        return list(out)
    found = tensors_in(torch, out)
    if found or not func._schema.is_mutable:
        return list(found)
    written = [
        args[k] if k < len(args) else kwargs.get(argument.name)
        for k, argument in enumerate(func._schema.arguments)
        if argument.alias_info is not None and argument.alias_info.is_write
    ]
    return list(tensors_in(torch, written))


def filled_names(func: Any) -> set[str]:
    """Return the names of the arguments (``out=``) that an operator fills."""
    return {
        str(argument.name)
        for argument in func._schema.arguments
        if argument.kwarg_only and argument.alias_info is not None and argument.alias_info.is_write
    }


def read_by(func: Any, args: Any, kwargs: Any, tensors: list[Any]) -> list[Any]:
    """Return the tensors that an operator reads: those (``out=``) that it fills hold chance."""
    filled = {id(kwargs.get(name)) for name in filled_names(func)}
    filled -= {id(a) for a in args}
    return [t for t in tensors if id(t) not in filled]


def range_of_input(tensor: Any) -> Callable[[], RangeRule]:
    """Return what makes the rule of an input: of small whole numbers all that there are."""
    if tensor.is_floating_point():
        return NetworkInput
    most = {"bool": 1.0, "uint8": 255.0}.get(str(tensor.dtype).removeprefix("torch."))
    return Unknown if most is None else lambda: Known(0.0, most, "given")
