"""How many samples the paper's estimate of EI needs, by width and initialiser."""

from __future__ import annotations

import warnings
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...analyze import analyze
from ...files import Appender
from ...joint import SaturationWarning
from ...plot.style import QUIET, looks, tidy
from ...run import Progress
from ..pictures import band, sheet
from ..writing import keep_figure, markdown_table
from .claim import Claim, Effect, conclude

__all__ = ["INITIALISERS", "run_initialisers"]

CLAIM = Claim(
    "initialisers",
    "With 10^5 samples EI has not converged in layers of ten and more neurons, however their "
    "weights were drawn.",
    "Mattsson, Michaud and Hoel 2020, section 4.2, and the authors' wider runs",
    "The plug-in estimate from 10^5 samples less the EI that filtering gives (whose own error is "
    "subtracted twice), over the latter, for every initialiser; a number a draw of the weights.",
    "share of EI",
    0.01,
)


def _uniform(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    return rng.uniform(-1 / np.sqrt(n), 1 / np.sqrt(n), (n, n))


def _glorot(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    return rng.normal(0, np.sqrt(1 / n), (n, n))


def _he(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    return rng.normal(0, np.sqrt(2 / n), (n, n))


def _orthogonal(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    q, r = np.linalg.qr(rng.normal(size=(n, n)))
    return np.asarray(q * np.sign(np.diag(r)))


#: Of square layers; each from a generator and the width.
INITIALISERS = {
    "uniform ±1/sqrt(n)": _uniform,
    "Glorot normal": _glorot,
    "He normal": _he,
    "orthogonal": _orthogonal,
}

_SAMPLES = 100_000


def run_initialisers(folder: Path, quick: bool, data: Path | None, tell: Progress | None) -> str:
    """Compare estimates of EI; see :func:`eiplane.reproduce.reproduce`."""
    widths = (10, 20) if quick else (10, 20, 30, 40, 50)
    seeds = range(2 if quick else 5)
    keys = list(product(INITIALISERS, widths, seeds))
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    with Appender(folder / f"{CLAIM.name}.jsonl") as file:
        known = {tuple(r["key"]): dict(r) for r in file.records}
        for i, key in enumerate(keys):
            if key not in known:
                known[key] = {"key": list(key), **_measured(*key)}
                file.append(known[key])
            found[key] = known[key]
            if tell is not None:
                tell(i + 1, len(keys), CLAIM.name)
    effects = [
        Effect(f"{name}, {n}→{n}", tuple(_excess(found[name, n, s]) for s in seeds))
        for name, n in product(INITIALISERS, widths)
    ]
    rows = [
        [name, f"{n}→{n}", *(_mean([found[name, n, s][kept] for s in seeds]) for kept in _KEPT)]
        for name, n in product(INITIALISERS, widths)
    ]
    headings = ["weights", "layer", "EI", "error", "plug-in", "EI_parts"]
    notes = [
        f"Sigmoid, 8 bins, {len(seeds)} draws of the weights each; means in bits:\n\n"
        + markdown_table(headings, rows)
    ]
    keep_figure(_draw(found, widths, seeds), folder, CLAIM.name)
    return conclude(folder, CLAIM, effects, notes, quick)


_KEPT = ("ei", "stderr", "plugin", "ei_parts")


def _measured(name: str, n: int, seed: int) -> dict[str, Any]:
    weight = INITIALISERS[name](np.random.default_rng([n, seed]), n)
    with warnings.catch_warnings():  # too few samples: that is the experiment
        warnings.simplefilter("ignore", SaturationWarning)
        whole = analyze(weight, "sigmoid", measures=("ei", "ei_parts"), rng=seed)[0]
        counted = analyze(weight, "sigmoid", measures="ei", estimator="plugin", rng=seed,
                          samples=_SAMPLES)[0]  # fmt: skip
    return {"ei": whole.ei, "stderr": whole.ei_stderr, "plugin": counted.ei,
            "ei_parts": whole.ei_parts}  # fmt: skip


def _mean(values: list[float | None]) -> str:
    known = [v for v in values if v is not None]
    return f"{np.mean(known):.2f}" if len(known) == len(values) else "not known"


def _excess(record: dict[str, Any]) -> float:
    if record["ei"] is None or record["plugin"] is None:
        return float("nan")
    apart = abs(record["plugin"] - record["ei"]) - 2 * (record["stderr"] or 0.0)
    return float(apart / record["ei"])


def _draw(found: dict[tuple[Any, ...], dict[str, Any]], widths: Any, seeds: range) -> Any:
    axes = sheet(1, len(INITIALISERS), (3.3, 3.2), sharey=True)[0]
    for ax, name in zip(axes, INITIALISERS, strict=True):
        for look, kept, label in zip(
            looks(3), ("ei", "plugin", "ei_parts"),
            ("EI", f"plug-in, {_SAMPLES:,} samples", "EI_parts"), strict=True,
        ):  # fmt: skip
            values = np.array(
                [[found[name, n, s][kept] for s in seeds] for n in widths], dtype=np.float64
            )
            band(ax, widths, values.T, look, label)
        ax.set_title(name, fontsize=10)
        ax.set_xlabel("width")
        ax.grid(axis="y", color=QUIET, lw=0.5)
        tidy(ax)
    axes[0].set_ylabel("bits")
    axes[0].legend(frameon=False, fontsize=8.5)
    return axes
