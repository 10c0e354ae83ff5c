"""The entropy of the outputs within cells of the inputs, averaged over the cells.

For a distribution p the entropy in nats is ``sum over k >= 1 of r(k) / k`` with ``r(k) = sum p (1
- p)**k``, the chance that a draw is new after k draws. From K draws every r(k) with k < K has an
unbiased estimate (Z. Zhang, *Entropy estimation in Turing's perspective*, Neural Computation
24(5), 1368-1389, 2012; the estimate of Chao, Wang and Jost is this sum and a guess at its tail).
So the average over cells is summed in octaves of k: many cells of few draws give the first ones,
fewer and fewer cells of ever more draws give the later ones, which are small and vary little
(multilevel Monte Carlo: M. B. Giles, Acta Numerica 24, 259-328, 2015). Nothing is biased but the
tail beyond the last octave: octaves come to fall by about half each, and are carried on as they
fell.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .. import _core
from ..network import Channel
from ..run import Runner, cancel_flag

__all__ = [
    "CellEntropy",
    "Cells",
    "Design",
    "Drawn",
    "Group",
    "combine_cells",
    "design",
    "measure_cells",
    "octave_gains",
]

Array = NDArray[np.float64]

#: Draws of the smallest and of the largest cells.
_FEWEST, _MOST = 32, 4096
#: Largest cells must be at least so many, for an error that means something.
_LEAST_CELLS = 16
#: The tail is known to about this share of it (measured: octaves fall by 0.42 to 0.6 each, and by a
#: little less than the ones before).
_TAIL_ERROR = 0.15
_RATIO, _RATIOS = 0.5, (0.25, 0.75)
#: Bits by which an unseen kind of cell may differ.
_SURPRISE = 0.15
#: With drops: how many draws a kept one may cost.
_ATTEMPTS = 1024
#: Cells of one unit times draws.
_UNIT = 1 << 17


@lru_cache(maxsize=16)
def octave_gains(draws: int) -> Array:
    """Return what one more occurrence of a value adds to the entropy's octaves.

    Parameters
    ----------
    draws : int
        K, a power of two, at least 32.

    Returns
    -------
    ndarray of float64, shape (octaves, K)
        In bits: entry (l, c) is the gain of octave l when a value's count goes from c to c + 1.
        Octave 0 is ``1 <= k < 16``, octave l > 0 is ``2**(l + 3) <= k < 2**(l + 4)``. The estimate
        of ``r(k)`` from K draws is ``sum over values of n / K * C(K - n, k) / C(K - 1, k)``.
    """
    n = np.arange(1.0, draws + 1.0)
    octaves = np.zeros((draws.bit_length() - 4, draws + 1))
    # C(K - n, k) / C(K - 1, k), from one k to the next.
    ratio = np.ones(draws)
    for k in range(1, draws):
        alive = ratio[: draws - k + 1]
        alive *= np.maximum(draws - n[: len(alive)] - k + 1.0, 0.0) / (draws - k)
        octave = max(0, k.bit_length() - 4)
        octaves[octave, 1 : len(alive) + 1] += n[: len(alive)] / draws * alive / k
    gains = np.ascontiguousarray(np.diff(octaves, axis=1) / np.log(2.0))
    gains.flags.writeable = False
    return gains


@dataclass(frozen=True)
class Group:
    """Cells of one number of draws, of which the number of the cell decides some inputs' bins."""

    draws: int
    cells: int
    strata: int

    @property
    def cost(self) -> int:
        """Evaluations, if nothing is dropped."""
        return self.draws * self.cells


@dataclass(frozen=True)
class Design:
    """How many cells of how many draws.

    Parameters
    ----------
    groups : tuple of Group
        From the smallest cells to the largest.
    """

    groups: tuple[Group, ...]

    @property
    def cost(self) -> int:
        """Evaluations, if nothing is dropped."""
        return sum(group.cost for group in self.groups)


def design(budget: int, in_bins: int, given: int, stratified: bool = True) -> Design:
    """Return cells for a number of evaluations.

    Parameters
    ----------
    budget : int
        Evaluations.
    in_bins, given : int
        Bins of an input, number of inputs that a cell decides.
    stratified : bool
        Whether the number of the cell may decide bins, so that they are visited evenly.

    Returns
    -------
    Design
        The number of cells falls as the power -1.5 of their draws, the best where the variance of
        an octave falls as the square and its cost rises as the first power.
    """
    top = 0
    while _FEWEST << (top + 1) <= _MOST and _cells(budget, top + 1)[-1] >= _LEAST_CELLS:
        top += 1
    groups = []
    for level, cells in enumerate(_cells(budget, top)):
        strata = 0
        while stratified and strata < given and in_bins ** (strata + 1) <= cells // 2:
            strata += 1
        whole = in_bins**strata
        groups.append(Group(_FEWEST << level, max(2, cells // whole * whole), strata))
    return Design(tuple(groups))


def _cells(budget: int, top: int) -> list[int]:
    """Return the numbers of cells of every size, up to ``_FEWEST << top`` draws."""
    shape = np.array([2.0 ** (-1.5 * level) for level in range(top + 1)])
    own = shape - np.append(shape[1:], 0.0)  # cells of just this size
    cost = float((own * (_FEWEST << np.arange(top + 1))).sum())
    return [max(2, int(budget / cost * share)) for share in own]


@dataclass(frozen=True)
class Cells:
    """What cells to draw in.

    Parameters
    ----------
    key, purpose : int
        Of the random numbers; purposes from this one on are taken.
    given : tuple of int
        Inputs whose bins make a cell; in the order in which strata are made of them.
    outputs : tuple of int
        Rows of the output vector: n_in + o for output o.
    """

    key: int
    purpose: int
    given: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class CellUnit:
    """Some cells of a group."""

    channel: Channel
    cells: Cells
    group: Group
    number: int
    first: int
    count: int
    each: bool

    @property
    def where(self) -> str:
        """Which unit this is, for errors."""
        return f"cells {self.first}..{self.first + self.count - 1} of group {self.number}"


@dataclass(frozen=True, eq=False)
class _CoreJob:
    key: int
    purpose: int
    first: int
    count: int
    given: NDArray[np.uint8]
    strata: tuple[int, ...]
    draws: int
    attempts: int
    outputs: tuple[int, ...]
    gains: Array


@dataclass(frozen=True, eq=False)
class Drawn:
    """What some cells gave.

    Parameters
    ----------
    whole, parts : ndarray of float64, shape (cells, octaves)
        The octaves of :func:`octave_gains`: of whole vectors, and the sum over single outputs.
    each : ndarray of float64, shape (cells, octaves, outputs), or None
        Of every output by itself.
    singles, ok : ndarray of uint32 and of bool, shape (cells,)
        Vectors seen once; whether enough draws were kept.
    spent : int
    """

    whole: Array
    parts: Array
    each: Array | None
    singles: NDArray[np.uint32]
    ok: NDArray[np.bool_]
    spent: int


def cell_unit(unit: CellUnit) -> Drawn:
    """Draw in the cells of a unit."""
    channel, group = unit.channel, unit.group
    given = np.zeros(channel.n_in, np.uint8)
    given[list(unit.cells.given)] = 1
    job = _CoreJob(
        unit.cells.key,
        unit.cells.purpose + 2 * unit.number,
        unit.first,
        unit.count,
        given,
        unit.cells.given[: group.strata],
        group.draws,
        _ATTEMPTS,
        unit.cells.outputs,
        octave_gains(group.draws),
    )
    return Drawn(*_core.joint_cells(_core.CoreChannel(channel), job, unit.each, cancel_flag()))


@dataclass(frozen=True, eq=False)
class CellEntropy:
    """``H(Y | cell)``, averaged over the cells, in bits.

    Parameters
    ----------
    entropy, stderr : float
        Of whole output vectors.
    variance_each : float
        Variance that one evaluation contributes: ``stderr**2`` of the sampling times evaluations.
    coverage : float
        Of the distributions within the largest cells.
    outputs, outputs_stderr : ndarray of float64, shape (len(cells.outputs),), or None
        The same of single outputs; None unless asked for.
    samples : int
        Evaluations.
    """

    entropy: float
    stderr: float
    variance_each: float
    coverage: float
    outputs: Array | None
    outputs_stderr: Array | None
    samples: int


def measure_cells(
    channel: Channel, cells: Cells, plan: Design, runner: Runner, known: Array | None, each: bool
) -> CellEntropy:
    """Measure the entropy of the outputs within cells.

    Parameters
    ----------
    channel : Channel
    cells : Cells
    plan : Design
    runner : Runner
    known : ndarray of float64, shape (n_out,), or None
        The single outputs' entropies given the cell (:mod:`.given`). The sum of them, as
        estimated from the same draws, is then a control variate: what is left to sample is mostly
        the dependence of outputs within a cell, a small part.
    each : bool
        Whether single outputs' entropies are to be measured.

    Returns
    -------
    CellEntropy
    """
    units = [
        CellUnit(channel, cells, group, number, first, count, each)
        for number, group in enumerate(plan.groups)
        for first, count in _cuts(group)
    ]
    drawn = runner.map(cell_unit, units, f"{channel.name}: cells")
    by_group = [
        [d for u, d in zip(units, drawn, strict=True) if u.number == i]
        for i in range(len(plan.groups))
    ]
    return combine_cells(by_group, plan, channel.in_bins, known, each)


def combine_cells(
    drawn: list[list[Drawn]], plan: Design, in_bins: int, known: Array | None, each: bool
) -> CellEntropy:
    """Return the entropy within cells from what was drawn in them.

    Parameters
    ----------
    drawn : list of list of Drawn
        Of every group of the plan, its cells in their order.
    plan : Design
    in_bins : int
    known, each
        As of :func:`measure_cells`, which returns the same.
    """
    groups = [_Sample(parts, g, in_bins) for parts, g in zip(drawn, plan.groups, strict=True)]
    groups = [g for g in groups if len(g.whole)]
    spent = sum(d.spent for parts in drawn for d in parts)
    if not groups:
        return CellEntropy(0.0, 0.0, 0.0, 0.0, None, None, spent)
    if known is not None:
        factor = _regression(groups)
        sampled = [g.whole - factor * g.parts for g in groups]
        base = factor * float(known.sum())
    else:
        base = 0.0
        sampled = [g.whole for g in groups]
    value, variance, tail_error = _climb(sampled, groups)
    outputs = errors = None
    if each:
        climbed = [
            _climb([g.each[:, :, o] for g in groups if g.each is not None], groups)
            for o in range(0 if groups[0].each is None else groups[0].each.shape[2])
        ]
        outputs = np.array([c[0] for c in climbed])
        errors = np.array([math.hypot(math.sqrt(c[1]), c[2]) for c in climbed])
    return CellEntropy(
        max(base + value, 0.0),
        math.hypot(math.sqrt(variance), tail_error),
        variance * spent,
        1.0 - groups[-1].singles,
        outputs,
        errors,
        spent,
    )


def _cuts(group: Group) -> list[tuple[int, int]]:
    """Cut a group's cells into units, at multiples of 64."""
    each = max(64, _UNIT // group.draws // 64 * 64)
    return [(a, min(each, group.cells - a)) for a in range(0, group.cells, each)]


class _Sample:
    """The cells of a group."""

    def __init__(self, parts: list[Drawn], group: Group, in_bins: int) -> None:
        ok = np.concatenate([d.ok for d in parts])
        self.whole = np.concatenate([d.whole for d in parts])[ok]
        self.parts = np.concatenate([d.parts for d in parts])[ok]
        each = [d.each for d in parts if d.each is not None]
        self.each = np.concatenate(each)[ok] if each else None
        singles = np.concatenate([d.singles for d in parts])[ok]
        self.singles = float(singles.mean()) / group.draws if len(singles) else 0.0
        self.stratum = np.arange(len(ok))[ok] % in_bins**group.strata

    def residuals(self, values: Array) -> tuple[Array, int]:
        """Return values less the mean of their stratum, and the degrees of freedom."""
        number = np.bincount(self.stratum)
        mean = np.bincount(self.stratum, values) / np.maximum(number, 1)
        return values - mean[self.stratum], len(values) - int((number > 0).sum())


def _regression(groups: list[_Sample]) -> float:
    """Return the factor of the control variate that leaves the least variance."""
    product = square = 0.0
    for g in groups:
        whole, _ = g.residuals(g.whole.sum(axis=1))
        parts, _ = g.residuals(g.parts.sum(axis=1))
        product += float(whole @ parts)
        square += float(parts @ parts)
    return product / square if square > 0.0 else 1.0


def _climb(sampled: list[Array], groups: list[_Sample]) -> tuple[float, float, float]:
    """Return the sum of the octaves' means with the tail, its variance, and the tail's error.

    Every octave is averaged over all cells that have it.
    """
    octaves = sampled[-1].shape[1]
    number = np.array(
        [sum(len(s) for s in sampled if s.shape[1] > level) for level in range(octaves)]
    )
    means = np.array(
        [
            sum(float(s[:, level].sum()) for s in sampled if s.shape[1] > level) / number[level]
            for level in range(octaves)
        ]
    )
    # Of the mean of every octave; cells of different sizes are taken as alike.
    errors = np.array(
        [
            np.concatenate([s[:, level] for s in sampled if s.shape[1] > level]).var()
            / number[level]
            for level in range(octaves)
        ]
    )
    # What follows the last octave, as the octaves fell before it.
    ratio, share, doubt = _RATIO, 1.0, _TAIL_ERROR
    if octaves > 3 and abs(means[-3]) > 4.0 * math.sqrt(errors[-3] + errors[-2]):
        ratio = float(np.clip(means[-2] / means[-3], *_RATIOS))
        relative = math.sqrt(errors[-2] + ratio**2 * errors[-3]) / abs(means[-3])
        doubt = math.hypot(doubt, relative / (ratio * (1.0 - ratio)))
    if octaves > 2:  # two estimates of the last octave, weighted by their variances
        total = float(errors[-1] + ratio**2 * errors[-2])
        share = float(ratio**2 * errors[-2]) / total if total > 0.0 else 0.5
    follow = np.zeros(octaves)
    follow[-1] = share * ratio / (1.0 - ratio)
    follow[-2] = (1.0 - share) * ratio**2 / (1.0 - ratio)
    weights = 1.0 + follow
    tail_error = doubt * abs(float(follow @ means))
    variance = 0.0
    for s, g in zip(sampled, groups, strict=True):
        contribution = s @ (weights / number)[: s.shape[1]]
        residual, freedom = g.residuals(contribution)
        square = float(residual @ residual)
        if freedom > 0 and square > 0.0:
            # Where few cells make all the variance it is itself uncertain: half a standard error
            # more.
            excess = float((residual**4).sum()) / square**2 - 1.0 / len(s)
            variance += square * len(s) / freedom * (1.0 + 0.5 * math.sqrt(max(excess, 0.0)))
    # One more cell might be unlike all that were seen.
    variance += (_SURPRISE / number[0]) ** 2
    return float(weights @ means), variance, tail_error
