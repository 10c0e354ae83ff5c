"""JSON lines that survive a kill: a record is appended whole, and a cut last line is mended."""

from __future__ import annotations

import gc
import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .closing import Closing
from .familiar import Familiar
from .kinds import kind_of
from .regular import check_regular
from .whole import append_whole

__all__ = ["Appender", "read_records", "uncollected"]

Json = Mapping[str, Any]


def read_records(path: str | Path, familiar: Familiar | None = None) -> list[Json]:
    """Return the records of a file, one a line.

    Parameters
    ----------
    path : path-like
    familiar : Familiar, optional
        Lines that it knows need not be decoded yet.

    Returns
    -------
    list of mapping
        Without a last line that was cut while it was being written.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If any other line is not a JSON object (it names the line), or it is no regular file.
    """
    check_regular(Path(path))
    return _parse(Path(path).read_bytes(), path, familiar)[0]


_raw_decode = json.JSONDecoder().raw_decode


class Appender(Closing):
    """Appends records to a file of JSON lines.

    :meth:`mend`, or the first record, takes away what a kill left of a line, unless nothing but the
    line's end is missing. A record reaches the operating system in one piece before
    :meth:`append` returns, so that a killed process loses at most the one being written.

    Parameters
    ----------
    path : path-like
        Made if it is not there, with its folder.
    familiar : Familiar, optional
        As in :func:`read_records`.

    Attributes
    ----------
    records : list of mapping
        What the file held when it was opened.

    Raises
    ------
    OSError
        If the file cannot be opened for writing.
    ValueError
        If it holds lines that are not JSON objects: then it is left as it is.
    """

    def __init__(self, path: str | Path, familiar: Familiar | None = None) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        content = self.path.read_bytes() if self.path.exists() else b""
        self.records, self._whole, self._complete = _parse(content, path, familiar)
        self._read = len(content)
        self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)

    def append(self, record: Mapping[str, Any]) -> None:
        """Append one record.

        Parameters
        ----------
        record : mapping
            Numbers that are not finite are written as null: JSON has none.

        Raises
        ------
        OSError
            If it cannot be written; the file is then as it was.
        """
        text = json.dumps(_finite(record), allow_nan=False, separators=(",", ":"))
        data = (text + "\n").encode()
        self.mend()
        append_whole(self._file, data, self.path)

    def mend(self) -> None:
        """Mend a last line that was cut, unless another process has written since."""
        if os.fstat(self._file).st_size == self._read:
            if self._whole < self._read:
                os.ftruncate(self._file, self._whole)
            if not self._complete:
                append_whole(self._file, b"\n", self.path)
        self._read = -1

    def close(self) -> None:
        """Close the file; closing twice does no harm."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __del__(self) -> None:
        if getattr(self, "_file", -1) >= 0:
            self.close()


@contextmanager
def uncollected() -> Iterator[None]:
    """Keep the garbage collector from going through many new objects again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            if not gc.get_freeze_count():  # all is old now: nobody goes through it for being new
                gc.freeze()
                gc.unfreeze()
            gc.enable()


@uncollected()
def _parse(
    content: bytes, path: str | Path, familiar: Familiar | None
) -> tuple[list[Json], int, bool]:
    """Return the records, how many bytes they take, and whether the last line is ended."""
    records: list[Json] = []
    start = 0
    number = 0
    while start < len(content):
        number += 1
        end = content.find(b"\n", start)
        line = content[start:] if end < 0 else content[start:end]
        try:
            record = None if familiar is None else familiar.known(line)
            record = _decoded(line) if record is None else record
            if not isinstance(record, Mapping):
                raise ValueError("it is not a JSON object")
        except (ValueError, RecursionError) as error:
            kind = kind_of(path, "eiplane.Tracker.load") if number == 1 else ""
            if kind:
                raise ValueError(f"{path} is no file of a tracked run: it is {kind}") from None
            if end < 0:
                return records, start, True
            if isinstance(error, UnicodeDecodeError):
                raise ValueError(f"{path}, line {number}: no text, so no JSON") from None
            raise ValueError(f"{path}, line {number}: {error}") from None
        records.append(record)
        if end < 0:
            return records, len(content), False
        start = end + 1
    return records, start, True


def _decoded(line: bytes) -> Any:
    """Return the value of a line: as ``json.loads``, whose way to it takes a fifth of the time."""
    try:
        text = str(line, "utf-8")
        value, end = _raw_decode(text)
        if end == len(text):
            return value
    except (ValueError, RecursionError):
        pass
    return json.loads(line)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return value
