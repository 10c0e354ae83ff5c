"""Arrays of ``.npy`` and ``.npz`` files; what is wrong with one names it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .damage import is_damage

__all__ = ["read_arrays"]


def read_arrays(
    path: str | Path, wrong: str, *, mapped: bool = False
) -> NDArray[Any] | dict[str, NDArray[Any]]:
    """Return the array of a ``.npy`` file, or all of a ``.npz`` file by name.

    Parameters
    ----------
    path : path-like
    wrong : str
        What is said of a file that is none: ``is no .npy file``.
    mapped : bool
        Whether a single array stays in its file until it is looked at.

    Returns
    -------
    ndarray or dict of str to ndarray

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is damaged, or holds anything but plain arrays.
    """
    try:
        opened = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
        if isinstance(opened, np.ndarray):
            return opened
        with opened:
            return {name: np.asarray(opened[name]) for name in opened.files}
    except Exception as error:  # encrypted, cut, packed by an unknown method, ...
        if not is_damage(error):
            raise
        raise ValueError(f"{path} {wrong}: {error or type(error).__name__}") from None
