"""How many samples the measures take: estimates over the number of samples."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from ..analyze import analyze
from ..files import Appender
from ..joint import SaturationWarning
from ..plot.style import INK, looks, tidy
from ..run import Progress
from .pictures import sheet
from .writing import keep_figure, markdown_table, write_summary

__all__ = ["run_convergence"]

_SCALES = {1: "initial weights", 5: "five times the initial weights"}

#: What is estimated, how it is called, and by which options.
_ESTIMATES: dict[str, tuple[str, dict[str, Any]]] = {
    "ei_plugin": ("$EI$, plug-in (the paper's)", {"measures": "ei", "estimator": "plugin"}),
    "ei": ("$EI$, conditional", {"measures": "ei", "estimator": "conditional"}),
    "ei_parts": (r"$EI_\mathrm{parts}$", {"measures": "ei_parts", "method": "sample"}),
}


def run_convergence(folder: Path, quick: bool, data: Path | None, tell: Progress | None) -> str:
    """Measure layers with growing numbers of samples; see :func:`eiplane.reproduce.reproduce`."""
    widths = (2, 4) if quick else (2, 3, 4, 5, 6)
    samples = [10**k for k in range(1, 5 if quick else 8)]
    keys = list(product(_SCALES, widths, _ESTIMATES, [0, *samples]))
    found: dict[tuple[int, int, str, int], float] = {}
    with Appender(folder / "convergence.jsonl") as file:
        known = {tuple(r["key"]): r for r in file.records}
        for i, key in enumerate(keys):
            scale, width, estimate, count = key
            if count == 0 and estimate != "ei_parts":  # only the parts are known exactly
                continue
            if key not in known:
                known[key] = {"key": list(key), "bits": _measured(scale, width, estimate, count)}
                file.append(known[key])
            bits = known[key]["bits"]
            found[key] = np.nan if bits is None else bits
            if tell is not None:
                tell(i + 1, len(keys), "convergence")
    keep_figure(_draw(found, widths, samples), folder, "convergence")
    return write_summary(folder, _summary(found, widths, samples))


def _measured(scale: int, width: int, estimate: str, samples: int) -> float | None:
    """Return an estimate in bits; None where so few samples tell nothing."""
    bound = scale / np.sqrt(width)
    weight = np.random.default_rng([width, 2020]).uniform(-bound, bound, (width, width))
    options = dict(_ESTIMATES[estimate][1])
    if samples == 0:
        options["method"] = "exact"
    with warnings.catch_warnings():  # too few samples: that is the experiment
        warnings.simplefilter("ignore", SaturationWarning)
        found = analyze(weight, "sigmoid", bins=8, samples=samples or None, rng=samples, **options)
    result = found[0]
    return result.ei_parts if estimate == "ei_parts" else result.ei


def _draw(
    found: dict[tuple[int, int, str, int], float], widths: Sequence[int], samples: Sequence[int]
) -> Any:
    axes = sheet(len(_SCALES), len(_ESTIMATES), (4.0, 3.1), sharex=True)
    for row, (scale, words) in zip(axes, _SCALES.items(), strict=True):
        for ax, (estimate, (title, _)) in zip(row, _ESTIMATES.items(), strict=True):
            for look, width in zip(looks(len(widths)), widths, strict=True):
                values = [found[scale, width, estimate, n] for n in samples]
                ax.plot(samples, values, color=look.color, ls=look.line, marker=look.marker, ms=5,
                        mec="white", lw=1.6, label=f"{width}→{width}")  # fmt: skip
                if estimate == "ei_parts":
                    exact = found[scale, width, estimate, 0]
                    ax.axhline(exact, color=look.color, lw=0.8, alpha=0.6)
            if scale == 1:
                ax.set_title(
                    title + (", lines: exact" if estimate == "ei_parts" else ""), fontsize=10
                )
            ax.set_xscale("log")
            ax.set_ylim(bottom=min(0.0, ax.get_ylim()[0]))
            tidy(ax)
        row[0].set_ylabel(f"bits, {words}", fontsize=9, color=INK)
    for ax in axes[-1]:
        ax.set_xlabel("samples")
    axes[0, -1].legend(frameon=False, fontsize=8.5, handlelength=3.2)
    return axes


def _summary(
    found: dict[tuple[int, int, str, int], float], widths: Sequence[int], samples: Sequence[int]
) -> str:
    parts = [
        "# convergence",
        "Square sigmoid layers, 8 bins, weights uniform in ±1/sqrt(width), and five times those.",
        "## What the paper saw",
        "EI_parts settles with few samples; the plug-in EI of wider layers needs very many, the "
        "more the larger the weights.",
        "## What was found",
    ]
    most = samples[-1]
    for scale, words in _SCALES.items():
        rows = []
        for width in widths:
            exact = found[scale, width, "ei_parts", 0]
            settled = next(
                (n for n in samples if _stays(found, (scale, width, "ei_plugin"), samples, n)), None
            )
            rows.append(
                [
                    f"{width}→{width}",
                    exact,
                    found[scale, width, "ei_parts", most],
                    found[scale, width, "ei", samples[len(samples) // 2]],
                    found[scale, width, "ei", most],
                    found[scale, width, "ei_plugin", most],
                    "not reached" if settled is None else f"{settled:,}",
                ]
            )
        headings = [
            "layer", "EI_parts, exact", f"EI_parts, {most:,} samples",
            f"EI, conditional, {samples[len(samples) // 2]:,}", f"EI, conditional, {most:,}",
            f"EI, plug-in, {most:,}", "samples after which the plug-in moves less than 0.05",
        ]  # fmt: skip
        parts += [f"With {words}, in bits:", markdown_table(headings, rows)]
    return "\n\n".join(parts)


def _stays(
    found: dict[tuple[int, int, str, int], float], what: tuple[int, int, str],
    samples: Sequence[int], start: int,
) -> bool:  # fmt: skip
    """Whether all later estimates lie within 0.05 bits of the one at ``start``, which has some."""
    later = [found[(*what, n)] for n in samples if n >= start]
    return len(later) > 1 and max(later) - min(later) < 0.05
