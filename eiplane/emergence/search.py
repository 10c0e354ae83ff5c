"""Searches for the macro scale that is worth most.

``exhaustive`` goes through all partitions. ``greedy`` merges the two groups that are best merged
until one is left, as in B. Klein and E. Hoel, *The emergence of informative higher scales in
complex networks*, Complexity 2020, 8932526. ``spectral`` clusters the states by their leading
singular vectors, in the way of R. Griebenow, B. Klein and E. Hoel, *Finding the right scale of a
network*, arXiv 1908.07565 (2019). Both then move single states and join groups as long as that is
better, from the best partitions of different numbers of groups.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .partitions import Labels, groups_of, labels_of, membership, partitions, scores, worth
from .scale import row_entropies

__all__ = ["SEARCHES", "Found", "linkage", "search"]

Array = NDArray[np.float64]

#: What counts as better: far above rounding.
BETTER = 1e-12

#: Multiplications of a pass that moves single states, at most.
_PASS = 1e8

#: Partitions that a search refines, the best of so many numbers of groups.
_STARTS = 8

#: States up to which every search is run by "auto"; beyond, only those that finish in seconds.
EXHAUSTIVE_STATES, GREEDY_STATES = 8, 200


@dataclass(frozen=True)
class Found:
    """The best partition of a search.

    Parameters
    ----------
    labels : ndarray of int
        Group of each state.
    score : float
        Of the objective.
    search : str
        Which one found it.
    """

    labels: Labels
    score: float
    search: str

    @property
    def groups(self) -> int:
        """Number of groups."""
        return len(np.unique(self.labels))


def search(matrix: Array, how: str, objective: str) -> Found:
    """Return the best macro scale; the micro scale itself where none is better.

    Parameters
    ----------
    matrix : ndarray of float64, shape (n, n)
    how : {"auto", "exhaustive", "greedy", "spectral"}
    objective : {"ei", "effectiveness"}

    Returns
    -------
    Found
    """
    n = len(matrix)
    names = [how]
    if how == "auto":
        names = ["exhaustive"] if n <= EXHAUSTIVE_STATES else ["spectral"]
        names += ["greedy"] if EXHAUSTIVE_STATES < n <= GREEDY_STATES else []
    micro = np.arange(n)
    best = Found(micro, _score(matrix, micro, objective), names[0])
    for name in names:
        best = better(best, SEARCHES[name](matrix, objective))
    return best


def better(one: Found, other: Found) -> Found:
    """Return the better of two; of equally good macro scales the one with fewer groups."""
    n = len(one.labels)
    if other.score > one.score + BETTER:
        return other
    equal = other.score > one.score - BETTER
    return other if equal and one.groups < n and other.groups < one.groups else one


def exhaustive(matrix: Array, objective: str) -> Found:
    """Go through all partitions: 4,140 of 8 states, 115,975 of 10."""
    n = len(matrix)
    best = Found(np.arange(n), -np.inf, "exhaustive")
    member = np.eye(n)
    block: list[Labels] = []

    def settle() -> None:
        nonlocal best
        stack = member[np.array(block)]  # (partitions, n, groups)
        sums = np.einsum("pig,ij,pjh->pgh", stack, matrix, stack, optimize=True)
        values = scores(sums, stack.sum(axis=1), objective)
        for i in np.flatnonzero(values > max(best.score, values.max()) - BETTER):
            best = better(best, Found(block[i], float(values[i]), "exhaustive"))
        block.clear()

    for labels in partitions(n):
        block.append(labels)
        if len(block) == 4096:
            settle()
    if block:
        settle()
    return best


def greedy(matrix: Array, objective: str) -> Found:
    """Merge two groups at a time, those that are best merged, and refine the best of the way."""
    sums, sizes = matrix.copy(), np.ones(len(matrix))
    groups = [[i] for i in range(len(matrix))]
    way = [_micro(matrix, objective)]
    while len(sizes) > 1:
        a, b = _best_pair(sums, sizes)
        sums, sizes = _merged(sums, sizes, a, b)
        groups[a] += groups.pop(b)
        labels = labels_of(tuple(map(tuple, groups)), len(matrix))
        way.append(Found(labels, float(scores(sums, sizes, objective)), "greedy"))
    return refined(matrix, way, objective, "greedy")


def _merged(sums: Array, sizes: Array, a: int, b: int) -> tuple[Array, Array]:
    """Return the sums and sizes with group b, the later one, put into a."""
    sums = sums.copy()
    sums[a] += sums[b]
    sums[:, a] += sums[:, b]
    sizes = sizes.copy()
    sizes[a] += sizes[b]
    keep = np.arange(len(sizes)) != b
    return sums[np.ix_(keep, keep)], sizes[keep]


def _term(p: Array) -> Array:
    return -p * np.log2(p, out=np.zeros_like(p), where=p > 0)


def _best_pair(sums: Array, sizes: Array) -> tuple[int, int]:
    """Return the two groups whose merging leaves the most EI.

    What changes is little: all rows in two columns, two rows altogether, and the average.
    """
    m = len(sizes)
    rows = sums / sizes[:, None]
    terms = _term(rows)
    entropy, total = terms.sum(axis=1), rows.sum(axis=0)
    whole = float(entropy.sum())
    best, pair = -np.inf, (0, 1)
    for a in range(m - 1):
        b = np.arange(a + 1, m)
        # Of each row, what joining its columns a and b takes away: (m, len(b)).
        joined = _term(rows[:, [a]] + rows[:, b]) - terms[:, [a]] - terms[:, b]
        weight = (sizes[a] / (sizes[a] + sizes[b]))[:, None]
        row = weight * rows[a] + (1.0 - weight) * rows[b]
        mean = (total - rows[a] - rows[b] + row) / (m - 1)
        noise = whole + joined.sum(axis=0) - entropy[a] - joined[a]
        noise += _with_joined(row, a, b) - entropy[b] - joined[b, np.arange(len(b))]
        value = _with_joined(mean, a, b) - noise / (m - 1)
        at = int(np.argmax(value))
        if value[at] > best + BETTER:
            best, pair = float(value[at]), (a, int(b[at]))
    return pair


def _with_joined(p: Array, a: int, b: NDArray[np.intp]) -> Array:
    """Return the entropy of each row, its columns a and b[i] joined."""
    own = p[np.arange(len(b)), b]
    terms = _term(p).sum(axis=1) - _term(p[:, a]) - _term(own)
    return np.asarray(terms + _term(p[:, a] + own))


def spectral(matrix: Array, objective: str) -> Found:
    """Cluster states that do alike and are done to alike, at every number of groups.

    A state's place is its row of the leading left singular vectors, and of the right ones, by
    their singular values; clusters are joined by their average distance.
    """
    n = len(matrix)
    left, values, right = np.linalg.svd(matrix)
    ways = [_micro(matrix, objective)]
    for rank in _ranks(n, int((values > 1e-12 * values[0]).sum())):
        place = np.hstack([left[:, :rank] * values[:rank], right[:rank].T * values[:rank]])
        for labels, score in _along(matrix, linkage(place), objective):
            ways.append(Found(labels, score, "spectral"))
    return refined(matrix, ways, objective, "spectral")


def _ranks(n: int, full: int) -> list[int]:
    if n <= 64:
        ranks = [2**k for k in range(full.bit_length())]
    else:
        ranks = [2, max(2, round(full**0.5)), full]
    return sorted({min(max(rank, 1), full) for rank in [*ranks, full]})


def linkage(place: Array) -> list[tuple[int, int]]:
    """Return the order in which the clusters of points are joined, by average distance.

    Parameters
    ----------
    place : ndarray of float64, shape (n, d)

    Returns
    -------
    list of (int, int)
        ``n - 1`` pairs of clusters that become one, each named by its least point.
    """
    square = np.sum(place**2, axis=1)
    distance = np.sqrt(np.maximum(square[:, None] + square - 2.0 * place @ place.T, 0.0))
    np.fill_diagonal(distance, np.inf)
    sizes = np.ones(len(place))
    pairs = []
    for _ in range(len(place) - 1):
        a, b = sorted(divmod(int(np.argmin(distance)), len(place)))
        row = (sizes[a] * distance[a] + sizes[b] * distance[b]) / (sizes[a] + sizes[b])
        row[[a, b]] = np.inf
        distance[a], distance[:, a] = row, row
        distance[b], distance[:, b] = np.inf, np.inf
        sizes[a] += sizes[b]
        pairs.append((a, b))
    return pairs


def _along(
    matrix: Array, pairs: list[tuple[int, int]], objective: str
) -> Iterator[tuple[Labels, float]]:
    sums, sizes = matrix.copy(), np.ones(len(matrix))
    labels = np.arange(len(matrix))
    for left, (a, b) in enumerate(pairs, start=1):
        sums[a] += sums[b]
        sums[:, a] += sums[:, b]
        sums[b], sums[:, b] = 0.0, 0.0
        sizes[a] += sizes[b]
        sizes[b] = 0.0
        labels = np.where(labels == b, a, labels)
        number = len(matrix) - left
        rows = sums / np.maximum(sizes, 1.0)[:, None]
        ei = row_entropies(rows.sum(axis=0) / number) - row_entropies(rows).sum() / number
        yield labels, float(worth(ei, number, objective))


def _micro(matrix: Array, objective: str) -> Found:
    """Return the finest partition of all."""
    labels = np.arange(len(matrix))
    return Found(labels, _score(matrix, labels, objective), "")


def refined(matrix: Array, found: Sequence[Found], objective: str, name: str) -> Found:
    """Refine the best partitions, one of each number of groups, and return the best that comes."""
    bests: dict[int, Found] = {}
    for one in found:
        number = one.groups
        if number not in bests or one.score > bests[number].score + BETTER:
            bests[number] = one
    starts = sorted(bests.values(), key=lambda one: -one.score)[:_STARTS]
    best = replace(starts[0], search=name)
    for start in starts:
        best = better(best, _settled(matrix, start.labels, objective, name))
    return best


def _settled(matrix: Array, labels: Labels, objective: str, name: str) -> Found:
    """Move single states to other groups or out of theirs, and join groups, while it is better."""
    n = len(matrix)
    labels = labels_of(groups_of(labels), n)
    score = _score(matrix, labels, objective)
    moved = True
    while moved:
        moved = False
        for state in range(n):
            number = int(labels.max()) + 2  # and one that is empty
            if n * float(number) ** 3 > _PASS:
                return Found(labels, score, name)
            values = _moves(matrix, labels, state, number, objective)
            to = int(np.argmax(values))
            if values[to] > score + BETTER:
                labels = labels.copy()
                labels[state] = to
                labels = labels_of(groups_of(labels), n)
                score, moved = float(values[to]), True
        if not moved and labels.max() > 0:
            member = membership(labels)
            a, b = _best_pair(member.T @ matrix @ member, member.sum(axis=0))
            joined = labels_of(groups_of(np.where(labels == b, a, labels)), n)
            value = _score(matrix, joined, objective)
            if value > score + BETTER:
                labels, score, moved = joined, value, True
    return Found(labels, score, name)


def _moves(matrix: Array, labels: Labels, state: int, number: int, objective: str) -> Array:
    """Return the score with a state in each of the groups in turn."""
    member = np.zeros((len(labels), number))
    member[np.arange(len(labels)), labels] = 1.0
    member[state] = 0.0
    rest, sizes = member.T @ matrix @ member, member.sum(axis=0)
    to, own = matrix[state] @ member, member.T @ matrix[:, state]
    at = np.arange(number)
    sums = np.broadcast_to(rest, (number, number, number)).copy()
    sums[at, at] += to
    sums[at, :, at] += own
    sums[at, at, at] += matrix[state, state]
    return scores(sums, sizes + np.eye(number), objective)


def _score(matrix: Array, labels: Labels, objective: str) -> float:
    member = membership(labels)
    return float(scores(member.T @ matrix @ member, member.sum(axis=0), objective))


#: By name; each returns the best that it finds.
SEARCHES: dict[str, Callable[[Array, str], Found]] = {
    "exhaustive": exhaustive,
    "greedy": greedy,
    "spectral": spectral,
}
