"""Bounds of whole vectors of what is no single affine map, from samples and a model of them.

*Entropy above.* ``H(Y) <= E -log2 q(y)`` for any q that is normalised (Gibbs), here a mixture whose
components give one output after the other (:mod:`.mixture`); it is fitted to samples of its own.

*Information below.* The inputs' bins are independent and alike, so ``I(X; Y) = H(X) - H(X | Y) >=
n log2 in_bins + E log2 q(x | y)`` for any q that is normalised given y; and ``H(Y) >= E log2 r(x |
y)`` for densities r, in units of that of x (D. Barber and F. Agakov, NeurIPS 16, 2003). That model
of the inputs is what the mixture says of them, given the outputs' bins.

*Given the inputs.* ``H(Y | X)`` is bracketed by draws within cells (:mod:`.within`), and ``I(X; Y)
= H(Y) - H(Y | X)``.

All are averages over independent samples that the model has not seen, widened by four standard
errors as :mod:`.bracket` is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..run import Runner
from .averages import student_four
from .bounds import WholeBounds, trivial_bounds
from .mixture import Mixture, Told, fitted, odd_bits
from .scores import Scores, normal_quantile
from .source import Source
from .within import within_cells

__all__ = ["Effort", "mean_limits", "modelled_bounds"]

Array = NDArray[np.float64]

#: Dimensions of a model, at most; its components, and samples for each dimension of one.
_DIMENSIONS, _COMPONENTS, _EACH = 160, 32, 12
#: Samples that choose between models.
_TRIED = 512
#: Multiplications of a fit, and of what is told of samples.
_FIT, _TELL = 1 << 32, 1 << 30
#: Numbers of a unit's covariances.
_UNIT = 1 << 20
#: Samples among which what is one of so many may be missing: exp(-10) is 4.5e-5, as four standard
#: errors are.
_UNSEEN = 10.0
#: Steps of a bit to which bounds are rounded outwards: their last digits are the machine's.
_STEPS = 1 << 20


@dataclass(frozen=True)
class Effort:
    """How much to sample.

    Parameters
    ----------
    fit, told : int
        Samples to fit a model to, and to be told by it.
    cells, draws : int
        Cells of the inputs, and draws in each; a power of two, at least 32.
    """

    fit: int = 1 << 13
    told: int = 3 << 11
    cells: int = 256
    draws: int = 256

    @staticmethod
    def of(evaluations: float) -> Effort:
        """Return that of so many evaluations, about; no more than is of use, nor too few."""
        usual = Effort()
        share = min(max(evaluations / 80_000.0, 0.25), 1.0)
        draws = usual.draws if share > 0.5 else usual.draws // 2
        fit, told, cells = (int(n * share) for n in (usual.fit, usual.told, usual.cells))
        return Effort(fit, told, cells, draws)


@dataclass(frozen=True, eq=False)
class _Samples:
    """Samples as a model sees them, one a row."""

    lo: Array
    hi: Array
    low: Array
    high: Array
    scores: Array

    def part(self, first: int, stop: int) -> _Samples:
        own = slice(first, stop)
        return _Samples(*(a[own] for a in (self.lo, self.hi, self.low, self.high, self.scores)))


@dataclass(frozen=True, eq=False)
class _Unit:
    mixture: Mixture
    samples: _Samples
    bins: tuple[int, int]
    first: int

    @property
    def where(self) -> str:
        """Which unit this is, for errors."""
        return f"samples from {self.first} on"


def tell_unit(unit: _Unit) -> Told:
    """Return what a mixture says of the samples of a unit."""
    own = unit.samples
    return unit.mixture.told(own.lo, own.hi, (own.low, own.high), own.scores, unit.bins)


def modelled_bounds(
    source: Source, key: int, runner: Runner, name: str, effort: Effort
) -> WholeBounds:
    """Return bounds of ``I(X; Y)``, ``H(Y)`` and ``H(Y | X)``.

    Parameters
    ----------
    source : Source
    key : int
        Of the random numbers.
    runner : Runner
    name : str
        For progress.
    effort : Effort

    Returns
    -------
    WholeBounds
    """
    most = source.n_out * math.log2(source.bins[1])
    trivial = trivial_bounds(int(source.given.sum()), source.n_out, *source.bins)
    bounds = WholeBounds(trivial, (0.0, most), (0.0, most))
    seed = np.random.SeedSequence([key, _PURPOSE])
    first, second = (np.random.Generator(np.random.Philox(s)) for s in seed.spawn(2))
    found = within_cells(source, effort.cells, effort.draws, first)
    above = most if found.most is None else mean_limits(found.most, odd_bits(source.bins[1]))[1]
    below = mean_limits(found.least, 0.0)[0]
    bounds = bounds.within(WholeBounds(trivial, (0.0, most), (below, above)))
    if source.n_out > _DIMENSIONS:
        return bounds
    return bounds.within(_by_model(source, second, runner, name, effort))


#: Number of the stream of random numbers.
_PURPOSE = 96


def _by_model(
    source: Source, rng: np.random.Generator, runner: Runner, name: str, effort: Effort
) -> WholeBounds:
    """Return what a mixture proves."""
    m, inputs = source.n_out, np.flatnonzero(source.given)
    n_bits, most = len(inputs) * math.log2(source.bins[0]), m * math.log2(source.bins[1])
    if len(inputs) + m > _DIMENSIONS:
        inputs = inputs[:0]
    d = len(inputs) + m
    u = rng.random((source.n_in, effort.fit))
    values = source.values(u)
    scores = Scores.of(values)
    sample = np.concatenate([scores(values), normal_quantile(u[inputs])]).T
    works = min(effort.fit // (_EACH * d), _FIT // (12 * effort.fit * d * d), _COMPONENTS)
    tried = _drawn(source, scores, inputs, rng, _TRIED)
    models = [fitted(sample, c, rng) for c in sorted({1, max(1, works)})]
    looks = [_told(model, tried, source, runner, name) for model in models]
    count = max(_TRIED, min(effort.told, _TELL // (d**3 // 3 + 24 * d)))
    results: list[WholeBounds] = []
    best = {int(np.argmax([look[what].mean() for look in looks])) for what in (0, 1)}
    for i in sorted(best):
        size = max(_TRIED, min(count, _TELL // (len(models[i].weights) * (d**3 // 3 + 24 * d))))
        told = _told(models[i], _drawn(source, scores, inputs, rng, size), source, runner, name)
        high, *low = (
            mean_limits(values, odd_bits(bins))[0]
            for values, bins in zip(told, (source.bins[1], *source.bins), strict=True)
        )
        if not len(inputs):
            low = [-n_bits, 0.0]
        results.append(WholeBounds((n_bits + low[0], n_bits), (low[1], -high), (0.0, most)))
    result = results[0]
    for other in results[1:]:
        result = result.within(other)
    return result


def _drawn(
    source: Source, scores: Scores, inputs: NDArray[np.intp], rng: np.random.Generator, count: int
) -> _Samples:
    """Draw samples, as a model sees them."""
    u = rng.random((source.n_in, count))
    lo, hi = source.pieces(source.labels(source.values(u)))
    lo, hi = (np.moveaxis(scores(np.moveaxis(e, 0, 1)), 0, 1) for e in (lo, hi))
    bins = np.minimum((u[inputs].T * source.bins[0]).astype(np.intp), source.bins[0] - 1)
    ends = normal_quantile(np.arange(source.bins[0] + 1) / source.bins[0])
    return _Samples(lo, hi, ends[bins], ends[bins + 1], normal_quantile(u[inputs].T))


def _told(
    model: Mixture, samples: _Samples, source: Source, runner: Runner, name: str
) -> tuple[Array, Array, Array]:
    """Return what a model says of samples: of outputs, of bins given them, of inputs given them."""
    d = model.means.shape[1]
    step = max(8, _UNIT // (d * d))
    units = [
        _Unit(model, samples.part(a, a + step), source.bins, a)
        for a in range(0, len(samples.lo), step)
    ]
    found = runner.map(tell_unit, units, f"{name}: bounds")
    output, bins, density = (
        np.concatenate([getattr(f, what) for f in found]) for what in ("output", "bins", "density")
    )
    return output, bins, density


def mean_limits(values: Array, odd: float = 0.0) -> tuple[float, float]:
    """Return the mean, less and more what sampling may do to it, rounded outwards.

    Parameters
    ----------
    values : ndarray of float64, shape (samples,)
        Independent. Where they are not all finite nothing is known of the mean.
    odd : float
        Bits that a sample may have of which there is none like it: what is seen once in so many
        samples may be missing among these.

    Returns
    -------
    tuple of float
    """
    if not np.isfinite(values).all():
        return -math.inf, math.inf
    count = len(values)
    error = student_four(count - 1.0) * float(values.std(ddof=1)) / math.sqrt(count)
    error += odd * min(_UNSEEN / count, 1.0)
    mean = float(values.mean())
    return math.floor((mean - error) * _STEPS) / _STEPS, math.ceil((mean + error) * _STEPS) / _STEPS
