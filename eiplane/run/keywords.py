"""Options that one function takes for another."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

from ..files import meant

__all__ = ["check_keywords"]


def check_keywords(caller: str, options: Iterable[str], function: Callable[..., Any]) -> None:
    """Raise TypeError for options that a function does not take, in the name of who was called.

    Parameters
    ----------
    caller : str
        The function that the user called.
    options : iterable of str
        Their names.
    function : callable
        What they are for.
    """
    known = inspect.signature(function).parameters
    if any(p.kind is p.VAR_KEYWORD for p in known.values()):
        return
    for name in options:
        if name not in known:
            raise TypeError(
                f"{caller}() got an unexpected keyword argument {name!r}{meant(name, known)}"
            )
