"""Labels that are unions of intervals: a sum over the pieces that every output's z may be in.

Where an activation is not monotone (``sin``, ``abs``, a bump) a label is a union of intervals, and
what is known of the inputs has a peak for every choice of pieces, a *branch*. Each branch b is a
polytope of its own, and ``p(y) = sum_b V(b)``. A simulated sample tells its own branch b*, an
exact draw of the branch given y; so ``-log2 p(y) = -log2 V(b*) + log2 V(b*) / p(y)``: the first is
that of labels of one interval each, the second takes the sum.

It is a sum over a tree: for one output after the other the pieces that are possible, weighed by
assumed density filtering along the branch (as in :mod:`eiplane.reference.forward`). While branches
are few all are kept, and the sum is complete. Else they are thinned without bias, the heavy ones
kept for sure (P. Fearnhead and P. Clifford, J. R. Stat. Soc. B 65, 887, 2003), and the volumes of
those that are left add up to an estimate of p(y). Its logarithm is on average too small; that of an
estimate in which b* is kept by force, and the others thinned as chance would have it given that, is
on average too great (C. Andrieu, A. Doucet and R. Holenstein, J. R. Stat. Soc. B 72, 269, 2010; R.
B. Grosse, Z. Ghahramani and R. P. Adams, arXiv:1511.02543, 2015). How far they are apart is the
doubt.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .. import _core
from ..reference import restricted
from .polytopes import Labels, constraints, possible_branches, turned
from .volumes import GROUP, Problem, log_volumes

__all__ = ["Summed", "most_branches", "sum_branches"]

Array = NDArray[np.float64]
Index = NDArray[np.intp]

#: Multiplications for the branches of a sample, the fewest of them that are kept, and the most.
_WORK, _FEWEST, _MOST = 1 << 26, 8, 64

#: Nats below the heaviest branch from which on one counts for nothing, and by which the two
#: estimates differ at most.
_LIGHT, _APART = 40.0, 20.0

#: Purpose of the random numbers.
_PURPOSE = 18

#: Deviations beyond which a piece is not possible; what of a variance is rounding.
_FAR, _ROUNDING = 6.0, 1e-13


def most_branches(work: float) -> int:
    """Return how many branches of a sample are kept, where filtering one takes so much."""
    return int(min(max(_WORK / work, _FEWEST), _MOST))


@dataclass(frozen=True, eq=False)
class Summed:
    """What was found of samples' branches.

    Parameters
    ----------
    own : ndarray of float64, shape (samples,)
        ``log2 V(b*) / p(y)``. NaN where V(b*) was not found.
    gap : ndarray of float64, shape (samples,)
        By how many bits the two estimates differ; 0 where the sum is complete.
    sample : ndarray of int, shape (branches,)
        Of every branch that is left.
    share : ndarray of float64, shape (branches,)
        Probability of the branch given y.
    cavities : ndarray of float64, shape (2, branches, n_in)
        What the branch tells of the inputs: see :func:`.volumes.log_volumes`.
    limits : tuple of ndarray of float64, shape (branches, n_in)
        Of the inputs themselves.
    """

    own: Array
    gap: Array
    sample: Index
    share: Array
    cavities: Array
    limits: tuple[Array, Array]


def sum_branches(p: Problem, labels: Labels, most: int, index: Index, which: int) -> Summed:
    """Sum over the branches of samples.

    Parameters
    ----------
    p : Problem
    labels : Labels
    most : int
        How many branches of a sample are kept.
    index : ndarray of int, shape (samples,)
        Of the samples, for the random numbers.
    which : int
        Which of a sample's labels these are, for the same.
    """
    tree = _Tree.of(p, labels)
    leaves = _Leaves.none(labels.own.shape[1])
    if len(tree.samples):
        leaves = _search(tree, most, _Chance(p, index[tree.samples], which))
    # The samples' own branches come first: those without a choice have no other.
    count = len(labels.own)
    sample = np.concatenate([np.arange(count), tree.samples[leaves.sample]])
    path = np.concatenate([labels.own, leaves.path])
    rows, back = np.unique(np.column_stack([sample, path]), axis=0, return_inverse=True)
    back = back.ravel()
    sample, path = rows[:, 0], rows[:, 1:]
    good = possible_branches(p.known, labels, sample, path)
    good[back[:count]] = True
    sample, path, place = sample[good], path[good], np.cumsum(good) - 1
    c = constraints(
        p.known, *labels.of_branches(sample, path), labels.place[sample], labels.width
    )  # fmt: skip
    logs, cavities = log_volumes(p, c)
    some = good[back[count:]]
    leaves = leaves.where(some)
    at = place[back[count:]][some]
    own = logs[place[back[:count]]]
    totals = np.tile(own, (2, 1))
    totals[:, tree.samples] = -np.inf
    values = leaves.thinned + logs[at]
    for half in (0, 1):
        here = leaves.half == half
        np.logaddexp.at(totals[half], tree.samples[leaves.sample[here]], values[here])
    both = np.logaddexp(totals[0], totals[1])
    above = both - math.log(2.0)
    below = np.maximum(totals[0], above - _APART)
    share = np.zeros(len(logs))
    np.add.at(share, at, np.exp(values - both[tree.samples[leaves.sample]]))
    alone = np.ones(count, bool)
    alone[tree.samples] = False
    share[place[back[:count]][alone]] = 1.0
    # The one's error is a quarter of a variance too great, the other's half of one too small.
    with np.errstate(invalid="ignore"):
        found = (own - (2.0 * above + below) / 3.0) / math.log(2.0)
        gap = (above - below) / math.log(2.0)
    found[~np.isfinite(found)] = np.nan
    return Summed(found, gap, sample, share, cavities, (c.in_lo, c.in_hi))


@dataclass(frozen=True, eq=False)
class _Tree:
    """The choices of samples that have any.

    ``samples``: which those are. ``order``: their outputs, those without a choice first. ``lo``,
    ``hi``, ``possible``, of shape (samples, pieces, outputs): of ``d . u`` of the output's
    direction. ``own``, ``whole``: the pieces of b*, of these outputs and of all. ``live``: the
    outputs' own numbers. ``rows``: their directions by the unit inputs of the cell.
    """

    samples: Index
    order: Index
    lo: Array
    hi: Array
    possible: NDArray[np.bool_]
    own: Index
    whole: Index
    live: Index
    rows: Array

    @classmethod
    def of(cls, p: Problem, labels: Labels) -> _Tree:
        live, direction = p.known.live, p.known.direction
        low, high = turned(p.known, labels.lo, labels.hi)
        shift = labels.place[:, None, direction]
        low, high = low - shift, high - shift
        rows = (p.known.unit * labels.width)[direction]
        far = _FAR * np.sqrt(np.einsum("ij,ij->i", rows, rows) / 12.0)
        far = np.minimum(0.5 * np.abs(rows).sum(axis=1), far)
        possible = (low < high) & (low < far) & (high > -far)
        own = labels.own[:, live]
        np.put_along_axis(possible, own[:, None, :], True, axis=1)
        number = possible.sum(axis=1)
        some = np.flatnonzero((number > 1).any(axis=1))
        order = np.argsort(number[some], axis=1, kind="stable")
        return cls(
            some, order, low[some], high[some], possible[some], own[some], labels.own[some], live,
            rows,
        )  # fmt: skip


class _Chance:
    """Uniform numbers of samples' steps."""

    def __init__(self, p: Problem, index: Index, which: int) -> None:
        self._key, self._first = p.key, 2 * (p.channel.n_out + 1) * which
        self._start = int(index.min()) // GROUP * GROUP
        self._count = -(-(int(index.max()) + 1 - self._start) // GROUP) * GROUP
        self._own = index - self._start

    def of(self, step: int) -> Array:
        """Return numbers in (0, 1) of both halves, shape (2 * samples,)."""
        draws = [
            _core.draw(self._key, _PURPOSE, self._first + 2 * step + half, self._start, self._count)
            for half in (0, 1)
        ]
        return (np.concatenate([d[self._own] for d in draws]) + 0.5) / 4294967296.0


@dataclass(frozen=True, eq=False)
class _Leaves:
    """Branches that are left: the sample (among those of the tree), which of its two estimates it
    is for, its pieces of all outputs, and minus the logarithm of the probability to be left.
    """

    sample: Index
    half: Index
    path: Index
    thinned: Array

    @classmethod
    def none(cls, outputs: int) -> _Leaves:
        nothing = np.empty(0, np.intp)
        return cls(nothing, nothing, np.empty((0, outputs), np.intp), np.empty(0))

    def where(self, some: NDArray[np.bool_]) -> _Leaves:
        return _Leaves(self.sample[some], self.half[some], self.path[some], self.thinned[some])


@dataclass(eq=False)
class _Front:
    """Branches on the way, of shape (groups, branches): the first half of the groups is thinned
    by chance alone, the second keeps its own branch.

    ``mean``, ``square``: of the Gaussian, by the outputs or by the inputs. ``light``: the
    logarithm of a branch's weight. ``alive``: there are as many places as the longest list takes.
    """

    mean: Array
    square: Array
    light: Array
    thinned: Array
    alive: NDArray[np.bool_]
    mine: NDArray[np.bool_]
    path: Index

    def take(self, parent: Index) -> None:
        """Go on from some branches of every group."""
        if parent.shape != self.path.shape[:2] or (parent != np.arange(parent.shape[1])).any():
            at = np.arange(len(parent))[:, None]
            for name in ("mean", "square", "mine", "path"):
                setattr(self, name, getattr(self, name)[at, parent])


def _search(t: _Tree, most: int, chance: _Chance) -> _Leaves:
    """Go through the outputs, and keep so many branches of every sample."""
    samples, m = t.order.shape
    groups, n = 2 * samples, t.rows.shape[1]
    by_outputs = m <= n
    start = t.rows @ t.rows.T / 12.0 if by_outputs else np.eye(n) / 12.0
    f = _Front(
        np.zeros((groups, 1, len(start))), np.tile(start, (groups, 1, 1, 1)),
        np.zeros((groups, 1)), np.zeros((groups, 1)), np.ones((groups, 1), bool),
        np.ones((groups, 1), bool), np.zeros((groups, 1, m), np.intp),
    )  # fmt: skip
    least = _ROUNDING * np.einsum("ij,ij->i", t.rows, t.rows) / 12.0 + 1e-290
    which, every = np.tile(np.arange(samples), 2), np.arange(groups)
    for step in range(m):
        out = np.tile(t.order[:, step], 2)
        if by_outputs:
            across, middle = f.square[every, :, :, out], f.mean[every, :, out]
            v = across[every, :, out]
        else:
            row = t.rows[out]
            across = np.einsum("gkij,gj->gki", f.square, row)
            v, middle = np.einsum("gki,gi->gk", across, row), np.einsum("gki,gi->gk", f.mean, row)
        v = np.maximum(v, least[out][:, None])
        possible = t.possible[which, :, out][:, None, :] & f.alive[:, :, None]
        lo, hi = (e[which, :, out][:, None, :] - middle[:, :, None] for e in (t.lo, t.hi))
        precision = np.broadcast_to(1.0 / v[:, :, None], possible.shape)
        found = restricted(
            np.zeros(possible.shape), precision, np.where(possible, lo, 0.0),
            np.where(possible, hi, 1.0),
        )  # fmt: skip
        logs = found.log_mass - 0.5 * np.log(2.0 * math.pi * v)[:, :, None]
        own = t.own[which, out]
        light = np.where(possible, f.light[:, :, None] + np.minimum(logs, 0.0), -np.inf)
        mine = f.mine[:, :, None] & (np.arange(possible.shape[2]) == own[:, None, None])
        width = possible.shape[2]
        forced = mine & possible & (every >= samples)[:, None, None]
        score = (f.thinned[:, :, None] + light).reshape(groups, -1)
        flat, chances, f.alive = _thin(score, forced.reshape(groups, -1), most, chance.of(step))
        parent, piece = flat // width, flat % width
        f.thinned = np.take_along_axis(f.thinned, parent, 1) - chances
        f.light = np.take_along_axis(light.reshape(groups, -1), flat, 1)
        f.take(parent)
        f.mine &= piece == own[:, None]
        f.path[every, :, out] = piece
        at = every[:, None]
        v, across = v[at, parent], across[at, parent]
        shift = found.mean.reshape(groups, -1)[at, flat]
        change = np.minimum(found.variance.reshape(groups, -1)[at, flat] / v, 1.0) - 1.0
        along = across / v[:, :, None]
        f.mean = f.mean + along * shift[:, :, None]
        f.square += along[..., None] * (across * change[:, :, None])[:, :, None, :]
    group, k = np.nonzero(f.alive)
    path = t.whole[which[group]].copy()
    path[:, t.live] = f.path[group, k]
    return _Leaves(which[group], group // samples, path, f.thinned[group, k])


def _thin(
    score: Array, forced: NDArray[np.bool_], most: int, chance: Array
) -> tuple[Index, Array, NDArray[np.bool_]]:
    """Keep so many of every group's candidates: the heavy ones for sure, the others by chance.

    Parameters
    ----------
    score : ndarray of float64, shape (groups, candidates)
        Logarithms of weights.
    forced : ndarray of bool, shape (groups, candidates)
        At most one of a group, which is kept.
    most : int
    chance : ndarray of float64, shape (groups,)
        A uniform number each.

    Returns
    -------
    places : ndarray of int, shape (groups, kept)
    logarithms : ndarray of float64, shape (groups, kept)
        Of the probabilities to be kept.
    alive : ndarray of bool, shape (groups, kept)
        Which are any.
    """
    order = np.argsort(-score, axis=1, kind="stable")
    score, forced = np.take_along_axis(score, order, 1), np.take_along_axis(forced, order, 1)
    alive = (score > score[:, :1] - _LIGHT) | forced
    weight = np.where(alive, np.exp(np.maximum(score - score[:, :1], -600.0)), 0.0)
    share = alive.astype(np.float64)
    many = alive.sum(axis=1) > most
    if many.any():
        w = weight[many]
        rest = np.cumsum(w[:, ::-1], axis=1)[:, ::-1][:, :most] / (most - np.arange(most))
        first = (w[:, :most] <= rest * (1.0 + 1e-12)).argmax(axis=1)
        share[many] = np.minimum(w / np.take_along_axis(rest, first[:, None], 1), 1.0)
        end = np.cumsum(share, axis=1)
        begin = end - share
        if forced.any():  # where the grid is, given that this one is met
            group, place = np.nonzero(forced)
            chance = chance.copy()
            chance[group] = begin[group, place] + chance[group] * share[group, place]
        chance = chance[:, None]
        alive &= (np.floor(end - chance) > np.floor(begin - chance)) | (share >= 1.0) | forced
    kept = np.argsort(~alive, axis=1, kind="stable")[:, : int(alive.sum(axis=1).max())]
    logs = np.log(np.maximum(np.take_along_axis(share, kept, 1), 1e-290))
    return np.take_along_axis(order, kept, 1), logs, np.take_along_axis(alive, kept, 1)
