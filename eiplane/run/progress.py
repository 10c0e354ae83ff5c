"""Telling how far long work is: on a terminal, in a notebook, and nothing in a pipe."""

from __future__ import annotations

import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

from .parallel import Progress

__all__ = ["progress_bar", "stage"]

#: Work that takes less shows nothing, in seconds; how often a notebook's cell is written anew.
_PATIENCE, _PAUSE = 0.5, 0.25


@contextmanager
def progress_bar(progress: bool | Progress | None = None) -> Iterator[Progress | None]:
    """Give what a :class:`eiplane.run.Runner` tells its progress to.

    Parameters
    ----------
    progress : bool, callable or None
        None shows how far the work is if it takes a while and somebody looks: on stderr if that is
        a terminal, below the cell in a notebook. True shows it always, False never. A callable is
        called with (done, total, what).

    Yields
    ------
    Progress or None

    Raises
    ------
    TypeError
        If it is none of these.
    """
    if not (progress is None or isinstance(progress, bool) or callable(progress)):
        raise TypeError(f"progress must be True, False, None or callable, not {progress!r}")
    if callable(progress):
        yield progress
        return
    notebook = _in_notebook()
    if progress is False or (progress is None and not notebook and not sys.stderr.isatty()):
        yield None
        return
    shown = _InNotebook() if notebook else _OnTerminal()
    try:
        yield shown
    finally:
        shown.close()


def stage(progress: Progress | None, number: int, total: int) -> None:
    """Say that the work comes to one of several parts, each of which tells its own progress.

    Parameters
    ----------
    progress : Progress or None
        What :func:`progress_bar` gave; a user's own callable is not told.
    number, total : int
        Counted from 1.
    """
    if isinstance(progress, _Shown):
        progress.stage = f"{number}/{total}" if total > 1 else ""


class _Shown(ABC):
    """What appears when the work turns out to be long."""

    def __init__(self) -> None:
        self.stage = ""
        self._started = time.monotonic()
        self._what: str | None = None
        self._lock = threading.Lock()  # threads of an executor tell it too

    def __call__(self, done: int, total: int, what: str) -> None:
        if time.monotonic() - self._started >= _PATIENCE:
            with self._lock:
                text = f"{self.stage} {what}".strip()
                self.show(done, total, text, text != self._what)
                self._what = text

    @abstractmethod
    def show(self, done: int, total: int, what: str, new: bool) -> None:
        """Show how far the work is; ``new`` says that it is other work than before."""

    @abstractmethod
    def close(self) -> None:
        """Leave nothing behind."""


class _OnTerminal(_Shown):
    """A bar of rich's with units a second and the time left of the present part."""

    def __init__(self) -> None:
        super().__init__()
        self._bar: Any = None
        self._task: Any = None

    def show(self, done: int, total: int, what: str, new: bool) -> None:
        if self._bar is None:
            self._bar = _rich_bar()
            self._bar.start()
            self._task = self._bar.add_task("")
        if new:  # its pace is not that of what went before
            self._bar.reset(self._task, total=total, completed=done, description=what)
        self._bar.update(self._task, completed=done, total=total)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()


def _rich_bar() -> Any:
    from rich import progress
    from rich.console import Console
    from rich.text import Text

    class Rate(progress.ProgressColumn):
        def render(self, task: progress.Task) -> Text:
            return Text(
                "" if task.speed is None else _rate(task.speed), style="progress.data.speed"
            )

    return progress.Progress(
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(bar_width=None),
        progress.TaskProgressColumn(),
        Rate(),
        progress.TimeRemainingColumn(compact=True),
        progress.TextColumn("left", style="progress.remaining"),
        console=Console(stderr=True, force_jupyter=False),
        transient=True,
        expand=True,
    )


def _rate(speed: float) -> str:
    return f"{speed:.3g}/s" if speed >= 1 else f"{1 / speed:.3g} s each"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes:02}:{rest:02}"


def _in_notebook() -> bool:
    """Whether this is the kernel of a notebook; without importing anything for the question."""
    if "IPython" not in sys.modules:
        return False
    shell = getattr(sys.modules["IPython"], "get_ipython", lambda: None)()
    return bool(getattr(shell, "kernel", None))


class _InNotebook(_Shown):
    """A line below the cell, written anew as the work goes on; no widgets are needed."""

    def __init__(self) -> None:
        super().__init__()
        self._handle: Any = None
        self._told = 0.0
        self._since = (0.0, 0)

    def show(self, done: int, total: int, what: str, new: bool) -> None:
        now = time.monotonic()
        if new:
            self._since = now, done
        if now - self._told < _PAUSE:
            return
        self._told = now
        start, before = self._since
        pace = []
        if done > before and now > start:
            speed = (done - before) / (now - start)
            pace = [_rate(speed), f"{_clock((total - done) / speed)} left"]
        self._display(_Line(done, total, what, ", ".join(pace)))

    def close(self) -> None:
        if self._handle is not None:
            self._display(_Line(0, 0, "", ""))

    def _display(self, line: _Line) -> None:
        if self._handle is None:
            from IPython.display import display  # whoever is here has it

            self._handle = display(line, display_id=True)
        else:
            self._handle.update(line)


class _Line:
    """What stands below the cell, as HTML and as text."""

    def __init__(self, done: int, total: int, what: str, pace: str) -> None:
        self.done, self.total, self.what, self.pace = done, total, what, pace

    def __repr__(self) -> str:
        if not self.total:
            return ""
        share = f"{self.done / self.total:.0%}"
        return " ".join(filter(None, [self.what, share, f"({self.pace})" if self.pace else ""]))

    def _repr_html_(self) -> str:
        if not self.total:
            return "<span></span>"
        label = escape(self.what)
        return (
            f'<label>{label} <progress max="{self.total}" value="{self.done}" '
            f'style="width:18em;vertical-align:middle"></progress></label> '
            f"{self.done / self.total:.0%} <small>{escape(self.pace)}</small>"
        )
