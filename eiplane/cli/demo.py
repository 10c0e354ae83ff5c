"""The main job on real data: a network that learnt Fisher's Iris."""

from __future__ import annotations

from importlib import resources
from typing import Any

import numpy as np

from ..analyze import analyze
from ..network import Layer
from ..results import Decomposition
from ..training import History, Record

__all__ = ["demo_history", "demo_network", "iris_snapshots"]

Snapshots = dict[str, np.ndarray[Any, Any]]


def iris_snapshots() -> Snapshots:
    """Return the snapshots of a training on Iris that come with the package.

    Returns
    -------
    dict of str to ndarray
        ``epochs`` (s,), ``weight_0`` (s, 5, 4), ``weight_1`` (s, 5, 5), ``weight_2`` (s, 3, 5), and
        ``train_loss``, ``train_accuracy``, ``test_loss``, ``test_accuracy`` (s,), all float32. The
        script that made them is ``eiplane/cli/data/train_iris.py``.
    """
    place = resources.files(__package__) / "data" / "iris.npz"
    with place.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return dict(arrays)


def demo_network(snapshots: Snapshots, index: int = -1) -> list[Layer]:
    """Return the layers of one snapshot.

    Parameters
    ----------
    snapshots : dict of str to ndarray
    index : int

    Returns
    -------
    list of Layer
    """
    return [Layer(snapshots[f"weight_{i}"][index], name=f"layer {i + 1}") for i in range(3)]


def demo_history(snapshots: Snapshots, **options: Any) -> tuple[Decomposition, History]:
    """Measure the trained network, and its way there.

    Parameters
    ----------
    snapshots : dict of str to ndarray
    **options
        Of :func:`eiplane.analyze`.

    Returns
    -------
    Decomposition
        Of the trained network, every quantity.
    History
        The way of its layers through the causal plane.
    """
    records = []
    names = ("train_loss", "test_loss", "train_accuracy", "test_accuracy")
    for i, epoch in enumerate(snapshots["epochs"]):
        metrics = {name: float(snapshots[name][i]) for name in names}
        found = analyze(demo_network(snapshots, i), measures=("sensitivity", "ei_parts"), **options)
        records.append(Record.of(int(epoch), found, metrics))
    return analyze(demo_network(snapshots), **options), History(records, "iris")
