"""What is known of the rows of a weight matrix: found once, and used by all that measures them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .limits import MOST

__all__ = ["RowSums"]

Array = NDArray[np.float64]

_GREATEST, _TOTAL, _SIZES, _SQUARES = 0, 3, 4, 5  # columns; see csrc/common/ei_channel.h


@dataclass(frozen=True, eq=False)
class RowSums:
    """Sums of a matrix's rows, as ``_core.row_sums`` gives them.

    They hold for the matrix as it was: nobody keeps them while a training changes it.

    Parameters
    ----------
    matrix : ndarray, shape (n_out, n)
        Whose they are.
    values : ndarray of float64, shape (n_out, 6)
    """

    matrix: NDArray[Any]
    values: Array

    def of(self, matrix: NDArray[Any]) -> RowSums | None:
        """Return them if they are a matrix's, otherwise None."""
        return self if matrix is self.matrix else None

    @property
    def greatest(self) -> Array:
        """The greatest size of each row."""
        return self.values[:, _GREATEST]

    @property
    def totals(self) -> Array:
        """The sum of each row."""
        return self.values[:, _TOTAL]

    @property
    def sizes(self) -> Array:
        """The sum of the sizes of each row."""
        return self.values[:, _SIZES]

    @property
    def squares(self) -> Array:
        """The sum of the squares of each row."""
        return self.values[:, _SQUARES]

    @property
    def usual(self) -> bool:
        """Whether all weights are numbers, and none is too large."""
        return bool(self.values[:, _SIZES].sum() <= MOST)
