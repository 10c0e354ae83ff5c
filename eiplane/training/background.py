"""Measuring in a process of its own, so that a training hardly waits for it.

That process runs :func:`main`: it reads pickled jobs from its standard input and writes pickled
results to its standard output, until the input ends. It is started as a program, not by
``multiprocessing``, so that a user's script need not be importable.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from ..analyze import analyze
from ..files import warn_user
from ..joint import once_a_layer
from ..results import Decomposition

__all__ = ["Background", "main", "serve"]

#: Bytes of weights that may wait, beside one network of any size.
_MOST = 1 << 30

Done = Callable[[int, Decomposition], None]


class Background:
    """Has networks measured by another process, in their order.

    Parameters
    ----------
    done : callable
        Called with a job's number and its result, on a thread of its own.
    ahead : int
        How many jobs may wait, and 1 GiB of them; :meth:`submit` blocks beyond that.
    """

    def __init__(self, done: Done, ahead: int = 1000) -> None:
        self._done = done
        root = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", "from eiplane.training.background import main; main()"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": path},
        )  # fmt: skip
        self._ahead, self._count, self._bytes = ahead, 0, 0
        self._room = threading.Condition()
        self._jobs: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._ended = self._told = False
        self._error: BaseException | None = None
        self._warned: list[Warning] = []
        self._closed = False
        self._reader = threading.Thread(target=self._read, name="eiplane-background", daemon=True)
        self._reader.start()
        # A pipe holds less than a network: who writes waits until the last one is measured.
        self._writer = threading.Thread(target=self._write, name="eiplane-jobs", daemon=True)
        self._writer.start()

    def submit(self, number: int, weights: Any, options: dict[str, Any]) -> None:
        """Have something measured.

        Parameters
        ----------
        number : int
            Comes back with the result.
        weights : object
            What :func:`eiplane.analyze` takes, picklable. It is copied before this returns.
        options : dict

        Raises
        ------
        Exception
            What an earlier job raised.
        """
        job = pickle.dumps((number, weights, options), protocol=pickle.HIGHEST_PROTOCOL)
        with self._room:
            while not self._ended and (
                self._count >= self._ahead or (self._bytes and self._bytes + len(job) > _MOST)
            ):
                self._room.wait()
            self._count += 1
            self._bytes += len(job)
        self._tell()
        self._raise()
        if self._ended or self._process.poll() is not None:
            self._reader.join(5)
            self._raise()
            self._told = True
            raise RuntimeError("the process that measures has ended")
        self._jobs.put(job)

    def close(self) -> None:
        """Wait for all that was submitted, and end the process.

        Raises
        ------
        Exception
            What a job raised.
        """
        if not self._closed:
            self._closed = True
            self._jobs.put(None)
            try:
                self._writer.join()
                self._reader.join()
                self._process.wait()
            except BaseException:  # Ctrl-C by someone who will not wait
                self.kill()
                raise
        self._tell()
        self._raise()
        if self._count and not self._told:
            self._told = True
            raise RuntimeError(
                f"the process that measures has ended; {self._count} records are lost"
            )

    def kill(self) -> None:
        """End the process now."""
        self._closed = self._told = True
        self._jobs.put(None)
        self._process.kill()
        self._process.wait()

    def _tell(self) -> None:
        """Warn of what has been warned of there, on the user's own thread and line."""
        while self._warned:
            warn_user(self._warned.pop(0))

    def _raise(self) -> None:
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _write(self) -> None:
        assert self._process.stdin is not None
        try:
            while (job := self._jobs.get()) is not None:
                self._process.stdin.write(job)
                self._process.stdin.flush()
                with self._room:
                    self._bytes -= len(job)
                    self._room.notify_all()
        except OSError:  # the process has ended: whoever reads says why
            pass
        finally:
            with contextlib.suppress(OSError):
                self._process.stdin.close()

    def _end(self) -> None:
        with self._room:
            self._ended = True
            self._room.notify_all()

    def _read(self) -> None:
        assert self._process.stdout is not None
        try:
            while True:
                try:
                    number, result, warned = pickle.load(self._process.stdout)
                except EOFError:
                    return
                self._warned += warned
                if isinstance(result, BaseException):
                    raise result
                self._done(number, result)
                with self._room:
                    self._count -= 1
                    self._room.notify_all()
        except BaseException as error:
            self._error, self._told = error, True  # by who raises it
            self._process.kill()
        finally:
            self._process.stdout.close()
            self._end()


def serve(jobs: BinaryIO, results: BinaryIO) -> None:
    """Measure what comes in until nothing more does.

    Parameters
    ----------
    jobs, results : binary files
        Pickles of (number, weights, options), and of (number, result or exception, warnings).
    """
    told: set[str] = set()
    while True:
        try:
            number, weights, options = pickle.load(jobs)
        except EOFError:
            return
        result: Any
        with warnings.catch_warnings(record=True) as caught, once_a_layer(told):
            warnings.simplefilter("always")
            try:
                result = analyze(weights, **options)
            except Exception as error:
                result = error
        pickle.dump((number, result, [w.message for w in caught]), results)
        results.flush()


def main() -> None:
    """Serve standard input and output."""
    # Whatever prints must not come between the results.
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    # Ctrl-C is for the training: this process ends when its input does.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(BrokenPipeError):  # whoever asked was killed
        serve(sys.stdin.buffer, output)
