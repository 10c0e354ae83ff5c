"""Training as in the paper's scripts, all runs of a network at once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files import read_arrays, require, write_whole
from ..run import Progress
from .data import Task

__all__ = ["METRICS", "Protocol", "Snapshots", "accuracy_of", "loss_of", "one_thread", "train",
           "trained"]  # fmt: skip

Weights = NDArray[np.float32]

METRICS = ("train_loss", "test_loss", "train_accuracy", "test_accuracy")


@dataclass(frozen=True)
class Protocol:
    """How a network is trained and when it is measured.

    Parameters
    ----------
    sizes : tuple of int
        Of the layers, the input's first. Dense, without biases, the activation after every one.
    activation : str
        ``"sigmoid"``, ``"tanh"`` or ``"relu"``.
    epochs, batch : int
    every : int
        Epochs between measurements.
    seeds : tuple of int
        One a run.
    shared : bool
        Whether all runs draw from one stream, of the first seed, one after the other.
    rate : float
        Of plain gradient descent on the summed squared error.
    """

    sizes: tuple[int, ...]
    activation: str = "sigmoid"
    epochs: int = 500
    batch: int = 50
    every: int = 10
    seeds: tuple[int, ...] = (1, 2, 3)
    shared: bool = False
    rate: float = 0.01

    @property
    def name(self) -> str:
        """Sizes, and the activation where it is not sigmoid."""
        shape = "-".join(map(str, self.sizes))
        return shape if self.activation == "sigmoid" else f"{shape}-{self.activation}"

    @property
    def measured(self) -> list[int]:
        """The epochs after which the network is measured, 0 and the last among them."""
        return sorted({*range(0, self.epochs, self.every), self.epochs})


@dataclass(frozen=True, eq=False)
class Snapshots:
    """Networks on their way.

    Parameters
    ----------
    epochs : ndarray of int64, shape (s,)
    weights : tuple of ndarray of float32, shape (s, runs, n_out, n_in)
        One a layer.
    metrics : dict of str to ndarray of float64, shape (s, runs)
        Loss is the summed squared error an example.
    """

    epochs: NDArray[np.int64]
    weights: tuple[Weights, ...]
    metrics: dict[str, NDArray[np.float64]]

    @property
    def runs(self) -> int:
        """Number of runs."""
        return int(self.weights[0].shape[1])

    def network(self, index: int, run: int) -> list[Weights]:
        """Return the weights of a run at a snapshot."""
        return [w[index, run] for w in self.weights]


def trained(protocol: Protocol, task: Task, path: Path, tell: Progress | None) -> Snapshots:
    """Train, or read what an earlier call kept.

    Parameters
    ----------
    protocol : Protocol
    task : Task
    path : pathlib.Path
        The npz file of the snapshots; written whole when the training is complete.
    tell : Progress or None

    Returns
    -------
    Snapshots

    Raises
    ------
    ValueError
        If the file holds another training.
    """
    head = json.dumps({"protocol": asdict(protocol), "task": task.note}, sort_keys=True)
    if not path.exists():
        made = train(protocol, task, tell)
        arrays: dict[str, Any] = {f"weight_{i}": w for i, w in enumerate(made.weights)}
        arrays |= {"head": np.array(head), "epochs": made.epochs, **made.metrics}
        write_whole(path, lambda file: np.savez_compressed(file, allow_pickle=False, **arrays))
    kept = read_arrays(path, "holds no training; take it away")
    if not isinstance(kept, dict) or str(kept.get("head")) != head:
        raise ValueError(f"{path} is of another training; give another folder with --out")
    weights = tuple(kept[f"weight_{i}"] for i in range(len(protocol.sizes) - 1))
    return Snapshots(kept["epochs"], weights, {name: kept[name] for name in METRICS})


@contextmanager
def one_thread(torch: Any) -> Iterator[None]:
    """Let PyTorch use one thread: the matrices are far too small for more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def train(protocol: Protocol, task: Task, tell: Progress | None = None) -> Snapshots:
    """Train all runs of a network.

    The runs are one batched model, so that a step of three networks costs little more than of one.
    Each has weights and an order of examples of its own.

    Parameters
    ----------
    protocol : Protocol
    task : Task
    tell : Progress, optional
        Told after every epoch.

    Returns
    -------
    Snapshots
    """
    torch = require("torch", "reproduce")
    streams = [torch.Generator().manual_seed(s) for s in protocol.seeds]
    if protocol.shared:
        streams = streams[:1] * len(streams)
    weights = _initial(torch, protocol, streams)
    f = _function(torch, protocol.activation)
    x, target = torch.from_numpy(task.x), torch.from_numpy(task.targets())
    kept: list[list[Weights]] = []
    scores: list[list[tuple[float, ...]]] = []
    with one_thread(torch):
        for epoch in range(protocol.epochs + 1):
            if epoch in protocol.measured:
                kept.append([w.detach().numpy().copy() for w in weights])
                scores.append(_scores(torch, weights, f, task))
            if epoch == protocol.epochs:
                break
            orders = torch.stack([torch.randperm(len(x), generator=g) for g in streams])
            for batch in orders.split(protocol.batch, dim=1):
                _step(torch, weights, f, x[batch], target[batch], protocol.rate)
            if tell is not None:
                tell(epoch + 1, protocol.epochs, f"train {protocol.name}")
    columns = np.array(scores, dtype=np.float64).transpose(2, 0, 1)
    return Snapshots(
        np.array(protocol.measured, dtype=np.int64),
        tuple(np.stack(layer) for layer in zip(*kept, strict=True)),
        dict(zip(METRICS, columns, strict=True)),
    )


def accuracy_of(
    networks: list[Weights], activation: str, x: Weights, label: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the share of examples that each network names rightly.

    Parameters
    ----------
    networks : list of ndarray, shape (networks, n_out, n_in)
        One a layer.
    activation : str
    x : ndarray of float32, shape (n, inputs)
    label : ndarray of int64, shape (n,)

    Returns
    -------
    ndarray of float64, shape (networks,)
    """
    right = _outputs(networks, activation, x).argmax(axis=2) == label
    return np.asarray(right.mean(axis=1))


def loss_of(networks: list[Weights], activation: str, task: Task) -> NDArray[np.float64]:
    """Return the summed squared error an example of each network, on what is learnt from.

    Parameters
    ----------
    networks : list of ndarray, shape (networks, n_out, n_in)
        One a layer.
    activation : str
    task : Task

    Returns
    -------
    ndarray of float64, shape (networks,)
    """
    missed = _outputs(networks, activation, task.x) - task.targets()
    return np.asarray((missed**2).sum(axis=2).mean(axis=1, dtype=np.float64))


def _outputs(networks: list[Weights], activation: str, x: Weights) -> Weights:
    """Return what networks make of examples, shape (networks, n, n_out)."""
    torch = require("torch", "reproduce")
    with torch.no_grad():
        weights = [torch.from_numpy(np.ascontiguousarray(w)) for w in networks]
        inputs = torch.from_numpy(x).expand(len(weights[0]), -1, -1)
        return np.asarray(_forward(weights, _function(torch, activation), inputs).numpy())


def _function(torch: Any, activation: str) -> Any:
    return {"sigmoid": torch.sigmoid, "tanh": torch.tanh, "relu": torch.relu}[activation]


def _initial(torch: Any, protocol: Protocol, streams: list[Any]) -> list[Any]:
    runs = []
    for stream in streams:  # run after run, as one stream may serve them all
        layers = []
        for n_in, n_out in pairwise(protocol.sizes):
            draw = torch.rand(n_out, n_in, generator=stream)
            layers.append((2.0 * draw - 1.0) / n_in**0.5)
        runs.append(layers)
    return [torch.stack(layer).requires_grad_() for layer in zip(*runs, strict=True)]


def _forward(weights: list[Any], f: Any, x: Any) -> Any:
    for weight in weights:
        x = f(x @ weight.mT)
    return x


def _step(torch: Any, weights: list[Any], f: Any, x: Any, target: Any, rate: float) -> None:
    loss = ((_forward(weights, f, x) - target) ** 2).sum()
    slopes = torch.autograd.grad(loss, weights)  # the runs share no weight: each gets its own
    with torch.no_grad():
        torch._foreach_add_(weights, slopes, alpha=-rate)


def _scores(torch: Any, weights: list[Any], f: Any, task: Task) -> list[tuple[float, ...]]:
    """Return the metrics of every run."""
    columns: dict[str, Any] = {}
    with torch.no_grad():
        for part, x, label in (
            ("train", task.x, task.label),
            ("test", task.test_x, task.test_label),
        ):
            output = _forward(weights, f, torch.from_numpy(x).expand(len(weights[0]), -1, -1))
            target = torch.nn.functional.one_hot(torch.from_numpy(label), task.classes)
            columns[f"{part}_loss"] = ((output - target) ** 2).sum(dim=(1, 2)) / len(x)
            right = output.argmax(dim=2) == torch.from_numpy(label)
            columns[f"{part}_accuracy"] = right.double().mean(dim=1)
    return [
        tuple(float(v) for v in run) for run in zip(*(columns[m] for m in METRICS), strict=True)
    ]
