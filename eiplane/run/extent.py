"""The range in which a stream of numbers lies."""

from __future__ import annotations

from typing import Any

import numpy as np

from .quantiles import QuantileSketch
from .settings import Range

__all__ = ["Extent"]


class Extent:
    """Where a stream of numbers lies: between two of its quantiles.

    Parameters
    ----------
    quantiles : tuple of float
        ``(0, 1)`` is the least and the greatest, which takes no more than two numbers to know.
    """

    def __init__(self, quantiles: tuple[float, float]) -> None:
        self._quantiles = quantiles
        self._sketch = None if quantiles == (0.0, 1.0) else QuantileSketch()
        self._least, self._greatest = np.inf, -np.inf

    def add(self, values: Any) -> None:
        """Continue the stream.

        Parameters
        ----------
        values : array_like
            Of any shape; not kept.

        Raises
        ------
        ValueError
            If one of them is not finite; it says how many are.
        """
        array = np.asarray(values)
        if not array.size:
            return
        least, greatest = float(array.min()), float(array.max())
        if not (np.isfinite(least) and np.isfinite(greatest)):  # NaN spreads to both
            nan, infinite = int(np.isnan(array).sum()), int(np.isinf(array).sum())
            counts = [f"{n} {what}" for n, what in ((nan, "NaN"), (infinite, "infinite")) if n]
            raise ValueError(f"{' and '.join(counts)} of {array.size} numbers")
        self._least = min(self._least, least)
        self._greatest = max(self._greatest, greatest)
        if self._sketch is not None:
            self._sketch.add(array)

    @property
    def range(self) -> Range | None:
        """The range; None of an empty stream.

        Where the quantiles coincide it is the least and the greatest, and where those do a range of
        width 1 about them.
        """
        least, greatest = self._least, self._greatest
        if least > greatest:
            return None
        if self._sketch is not None:
            low, high = (self._sketch.quantile(q) for q in self._quantiles)
            if not _coincide(low, high):
                return low, high
        return (least - 0.5, greatest + 0.5) if _coincide(least, greatest) else (least, greatest)


def _coincide(low: float, high: float) -> bool:
    return high - low <= 1e-12 * max(abs(low), abs(high))
