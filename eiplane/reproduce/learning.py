"""Networks that learn Iris, scikit-learn's digits, MNIST: their way through the causal plane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..plot import history as draw_history
from ..run import Progress
from ..training import History
from .data import Task, digits, iris, mnist
from .measuring import differentiation, follow
from .pictures import means, runs_side_by_side
from .training import Protocol, Snapshots, trained
from .writing import decimals, keep_figure, markdown_table, write_summary

__all__ = ["IRIS", "Run", "digits_protocols", "learn", "mnist_protocols", "run_digits", "run_iris",
           "run_mnist"]  # fmt: skip

#: The paper's: one seed for all three runs.
IRIS = Protocol((4, 5, 5, 3), epochs=4000, batch=10, every=50, seeds=(0, 0, 0), shared=True)

_SHAPES = ((25, 6, 5), (25, 6, 6, 6, 5), (25, 6, 6, 6, 6, 6, 5))


@dataclass(frozen=True, eq=False)
class Run:
    """A network's training, measured.

    Parameters
    ----------
    protocol : Protocol
    snapshots : Snapshots
    histories : list of History
        One a run.
    """

    protocol: Protocol
    snapshots: Snapshots
    histories: list[History]


def mnist_protocols() -> list[Protocol]:
    """Return the paper's networks for MNIST: shallow, middle, deep, and two more activations."""
    return [Protocol(sizes) for sizes in _SHAPES] + [
        Protocol(_SHAPES[1], activation, every=20) for activation in ("tanh", "relu")
    ]


def digits_protocols() -> list[Protocol]:
    """Return the same for scikit-learn's digits, with more epochs, as there are fewer images."""
    return [replace(p, epochs=2000, every=4 * p.every) for p in mnist_protocols()]


def learn(
    protocol: Protocol, task: Task, folder: Path, tell: Progress | None, prefix: str = "",
    **changed: Any,
) -> Run:  # fmt: skip
    """Train a network and measure it on its way, continuing what is in the folder.

    ``changed`` are options of :func:`eiplane.analyze` other than the paper's.
    """
    name = f"{prefix}{protocol.name}"
    snapshots = trained(protocol, task, folder / f"{name}-weights.npz", tell)
    histories = follow(snapshots, protocol, folder, tell, prefix=prefix, **changed)
    return Run(protocol, snapshots, histories)


def run_iris(folder: Path, quick: bool, data: Path | None, tell: Progress | None) -> str:
    """Repeat the Iris experiment; see :func:`eiplane.reproduce.reproduce`."""
    task = iris(seed=0)
    run = learn(_iris_protocol(quick), task, folder, tell)
    _draw(run, folder, "Iris")
    return write_summary(folder, _summary("iris", task, [run], _IRIS_SEEN))


def run_digits(folder: Path, quick: bool, data: Path | None, tell: Progress | None) -> str:
    """Repeat the MNIST experiment on scikit-learn's digits."""
    protocols = digits_protocols()
    if quick:
        protocols = [replace(protocols[1], epochs=400, every=100, seeds=(1, 2))]
    return _run_images(digits(seed=0), protocols, folder, quick, tell)


def run_mnist(folder: Path, quick: bool, data: Path | None, tell: Progress | None) -> str:
    """Repeat the MNIST experiment.

    Raises
    ------
    ValueError
        If no folder of IDX files is given.
    """
    if data is None:
        raise ValueError("mnist needs the folder of MNIST's IDX files: --data DIR")
    protocols = mnist_protocols()
    if quick:
        protocols = [replace(protocols[1], epochs=60, every=20, seeds=(1, 2))]
    return _run_images(mnist(data), protocols, folder, quick, tell)


def _iris_protocol(quick: bool) -> Protocol:
    return replace(IRIS, epochs=1500, every=500) if quick else IRIS


def _run_images(
    task: Task, protocols: Sequence[Protocol], folder: Path, quick: bool, tell: Progress | None
) -> str:
    runs = []
    for protocol in protocols:
        runs.append(learn(protocol, task, folder, tell))
        _draw(runs[-1], folder, "MNIST" if task.name == "mnist" else task.name)
    # The network that the paper compares these with.
    peer = learn(_iris_protocol(quick), iris(seed=0), folder, tell, prefix="iris-")
    return write_summary(folder, _summary(task.name, task, runs, _MNIST_SEEN, peer))


def _draw(run: Run, folder: Path, title: str) -> None:
    name = run.protocol.name
    keep_figure(runs_side_by_side(run.histories, f"{title}, {name}"), folder, f"{name}-plane")
    keep_figure(draw_history(run.histories[0]), folder, f"{name}-history")
    wanted = ["phi", "ei", "ei_parts", "test_accuracy"]
    known = [q for q in wanted if q in run.histories[0].quantities + run.histories[0].metrics]
    keep_figure(means({f"{title}, {name}": run.histories}, known), folder, f"{name}-phi")


_IRIS_SEEN = """The paper saw the layers of the Iris network move alike, with little differentiation
between them, and the integrated information change during training."""

_MNIST_SEEN = """The paper saw the layers of networks that learn MNIST differentiate in the causal
plane, more than those of the Iris network, and layers that a task does not need (of the deeper
network) differentiate less."""


def _summary(name: str, task: Task, runs: Sequence[Run], seen: str, peer: Run | None = None) -> str:
    parts = [f"# {name}", f"{task.note}.", "## What the paper saw", seen, "## What was found"]
    for run in runs:
        parts += [f"### {run.protocol.name}", _found(run)]
    if peer is not None:
        parts += ["### Differentiation of the layers", _compared({task.name: runs, "Iris": [peer]})]
    return "\n\n".join(parts)


def _found(run: Run) -> str:
    last = {k: v[-1] for k, v in run.snapshots.metrics.items()}
    accuracy = ", ".join(f"{v:.1%}" for v in last["test_accuracy"])
    quantities = ["sensitivity", "ei_parts", "degeneracy", "ei", "phi", "outlier_fraction"]
    known = [q for q in quantities if q in run.histories[0].quantities]
    rows = []
    for layer in run.histories[0].layers:
        start = [np.mean([h.values(layer, q)[0] for h in run.histories]) for q in known]
        end = [np.mean([h.values(layer, q)[-1] for h in run.histories]) for q in known]
        cells = [f"{decimals(a, 2)} → {decimals(b, 2)}" for a, b in zip(start, end, strict=True)]
        rows.append([layer, *cells])
    lines = [
        f"{len(run.histories)} runs of {run.protocol.epochs:,} epochs; test accuracy {accuracy}. "
        "Bits, from the start to the end, means over the runs:",
        markdown_table(["layer", *known], rows),
    ]
    if float(last["test_accuracy"].max()) < 0.5:
        lines.insert(
            1,
            "**It did not learn**: the loss stayed on its first plateau. What follows says nothing "
            "about a trained network.",
        )
    moved = [differentiation(h) for h in run.histories]
    lines.append(
        "Between the ways of two layers lies an angle of "
        + _listed([m["angle"] for m in moved], "°", 0)
        + "; their changes end "
        + _listed([m["distance"] for m in moved], " bits an edge", 2)
        + " apart, "
        + _listed([m["spread"] for m in moved], "", 2)
        + " of the mean change (a number a run)."
    )
    if "phi" in known:
        lines.append(_phi(run))
    records = [r for h in run.histories for r in h]
    for layer in run.histories[0].layers:
        flags = [
            entry.get("saturated", False)
            for r in records
            for entry in r.layers
            if entry["name"] == layer
        ]
        if any(flags):
            lines.append(
                f"{layer}: {sum(flags)} of {len(flags)} estimates of EI are flagged as saturated "
                "(too few samples for the entropy of the outputs): there EI and phi are not known, "
                "nor are means over such runs."
            )
    return "\n\n".join(lines)


def _phi(run: Run) -> str:
    words = []
    for layer in run.histories[0].layers:
        values = np.mean([h.values(layer, "phi") for h in run.histories], axis=0)
        if np.isnan(values).all():
            words.append(f"{layer} not known")
            continue
        top, low = int(np.nanargmax(values)), int(np.nanargmin(values))
        words.append(
            f"{layer} greatest at epoch {run.snapshots.epochs[top]:,} ({values[top]:.2f}) and "
            f"least at {run.snapshots.epochs[low]:,} ({values[low]:.2f})"
        )
    return "The mean phi is of " + "; of ".join(words) + "."


def _compared(groups: Mapping[str, Sequence[Run]]) -> str:
    rows = []
    for name, runs in groups.items():
        for run in runs:
            moved = [differentiation(h) for h in run.histories]
            cells = [
                f"{np.mean([m[k] for m in moved]):.2f} "
                f"({min(m[k] for m in moved):.2f} to {max(m[k] for m in moved):.2f})"
                for k in moved[0]
            ]
            learnt = float(run.snapshots.metrics["test_accuracy"][-1].mean())
            rows.append([name, run.protocol.name, f"{learnt:.1%}", *cells])
    headings = [
        "data",
        "network",
        "test accuracy",
        "angle (°)",
        "distance (bits an edge)",
        "spread",
    ]
    return (
        "Of the layers' changes from the start to the end, in bits an edge: the angle between two "
        "layers' changes, the distance between their ends, and that distance over the mean change; "
        "means over the runs, and the least and the greatest run.\n\n"
        + markdown_table(headings, rows)
    )


def _listed(values: Sequence[float], unit: str, digits: int) -> str:
    return ", ".join(f"{v:.{digits}f}" for v in values) + unit
