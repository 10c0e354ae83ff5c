"""Edges of a layer with noise on its outputs: :class:`NoisyLayer` decides which engine."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..network import Activation, Layer, Noise
from ..results import Pairwise
from ..run import EACH, Runner
from .dithered import Dithered
from .gaussian import GaussianRow, gaussian_row
from .measures import Measure
from .surroundings import Surroundings

__all__ = ["NoisyLayer"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Rows:
    """Some outputs, with Gaussian noise."""

    around: Surroundings
    functions: tuple[Activation, ...]
    std: float
    weight: Array
    bias: Array
    which: Measure
    first: int

    @property
    def where(self) -> str:
        """Which unit this is, for errors."""
        return f"outputs {self.first}..{self.first + len(self.weight) - 1}"


def gaussian_rows(unit: _Rows) -> list[GaussianRow]:
    """Return the rows of a unit."""
    return [
        gaussian_row(unit.around, f, unit.std, w, float(b), unit.which)
        for f, w, b in zip(unit.functions, unit.weight, unit.bias, strict=True)
    ]


@dataclass(frozen=True, eq=False)
class NoisyLayer:
    """A single layer with noise on its outputs.

    Parameters
    ----------
    layer : Layer
        Without pooling.
    noise : Noise
    around : Surroundings
    out_range : tuple of float
    out_bins : int
        Of dither: that of a bin is its width.
    """

    layer: Layer
    noise: Noise
    around: Surroundings
    out_range: tuple[float, float]
    out_bins: int

    @property
    def width(self) -> float:
        """Width of uniform noise."""
        if self.noise.kind == "dither":
            return (self.out_range[1] - self.out_range[0]) / self.out_bins
        return self.noise.scale

    @property
    def _dithered(self) -> Dithered:
        return Dithered(self.layer, self.around, self.width, self.out_range[0])

    def measure(self, which: Measure, runner: Runner) -> Pairwise:
        """Return ``I(x_A; y_B + noise)`` of every edge, exact."""
        if self.noise.kind != "gaussian":
            return self._dithered.measure(which, runner)
        rows = self._gaussian(which, runner)
        bound = max(row.bound for row in rows)
        return Pairwise(np.stack([row.information for row in rows]), "exact", error_bound=bound)

    def outputs(self, runner: Runner) -> Array:
        """Return ``h(Y_B + noise) - h(noise)`` of every output, all inputs perturbed.

        It is what the inputs tell of an output as their bins get ever finer.
        """
        if self.noise.kind != "gaussian":
            return self._dithered.entropies(runner)
        return np.array([row.marginal for row in self._gaussian("ei_parts", runner)])

    def _gaussian(self, which: Measure, runner: Runner) -> list[GaussianRow]:
        kind, weight, bias = self.layer.activation, self.layer.matrix(), self.layer.offsets()
        rule = [0] * len(weight) if kind.rule is None else kind.rule.tolist()
        step = max(1, math.ceil(len(weight) / (EACH * runner.workers)))
        units = [
            _Rows(
                self.around,
                tuple(kind.distinct[i] for i in rule[a : a + step]),
                self.noise.scale,
                weight[a : a + step],
                bias[a : a + step],
                which,
                a,
            )
            for a in range(0, len(weight), step)
        ]
        done = runner.map(gaussian_rows, units, f"{self.layer.name}: {which}")
        return [row for rows in done for row in rows]
