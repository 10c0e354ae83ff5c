"""What can be read to its end: files, and no pipes or devices."""

from __future__ import annotations

import stat
from pathlib import Path

__all__ = ["check_regular"]

_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a directory",
}


def check_regular(path: Path) -> None:
    """Raise for what is no regular file: to open a pipe may wait for ever, to read a device too.

    Parameters
    ----------
    path : Path

    Raises
    ------
    ValueError
        If it is something else; it names it.
    OSError
        If there is nothing.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        raise ValueError(f"{path}: not a regular file, but {_KINDS.get(stat.S_IFMT(mode), 'none')}")
