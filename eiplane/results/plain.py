"""Values as JSON has them."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["plain"]

_PLAIN = (float, str, int, bool)


def plain(value: Any) -> Any:
    """Return a value of a result as plain Python numbers, lists and dicts: what JSON gives back."""
    if type(value) in _PLAIN:  # as nearly always
        return value
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, tuple | list):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return {key: plain(v) for key, v in value.items()}
    return value
