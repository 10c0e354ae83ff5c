"""Callbacks that let a :class:`eiplane.Tracker` record from within training frameworks.

Each function makes the framework's own kind of callback; the framework is imported by it, and by
nothing else. They record at the start and then at every step that is a multiple of the tracker's
``every``, with the metrics that the framework has at hand.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from .extract.keras import from_keras
from .network import Layer
from .training import Tracker

__all__ = ["hugging_face", "keras", "keras_layers", "lightning"]


def lightning(tracker: Tracker) -> Any:
    """Return a callback for PyTorch Lightning's ``Trainer(callbacks=[...])``.

    Parameters
    ----------
    tracker : Tracker
        Of the Lightning module, or of the part of it that is to be measured.

    Returns
    -------
    lightning.pytorch.Callback

    Raises
    ------
    ImportError
        If neither ``lightning`` nor ``pytorch_lightning`` is installed.
    """
    base = _first_module("lightning.pytorch", "pytorch_lightning").Callback

    class TrackerCallback(base):  # type: ignore[misc, valid-type]
        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            _record(tracker, trainer.global_step, trainer.callback_metrics)

        def on_train_batch_end(
            self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
        ) -> None:
            _record(tracker, trainer.global_step, trainer.callback_metrics)

    return TrackerCallback()


def hugging_face(tracker: Tracker) -> Any:
    """Return a callback for Hugging Face's ``Trainer(callbacks=[...])``.

    Parameters
    ----------
    tracker : Tracker
        Of the model that is trained, or of a part of it.

    Returns
    -------
    transformers.TrainerCallback

    Raises
    ------
    ImportError
        If ``transformers`` is not installed.
    """
    base = _first_module("transformers").TrainerCallback

    class TrackerCallback(base):  # type: ignore[misc, valid-type]
        def on_train_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            self._take(state)

        def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            self._take(state)

        def _take(self, state: Any) -> None:
            if state.is_world_process_zero:
                last = state.log_history[-1] if state.log_history else {}
                known = {k: v for k, v in last.items() if k not in ("step", "epoch")}
                _record(tracker, state.global_step, known)

    return TrackerCallback()


def keras(tracker: Tracker) -> Any:
    """Return a callback for Keras 3's ``model.fit(callbacks=[...])``.

    Parameters
    ----------
    tracker : Tracker
        Of the model that is trained, or of a part of it.

    Returns
    -------
    keras.callbacks.Callback
        Its steps are batches, counted through all epochs.

    Raises
    ------
    ImportError
        If ``keras`` is not installed.
    """
    base = _first_module("keras").callbacks.Callback

    class TrackerCallback(base):  # type: ignore[misc, valid-type]
        def on_train_begin(self, logs: Any = None) -> None:
            self.step = 0
            self._take({})

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.step += 1
            self._take(logs or {})

        def _take(self, logs: Mapping[str, Any]) -> None:
            if tracker.due(self.step):
                _ = self.model  # with JAX the weights are only in it once it is asked for
                _record(tracker, self.step, logs)

    return TrackerCallback()


def keras_layers(model: Any) -> list[Layer]:
    """Return the layers of a Keras model that is a chain of dense ones.

    A tracker takes any model that :func:`eiplane.analyze` takes, and needs no list of its layers;
    this is for looking at them, or changing them, before they are measured.

    Parameters
    ----------
    model : keras.Model
        ``Dense`` layers one after the other, their functions in them or as layers of their own;
        layers that do nothing here (``Input``, ``Dropout``) may lie between. A softmax takes the
        outputs of a linear layer.

    Returns
    -------
    list of Layer

    Raises
    ------
    TypeError
        For any other model: what a list of layers cannot say of it is told.
    ValueError
        If the model has no weights yet.
    """
    read = from_keras(model)
    if read is None:
        raise TypeError(
            f"only running the Keras model {model.name!r} would show how its layers are joined"
        )
    network, skipped = read
    layers = [layer for layer in network.layers if isinstance(layer, Layer) and layer.is_dense]
    dense = {layer.name for layer in layers}
    told = [f"{part.name}: {part.reason}" for part in skipped]
    told += [f"{name}: not dense" for name in network.names if name not in dense]
    told += [
        f"{name}: does not take what {before} gives"
        for before, name in pairwise(network.names)
        if network.sources[name] != (before,)
    ]
    if told:
        raise TypeError(
            f"the Keras model {model.name!r} is no chain of Dense layers ({'; '.join(told)}); give "
            "eiplane.analyze, or the tracker, the model itself"
        )
    return layers


def _record(tracker: Tracker, step: int, metrics: Mapping[str, Any]) -> None:
    if tracker.due(step) and step not in tracker.steps:
        tracker.record(step, **{k: v for k, v in metrics.items() if _is_number(v)})


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError, RuntimeError):
        return False
    return True


def _first_module(*names: str) -> Any:
    for name in names:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or error.name.partition(".")[0] != name.partition(".")[0]:
                raise
    raise ModuleNotFoundError(f"this needs {' or '.join(names)}, which is not installed")
