"""Entropies of single outputs, given the cells of some inputs: no sampling, at any width.

``z = b + W x`` with independent uniform inputs. Given the bins of some inputs, ``z = s + u``: a
centre ``s`` that depends on the bins, and a sum ``u`` of independent uniform variables that does
not, of width ``|w| * bin width`` for an input whose bin is given and of width ``|w| * range`` for
one that is free. The entropy of the output's bin is then a function ``h`` of the centre alone, and
what is wanted is ``E h(s)``, s a sum of independent variables that are uniform on a few equidistant
places.

*Many inputs.* (In C, csrc/joint/ei_given.h.) On a circle that holds all of z that matters, the
probability of an output bin as a function of s is the bin's indicator function convolved with u:
its Fourier coefficients are those of the bin times the characteristic function of u, a product of
sincs. h follows on a grid, and the average over s multiplies h's coefficients by the characteristic
function of s, a product of Dirichlet kernels ``sin(bins x) / (bins sin x)``. Both decay like
Gaussians, so some thousand points serve. Tails: u and s are strictly sub-Gaussian (uniforms: Arbel,
Marchal and Nguyen 2020; the discrete ones by the same argument, ``log(sinh(x) / x)`` being concave
in ``x**2``), so what lies beyond a few standard deviations is left out and counted as error.

*Few inputs.* Every centre is gone through, with the distribution function of u in closed form.

*A few that tower over all the others.* Series are slow there. The others, of standard deviation d
together, are left out; this moves the probability of a label with k ends in reach by less than
``k d / a`` on average, a the greatest width in u, as u's density is at most 1 / a. So the entropy
is off by less than the average of ``sum eta(k d / a)`` (eta is concave, and ``|eta(p) - eta(q)| <=
eta(|p - q|)`` up to a half). Taken where that is little, or less than the series' error.

*Dropped.* With c over the kept bins and k their union, the entropy given that this output is kept
is ``E [sum_c eta(p_c(s)) - eta(p_k(s))] / E p_k``, ``eta(p) = -p log2 p``. Other outputs are not
looked at.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .. import _core
from ..network import Channel
from ..run import Runner, cancel_flag
from .sums import normal_distribution, reach, uniform_distribution

__all__ = [
    "LEAST",
    "GivenEntropies",
    "given_entropies",
    "row_entropies",
    "tractable",
]

Array = NDArray[np.float64]

#: Points on the circle: the fewest, the most to start with, the most; bits of error that will do.
_LEAST, _START, _MOST, _GOOD = 256, 1 << 12, 1 << 18, 1e-9
#: Least probability of a bin, as if z were normal; as in csrc/joint/ei_given.h.
LEAST = 1e-9
#: Inputs whose combinations of bins are gone through, and how many those may be.
_FEW, _COMBINATIONS = 4, 1 << 18
#: Inputs tower where the others reach so small a part of what the least of them does; bits of error
#: that save the series there.
_TOWER, _GOOD_ENOUGH = 1e-3, 1e-4
#: Numbers of a table that are held at once, and of inputs and cells that make a unit of work.
_TABLE, _UNIT = 1 << 21, 1 << 15
#: Rows of a unit, at least.
_FEWEST = 2


def tractable(channel: Channel) -> bool:
    """Whether these entropies speak of the whole channel: one affine map, and nothing dropped.

    With drops, whether a sample is kept depends on all outputs together.
    """
    return not channel.stages and not channel.drops


#: Widths that are brought near 1 first, and how far a threshold can be from a sum of those.
_TINY, _FAR = 1e-60, 1e300


@dataclass(frozen=True, eq=False)
class GivenEntropies:
    """Entropies of single outputs given the cells of inputs.

    Parameters
    ----------
    values, errors : ndarray of float64, shape (n_out,)
        In bits. The errors are estimates, from the same sum over half the points, and what was cut
        off.
    normal : ndarray of float64, shape (n_out,)
        The average of ``-log2`` of the bin's probability (:data:`LEAST` at least) as it would be if
        z were normal within each cell. Only where nothing is dropped.
    """

    values: Array
    errors: Array
    normal: Array


def given_entropies(
    channel: Channel,
    given: NDArray[np.bool_],
    runner: Runner | None = None,
    normal: bool = False,
) -> GivenEntropies:
    """Return ``H(Y_B | bins of some inputs)`` of every output B.

    Parameters
    ----------
    channel : Channel
        Without stages. Where values are dropped, each output's entropy is the one given that this
        output is kept.
    given : ndarray of bool, shape (n_in,)
        Which inputs' bins are given; the others are perturbed over their whole range.
    runner : Runner, optional
        By default everything runs right here.
    normal : bool
        Whether :attr:`GivenEntropies.normal` is wanted; it is 0 otherwise.

    Returns
    -------
    GivenEntropies
        In bits; errors are below 1e-8 but for rows in which some weights tower over all the others
        together by more than three powers of ten: mostly below 1e-3 there, and the less the more.
    """
    runner = runner or Runner(threads=1)
    # A row takes about a millisecond, of few inputs a few.
    share = max(-(-channel.n_out // max(runner.workers, 1)), _FEWEST)
    step = max(1, min(_UNIT // (channel.n_in + 16 * channel.out_bins), share))
    units = [_Rows(channel.rows(a, a + step), given, normal) for a in range(0, channel.n_out, step)]
    found = runner.map(_rows, units, f"{channel.name}: H(Y_B | X)", channel.n_out <= _FEWEST)
    return GivenEntropies(
        *(np.concatenate([getattr(f, k) for f in found]) for k in ("values", "errors", "normal"))
    )


@dataclass(frozen=True, eq=False)
class _Rows:
    """Some outputs of a channel: what one unit computes."""

    channel: Channel
    given: NDArray[np.bool_]
    normal: bool


def _rows(rows: _Rows) -> GivenEntropies:
    channel = rows.channel
    span = channel.in_hi - channel.in_lo
    middle = channel.bias + channel.weight.sum(axis=1) * 0.5 * (channel.in_lo + channel.in_hi)
    found = [
        _row(channel, b, m, np.abs(channel.weight[b]) * span, rows) for b, m in enumerate(middle)
    ]
    return GivenEntropies(*np.ascontiguousarray(np.array(found).T))


def _row(
    channel: Channel, b: int, middle: float, widths: Array, rows: _Rows
) -> tuple[float, float, float]:
    """Return the entropy of one output, its error, and the surprise if z were normal."""
    rule, bins = channel.rule_of(b), channel.in_bins
    thresholds = rule.thresholds - middle
    widths, known = widths[widths > 0.0], rows.given[widths > 0.0]
    if widths.max(initial=1.0) < _TINY:  # in other units, so that no square vanishes
        exponent = int(np.frexp(widths.max())[1])
        with np.errstate(over="ignore"):  # what is far away becomes no nearer
            thresholds = np.clip(np.ldexp(thresholds, -exponent), -_FAR, _FAR)
        widths = np.ldexp(widths, -exponent)
    parts = np.where(known, widths / bins, widths)
    steps = parts[known]
    around = reach(parts, 1.0)
    spread = reach(steps * (bins - 1.0), (bins + 1.0) / (bins - 1.0))
    inside = np.abs(thresholds) < spread + around
    # What is out of reach tells nothing; intervals of one label, next to each other, are one.
    first = int(np.searchsorted(thresholds, -(spread + around), side="right"))
    labels = rule.labels[first : first + int(inside.sum()) + 1]
    cuts = thresholds[inside]
    change = np.flatnonzero(labels[1:] != labels[:-1])
    cells = _Cells(cuts[change], labels[np.concatenate([[0], change + 1]).astype(np.intp)])
    normal = _Normal.of(thresholds, rule.labels, cells, parts) if rows.normal else None
    if not len(cells.cuts):
        return 0.0, 0.0, 0.0 if normal is None else float(normal.surprise(0, np.zeros(1))[0])
    few = len(parts) <= _FEW and float(bins) ** len(steps) <= _COMBINATIONS
    if few or not len(parts):
        return _by_centres(cells, parts, steps, bins, normal)
    towers = _by_towers(cells, widths, known, bins, normal)
    if towers is not None and towers[1] <= _GOOD_ENOUGH:
        return towers
    found = _by_series(cells, parts, steps, bins, spread + around, normal)
    return towers if towers is not None and towers[1] < found[1] else found


@dataclass(frozen=True, eq=False)
class _Cells:
    """The cells of a row: cuts of z, and the label of every interval, none the same as the next."""

    cuts: Array
    labels: NDArray[np.int32]

    @property
    def drops(self) -> bool:
        return bool((self.labels < 0).any())

    @property
    def kinds(self) -> list[NDArray[np.intp]]:
        """The intervals of every kept label."""
        return [np.flatnonzero(self.labels == v) for v in np.unique(self.labels[self.labels >= 0])]

    @property
    def accuracy(self) -> float:
        """Bits that probabilities off by 1e-15 can cost."""
        return 1e-15 * 55.0 * (len(self.labels) + 2)


@dataclass(frozen=True, eq=False)
class _Normal:
    """All intervals of a row, in reach or not: cuts, and each one's kind, -1 where out of reach."""

    cuts: Array
    kind: NDArray[np.int32]
    deviation: float

    @classmethod
    def of(
        cls, cuts: Array, labels: NDArray[np.int32], cells: _Cells, parts: Array
    ) -> _Normal | None:
        """Return them, or None where z may be dropped or does not vary."""
        if cells.drops or (labels < 0).any() or not len(parts) or not len(cuts):
            return None
        known = np.unique(cells.labels)
        place = np.minimum(np.searchsorted(known, labels), len(known) - 1)
        kind = np.where(known[place] == labels, place, -1).astype(np.int32)
        deviation = math.sqrt(float(parts @ parts) / 12.0)
        if deviation == 0.0:  # squares of what is there leave float64
            deviation = max(math.hypot(*parts.tolist()) / math.sqrt(12.0), 5e-324)
        return cls(np.ascontiguousarray(cuts), kind, deviation)

    def surprise(self, kind: int, centres: Array) -> Array:
        """Return ``-log2`` of a kind's probability, z normal about each of the centres."""
        ends = np.concatenate([[-np.inf], self.cuts, [np.inf]])
        mass = np.zeros(len(centres))
        for i in np.flatnonzero(self.kind == kind):
            with np.errstate(over="ignore"):
                low, high = (
                    normal_distribution((end - centres) / self.deviation) for end in ends[i : i + 2]
                )
            mass += high - low
        return np.asarray(-np.log2(np.maximum(mass, LEAST)))


def _eta(p: Array) -> Array:
    return np.asarray(-p * np.log2(np.where(p > 0.0, p, 1.0)))


def row_entropies(p: Array) -> Array:
    """Return the entropies, in bits, of the rows."""
    return np.asarray(-(p * np.log2(np.where(p > 0.0, p, 1.0))).sum(axis=1))


def _mean(
    total: float, kept: float, drops: bool, error: float, normal: float
) -> tuple[float, float, float]:
    if not drops:
        return max(total, 0.0), error, normal
    if not kept > 1e-12:
        return 0.0, 0.0, 0.0
    return max(total / kept, 0.0), error / kept, 0.0


# ---- every centre -------------------------------------------------------------------------------


def _centres(steps: Array, bins: int) -> Array:
    """Return where s may lie, every place as likely as the others."""
    offset = np.arange(bins) - 0.5 * (bins - 1)
    centres = np.zeros(1)
    for step in steps:
        centres = (centres[:, None] + step * offset).ravel()
    return centres


def _by_centres(
    cells: _Cells, parts: Array, steps: Array, bins: int, normal: _Normal | None
) -> tuple[float, float, float]:
    centres, widths = np.sort(_centres(steps, bins)), np.sort(parts)
    half = 0.5 * float(widths.sum())
    ends = np.concatenate([[-np.inf], cells.cuts, [np.inf]])
    whole = np.zeros(len(centres))
    total = kept = cross = 0.0
    for k, kind in enumerate(cells.kinds):
        # The centres from which an interval of this kind is met: few of many, of small cells.
        first = np.searchsorted(centres, ends[kind] - half, side="left")
        last = np.searchsorted(centres, ends[kind + 1] + half, side="right")
        here = slice(int(first.min()), int(last.max()))
        p = np.zeros(here.stop - here.start)
        for i, a, b in zip(kind, first, last, strict=True):
            above = _below(widths, ends[i + 1], centres[a:b], half)
            share = above - _below(widths, ends[i], centres[a:b], half)
            p[a - here.start : b - here.start] += np.maximum(share, 0.0)
        if normal is not None:
            cross += float(p @ normal.surprise(k, centres[here]))
        total += float(_eta(p).sum())
        kept += float(p.sum())
        if cells.drops:
            whole[here] += p
    if cells.drops:
        total -= float(_eta(whole).sum())
    n = len(centres)
    return _mean(total / n, kept / n, cells.drops, cells.accuracy, cross / n)


def _below(widths: Array, end: float, centres: Array, half: float) -> Array:
    """Return the probability of being below an end, about centres in order."""
    if not math.isfinite(end):
        return np.full(len(centres), float(end > 0.0))
    a, b = np.searchsorted(centres, [end - half, end + half])
    found = np.zeros(len(centres))
    found[:a] = 1.0
    found[a:b] = uniform_distribution(widths, end - centres[a:b])
    return found


# ---- towering inputs ----------------------------------------------------------------------------


def _by_towers(
    cells: _Cells, widths: Array, known: NDArray[np.bool_], bins: int, normal: _Normal | None
) -> tuple[float, float, float] | None:
    """Return what the few inputs that tower over all others make; None where there are none."""
    order = np.argsort(-widths, kind="stable")
    if reach(widths[order[_FEW:]], 1.0) > _TOWER * widths[order[0]] / bins:
        return None
    for k in range(1, _FEW + 1):
        most, rest = order[:k], widths[order[k:]]
        if reach(rest, 1.0) <= _TOWER * widths[most[-1]] / bins:
            break
    else:
        return None
    if cells.drops or float(bins) ** int(known[most].sum()) > _COMBINATIONS:
        return None
    parts = np.where(known[most], widths[most] / bins, widths[most])
    steps = parts[known[most]]
    value, error, surprise = _by_centres(cells, parts, steps, bins, normal)
    moved = _moved(cells, parts, _centres(steps, bins), rest)
    return None if moved is None else (value, error + moved, surprise)


def _moved(cells: _Cells, parts: Array, centres: Array, rest: Array) -> float | None:
    """Return by how much the entropy may differ without the rest; None where that is not small."""
    far, a = reach(rest, 1.0), float(parts.max())
    deviation = math.sqrt(float(rest @ rest) / 12.0)
    if len(cells.labels) * far > 0.25 * a:
        return None
    total = 0.0
    for block in np.array_split(centres, 1 + len(centres) * len(cells.labels) // _TABLE):
        near = np.abs(cells.cuts[:, None] - block) < 0.5 * parts.sum() + far
        none = np.zeros((1, len(block)), bool)
        ends = np.concatenate([none, near]).astype(int) + np.concatenate([near, none])
        for kind in cells.kinds:
            total += float(_eta(ends[kind].sum(axis=0) * (deviation / a)).sum())
    return total / len(centres)


# ---- series -------------------------------------------------------------------------------------


def _by_series(
    cells: _Cells, parts: Array, steps: Array, bins: int, half: float, normal: _Normal | None
) -> tuple[float, float, float]:
    known, kind = np.unique(cells.labels, return_inverse=True)
    kind = kind.ravel() - int(known[0] < 0)
    nothing = np.empty(0), np.empty(0, np.int32)
    value, error, kept, cross = _core.given_entropy(
        np.sort(parts)[::-1].copy(),
        np.sort(steps)[::-1].copy(),
        bins,
        np.ascontiguousarray(cells.cuts),
        kind.astype(np.int32),
        int(kind.max()) + 1,
        half,
        (_LEAST, _START, _MOST),
        _GOOD - cells.accuracy,
        *(nothing if normal is None else (normal.cuts, normal.kind)),
        cancel_flag(),
    )
    # What lies beyond the tails: in all, 1e-15 of the probability.
    tails = 1e-15 * math.log2(len(cells.labels) + 1)
    return _mean(value, kept, cells.drops, error + cells.accuracy + tails, cross)
