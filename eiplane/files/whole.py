"""Writing files whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

__all__ = ["append_whole", "json_text", "named", "write_whole"]


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
    try:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    except OSError as error:
        raise named(error, target) from None
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)
        os.replace(name, target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(name)
        if isinstance(error, OSError):
            raise named(error, target) from error
        raise


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
