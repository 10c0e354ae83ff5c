"""Zip archives of arrays (.npz, .pt), looked at before anything trusts them."""

from __future__ import annotations

import contextlib
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from ..files import is_damage

__all__ = ["DAMAGE", "checked_members", "opened"]

#: What Python's reader of archives raises for damaged ones. RuntimeError: encrypted members.
DAMAGE = (
    zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, UnicodeError, ValueError,
    zlib.error, OverflowError,
)  # fmt: skip

#: What a member may be compressed to: deflate cannot do better than 1032 to 1.
_MOST_RATIO = 1100


def checked_members(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """Return the members of an archive, each of which can be read.

    Parameters
    ----------
    archive : ZipFile

    Returns
    -------
    list of ZipInfo

    Raises
    ------
    ValueError
        If a member is encrypted, compressed by a method that is not read here, bigger than what it
        is unpacked from allows, or there twice.
    """
    members = archive.infolist()
    seen: set[str] = set()
    for member in members:
        name = member.filename
        if member.flag_bits & 0x1:
            raise ValueError(f"member {name!r} is encrypted")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"member {name!r} is compressed by method {member.compress_type}")
        stored = member.compress_type == zipfile.ZIP_STORED
        most = member.compress_size * (1 if stored else _MOST_RATIO) + 64 * (not stored)
        if member.file_size > most or (stored and member.file_size != member.compress_size):
            raise ValueError(f"member {name!r} declares more than it holds")
        if name in seen:
            raise ValueError(f"member {name!r} is there twice")
        seen.add(name)
    return members


@contextlib.contextmanager
def opened(path: Path, what: str) -> Iterator[zipfile.ZipFile]:
    """Open an archive; whatever is wrong with it is a ValueError that names the file.

    Parameters
    ----------
    path : Path
    what : str
        What kind of file it should be.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (*DAMAGE, OSError) as error:
        said = str(error) or type(error).__name__
        if not is_damage(error) or (isinstance(error, ValueError) and str(path) in said):
            raise
        raise ValueError(f"{path}: {what} ({said})") from None
