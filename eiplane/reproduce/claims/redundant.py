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
    runs = []
    for sizes in (_SHALLOW, _DEEP):
        subject = Subject(task.name, task, replace(base, sizes=sizes))
        runs.append(subject.learn(folder, tell, measures=("sensitivity", "ei_parts")))
    shallow, deep = ([spread(changes(h)[1:-1]) for h in run.histories] for run in runs)
    values = tuple(map(float, np.subtract(shallow, deep)))
    effects = [Effect(task.name, values, unlearnt(runs[0]) or unlearnt(runs[1]))]
    notes = [f"{task.note}."]
    for run, found in zip(runs, (shallow, deep), strict=True):
        notes.append(
            f"{run.protocol.name}: {run.protocol.epochs:,} epochs, {accuracy(run)}; spread of the "
            f"hidden layers {np.mean(found):.3g}."
        )
        keep_figure(
            runs_side_by_side(run.histories[:3], run.protocol.name), folder, run.protocol.name
        )
    keep_figure(
        means({r.protocol.name: r.histories for r in runs}, ["train_loss", "ei_parts"]),
        folder, CLAIM.name,
    )  # fmt: skip
    return conclude(folder, CLAIM, effects, notes, quick)
