"""What is said of a weight that made no layer."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["ENTRIES", "HARMLESS", "unused"]

#: What only these use is a position or a scale, not a map from inputs to outputs.
HARMLESS = frozenset(["norm", "move", "elementwise"])

#: The use of a matrix that changes a signal entry by entry, and does not merely shift it.
ENTRIES = "its entries meet those of a signal one by one, which makes no linear map by itself"


def unused(used: set[str] | None, shape: Sequence[int]) -> str | None:
    """Return why a weight made no layer; None where it need not be listed.

    Parameters
    ----------
    used : set of str, or None
        The kinds of operators that took it, or sentences that say more.
    shape : sequence of int
        Of the weight.
    """
    if used is None:
        return "no use of it was seen in the forward pass"
    strange = sorted(used - HARMLESS - {"constant"})
    if used <= HARMLESS:
        return None
    told = [use for use in sorted(used) if " " in use]
    if told:
        return told[0]
    if not strange:
        return "its input does not depend on the network's input"
    return f"a weight of shape {tuple(shape)} used by {strange[0]}"
