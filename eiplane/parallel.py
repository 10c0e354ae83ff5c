"""Running work units on threads, or on an executor that the user brings.

A unit is a small picklable object; a function takes it and returns arrays. Results come back in the
order of the units, so nothing depends on who computed what, or when.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Executor, Future, ThreadPoolExecutor, wait
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["Progress", "Runner", "cancel_flag", "default_threads"]

Unit = TypeVar("Unit")
Result = TypeVar("Result")

#: The variable that sets the number of threads where ``threads=`` does not.
THREADS_VARIABLE = "EIPLANE_THREADS"

# What the kernels poll. One per process: Ctrl-C stops all work.
_cancel: NDArray[np.int32] = np.zeros(1, dtype=np.int32)


def cancel_flag() -> NDArray[np.int32]:
    """Return the flag that compiled loops poll: they stop soon after it becomes non-zero."""
    return _cancel


class Progress(Protocol):
    """Whatever is told how far the work is."""

    def __call__(self, done: int, total: int, what: str) -> None:
        """Note that ``done`` of ``total`` units of ``what`` are finished."""


def default_threads() -> int:
    """Return the number of threads to use: ``EIPLANE_THREADS``, or the CPUs of this process.

    Raises
    ------
    ValueError
        If the variable is set to anything but a positive whole number.
    """
    text = os.environ.get(THREADS_VARIABLE, "")
    if text:
        if not text.isdecimal() or int(text) < 1:
            raise ValueError(f"{THREADS_VARIABLE} must be a positive whole number, not {text!r}")
        return int(text)
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        return os.cpu_count() or 1


class Runner:
    """Runs units in parallel, in order, and stops on Ctrl-C within a second.

    Parameters
    ----------
    threads : int, optional
        Number of threads; see :func:`default_threads`.
    executor : concurrent.futures.Executor, optional
        Where to run units instead: processes, a cluster.
    progress : Progress, optional
        Told after every unit.
    """

    def __init__(
        self,
        threads: int | None = None,
        executor: Executor | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.threads = default_threads() if threads is None else threads
        self.executor = executor
        self.progress = progress

    def map(
        self,
        function: Callable[[Unit], Result],
        units: Sequence[Unit],
        what: str = "units",
        short: bool = False,
    ) -> list[Result]:
        """Return ``function(unit)`` of every unit, in their order.

        Parameters
        ----------
        function : callable
            A module-level function (it may have to travel to another process).
        units : sequence
            What to compute; picklable.
        what : str
            What the units belong to, for progress.
        short : bool
            Whether all of it takes milliseconds: then it runs right here, without a thread.

        Returns
        -------
        list
        """
        total = len(units)
        if short and self.executor is None:
            results = []
            for done, unit in enumerate(units):
                results.append(function(unit))
                self._tell(done + 1, total, what)
            return results
        if self.executor is not None:
            return self._collect(self.executor, function, units, what)
        with ThreadPoolExecutor(min(self.threads, total)) as pool:
            return self._collect(pool, function, units, what)

    def _collect(
        self,
        executor: Executor,
        function: Callable[[Unit], Result],
        units: Sequence[Unit],
        what: str,
    ) -> list[Result]:
        futures: list[Future[Result]] = [executor.submit(function, unit) for unit in units]
        pending: set[Future[Any]] = set(futures)
        try:
            while pending:
                # A finite wait lets the main thread see Ctrl-C.
                done, pending = wait(pending, timeout=0.2, return_when=FIRST_EXCEPTION)
                for future in done:
                    future.result()
                self._tell(len(units) - len(pending), len(units), what)
        except BaseException:
            for future in pending:
                future.cancel()
            _cancel[0] = 1
            wait([f for f in pending if not f.cancelled()], timeout=30)
            _cancel[0] = 0
            raise
        return [future.result() for future in futures]

    def _tell(self, done: int, total: int, what: str) -> None:
        if self.progress is not None:
            self.progress(done, total, what)
