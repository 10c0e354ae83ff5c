"""Operators that take functions: a choice of two, a loop, and what they are made of."""

from __future__ import annotations

from typing import Any

__all__ = ["is_higher", "ran"]


def is_higher(torch: Any, func: Any) -> bool:
    """Return whether an operator takes functions."""
    ops = torch._ops  # torch 2.0 has another name for the class
    return isinstance(func, getattr(ops, "HigherOrderOperator", None) or ops.PyOperator)


def ran(torch: Any, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return what an operator of torch that takes functions returns, in plain operators.

    Parameters
    ----------
    torch : module
    func : HigherOrderOperator
    args, kwargs

    Returns
    -------
    object

    Raises
    ------
    ValueError
        For one of which it is not known what it does.
    """
    name = func.name() if callable(func.name) else str(func.name)
    if name == "cond":
        chosen, first, second, operands = args
        return (first if bool(chosen) else second)(*operands)
    if name == "while_loop":
        again, body, carried, *more = args
        rest = tuple(more[0]) if more else ()
        while bool(again(*carried, *rest)):
            carried = tuple(body(*carried, *rest))
        return carried
    plain = func.py_kernels.get(torch._C.DispatchKey.CompositeExplicitAutograd)
    if plain is None:
        raise ValueError(f"it uses torch.ops.higher_order.{name}, which cannot be followed")
    return plain(*args, **kwargs)
