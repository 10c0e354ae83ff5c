"""Measuring the snapshots of a training, run by run, resumable."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..joint import SaturationWarning
from ..network import Layer
from ..run import Progress
from ..training import History, Tracker
from .training import Protocol, Snapshots

__all__ = ["apart", "changes", "differentiation", "follow", "layers_of", "options_for", "spread",
           "ways"]  # fmt: skip

Array = NDArray[np.float64]


def options_for(activation: str) -> dict[str, Any]:
    """Return the paper's options for networks of an activation.

    Parameters
    ----------
    activation : str

    Returns
    -------
    dict
        8 bins; what is out of range is dropped. Ranges: sigmoid and ReLU 0..1 on both sides, tanh
        -1..1 but for the network's input.
    """
    ranges = {"sigmoid": (0.0, 1.0), "relu": (0.0, 1.0), "tanh": (-1.0, 1.0)}
    return {
        "activation": activation,
        "bins": 8,
        "in_range": (0.0, 1.0),
        "out_range": ranges[activation],
        "outliers": "drop",
    }


def layers_of(weights: list[NDArray[np.float32]], activation: str) -> list[Layer]:
    """Return a network's layers, called ``layer 1``, ``layer 2``, ..."""
    return [Layer(w, None, activation, f"layer {i + 1}") for i, w in enumerate(weights)]


def follow(
    snapshots: Snapshots,
    protocol: Protocol,
    folder: Path,
    tell: Progress | None = None,
    *,
    prefix: str = "",
    **changed: Any,
) -> list[History]:
    """Measure every snapshot of every run.

    Parameters
    ----------
    snapshots : Snapshots
    protocol : Protocol
    folder : pathlib.Path
        Gets ``<network>-run<i>.jsonl``; records that are there already are not measured again.
    tell : Progress, optional
        Told after every snapshot.
    prefix : str
        Before the files' names.
    **changed
        Options of :func:`eiplane.analyze` other than the paper's.

    Returns
    -------
    list of History
        One a run.
    """
    histories = []
    options = options_for(protocol.activation) | changed
    options.pop("activation")
    total = snapshots.runs * len(snapshots.epochs)
    for run in range(snapshots.runs):
        held: list[Layer] = []
        path = folder / f"{prefix}{protocol.name}-run{run + 1}.jsonl"
        with Tracker(lambda held=held: held, path, progress=False, **options) as tracker:
            known = set(tracker.steps)
            for i, epoch in enumerate(snapshots.epochs.tolist()):
                if epoch not in known:
                    held[:] = layers_of(snapshots.network(i, run), protocol.activation)
                    metrics = {k: float(v[i, run]) for k, v in snapshots.metrics.items()}
                    with warnings.catch_warnings():  # saturation is in the records, and told there
                        warnings.simplefilter("ignore", SaturationWarning)
                        tracker.record(epoch, **metrics)
                if tell is not None:
                    done = run * len(snapshots.epochs) + i + 1
                    tell(done, total, f"measure {protocol.name}")
            histories.append(History(tracker.history, f"run {run + 1}"))
    return histories


def ways(history: History, x: str = "degeneracy") -> list[Array]:
    """Return every layer's way in the plane, in bits an edge.

    Parameters
    ----------
    history : History
    x : str
        ``"degeneracy"``, or ``"degeneracy_joint"``.

    Returns
    -------
    list of ndarray, shape (moments, 2)
        Degeneracy and sensitivity.
    """
    found = []
    for name in history.layers:
        layer = next(entry for entry in history[0].layers if entry["name"] == name)
        points = np.stack([history.values(name, q) for q in (x, "sensitivity")], axis=1)
        found.append(points / (layer["n_in"] * layer["n_out"]))
    return found


def changes(history: History, x: str = "degeneracy") -> list[Array]:
    """Return every layer's change from the first moment to the last, as :func:`ways`."""
    return [way[-1] - way[0] for way in ways(history, x)]


def apart(moved: Sequence[Array]) -> float:
    """Return the mean distance between the ends of two layers' changes; 0 for a single layer."""
    distances = [np.linalg.norm(a - b) for a, b in combinations(moved, 2)]
    return float(np.mean(distances)) if distances else 0.0


def spread(moved: Sequence[Array]) -> float:
    """Return the mean distance between two layers' changes over the mean length of the changes."""
    return float(apart(moved) / np.mean([np.linalg.norm(m) for m in moved]))


def differentiation(history: History) -> dict[str, float]:
    """Say how differently the layers of a run move in the causal plane.

    Layers of different sizes lie apart from the start, so it is their movement that is compared, in
    bits an edge.

    Parameters
    ----------
    history : History

    Returns
    -------
    dict of str to float
        ``angle``, the mean angle between the ways of two layers from start to end, in degrees, and
        ``distance``, how far apart two layers' changes end, a mean in bits an edge; ``spread``,
        that distance divided by the mean length of the changes.
    """
    moved = changes(history)
    angles = []
    for a, b in combinations(moved, 2):
        cosine = a @ b / np.maximum(np.linalg.norm(a) * np.linalg.norm(b), 1e-300)
        angles.append(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
    return {
        "angle": float(np.mean(angles)) if angles else 0.0,
        "distance": apart(moved),
        "spread": spread(moved),
    }
