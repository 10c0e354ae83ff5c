"""Words that were meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["meant"]


def meant(word: str, known: Iterable[str]) -> str:
    """Return what to add to a message about a word that is none of those known.

    Parameters
    ----------
    word : str
    known : iterable of str

    Returns
    -------
    str
        As ``" (did you mean 'relu'?)"``; empty if nothing is like it.
    """
    near = get_close_matches(word, list(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""
