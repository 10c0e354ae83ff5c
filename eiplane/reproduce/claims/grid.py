"""Depth, width and activation: what a layer's place in the plane depends on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np

from ...plot.style import QUIET, looks, tidy
from ...run import Progress
from ..data import digits, mnist
from ..learning import Run
from ..measuring import changes, spread
from ..pictures import band, sheet
from ..training import Protocol
from ..writing import keep_figure, markdown_table
from .claim import Claim, Effect, conclude
from .ways import Subject, accuracy, unlearnt

__all__ = ["run_grid"]

CLAIM = Claim(
    "grid",
    "The deeper, and the wider, a network is, the more its layers differentiate.",
    "the authors' wider experiments: depth times width times activation, three seeds each",
    "Distance between two layers' changes (from start to end, bits an edge) over the mean length "
    "of the changes: of three hidden layers less that of one, and of 24 neurons a layer less that "
    "of 6, each a mean over what else is varied, with the same seed. Networks that do not learn "
    "are left out of the mean.",
    "share of the mean change",
)

_DEPTHS, _WIDTHS, _ACTIVATIONS = (1, 2, 3), (6, 12, 24), ("sigmoid", "tanh", "relu")

Key = tuple[str, int, int]


def run_grid(folder: Path, quick: bool, data: Path | None, tell: Progress | None) -> str:
    """Vary depth, width and activation; see :func:`eiplane.reproduce.reproduce`."""
    task = digits(seed=0) if data is None else mnist(data)
    epochs = 3000 if data is None else 500
    base = Protocol((25, 6, 5), epochs=60 if quick else epochs, seeds=(1, 2, 3))
    base = replace(base, every=base.epochs)
    depths, widths = ((1, 2), (6, 12)) if quick else (_DEPTHS, _WIDTHS)
    activations = _ACTIVATIONS[:1] if quick else _ACTIVATIONS
    runs: dict[Key, Run] = {}
    for key in product(activations, depths, widths):
        activation, depth, width = key
        protocol = replace(base, sizes=(25, *[width] * depth, 5), activation=activation)
        measures = ("sensitivity", "ei_parts")
        runs[key] = Subject(task.name, task, protocol).learn(folder, tell, measures=measures)
    learnt = {key: run for key, run in runs.items() if quick or not unlearnt(run)}
    effects = []
    for place, name, values in ((1, "depth", depths), (2, "width", widths)):
        low, high = values[0], values[-1]
        found = _contrast(learnt, place, low, high)
        reason = "" if found else "no pair of networks learnt"
        effects.append(Effect(f"{name} {high} against {low}", found, reason))
    rows = [
        [*map(str, key), accuracy(run), "no" if unlearnt(run) else "yes", _mean(run)]
        for key, run in runs.items()
    ]
    headings = ["activation", "hidden layers", "width", "accuracy", "learnt", "spread"]
    keep_figure(_draw(runs, activations, depths, widths), folder, CLAIM.name)
    notes = [f"{task.note}.", markdown_table(headings, rows)]
    return conclude(folder, CLAIM, effects, notes, quick)


def _mean(run: Run) -> float:
    return float(np.mean([spread(changes(h)) for h in run.histories]))


def _contrast(runs: Mapping[Key, Run], place: int, low: int, high: int) -> tuple[float, ...]:
    """Return, a seed each, the mean difference that one of the key's entries makes."""
    found = []
    for key, run in runs.items():
        activation, depth, width = key
        other = (activation, low, width) if place == 1 else (activation, depth, low)
        if key[place] == high and other in runs:
            pairs = zip(run.histories, runs[other].histories, strict=True)
            found.append([spread(changes(a)) - spread(changes(b)) for a, b in pairs])
    return tuple(map(float, np.mean(found, axis=0))) if found else ()


def _draw(
    runs: Mapping[Key, Run], activations: Sequence[str], depths: Sequence[int],
    widths: Sequence[int],
) -> object:  # fmt: skip
    axes = sheet(1, len(activations), (3.8, 3.2), sharey=True)[0]
    for ax, activation in zip(axes, activations, strict=True):
        for look, width in zip(looks(len(widths)), widths, strict=True):
            values = np.array(
                [[spread(changes(h)) for h in runs[activation, d, width].histories] for d in depths]
            )
            band(ax, depths, values.T, look, f"width {width}")
        ax.set_title(activation, fontsize=10)
        ax.set_xlabel("hidden layers")
        ax.set_xticks(depths)
        ax.grid(axis="y", color=QUIET, lw=0.5)
        tidy(ax)
    axes[0].set_ylabel("spread of the layers' changes")
    axes[0].legend(frameon=False, fontsize=8.5)
    return axes
