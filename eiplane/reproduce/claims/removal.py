"""Whether the change of EI_parts tells what an edge's removal costs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...ablation import delta_ei_parts
from ...analyze import analyze
from ...files import Appender, require
from ...plot.style import QUIET, tidy
from ...run import Progress
from ..data import Task
from ..measuring import layers_of, options_for
from ..pictures import sheet
from ..training import Snapshots, loss_of, trained
from ..writing import keep_figure, markdown_table
from .claim import Claim, Effect, conclude
from .ways import Subject, rank_correlation, subjects

__all__ = ["run_removal"]

Array = NDArray[np.float64]

CLAIM = Claim(
    "removal",
    "What the removal of an edge costs is told by the change of EI_parts that it makes, better "
    "than by the edge's weight.",
    "the authors' ablation by the change of EI_parts and its regression",
    "Over all edges of a trained network: Spearman's rank correlation of the rise of the training "
    "loss with the absolute change of EI_parts; and that less the same with the absolute weight.",
    "rank correlation",
)

#: What is correlated with the rise of the loss.
_PREDICTORS = {
    "change": "absolute change of EI_parts",
    "ei": "EI of the edge",
    "sensitivity": "sensitivity of the edge",
    "weight": "absolute weight",
}


def run_removal(folder: Path, quick: bool, data: Path | None, tell: Progress | None) -> str:
    """Remove every edge alone; see :func:`eiplane.reproduce.reproduce`."""
    effects, notes, drawn, rows = [], [], [], []
    for subject in subjects(quick, data):
        table = _table(subject, folder, tell)
        ranks = {
            k: np.array([rank_correlation(run[k], run["cost"]) for run in table])
            for k in _PREDICTORS
        }
        stuck = int(sum(run["accuracy"] < 0.8 for run in table))
        reason = f"{stuck} of {len(table)} runs did not learn" if stuck else ""
        above = ranks["change"] - ranks["weight"]
        effects += [
            Effect(subject.title, tuple(map(float, ranks["change"])), reason),
            Effect(f"{subject.title}, above weight", tuple(map(float, above)), reason),
        ]
        fit = [float(np.mean([_explained(run, names) for run in table])) for names in _MODELS]
        means = [float(ranks[k].mean()) for k in _PREDICTORS]
        rows.append([subject.title, *means, *fit])
        drawn.append((subject.title, table[0]))
    headings = ["", *_PREDICTORS.values(), *(f"R², {' and '.join(m)}" for m in _MODELS)]
    notes.append(
        "Rank correlation with the rise of the loss, and the share of its variance that a linear "
        "regression explains (ranks of cost and predictors, by layer); means over runs:\n\n"
        + markdown_table(headings, rows)
    )
    axes = sheet(1, len(drawn), (3.8, 3.5))[0]
    for ax, (title, run) in zip(axes, drawn, strict=True):
        _draw(ax, run, title)
    axes[0].set_ylabel("rise of the training loss")
    keep_figure(axes, folder, CLAIM.name)
    return conclude(folder, CLAIM, effects, notes, quick)


#: The predictors of each regression.
_MODELS = (("weight",), ("change",), ("weight", "change"))


def _table(subject: Subject, folder: Path, tell: Progress | None) -> list[dict[str, Any]]:
    """Return for every run what is known of every edge, all layers in a row."""
    task, protocol = subject.task, replace(subject.protocol, every=subject.protocol.epochs)
    name = f"{task.name}-{protocol.name}"
    snapshots = trained(protocol, task, folder / f"{name}-weights.npz", tell)
    with Appender(folder / f"{name}-edges.jsonl") as file:
        known = {record["run"]: record for record in file.records}
        for run in range(snapshots.runs):
            if run not in known:
                known[run] = {"run": run, **_edges(snapshots, run, task, protocol.activation)}
                file.append(known[run])
            if tell is not None:
                tell(run + 1, snapshots.runs, f"remove edges of {subject.title}")
    return [{k: np.array(v) for k, v in known[r].items()} for r in range(snapshots.runs)]


def _edges(snapshots: Snapshots, run: int, task: Task, activation: str) -> dict[str, Any]:
    network = snapshots.network(-1, run)
    options = options_for(activation)
    layers = layers_of(network, activation)
    rest = {k: v for k, v in options.items() if k != "activation"}
    found = analyze(layers, measures=("ei_parts", "sensitivity"), **rest)
    columns: dict[str, list[Array]] = {k: [] for k in ("layer", *_PREDICTORS, "cost")}
    before = loss_of([w[None] for w in network], activation, task)[0]
    for i, (layer, result) in enumerate(zip(layers, found, strict=True)):
        weight = network[i]
        rest["in_range"] = result.in_range
        columns["layer"].append(np.full(weight.size, i, dtype=np.float64))
        columns["change"].append(np.abs(delta_ei_parts(layer, **rest)).ravel())
        columns["ei"].append(np.asarray(result.ei_edges).ravel())
        columns["sensitivity"].append(np.asarray(result.sensitivity_edges).ravel())
        columns["weight"].append(np.abs(weight).astype(np.float64).ravel())
        columns["cost"].append(loss_of(_without(network, i), activation, task) - before)
    accuracy = float(snapshots.metrics["train_accuracy"][-1, run])
    return {"accuracy": accuracy} | {k: np.concatenate(v).tolist() for k, v in columns.items()}


def _without(network: list[NDArray[np.float32]], i: int) -> list[NDArray[np.float32]]:
    """Return the network without each edge of a layer, one after the other."""
    size = network[i].size
    cut = [np.broadcast_to(w, (size, *w.shape)) for w in network]
    cut[i] = cut[i] * (1 - np.eye(size, dtype=np.float32)).reshape(size, *network[i].shape)
    return cut


def _explained(run: dict[str, Array], names: tuple[str, ...]) -> float:
    """Return R² of the ranked cost on ranked predictors, with a constant a layer."""
    rankdata = require("scipy.stats", "reproduce").rankdata
    layers = np.equal.outer(run["layer"], np.unique(run["layer"])).astype(np.float64)
    columns = np.column_stack([layers, *(rankdata(run[name]) for name in names)])
    cost = rankdata(run["cost"])
    rest = cost - columns @ np.linalg.lstsq(columns, cost, rcond=None)[0]
    return float(1 - rest.var() / cost.var())


def _draw(ax: Any, run: dict[str, Array], title: str) -> None:
    shown = ax.scatter(run["change"], run["cost"], c=run["layer"], s=14, cmap="viridis", lw=0)
    ax.set_title(title, fontsize=10)
    ax.set_xlabel("absolute change of EI_parts (bits)")
    ax.grid(color=QUIET, lw=0.5)
    ax.figure.colorbar(shown, ax=ax, label="layer", ticks=np.unique(run["layer"]))
    tidy(ax)
