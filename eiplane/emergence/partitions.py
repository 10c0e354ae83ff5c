"""Partitions of states into groups, and what a macro scale is worth.

To set a group is to set each of its states equally often; what a group does is the sum of what it
does to the states of a group. So with ``B`` the membership of states in groups, the macro matrix is
``B' P B`` with each row divided by the number of states in its group.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .scale import row_entropies

__all__ = [
    "Groups",
    "Labels",
    "checked_groups",
    "groups_of",
    "labels_of",
    "macro_matrix",
    "membership",
    "partitions",
    "scores",
]

Array = NDArray[np.float64]
Labels = NDArray[np.intp]
Groups = tuple[tuple[int, ...], ...]


def groups_of(labels: Labels) -> Groups:
    """Return the groups, each in rising order, in the order of their first states."""
    found: dict[int, list[int]] = {}
    for state, label in enumerate(labels.tolist()):
        found.setdefault(label, []).append(state)
    return tuple(tuple(group) for group in found.values())


def labels_of(groups: Groups, n: int) -> Labels:
    """Return the number of the group of each of ``n`` states."""
    labels = np.empty(n, np.intp)
    for number, group in enumerate(groups):
        labels[list(group)] = number
    return labels


def membership(labels: Labels) -> Array:
    """Return a column of zeros and ones for each group; shape (n, groups)."""
    return np.asarray(np.eye(int(labels.max()) + 1)[labels])


def macro_matrix(matrix: Array, labels: Labels) -> Array:
    """Return the transition matrix between groups of states."""
    member = membership(labels)
    return np.asarray((member.T @ matrix @ member) / member.sum(axis=0)[:, None])


def scores(sums: Array, sizes: Array, objective: str) -> Array:
    """Return what partitions are worth.

    Parameters
    ----------
    sums : ndarray of float64, shape (..., m, m)
        ``B' P B`` of each partition.
    sizes : ndarray of float64, shape (..., m)
        States in each group; groups without any do not count.
    objective : {"ei", "effectiveness"}

    Returns
    -------
    ndarray of float64, shape (...)
        In bits, or as a share of them.
    """
    rows = sums / np.maximum(sizes, 1.0)[..., None]
    number = np.maximum((sizes > 0).sum(axis=-1), 1)
    noise = row_entropies(rows).sum(axis=-1) / number
    ei = row_entropies(rows.sum(axis=-2) / number[..., None]) - noise
    return np.asarray(worth(ei, number, objective))


def worth(ei: Any, number: Any, objective: str) -> Any:
    """Return the objective of scales with so much EI and so many groups."""
    if objective == "ei":
        return ei
    return np.where(number > 1, ei / np.log2(np.maximum(number, 2)), 0.0)


def partitions(n: int) -> Iterator[Labels]:
    """Go through all partitions of ``n`` states, as labels that first appear in rising order."""
    labels = [0] * n
    for _ in itertools.count():
        yield np.array(labels, np.intp)
        at = n - 1
        while at > 0 and labels[at] > max(labels[:at]):
            labels[at] = 0
            at -= 1
        if at <= 0:
            return
        labels[at] += 1


def checked_groups(groups: Sequence[Any], n: int, what: str = "state") -> Groups:
    """Return groups that hold each of ``n`` places once.

    Raises
    ------
    TypeError, ValueError
        If they do not.
    """
    found: list[tuple[int, ...]] = []
    seen: set[int] = set()
    for group in groups:
        try:
            members = list(group)
        except TypeError:
            raise TypeError(f"a group is a sequence of places, got {group!r}") from None
        if not members:
            raise ValueError(f"a group needs at least one {what}")
        for i in members:
            if isinstance(i, bool) or not isinstance(i, (int, np.integer)):
                raise TypeError(f"places of {what}s are whole numbers, got {i!r}")
            if not -n <= i < n:
                raise ValueError(f"there is no {what} {i}; there are {n}")
            if i % n in seen:
                raise ValueError(f"{what} {i} is in two groups, or twice in one")
            seen.add(int(i) % n)
        found.append(tuple(sorted(int(i) % n for i in members)))
    missing = sorted(set(range(n)) - seen)
    if missing:
        raise ValueError(f"{what} {missing[0]} is in no group; each belongs to one")
    return tuple(found)
