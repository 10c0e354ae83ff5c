"""Steps before a channel's last affine map: of a span of layers, or of a pooling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .activation import Activation

__all__ = ["Stage"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Stage:
    """A step before a channel's last affine map: an affine map and its activation, or a maximum.

    Parameters
    ----------
    n_in, n_out : int
        Numbers of values in and out.
    weight : ndarray of float64, shape (n_out, n_in), or None
        C-contiguous; None for a maximum.
    bias : ndarray of float64, shape (n_out,), or None
    activation : Activation or None
    width : int
        0 for an affine map; otherwise each output is the maximum of so many neighbouring inputs.
    """

    n_in: int
    n_out: int
    weight: Array | None = None
    bias: Array | None = None
    activation: Activation | None = None
    width: int = 0
