"""Means of control variates, and how many samples are kept: from samples of their own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .surrogate import Controls

__all__ = ["Means"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Means:
    """Means of the control variates, and what else was seen.

    Parameters
    ----------
    values, variances : ndarray of float64, shape (2,)
        Of the means, the variances over samples.
    kept : float
        The share of samples that are kept.
    outside : float or None
        Of those with any output outside its range; None where none were taken for this.
    bins : ndarray of int64, shape (n_in, in_bins), or None
        Of the kept samples' inputs, likewise.
    drawn : int
        How many samples were taken.
    """

    values: Array
    variances: Array
    kept: float
    outside: float | None
    bins: NDArray[np.int64] | None = None
    drawn: int = 0

    @staticmethod
    def of(found: Sequence[Controls]) -> Means:
        """Return those of samples."""
        count = sum(f.count for f in found)
        values = np.stack(
            [np.concatenate([f.output for f in found]), np.concatenate([f.within for f in found])]
        )
        outside = sum(f.outside for f in found) / count
        if not values.shape[1]:
            return Means(np.zeros(2), np.zeros(2), 0.0, outside, drawn=count)
        means, variances = values.mean(axis=1), values.var(axis=1) / values.shape[1]
        bins = np.sum([f.bins for f in found], axis=0)
        return Means(means, variances, values.shape[1] / count, outside, bins, count)

    def log_kept(self, more: Sequence[Controls]) -> tuple[float, float]:
        """Return the logarithm of the share that is kept, with more samples, and its error; bits.

        Both 0 where none were taken: then all are kept.
        """
        if not self.drawn:
            return 0.0, 0.0
        drawn = self.drawn + sum(f.count for f in more)
        kept = self.kept * self.drawn + sum(len(f.output) for f in more)
        share = kept / drawn
        return math.log2(share), math.sqrt((1.0 - share) / kept) / math.log(2.0)
