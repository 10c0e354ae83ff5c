"""Draw the README's figure: error against time of the three ways to EI_parts.

    python bench/figure_exact.py [bench/figures/exact.png]

One layer of 100 inputs and 50 outputs, 8 bins. The error is the root mean square over the edges.
The exact engine's is measured against the slow twin in ``eiplane.reference`` (a plain Fourier
series), on some of the edges; the others' against the exact engine. Everything is timed here, on
one thread.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import torch
from peer import Peer

import eiplane
from eiplane import reference
from eiplane.network import Binning, discretize

N_IN, N_OUT = 100, 50
OURS = [1_000, 10_000, 100_000, 1_000_000, 10_000_000]
THEIRS = [1_000, 10_000, 100_000, 300_000]
INK, BLUE, ORANGE, GREEN = "#222222", "#2b6cb0", "#c05621", "#2f855a"


def timed(function, *arguments, rounds=3, **options):
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        value = function(*arguments, **options)
        times.append(time.perf_counter() - start)
    return float(np.median(times)), value


def rms(values) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def measure(weight):
    """Return {way: [(seconds, error, samples), ...]}."""
    options = {"measures": "ei_parts", "threads": 1}
    seconds, d = timed(eiplane.analyze, weight, method="exact", rounds=9, **options)
    truth, bound = d[0].ei_edges, d[0].error_bound
    channel = discretize(eiplane.Layer(weight), Binning(), (0.0, 1.0), (0.0, 1.0))
    generator = np.random.default_rng(0)
    some = [(int(generator.integers(N_OUT)), int(generator.integers(N_IN))) for _ in range(60)]
    slow = [reference.exact_information(reference.exact_table(channel, *at)) for at in some]
    off = rms([truth[at] - wanted for at, wanted in zip(some, slow, strict=True)])
    ways = {"exact": [(seconds, max(off, 1e-17), bound)], "sampled": [], "deep-ei": []}
    for samples in OURS:
        seconds, d = timed(
            eiplane.analyze, weight, method="sample", samples=samples, rng=samples, **options
        )
        ways["sampled"].append((seconds, rms(d[0].ei_edges - truth), samples))
    torch.set_num_threads(1)
    peer = Peer(weight)
    for samples in THEIRS:
        seconds, edges = timed(peer.ei_edges, samples, rounds=1 if samples > 3000 else 3)
        ways["deep-ei"].append((seconds, rms(edges - truth), samples))
    return ways


def short(samples: int) -> str:
    exponent = int(np.floor(np.log10(samples)))
    lead = samples // 10**exponent
    return f"$10^{exponent}$" if lead == 1 else f"${lead}\\cdot10^{exponent}$"


def draw(ways, path: Path) -> None:
    plt.rcParams |= {"font.size": 10, "font.family": "DejaVu Sans", "axes.edgecolor": INK}
    figure, ax = plt.subplots(figsize=(6.4, 4.0), dpi=150)
    for way, colour in (("deep-ei", ORANGE), ("sampled", BLUE)):
        points = ways[way]
        ax.plot([p[0] for p in points], [p[1] for p in points], "o-", color=colour, ms=5, lw=1.6)
        for seconds, error, samples in points:
            right = way == "deep-ei"
            ax.annotate(
                short(samples), (seconds, error), xytext=(7, 2) if right else (0, -14),
                textcoords="offset points", ha="left" if right else "center", fontsize=8,
                color=colour,
            )  # fmt: skip
    seconds, error, bound = ways["exact"][0]
    ax.plot([seconds, seconds], [error, bound], color=GREEN, lw=1.6)
    ax.plot(seconds, bound, "_", color=GREEN, ms=11, mew=1.8)
    ax.plot(seconds, error, "o", color=GREEN, ms=8)
    ax.annotate("proved bound", (seconds, bound), xytext=(9, -3), textcoords="offset points",
                fontsize=8, color=GREEN)  # fmt: skip
    ax.annotate("eiplane, exact", (seconds, error), xytext=(11, -4), textcoords="offset points",
                color=GREEN, fontweight="bold")  # fmt: skip
    x, y, _ = ways["sampled"][2]
    ax.annotate("eiplane, sampled", (x, y), xytext=(0, -29), textcoords="offset points",
                ha="center", color=BLUE, fontweight="bold")  # fmt: skip
    x, y, _ = ways["deep-ei"][0]
    ax.annotate("deep-ei 0.7.0", (x, y), xytext=(0, 16), textcoords="offset points",
                ha="center", color=ORANGE, fontweight="bold")  # fmt: skip
    ax.set(xscale="log", yscale="log", xlabel="time, seconds (one thread)",
           ylabel="error of an edge, bits (RMS)")  # fmt: skip
    ax.set_ylim(1e-17, 10.0)
    ax.set_yticks([10.0**e for e in range(-16, 1, 4)])
    ax.set_title(
        f"EI_parts of a layer {N_IN}→{N_OUT}, 8 bins; numbers of samples beside the points",
        fontsize=9, loc="left", color=INK, pad=10,
    )  # fmt: skip
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(True, which="major", color="#e2e2e2", lw=0.6)
    ax.set_axisbelow(True)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def main() -> None:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "figures/exact.png"
    weight = np.random.default_rng(1).normal(size=(N_OUT, N_IN)).astype(np.float32) * 0.3
    ways = measure(weight)
    for way, points in ways.items():
        for point in points:
            print(way, *(f"{value:.3g}" for value in point))
    draw(ways, path)


if __name__ == "__main__":
    main()
