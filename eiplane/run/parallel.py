"""Running work units on threads, or on an executor that the user brings.

A unit is a small picklable object; a function takes it and returns arrays. Results come back in the
order of the units, so nothing depends on who computed what, or when, or how often.
"""

from __future__ import annotations

import itertools
import math
import os
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ThreadPoolExecutor,
    wait,
)
from typing import Any, Protocol, TypeVar
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from ..files import Closing, warn_user
from .together import Helpers, start_threads

__all__ = [
    "Progress",
    "Runner",
    "WorkerLostWarning",
    "cancel_flag",
    "default_threads",
    "stop_if_cancelled",
]

Unit = TypeVar("Unit")
Result = TypeVar("Result")

#: The variable that sets the number of threads where ``threads=`` does not.
THREADS_VARIABLE = "EIPLANE_THREADS"

#: Units of a map for every worker, where there is enough to do: so that all end at about one time.
EACH = 4

#: Seconds of work below which a unit is not worth its way: to a thread, to another process.
SHORTEST_HERE, SHORTEST_AWAY = 0.0005, 0.02

#: Seconds that units right here, without a thread, may take before Ctrl-C is heard.
PATIENCE = 0.05

#: Seconds of work that a unit should not exceed, for the progress and for what a lost worker costs.
LONGEST = 2.0

#: How often a unit whose worker was lost is given to another one.
RETRIES = 3

#: Workers of an executor that does not tell how many it has.
_UNKNOWN_WORKERS = 16

#: Units that are out at a time, for every worker: enough that none waits for the next.
_AHEAD = 3

#: What an executor says when a worker, or the way to it, is gone; other libraries have their own.
_LOST = (BrokenExecutor, CancelledError, ConnectionError, EOFError)
_LOST_NAMES = {"KilledWorker", "CommClosedError", "FutureCancelledError", "ClosedClientError"}

# Cancel flags of this process's runners. A unit finds its own by the runner's token; one that has
# come from another process finds none, and nothing stops it.
_flags: WeakValueDictionary[str, NDArray[np.int32]] = WeakValueDictionary()
_never: NDArray[np.int32] = np.zeros(1, dtype=np.int32)
_current = threading.local()

#: A token is this process's, whatever has been forked off it, and this runner's.
_PROCESS, _numbers = secrets.token_hex(8), itertools.count()


class WorkerLostWarning(RuntimeWarning):
    """An executor broke down, and the rest of the work was done on this machine's threads."""


def cancel_flag() -> NDArray[np.int32]:
    """Return the flag that the compiled loops of the present unit poll.

    They stop soon after it becomes non-zero.
    """
    flag: NDArray[np.int32] = getattr(_current, "flag", _never)
    return flag


def stop_if_cancelled() -> None:
    """End the present unit if nobody waits for it any more: for loops that are written in Python.

    Raises
    ------
    KeyboardInterrupt
        As compiled loops do.
    """
    if cancel_flag()[0]:
        raise KeyboardInterrupt


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


class Runner(Closing):
    """Runs units in parallel, in order, and stops on Ctrl-C within a second.

    Where the executor loses a worker, the unit goes to another one, up to ``RETRIES`` times; where
    it breaks down altogether, as a process pool does when a process dies, the rest is done on
    threads here, with a warning. What a unit raises is never tried again: it is raised, named.

    Use it as a context manager, so that its threads end with it. It cannot be used again after an
    error or an interrupt.

    Parameters
    ----------
    threads : int, optional
        Number of threads; see :func:`default_threads`.
    executor : concurrent.futures.Executor, optional
        Where to run units instead: processes, a cluster.
    progress : Progress, optional
        Told after every unit, from the thread that called :meth:`map`.
    helpers : Helpers, optional
        Threads that are there already, for short work.
    """

    def __init__(
        self,
        threads: int | None = None,
        executor: Executor | None = None,
        progress: Progress | None = None,
        helpers: Helpers | None = None,
    ) -> None:
        self.threads = default_threads() if threads is None else threads
        self.executor = executor
        self.progress = progress
        self.helpers = helpers if executor is None else None
        self.workers = self.threads if executor is None else _workers_of(executor)
        self._pool: ThreadPoolExecutor | None = None
        self._flag: NDArray[np.int32] | None = None  # made when a unit goes to a thread

    def _new_flag(self) -> NDArray[np.int32]:
        self._flag = np.zeros(1, dtype=np.int32)
        self._token = f"{_PROCESS}-{os.getpid()}-{next(_numbers)}"
        _flags[self._token] = self._flag
        return self._flag

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    @property
    def shares_memory(self) -> bool:
        """Whether units find what others have left in this process's memory."""
        return self.executor is None or isinstance(self.executor, ThreadPoolExecutor)

    def pieces(self, seconds: float) -> int:
        """Return into how many units to cut work.

        Parameters
        ----------
        seconds : float
            What the work takes one core, roughly.

        Returns
        -------
        int
            A few for every worker, unless units would become very short, or too long.
        """
        shortest = SHORTEST_HERE if self.executor is None else SHORTEST_AWAY
        even = 1 if self.workers == 1 else EACH * self.workers
        worthwhile = min(even, math.ceil(seconds / shortest)) if shortest else even
        return max(1, worthwhile, math.ceil(seconds / LONGEST))

    def map(
        self,
        function: Callable[[Unit], Result],
        units: Sequence[Unit],
        what: str = "units",
        short: bool = False,
        here: bool = False,
        probe: bool = False,
    ) -> list[Result]:
        """Return ``function(unit)`` of every unit, in their order.

        Parameters
        ----------
        function : callable
            A module-level function (it may have to travel to another process).
        units : sequence
            What to compute; picklable. An attribute ``where`` says in an error which unit it was.
        what : str
            What the units belong to, for progress and errors.
        short : bool
            Whether all of it takes milliseconds: then it runs right here, without a thread, or
            with those that are there already.
        here : bool
            Whether to stay on this machine, for what is cheaper to do than to send.
        probe : bool
            Whether a unit is likely to take milliseconds: with one worker they run right here,
            until one takes longer. Ctrl-C is heard between them.

        Returns
        -------
        list
        """
        if short and self.helpers is not None and self.workers > 1 and len(units) > 1:

            def one(index: int) -> Result:
                return _tried(function, units, what, index)

            found = self.helpers.run(one, len(units), self.workers - 1)
            self._tell(len(units), len(units), what)
            return found
        results: list[Any] = [None] * len(units)
        patience = 0.0
        if here or self.executor is None:
            patience = math.inf if short else PATIENCE if probe and self.threads == 1 else 0.0
        done = self._run_here(function, units, what, results, patience)
        if done < len(units):
            self._run(function, units, what, results.__setitem__, here, done)
        return results

    def _run_here(
        self,
        function: Callable[[Unit], Result],
        units: Sequence[Unit],
        what: str,
        results: list[Any],
        patience: float,
    ) -> int:
        """Run units without a thread until one takes longer than that; return how many."""
        index, before = 0, 0.0
        while index < len(units) and before < patience:
            start = time.perf_counter()
            results[index] = _tried(function, units, what, index)
            before = time.perf_counter() - start
            index += 1
            self._tell(index, len(units), what)
        return index

    def fold(
        self,
        function: Callable[[Unit], Result],
        units: Sequence[Unit],
        combine: Callable[[Result, Result], Result],
        what: str = "units",
    ) -> Result:
        """Return the results of all units combined, without keeping all of them.

        Parameters
        ----------
        function, units, what
            As for :meth:`map`; there is at least one unit.
        combine : callable
            Of two results makes one; associative and commutative, and exactly so.

        Returns
        -------
        Any
        """
        kept: list[Result] = []

        def take(index: int, result: Result) -> None:
            kept[:] = [combine(kept[0], result)] if kept else [result]

        self._run(function, units, what, take, False)
        return kept[0]

    def _run(
        self,
        function: Callable[[Unit], Result],
        units: Sequence[Unit],
        what: str,
        take: Callable[[int, Result], None],
        here: bool,
        done: int = 0,
    ) -> None:
        flag = self._new_flag() if self._flag is None else self._flag
        todo = deque((index, 0) for index in range(done, len(units)))  # and how often it was lost
        pending: dict[Future[Any], tuple[int, int]] = {}
        try:
            while todo or pending:
                while todo and len(pending) < _AHEAD * self.workers:
                    index, lost = todo.popleft()
                    future = self._submit(here, function, units[index], lost, done > 0)
                    pending[future] = index, lost
                # A finite wait lets the main thread see Ctrl-C.
                finished, _ = wait(pending, timeout=0.2, return_when=FIRST_COMPLETED)
                for future in finished:
                    index, lost = pending.pop(future)
                    error = _error_of(future)
                    if error is None:
                        take(index, future.result())
                        done += 1
                        self._tell(done, len(units), what)
                    elif not _is_loss(error):
                        raise _named(error, _where(what, units, index))
                    elif lost == RETRIES:
                        raise RuntimeError(
                            f"{_where(what, units, index)}: its worker was lost {lost + 1} times"
                        ) from error
                    else:
                        todo.appendleft((index, lost + 1))
        except BaseException:
            flag[0] = 1
            for future in pending:
                future.cancel()
            if here or self.executor is None:  # threads of our own stop at once
                wait([f for f in pending if not f.cancelled()], timeout=30)
            self._new_flag()  # whoever handles the error may have other work, which is to run
            raise

    def _submit(
        self, here: bool, function: Callable[..., Any], unit: Any, lost: int, used: bool
    ) -> Future[Any]:
        # `lost` makes a second try another call, for an executor that remembers those that failed.
        call: tuple[Any, ...] = (_call, function, unit, self._token, lost)
        if self.executor is not None and not here:
            try:
                return self.executor.submit(*call)
            except Exception as error:  # broken, or shut down in the middle
                if not _is_loss(error) and not (used and isinstance(error, RuntimeError)):
                    raise
                warn_user(
                    f"the executor broke down ({type(error).__name__}: {error}); the rest of the "
                    f"work is done here, on {self.threads} threads",
                    WorkerLostWarning,
                )
                self.executor, self.workers = None, self.threads
        try:
            if self._pool is None:
                self._pool = start_threads(self.threads)
            return self._pool.submit(*call)
        except (RuntimeError, OSError) as error:
            if isinstance(error, RuntimeError) and "start new thread" not in str(error):
                raise
            raise MemoryError("not enough memory for a thread; use fewer threads") from error

    def _tell(self, done: int, total: int, what: str) -> None:
        if self.progress is not None:
            self.progress(done, total, what)


def _call(function: Callable[[Unit], Result], unit: Unit, token: str, lost: int) -> Result:
    """Run a unit, wherever it has come to."""
    _current.flag = _flags.get(token, _never)
    try:
        return function(unit)
    finally:
        del _current.flag


def _tried(
    function: Callable[[Unit], Result], units: Sequence[Unit], what: str, index: int
) -> Result:
    """Run a unit in this process; an error says which it was."""
    try:
        return function(units[index])
    except Exception as error:
        raise _named(error, _where(what, units, index)) from None


def _workers_of(executor: Executor) -> int:
    """How many units an executor runs at a time."""
    for name in ("num_workers", "_max_workers"):  # mpi4py's; those of the standard library
        number = getattr(executor, name, None)
        if isinstance(number, int) and number > 0:
            return number
    try:  # Dask's
        threads = sum(executor._client.nthreads().values())  # type: ignore[attr-defined]
    except Exception:
        threads = 0
    return int(threads) or _UNKNOWN_WORKERS


def _error_of(future: Future[Any]) -> BaseException | None:
    try:
        return future.exception()
    except CancelledError as error:
        return error


def _is_loss(error: BaseException) -> bool:
    """Whether an error says that a worker is gone, and nothing of the unit."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return isinstance(error, _LOST) or not names.isdisjoint(_LOST_NAMES)


def _where(what: str, units: Sequence[Any], index: int) -> str:
    place = getattr(units[index], "where", None)
    return f"{what}, {place or f'unit {index + 1} of {len(units)}'}"


def _named(error: BaseException, where: str) -> BaseException:
    """Return the same error, saying where it happened."""
    if isinstance(error, SystemError) and "without exception set" in str(error):
        # NumPy's reductions fail so, saying nothing, where there is no memory for their buffers.
        lost, error = error, MemoryError("not enough memory for NumPy's buffers")
        error.__cause__ = lost
    plain = type(error).__str__ is BaseException.__str__ and isinstance(error, Exception)
    if plain and error.args and isinstance(error.args[0], str):
        error.args = (f"{where}: {error.args[0]}", *error.args[1:])
    else:
        error.add_note(where)
    return error
