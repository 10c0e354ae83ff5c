"""Who else gets the numbers of a tracked run: ``Tracker(..., loggers=[...])``.

Each function or class makes a logger with a method ``log(dict, step)``; a library is imported by
its own function, and by nothing else. TensorBoard's ``SummaryWriter`` needs none: give it as it is.
"""

from __future__ import annotations

import csv
import importlib
import io
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from .files import append_whole

__all__ = ["CSV", "Logger", "mlflow", "wandb"]

_COLUMNS = ["step", "layer", "quantity", "value"]


class Logger(Protocol):
    """What a tracker takes as a logger."""

    def log(self, numbers: Mapping[str, float], step: int) -> None:
        """Take the numbers of one record.

        Parameters
        ----------
        numbers : mapping of str to float
            Under ``eiplane/<layer>/<quantity>``.
        step : int
        """


class CSV:
    """Writes a row for every number: step, layer, quantity, value.

    Each record is written whole or, where that fails, not at all. A file that is there already is
    continued; half a row, as a kill leaves it, goes.

    Parameters
    ----------
    path : path-like

    Raises
    ------
    OSError
        If the file cannot be read or written.
    ValueError
        If it is there, and is none that this class has written.

    Examples
    --------
    >>> import numpy as np, eiplane, tempfile, pathlib
    >>> from eiplane import loggers
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "run.csv"
    >>> log = loggers.CSV(path)
    >>> options = {"activation": "identity", "measures": "ei_parts"}
    >>> record = eiplane.Tracker(lambda: np.eye(2), loggers=[log], **options).record(0)
    >>> print(path.read_text().splitlines()[0])
    step,layer,quantity,value
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if self.path.exists() and self.path.stat().st_size:
            with self.path.open(newline="", encoding="utf-8") as file:
                try:
                    header = next(csv.reader(file), None)
                except (UnicodeDecodeError, csv.Error):
                    header = None
                if header != _COLUMNS:
                    raise ValueError(f"{self.path} is there, and no log of a tracker")
            self._mend()
        if not self.path.exists() or not self.path.stat().st_size:
            self._append([_COLUMNS])

    def log(self, numbers: Mapping[str, float], step: int) -> None:
        """Append the numbers of one record.

        Parameters
        ----------
        numbers : mapping of str to float
            Under ``eiplane/<layer>/<quantity>``.
        step : int
        """
        rows = []
        for key, value in numbers.items():
            layer, _, quantity = key.removeprefix("eiplane/").rpartition("/")
            rows.append([step, layer, quantity, repr(float(value))])
        self._append(rows)

    def _append(self, rows: list[Any]) -> None:
        text = io.StringIO(newline="")
        csv.writer(text).writerows(rows)
        with self.path.open("ab", buffering=0) as file:
            append_whole(file.fileno(), text.getvalue().encode(), self.path)

    def _mend(self) -> None:
        """Take away what a kill left of a row."""
        with self.path.open("r+b") as file:
            content = file.read()
            whole = content.rfind(b"\n") + 1
            if whole < len(content):
                file.truncate(whole)


class _WandB:
    def __init__(self, run: Any) -> None:
        self.run = run
        run.define_metric("eiplane/step")
        run.define_metric("eiplane/*", step_metric="eiplane/step")

    def log(self, numbers: Mapping[str, float], step: int) -> None:
        self.run.log({"eiplane/step": step, **numbers})


def wandb(run: Any = None, **options: Any) -> Logger:
    """Return a logger for Weights & Biases.

    Parameters
    ----------
    run : wandb.Run, optional
        By default the one that is active, or else a new one.
    **options
        Of ``wandb.init``, for a new run: ``mode="offline"`` keeps everything on this machine, and
        ``wandb sync`` sends it later.

    Returns
    -------
    Logger
        Its numbers have an axis of their own, ``eiplane/step``: those that come from the background
        may be later than the training's. Its ``run`` is to be finished by whoever began it; a new
        one by ``logger.run.finish()``, or by the end of the process.

    Raises
    ------
    ImportError
        If ``wandb`` is not installed.
    TypeError
        For options where there is a run already.
    """
    library = None if run is not None else _library("wandb", "wandb")
    if library is not None:
        run = library.run
    if run is not None and options:
        raise TypeError("options of wandb.init are for a new run, and there is one already")
    if run is None and library is not None:
        run = library.init(**options)
    return _WandB(run)


class _MLflow:
    def __init__(self, library: Any, client: Any, run_id: str) -> None:
        self._metric, self.client, self.run_id = library.entities.Metric, client, run_id

    def log(self, numbers: Mapping[str, float], step: int) -> None:
        now = int(1000 * time.time())
        metrics = [
            self._metric(re.sub(r"[^\w\-. /]", "_", key), float(value), now, step)
            for key, value in numbers.items()
        ]
        for start in range(0, len(metrics), 1000):  # the most that MLflow takes at once
            self.client.log_batch(self.run_id, metrics=metrics[start : start + 1000])


def mlflow(
    run_id: str | None = None,
    *,
    tracking_uri: str | os.PathLike[str] | None = None,
    experiment: str = "eiplane",
) -> Logger:
    """Return a logger for MLflow.

    Parameters
    ----------
    run_id : str, optional
        The run to log to: by default the active one, or else a new one.
    tracking_uri : str or path-like, optional
        Where it is kept, a folder for instance; by default where MLflow's own settings say.
    experiment : str
        What a new run belongs to.

    Returns
    -------
    Logger
        With ``client`` and ``run_id``. A new run is to be ended by
        ``logger.client.set_terminated(logger.run_id)``. Characters of layers' names that MLflow
        does not take become ``_``.

    Raises
    ------
    ImportError
        If neither ``mlflow`` nor ``mlflow-skinny`` is installed.
    """
    library = _library("mlflow", "mlflow-skinny")
    if isinstance(tracking_uri, os.PathLike):
        tracking_uri = Path(tracking_uri).resolve().as_uri()
    client = library.MlflowClient(tracking_uri)
    active = library.active_run() if tracking_uri is None else None
    if run_id is None and active is not None:
        run_id = active.info.run_id
    if run_id is None:
        known = client.get_experiment_by_name(experiment)
        number = client.create_experiment(experiment) if known is None else known.experiment_id
        run_id = client.create_run(number).info.run_id
    return _MLflow(library, client, str(run_id))


def _library(name: str, package: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != name:
            raise
    raise ModuleNotFoundError(
        f'this needs {name}, which is not installed: pip install "{package}"', name=name
    )
