"""Cost against edges and against samples: it should grow as they do.

    python bench/scaling.py [--out bench/figures/scaling.png] [--json OUT] [--from JSON]

Layers of 10^3 to 10^7 edges; for the samples, one layer of 10^4 edges. CPU time of one thread, the
least of a few runs. The slopes are those of straight lines through the points on log-log axes: 1 is
proportional. A row of the exact engine has work of its own beside that of its edges, so wide layers
cost it less an edge: its cost is proportional to the edges among layers of one width. Measuring a
table takes about a microsecond, however few samples it holds; the slope against samples is that
from 10^5 on, where it no longer matters.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import eiplane

HERE = Path(__file__).parent
EDGES = np.unique(np.logspace(3, 7, 9).astype(int))
SAMPLES = np.unique(np.logspace(3, 7, 9).astype(int))
FIT_FROM = {"edges": 0.0, "samples": 9e4}
MOST = 1.2e11  # increments of a run: what keeps it short


@dataclass(frozen=True)
class Way:
    """What is timed: its options; how many samples, where edges vary; edges, where samples do."""

    name: str
    options: dict[str, Any]
    samples: int = 0
    edges: int = 0
    most: float = MOST
    n_in: int = 0  # of every layer; else layers are square


WAYS = (
    Way(
        "EI parts, sampled, 8 bins",
        {"method": "sample", "measures": "ei_parts", "bins": 8},
        10_000,
        10_000,
    ),
    Way(
        "EI parts, sampled, 64 bins",
        {"method": "sample", "measures": "ei_parts", "bins": 64},
        10_000,
        1_000,
        MOST / 8,
    ),
    Way(
        "EI parts, exact, 8 bins, 100 inputs",
        {"method": "exact", "measures": "ei_parts", "bins": 8},
        n_in=100,
    ),
    Way(
        "EI parts, exact, 8 bins, square",
        {"method": "exact", "measures": "ei_parts", "bins": 8},
    ),
    Way(
        "sensitivity, exact, 8 bins, square",
        {"method": "exact", "measures": "sensitivity", "bins": 8},
    ),
)


def layer(edges: int, n_in: int) -> tuple[np.ndarray, np.ndarray]:
    """Return weights and biases of about so many edges."""
    n_in = n_in or round(edges**0.5)
    n_out = max(1, round(edges / n_in))
    generator = np.random.default_rng(edges)
    return generator.normal(size=(n_out, n_in)) * (3 / n_in**0.5), generator.normal(size=n_out)


def seconds(weight: tuple[np.ndarray, np.ndarray], repeats: int, **options) -> float:
    """Return the least CPU time of an analysis by one thread."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        d = eiplane.analyze([weight], threads=1, **options)
        times.append(time.process_time() - start)
        assert getattr(d[0], options["measures"] + "_plugin") > 0
    return min(times)


def slope(x: list[float], y: list[float], start: float) -> float:
    far = np.array(x) >= start
    return float(np.polyfit(np.log(np.array(x)[far]), np.log(np.array(y)[far]), 1)[0])


def curve(way: Way, against: str) -> dict[str, Any]:
    """Return the cost against edges or samples, as far as it stays short."""
    x, y = [], []
    for value in map(int, EDGES if against == "edges" else SAMPLES):
        weight = layer(value if against == "edges" else way.edges, way.n_in)
        edges = weight[0].size
        count = way.samples if against == "edges" else value
        work = edges * max(count, 1)
        if work > way.most:
            break
        extra = {"samples": count} if count else {}
        x.append(float(edges if against == "edges" else value))
        y.append(seconds(weight, 1 if work > way.most / 50 else 4, **way.options, **extra))
    fit = slope(x, y, FIT_FROM[against])
    print(f"{way.name:36}against {against:8} slope {fit:.3f}", flush=True)
    return {"name": way.name, "against": against, "x": x, "y": y}


def measure() -> list[dict[str, Any]]:
    """Return the curves."""
    pairs = [(way, "edges") for way in WAYS] + [(way, "samples") for way in WAYS if way.samples]
    return [curve(way, against) for way, against in pairs]


def draw(curves: list[dict[str, Any]], path: Path) -> None:
    """Draw the curves, edges on the left and samples on the right."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
    for ax, against in zip(axes, ("edges", "samples"), strict=True):
        for i, curve in enumerate(c for c in curves if c["against"] == against):
            x, y = np.array(curve["x"]), np.array(curve["y"])
            fit = slope(curve["x"], curve["y"], FIT_FROM[against])
            label = f"{curve['name']}: slope {fit:.2f}" + " from 10⁵" * (against == "samples")
            ax.loglog(x, y / x * 1e9, "o-", color=f"C{i}", label=label)
        low, high = ax.get_ylim()  # at least three decades, or noise looks like a law
        ax.set_ylim(min(low, 3e-2 * high), high * 8)
        ax.set_xlabel(against)
        ax.grid(alpha=0.3)
        ax.legend(fontsize=8)
    axes[0].set_ylabel("nanoseconds an edge (sampled: of 10,000 samples)")
    axes[1].set_ylabel("nanoseconds a sample of the layer")
    axes[0].set_title("cost of one edge: level is linear")
    axes[1].set_title("cost of one sample of a layer: level is linear")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=HERE / "figures" / "scaling.png")
    parser.add_argument("--json", type=Path, help="keep the numbers")
    parser.add_argument("--from", dest="kept", type=Path, help="draw numbers that were kept")
    options = parser.parse_args()
    curves = json.loads(options.kept.read_text()) if options.kept else measure()
    draw(curves, options.out)
    if options.json:
        options.json.write_text(json.dumps(curves, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
