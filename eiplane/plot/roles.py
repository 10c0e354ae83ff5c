"""What layers of different blocks have in common: their role."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence

__all__ = ["LAYERS", "OTHER", "Role", "roles"]

#: How a layer is given its role: a function of its name.
Role = Callable[[str], str]

#: What the one role is called where no name repeats, and what layers without a role are.
LAYERS, OTHER = "layers", "other layers"


def roles(names: Sequence[str], role: Role | None = None, most: int | None = None) -> list[str]:
    """Return the role of every layer.

    Parameters
    ----------
    names : sequence of str
    role : callable, optional
        From a layer's name to its role. If left out, a role is what stands behind the number of a
        block, ``attn.c_attn`` of ``h.0.attn.c_attn``, or before it, where nothing is behind,
        ``features`` of ``features.3``, if that repeats.
    most : int, optional
        The greatest number of roles; the rarest are put together as other layers.

    Returns
    -------
    list of str
        One a name, in their order: all ``"layers"`` where nothing repeats.

    Examples
    --------
    >>> roles(["h.0.attn", "h.0.mlp", "h.1.attn", "h.1.mlp", "head"])
    ['attn', 'mlp', 'attn', 'mlp', 'other layers']
    >>> roles(["fc1", "fc2", "fc3"])
    ['layers', 'layers', 'layers']
    """
    if role is None:
        found = _repeated([_parts(name) for name in names])
    else:
        found = [role(name) for name in names]
    counts = Counter(found)
    if most is not None and len(counts) > most:
        counts.pop(OTHER, None)  # what is put together anyway
        kept = {name for name, _ in counts.most_common(most - 1)}
        found = [name if name in kept else OTHER for name in found]
    return found


def _parts(name: str) -> tuple[str, str]:
    """Return what stands before the number of a block, numbers left out, and what behind it."""
    if ".." in name:  # a span
        return "", ""
    parts = [part for part in re.split(r"[./]", name) if part]
    numbers = [i for i, part in enumerate(parts) if part.isdigit()]
    inner = [i for i in numbers if any(not part.isdigit() for part in parts[i + 1 :])]
    at = max(inner, default=None)
    if at is not None:
        return _bare(parts[:at]), ".".join(parts[at + 1 :])
    return (_bare(parts[: numbers[0]]), "") if numbers else ("", "")


def _bare(parts: Sequence[str]) -> str:
    """Return names without numbers, those at their ends neither: stages are one another's like."""
    return ".".join(part.rstrip("0123456789") for part in parts if not part.isdigit())


def _repeated(parts: Sequence[tuple[str, str]]) -> list[str]:
    """Return a name for each pair, a common one for those that are there once."""
    counts = Counter(parts)
    known = {pair for pair in counts if counts[pair] > 1 and any(pair)}
    if not known:
        return [LAYERS] * len(parts)
    places: dict[str, set[str]] = {}
    for before, behind in known:
        places.setdefault(behind, set()).add(before)

    def called(pair: tuple[str, str]) -> str:
        behind = pair[1]
        alike = len(places[behind]) == 1 and behind
        return behind if alike else ".".join(part for part in pair if part)

    return [called(pair) if pair in known else OTHER for pair in parts]
