"""Volumes of polytopes by the core: the problem that all units of work share, and its samples."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .. import _core
from ..network import Channel
from ..run import cancel_flag
from .polytopes import Constraints, Directions, Labels, Unions, directions, unions

__all__ = [
    "FILTERED",
    "GROUP",
    "LIKELIER",
    "SHARE",
    "FilterUnit",
    "Problem",
    "Samples",
    "Settings",
    "draw_samples",
    "log_volumes",
    "problem",
    "propagated",
]

Array = NDArray[np.float64]

#: Purpose of the random numbers.
FILTERED = 12

#: Samples whose random numbers are drawn together.
GROUP = 64

#: Bits by which a computed probability may be above 1, or below one that hardly ever is drawn.
_ABOVE, _BELOW = 2.0, 64.0

#: The share of the correction that is taken: over layers of 2 to 6 inputs and 6 to 40 outputs the
#: evidence without it was too great by 0.70 to 0.92 of it.
SHARE = 0.8

#: Bits by which a correction may make an output vector likelier. Pairs of many outputs of three or
#: four inputs overlap: there it was up to 1.5, and wrong; else 0.1 at most.
LIKELIER = 0.05


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
    known, apart : Directions
        The outputs of one direction put together, which takes one interval each; and put together
        only where all labels are intervals.
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
    apart: Directions
    unions: tuple[Unions, ...]
    rule: NDArray[np.intp]
    marginals: Array | None = None
    influence: bool = True
    settings: Settings = Settings()

    @property
    def pieces(self) -> int:
        """Intervals of a label, at most."""
        return max(u.pieces for u in self.unions)

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
        lo = np.full((labels.shape[0], self.pieces, labels.shape[1]), np.inf)
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
    known = apart = directions(channel, True)
    if any(u.pieces > 1 for u in rules):
        apart = directions(channel, False)
    return Problem(channel, given, wanted, key, known, apart, rules, rule, marginals, influence)


@dataclass(frozen=True, eq=False)
class FilterUnit:
    """Samples ``first`` to ``first + count`` of a problem.

    Every ``every``-th one is corrected; ``branches``: how many branches of a sample are kept
    (:mod:`.branches`).
    """

    problem: Problem
    first: int
    count: int
    every: int = 1
    branches: int = 64

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
    values : ndarray of float64, shape (n_out, kept)
        Their z.
    index : ndarray of int, shape (kept,)
        Which samples are kept.
    outside : int
        Samples of which any output lies outside its range.
    """

    cell: Array
    bins: NDArray[np.int64]
    labels: NDArray[np.intp]
    values: Array
    index: NDArray[np.intp]
    outside: int

    def known_by(self, p: Problem) -> NDArray[np.intp]:
        """Return what is known of the outputs: labels, or that they are kept; (kept, n_out)."""
        labels = np.ascontiguousarray(self.labels.T)
        return labels if p.wanted.all() else np.where(p.wanted, labels, p.channel.out_bins)

    def places(self, directions: Directions) -> Array:
        """Return ``d . u`` in the middle of the samples' cells, (kept, directions)."""
        found = _core.affine(directions.unit, np.zeros(len(directions.unit)), self.cell)
        return np.ascontiguousarray(found.T)

    def branches(self, p: Problem, labels: NDArray[np.intp], within: bool) -> Labels:
        """Return labels, (kept, n_out), and the branch that every sample is in.

        Parameters
        ----------
        p : Problem
        labels : ndarray of int, shape (kept, n_out)
        within : bool
            Whether in the cell of the sample, or anywhere.
        """
        lo, hi = p.limits(labels)
        own = np.zeros(labels.shape, np.intp)
        if p.pieces > 1:
            z = self.values.T[:, None, :]
            own = ((lo <= z) & (z < hi)).argmax(axis=1)
        if within:
            return Labels(lo, hi, own, self.places(p.known), p.width)
        everywhere = np.zeros((len(labels), len(p.known.rows)))
        return Labels(lo, hi, own, everywhere, np.ones(p.channel.n_in))


def draw_samples(unit: FilterUnit, purpose: int) -> Samples:
    """Draw the samples of a unit."""
    p, channel = unit.problem, unit.problem.channel
    start = unit.first // GROUP * GROUP
    here = slice(unit.first - start, unit.first - start + unit.count)
    whole = -(-here.stop // GROUP) * GROUP  # the core draws whole groups
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
        z[:, kept],
        unit.first + np.flatnonzero(kept),
        int(outside.sum()),
    )


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
    one = limits.in_lo.shape[0], len(limits.weight)  # an interval of each
    found = _core.wide_run(
        settings,
        limits.weight,
        limits.in_lo,
        limits.in_hi,
        limits.out_lo.reshape(one),
        limits.out_hi.reshape(one),
        correct.astype(np.uint8),
        stream,
        cancel_flag(),
    )
    evidence, correction, change, *_ = found
    # What went astray may say that it settled, and would outweigh all others.
    astray = ~p.possible(evidence) | ~p.possible(-np.abs(correction))
    evidence[astray] = correction[astray] = np.nan
    return found, astray | ~(np.abs(change) < settings.tolerance)


def log_volumes(p: Problem, limits: Constraints) -> tuple[Array, Array]:
    """Return the logarithms of volumes, corrected, in nats, and what they tell of the inputs.

    Parameters
    ----------
    p : Problem
    limits : Constraints

    Returns
    -------
    logarithms : ndarray of float64, shape (volumes,)
        Minus infinity where a volume does not settle.
    cavities : ndarray of float64, shape (2, volumes, n_in)
        h and l of ``exp(h u - l u^2 / 2)``.
    """
    count = len(limits.in_lo)
    found, bad = propagated(p, p.settings, limits, np.ones(count, bool), np.zeros(count, np.uint32))
    evidence, correction, _, _, linear, square = found
    logs = evidence + SHARE * np.minimum(correction, LIKELIER * math.log(2.0))
    return np.where(bad, -np.inf, logs), np.stack([linear, square])
