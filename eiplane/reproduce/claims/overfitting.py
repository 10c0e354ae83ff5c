"""Whether hidden layers drift to degeneracy once a network begins to overfit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...plot.style import QUIET, looks, tidy
from ...run import Progress
from ...training import History
from ..data import digits
from ..pictures import sheet
from ..training import Protocol
from ..writing import keep_figure
from .claim import Claim, Effect, conclude
from .ways import SEEDS, Subject, accuracy

__all__ = ["run_overfitting"]

CLAIM = Claim(
    "overfitting",
    "Hidden layers drift towards degeneracy as overfitting begins.",
    "Mattsson, Michaud and Hoel 2020, sections 5 and 6",
    "The change of the share of degeneracy in sensitivity, a mean over the layers before the last, "
    "from the moment of the least test loss to the end.",
    "share of sensitivity",
)

#: Few examples of many, wide layers and a high rate: the test loss has to rise again.
_PROTOCOL = Protocol((25, 12, 12, 5), epochs=6000, batch=10, every=60, seeds=SEEDS, rate=0.05)
_EXAMPLES = 60

#: By how much the test loss has to rise again, for a run to be said to overfit.
_RISE = 0.02


def run_overfitting(folder: Path, quick: bool, data: Path | None, tell: Progress | None) -> str:
    """Follow networks past their best; see :func:`eiplane.reproduce.reproduce`."""
    protocols = [_PROTOCOL, replace(_PROTOCOL, activation="tanh", rate=0.02)]
    if quick:
        protocols = [replace(_PROTOCOL, epochs=240, every=40, seeds=SEEDS[:3])]
    whole = digits(seed=0)
    few = replace(whole, x=whole.x[:_EXAMPLES], label=whole.label[:_EXAMPLES])
    effects, drawn = [], []
    notes = [f"{whole.note}, of which the first {_EXAMPLES} are learnt."]
    for protocol in protocols:
        title = f"digits {protocol.name}"
        run = Subject(title, few, protocol).learn(
            folder, tell, measures=("sensitivity", "ei_parts")
        )
        starts = [_onset(history) for history in run.histories]
        values = tuple(
            float(_share(h)[-1] - _share(h)[start])
            for h, start in zip(run.histories, starts, strict=True)
        )
        effects.append(Effect(title, values, _unfit(run.histories, starts)))
        onset = ", ".join(f"{run.snapshots.epochs[start]:,}" for start in starts)
        notes.append(
            f"{title}: {accuracy(run)}; least test loss at epoch {onset} (a number a run). "
            + _around(run.histories, starts)
        )
        drawn.append((title, run.histories, starts))
    axes = sheet(2, len(drawn), (4.6, 2.8), sharex="col")
    for column, (title, histories, starts) in zip(axes.T, drawn, strict=True):
        _draw(column, histories, starts)
        column[0].set_title(title, fontsize=10)
    keep_figure(axes, folder, CLAIM.name)
    return conclude(folder, CLAIM, effects, notes, quick)


def _onset(history: History) -> int:
    """Return the index of the least test loss."""
    return int(history.metric("test_loss").argmin())


def _share(history: History) -> NDArray[np.float64]:
    """Return the share of degeneracy in sensitivity, a mean over the layers before the last."""
    shares = []
    for layer in history.layers[:-1]:
        degeneracy, whole = (history.values(layer, q) for q in ("degeneracy", "sensitivity"))
        # Before it learns a sigmoid layer may be so flat that no input alone moves an output's bin.
        shares.append(np.divide(degeneracy, whole, np.full_like(whole, np.nan), where=whole > 0))
    return np.asarray(np.mean(shares, axis=0))


def _unfit(histories: list[History], starts: list[int]) -> str:
    """Return why nothing can be said, where a run did not overfit."""
    rises = [
        h.metric("test_loss")[-1] / h.metric("test_loss")[start] - 1
        for h, start in zip(histories, starts, strict=True)
    ]
    good = sum(rise < _RISE for rise in rises)
    if not good:
        return ""
    return f"in {good} of {len(rises)} runs the test loss does not rise again by {_RISE:.0%}"


def _around(histories: list[History], starts: list[int]) -> str:
    """Say how fast the share moves on either side: a drift that is not faster after is no sign."""
    paces: list[list[float]] = [[], []]
    for history, start in zip(histories, starts, strict=True):
        share, steps = _share(history), history.steps
        known = np.flatnonzero(~np.isnan(share))
        for i, j, found in ((known[0], start, paces[0]), (start, known[-1], paces[1])):
            if steps[j] > steps[i]:
                found.append(float(100 * (share[j] - share[i]) / (steps[j] - steps[i])))
    before, after = (f"{np.mean(p):.2g}" if p else "not known" for p in paces)
    return f"The share moves by {before} in 100 epochs before that moment, by {after} after it."


def _draw(column: Any, histories: list[History], starts: list[int]) -> None:
    for look, history, start in zip(looks(len(histories)), histories, starts, strict=True):
        for ax, values in zip(column, (history.metric("test_loss"), _share(history)), strict=True):
            ax.plot(history.steps, values, color=look.color, ls=look.line, lw=1.4)
            ax.plot(history.steps[start], values[start], "o", color=look.color, mec="white")
    for ax, label in zip(column, ("test loss", "degeneracy / sensitivity"), strict=True):
        ax.set_ylabel(label)
        ax.grid(axis="y", color=QUIET, lw=0.5)
        tidy(ax)
    # Of a layer that is all but flat the share is far below zero: that moment is left out.
    low, high = column[1].get_ylim()
    column[1].set_ylim(max(low, -0.1), min(high, 1.02))  # no share is above 1
    column[1].set_xlabel("epoch (dots: least test loss)")
