"""Writing files whole or not at all.

A file is written beside its place, under a hidden name, and moved there. A process that is killed
leaves it behind: the first write of another one into that folder takes away what nobody holds.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

if sys.platform != "win32":
    import fcntl

__all__ = ["append_whole", "json_text", "left_over", "named", "write_whole"]

#: Whether open files can be locked and moved.
_LOCKS = sys.platform != "win32"

#: Names of files that are being written, or were when their process was killed.
_HIDDEN = re.compile(r"\..*\.eiplane-[0-9a-f]{8}", re.DOTALL)

#: Characters of a file's own name in them: a name of 255 bytes leaves no room for more.
_KEPT = 40

#: Seconds after its last change from which a file that nobody holds is taken away: not all disks
#: that are shared know of locks.
_STALE = 60.0

#: Folders that have been looked through: a folder may hold many files.
_swept: set[str] = set()


def write_whole(path: str | Path, write: Callable[[BinaryIO], Any]) -> None:
    """Write a file beside its place and move it there when complete.

    Parameters
    ----------
    path : path-like
        The file's place; what stood there stays until the new one is complete.
    write : callable
        Writes to the open binary file that it is given.

    Raises
    ------
    OSError
        If it cannot be written; it names the file.
    """
    target = Path(path)
    _sweep(target.parent)
    try:
        handle, name = _beside(target)
    except OSError as error:
        raise named(error, target) from None
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
            if _LOCKS:  # while it is still held
                os.replace(name, target)
        if not _LOCKS:
            os.replace(name, target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(name)
        if isinstance(error, OSError):
            raise named(error, target) from error
        raise


def left_over(name: str) -> bool:
    """Return whether a file of this name is one that is not complete, or never will be."""
    return _HIDDEN.fullmatch(name) is not None


def _beside(target: Path) -> tuple[int, Path]:
    """Open a new file beside a place, and hold it, so that nobody takes it for left over."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    while True:
        name = target.parent / f".{target.name[:_KEPT]}.eiplane-{secrets.token_hex(4)}"
        try:
            handle = os.open(name, flags, 0o666)
        except FileExistsError:
            continue
        # By its name: not every file system counts the names of a file.
        if _held(handle) is not False and os.path.lexists(name):
            return handle, name
        os.close(handle)  # another process has just taken it away


def _held(handle: int) -> bool | None:
    """Lock an open file; False if another process holds it, None where there are no locks."""
    if sys.platform == "win32":
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _sweep(folder: Path) -> None:
    """Take away what killed processes left in a folder, once a process."""
    with contextlib.suppress(OSError):  # the writer will say so
        place = os.path.abspath(folder)
        if place in _swept:
            return
        _swept.add(place)
        with os.scandir(place) as entries:
            for entry in entries:
                if left_over(entry.name) and entry.is_file(follow_symlinks=False):
                    with contextlib.suppress(OSError):
                        if time.time() - entry.stat().st_mtime > _STALE:
                            _remove(entry.path)


def _remove(path: str) -> None:
    """Remove a file that no process holds."""
    handle = os.open(path, os.O_RDWR)
    try:
        if _held(handle):
            os.unlink(path)
    finally:
        os.close(handle)


def append_whole(handle: int, data: bytes, path: str | Path) -> None:
    """Append to an open file, all or nothing.

    Parameters
    ----------
    handle : int
        Opened to append.
    data : bytes
    path : path-like
        What an error names.

    Raises
    ------
    OSError
        If it cannot be written; the file is then as it was.
    """
    size = os.fstat(handle).st_size
    try:
        while data:
            data = data[os.write(handle, data) :]
    except OSError as error:  # a full disk, say: leave no half of a line
        os.ftruncate(handle, size)
        raise named(error, path) from None


def json_text(document: Any, path: str | Path | None = None) -> str:
    """Return a document as indented JSON, and write it, whole or not at all, if a path is given.

    Parameters
    ----------
    document : dict
        Without NaN and infinity.
    path : path-like, optional

    Returns
    -------
    str

    Raises
    ------
    OSError
        If it cannot be written; it names the file.
    """
    text = json.dumps(document, indent=2, allow_nan=False)
    if path is not None:
        write_whole(path, lambda file: file.write(text.encode()))
    return text


def named(error: OSError, path: str | Path) -> OSError:
    """Return an error of the operating system as one of this file."""
    if error.errno is None:
        return OSError(f"{path}: {error}")
    return OSError(error.errno, error.strerror or os.strerror(error.errno), str(path))
