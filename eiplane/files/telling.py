"""Warnings that point at the line of the user's that led to them."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

__all__ = ["warn_user"]

_PACKAGE = str(Path(__file__).resolve().parents[1])


def warn_user(message: str | Warning, category: type[Warning] = UserWarning) -> None:
    """Warn in the name of the nearest caller outside the package.

    Parameters
    ----------
    message : str or Warning
    category : type
        Of a message that is a text.
    """
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
