"""Whether layers that a task does not need differentiate less, once such a network has learnt."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from ...run import Progress
from ..data import digits, mnist
from ..learning import digits_protocols
from ..measuring import changes, spread
from ..pictures import means, runs_side_by_side
from ..training import Protocol
from ..writing import keep_figure
from .claim import Claim, Effect, conclude
from .ways import SEEDS, Subject, accuracy, unlearnt

__all__ = ["run_redundancy"]

CLAIM = Claim(
    "redundancy",
    "Hidden layers that a task does not need differentiate less in the causal plane.",
    "Mattsson, Michaud and Hoel 2020, section 5 (25-6-6-6-6-6-5 against 25-6-6-6-5)",
    "Mean distance between two hidden layers' changes (from start to end, bits an edge) over their "
    "mean length: of 25-6-6-6-5 less that of 25-6-6-6-6-6-5 with the same seed.",
    "share of the mean change",
)

_SHALLOW, _DEEP = (25, 6, 6, 6, 5), (25, 6, 6, 6, 6, 6, 5)


def run_redundancy(folder: Path, quick: bool, data: Path | None, tell: Progress | None) -> str:
    """Train the deep network long enough to learn; see :func:`eiplane.reproduce.reproduce`."""
    if data is None:
        task, base = digits(seed=0), replace(digits_protocols()[1], epochs=20_000)
    else:  # as many steps as 1,000 epochs of the paper's 25,000 images
        task, base = mnist(data, shifts=(-1, 0, 1)), Protocol(_SHALLOW, epochs=700)
    base = replace(base, seeds=SEEDS, every=base.epochs // 20)
    if quick:
        base = replace(base, epochs=4, every=4, seeds=SEEDS[:3])
    effects, notes, learnt = [], [f"{task.note}."], {}
    for activation in ("sigmoid", "tanh"):  # the paper's deep network is one of sigmoids
        runs = [
            Subject(task.name, task, replace(base, sizes=sizes, activation=activation)).learn(
                folder, tell, measures=("sensitivity", "ei_parts")
            )
            for sizes in (_SHALLOW, _DEEP)
        ]
        shallow, deep = ([spread(changes(h)[1:-1]) for h in run.histories] for run in runs)
        values = tuple(map(float, np.subtract(shallow, deep)))
        effects.append(
            Effect(f"{task.name} {activation}", values, unlearnt(runs[0]) or unlearnt(runs[1]))
        )
        for run, found in zip(runs, (shallow, deep), strict=True):
            notes.append(
                f"{run.protocol.name}: {run.protocol.epochs:,} epochs, {accuracy(run)}; spread of "
                f"the hidden layers {np.mean(found):.3g}."
            )
            name = run.protocol.name
            keep_figure(runs_side_by_side(run.histories[:3], name), folder, name)
            learnt[name] = run.histories
    keep_figure(means(learnt, ["train_loss", "ei_parts"]), folder, CLAIM.name)
    return conclude(folder, CLAIM, effects, notes, quick)
