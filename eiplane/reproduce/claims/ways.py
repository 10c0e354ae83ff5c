"""Claims about the layers' ways through the causal plane while a network learns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...files import require
from ...plot import trajectory
from ...plot.style import QUIET, looks, tidy
from ...run import Progress
from ...training import History
from ..data import Task, digits, iris, mnist
from ..learning import IRIS, Run, digits_protocols, learn, mnist_protocols
from ..measuring import changes, spread, ways
from ..pictures import band, sheet
from ..training import Protocol
from ..writing import keep_figure
from .claim import Claim, Effect, conclude

__all__ = [
    "Subject",
    "accuracy",
    "rank_correlation",
    "run_pace",
    "run_positions",
    "run_whole",
    "subjects",
    "unlearnt",
]

Array = NDArray[np.float64]

#: Runs of every network: three, as the paper's, are too few for an interval.
SEEDS = (1, 2, 3, 4, 5)

#: Below it a network is not said to have learnt.
LEARNT = 0.8


@dataclass(frozen=True, eq=False)
class Subject:
    """A network and what it learns."""

    title: str
    task: Task
    protocol: Protocol

    def learn(self, folder: Path, tell: Progress | None, **changed: Any) -> Run:
        """Train and measure it; see :func:`eiplane.reproduce.learning.learn`."""
        return learn(self.protocol, self.task, folder, tell, f"{self.task.name}-", **changed)


def subjects(quick: bool, data: Path | None) -> list[Subject]:
    """Return Iris, and images with three activations; only Iris, with few epochs, if quick."""
    flowers = replace(IRIS, seeds=SEEDS, shared=False, every=100)
    if quick:
        flowers = replace(flowers, epochs=400, every=100, seeds=SEEDS[:3])
    made = [Subject("Iris 4-5-5-3", iris(seed=0), flowers)]
    if quick:
        return made
    task = digits(seed=0) if data is None else mnist(data)
    title = "digits" if data is None else "MNIST"
    known = digits_protocols() if data is None else mnist_protocols()
    for protocol in (known[1], known[3], known[4]):
        chosen = replace(protocol, seeds=SEEDS, every=protocol.epochs // 25)
        made.append(Subject(f"{title} {chosen.name}", task, chosen))
    return made


def accuracy(run: Run) -> str:
    """Say how well the runs ended."""
    last = run.snapshots.metrics["test_accuracy"][-1]
    return f"test accuracy {last.mean():.1%} ({last.min():.1%} to {last.max():.1%})"


def unlearnt(run: Run) -> str:
    """Return why a case cannot be judged, if a run of it did not learn."""
    last = run.snapshots.metrics["train_accuracy"][-1]
    stuck = int((last < LEARNT).sum())
    if not stuck:
        return ""
    return f"{stuck} of {len(last)} runs did not learn (training accuracy below {LEARNT:.0%})"


PACE = Claim(
    "pace",
    "Layers move most through the causal plane while the loss falls fastest.",
    "Mattsson, Michaud and Hoel 2020, section 5",
    "Spearman's rank correlation, over the stretches between two measurements, of the fall of the "
    "training loss and the length of the layers' ways (a mean over layers, bits an edge).",
    "rank correlation",
)


def run_pace(folder: Path, quick: bool, data: Path | None, tell: Progress | None) -> str:
    """Correlate movement and learning; see :func:`eiplane.reproduce.reproduce`."""
    effects, notes, drawn = [], [], []
    for subject in subjects(quick, data):
        run = subject.learn(folder, tell, measures=("sensitivity", "ei_parts"))
        pairs = [_steps(history) for history in run.histories]
        effects.append(
            Effect(subject.title, tuple(rank_correlation(*pair) for pair in pairs), unlearnt(run))
        )
        notes.append(f"{subject.title}: {accuracy(run)}. {subject.task.note}.")
        drawn.append((subject.title, run, pairs))
    axes = sheet(1, len(drawn), (3.9, 3.3))[0]
    for ax, (title, run, pairs) in zip(axes, drawn, strict=True):
        _draw_pace(ax, run.snapshots.epochs, pairs)
        ax.set_title(title, fontsize=10)
    axes[0].set_ylabel("share of the whole, per stretch")
    axes[0].legend(frameon=False, fontsize=8.5)
    keep_figure(axes, folder, PACE.name)
    return conclude(folder, PACE, effects, notes, quick)


def _steps(history: History) -> tuple[Array, Array]:
    """Return how far the loss falls, and the layers move, in every stretch."""
    moved = [np.linalg.norm(np.diff(way, axis=0), axis=1) for way in ways(history)]
    return -np.diff(history.metric("train_loss")), np.mean(moved, axis=0)


def rank_correlation(a: Array, b: Array) -> float:
    """Return Spearman's rank correlation."""
    return float(require("scipy.stats", "reproduce").spearmanr(a, b).statistic)


def _draw_pace(ax: Any, epochs: NDArray[np.int64], pairs: Sequence[tuple[Array, Array]]) -> None:
    middle = (epochs[1:] + epochs[:-1]) / 2
    for look, i, label in zip(looks(2), (0, 1), ("fall of the loss", "way of layers"), strict=True):
        shares = np.array([pair[i] / pair[i].sum() for pair in pairs])
        band(ax, middle, shares, replace(look, marker=""), label)
    ax.set_xlabel("epoch")
    ax.grid(axis="y", color=QUIET, lw=0.5)
    tidy(ax)


POSITIONS = Claim(
    "positions",
    "First, hidden and last layers behave differently in the causal plane.",
    "Mattsson, Michaud and Hoel 2020, section 5",
    "Mean distance between the changes (from start to end, bits an edge) of layers of different "
    "kinds, less that between hidden layers.",
    "bits an edge",
)


def run_positions(folder: Path, quick: bool, data: Path | None, tell: Progress | None) -> str:
    """Compare kinds of layers; see :func:`eiplane.reproduce.reproduce`."""
    effects, notes, drawn = [], [], []
    for subject in subjects(quick, data):
        deep = replace(subject, protocol=_deeper(subject.protocol))
        title = f"{subject.task.name} {deep.protocol.name}"
        run = deep.learn(folder, tell, measures=("sensitivity", "ei_parts"))
        values = tuple(_apart(changes(history)) for history in run.histories)
        effects.append(Effect(title, values, unlearnt(run)))
        notes.append(f"{title}: {accuracy(run)}.")
        drawn.append((title, run))
    axes = sheet(1, len(drawn), (4.4, 4.4))[0]
    for ax, (title, run) in zip(axes, drawn, strict=True):
        trajectory(run.histories[0], ax, normalize="edges")
        ax.set_title(title, fontsize=10, pad=8)
    keep_figure(axes, folder, POSITIONS.name)
    return conclude(folder, POSITIONS, effects, notes, quick)


def _deeper(protocol: Protocol) -> Protocol:
    """Return the protocol with two hidden layers between hidden ones at least."""
    sizes = protocol.sizes
    return protocol if len(sizes) > 4 else replace(protocol, sizes=(*sizes[:2], *sizes[1:]))


def _apart(moved: Sequence[Array]) -> float:
    """Return how much further apart kinds are than hidden layers among themselves."""
    kind = [0, *[1] * (len(moved) - 2), 2]
    across: list[Any] = []
    within: list[Any] = []
    for i, j in combinations(range(len(moved)), 2):
        (within if kind[i] == kind[j] else across).append(np.linalg.norm(moved[i] - moved[j]))
    return float(np.mean(across) - np.mean(within))


WHOLE = Claim(
    "whole",
    "The plane tells layers apart better with the degeneracy of the whole (sensitivity less EI) "
    "than with that of the parts (sensitivity less EI_parts).",
    "left open by Mattsson, Michaud and Hoel 2020, section 5",
    "Distance between two layers' changes (from start to end, bits an edge) over the mean length "
    "of the changes, with the whole less with the parts.",
    "share of the mean change",
)


def run_whole(folder: Path, quick: bool, data: Path | None, tell: Progress | None) -> str:
    """Take EI as a whole for the plane; see :func:`eiplane.reproduce.reproduce`."""
    effects, notes, drawn = [], [], []
    for subject in subjects(quick, data):
        run = subject.learn(folder, tell)
        spreads = {
            x: [spread(changes(history, x)) for history in run.histories]
            for x in ("degeneracy", "degeneracy_joint")
        }
        values = np.subtract(spreads["degeneracy_joint"], spreads["degeneracy"])
        effects.append(Effect(subject.title, tuple(map(float, values)), unlearnt(run)))
        notes.append(
            f"{subject.title}: {accuracy(run)}; spread {np.mean(spreads['degeneracy']):.3g} with "
            f"the parts, {np.mean(spreads['degeneracy_joint']):.3g} with the whole."
        )
        drawn.append((subject.title, run))
    axes = sheet(2, len(drawn), (4.8, 4.4))
    for column, (title, run) in zip(axes.T, drawn, strict=True):
        for ax, ei in zip(column, ("parts", "joint"), strict=True):
            trajectory(run.histories[0], ax, ei=ei, normalize="edges")
            ax.set_title(f"{title}, {'EI_parts' if ei == 'parts' else 'EI'}", fontsize=10, pad=8)
    keep_figure(axes, folder, WHOLE.name)
    return conclude(folder, WHOLE, effects, notes, quick)
