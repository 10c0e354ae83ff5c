"""Integrated information of larger networks, from 100-10 to 100-30-30-30-30-30-10."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...plot.style import QUIET, looks, tidy
from ...run import Progress
from ...training import History
from ..data import digits, mnist
from ..learning import Run
from ..pictures import band, sheet
from ..training import Protocol
from ..writing import keep_figure, markdown_table
from .claim import Claim, Effect, conclude
from .ways import Subject, accuracy, unlearnt

__all__ = ["run_integration"]

CLAIM = Claim(
    "integration",
    "The integrated information of a network's layers grows while it learns.",
    "Mattsson, Michaud and Hoel 2020, section 4, and its authors' runs of wider networks",
    "The sum of the layers' phi at the end less that at the start; NaN where EI of a layer is not "
    "known, or the errors are above a tenth of the effect.",
    "bits",
)

#: Without a hidden layer, with one to five, and with a bottleneck.
_SHAPES = (
    (100, 10),
    (100, 30, 10),
    (100, 30, 30, 10),
    (100, 30, 5, 30, 10),
    (100, 30, 30, 30, 30, 30, 10),
)
_ACTIVATIONS = ("sigmoid", "relu", "tanh")

#: What sampling may add to an effect.
_ERROR = 0.1


def run_integration(folder: Path, quick: bool, data: Path | None, tell: Progress | None) -> str:
    """Measure phi of wider networks; see :func:`eiplane.reproduce.reproduce`."""
    task = digits(0, 10, 10) if data is None else mnist(data, 10, 10)
    epochs = 1500 if data is None else 300
    base = Protocol(_SHAPES[0], epochs=epochs, every=epochs // 3)
    protocols = [replace(base, sizes=s, activation=a) for a in _ACTIVATIONS for s in _SHAPES]
    if quick:
        protocols = [replace(base, sizes=_SHAPES[1], epochs=4, every=4)]
    effects, rows, drawn = [], [], []
    for protocol in protocols:
        # Out of range is clipped: dropping would leave next to nothing of a wide ReLU layer.
        run = Subject(task.name, task, protocol).learn(folder, tell, outliers="clip")
        values = tuple(_gain(h) for h in run.histories)
        effects.append(Effect(protocol.name, values, unlearnt(run)))
        rows.append(_row(run))
        drawn.append((protocol, run.histories))
    notes = [
        f"{task.note}. Values out of range are clipped, not dropped as in the paper.",
        "Phi of each layer from the start to the end, means over runs, in bits:\n\n"
        + markdown_table(["network", "learnt", "phi"], rows),
    ]
    keep_figure(_draw(drawn), folder, CLAIM.name)
    return conclude(folder, CLAIM, effects, notes, quick)


def _gain(history: History) -> float:
    """Return by how much the sum of phi grows; NaN where it is not known well."""
    phi = np.array([history.values(layer, "phi")[[0, -1]] for layer in history.layers])
    error = np.array([history.errors(layer, "phi")[[0, -1]] for layer in history.layers])
    gain = float((phi[:, 1] - phi[:, 0]).sum())
    doubt = float(np.sqrt((np.nan_to_num(error) ** 2).sum()))
    return gain if doubt <= _ERROR * abs(gain) else float("nan")


def _row(run: Run) -> list[str]:
    cells = []
    for layer in run.histories[0].layers:
        start, end = (np.mean([h.values(layer, "phi")[i] for h in run.histories]) for i in (0, -1))
        cells.append("not known" if np.isnan(end) else f"{start:.2f} → {end:.2f}")
    return [run.protocol.name, accuracy(run), "; ".join(cells)]


def _draw(drawn: Sequence[tuple[Protocol, list[History]]]) -> object:
    names = list(dict.fromkeys(p.activation for p, _ in drawn))
    axes = sheet(1, len(names), (4.4, 3.4))[0]
    for ax, name in zip(axes, names, strict=True):
        chosen = [(p, h) for p, h in drawn if p.activation == name]
        for look, (protocol, histories) in zip(looks(len(chosen)), chosen, strict=True):
            layers = histories[0].layers
            ends = np.array([[h.values(x, "phi")[-1] for x in layers] for h in histories])
            place = np.linspace(0, 1, len(layers)) if len(layers) > 1 else np.array([0.5])
            band(ax, place, ends, look, "-".join(map(str, protocol.sizes)))
        ax.axhline(0, color="#555555", lw=0.8, zorder=1)
        ax.set_title(name, fontsize=10)
        ax.set_xlabel("depth, from first to last layer")
        ax.set_yscale("symlog", linthresh=1.0)
        ax.grid(axis="y", color=QUIET, lw=0.5)
        tidy(ax)
    axes[0].set_ylabel("phi at the end (bits)")
    axes[-1].legend(frameon=False, fontsize=8)
    return axes
