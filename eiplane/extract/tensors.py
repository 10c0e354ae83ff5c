"""Networks from files of tensors."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..layer import Network
from ..result import Skipped
from .arrays import from_mapping
from .options import ExtractOptions

__all__ = ["from_path"]


def from_path(path: Path, options: ExtractOptions) -> tuple[Network, tuple[Skipped, ...]]:
    """Return the layers of a file of weights.

    Parameters
    ----------
    path : Path
    options : ExtractOptions

    Returns
    -------
    network : Network
    skipped : tuple of Skipped
    """
    if path.suffix != ".npz":
        raise ValueError(f"{path}: not a kind of file that eiplane reads (.npz)")
    with np.load(path, allow_pickle=False) as arrays:
        return from_mapping(dict(arrays), options.activation, str(path))
