"""Following a network through its training: one line in the loop, one line of JSON a record."""

from __future__ import annotations

import inspect
import json
import os
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..analyze import analyze
from ..files import Appender, Closing, read_records, uncollected, warn_user
from ..joint import once_a_layer
from ..network import Network, as_float
from ..results import Decomposition
from ..run import check_keywords
from .background import Background
from .history import History
from .loggers import log_scalars
from .matrices import Arrays, Matrices
from .record import Record, record_lines
from .watch import Repeated, Watch, called, read_network

if TYPE_CHECKING:
    import pandas
    import xarray

__all__ = ["Tracker", "is_main_process"]

#: Of the files that a tracker writes.
FORMAT = 1

# These change how long a measurement takes, not what it is.
_MANNER = ("threads", "executor", "progress")


class Tracker(Closing):
    """Measures a network while it learns, and keeps what it measured.

    Every record is a line of JSON, appended and flushed whole: a killed run loses at most the
    record that was being written, and a resumed one continues the file. The model's mode, gradients
    and random numbers stay as they are. Where several processes train together only rank zero
    measures and writes.

    Parameters
    ----------
    model : torch.nn.Module, callable, or anything that :func:`eiplane.analyze` takes
        What is measured at every record. A callable (that is no module) is called for it.
    path : path-like, optional
        The file of JSON lines; nothing is written if left out.
    every : int
        Steps that are no multiple of it are passed over.
    resume : bool
        Whether to continue a file that is there already, or to start it anew.
    edges : bool
        Whether to keep the per-edge matrices too: as ``step-<step>.npz`` in a folder beside the
        file, with the ending ``.edges``.
    loggers : iterable, optional
        Who gets the numbers as well: TensorBoard's ``SummaryWriter``, or anything with
        ``log(dict, step)``; the keys are ``eiplane/<layer>/<quantity>``.
    background : bool
        Whether to measure in a process of its own: :meth:`record` then takes a copy of the weights
        and returns at once. What is still being measured when the run is killed is lost; the end of
        the ``with`` block, or :meth:`close`, waits for it. It uses one thread if ``threads`` says
        nothing else. Without it every record is in the file when :meth:`record` returns.
    measure : callable
        What measures: :func:`eiplane.analyze`, or :func:`eiplane.through_time`, or anything that
        takes the model and options and returns a :class:`eiplane.Decomposition`. Only the first
        measures in the background.
    **options
        Of ``measure``. One seed (``rng=0``, the default) at every record makes their
        differences smoother than fresh numbers would.

    Attributes
    ----------
    history : History
        What was recorded so far, that of the resumed file included.
    path : pathlib.Path or None
    every : int

    Raises
    ------
    OSError
        If the file cannot be read or written.
    TypeError
        For an option that ``measure`` does not have.
    ValueError
        For ``every`` below 1, or a file that is no tracked run or was measured with other options.
        At the first record, if the file is of a network of another architecture.

    Examples
    --------
    >>> import numpy as np, eiplane
    >>> weights = [np.eye(3)]
    >>> with eiplane.Tracker(lambda: weights, activation="identity", measures=("ei_parts",)) as t:
    ...     for step in range(3):
    ...         record = t.record(step, loss=1.0 / (step + 1))
    >>> t.history.values("0", "ei_parts").round(6).tolist()
    [9.0, 9.0, 9.0]
    """

    def __init__(
        self,
        model: Any,
        path: str | os.PathLike[str] | None = None,
        *,
        every: int = 1,
        resume: bool = True,
        edges: bool = False,
        loggers: Iterable[Any] = (),
        background: bool = False,
        measure: Callable[..., Decomposition] = analyze,
        **options: Any,
    ) -> None:
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise ValueError(f"every must be a whole number of at least 1, not {every!r}")
        check_keywords("Tracker", options, measure)  # not at the first record
        inspect.signature(measure).bind(None, **options)
        if background and measure is not analyze:
            raise ValueError("background=True is for eiplane.analyze, not another measure")
        self.model = model
        self.path = None if path is None else Path(path)
        self.every = every
        self.loggers, self._failing = list(loggers), set[int]()
        self._options = options
        self._keep_edges = edges
        #: An option of analyze beside those of the run: matrices that nobody keeps are not sent.
        self._asked = {"edges": edges} if measure is analyze else {}
        self._repeated = Repeated(measure, self._asked)
        self._matrices = Matrices(self.path)
        self._records: dict[int, Record] = {}
        self._resumed: Record | None = None
        self._file: Appender | None = None
        self._unwritten: list[Record] = []
        self._repeats = 0
        self._told: set[str] = set()
        self._active = is_main_process()
        self._watch = Watch(model, options) if measure is analyze else None
        self._background: Background | None = None
        self._in_background = background
        self._pending: dict[int, dict[str, float]] = {}
        # One step is measured at a time, and one kept: what comes from the background too.
        self._recording, self._keeping = threading.RLock(), threading.RLock()
        if self.path is not None and self._active:
            self._open(self.path, resume)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Tracker:
        """Read a tracked run, to look at.

        Parameters
        ----------
        path : path-like
            The file is not touched, even if its last line was cut.

        Returns
        -------
        Tracker
            Without a model: it records nothing more. To continue a run, give its path to a new
            ``Tracker``.

        Raises
        ------
        OSError
            If the file cannot be read.
        ValueError
            If it is no tracked run.
        """
        tracker = cls(None)
        tracker.path = Path(path)
        tracker._matrices = Matrices(tracker.path)
        tracker._take(read_records(tracker.path, record_lines()))
        return tracker

    @property
    def history(self) -> History:
        """What was recorded so far."""
        return History(list(self._records.values()), None if self.path is None else self.path.stem)

    @property
    def steps(self) -> list[int]:
        """The steps that are recorded, ascending."""
        return sorted({*self._records, *self._pending})

    def due(self, step: int) -> bool:
        """Return whether :meth:`record` would measure at this step.

        Parameters
        ----------
        step : int

        Returns
        -------
        bool
            False for steps between, and in all processes but the first. True for a step that is
            recorded already.
        """
        return self._active and step % self.every == 0

    def record(self, step: int, **metrics: Any) -> Record | None:
        """Measure the model and keep the result.

        Parameters
        ----------
        step : int
            At least 0. One that is recorded already is not measured again: the record stands, as
            when a run resumes from a checkpoint older than its last record.
        **metrics : float
            Loss, accuracy and the like; tensors of one element too.

        Returns
        -------
        Record or None
            None if the step is no multiple of ``every``, this is not the first process, or the
            step is measured in the background.

        Raises
        ------
        TypeError, ValueError
            For a step that is no whole number, a metric that is no number, and what
            :func:`eiplane.analyze` raises.
        """
        if type(step) is int and step > 0 and step % self.every:
            return None  # as nearly always
        step = _whole(step)
        with self._recording:
            return self._record(step, metrics)

    def _record(self, step: int, metrics: Mapping[str, Any]) -> Record | None:
        if not self.due(step):
            return None
        if step in self._records or step in self._pending:
            self._note_repeat(step)
            return self._records.get(step)
        if self.model is None:
            raise ValueError("this tracker was loaded to look at; it has no model to measure")
        numbers = {name: _number(name, value) for name, value in metrics.items()}
        weights, options = self._read()
        if self._in_background:
            self._submit(step, weights, options, numbers)
            return None
        with once_a_layer(self._told):
            decomposition = self._repeated(weights, options)
        return self._keep(step, decomposition, numbers)

    def _read(self) -> tuple[Any, dict[str, Any]]:
        """Return what is measured now, and how."""
        if self._watch is not None:
            return self._watch.read()
        return called(self.model), self._options

    def _submit(
        self, step: int, weights: Any, options: dict[str, Any], metrics: dict[str, float]
    ) -> None:
        if not isinstance(weights, Network):
            weights, options = read_network(weights, options)
        if self._background is None:
            self._background = Background(self._arrived)
        self._pending[step] = metrics
        options = {"threads": 1, **options, **self._asked, "progress": False}
        self._background.submit(step, weights, options)  # pickling it is the copy

    def _arrived(self, step: int, decomposition: Decomposition) -> None:
        self._keep(step, decomposition, self._pending[step])
        del self._pending[step]

    def _keep(self, step: int, decomposition: Decomposition, metrics: dict[str, float]) -> Record:
        record = Record.of(step, decomposition, metrics, wired=not self._records)
        with self._keeping:
            self._add(record, decomposition)
        return record

    def _add(self, record: Record, decomposition: Decomposition) -> None:
        if self._resumed is not None and (changed := self._resumed.difference(record)):
            raise ValueError(
                f"{self.path} is the run of another architecture: {changed}; give another path, or "
                "resume=False to start anew"
            )
        self._resumed = None
        if self._keep_edges:  # before the line: a record has its matrices
            self._matrices.keep(record.step, decomposition)
        self._records[record.step] = record
        if self._file is not None:
            self._unwritten.append(record)
            self._write(self._file)
        log_scalars(self.loggers, record, self._failing)

    def _write(self, file: Appender) -> None:
        """Write the records that are not in the file yet; a full disk ends no training."""
        try:
            while self._unwritten:
                file.append(self._unwritten[0].to_json())
                del self._unwritten[0]
        except OSError as error:
            if len(self._unwritten) == 1:  # told once, until it has worked again
                warn_user(
                    f"{self.path} cannot be written ({error.strerror or error}); records are held "
                    "in memory until it can"
                )

    def edges(self, step: int) -> Arrays:
        """Return the per-edge matrices of a record.

        Parameters
        ----------
        step : int

        Returns
        -------
        dict of str to ndarray of float64
            Under ``<layer>/<quantity>``, in bits, of the weight's shape.

        Raises
        ------
        KeyError
            If none were kept for this step.
        """
        return self._matrices.of(step)

    def to_dataframe(self) -> pandas.DataFrame:
        """Return a pandas data frame, a row a step and layer; see :class:`.History`."""
        return self.history.to_dataframe()

    def to_xarray(self) -> xarray.DataArray:
        """Return an array of dimensions step, layer and quantity; see :class:`.History`."""
        return self.history.to_xarray()

    def __len__(self) -> int:
        return len(self._records)

    def __bool__(self) -> bool:
        """True, also before the first record: ``if tracker:`` asks whether there is one."""
        return True

    def __repr__(self) -> str:
        where = "" if self.path is None else f", {str(self.path)!r}"
        return f"Tracker({len(self)} records{where})"

    def close(self) -> None:
        """Wait for what is measured in the background, and close the file.

        What was recorded can still be looked at.

        Raises
        ------
        Exception
            What went wrong in the background.
        """
        with self._recording:
            self._active = False
            try:
                if self._background is not None:
                    self._background.close()
            finally:
                self._background = None
                self._repeated.close()
                self._close_file()

    def _close_file(self) -> None:
        if self._file is None:
            return
        if self._unwritten:
            self._write(self._file)
        self._file.close()
        self._file = None
        if self._unwritten:
            count = len(self._unwritten)
            warn_user(f"{self.path} could not be written: its last {count} records are not in it")

    def _open(self, path: Path, resume: bool) -> None:
        if not resume:
            path.unlink(missing_ok=True)
            self._matrices.remove()
        self._file = Appender(path, record_lines())
        header = {"eiplane": FORMAT, "options": _plain_options(self._options)}
        try:
            if not self._file.records:
                self._file.append(header)
            else:
                self._take(self._file.records, header)
        except BaseException:
            self._file.close()
            raise

    @uncollected()
    def _take(self, lines: list[Mapping[str, Any]], expected: dict[str, Any] | None = None) -> None:
        if not lines or not isinstance(lines[0].get("eiplane"), int):
            raise ValueError(f"{self.path} is not the file of a tracked run")
        head = lines[0]
        if head["eiplane"] > FORMAT:
            raise ValueError(f"{self.path} has format {head['eiplane']}, newer than this version's")
        if expected is not None and head.get("options") != expected["options"]:
            raise ValueError(
                f"{self.path} was measured with the options {json.dumps(head.get('options'))}, not "
                f"{json.dumps(expected['options'])}; give another path, or resume=False to start "
                "anew"
            )
        for line in lines[1:]:
            try:
                record = Record.from_json(line)
            except ValueError as error:
                raise ValueError(f"{self.path}: {error}") from None
            self._records.setdefault(record.step, record)
        if expected is not None and self._records:
            self._resumed = self._records[max(self._records)]

    def _note_repeat(self, step: int) -> None:
        self._repeats += 1
        if self._repeats == 1:
            warn_user(
                f"step {step} is in {self.path or 'the records'} already and stands as it is "
                "(resume=False starts a run anew)"
            )


def is_main_process() -> bool:
    """Return whether this is the process that writes: rank zero, or the only one."""
    torch = sys.modules.get("torch")
    distributed = getattr(torch, "distributed", None)
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        return int(distributed.get_rank()) == 0
    return os.environ.get("RANK", "0").strip() in ("", "0")


def _plain_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that decide what is measured, as they come back from JSON."""
    kept = {k: v for k, v in sorted(options.items()) if k not in _MANNER}
    plain: dict[str, Any] = json.loads(json.dumps(kept, default=lambda v: type(v).__name__))
    return plain


def _whole(step: Any) -> int:
    try:
        whole = int(step.__index__())
    except AttributeError:
        raise TypeError(f"step must be a whole number, not {step!r}") from None
    if whole < 0:
        raise ValueError(f"step must be at least 0, not {whole}")
    return whole


def _number(name: str, value: Any) -> float:
    try:
        return as_float(value.item() if hasattr(value, "item") else value)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"metric {name!r} must be a number, not {value!r}") from None
