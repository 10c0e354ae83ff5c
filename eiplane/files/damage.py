"""What is wrong with a file, told from what is wrong with the disk."""

from __future__ import annotations

import errno

__all__ = ["is_damage"]


def is_damage(error: BaseException) -> bool:
    """Return whether what a reader raised is about what a file holds.

    Parameters
    ----------
    error : BaseException

    Returns
    -------
    bool
        False for what the operating system says. An archive may send its reader to a place before
        the file's beginning, which is ``EINVAL``; unpackers raise OSError without a number.
    """
    return not isinstance(error, OSError) or error.errno in (None, errno.EINVAL)
