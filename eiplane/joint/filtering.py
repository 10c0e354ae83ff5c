"""The probabilities of samples' outputs, by expectation propagation: one unit of work of it.

For a sample (x, y): ``log2 p(y)``, ``log2 p(y | cell of x)`` and, where samples are dropped, ``log2
p(kept | cell)``, each the volume of a polytope (:mod:`.polytopes`), approximated by the core.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .. import _core
from ..network import Channel
from ..run import cancel_flag
from .polytopes import Constraints, Directions, Unions, constraints, directions, unions

__all__ = [
    "FILTERED",
    "FilterUnit",
    "Filtered",
    "Problem",
    "Samples",
    "draw_samples",
    "filter_unit",
    "problem",
    "propagated",
]

Array = NDArray[np.float64]

#: Purpose of the random numbers.
FILTERED = 12

#: Nodes within an input's bin, for what the outputs tell of it.
_NODES = np.polynomial.legendre.leggauss(6)

_GROUP = 64

#: Bits by which a computed probability may be above 1, or below one that hardly ever is drawn.
_ABOVE, _BELOW = 2.0, 64.0


@dataclass(frozen=True)
class Settings:
    """How the core iterates, and cools; see csrc/joint/ei_wide.h."""

    iterations: int = 24
    damping: float = 0.8
    tolerance: float = 1e-3
    sweeps: int = 0
    by_inputs: bool = False
    key: int = 0
    purpose: int = 0


@dataclass(frozen=True, eq=False)
class Problem:
    """What all units share.

    Parameters
    ----------
    channel : Channel
    given : ndarray of bool, shape (n_in,)
        The inputs that count.
    wanted : ndarray of bool, shape (n_out,)
        The outputs that count; of the others it matters whether they are kept.
    key : int
    known : Directions
    unions : tuple of Unions
        Of every rule of thresholds.
    rule : ndarray of int, shape (n_out,)
    marginals : ndarray of float64, shape (n_out, out_bins), or None
        The outputs' distributions, where they are known.
    influence : bool
        Whether it is wanted what the outputs tell of single inputs.
    settings : Settings
    """

    channel: Channel
    given: NDArray[np.bool_]
    wanted: NDArray[np.bool_]
    key: int
    known: Directions
    unions: tuple[Unions, ...]
    rule: NDArray[np.intp]
    marginals: Array | None = None
    influence: bool = True
    settings: Settings = Settings()

    @property
    def width(self) -> Array:
        """Of the cells, by the unit inputs."""
        return np.where(self.given, 1.0 / self.channel.in_bins, 1.0)

    def possible(self, evidence: Array) -> NDArray[np.bool_]:
        """Return which logarithms may be those of a drawn output's probability.

        Of N outputs those whose probability is below ``2**-t / N`` are drawn with one below
        ``2**-t``.
        """
        least = _BELOW + self.channel.n_out * math.log2(self.channel.out_bins)
        return (evidence > -least * math.log(2.0)) & (evidence < _ABOVE * math.log(2.0))

    def limits(self, labels: NDArray[np.intp]) -> tuple[Array, Array]:
        """Return the intervals of labels (samples, n_out), as (samples, pieces, n_out) each."""
        pieces = max(u.pieces for u in self.unions)
        lo = np.full((labels.shape[0], pieces, labels.shape[1]), np.inf)
        hi = -lo
        for i, u in enumerate(self.unions):
            at = self.rule == i
            lo[:, : u.pieces, at] = u.lo[labels[:, at]].transpose(0, 2, 1)
            hi[:, : u.pieces, at] = u.hi[labels[:, at]].transpose(0, 2, 1)
        return lo, hi


def problem(
    channel: Channel,
    given: NDArray[np.bool_],
    wanted: NDArray[np.bool_],
    key: int,
    marginals: Array | None = None,
    influence: bool = True,
) -> Problem:
    """Return the problem of a channel without stages."""
    rules = tuple(unions(r.thresholds, r.labels, channel.out_bins) for r in channel.rules)
    rule = (
        np.zeros(channel.n_out, np.intp) if channel.rule is None else channel.rule.astype(np.intp)
    )
    merge = all(u.pieces == 1 for u in rules)
    known = directions(channel, merge)
    return Problem(channel, given, wanted, key, known, rules, rule, marginals, influence)


@dataclass(frozen=True, eq=False)
class FilterUnit:
    """Samples ``first`` to ``first + count`` of a problem.

    Every ``every``-th one is corrected.
    """

    problem: Problem
    first: int
    count: int
    every: int = 1

    @property
    def where(self) -> str:
        """Which unit this is, for errors."""
        return f"samples {self.first}..{self.first + self.count - 1}"


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples of a problem, those that are kept.

    Parameters
    ----------
    cell : ndarray of float64, shape (n_in, kept)
        The middle of the cell, by the unit inputs: of free inputs 0.
    bins : ndarray of int64, shape (n_in, kept)
        Of the inputs.
    labels : ndarray of int, shape (n_out, kept)
        Of the outputs.
    outside : int
        Samples of which any output lies outside its range.
    """

    cell: Array
    bins: NDArray[np.int64]
    labels: NDArray[np.intp]
    index: NDArray[np.intp]
    outside: int

    def known_by(self, p: Problem) -> NDArray[np.intp]:
        """Return what is known of the outputs: labels, or that they are kept; (kept, n_out)."""
        labels = np.ascontiguousarray(self.labels.T)
        return labels if p.wanted.all() else np.where(p.wanted, labels, p.channel.out_bins)

    def places(self, p: Problem) -> Array:
        """Return ``d . u`` in the middle of the samples' cells, (kept, directions)."""
        found = _core.affine(p.known.unit, np.zeros(len(p.known.unit)), self.cell)
        return np.ascontiguousarray(found.T)


def draw_samples(unit: FilterUnit, purpose: int) -> Samples:
    """Draw the samples of a unit."""
    p, channel = unit.problem, unit.problem.channel
    start = unit.first // _GROUP * _GROUP
    here = slice(unit.first - start, unit.first - start + unit.count)
    whole = -(-here.stop // _GROUP) * _GROUP  # the core draws whole groups
    draws = np.stack(
        [_core.draw(p.key, purpose, k, start, whole)[here] for k in range(channel.n_in)]
    )
    x = channel.in_lo + (draws + 0.5) * ((channel.in_hi - channel.in_lo) / 4294967296.0)
    bins = (draws.astype(np.int64) * channel.in_bins) >> 32
    z = _core.affine(channel.weight, channel.bias, np.ascontiguousarray(x))
    labels, outside = channel.bins_of(z), channel.outside_of(z).any(axis=0)
    kept = (labels >= 0).all(axis=0)
    cell = np.where(p.given[:, None], (bins + 0.5) / channel.in_bins - 0.5, 0.0)
    return Samples(
        np.ascontiguousarray(cell[:, kept]),
        bins[:, kept],
        labels[:, kept].astype(np.intp),
        unit.first + np.flatnonzero(kept),
        int(outside.sum()),
    )


@dataclass(frozen=True, eq=False)
class Filtered:
    """Filtered samples, those kept; logarithms are in bits.

    Parameters
    ----------
    output, within, kept : ndarray of float64, shape (kept, 2)
        ``-log2`` of ``p(y)``, of ``p(y | cell)``, of ``p(kept | cell)`` (0 without drops): without
        the correction, and the correction.
    corrected : ndarray of bool, shape (kept,)
        Which have been corrected.
    unsettled : int
        Evidences that did not settle.
    posterior : ndarray of float64, shape (kept, n_in, 2)
        ``log2 p(bin of x_A | y) in_bins``, and its expectation over the bins, given y; n_in 0
        unless wanted.
    """

    output: Array
    within: Array
    kept: Array
    corrected: NDArray[np.bool_]
    unsettled: int
    posterior: Array


def filter_unit(unit: FilterUnit) -> Filtered:
    """Filter the samples of a unit."""
    p, samples = unit.problem, draw_samples(unit, FILTERED)
    labels, bins = samples.known_by(p), p.channel.out_bins
    count = len(labels)
    correct = samples.index % unit.every == 0
    whole, everywhere = np.ones(p.channel.n_in), np.zeros((count, len(p.known.rows)))
    lo, hi = p.limits(labels)
    first, unsettled, cavities, limits = _evidence(p, lo, hi, everywhere, whole, correct)
    posterior = np.empty((count, 0, 2))
    if p.influence:
        posterior = _posterior(p.channel.in_bins, samples.bins.T, cavities, limits)
    place = samples.places(p)
    second, more, *_ = _evidence(p, lo, hi, place, p.width, correct)
    third = np.zeros((count, 2))
    if p.channel.drops:
        lo, hi = p.limits(np.full_like(labels, bins))
        third, again, *_ = _evidence(p, lo, hi, place, p.width, correct)
        more += again
    return Filtered(first, second, third, correct, unsettled + more, posterior)


def _evidence(
    p: Problem,
    lo: Array,
    hi: Array,
    place: Array,
    width: Array,
    correct: NDArray[np.bool_],
) -> tuple[Array, int, Array, tuple[Array, Array]]:
    c = constraints(p.known, lo, hi, place, width)
    found, bad = propagated(p, p.settings, c, correct, np.zeros(len(correct), np.uint32))
    evidence, correction, _, _, linear, square = found
    bits = -np.stack([evidence, correction], axis=1) / math.log(2.0)
    return bits, int(bad.sum()), np.stack([linear, square]), (c.in_lo, c.in_hi)


def propagated(
    p: Problem,
    settings: Settings,
    limits: Constraints,
    correct: NDArray[np.bool_],
    stream: NDArray[np.uint32],
) -> tuple[tuple[Array, ...], NDArray[np.bool_]]:
    """Return what the core finds of samples, and for which of them it did not settle.

    Parameters
    ----------
    p : Problem
    settings : Settings
    limits : Constraints
        Of the samples.
    correct : ndarray of bool, shape (samples,)
        Whose correction is wanted.
    stream : ndarray of uint32, shape (samples,)
        Of random numbers, for cooling.
    """
    found = _core.wide_run(
        settings,
        limits.weight,
        limits.in_lo,
        limits.in_hi,
        limits.out_lo,
        limits.out_hi,
        correct.astype(np.uint8),
        stream,
        cancel_flag(),
    )
    evidence, correction, change, *_ = found
    # What went astray may say that it settled, and would outweigh all others.
    astray = ~p.possible(evidence) | ~p.possible(-np.abs(correction))
    evidence[astray] = correction[astray] = np.nan
    return found, astray | ~(np.abs(change) < settings.tolerance)


def _posterior(
    in_bins: int, own: NDArray[np.int64], cavities: Array, limits: tuple[Array, Array]
) -> Array:
    """Return what the outputs tell of every input's bin: ``exp(h u - l u^2 / 2)`` inside limits."""
    edges = np.arange(in_bins + 1) / in_bins - 0.5
    result = np.empty((*own.shape, 2))
    for s in range(len(own)):  # a sample at a time: bins times nodes are many
        lo = np.clip(edges[:-1], limits[0][s][:, None], limits[1][s][:, None])
        hi = np.clip(edges[1:], limits[0][s][:, None], limits[1][s][:, None])
        u = 0.5 * ((lo + hi)[..., None] + (hi - lo)[..., None] * _NODES[0])
        linear, square = cavities[:, s, :, None, None]
        exponent = u * (linear - 0.5 * square * u)
        exponent -= exponent.max(axis=(1, 2), keepdims=True)
        mass = ((hi - lo)[..., None] * np.exp(exponent) * _NODES[1]).sum(axis=2)
        share = mass / mass.sum(axis=1, keepdims=True)
        logs = np.log2(np.maximum(share, 1e-12) * in_bins)
        result[s, :, 0] = np.take_along_axis(logs, own[s][:, None], axis=1)[:, 0]
        result[s, :, 1] = (share * logs).sum(axis=1)
    return result
