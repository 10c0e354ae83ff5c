"""Taking edges away by their EI, and by their weight: what it costs in accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..analyze import analyze
from ..files import Appender
from ..plot.style import QUIET, looks, tidy
from ..run import Progress
from .data import Task, digits, iris, mnist
from .learning import IRIS, digits_protocols, mnist_protocols
from .measuring import layers_of, options_for
from .pictures import sheet
from .training import Protocol, accuracy_of, trained
from .writing import keep_figure, markdown_table, write_summary

__all__ = ["BAND", "band_of", "run_ablation"]

#: Per cent of the edges of every layer that go at once.
BAND = 5

_STARTS = range(0, 100, BAND)
_KINDS = {"ei": "EI of the edge", "weight": "absolute weight"}


def run_ablation(folder: Path, quick: bool, data: Path | None, tell: Progress | None) -> str:
    """Remove edges from trained networks; see :func:`eiplane.reproduce.reproduce`."""
    images = digits(seed=0) if data is None else mnist(data)
    protocol = (digits_protocols() if data is None else mnist_protocols())[1]
    subjects: list[tuple[Task, Protocol]] = [(images, protocol), (iris(seed=0), IRIS)]
    if quick:
        subjects = [
            (t, replace(p, epochs=n, every=n, seeds=p.seeds[:2]))
            for (t, p), n in zip(subjects, (600 if data is None else 60, 1500), strict=True)
        ]
    losses: dict[str, dict[str, NDArray[np.float64]]] = {}
    before: dict[str, NDArray[np.float64]] = {}
    for task, chosen in subjects:
        before[task.name], losses[task.name] = _ablate(task, chosen, folder, tell)
    keep_figure(_draw(losses), folder, "ablation")
    return write_summary(folder, _summary([t for t, _ in subjects], before, losses))


def band_of(values: NDArray[Any], start: int) -> NDArray[np.bool_]:
    """Return which entries lie in the band from ``start`` to ``start + BAND`` per cent.

    Parameters
    ----------
    values : ndarray
    start : int
        Per cent; the bands of 0, 5, ... part the entries, each in one.

    Returns
    -------
    ndarray of bool, the shape of ``values``
    """
    order = np.argsort(values, axis=None, kind="stable")
    first, last = (values.size * p // 100 for p in (start, start + BAND))
    chosen = np.zeros(values.size, dtype=bool)
    chosen[order[first:last]] = True
    return chosen.reshape(values.shape)


def _ablate(
    task: Task, protocol: Protocol, folder: Path, tell: Progress | None
) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
    """Return the accuracies before, and what every band costs, shape (runs, bands)."""
    snapshots = trained(protocol, task, folder / f"{task.name}-weights.npz", tell)
    before = snapshots.metrics["test_accuracy"][-1]
    lost: dict[str, list[list[float]]] = {kind: [] for kind in _KINDS}
    with Appender(folder / f"{task.name}-ablation.jsonl") as file:
        known = {(r["run"], r["kind"]): dict(r) for r in file.records}
        for run in range(snapshots.runs):
            network = snapshots.network(-1, run)
            for kind in _KINDS:
                if (run + 1, kind) not in known:
                    after = _after(network, kind, task, protocol.activation)
                    record = {
                        "run": run + 1, "kind": kind, "before": float(before[run]),
                        "bands": list(_STARTS), "after": after.tolist(),
                    }  # fmt: skip
                    file.append(record)
                    known[run + 1, kind] = record
                record = known[run + 1, kind]
                lost[kind].append([record["before"] - a for a in record["after"]])
    return before, {kind: np.array(rows) for kind, rows in lost.items()}


def _after(
    network: list[NDArray[np.float32]], kind: str, task: Task, activation: str
) -> NDArray[np.float64]:
    """Return the test accuracy without the edges of each band."""
    ranks: list[NDArray[Any]] = [np.abs(w) for w in network]
    if kind == "ei":
        found = analyze(
            layers_of(network, activation),
            measures="ei_parts",
            **{k: v for k, v in options_for(activation).items() if k != "activation"},
        )
        ranks = [np.asarray(layer.ei_edges) for layer in found]
    cut = [
        np.stack([np.where(band_of(rank, start), np.float32(0), weight) for start in _STARTS])
        for weight, rank in zip(network, ranks, strict=True)
    ]
    return accuracy_of(cut, activation, task.test_x, task.test_label)


def _draw(losses: dict[str, dict[str, NDArray[np.float64]]]) -> Any:
    axes = sheet(1, len(losses), (5.0, 3.6))[0]
    middle = np.array(_STARTS) + BAND / 2
    for ax, (name, by_kind) in zip(axes, losses.items(), strict=True):
        for look, (kind, values) in zip(looks(2), by_kind.items(), strict=True):
            ax.plot(middle, 100 * values.mean(axis=0), color=look.color, ls=look.line, lw=1.7,
                    marker=look.marker, ms=5, mec="white", label=_KINDS[kind])  # fmt: skip
            ax.fill_between(middle, 100 * values.min(axis=0), 100 * values.max(axis=0), lw=0,
                            color=look.color, alpha=0.15)  # fmt: skip
        ax.axhline(0, color="#555555", lw=0.8, zorder=1)
        ax.grid(axis="y", color=QUIET, lw=0.5)
        ax.set_title(name, fontsize=11)
        ax.set_xlabel(f"percentile of the {BAND} % of edges removed")
        ax.set_xlim(0, 100)
        tidy(ax)
    axes[0].set_ylabel("test accuracy lost (points)")
    axes[0].legend(frameon=False, fontsize=9, handlelength=3.2, title="edges ranked by",
                   title_fontsize=9, alignment="left")  # fmt: skip
    return axes


def _summary(
    tasks: Sequence[Task],
    before: dict[str, NDArray[np.float64]],
    losses: dict[str, dict[str, NDArray[np.float64]]],
) -> str:
    parts = [
        "# ablation",
        f"In trained networks the edges of each {BAND} % band of every layer are set to zero, "
        "ranked by their EI, and by their absolute weight.",
        "## What the paper asked",
        "Whether the EI of an edge tells what its removal costs, and whether it does better than "
        "the edge's weight.",
        "## What was found",
    ]
    third = len(_STARTS) // 3
    for task in tasks:
        rows = []
        for kind, values in losses[task.name].items():
            mean = 100 * values.mean(axis=0)
            rank = np.corrcoef(np.argsort(np.argsort(mean)), np.arange(len(mean)))[0, 1]
            rows.append(
                [
                    _KINDS[kind],
                    float(mean[:third].mean()),
                    float(mean[third:-third].mean()),
                    float(mean[-third:].mean()),
                    float(rank),
                ]
            )
        accuracy = ", ".join(f"{a:.1%}" for a in before[task.name])
        headings = [
            "ranked by", f"lost, lowest {third * BAND} %", "lost, middle",
            f"lost, highest {third * BAND} %", "rank correlation of loss and percentile",
        ]  # fmt: skip
        parts += [
            f"### {task.name}",
            f"{task.note}. Test accuracy before: {accuracy}. Mean loss a band, in points:",
            markdown_table(headings, rows),
        ]
    return "\n\n".join(parts)
