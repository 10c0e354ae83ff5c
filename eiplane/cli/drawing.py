"""Options of pictures that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["add_plane_options"]


def add_plane_options(add: Callable[..., Any]) -> None:
    """Add what makes small and large layers comparable.

    Parameters
    ----------
    add : callable
        A parser's, or a group's, ``add_argument``.
    """
    add("--normalize", choices=("edges", "outputs"), default=None,
        help="draw bits per edge, or per output")  # fmt: skip
    add("--scale", choices=("linear", "symlog"), default="linear",
        help="symlog: logarithmic axes, but around zero (default: linear)")  # fmt: skip
