"""Results made up for tests of pictures, tracks and reports: no engine is asked."""

import numpy as np

from eiplane.results import Decomposition, Joint, LayerResult, Pairwise
from eiplane.training import History, Record


def layer(name, degeneracy, sensitivity, shape=(5, 4), ei=None):
    """Return a layer with these sums, its edges a fixed pattern."""
    pattern = 1.0 + np.arange(np.prod(shape)).reshape(shape) % 5
    pattern /= pattern.sum()
    parts = sensitivity - degeneracy
    ei = parts + 0.25 if ei is None else ei
    joint = Joint(ei, 0.01, (ei - 0.1, ei + 0.2), ei + 0.05, 0.01, "conditional", 1000, 1.0, False)
    return LayerResult(
        name, shape[1], shape[0], "sigmoid", 8, 8, (0.0, 1.0), (0.0, 1.0),
        pairwise_sensitivity=Pairwise(sensitivity * pattern, "exact", error_bound=1e-12),
        pairwise_ei=Pairwise(parts * pattern, "exact", error_bound=1e-12),
        joint=joint,
    )  # fmt: skip


def decomposition(*points):
    """Return a network with a layer at each (degeneracy, sensitivity)."""
    return Decomposition(tuple(layer(f"fc{i + 1}", *p) for i, p in enumerate(points)), (), {})


def run(steps=9, layers=3, name="run"):
    """Return a history in which the layers go up and apart."""
    records = []
    for t in np.linspace(0.0, 1.0, steps):
        points = [
            (0.5 + 3 * t * (1 + 0.3 * i), 1.0 + 0.4 * i + 6 * t - 0.5 * i * t * t)
            for i in range(layers)
        ]
        metrics = {"loss": float(1 - 0.9 * t), "test_accuracy": float(0.3 + 0.6 * t)}
        records.append(Record.of(round(1000 * t), decomposition(*points), metrics))
    return History(records, name)
