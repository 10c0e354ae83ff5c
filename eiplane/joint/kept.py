"""Bounds where samples are dropped, from samples that are kept, right but for a sampling error.

Let K be the event that a sample is kept, c the cell of its given inputs, y what counts of its
outputs; p(y) and p(y | c) hold K, too. Then

    H(Y | K) = E -log2 p(y) + log2 P(K),     H(Y | X, K) = E -log2 p(y | c) + E log2 p(K | c),

each E over samples that are kept. Given y and K (and c) the inputs are uniform on a polytope, so
that for any density r, ``E -log2 p(y) >= E log2 r(u | y)`` (as in :mod:`.bracket`); and for a model
q that sums to no more than 1 over all y, the Gibbs inequality given K says ``E -log2 p(y) <= E
-log2 q(y) - log2 P(K)``. Likewise given c. So

    E log2 r(u | y) + log2 P(K)  <=  H(Y | K)  <=  E -log2 q(y),
    E log2 r(u | y, c) + E log2 p(K | c)  <=  H(Y | X, K)  <=  E -log2 q(y | c),

and their differences bound the information. Besides, ``H(X | K) = H(X) + log2 P(K) - E log2 p(K |
c)`` is not less than it.

*E log2 p(K | c).* Draws within c are repeated until one is kept, the N-th: ``E sum of 1 / i over i
< N`` is ``-log p(K | c)``, without bias. After so many draws it is given up, which takes at most 1
over their number and P(K) from the sum, as ``E 1 / p(K | c) <= 1 / P(K)``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .. import _core
from ..network import Channel
from ..reference import Polytopes
from ..run import Runner
from .averages import Controls, widened_mean
from .bounds import WIDEN, Interval, WholeBounds, repeated, trivial_bounds
from .bracket import sample_count
from .densities import log_backward, log_forward
from .volumes import Problem, problem

__all__ = ["kept_bounds"]

Array = NDArray[np.float64]

#: Numbers of the streams of random numbers: of samples, and of draws within their cells.
_PURPOSE, _WITHIN = 49, 50
#: Draws of a unit of work, and their number in all: at least, and at most.
_UNIT, _DRAWN = 1 << 10, (1 << 13, 1 << 17)
#: Kept samples that make sense, at least.
_LEAST = 16
#: Waits for a kept draw within every cell, draws of a wait at most, and how many at once.
_WAITS, _LONGEST, _ONCE = 4, 512, 64
#: Numbers of a stack of matrices that is worked on at once.
_STACK = 1 << 21


@dataclass(frozen=True, eq=False)
class _Simulated:
    """Draws of a unit that are kept: the unit inputs, the bins, and labels of what is known."""

    u: Array
    bins: NDArray[np.int64]
    known: NDArray[np.intp]
    index: NDArray[np.intp]


@dataclass(frozen=True)
class _Draws:
    problem: Problem
    first: int
    count: int

    @property
    def where(self) -> str:
        return f"draws {self.first}..{self.first + self.count - 1}"


@dataclass(frozen=True, eq=False)
class _Unit:
    problem: Problem
    rows: NDArray[np.intp]
    samples: _Simulated

    @property
    def where(self) -> str:
        index = self.samples.index
        return f"samples {index[0]}..{index[-1]}"


@dataclass(frozen=True, eq=False)
class _Seen:
    """Of every sample, in bits: as of :mod:`.bracket`, and an estimate of ``log2 p(K | c)``."""

    least: Array
    most: Array
    least_within: Array
    most_within: Array
    share: Array


def kept_bounds(
    channel: Channel,
    given: NDArray[np.bool_],
    outs: NDArray[np.intp],
    runner: Runner,
    key: int,
    samples: int | None = None,
) -> WholeBounds:
    """Return bounds of a channel without stages that drops samples, given that they are kept.

    Parameters
    ----------
    channel : Channel
    given : ndarray of bool, shape (n_in,)
        The inputs that count.
    outs : ndarray of int
        The outputs that count; the others only drop samples.
    runner : Runner
    key, samples : int
        As for :func:`eiplane.joint.bracket.bracket`; 0: trivial bounds.

    Returns
    -------
    WholeBounds
    """
    most = len(outs) * math.log2(channel.out_bins)
    trivial = trivial_bounds(int(given.sum()), len(outs), channel.in_bins, channel.out_bins)
    nothing = WholeBounds(trivial, (0.0, most), (0.0, most))
    rest = np.setdiff1d(np.arange(channel.n_out), outs)
    part = channel.outputs(np.concatenate([outs, rest]))
    rows = np.flatnonzero(~repeated(part) & (part.weight != 0.0).any(axis=1))
    number = sample_count(len(rows), channel.n_in) if samples is None else samples
    if number < _LEAST or not len(rows):
        return nothing
    p = problem(part, given, np.arange(part.n_out) < len(outs), key)
    found, drawn = _simulate(p, number, runner, channel.name)
    kept = sum(len(f.u) for f in found)
    if kept < _LEAST:
        return nothing
    size = max(len(rows), channel.n_in if channel.n_in <= 2 * len(rows) else 0)
    step = max(1, min(16, _STACK // (size * size)))
    first = _joined(found, number)
    units = [_Unit(p, rows, _part(first, a, a + step)) for a in range(0, len(first.u), step)]
    seen = runner.map(_look, units, f"{channel.name}: bounds")
    effect = int((given & (channel.weight != 0.0).any(axis=0)).sum())
    most_inputs = effect * math.log2(channel.in_bins)
    fields = (np.concatenate([getattr(s, k) for s in seen]) for k in _Seen.__annotations__)
    controls = _surprise(np.concatenate([f.known for f in found])[:, : len(outs)], len(first.u))
    return _bounds(_Seen(*fields), controls, _share_kept(kept, drawn), most_inputs).within(nothing)


def _simulate(p: Problem, number: int, runner: Runner, name: str) -> tuple[list[_Simulated], int]:
    """Draw until so many are kept, or there are too many; returns how many were drawn, too."""
    found: list[_Simulated] = []
    drawn, least = 0, _DRAWN[0]
    while drawn < least or (drawn < _DRAWN[1] and sum(len(f.u) for f in found) < number):
        more = max(least, drawn)
        units = [_Draws(p, a, _UNIT) for a in range(drawn, drawn + more, _UNIT)]
        found += runner.map(_draw, units, f"{name}: bounds")
        drawn += more
    return found, drawn


def _draw(unit: _Draws) -> _Simulated:
    p, channel = unit.problem, unit.problem.channel
    draws = np.stack(
        [_core.draw(p.key, _PURPOSE, k, unit.first, unit.count) for k in range(channel.n_in)]
    )
    u = draws.astype(np.float64) / 4294967296.0 + 2.0**-33
    labels = _labels(channel, u)
    kept = (labels >= 0).all(axis=0)
    known = np.where(p.wanted[:, None], labels, channel.out_bins)[:, kept].T
    bins = (draws[:, kept].astype(np.int64) * channel.in_bins) >> 32
    index = unit.first + np.flatnonzero(kept)
    return _Simulated(
        np.ascontiguousarray(u[:, kept].T), np.ascontiguousarray(bins.T),
        np.ascontiguousarray(known.astype(np.intp)), index,
    )  # fmt: skip


def _labels(channel: Channel, u: Array) -> NDArray[np.int32]:
    span = channel.in_hi - channel.in_lo
    offset = channel.bias + channel.in_lo * channel.weight.sum(axis=1)
    return channel.bins_of(_core.affine(channel.weight * span, offset, np.ascontiguousarray(u)))


def _joined(found: list[_Simulated], number: int) -> _Simulated:
    arrays = (np.concatenate([getattr(f, k) for f in found]) for k in _Simulated.__annotations__)
    return _part(_Simulated(*arrays), 0, number)


def _part(s: _Simulated, start: int, stop: int) -> _Simulated:
    here = slice(start, stop)
    return _Simulated(s.u[here], s.bins[here], s.known[here], s.index[here])


def _look(unit: _Unit) -> _Seen:
    p, rows, s = unit.problem, unit.rows, unit.samples
    channel = p.channel
    weight = (channel.weight * (channel.in_hi - channel.in_lo))[rows]
    offset = (channel.bias + channel.in_lo * channel.weight.sum(axis=1))[rows]
    lo, hi = (np.ascontiguousarray(e.transpose(0, 2, 1)[:, rows]) for e in p.limits(s.known))
    none = ~(lo < hi)
    lo = np.where(none, 0.0, lo - offset[:, None])
    hi = np.where(none, -1.0, hi - offset[:, None])
    width = p.width
    start = np.where(p.given, s.bins * width, 0.0)
    whole = Polytopes(weight, lo, hi, s.u, np.zeros_like(s.u), np.ones(channel.n_in))
    cell = Polytopes(weight, lo, hi, s.u, start, width)
    return _Seen(
        log_backward(whole),
        -log_forward(whole, channel.out_bins),
        log_backward(cell),
        -log_forward(cell, channel.out_bins),
        np.array([_share_of(p, begin, int(i)) for begin, i in zip(start, s.index, strict=True)]),
    )


def _share_of(p: Problem, start: Array, index: int) -> float:
    """Return an estimate of ``log2 p(K | c)`` of one cell."""
    total = 0.0
    for wait in range(_WAITS):
        first = (index * _WAITS + wait) * _LONGEST
        before = _LONGEST
        for done in range(0, _LONGEST, _ONCE):
            draws = np.stack([
                _core.draw(p.key, _WITHIN, k, first + done, _ONCE) for k in range(len(start))
            ])  # fmt: skip
            u = draws.astype(np.float64) / 4294967296.0 + 2.0**-33
            good = (_labels(p.channel, start[:, None] + p.width[:, None] * u) >= 0).all(axis=0)
            if good.any():
                before = done + int(good.argmax())
                break
        total -= float((1.0 / np.arange(1, before + 1)).sum())
    return total / (_WAITS * math.log(2.0))


def _surprise(labels: NDArray[np.intp], number: int) -> Controls:
    """Return the sum of single outputs' surprise of the first draws, less its mean over all."""
    total = np.zeros(len(labels))
    for own in labels.T:
        total -= np.log2(np.bincount(own)[own] / len(own))
    total -= total.mean()
    return Controls(total[None, :number], np.array([WIDEN * total.std() / math.sqrt(len(total))]))


def _share_kept(kept: int, drawn: int) -> Interval:
    """Return an interval of P(K) (E. B. Wilson, J. Am. Stat. Assoc. 22, 209-212, 1927)."""
    share, square = kept / drawn, WIDEN * WIDEN / drawn
    middle = share + 0.5 * square
    half = WIDEN * math.sqrt(share * (1.0 - share) / drawn + 0.25 * square / drawn)
    return (middle - half) / (1.0 + square), min((middle + half) / (1.0 + square), 1.0)


def _bounds(seen: _Seen, controls: Controls, share: Interval, inputs: float) -> WholeBounds:
    def low(values: Array) -> float:
        mean, below, _ = widened_mean(values, controls)
        return mean - below

    def high(values: Array) -> float:
        mean, _, above = widened_mean(values, controls)
        return mean + above

    least, most = (math.log2(s) for s in share)
    given_up = 1.0 / (_LONGEST * share[0] * math.log(2.0))
    information = (
        max(low(seen.least - seen.most_within) + least, 0.0),
        min(
            high(seen.most - seen.least_within - seen.share),
            inputs + most - low(seen.share),
        )
        + given_up,
    )
    entropy = max(low(seen.least) + least, 0.0), high(seen.most)
    rest = low(seen.least_within + seen.share) - given_up, high(seen.most_within)
    return WholeBounds(information, entropy, (max(rest[0], 0.0), rest[1]))
