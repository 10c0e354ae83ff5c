"""Telling how far long work is: a bar on a terminal, nothing in a pipe."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .parallel import Progress

__all__ = ["progress_bar"]

#: Work that takes less shows nothing.
_PATIENCE = 0.5


@contextmanager
def progress_bar(progress: bool | Progress | None = None) -> Iterator[Progress | None]:
    """Give what a :class:`eiplane.run.Runner` tells its progress to.

    Parameters
    ----------
    progress : bool, callable or None
        None shows a bar on stderr if that is a terminal and the work takes a while, True always,
        False never. A callable is called with (done, total, what).

    Yields
    ------
    Progress or None
    """
    if callable(progress):
        yield progress
        return
    if progress is False or (progress is None and not sys.stderr.isatty()):
        yield None
        return
    bar = _Bar()
    try:
        yield bar
    finally:
        bar.close()


class _Bar:
    """A rich progress bar that appears when the work turns out to be long."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.bar: Any = None
        self.task: Any = None

    def __call__(self, done: int, total: int, what: str) -> None:
        if self.bar is None:
            if time.monotonic() - self.started < _PATIENCE:
                return
            from rich.console import Console
            from rich.progress import Progress as RichProgress

            self.bar = RichProgress(console=Console(stderr=True), transient=True)
            self.bar.start()
            self.task = self.bar.add_task(what, total=total)
        self.bar.update(self.task, description=what, completed=done, total=total)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.stop()
