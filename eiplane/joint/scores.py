"""Numbers turned into normal scores, so that a Gaussian may be a model of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Scores", "normal_quantile"]

Array = NDArray[np.float64]

#: M. J. Wichura, Algorithm AS 241, Applied Statistics 37(3), 477-484, 1988: PPND16.
_CENTRE = (
    (2509.0809287301226727, 33430.575583588128105, 67265.770927008700853, 45921.953931549871457,
     13731.693765509461125, 1971.5909503065514427, 133.14166789178437745, 3.387132872796366608),
    (5226.495278852545925, 28729.085735721942674, 39307.89580009271061, 21213.794301586595867,
     5394.1960214247511077, 687.1870074920579083, 42.313330701600911252, 1.0),
)  # fmt: skip
_SIDE = (
    (7.7454501427834140764e-4, 0.0227238449892691845833, 0.24178072517745061177,
     1.27045825245236838258, 3.64784832476320460504, 5.7694972214606914055, 4.6303378461565452959,
     1.42343711074968357734),
    (1.05075007164441684324e-9, 5.475938084995344946e-4, 0.0151986665636164571966,
     0.14810397642748007459, 0.68976733498510000455, 1.6763848301838038494, 2.05319162663775882187,
     1.0),
)  # fmt: skip
_TAIL = (
    (2.01033439929228813265e-7, 2.71155556874348757815e-5, 0.0012426609473880784386,
     0.026532189526576123093, 0.29656057182850489123, 1.7848265399172913358, 5.4637849111641143699,
     6.6579046435011037772),
    (2.04426310338993978564e-15, 1.4215117583164458887e-7, 1.8463183175100546818e-5,
     7.868691311456132591e-4, 0.0148753612908506148525, 0.13692988092273580531,
     0.59983220655588793769, 1.0),
)  # fmt: skip


def normal_quantile(p: Array) -> Array:
    """Return where the normal distribution function is p; infinite at 0 and 1.

    Parameters
    ----------
    p : ndarray of float64
        Between 0 and 1.

    Returns
    -------
    ndarray of float64
    """
    q = p - 0.5
    tail = np.minimum(p, 1.0 - p)
    with np.errstate(divide="ignore"):
        r = np.sqrt(-np.log(tail))
    square = 0.180625 - q * q
    central = q * np.polyval(_CENTRE[0], square) / np.polyval(_CENTRE[1], square)
    far = np.where(np.isfinite(r), r, 5.0)
    side, end = (np.polyval(c[0], far - s) / np.polyval(c[1], far - s)
                 for c, s in ((_SIDE, 1.6), (_TAIL, 5.0)))  # fmt: skip
    beyond = np.where(np.isfinite(r), np.where(far <= 5.0, side, end), np.inf)
    return np.asarray(np.where(np.abs(q) <= 0.425, central, np.copysign(beyond, q)))


@dataclass(frozen=True, eq=False)
class Scores:
    """How numbers become normal scores: by their ranks among those of a sample.

    Parameters
    ----------
    ordered : ndarray of float64, shape (neurons, samples)
        The sample, ascending.
    """

    ordered: Array

    @staticmethod
    def of(values: Array) -> Scores:
        """Return those by a sample, (neurons, samples)."""
        return Scores(np.sort(values, axis=1))

    def __call__(self, values: Array) -> Array:
        """Return the scores of values, (neurons, ...); infinite ones stay so."""
        count = self.ordered.shape[1]
        found = np.empty(values.shape)
        for own, row, out in zip(self.ordered, values, found, strict=True):
            sides = [np.searchsorted(own, row, side=side) for side in ("left", "right")]
            out[...] = (0.5 * (sides[0] + sides[1]) + 0.5) / (count + 1.0)
        found = normal_quantile(found)
        return np.where(np.isfinite(values), found, values)
