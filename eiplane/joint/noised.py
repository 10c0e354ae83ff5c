"""Bounds of whole vectors with noise on them, from samples: ``T = Y + e``, and e's law is known.

*Nested averages.* The density of T is the mean of the noise's about all y. From K draws of y of
their own, ``E -log2 mean_k p(t | y_k) >= h(T)``, by Jensen's inequality; with the y that t came
from among them it is at most ``h(T)`` (A. Foster and others, AISTATS 2020: the prior contrastive
estimate). The same within the cell of the inputs bounds ``h(T | X)``, and ``EI = h(T) - h(T | X)``
is averaged sample by sample, so that what both share cancels.

*Models.* ``h(T) <= E -log2 q(t)`` for any density q, a mixture for all of T and a Gaussian in each
cell; and ``EI >= n log2 in_bins + E log2 q(bins of x | t)``, as in :mod:`.modelled`. They go on
where the noise is so narrow that no draw is near.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .. import _core
from ..network import Stage
from ..pairwise.noisy import NoisyLayer
from ..run import Runner
from .bounds import Interval
from .mixture import Mixture, fitted, odd_bits
from .modelled import mean_limits
from .scores import normal_quantile

__all__ = ["noised_bounds"]

Array = NDArray[np.float64]

#: Replicates; samples of each; draws of y for them, and draws in the cell of each sample.
_REPLICATES, _SAMPLES, _DRAWS, _WITHIN = 32, 40, 1 << 12, 192
#: Samples that a mixture is fitted to, and those that it is told of; as :mod:`.modelled`.
_FIT, _TOLD, _COMPONENTS, _EACH, _DIMENSIONS, _WORK = 1 << 12, 1 << 12, 32, 12, 160, 1 << 32
#: Of the noise, the most that the distance of neighbouring numbers may be.
_FINE = 1e-6
#: Numbers of a unit's covariances.
_UNIT = 1 << 20
#: Number of the stream of random numbers.
_PURPOSE = 97


@dataclass(frozen=True, eq=False)
class _Noised:
    """A layer and its noise, as what can be sampled."""

    stage: Stage
    in_range: tuple[float, float]
    bins: int
    scale: float
    gaussian: bool
    #: Of the outputs; what is around does not matter.
    middle: Array

    @staticmethod
    def of(noisy: NoisyLayer) -> _Noised:
        layer, gaussian = noisy.layer, noisy.noise.kind == "gaussian"
        matrix = layer.matrix()
        stage = Stage(matrix.shape[1], len(matrix), matrix, layer.offsets(), layer.activation)
        scale = noisy.noise.scale if gaussian else noisy.width
        own = _Noised(
            stage, noisy.around.in_range, noisy.around.in_bins, scale, gaussian, np.zeros(1)
        )
        return replace(own, middle=own.values(np.full((1, stage.n_in), 0.5)))

    @property
    def resolved(self) -> bool:
        """Whether float64 has numbers near the outputs that are far nearer than the noise."""
        known = self.stage.weight
        assert known is not None
        varies = (known != 0.0).any(axis=1)
        return bool((np.spacing(np.abs(self.middle[0, varies])) < _FINE * self.scale).all())

    def values(self, u: Array) -> Array:
        """Return y of inputs on the unit cube less those of its middle, one a row."""
        low, high = self.in_range
        assert self.stage.weight is not None and self.stage.bias is not None
        x = np.ascontiguousarray((low + (high - low) * u).T)
        y = self.stage.values(_core.affine(self.stage.weight, self.stage.bias, x)).T
        return np.ascontiguousarray(y - self.middle)

    def drawn(self, rng: np.random.Generator, y: Array) -> Array:
        """Return y with its noise."""
        noise = rng.normal(size=y.shape) if self.gaussian else rng.random(y.shape) - 0.5
        return np.asarray(y + self.scale * noise)

    def density(self, t: Array, y: Array) -> Array:
        """Return the log2 density of t about each y, over ``2**-h(e)``; (t, y)."""
        if not self.gaussian:
            near = np.ones((len(t), len(y)), bool)
            for own, other in zip(t.T, y.T, strict=True):
                near &= np.abs(own[:, None] - other) <= 0.5 * self.scale
            return np.where(near, 0.0, -np.inf)
        one, two = t / self.scale, y / self.scale
        middle = one.mean(axis=0)
        one, two = one - middle, two - middle
        square = (one**2).sum(axis=1)[:, None] + (two**2).sum(axis=1) - 2.0 * one @ two.T
        m = t.shape[1]
        return np.asarray(0.5 * (m - np.maximum(square, 0.0)) / math.log(2.0))

    @property
    def variance(self) -> float:
        """Of the noise."""
        return self.scale**2 * (1.0 if self.gaussian else 1.0 / 12.0)

    @property
    def entropy(self) -> float:
        """``h(e)`` of one output, in bits."""
        own = 0.5 * math.log2(2.0 * math.pi * math.e) if self.gaussian else 0.0
        return own + math.log2(self.scale)


@dataclass(frozen=True, eq=False)
class _Replicate:
    """A replicate of nested averages: its own draws."""

    noised: _Noised
    seed: np.random.SeedSequence
    number: int

    @property
    def where(self) -> str:
        """Which unit this is, for errors."""
        return f"replicate {self.number}"


def replicate_unit(unit: _Replicate) -> Array:
    """Return a replicate's means, over ``h(e)``.

    Returns
    -------
    ndarray of float64, shape (5,)
        ``h(T)`` below and above; ``h(T) - h(T | X)`` below, by nested averages and by Gaussians of
        the cells, and above.
    """
    own, rng = unit.noised, np.random.Generator(np.random.Philox(unit.seed))
    n = own.stage.n_in
    draws = own.values(rng.random((_DRAWS, n)))
    u = rng.random((_SAMPLES, n))
    y = own.values(u)
    t = own.drawn(rng, y)
    whole = _bracket(own.density(t, draws), np.diag(own.density(t, y)))
    within, gaussian = np.empty((2, _SAMPLES)), np.empty(_SAMPLES)
    for i, at in enumerate(u):
        start = np.minimum(np.floor(at * own.bins), own.bins - 1)
        near = own.values((start + rng.random((_WITHIN, n))) / own.bins)
        mine = own.density(t[i : i + 1], near)
        within[:, i] = _bracket(mine, own.density(t[i : i + 1], y[i : i + 1])[0])[:, 0]
        gaussian[i] = _gaussian_surprise(t[i], near, own)
    with np.errstate(invalid="ignore"):
        return np.array([
            whole[0].mean(), whole[1].mean(), (whole[0] - within[1]).mean(),
            (whole[0] - gaussian).mean(), (whole[1] - within[0]).mean(),
        ])  # fmt: skip


def _bracket(others: Array, own: Array) -> Array:
    """Return less the log2 of means of densities: with the own one among them, and without."""
    count = others.shape[1]
    top = np.maximum(np.maximum(others.max(axis=1), own), -1e300)
    total = np.exp2(others - top[:, None]).sum(axis=1)
    with np.errstate(divide="ignore"):
        return np.stack([
            math.log2(count + 1.0) - top - np.log2(total + np.exp2(own - top)),
            math.log2(count) - top - np.log2(total),
        ])  # fmt: skip


def _gaussian_surprise(t: Array, near: Array, own: _Noised) -> float:
    """Return the surprise at t under a Gaussian about draws of y, over ``h(e)``."""
    off = near - near.mean(axis=0)
    square = off.T @ off / (len(near) - 1) + own.variance * np.eye(len(t))
    square += own.variance * 1e-9 * np.eye(len(t))
    root = np.linalg.cholesky(square)
    solved = np.linalg.solve(root, t - near.mean(axis=0))
    nats = 0.5 * float(solved @ solved) + float(np.log(root.diagonal()).sum())
    return (nats / math.log(2.0)) + len(t) * (0.5 * math.log2(2.0 * math.pi) - own.entropy)


@dataclass(frozen=True, eq=False)
class _Points:
    mixture: Mixture
    t: Array
    ends: tuple[Array, Array]
    bins: int
    first: int

    @property
    def where(self) -> str:
        """Which unit this is, for errors."""
        return f"samples from {self.first} on"


def points_unit(unit: _Points) -> tuple[Array, Array]:
    """Return what a mixture says of the samples of a unit."""
    return unit.mixture.of_points(unit.t, unit.ends, unit.bins)


def noised_bounds(noisy: NoisyLayer, key: int, runner: Runner) -> tuple[Interval, Interval]:
    """Return bounds of EI, and of ``h(Y + e) - h(e)``; in bits.

    Parameters
    ----------
    noisy : NoisyLayer
        Without groups.
    key : int
        Of the random numbers.
    runner : Runner

    Returns
    -------
    information, output : tuple of float
    """
    own = _Noised.of(noisy)
    if not own.resolved:
        return (0.0, math.inf), (0.0, math.inf)
    seeds = np.random.SeedSequence([key, _PURPOSE]).spawn(_REPLICATES + 1)
    units = [_Replicate(own, seed, i) for i, seed in enumerate(seeds[:-1])]
    name = noisy.layer.name
    found = np.array(runner.map(replicate_unit, units, f"{name}: nested averages"))
    sides = [mean_limits(column, 0.0) for column in found.T]
    information = max(sides[2][0], sides[3][0], 0.0), sides[4][1]
    output = max(sides[0][0], 0.0), sides[1][1]
    n, m = own.stage.n_in, own.stage.n_out
    if n + m <= _DIMENSIONS:
        rng = np.random.Generator(np.random.Philox(seeds[-1]))
        told, bins = _by_model(own, rng, runner, str(name))
        output = output[0], min(output[1], -mean_limits(told, 0.0)[0] - m * own.entropy)
        low = n * math.log2(own.bins) + mean_limits(bins, odd_bits(own.bins))[0]
        information = max(information[0], low), information[1]
    return information, output


def _by_model(
    own: _Noised, rng: np.random.Generator, runner: Runner, name: str
) -> tuple[Array, Array]:
    """Return ``log2 q(t)`` and ``log2 q(bins of x | t)`` of samples."""
    n = own.stage.n_in
    u = rng.random((_FIT, n))
    t = own.drawn(rng, own.values(u))
    middle, spread = t.mean(axis=0), t.std(axis=0)
    sample = np.concatenate([(t - middle) / spread, normal_quantile(u)], axis=1)
    d = sample.shape[1]
    most = min(_FIT // (_EACH * d), _WORK // (12 * _FIT * d * d), _COMPONENTS)
    model = fitted(sample, max(most, 1), rng)
    count = max(512, min(_TOLD, (_WORK >> 2) // (len(model.weights) * (d**3 // 3 + 24 * d))))
    u = rng.random((count, n))
    t = (own.drawn(rng, own.values(u)) - middle) / spread
    at = np.minimum((u * own.bins).astype(np.intp), own.bins - 1)
    ends = normal_quantile(np.arange(own.bins + 1) / own.bins)
    low, high = ends[at], ends[at + 1]
    step = max(8, _UNIT // (d * d))
    units = [
        _Points(model, t[a : a + step], (low[a : a + step], high[a : a + step]), own.bins, a)
        for a in range(0, count, step)
    ]
    found = runner.map(points_unit, units, f"{name}: bounds")
    told, bins = (np.concatenate([f[i] for f in found]) for i in (0, 1))
    return told - float(np.log2(spread).sum()), bins
