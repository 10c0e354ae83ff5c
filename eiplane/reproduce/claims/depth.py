"""Spans of layers while a network learns, up to the whole network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ...plot.style import QUIET, looks, tidy
from ...results import row_of
from ...run import Progress
from ...training import History
from ..data import iris
from ..learning import IRIS
from ..pictures import band, sheet
from ..writing import keep_figure, markdown_table
from .claim import Claim, Effect, conclude
from .ways import SEEDS, Subject, accuracy, unlearnt

__all__ = ["run_spans"]

CLAIM = Claim(
    "spans",
    "What holds of the layers holds of the whole network: from its input to its output "
    "sensitivity, EI and phi grow while it learns.",
    "left open by Mattsson, Michaud and Hoel 2020, section 6",
    "Of the span from the network's input to its output, the quantity at the end less at the "
    "start.",
    "bits",
)

_QUANTITIES = ("sensitivity", "ei_parts", "degeneracy", "ei", "phi")
_JUDGED = ("sensitivity", "ei", "phi")


def run_spans(folder: Path, quick: bool, data: Path | None, tell: Progress | None) -> str:
    """Follow spans through training; see :func:`eiplane.reproduce.reproduce`."""
    protocol = replace(IRIS, seeds=SEEDS, shared=False, every=400)
    if quick:
        protocol = replace(protocol, epochs=200, every=200, seeds=SEEDS[:3])
    task = iris(seed=0)
    run = Subject("Iris", task, protocol).learn(folder, tell, spans="all")
    lengths = _by_length(run.histories[0])
    whole = max(lengths, key=lengths.__getitem__)
    effects = [
        Effect(quantity, tuple(_gain(h, whole, quantity) for h in run.histories), unlearnt(run))
        for quantity in _JUDGED
    ]
    rows = []
    for layer in run.histories[0].layers:
        ends = [[np.mean([h.values(layer, q)[i] for h in run.histories]) for q in _QUANTITIES]
                for i in (0, -1)]  # fmt: skip
        rows.append([layer, *(f"{a:.2f} → {b:.2f}" for a, b in zip(*ends, strict=True))])
    notes = [
        f"{task.note}; {protocol.name} sigmoid, {accuracy(run)}. From the start to the end, means "
        "over runs, in bits:\n\n" + markdown_table(["span", *_QUANTITIES], rows)
    ]
    keep_figure(_draw(run.histories), folder, CLAIM.name)
    return conclude(folder, CLAIM, effects, notes, quick)


#: Between the names of a span's first and last layer.
_TO = ".."


def _length(name: str, singles: list[str]) -> int:
    """Return over how many layers a span goes."""
    first, _, last = name.partition(_TO)
    return singles.index(last or first) - singles.index(first) + 1


def _by_length(history: History) -> dict[str, int]:
    singles = [name for name in history.layers if _TO not in name]
    return {name: _length(name, singles) for name in history.layers}


def _gain(history: History, layer: str, quantity: str) -> float:
    values = history.values(layer, quantity)
    return float(values[-1] - values[0])


def _draw(histories: list[History]) -> Any:
    lengths = _by_length(histories[0])
    axes = sheet(1, len(_QUANTITIES), (3.2, 3.0))[0]
    for ax, quantity in zip(axes, _QUANTITIES, strict=True):
        for look, length in zip(looks(len({*lengths.values()})), sorted({*lengths.values()}),
                                strict=True):  # fmt: skip
            names = [name for name, n in lengths.items() if n == length]
            values = np.array(
                [np.mean([h.values(name, quantity) for name in names], axis=0) for h in histories]
            )
            label = f"{length} layer{'s' * (length > 1)}"
            band(ax, histories[0].steps, values, replace(look, marker=""), label)
        ax.set_title(row_of(quantity).symbol, fontsize=10)
        ax.set_xlabel("epoch")
        ax.grid(axis="y", color=QUIET, lw=0.5)
        tidy(ax)
    axes[0].set_ylabel("bits, a mean over spans of that length")
    axes[0].legend(frameon=False, fontsize=8.5)
    return axes
