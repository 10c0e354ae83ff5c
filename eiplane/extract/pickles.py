"""A glance over a pickle before it is read: does what it asks for stand in any proportion to it?"""

from __future__ import annotations

import pickletools

__all__ = ["check_pickle"]

#: Integers that nothing in a state dict reaches: sizes, offsets and counts of bytes.
_MOST = 1 << 50


def check_pickle(data: bytes) -> None:
    """Check that a pickle ends, and asks for no number that no weight needs.

    Parameters
    ----------
    data : bytes

    Raises
    ------
    ValueError
        If it does not end where its data does, or names sizes beyond any memory.
    """
    end = 0
    for opcode, argument, place in pickletools.genops(data):
        end = (place or 0) + 1
        if isinstance(argument, int) and not isinstance(argument, bool):
            # Seeds and ids may be large; only what is too large for any 64-bit number is odd.
            if opcode.name.startswith("LONG") and abs(argument) >= 1 << 64:
                raise ValueError("it holds a number of more than 64 bits")
    if end != len(data.rstrip(b"\0")) and end != len(data):
        raise ValueError("its pickle does not end where its data does")
