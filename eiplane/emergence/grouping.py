"""Searches for groups of a layer's neurons that are worth most together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..network import Channel
from ..results import Joint
from .partitions import Groups, Labels, groups_of, partitions
from .search import linkage
from .units import MacroUnit, MacroUnits, Neurons

__all__ = ["EXHAUSTED", "SEARCHES", "Grouping"]

Array = NDArray[np.float64]

SEARCHES = ("auto", "exhaustive", "greedy", "spectral")

#: Neurons of an exhaustive search at most, and up to which "auto" is that; up to which it is greedy
#: as well, and partitions are refined.
EXHAUSTED, _GREEDY = 8, 24

#: Partitions that a search refines, the best of so many numbers of groups.
_STARTS = 4

#: How many standard errors better a partition must be.
_SURE = 2.0


@dataclass(eq=False)
class Grouping:
    """Remembers what groups are worth, so that none is measured twice."""

    channel: Channel
    edges: Array
    tied: bool
    measure: Any
    known: dict[tuple[Neurons, Neurons], Joint] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Number of neurons that are put in groups."""
        return self.channel.n_in if self.tied else self.channel.n_in + self.channel.n_out

    def split(self, group: Iterable[int]) -> tuple[Neurons, Neurons]:
        """Return the inputs and the outputs of a group."""
        places, n_in = sorted(group), self.channel.n_in
        if self.tied:
            return tuple(places), tuple(places)
        return tuple(p for p in places if p < n_in), tuple(p - n_in for p in places if p >= n_in)

    def learn(self, groups: Iterable[Iterable[int]]) -> None:
        """Measure those of the groups that are not known, together."""
        pairs = dict.fromkeys(self.split(group) for group in groups)
        new = [(a, b) for a, b in pairs if a and b and (a, b) not in self.known]
        if new:
            self.known.update(zip(new, self.measure(new), strict=True))

    def unit(self, group: Iterable[int]) -> MacroUnit:
        """Return a group as a unit."""
        inputs, outputs = self.split(group)
        parts = float(self.edges[np.ix_(outputs, inputs)].sum())
        capacity = len(inputs) * math.log2(self.channel.in_bins)
        return MacroUnit(inputs, outputs, self.known.get((inputs, outputs)), parts, capacity)

    def units(self, groups: Groups) -> tuple[MacroUnit, ...]:
        """Return all groups as units, measured."""
        self.learn(groups)
        return tuple(self.unit(group) for group in groups)

    def better(self, one: Groups, other: Groups) -> bool:
        """Whether the other partition has more integrated information, or as much and more EI."""
        phi = ei = error = 0.0
        for sign, mine, theirs in ((-1.0, one, other), (1.0, other, one)):
            for group in set(mine) - set(theirs):
                unit = self.unit(group)
                if unit.phi is None or unit.ei is None:  # nothing is better for want of knowledge
                    return False
                phi, ei = phi + sign * unit.phi, ei + sign * unit.ei
                error = math.hypot(error, unit.ei_stderr or 0.0)
        least = _SURE * error + 1e-9
        return phi > least or (phi > -1e-9 and ei > least)

    def worth(self, groups: Groups) -> float:
        """Return the integrated information of a partition; less than any where it is not known."""
        phis = [unit.phi for unit in self.units(groups)]
        return sum(-math.inf if phi is None else phi for phi in phis)

    def searched(self, how: str) -> MacroUnits:
        """Return the best partition of a search."""
        names = [how]
        if how == "auto":
            names = ["exhaustive"] if self.count <= EXHAUSTED else ["spectral"]
            names += ["greedy"] if EXHAUSTED < self.count <= _GREEDY else []
        best: Groups = tuple((i,) for i in range(self.count))
        found = names[0]
        walks = {"spectral": self.spectral, "greedy": self.greedy, "exhaustive": self.exhaustive}
        self.learn(best)
        for name in names:
            way = []
            for groups in walks[name]():
                way.append(groups)
                if self.better(best, groups):
                    best, found = groups, name
            if name == "exhaustive" or self.count > _GREEDY:
                continue
            for start in [best, *self._starts(way)]:
                groups = self.refined(start)
                if self.better(best, groups):
                    best, found = groups, name
        return MacroUnits(self.channel.name, self.units(best), found)

    def _starts(self, way: Iterable[Groups]) -> list[Groups]:
        """Return the best partitions of a search, of different numbers of groups."""
        bests: dict[int, tuple[float, Groups]] = {}
        for groups in way:
            worth = self.worth(groups)
            if worth > bests.get(len(groups), (-math.inf, ()))[0]:
                bests[len(groups)] = worth, groups
        ranked = sorted(bests.values(), key=lambda one: (-one[0], -len(one[1])))
        return [groups for _, groups in ranked[:_STARTS]]

    def refined(self, groups: Groups) -> Groups:
        """Move single neurons to other groups, or out of theirs, and join groups while it pays."""
        settled = False
        while not settled:
            settled = True
            for neuron in [*range(self.count), None]:
                tried = self._joins(groups) if neuron is None else self._moves(groups, neuron)
                self.learn(group for other in tried for group in other)
                for other in tried:
                    # One group more is taken unless it is worse: what adds nothing stays apart.
                    finer = len(other) > len(groups) and not self.better(other, groups)
                    if finer or self.better(groups, other):
                        groups, settled = other, False
        return groups

    def _moves(self, groups: Groups, neuron: int) -> list[Groups]:
        """Return the partitions with a neuron alone, and in each of the other groups."""
        own = next(group for group in groups if neuron in group)
        others = [group for group in groups if group is not own]
        left = [tuple(i for i in own if i != neuron)] if len(own) > 1 else []
        found = [[*left, *others, (neuron,)]] if left else []
        for other in others:
            rest = [group for group in others if group is not other]
            found.append([*left, *rest, tuple(sorted((*other, neuron)))])
        return [tuple(sorted(partition)) for partition in found]

    def _joins(self, groups: Groups) -> list[Groups]:
        """Return the partitions with two of the groups joined."""
        return [
            tuple(sorted((*groups[:i], *groups[i + 1 : j], *groups[j + 1 :], tuple(sorted(a + b)))))
            for i, a in enumerate(groups)
            for j, b in enumerate(groups[i + 1 :], start=i + 1)
        ]

    def exhaustive(self) -> Iterator[Groups]:
        """Go through all partitions, the finest first."""
        every = sorted(map(groups_of, partitions(self.count)), key=len, reverse=True)
        self.learn(group for groups in every for group in groups)
        yield from every

    def spectral(self) -> Iterator[Groups]:
        """Cluster the neurons by the singular vectors of the edges, the finest partition first.

        Edges are divided by the roots of what their two neurons have in all, as for co-clustering
        documents and words (I. Dhillon, KDD 2001).
        """
        edges = np.maximum(self.edges, 0.0)
        if self.tied:
            edges = edges + edges.T
        rows, columns = (_inverse_root(edges.sum(axis=k)) for k in (1, 0))
        left, values, right = np.linalg.svd(edges * rows * columns.T, full_matrices=False)
        left, right = left * rows, right.T * columns
        seen: set[Groups] = set()
        for rank in sorted({min(2**k, len(values)) for k in range(8)}):
            # Vectors of equal values are turned by rounding at will: all of them, or none.
            rank = int((values > values[rank - 1] - 1e-9).sum())
            place = left[:, :rank] * values[:rank]
            if not self.tied:
                place = np.vstack([right[:, :rank] * values[:rank], place])
            labels: Labels = np.arange(self.count)
            walk = []
            for a, b in linkage(place):
                labels = np.where(labels == b, a, labels)
                walk.append(groups_of(labels))
            self.learn(group for groups in walk for group in groups)
            for groups in walk:
                if groups not in seen:
                    seen.add(groups)
                    yield groups

    def greedy(self) -> Iterator[Groups]:
        """Merge the two groups that are best merged, until one is left.

        Where no merging gains anything yet, as of two single neurons, the strongest edges decide.
        """
        groups: Groups = tuple((i,) for i in range(self.count))
        while len(groups) > 1:
            pairs = [(a, b) for i, a in enumerate(groups) for b in groups[i + 1 :]]
            self.learn(a + b for a, b in pairs)
            one, two = max(pairs, key=lambda pair: self._promise(*pair))
            merged = tuple(sorted(one + two))
            groups = tuple(sorted([*(g for g in groups if g not in (one, two)), merged]))
            yield groups

    def _promise(self, a: Neurons, b: Neurons) -> tuple[float, float]:
        """Return the sure gain of merging two groups, and the EI of the edges between them."""
        one, two, both = self.unit(a), self.unit(b), self.unit(a + b)
        error = math.hypot(*(unit.ei_stderr or 0.0 for unit in (both, one, two)))
        gain = -math.inf
        if both.phi is not None and one.phi is not None and two.phi is not None:
            gain = both.phi - one.phi - two.phi - _SURE * error
        return round(gain, 6), both.ei_parts - one.ei_parts - two.ei_parts


def _inverse_root(sums: Array) -> Array:
    """Return a column of one over the roots; 0 of those neurons that have no edge."""
    return np.where(sums > 0, 1.0 / np.sqrt(np.where(sums > 0, sums, 1.0)), 0.0)[:, None]
