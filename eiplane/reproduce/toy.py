"""Networks of two and three neurons: the EI of A→B over its weight, of A,B→C over both weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..analyze import analyze
from ..files import Appender
from ..network import Binning, Layer, discretize, get_activation
from ..plot.style import INK, looks, tidy
from ..run import Progress
from .pictures import sheet
from .writing import keep_figure, markdown_table, write_summary

__all__ = ["SETTINGS", "fine_bin_limit", "run_toy", "whole_ei"]

Array = NDArray[np.float64]

#: Ranges and outliers of the paper's toy networks.
SETTINGS: dict[str, dict[str, Any]] = {
    "sigmoid": {"in_range": (0.0, 1.0), "out_range": (0.0, 1.0), "outliers": "clip"},
    "tanh": {"in_range": (-1.0, 1.0), "out_range": (-1.0, 1.0), "outliers": "clip"},
    "relu": {"in_range": (0.0, 1.0), "out_range": (0.0, 1.0), "outliers": "drop"},
}

#: Where the maximum is said to move to as the bins get finer.
_KNOWN = {"sigmoid": ("e", math.e), "tanh": ("coth 1", 1 / math.tanh(1)), "relu": ("1", 1.0)}


def run_toy(folder: Path, quick: bool, data: Path | None, tell: Progress | None) -> str:
    """Compute and draw the toy networks; see :func:`eiplane.reproduce.reproduce`."""
    curves = _curves(folder / "a-b.jsonl", quick, tell)
    peaks = _peaks(folder / "a-b-maximum.jsonl", quick, tell)
    surfaces = _surfaces(folder / "ab-c.jsonl", quick, tell)
    keep_figure(_draw_curves(curves), folder, "a-b")
    keep_figure(_draw_peaks(peaks), folder, "a-b-maximum")
    keep_figure(_draw_surfaces(surfaces), folder, "ab-c")
    keep_figure(_draw_plane(surfaces["sigmoid"]), folder, "ab-c-sensitivity")
    return write_summary(folder, _summary(curves, peaks, surfaces))


def edge_ei(weights: Array, activation: str, bins: int) -> Array:
    """Return the EI of A→B at each weight, exact, in bits.

    With one input and one output the EI of the whole and that of the parts are one and the same.
    """
    options = SETTINGS[activation]
    found = analyze(
        weights[:, None], activation, bins=bins, measures="ei_parts", method="exact", **options
    )
    edges = found[0].ei_edges
    assert edges is not None
    return np.asarray(edges[:, 0])


def whole_ei(pair: Sequence[float], activation: str, bins: int) -> float:
    """Return the EI of A,B→C, ``I(A, B; C)`` of the binned values, exact to rounding, in bits.

    ``H(C) - H(C | cells of A and B)``: within a pair of input bins the pre-activation is the sum of
    two uniform variables, whose distribution function is a difference of squares.

    Parameters
    ----------
    pair : sequence of float
        The two weights, neither of them zero.
    activation : str
        One of :data:`SETTINGS`.
    bins : int

    Returns
    -------
    float
    """
    options = SETTINGS[activation]
    binning = Binning(bins, bins, options["outliers"] == "drop")
    layer = Layer(np.array([pair], dtype=np.float64), None, get_activation(activation))
    channel = discretize(layer, binning, options["in_range"], options["out_range"])
    width = (channel.in_hi - channel.in_lo) / bins
    starts = channel.in_lo + width * np.arange(bins)
    a, b = float(pair[0]), float(pair[1])
    u, v = abs(a) * width, abs(b) * width
    low = np.add.outer(a * starts + min(a, 0) * width, b * starts + min(b, 0) * width).ravel()
    cuts = channel.rules[0].thresholds
    first = np.searchsorted(cuts, low, side="right")
    count = int((np.searchsorted(cuts, low + u + v, side="left") - first).max()) + 1
    padded = np.concatenate([cuts, np.full(count, np.inf)])
    labels = np.concatenate([channel.rules[0].labels, np.full(count, -2)])
    place = first[:, None] + np.arange(count)
    t = np.minimum(padded[place] - low[:, None], u + v)
    below = (_square(t) - _square(t - u) - _square(t - v) + _square(t - u - v)) / (2 * u * v)
    below[:, -1] = 1.0
    shares = np.maximum(np.diff(below, axis=1, prepend=0.0), 0.0) / bins**2
    kept = labels[place] >= 0
    shares = np.where(kept, shares, 0.0)
    total = shares.sum()
    if total <= 0.0:
        return 0.0
    marginal = np.bincount(labels[place][kept], shares[kept], bins) / total
    given = (_surprise(shares).sum() - _surprise(shares.sum(axis=1)).sum()) / total
    return max(float(_surprise(marginal).sum() - given), 0.0)


def fine_bin_limit(activation: str) -> float:
    """Return where the maximum of A→B's EI over the weight moves to as the bins get finer.

    With many bins, EI - log2(bins) tends to ``E[log2 s] - E[c(s)]``: s is how many output bins the
    image of an input bin spans, and c the mean entropy of a uniform variable of that width over
    bins of width one, ``s / (2 ln 2)`` up to a width of one.

    Parameters
    ----------
    activation : str
        ``"sigmoid"`` or ``"tanh"``, ranges as in :data:`SETTINGS`.

    Returns
    -------
    float
        To about 0.002.
    """
    x = (np.arange(4000) + 0.5) / 4000
    if activation == "sigmoid":
        weights, steepest, decay = np.arange(2.0, 3.5, 0.002), 0.25, 0.5
    else:
        weights, steepest, decay = np.arange(0.9, 1.9, 0.002), 1.0, 1.0
    slopes = steepest * weights[:, None] / np.cosh(decay * weights[:, None] * x) ** 2
    spans = np.linspace(1e-3, 2.0, 2000)
    cost = np.array([_straddling(s) for s in spans])
    value = np.log2(slopes).mean(axis=1) - np.interp(slopes, spans, cost).mean(axis=1)
    return float(weights[int(np.argmax(value))])


def _straddling(span: float) -> float:
    """Return the mean entropy of a uniform variable of a width up to 2 over bins of width 1."""
    offset = (np.arange(2000) + 0.5) / 2000
    first = np.minimum(1.0 - offset, span)
    second = np.minimum(span - first, 1.0)
    parts = np.stack([first, second, span - first - second]) / span
    return float(_surprise(np.maximum(parts, 0.0)).sum(axis=0).mean())


def _square(x: Array) -> Array:
    return np.maximum(x, 0.0) ** 2


def _surprise(p: Array) -> Array:
    return -p * np.log2(np.where(p > 0.0, p, 1.0))


Curves = dict[str, dict[int, tuple[Array, Array]]]
Surface = Mapping[str, Array]


def _rows(
    path: Path, keys: Sequence[tuple[Any, ...]], compute: Callable[..., dict[str, Any]],
    tell: Progress | None, what: str,
) -> list[dict[str, Any]]:  # fmt: skip
    """Return a record for every key, from the file as far as it goes."""
    with Appender(path) as file:
        known = {tuple(r["key"]): dict(r) for r in file.records}
        found = []
        for i, key in enumerate(keys):
            if key not in known:
                record = {"key": list(key), **compute(*key)}
                file.append(record)
                known[key] = record
            found.append(known[key])
            if tell is not None:
                tell(i + 1, len(keys), what)
    return found


def _curves(path: Path, quick: bool, tell: Progress | None) -> Curves:
    weights = np.arange(0.0, 27.0 + 1e-9, 0.5 if quick else 0.05).round(10)
    keys = [(name, bins) for name in SETTINGS for bins in ((8, 16) if quick else (8, 16, 32, 64))]

    def compute(name: str, bins: int) -> dict[str, Any]:
        ei = edge_ei(weights, name, bins).tolist()
        return {"weights": weights.tolist(), "ei": ei, "ei_parts": ei}

    curves: Curves = {name: {} for name in SETTINGS}
    for row in _rows(path, keys, compute, tell, "A→B"):
        name, bins = row["key"]
        curves[name][bins] = (np.array(row["weights"]), np.array(row["ei"]))
    return curves


def _peaks(path: Path, quick: bool, tell: Progress | None) -> dict[str, list[tuple[int, float]]]:
    spans = {"sigmoid": (2.0, 3.5), "tanh": (0.9, 1.7), "relu": (0.8, 1.2)}
    most = 6 if quick else 10
    keys = [(name, 2**k) for name in SETTINGS for k in range(3, most + 1)]

    def compute(name: str, bins: int) -> dict[str, Any]:
        weights = np.arange(*spans[name], 0.01).round(10)
        ei = edge_ei(weights, name, bins)
        return {"weight": float(weights[int(ei.argmax())]), "ei": float(ei.max())}

    peaks: dict[str, list[tuple[int, float]]] = {name: [] for name in SETTINGS}
    for row in _rows(path, keys, compute, tell, "A→B, maximum"):
        peaks[row["key"][0]].append((row["key"][1], row["weight"]))
    return peaks


def _surfaces(path: Path, quick: bool, tell: Progress | None) -> dict[str, Surface]:
    size, bins = (12, 16) if quick else (100, 64)
    grid = np.linspace(-10.0, 10.0, size)
    parts: dict[str, dict[str, Array]] = {}

    def pairwise(name: str) -> dict[str, Array]:
        if name not in parts:  # all pairs of weights at once: a layer with an output for each
            pairs = np.stack(np.meshgrid(grid, grid, indexing="ij"), axis=-1).reshape(-1, 2)
            layer = analyze(pairs, name, bins=bins, measures="degeneracy", **SETTINGS[name])[0]
            assert layer.ei_edges is not None and layer.sensitivity_edges is not None
            shape = (size, size)
            parts[name] = {
                "ei_parts": layer.ei_edges.sum(axis=1).reshape(shape),
                "sensitivity": layer.sensitivity_edges.sum(axis=1).reshape(shape),
            }
        return parts[name]

    def compute(name: str, i: int) -> dict[str, Any]:
        found = {q: values[i].tolist() for q, values in pairwise(name).items()}
        ei = [whole_ei((grid[i], w), name, bins) for w in grid[: i + 1]]  # the rest by symmetry
        return {"weight": float(grid[i]), "weights": grid.tolist(), "ei": ei, **found}

    keys = [(name, i) for name in SETTINGS for i in range(size)]
    rows = _rows(path, keys, compute, tell, "A,B→C")
    surfaces: dict[str, Surface] = {}
    for name in SETTINGS:
        mine = [row for row in rows if row["key"][0] == name]
        surface = {q: np.array([row[q] for row in mine]) for q in ("ei_parts", "sensitivity")}
        ei = np.zeros((size, size))
        for i, row in enumerate(mine):
            ei[i, : i + 1] = row["ei"]
        surface["ei"] = np.tril(ei) + np.tril(ei, -1).T
        surface["degeneracy"] = surface["sensitivity"] - surface["ei_parts"]
        surface["weights"] = np.array(mine[0]["weights"])
        surfaces[name] = surface
    return surfaces


_TITLES = {"sigmoid": "sigmoid", "tanh": "tanh", "relu": "ReLU"}


def _draw_curves(curves: Curves) -> Any:
    axes = sheet(1, len(curves), (4.2, 3.6), sharey=True)[0]
    for ax, (name, by_bins) in zip(axes, curves.items(), strict=True):
        for look, (bins, (weights, ei)) in zip(looks(len(by_bins)), by_bins.items(), strict=True):
            ax.plot(weights, ei, color=look.color, ls=look.line, lw=1.7, label=f"{bins} bins")
            top = int(ei.argmax())
            ax.plot(weights[top], ei[top], look.marker, ms=6.5, color=look.color, mec="white",
                    zorder=4)  # fmt: skip
        ax.set_title(_TITLES[name], fontsize=11)
        ax.set_xlabel("weight of A→B")
        ax.set_xlim(0, float(weights[-1]))
        tidy(ax)
    axes[0].set_ylim(bottom=0)  # once all is drawn: the panels share their scale
    axes[0].set_ylabel(r"$EI = EI_\mathrm{parts}$ (bits)")
    axes[0].legend(frameon=False, fontsize=9, handlelength=3.2)
    return axes


def _draw_peaks(peaks: Mapping[str, Sequence[tuple[int, float]]]) -> Any:
    ax = sheet(1, 1, (5.6, 3.8))[0][0]
    for look, (name, points) in zip(looks(len(peaks)), peaks.items(), strict=True):
        bins, where = zip(*points, strict=True)
        word, value = _KNOWN[name]
        ax.axhline(value, color=look.color, lw=0.8, alpha=0.7)
        ax.annotate(word, (1, value), (3, 0), xycoords=("axes fraction", "data"), fontsize=9,
                    textcoords="offset points", va="center", color=INK)  # fmt: skip
        ax.plot(bins, where, color=look.color, ls=look.line, marker=look.marker, ms=6,
                label=_TITLES[name], mec="white")  # fmt: skip
    ax.set_xscale("log", base=2)
    ticks = [bins for bins, _ in next(iter(peaks.values()))]
    ax.set_xticks(ticks, [str(b) for b in ticks])
    ax.minorticks_off()
    ax.set_xlabel("bins")
    ax.set_ylabel("weight of greatest $EI$")
    ax.set_ylim(0.8, 3.4)
    ax.legend(frameon=False, fontsize=9, handlelength=3.2, loc="center right",
              bbox_to_anchor=(1.0, 0.62))  # fmt: skip
    tidy(ax)
    return ax


def _draw_surfaces(surfaces: Mapping[str, Surface]) -> Any:
    axes = sheet(2, len(surfaces), (3.9, 3.6), sharex=True, sharey=True)
    for column, (name, surface) in zip(axes.T, surfaces.items(), strict=True):
        high = max(float(surface["ei"].max()), float(surface["ei_parts"].max()))
        for ax, quantity in zip(column, ("ei", "ei_parts"), strict=True):
            image = _map(ax, surface, quantity, 0.0, high, "viridis")
        column[0].set_title(_TITLES[name], fontsize=11)
        column[-1].set_xlabel("weight of A→C")
        bar = column[0].figure.colorbar(image, ax=list(column), shrink=0.6, pad=0.02)
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=8)
    for ax, label in zip(axes[:, 0], ("$EI$", r"$EI_\mathrm{parts}$"), strict=True):
        ax.set_ylabel(f"{label} (bits)\nweight of B→C")
    return axes


def _draw_plane(surface: Surface) -> Any:
    axes = sheet(1, 2, (4.6, 3.9), sharey=True)[0]
    high = float(surface["sensitivity"].max())
    _bar(_map(axes[0], surface, "sensitivity", 0.0, high, "viridis"), axes[0])
    low, high = float(surface["degeneracy"].min()), float(surface["degeneracy"].max())
    colours = "viridis"
    if low < -0.02 * high:
        low, high, colours = -max(high, -low), max(high, -low), "PuOr"
    _bar(_map(axes[1], surface, "degeneracy", max(low, 0) if colours == "viridis" else low, high,
              colours), axes[1])  # fmt: skip
    for ax, title in zip(axes, ("sensitivity (bits)", "degeneracy (bits)"), strict=True):
        ax.set_title(title, fontsize=11)
        ax.set_xlabel("weight of A→C")
    axes[0].set_ylabel("weight of B→C")
    return axes


def _map(ax: Any, surface: Surface, quantity: str, low: float, high: float, colours: str) -> Any:
    weights, values = surface["weights"], surface[quantity].T
    image = ax.pcolormesh(weights, weights, values, cmap=colours, vmin=low, vmax=high,
                          shading="nearest", rasterized=True)  # fmt: skip
    lines = ax.contour(weights, weights, values, levels=5, linewidths=0.7,
                       colors="white" if low >= 0 else INK)  # fmt: skip
    # Where lines crowd, in ridges and in valleys, there is no room for numbers.
    labelled = {"ei_parts": slice(0, 3), "degeneracy": slice(-3, None)}.get(quantity, slice(None))
    ax.clabel(lines, lines.levels[labelled], fontsize=7.5, fmt="%g")
    ax.set_aspect("equal")
    ax.set_xticks([-10, -5, 0, 5, 10])
    ax.set_yticks([-10, -5, 0, 5, 10])
    ax.tick_params(labelsize=8.5)
    return image


def _bar(image: Any, ax: Any) -> None:
    bar = ax.figure.colorbar(image, ax=ax, shrink=0.85, pad=0.02)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8)


def _summary(
    curves: Curves,
    peaks: Mapping[str, Sequence[tuple[int, float]]],
    surfaces: Mapping[str, Surface],
) -> str:
    rows = []
    for name, by_bins in curves.items():
        for bins, (weights, ei) in by_bins.items():
            top = int(ei.argmax())
            rows.append([_TITLES[name], bins, f"{weights[top]:.2f}", float(ei[top]), float(ei[-1])])
    tables = markdown_table(["activation", "bins", "weight", "greatest EI", "EI at 27"], rows)
    names = list(peaks)
    moves = [[bins, *(f"{dict(peaks[n])[bins]:.2f}" for n in names)] for bins, _ in peaks[names[0]]]
    limits = {n: fine_bin_limit(n) for n in ("sigmoid", "tanh")}
    corner = {
        n: (float(s["ei"][-1, -1]), float(s["ei_parts"][-1, -1])) for n, s in surfaces.items()
    }
    edge = float(surfaces["sigmoid"]["weights"][-1])
    gaps = {n: float((s["ei"] - s["ei_parts"]).min()) for n, s in surfaces.items()}
    return "\n\n".join(
        [
            "# toy",
            "Networks of two neurons (A→B) and three (A,B→C). Ranges 0..1, but -1..1 for tanh; "
            "what is out of ReLU's range is dropped. Everything here is computed without sampling.",
            "## What the paper saw",
            "EI is greatest at a weight of moderate size and vanishes as weights grow, for "
            "sigmoid; the maximum moves to e for sigmoid, towards coth 1 for tanh, and is at 1 for "
            "ReLU.",
            "## What was found",
            "A→B (with one edge, EI and EI_parts are the same), in bits:",
            tables,
            "The weight of greatest EI, searched in steps of 0.01, as the bins get finer:",
            markdown_table(["bins", *(_TITLES[n] for n in names)], moves),
            f"In the limit of fine bins (worked out separately) it is {limits['sigmoid']:.2f} for "
            f"sigmoid and {limits['tanh']:.2f} for tanh; e is {math.e:.2f} and coth 1 "
            f"{1 / math.tanh(1):.2f}. On the way it jumps: at a slope near 1 input and output bins "
            "fit each other, most of all for tanh at the weight 1.",
            f"A,B→C, EI and EI_parts where both weights are {edge:g}: "
            + "; ".join(f"{_TITLES[n]} {a:.3f} and {b:.3f} bits" for n, (a, b) in corner.items())
            + ". EI less EI_parts, the integrated information, is nowhere below "
            + "; ".join(f"{g:.3f} ({_TITLES[n]})" for n, g in gaps.items())
            + " bits: two inputs say together at least what "
            "they say one by one.",
        ]
    )
