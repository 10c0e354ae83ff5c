"""Train the demo's network on Fisher's Iris, and keep snapshots of its weights.

A 4-5-5-3 sigmoid network without biases, as in Mattsson, Michaud and Hoel, *Examining the causal
structures of deep neural networks using information theory* (Entropy 22, 1429, 2020): stochastic
gradient descent with learning rate 0.01 on batches of 10, summed squared error, 4,000 epochs,
inputs divided by 8, 100 flowers to learn from and 50 to test on.

``python -m eiplane.cli.data.train_iris`` writes ``iris.npz`` beside this file. It needs
scikit-learn, for the flowers; the training is NumPy alone, so that the numbers do not depend on a
framework.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

SIZES = (4, 5, 5, 3)
EPOCHS = 4000
BATCH = 10
RATE = np.float32(0.01)
TRAIN = 100
SEED = 0


def flowers(rng: np.random.Generator) -> tuple[Array, NDArray[np.int64]]:
    """Return the measurements, divided by 8, and the species, shuffled."""
    from sklearn.datasets import load_iris

    data = load_iris()
    order = rng.permutation(len(data.target))
    return (data.data[order] / 8.0).astype(np.float32), data.target[order]


def forward(weights: list[Array], x: Array) -> list[Array]:
    """Return the activity of every layer, the input first."""
    activity = [x]
    for weight in weights:
        activity.append(1.0 / (1.0 + np.exp(-activity[-1] @ weight.T)))
    return activity


def descend(weights: list[Array], x: Array, target: Array) -> None:
    """Take one step of gradient descent, in place."""
    activity = forward(weights, x)
    error = 2.0 * (activity[-1] - target)
    for i in reversed(range(len(weights))):
        delta = error * activity[i + 1] * (1.0 - activity[i + 1])
        error = delta @ weights[i]
        weights[i] -= RATE * (delta.T @ activity[i])


def score(weights: list[Array], x: Array, label: NDArray[np.int64]) -> tuple[float, float]:
    """Return the squared error a flower, and the share of flowers named rightly."""
    output = forward(weights, x)[-1]
    target = np.eye(SIZES[-1], dtype=np.float32)[label]
    return (
        float(((output - target) ** 2).sum() / len(x)),
        float((output.argmax(axis=1) == label).mean()),
    )


def snapshot_epochs() -> list[int]:
    """Return when to keep the weights: every few epochs at first, every 100 in the end."""
    stretches = [(0, 20, 5), (20, 200, 20), (200, 1000, 40), (1000, 2000, 50), (2000, 4001, 100)]
    return [epoch for stretch in stretches for epoch in range(*stretch)]


def train() -> dict[str, NDArray[Any]]:
    """Return the snapshots: epochs, weights, losses and accuracies."""
    rng = np.random.default_rng(SEED)
    x, label = flowers(rng)
    target = np.eye(SIZES[-1], dtype=np.float32)[label]
    weights = [
        rng.uniform(-1, 1, (n_out, n_in)).astype(np.float32) / np.float32(np.sqrt(n_in))
        for n_in, n_out in pairwise(SIZES)
    ]
    keep = snapshot_epochs()
    kept: list[list[Array]] = []
    scores: list[tuple[float, ...]] = []
    for epoch in range(EPOCHS + 1):
        if epoch in keep:
            kept.append([weight.copy() for weight in weights])
            scores.append(
                score(weights, x[:TRAIN], label[:TRAIN]) + score(weights, x[TRAIN:], label[TRAIN:])
            )
        for batch in rng.permutation(TRAIN).reshape(-1, BATCH):
            descend(weights, x[batch], target[batch])
    names = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")
    columns = np.array(scores, dtype=np.float32).T
    return {
        "epochs": np.array(keep, dtype=np.int32),
        **{f"weight_{i}": np.stack(w) for i, w in enumerate(zip(*kept, strict=True))},
        **dict(zip(names, columns, strict=True)),
    }


def main() -> None:
    """Write the snapshots beside this file."""
    snapshots = train()
    place = Path(__file__).with_name("iris.npz")
    np.savez_compressed(place, allow_pickle=False, **snapshots)
    print(
        f"{place.name}: {len(snapshots['epochs'])} snapshots, {place.stat().st_size} bytes; "
        f"test accuracy {snapshots['test_accuracy'][-1]:.2f}"
    )


if __name__ == "__main__":
    main()
