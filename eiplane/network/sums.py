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
    extremes : tuple of float
        The greatest size of all weights, the least that is any row's greatest and not 0 (infinite
        if there is none), and the sum of all sizes: ``_core.row_extremes``.
    """

    matrix: NDArray[Any]
    values: Array
    extremes: tuple[float, float, float]

    def of(self, matrix: NDArray[Any]) -> RowSums | None:
        """Return them if they are a matrix's, otherwise None."""
        return self if matrix is self.matrix else None

    def moved(self, matrix: NDArray[Any]) -> RowSums:
        """Return them as those of the same numbers in another array."""
        return RowSums(matrix, self.values, self.extremes)

    @property
    def greatest(self) -> Array:
        """The greatest size of each row."""
        return self.values[:, _GREATEST]

    @property
    def largest(self) -> float:
        """The greatest size of all weights."""
        return self.extremes[0]

    @property
    def least(self) -> float:
        """The least size that is the greatest of a row, but for rows of zeros."""
        return self.extremes[1]

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
        return self.extremes[2] <= MOST
