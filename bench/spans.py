"""EI parts of spans of 25-6-6-6-5 against independent samples: gain, and whether errors hold.

    python bench/spans.py FOLDER [--mnist FOLDER] [--against CHECKOUT] [--seeds 32] [--samples N]

Networks are trained as in the paper (kept in FOLDER), and drawn at random. Gain: variance times CPU
time of independent samples over that of the lattices, for the sum and for single edges; with
--against the independent ones are those of another checkout, built in place. Stated: root mean
square of the stated error over that of the error, the truth being 2**25 samples.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np

from eiplane.analyze import Plan
from eiplane.extract import ExtractOptions, to_network
from eiplane.pairwise import replicated, sampled
from eiplane.reproduce import data
from eiplane.reproduce.training import Protocol, trained
from eiplane.run import Runner, Settings

SIZES = (25, 6, 6, 6, 5)
RANDOM = (("tanh", 1.0), ("tanh", 1.5), ("tanh", 3.0), ("sigmoid", 4.0), ("sigmoid", 8.0))
TRUTH, INDEPENDENT = 1 << 25, 100_000


def networks(folder, mnist):
    """Yield names, weights, activations and bins."""
    task = data.mnist(mnist) if mnist else data.digits(1)
    for activation in ("sigmoid", "tanh", "relu"):
        protocol = Protocol(SIZES, activation, 500, every=100, seeds=(1, 2))
        made = trained(protocol, task, folder / f"{task.name}-{activation}.npz", None)
        for index, epoch in ((0, 0), (1, 100), (5, 500)):
            for run in range(2) if epoch else range(1):
                share = made.metrics["test_accuracy"][index, run]
                name = f"{activation}, {epoch} epochs ({share:.0%})"
                yield name, made.network(index, run), activation, 8
        yield f"{activation}, 500 epochs", made.network(5, 0), activation, 16
    for activation, scale in RANDOM:
        generator = np.random.default_rng(1)
        weights = [generator.normal(size=(b, a)) * scale / np.sqrt(a) for a, b in pairwise(SIZES)]
        yield f"random {activation}, {scale:g}", weights, activation, 8


def channel_of(weights, activation, bins):
    """Return the channel of a network from its input to its output."""
    network = to_network(list(weights), ExtractOptions(activation)).network
    return Plan(network, Settings("ei_parts", bins=bins)).target(0, len(weights) - 1).channel


def spread(measure, seeds, truth=None):
    """Return variances times seconds of the sum and of the edges, and what is stated of them."""
    start = time.process_time()
    found = [measure(seed) for seed in range(seeds)]
    seconds = (time.process_time() - start) / seeds
    sums, edges = np.array([p.total for p in found]), np.array([p.edges for p in found])
    row = {
        "seconds": seconds,
        "sum": float(sums.var(ddof=1)) * seconds,
        "edges": float(edges.var(axis=0, ddof=1).sum()) * seconds,
    }
    if truth is not None:
        wrong = np.mean((sums - truth.total) ** 2), np.mean((edges - truth.edges) ** 2)
        said = np.mean([p.stderr**2 for p in found]), np.mean([p.edges_stderr**2 for p in found])
        row["stated"], row["stated_edges"] = (
            float(np.sqrt(s / w)) if w else None for s, w in zip(said, wrong, strict=True)
        )
        row["ei_parts"] = truth.total
    return row


def independent(folder, mnist, seeds):
    """Measure all networks with independent samples, of the package that is found."""
    runner, rows = Runner(1), {}
    for name, weights, activation, bins in networks(folder, mnist):
        channel = channel_of(weights, activation, bins)
        jobs = [sampled.Job(1000 + s, 0, 5, 0, 25, 0, INDEPENDENT) for s in range(seeds)]
        run = sampled._measure_pairs
        rows[f"{name}, {bins} bins"] = spread(lambda s: run(channel, jobs[s], runner), seeds)  # noqa: B023
    return rows


def main():
    """Print a table of all networks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--mnist", type=Path)
    parser.add_argument("--against", type=Path)
    parser.add_argument("--seeds", type=int, default=32)
    parser.add_argument("--samples", type=int, default=replicated.DEFAULT_SAMPLES)
    parser.add_argument("--independent", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.folder.mkdir(exist_ok=True)
    if options.independent:
        print(json.dumps(independent(options.folder, options.mnist, options.seeds)))
        return
    runner = Runner(1)
    path = options.against or Path(__file__).parent.parent
    command = [sys.executable, __file__, *sys.argv[1:], "--independent"]
    environment = os.environ | {"PYTHONPATH": str(path)}
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE)
    before = json.loads(done.stdout)
    print("| network | EI_parts | gain | of edges | stated over true error | of edges | ms |")
    print("|---|---|---|---|---|---|---|")
    for name, weights, activation, bins in networks(options.folder, options.mnist):
        channel = channel_of(weights, activation, bins)
        truth = replicated.ei_parts(channel, 987, TRUTH, runner)
        of = lambda s: replicated.ei_parts(channel, s, options.samples, runner)  # noqa: B023, E731
        row, old = spread(of, options.seeds, truth), before[f"{name}, {bins} bins"]
        gains = [f"{old[n] / row[n]:.1f}" if row[n] else "–" for n in ("sum", "edges")]
        said = [f"{row[n]:.2f}" if row[n] else "–" for n in ("stated", "stated_edges")]
        print(f"| {name}, {bins} bins | {truth.total:.4f} |", " | ".join(gains + said), end="")
        print(f" | {row['seconds'] * 1e3:.1f} |", flush=True)


if __name__ == "__main__":
    main()
