"""Modular addition by a small transformer: whether a quantity moves before the test accuracy."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...files import read_arrays, require, write_whole
from ...network import Layer
from ...plot.style import QUIET, looks, tidy
from ...results import row_of
from ...run import Progress
from ...training import History, Tracker
from ..pictures import sheet
from ..training import one_thread
from ..writing import keep_figure
from .claim import Claim, Effect, conclude

__all__ = ["Addition", "run_grokking"]

Array = NDArray[np.float64]

CLAIM = Claim(
    "grokking",
    "While a network that has memorised modular addition comes to generalise, its causal structure "
    "moves before the test accuracy does.",
    "a question that the authors of the paper left open; grokking: Power et al. 2022",
    "Between the step of 99 % training accuracy and that of 95 % test accuracy: the step at which "
    "the test accuracy passes half of its rise, less the step at which the quantity, summed over "
    "layers, has made half of its way (its total variation), over the steps between.",
    "share of the time between",
)

_QUANTITIES = ("sensitivity", "ei_parts", "degeneracy")

#: Of the accuracies: when it is memorised, and when it is understood.
_MEMORISED, _UNDERSTOOD = 0.99, 0.95


@dataclass(frozen=True)
class Addition:
    """How addition modulo a prime is learnt.

    Parameters
    ----------
    modulus, width, heads : int
        Of the sums, and of a transformer of one block, without norms or biases, ReLU in its MLP.
    share : float
        Of all sums, what is learnt from.
    steps, every : int
        Of AdamW on all examples at once; steps between measurements.
    rate, decay : float
    """

    modulus: int = 53
    width: int = 64
    heads: int = 4
    share: float = 0.4
    steps: int = 12_000
    every: int = 200
    rate: float = 1e-3
    decay: float = 1.0


def run_grokking(folder: Path, quick: bool, data: Path | None, tell: Progress | None) -> str:
    """Follow a transformer while it groks; see :func:`eiplane.reproduce.reproduce`."""
    task = Addition(modulus=11, width=16, steps=120, every=40) if quick else Addition()
    seeds = (1, 2, 3) if quick else (1, 2, 3, 4, 5)
    histories = []
    for seed in seeds:
        kept = _trained(task, seed, folder / f"run{seed}-weights.npz", tell)
        histories.append(_followed(kept, folder / f"run{seed}.jsonl", tell))
    spans = [_between(history) for history in histories]
    missed = sum(span is None for span in spans)
    reason = f"{missed} of {len(spans)} runs did not come to generalise" if missed else ""
    effects = [
        Effect(
            quantity,
            tuple(_lead(h, s, quantity) for h, s in zip(histories, spans, strict=True)),
            reason,
        )
        for quantity in _QUANTITIES
    ]
    ends = "; ".join(
        f"{h.metric('train_accuracy')[-1]:.0%}, {h.metric('test_accuracy')[-1]:.0%}"
        for h in histories
    )
    notes = [
        f"Addition modulo {task.modulus}, {task.share:.0%} of all sums learnt, one block of width "
        f"{task.width}, {task.steps:,} steps of AdamW at a rate of {task.rate:g} with a decay of "
        f"{task.decay:g}. Accuracy at the end, training and test, a run each: {ends}."
    ]
    keep_figure(_draw(histories, spans), folder, CLAIM.name)
    return conclude(folder, CLAIM, effects, notes, quick)


def _trained(
    task: Addition, seed: int, path: Path, tell: Progress | None
) -> dict[str, NDArray[Any]]:
    """Train, or read what an earlier call kept: weights of every layer, and the accuracies."""
    head = json.dumps({**asdict(task), "seed": seed}, sort_keys=True)
    if not path.exists():
        with one_thread(require("torch", "reproduce")):
            arrays: dict[str, Any] = _train(task, seed, tell)
        arrays["head"] = np.array(head)
        write_whole(path, lambda file: np.savez_compressed(file, allow_pickle=False, **arrays))
    kept = read_arrays(path, "holds no training; take it away")
    if not isinstance(kept, dict) or str(kept.get("head")) != head:
        raise ValueError(f"{path} is of another training; give another folder with --out")
    return {name: kept[name] for name in kept if name != "head"}


def _train(task: Addition, seed: int, tell: Progress | None) -> dict[str, NDArray[Any]]:
    torch = require("torch", "reproduce")
    stream = torch.Generator().manual_seed(seed)
    weights = _initial(torch, task, stream)
    grid = torch.cartesian_prod(torch.arange(task.modulus), torch.arange(task.modulus))
    label = grid.sum(dim=1) % task.modulus
    order = torch.randperm(len(grid), generator=stream)
    parts = order.split([int(task.share * len(grid)), len(grid) - int(task.share * len(grid))])
    optimiser = torch.optim.AdamW(
        weights.values(), lr=task.rate, weight_decay=task.decay, betas=(0.9, 0.98)
    )
    kept: dict[str, list[NDArray[Any]]] = {name: [] for name in weights}
    scores = []
    steps = list(range(0, task.steps + 1, task.every))
    for step in range(task.steps + 1):
        if step % task.every == 0:
            for name, weight in weights.items():
                kept[name].append(weight.detach().numpy().copy())
            with torch.no_grad():
                right = _logits(torch, task, weights, grid).argmax(dim=1) == label
            scores.append([float(right[part].double().mean()) for part in parts])
            if tell is not None:
                tell(step, task.steps, f"train run {seed}")
        output = _logits(torch, task, weights, grid[parts[0]])
        loss = torch.nn.functional.cross_entropy(output, label[parts[0]])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    train, test = np.array(scores).T
    return {
        **{name: np.stack(values) for name, values in kept.items()},
        "step": np.array(steps), "train_accuracy": train, "test_accuracy": test,
    }  # fmt: skip


def _initial(torch: Any, task: Addition, stream: Any) -> dict[str, Any]:
    """Return the weights, each of shape (n_out, n_in)."""
    n, p = task.width, task.modulus
    shapes = {"embedding": (p + 1, n), "position": (3, n), "query": (n, n), "key": (n, n),
              "value": (n, n), "output": (n, n), "mlp_in": (4 * n, n), "mlp_out": (n, 4 * n),
              "unembedding": (p, n)}  # fmt: skip
    return {
        name: (torch.randn(*shape, generator=stream) / shape[-1] ** 0.5).requires_grad_()
        for name, shape in shapes.items()
    }


def _logits(torch: Any, task: Addition, w: dict[str, Any], pairs: Any) -> Any:
    """Return the answer's logits at the third token, the sign of equality."""
    x = w["embedding"][pairs] + w["position"][:2]
    last = (w["embedding"][task.modulus] + w["position"][2]).expand(len(pairs), 1, -1)
    x = torch.cat([x, last], dim=1)

    def heads(y: Any) -> Any:
        return y.unflatten(-1, (task.heads, -1)).transpose(1, 2)

    query = heads(last @ w["query"].T)
    key, value = heads(x @ w["key"].T), heads(x @ w["value"].T)
    weight = (query @ key.mT / key.shape[-1] ** 0.5).softmax(dim=-1)
    mixed = (weight @ value).transpose(1, 2).flatten(2)
    y = (last + mixed @ w["output"].T)[:, 0]
    return (y + torch.relu(y @ w["mlp_in"].T) @ w["mlp_out"].T) @ w["unembedding"].T


#: The layers that are measured, and what follows each.
_LAYERS = {"query": "identity", "key": "identity", "value": "identity", "output": "identity",
           "mlp_in": "relu", "mlp_out": "identity", "unembedding": "identity"}  # fmt: skip


def _followed(kept: dict[str, NDArray[Any]], path: Path, tell: Progress | None) -> History:
    """Measure every snapshot, each layer with inputs of one range: +-1."""
    held: list[Layer] = []
    options: dict[str, Any] = {"measures": _QUANTITIES,
                               "in_range": {name: (-1.0, 1.0) for name in _LAYERS}}  # fmt: skip
    with Tracker(lambda: held, path, progress=False, **options) as tracker:
        known = set(tracker.steps)
        for i, step in enumerate(kept["step"].tolist()):
            if step not in known:
                held[:] = [Layer(kept[n][i], None, a, n) for n, a in _LAYERS.items()]
                names = ("train_accuracy", "test_accuracy")
                tracker.record(step, **{n: float(kept[n][i]) for n in names})
            if tell is not None:
                tell(i + 1, len(kept["step"]), f"measure {path.stem}")
        return History(tracker.history, path.stem)


def _between(history: History) -> tuple[int, int] | None:
    """Return where a run has memorised and where it has understood; None if it never does."""
    train = history.metric("train_accuracy") >= _MEMORISED
    test = history.metric("test_accuracy") >= _UNDERSTOOD
    if not train.any() or not test.any():
        return None
    start, end = int(train.argmax()), int(test.argmax())
    return (start, end) if end - start >= 4 else None


def _total(history: History, quantity: str) -> Array:
    return np.asarray(np.sum([history.values(x, quantity) for x in history.layers], axis=0))


def _lead(history: History, span: tuple[int, int] | None, quantity: str) -> float:
    """Return by how much the quantity is ahead of the test accuracy."""
    if span is None:
        return float("nan")
    part = slice(span[0], span[1] + 1)
    steps = history.steps[part].astype(np.float64)
    moments = []
    for values in (_total(history, quantity)[part], history.metric("test_accuracy")[part]):
        way = np.concatenate([[0.0], np.abs(np.diff(values)).cumsum()])
        moments.append(np.interp(0.5 * way[-1], way, steps))
    return float((moments[1] - moments[0]) / (steps[-1] - steps[0]))


def _draw(histories: list[History], spans: list[tuple[int, int] | None]) -> Any:
    axes = sheet(1 + len(_QUANTITIES), len(histories), (3.4, 2.1), sharex="col")
    for column, history, span in zip(axes.T, histories, spans, strict=True):
        for look, part in zip(looks(2), ("train", "test"), strict=True):
            values = history.metric(f"{part}_accuracy")
            column[0].plot(history.steps, values, color=look.color, ls=look.line, label=part)
        for ax, quantity in zip(column[1:], _QUANTITIES, strict=True):
            ax.plot(history.steps, _total(history, quantity), color="#222222", lw=1.4)
            ax.ticklabel_format(axis="y", useOffset=False)
        for ax in column:
            for i in span or ():
                ax.axvline(history.steps[i], color="#777777", lw=0.8, ls=":")
            ax.grid(axis="y", color=QUIET, lw=0.5)
            tidy(ax)
        column[0].set_title(history.name or "", fontsize=10)
        column[-1].set_xlabel("step")
    labels = ("accuracy", *(row_of(quantity).label for quantity in _QUANTITIES))
    for ax, label in zip(axes[:, 0], labels, strict=True):
        ax.set_ylabel(label)
    axes[0, 0].legend(frameon=False, fontsize=8)
    return axes
