"""True labels against shuffled ones: whether memorizing leaves another causal structure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..plot import compare
from ..run import Progress
from ..training import History
from .data import Task, digits
from .learning import learn
from .measuring import differentiation
from .pictures import means
from .training import Protocol
from .writing import keep_figure, markdown_table, write_summary

__all__ = ["run_memorization"]

#: Few examples, wide layers and a higher rate than the paper's, or nothing can be memorized.
_PROTOCOL = Protocol((25, 12, 12, 5), epochs=6000, batch=10, every=120, rate=0.05)
_EXAMPLES = 100


def run_memorization(folder: Path, quick: bool, data: Path | None, tell: Progress | None) -> str:
    """Train on true and on shuffled labels; see :func:`eiplane.reproduce.reproduce`."""
    protocol = replace(_PROTOCOL, epochs=240, every=240, seeds=(1, 2)) if quick else _PROTOCOL
    whole = digits(seed=0)
    true = replace(whole, x=whole.x[:_EXAMPLES], label=whole.label[:_EXAMPLES])
    order = np.random.default_rng(0).permutation(_EXAMPLES)
    shuffled = replace(true, label=true.label[order], note=f"{true.note}; labels shuffled")
    runs: dict[str, list[History]] = {}
    for name, task in (("true", true), ("shuffled", shuffled)):
        runs[name] = learn(protocol, task, folder, tell, prefix=f"{name}-").histories
    first = {f"{name} labels": histories[0] for name, histories in runs.items()}
    keep_figure(compare(first), folder, "plane")
    known = [q for q in ("sensitivity", "ei_parts", "phi") if q in runs["true"][0].quantities]
    titled = {f"{name} labels": histories for name, histories in runs.items()}
    keep_figure(means(titled, ["train_accuracy", *known]), folder, "histories")
    return write_summary(folder, _summary(true, protocol, runs))


def _summary(task: Task, protocol: Protocol, runs: Mapping[str, Sequence[History]]) -> str:
    parts = [
        "# memorization",
        f"A {protocol.name} sigmoid network learns {_EXAMPLES} of scikit-learn's digits 0 to 4 "
        f"(5x5), {protocol.epochs:,} epochs at a rate of {protocol.rate:g}, batches "
        f"of {protocol.batch}, {len(protocol.seeds)} runs: once with their true labels, once with "
        "shuffled ones.",
        "## What the paper asked",
        "The authors left open whether a network that is made to memorize, by shuffled labels, "
        "gets another causal structure than one that can generalize.",
        "## What was found",
    ]
    rows = []
    for name, histories in runs.items():
        accuracies = [
            float(np.mean([h.metric(f"{part}_accuracy")[-1] for h in histories]))
            for part in ("train", "test")
        ]
        moved = [differentiation(h) for h in histories]
        rows.append([name, *accuracies, *(float(np.mean([m[k] for m in moved])) for k in moved[0])])
    parts.append(
        markdown_table(
            ["labels", "train accuracy", "test accuracy", "angle between layers (°)",
             "distance (bits an edge)", "spread"],
            rows,
        )
    )  # fmt: skip
    quantities = ["sensitivity", "ei_parts", "degeneracy", "ei", "phi", "effectiveness"]
    first = runs["true"][0]
    known = [q for q in quantities if q in first.quantities]
    rows = [
        [layer, name, *(_range([h.values(layer, q)[-1] for h in histories]) for q in known)]
        for layer in first.layers
        for name, histories in runs.items()
    ]
    parts += [
        "At the end, means over the runs and, in brackets, the least and the greatest, in bits:",
        markdown_table(["layer", "labels", *known], rows),
        _apart(runs, known),
    ]
    return "\n\n".join(parts)


def _range(values: Sequence[float]) -> str:
    if np.isnan(values).any():
        return "not known"
    return f"{np.mean(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def _apart(runs: Mapping[str, Sequence[History]], quantities: Sequence[str]) -> str:
    """Say which quantities part the two kinds of runs altogether."""
    found = []
    for layer in runs["true"][0].layers:
        for quantity in quantities:
            a, b = ([h.values(layer, quantity)[-1] for h in runs[n]] for n in ("true", "shuffled"))
            if np.isnan([*a, *b]).any():
                continue
            if max(a) < min(b):
                found.append(f"{quantity} of {layer} (greater with shuffled labels)")
            elif max(b) < min(a):
                found.append(f"{quantity} of {layer} (less with shuffled labels)")
    if not found:
        return "No quantity parts all runs with true labels from all with shuffled ones."
    return (
        f"All runs with true labels are parted from all with shuffled ones by: {'; '.join(found)}. "
        f"Of {len(runs['true'])} runs against {len(runs['shuffled'])}, that is a hint, not a test."
    )
