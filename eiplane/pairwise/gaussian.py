r"""Edges of a layer whose outputs have Gaussian noise: ``y = f(W x + b) + e``, exactly.

With ``g`` the density of the noise, that of an output t given a bin of input A is the average of
``G_t(z) = g(t - f(z))`` over the other inputs and the bin. G is as smooth as f is, however wide or
narrow the inputs are. So expand it, not the law of z, in a Fourier series on a period that covers
the reach of z and fades out beside it: the average multiplies coefficient q by the characteristic
function of the inputs, a product of ``sinc``\ s. One input is left out by prefix and suffix
products. Coefficients are integrals over panels between the kinks of f; where f is the identity the
noise is one more factor. With one input alone the average over a bin is such an integral itself.
With a few the waves fade slowly, the more so where f has kinks; then G is interpolated on panels
between those, and its average is against the law of z, a polynomial in pieces (:mod:`.laws`).
Over t the densities are as smooth as the noise, and the trapezoidal rule converges faster than any
power.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..network import Activation
from ..run import stop_if_cancelled
from .laws import SumLaw, node_masses
from .panels import MOVED, NODES, nodes_of, panel_edges
from .surroundings import Surroundings

__all__ = ["GaussianRow", "gaussian_row"]

Array = NDArray[np.float64]

#: Points of t in a standard deviation, deviations beyond the range of f.
_FINE, _BEYOND = 12.0, 9.0
#: Standard deviations beyond which z is not: exp(-8.8**2 / 2) is 2e-17.
_REACH = 8.8
#: What the fade beside the reach is cut off at: erfc(5.6) is 2e-15.
_FADE = 5.6
#: Deviations by which f may move and tell nothing: below half their square, in nats.
_STILL = 1e-8
#: Waves that are tried, and what is left of the last of them to be enough.
_WAVES = {256: 1e-13, 1024: 1e-12}
#: By how much more the information is off, in bits; 170 was the most of 250 layers.
_LEFT_OUT = 500.0
#: Before that: one wave in so many, and at so many places of t, evenly and where the values are.
_FEW_WAVES, _FEW_PLACES = 8, 32
#: Inputs up to which the law of z is taken in pieces, of which there are 2**inputs.
_FEW = 7
#: Widths that are next to nothing beside all together.
_NOTHING = 1e-30
#: Largest table of t and z, and densities held at once.
_MOST, _BLOCK = 1 << 27, 1 << 21
#: Deviations beyond which noise adds no digit (exp(-10**2 / 2) is 2e-22), and t done at once.
_FAR, _ROWS = 10.0, 256
#: Waves where f is the identity; the last that noise lets through, in inverse deviations.
_LINEAR, _LAST = 8192, 8.3

_erfc = np.vectorize(math.erfc, otypes=[np.float64])


@dataclass(frozen=True, eq=False)
class GaussianRow:
    """What one output has, in bits.

    Parameters
    ----------
    information : ndarray of float64, shape (n_in,)
    marginal : float
        ``h(Y_B + e) - h(e)``: what all inputs tell of this output when they are not binned; 0 under
        sensitivity.
    bound : float
        How far the coarser of two grids of t is off, at most: the finer one is off by less.
    """

    information: Array
    marginal: float
    bound: float


def gaussian_row(
    around: Surroundings, f: Activation, std: float, weight: Array, bias: float, which: str
) -> GaussianRow:
    """Return one output of a layer.

    Parameters
    ----------
    around : Surroundings
    f : Activation
    std : float
    weight : ndarray of float64, shape (n_in,)
    bias : float
    which : {"ei_parts", "sensitivity"}

    Returns
    -------
    GaussianRow

    Raises
    ------
    ValueError
        If the noise is so little that this takes too much.
    """
    row = _Row(around, f, std, weight, bias)
    return row.parts() if which == "ei_parts" else row.sensitivity()


class _Row:
    """One output."""

    def __init__(
        self, around: Surroundings, f: Activation, std: float, weight: Array, bias: float
    ) -> None:
        self.f, self.std, self.bins = f, std, around.in_bins
        (self.low, self.high), self.held = around.in_range, around.held(weight)
        self.weight, self.bias = weight, bias
        self.widths = np.abs(weight) * (self.high - self.low)

    def parts(self) -> GaussianRow:
        """Return the information of every input with all perturbed."""
        information = np.zeros(len(self.weight))
        some = np.flatnonzero(self.widths > 0)
        if not len(some):
            return GaussianRow(information, 0.0, 0.0)
        widths = self.widths[some]
        centre = self.bias + 0.5 * (self.low + self.high) * float(self.weight.sum())
        reach = min(0.5 * float(widths.sum()), _REACH * math.hypot(*widths) / math.sqrt(12.0))
        if self._moves(centre, reach) <= _STILL * self.std:
            return GaussianRow(information, 0.0, _STILL**2)
        t, step = self._grid(centre - reach, centre + reach)
        if len(some) == 1:
            given = self._alone(t, centre, float(widths[0]))
            found, bound, marginal = _informations(given, step)
            information[some] = found
            return GaussianRow(information, marginal - self._own_entropy(), bound)
        if len(some) <= _FEW and not self._convolves(t, reach):
            found, bound, marginal = self._few(t, step, centre, widths)
            information[some] = found
            return GaussianRow(information, marginal - self._own_entropy(), bound)
        series = self._series(t, centre, reach, widths)
        mean = np.maximum(series.density(series.all_factors, np.zeros(1))[:, 0], 0.0)
        centres = (np.arange(self.bins) + 0.5) / self.bins - 0.5
        bound, marginal = series.doubt, 0.0
        each = max(1, _BLOCK // (len(t) * self.bins))
        for first in range(0, len(some), each):
            stop_if_cancelled()
            block = range(first, min(first + each, len(some)))
            given = np.stack([
                series.density(series.without(i, widths[i] / self.bins), widths[i] * centres)
                for i in block
            ])  # fmt: skip
            found, off, marginal = _informations(np.maximum(given, 0.0), step, mean)
            information[some[first : first + len(block)]] = found
            bound = max(bound, off + series.doubt)
        return GaussianRow(information, marginal - self._own_entropy(), bound)

    def sensitivity(self) -> GaussianRow:
        """Return the information of every input with the others held at the baseline."""
        information, bound = np.zeros(len(self.weight)), 0.0
        middle = 0.5 * (self.low + self.high)
        for i in np.flatnonzero(self.widths > 0):
            stop_if_cancelled()
            centre = self.bias + float(self.held[i]) + float(self.weight[i]) * middle
            half = 0.5 * float(self.widths[i])
            if self._moves(centre, half) <= _STILL * self.std:
                bound = max(bound, _STILL**2)
                continue
            t, step = self._grid(centre - half, centre + half)
            given = self._alone(t, centre, float(self.widths[i]))
            found, off, _ = _informations(given, step)
            information[i] = found[0]
            bound = max(bound, off)
        return GaussianRow(information, 0.0, bound)

    def _own_entropy(self) -> float:
        return 0.5 * math.log2(2.0 * math.pi * math.e * self.std**2)

    def _moves(self, centre: float, reach: float) -> float:
        """Return by how much f changes."""
        least, greatest = self.f.image(centre - reach, centre + reach)
        return float(greatest - least)

    def _grid(self, low: float, high: float) -> tuple[Array, float]:
        """Return places of t, evenly spaced, around what f reaches."""
        least, greatest = self.f.image(low, high)
        step = self.std / _FINE
        count = math.ceil((greatest - least) / step + 2.0 * _BEYOND * _FINE) + 1
        if count > 1 << 17:
            raise ValueError(
                f"Gaussian noise of {self.std:g} is too little for outputs from {least:.4g} to "
                f"{greatest:.4g}; take more, or noise='dither'"
            )
        return np.asarray(least - _BEYOND * self.std + step * np.arange(count)), step

    def _kinks(self, low: float, high: float) -> Array:
        """Return where pieces of f meet."""
        starts = [piece.start for piece in self.f.pieces_on(low, high)]
        return np.array([s for s in starts if low < s < high])

    def _convolves(self, t: Array, reach: float) -> bool:
        """Whether noise is but one more factor of few enough waves."""
        waves = 2.0 * (reach + _BEYOND * self.std) * _LAST / (2.0 * math.pi * self.std)
        return self.f.kind == "identity" and max(waves, 64.0) * len(t) < _MOST / 16

    def _fade(self, centre: float, reach: float) -> float:
        """Return over what the expansion of f fades out, beside the reach of z."""
        return max(reach, 4.0 * self._scale(centre - reach, centre + reach))

    def _scale(self, low: float, high: float) -> float:
        """Return how far z moves while f moves by one deviation, at least, jumps left out."""
        z = np.linspace(low, high, 2049)
        moved = np.abs(np.diff(self.f(z)))
        moved[np.clip(np.searchsorted(z, self._kinks(low, high)) - 1, 0, 2047)] = 0.0
        steepest = float(moved.max()) / (z[1] - z[0])
        return min(self.std / steepest, high - low) if steepest > 0 else high - low

    def _smeared(self, t: Array, y: Array, mass: Array) -> Array:
        """Return the noise about values y that have masses, at every t.

        Masses are (y, k), the result is (t, k). What is too far from a t to add a digit is left
        out: t goes on evenly, so that where noise is narrow a block of it needs few y.
        """
        found = np.empty((len(t), mass.shape[1]))
        far, whole = _FAR * self.std, len(t) * len(y) <= _BLOCK
        step = len(t) if whole else max(1, min(_ROWS, _BLOCK // len(y)))
        for first in range(0, len(t), step):
            stop_if_cancelled()
            some = slice(first, first + step)
            near = slice(None) if whole else (y > t[some][0] - far) & (y < t[some][-1] + far)
            u = (t[some, None] - y[near]) / self.std
            found[some] = np.exp(-0.5 * u * u) @ mass[near]
        return found / (self.std * math.sqrt(2.0 * math.pi))

    def _about(self, centre: float, unit: float) -> tuple[Callable[[Array], Array], Array]:
        """Return f about a place in some unit, and its kinks within one of them.

        However narrow the inputs are, places about the centre are told apart.
        """
        kinks = (self._kinks(centre - unit, centre + unit) - centre) / unit
        return lambda v: self.f(centre + unit * v), kinks

    def _alone(self, t: Array, centre: float, width: float) -> Array:
        """Return densities given each bin of a single input; shape (1, t, bins)."""
        f, kinks = self._about(centre, width)
        edges = np.arange(self.bins + 1) / self.bins - 0.5
        kinks = kinks[np.abs(kinks) < 0.5]
        v, weights = nodes_of(panel_edges(f, np.append(edges, kinks), self.std))
        at = np.minimum(np.searchsorted(edges[1:-1], v, side="right"), self.bins - 1)
        mass = np.zeros((len(v), self.bins))
        mass[np.arange(len(v)), at] = weights * self.bins
        return self._smeared(t, f(v), mass)[None]

    def _few(
        self, t: Array, step: float, centre: float, widths: Array
    ) -> tuple[Array, float, float]:
        """Return the information of a few inputs, its doubt, and the output's entropy."""
        half = 0.5 * float(widths.sum())
        f, kinks = self._about(centre, half)
        widths = widths / half
        edges = panel_edges(f, np.concatenate([[-1.0], kinks, [1.0]]), self.std)
        y = f(nodes_of(edges)[0])
        places = (np.arange(self.bins) + 0.5) / self.bins - 0.5

        def law(parts: Array) -> SumLaw:
            return SumLaw.of(parts[parts > _NOTHING])

        own = node_masses(law(widths), np.zeros(1), edges)
        mean = np.maximum(self._smeared(t, y, own)[:, 0], 0.0)
        information, bound, marginal = np.zeros(len(widths)), 0.0, 0.0
        each = max(1, _BLOCK // (len(t) * self.bins))
        for first in range(0, len(widths), each):
            stop_if_cancelled()
            block = range(first, min(first + each, len(widths)))
            masses = [
                node_masses(
                    law(np.append(np.delete(widths, i), widths[i] / self.bins)),
                    widths[i] * places,
                    edges,
                )
                for i in block
            ]
            given = self._smeared(t, y, np.concatenate(masses, axis=1))
            given = np.maximum(given, 0.0).reshape(len(t), len(block), self.bins)
            found, off, marginal = _informations(given.transpose(1, 0, 2), step, mean)
            information[list(block)] = found
            bound = max(bound, off)
        return information, bound, marginal

    def _series(self, t: Array, centre: float, reach: float, widths: Array) -> _Series:
        if self.f.kind == "identity":
            return self._convolved(t, centre, reach, widths)
        if self.f.interval is not None:
            raise ValueError("Gaussian noise needs a function that is defined everywhere")
        fade = self._fade(centre, reach)
        period = 2.0 * (reach + fade)
        ends = np.array([centre - reach - fade, centre + reach + fade])
        cuts = np.append(ends, self._kinks(*map(float, ends)))
        for waves, enough in _WAVES.items():
            series = _Series(2.0 * math.pi / period, waves, widths)
            there = np.flatnonzero(np.abs(series.greatest(self.bins)) > 1e-17)
            series.cut(int(there[-1]) + 1)
            longest = min(8.0 / float(series.frequency[-1]), fade / 4.0)
            panels = self._moves(centre, reach + fade) / (MOVED * self.std)
            if max(len(t), 4 * waves) * NODES * panels > _MOST:
                break
            z, weights = nodes_of(panel_edges(self.f, cuts, self.std, longest))
            if max(len(t), 4 * waves) * len(z) > _MOST:
                break
            y = self.f(z)
            far = (np.abs(z - centre) - reach) / fade
            weights = weights * 0.5 * _erfc(_FADE * (2.0 * np.maximum(far, 0.0) - 1.0)) / period
            if len(series.frequency) > waves and self._wants_more(
                series, t, z - centre, y, weights, enough
            ):
                continue
            phase = np.outer(z - centre, series.frequency)
            real, imaginary = weights[:, None] * np.cos(phase), weights[:, None] * np.sin(phase)
            both = self._smeared(t, y, np.concatenate([real, imaginary], axis=1))
            series.real, series.imaginary = np.split(both, 2, axis=1)
            size = np.abs(series.real).max(axis=0) + np.abs(series.imaginary).max(axis=0)
            left = size * np.abs(series.greatest(self.bins))
            rest = 0.0 if len(left) <= waves else float(left[-waves // 8 :].max() / left.max())
            if rest < 8.0 * enough:
                series.doubt = _LEFT_OUT * rest
                return series.cut(int(np.flatnonzero(left >= 1e-15 * left.max())[-1]) + 1)
        raise ValueError(
            f"Gaussian noise of {self.std:g} is too little for so few inputs, so wide weights or a "
            "function that jumps; take more, or noise='dither'"
        )

    def _wants_more(
        self,
        series: _Series,
        t: Array,
        apart: Array,
        y: Array,
        weights: Array,
        enough: float,
    ) -> bool:
        """Whether the last waves are too great, as a few of them say at a few places of t.

        They are no greater than at all places, and no wave is greater than all of it at once.
        """
        last = slice(-len(series.frequency) // 8, None, _FEW_WAVES)
        phase = np.outer(apart, series.frequency[last])
        masses = weights[:, None] * np.concatenate([np.cos(phase), np.sin(phase)], axis=1)
        share = np.cumsum(weights) / weights.sum()
        some = y[np.searchsorted(share, (np.arange(_FEW_PLACES) + 0.5) / _FEW_PLACES)]
        at = np.searchsorted(t, some).clip(max=len(t) - 1)
        at = np.unique([*at, *range(0, len(t), max(1, len(t) // _FEW_PLACES))])
        both = np.abs(self._smeared(t[at], y, masses)).max(axis=0)
        size = both[: phase.shape[1]] + both[phase.shape[1] :]
        left = size * np.abs(series.greatest(self.bins)[last])
        most = 2.0 * float(weights.sum()) / (self.std * math.sqrt(2.0 * math.pi))
        return bool(left.max() >= enough * most)

    def _convolved(self, t: Array, centre: float, reach: float, widths: Array) -> _Series:
        """Return the series where f is the identity: noise is one more factor."""
        period = 2.0 * (reach + _BEYOND * self.std) + float(t[-1] - t[0]) / len(t)
        waves = min(math.ceil(period * _LAST / (2.0 * math.pi * self.std)), _LINEAR)
        series = _Series(2.0 * math.pi / period, waves, widths)
        factor = np.exp(-0.5 * (self.std * series.frequency) ** 2)
        left = factor * np.abs(series.greatest(self.bins))
        count = int(np.flatnonzero(left > 1e-16)[-1]) + 1
        if count > _LINEAR or count * len(t) > _MOST:
            raise ValueError(f"Gaussian noise of {self.std:g} is too little; take noise='dither'")
        series.cut(count)
        phase = np.outer(t - centre, series.frequency)
        series.real = np.cos(phase) * (factor[:count] / period)
        series.imaginary = np.sin(phase) * (factor[:count] / period)
        return series


class _Series:
    """Fourier coefficients of the noise about f, and the factors of the inputs.

    A density is ``sum over q of factor_q (real_q cos(w_q d) + imaginary_q sin(w_q d))``, d how far
    the centre is moved, each wave but the first counted twice. ``doubt`` is how far the information
    is off for want of more waves, in bits.
    """

    def __init__(self, step: float, waves: int, widths: Array) -> None:
        frequency: Array = step * np.arange(waves + 1.0)
        self.frequency, self.widths = frequency, widths
        self.real: Array = np.empty((0, 0))
        self.imaginary: Array = np.empty((0, 0))
        self.doubt = 0.0
        factors = np.sinc(np.outer(widths, frequency) / (2.0 * math.pi))
        ones = np.ones((1, len(frequency)))
        self._before = np.cumprod(np.concatenate([ones, factors]), axis=0)
        self._after = np.cumprod(np.concatenate([ones, factors[::-1]]), axis=0)[::-1]

    @property
    def all_factors(self) -> Array:
        """The characteristic function of all inputs."""
        return np.asarray(self._before[-1])

    def without(self, i: int, width: float) -> Array:
        """Return it with one input's width another."""
        own = np.sinc(self.frequency * width / (2.0 * math.pi))
        return np.asarray(self._before[i] * self._after[i + 1] * own)

    def greatest(self, bins: int) -> Array:
        """Return a bound of every factor that is used: the widest input confined to a bin."""
        found = np.abs(self.all_factors)
        for i in np.argsort(self.widths)[-8:]:
            found = np.maximum(found, np.abs(self.without(int(i), self.widths[i] / bins)))
        return found

    def cut(self, waves: int) -> _Series:
        """Return the same with fewer waves."""
        self.frequency = self.frequency[:waves]
        self._before, self._after = self._before[:, :waves], self._after[:, :waves]
        if self.real.size:
            self.real, self.imaginary = self.real[:, :waves], self.imaginary[:, :waves]
        return self

    def density(self, factors: Array, moved: Array) -> Array:
        """Return densities at every t, the centre moved; shape (t, moved)."""
        factors = factors * np.where(np.arange(len(factors)) > 0, 2.0, 1.0)
        phase = np.outer(self.frequency, moved)
        both = self.real @ (factors[:, None] * np.cos(phase))
        return np.asarray(both + self.imaginary @ (factors[:, None] * np.sin(phase)))


def _entropy(density: Array, step: float, axis: int) -> tuple[Array, Array]:
    """Return the entropy, and how far half as many points are off."""
    terms = -density * np.log2(density, out=np.zeros_like(density), where=density > 0)
    whole = step * terms.sum(axis=axis)
    half = 2.0 * step * np.take(terms, np.arange(0, density.shape[axis], 2), axis).sum(axis=axis)
    return whole, np.abs(whole - half)


def _informations(
    given: Array, step: float, mean: Array | None = None
) -> tuple[Array, float, float]:
    """Return the information of edges, its doubt, and the output's entropy.

    ``given`` are densities given each bin; shape (edges, t, bins).
    """
    inside, off = _entropy(given, step, 1)
    outer, outer_off = _entropy(given.mean(axis=2) if mean is None else mean[None], step, 1)
    found = np.maximum(outer - inside.mean(axis=1), 0.0)
    doubt = float(off.max(initial=0.0) + outer_off.max())
    return found, doubt, float(outer[0])
