"""Threads that stay, for work of milliseconds that comes again and again.

Starting a thread takes as long as a tenth of such work, and handing out units one by one as well:
here whoever asks does his part, and threads that are there already take the units that are left.
"""

from __future__ import annotations

import mmap
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from ..files import Closing

__all__ = ["Helpers", "start_threads"]

Result = TypeVar("Result")

#: Bytes that must be there for each thread before the first is started, and for how many at most:
#: of more threads than there is work for none is started.
_THREAD, _STARTED = 1 << 20, 64


def start_threads(count: int) -> ThreadPoolExecutor:
    """Return a pool of threads.

    Raises
    ------
    OSError
        If there is no memory for them.
    """
    # A thread that starts and finds no memory for what is its own never says so: its start waits
    # for ever, or libc ends the process. Mapped, as what is free in the heap of one thread is of no
    # use to another.
    mmap.mmap(-1, min(count, _STARTED) * _THREAD).close()
    return ThreadPoolExecutor(count, thread_name_prefix="eiplane")


class Helpers(Closing):
    """Threads beside the caller's own; none is started before there is something to do."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._count = self._process = 0

    def run(self, function: Callable[[int], Result], count: int, helpers: int) -> list[Result]:
        """Return ``function(i)`` of 0 to ``count - 1``; all of them have ended when it returns.

        Parameters
        ----------
        function : callable
            What it raises, in whichever thread, is raised here, and ends the rest.
        count : int
            The first take longest, if some do.
        helpers : int
            How many threads beside this one take part, at most.
        """
        todo, found = deque(range(count)), dict[int, Result]()

        def work() -> None:
            while True:
                try:
                    index = todo.popleft()
                except IndexError:
                    return
                try:
                    found[index] = function(index)
                except BaseException:
                    todo.clear()
                    raise

        others: list[Future[None]] = []
        try:
            for _ in range(min(helpers, count - 1)):
                others.append(self._threads(helpers).submit(work))
        except (RuntimeError, OSError):  # none can be started, or none any more
            alone = True
        else:
            alone = False
        try:
            work()
        finally:
            left = [other for other in others if not other.cancel()]
            errors = [error for other in left if (error := other.exception()) is not None]
            if alone:  # one that was asked for and did not start may still begin
                self.close()
        if errors:
            raise errors[0]
        return [found[i] if i in found else function(i) for i in range(count)]

    def _threads(self, count: int) -> ThreadPoolExecutor:
        """Return at least so many threads: those that are there, but for a fork."""
        if self._pool is None or count > self._count or self._process != os.getpid():
            if self._process == os.getpid():
                self.close()
            self._pool, self._count, self._process = start_threads(count), count, os.getpid()
        return self._pool

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None
