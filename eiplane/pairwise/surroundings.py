"""What a layer's noisy engines know beside its weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Surroundings"]


@dataclass(frozen=True)
class Surroundings:
    """The inputs of a layer whose outputs are not binned.

    Parameters
    ----------
    in_range : tuple of float
    in_bins : int
    baseline : float
        Where the inputs that are not perturbed are held, for the sensitivity.
    """

    in_range: tuple[float, float]
    in_bins: int
    baseline: float

    def held(self, weight: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what the other inputs, held at the baseline, add to z.

        Parameters
        ----------
        weight : ndarray of float64, shape (..., n_in)

        Returns
        -------
        ndarray of float64, shape (..., n_in)
            Summed up without the input itself: to take its part from the sum of all would leave
            nothing of it where the baseline is far off.
        """
        before = np.zeros_like(weight)
        after = np.zeros_like(weight)
        np.cumsum(weight[..., :-1], axis=-1, out=before[..., 1:])
        after[..., :-1] = np.cumsum(weight[..., :0:-1], axis=-1)[..., ::-1]
        return self.baseline * (before + after)
