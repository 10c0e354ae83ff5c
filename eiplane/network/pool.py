"""A pooling that follows a convolution."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .activation import Activation
from .known import get_activation

__all__ = ["Pool"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Pool:
    """A pooling of a convolution's outputs, one window of it.

    Parameters
    ----------
    kind : str
        ``"max"`` or ``"mean"``.
    window : tuple of int
        Positions of the convolution that one pooled output covers, along every axis of the kernel.
    step : tuple of int, optional
        How far neighbouring positions of the window lie apart in the convolution's input: its
        stride, times the pooling's own dilation. 1 when left out.
    dilation : tuple of int, optional
        How far neighbouring taps of the kernel lie apart there. 1 when left out.
    activation : str or Activation
        What follows the pooling; the layer's own activation comes before it.

    Raises
    ------
    ValueError
        For an unknown kind or sizes that are not positive or do not match.
    """

    kind: str
    window: tuple[int, ...]
    step: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    activation: Activation = field(default="identity")  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.kind not in ("max", "mean"):
            raise ValueError(f"a pooling is 'max' or 'mean', not {self.kind!r}")
        ones = (1,) * len(self.window)
        step, dilation = self.step or ones, self.dilation or ones
        sizes = (*self.window, *step, *dilation)
        if len(sizes) != 3 * len(ones) or not ones or any(n < 1 for n in sizes):
            raise ValueError(
                "a pooling needs a window, a step and a dilation of the same number of positive "
                f"sizes, not {self.window}, {step} and {dilation}"
            )
        # Pixels that no tap can fall on are left out of the receptive field.
        unit = [math.gcd(s, d) for s, d in zip(step, dilation, strict=True)]
        object.__setattr__(self, "step", tuple(s // u for s, u in zip(step, unit, strict=True)))
        object.__setattr__(
            self, "dilation", tuple(d // u for d, u in zip(dilation, unit, strict=True))
        )
        object.__setattr__(self, "activation", get_activation(self.activation))

    @property
    def positions(self) -> int:
        """Number of positions in the window."""
        return math.prod(self.window)

    def field(self, kernel: tuple[int, ...]) -> tuple[int, ...]:
        """Return the size of the receptive field of one pooled output.

        Parameters
        ----------
        kernel : tuple of int
            The convolution's kernel.

        Returns
        -------
        tuple of int
        """
        sizes = zip(self.window, self.step, kernel, self.dilation, strict=True)
        return tuple((w - 1) * s + (k - 1) * d + 1 for w, s, k, d in sizes)

    def spread(self, weight: NDArray[Any]) -> Array:
        """Return the convolution at every position of the window, over the whole receptive field.

        Parameters
        ----------
        weight : ndarray, shape (n_out, n_in / groups, ``*kernel``)

        Returns
        -------
        ndarray of float64, shape (n_out, positions, n_in / groups, ``*field``)
        """
        n_out, n_in, *kernel = weight.shape
        out = np.zeros((n_out, self.positions, n_in, *self.field(tuple(kernel))))
        for p, place in enumerate(itertools.product(*map(range, self.window))):
            taps: tuple[Any, ...] = tuple(
                slice(i * s, i * s + (k - 1) * d + 1, d)
                for i, s, k, d in zip(place, self.step, kernel, self.dilation, strict=True)
            )
            out[(slice(None), p, slice(None), *taps)] = weight
        return out

    def __str__(self) -> str:
        after = "" if self.activation.kind == "identity" else f" {self.activation.name}"
        return f"{self.kind} pool {'x'.join(map(str, self.window))}{after}"
