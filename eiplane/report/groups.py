"""How a page tells many layers apart: by block, by role, and colour by depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..plot.roles import LAYERS, OTHER, roles

__all__ = ["Group", "grouped"]

#: Marks, and distinct colours, that the page has.
MARKS, COLOURS = 8, 7


@dataclass(frozen=True)
class Group:
    """Where a layer belongs, and how it looks.

    Parameters
    ----------
    role : str
        What layers of several blocks have in common; empty where no name repeats.
    block : str
        The rest of its name; empty where it is in none.
    color : str
        In CSS. By depth where there are many layers.
    mark : int
        Of its role where there are many layers.
    """

    role: str
    block: str
    color: str
    mark: int


def grouped(names: Sequence[str]) -> list[Group]:
    """Return the groups of layers.

    Parameters
    ----------
    names : sequence of str
        In their order.

    Returns
    -------
    list of Group
        One a name.
    """
    found = roles(names, None, MARKS)
    kinds = list(dict.fromkeys(found))
    several = kinds != [LAYERS]
    many = len(names) > COLOURS
    groups = []
    for i, (name, role) in enumerate(zip(names, found, strict=True)):
        mark = kinds.index(role) if several and many else i % MARKS if not many else 0
        color = _by_depth(i, len(names)) if many else f"var(--c{i})"
        groups.append(Group(role if several else "", _block(name, role), color, mark))
    return groups


def _block(name: str, role: str) -> str:
    if role in (LAYERS, OTHER) or not name.endswith(role):
        return ""
    return name[: len(name) - len(role)].rstrip("./")


def _by_depth(place: int, count: int) -> str:
    """Return a colour between the three of the scale, which differ in the dark."""
    share = 200.0 * place / (count - 1)
    low, part = (0, share) if share < 100.0 else (1, share - 100.0)
    return f"color-mix(in oklab, var(--d{low + 1}) {part:.0f}%, var(--d{low}))"
