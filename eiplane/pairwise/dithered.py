r"""Edges of a layer whose outputs have uniform noise, or bins averaged over where they begin.

Both are the same. With ``e`` uniform and as wide as a bin w, and ``Q_u`` the bin of y where bins
begin at ``u w``, ``I(X; Y + e)`` is the average of ``I(X; Q_u(Y))`` over u: the probability of a
bin about t is w times the density of ``Y + e`` at t (R. Zamir and M. Feder, *On universal
quantization by randomized uniform/lattice quantizers*, IEEE Trans. Inf. Theory 38(2) 428, 1992). So
the exact engine does it all, once for each u, and the average over u is left, of a function that is
periodic. Where inputs are few it has kinks, like ``x log x``, at known places: the quadrature is
then broken there.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..network import MAX_BINS, Binning, Channel, Layer, discretize, resolved
from ..results import Pairwise
from ..run import Runner
from . import exact
from .measures import Measure
from .surroundings import Surroundings

__all__ = ["Dithered"]

Array = NDArray[np.float64]

#: Points between two kinks; kinks in all up to which they are kept to; inputs that have any.
_POINTS, _KINKS, _FEW = 24, 160, 3
#: Offsets without kinks, first and last, and the change that ends the doubling, in bits; offsets at
#: which kinks must have come to nothing.
_FIRST, _LAST, _SETTLED, _SOON = 16, 512, 1e-10, 128
#: Standard deviations beyond which z is not.
_REACH = 8.8


@dataclass(frozen=True, eq=False)
class Dithered:
    """A layer with outputs in bins of one width, that begin anywhere.

    Parameters
    ----------
    layer : Layer
        Without pooling.
    around : Surroundings
    width : float
        Of a bin, and of the noise.
    start : float
        Where a bin begins at offset 0.
    """

    layer: Layer
    around: Surroundings
    width: float
    start: float = 0.0

    def measure(self, which: Measure, runner: Runner) -> Pairwise:
        """Return the average of an exact measure over all offsets."""

        def at(offset: float) -> Array:
            return exact.measure(which, self.channel(offset), runner).edges

        edges, error = self._average(at, self._kinks(which))
        return Pairwise(np.maximum(edges, 0.0), "exact", error_bound=error)

    def entropies(self, runner: Runner) -> Array:
        """Return ``h(Y_B + e) - log2(width)``, the average entropy of each binned output."""

        def at(offset: float) -> Array:
            p = exact.output_marginals(self.channel(offset), runner)
            return np.asarray(-np.sum(p * np.log2(p, out=np.zeros_like(p), where=p > 0), axis=1))

        return self._average(at, self._kinks("ei_parts"))[0]

    def channel(self, offset: float) -> Channel:
        """Return the channel whose bins begin at an offset, a share of their width."""
        low, high = self._image
        first = math.floor((low - self.start) / self.width - offset)
        bins = max(math.ceil((high - self.start) / self.width - offset) - first, 2)
        if bins > MAX_BINS:
            raise ValueError(
                f"layer {self.layer.name!r}: noise of width {self.width:g} is too little for "
                f"outputs from {low:.4g} to {high:.4g}; at most {MAX_BINS} times it are supported"
            )
        begin = self.start + (first + offset) * self.width
        binning = Binning(self.around.in_bins, bins, False, self.around.baseline)
        span = (begin, begin + bins * self.width)
        if not resolved(span, bins):
            raise ValueError(
                f"layer {self.layer.name!r}: noise of width {self.width:g} is too little for "
                f"outputs from {low:.4g} to {high:.4g}: there float64 has no numbers so near"
            )
        return discretize(self.layer, binning, self.around.in_range, span)

    @property
    def _image(self) -> tuple[float, float]:
        """Where the outputs are, together; beyond is less than 1e-16 of any."""
        low, high = self.around.in_range
        weight, bias = self.layer.matrix(), self.layer.offsets()
        widths = np.abs(weight) * (high - low)
        reach = np.minimum(
            0.5 * widths.sum(axis=1), _REACH * np.sqrt((widths**2).sum(axis=1) / 12.0)
        )
        centre = bias + 0.5 * (low + high) * weight.sum(axis=1)
        held = bias[:, None] + self.around.held(weight)
        ends = [centre - reach, centre + reach]
        ends += [(held + weight * x).min(axis=1) for x in (low, high)]
        ends += [(held + weight * x).max(axis=1) for x in (low, high)]
        return _image_of(self.layer, np.min(ends, axis=0), np.max(ends, axis=0))

    def _kinks(self, which: Measure) -> Array | None:
        """Return the offsets at which an average over bins is not smooth; None if too many."""
        low, high = self.around.in_range
        weight, bias = self.layer.matrix(), self.layer.offsets()
        if which == "ei_parts" and ((weight != 0).sum(axis=1) > _FEW).any():
            return None
        shares = np.arange(self.around.in_bins + 1) / self.around.in_bins - 0.5
        middle = 0.5 * (low + high)
        found: set[float] = set()
        for b, row in enumerate(weight):
            some = np.flatnonzero(row)
            widths, held = np.abs(row) * (high - low), self.around.held(row)
            for a in some:
                if which == "ei_parts":
                    others = [widths[k] / 2 for k in some if k != a]
                    sums = [sum(s) for s in itertools.product(*((-w, w) for w in others))]
                    centre = bias[b] + middle * row.sum()
                else:
                    sums = [0.0]
                    centre = bias[b] + held[a] + middle * row[a]
                z = (centre + widths[a] * shares[:, None] + np.array(sums)).ravel()
                found |= self._offsets(b, z)
                if len(found) > _KINKS:
                    return None
        return np.array(sorted(found))

    def _offsets(self, b: int, z: Array) -> set[float]:
        """Return at which offsets an edge of a bin meets an output of these pre-activations."""
        kind = self.layer.activation
        f = kind.distinct[0 if kind.rule is None else int(kind.rule[b])]
        turns = [p.start for p in f.pieces_on(float(z.min()), float(z.max()))]
        inside = [s for s in turns if z.min() < s < z.max()]
        y = f(np.concatenate([z, inside]))
        return {round(float(u), 12) % 1.0 for u in (y - self.start) / self.width}

    def _average(self, at: Callable[[float], Array], kinks: Array | None) -> tuple[Array, float]:
        """Return the average over the offsets from 0 to 1, and how far it may be off."""
        if kinks is not None and len(kinks):
            # Of many fine bins an average is smooth, whatever a few of them do.
            many = len(kinks) * (_POINTS + _POINTS // 2) > 8 * _SOON
            mean, change = _doubled(at, _SOON, 3) if many else (np.zeros(0), math.inf)
            return (mean, change) if change < _SETTLED else _between_kinks(at, kinks)
        return _doubled(at, _LAST, 1)


def _doubled(at: Callable[[float], Array], most: int, times: int) -> tuple[Array, float]:
    """Average over evenly spaced offsets, twice as many until that changes little so many times.

    Returns the greatest of as many last changes beside it.
    """
    count, changes = _FIRST, [math.inf] * times
    total = np.sum([at(i / count) for i in range(count)], axis=0)
    mean = total / count
    while max(changes[-times:]) >= _SETTLED and count < most:
        total = total + np.sum([at((i + 0.5) / count) for i in range(count)], axis=0)
        count *= 2
        changes.append(float(np.abs(total / count - mean).max(initial=0.0)))
        mean = total / count
    return np.asarray(mean), max(changes[-times:])


def _between_kinks(at: Callable[[float], Array], kinks: Array) -> tuple[Array, float]:
    """Integrate from kink to kink, by a substitution that is flat at both.

    What is like ``x log x`` at an end becomes smooth enough for Gauss and Legendre. Half as many
    points tell how far that is off.
    """
    ends = np.append(kinks, kinks[0] + 1.0)
    results = []
    for points in (_POINTS // 2, _POINTS):
        x, weights = np.polynomial.legendre.leggauss(points)
        v = 0.5 * (x + 1.0)
        place = v**3 * (10.0 - 15.0 * v + 6.0 * v**2)
        share = 0.5 * weights * 30.0 * v**2 * (1.0 - v) ** 2
        results.append(
            sum(
                (high - low) * s * at(float(low + (high - low) * p) % 1.0)
                for low, high in itertools.pairwise(ends)
                for p, s in zip(place, share, strict=True)
            )
        )
    half, mean = results
    return np.asarray(mean), float(np.abs(np.asarray(mean - half)).max(initial=0.0))


def _image_of(layer: Layer, low: Array, high: Array) -> tuple[float, float]:
    least, greatest = layer.activation.images(low, high)
    return float(np.min(least)), float(np.max(greatest))
