"""Exact EI_parts: the CPU time of an edge, now and at an earlier commit, and whether they agree.

    python bench/edges.py              against the engine as it was before few inputs were faster
    python bench/edges.py --against COMMIT --json FILE --only tanh
    EIPLANE_CPU=avx2 python bench/edges.py         with another instruction set

Both are compiled as setup.py does and run by turns, so that a busy machine slows both alike; the
least of several runs counts, in one thread's own CPU time. Answers may differ by 1e-9 bits, as each
promises.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np

import eiplane
from build import ROOT, build_program
from eiplane.network import Binning, automatic_range, discretize

BEFORE = "0b70e34"
FEW = (2, 4, 5, 6, 7, 8, 12, 16, 20, 25)
BINS = (4, 8, 16, 64)


def layers():
    """Yield names and channels: few inputs at several bins, then a classifier's three layers."""
    for activation, bins, fan_in in itertools.product(("sigmoid", "tanh", "relu"), BINS, FEW):
        generator = np.random.default_rng(fan_in)
        weight = generator.normal(size=(max(8, 1600 // (fan_in * bins // 8 or 1)), fan_in))
        weight *= 3 / np.sqrt(fan_in)
        layer = eiplane.Layer(weight, -0.5 * weight.sum(axis=1), activation)
        yield f"{activation}, {fan_in} inputs, {bins} bins", layer, bins, (0.0, 1.0)
    generator, in_range = np.random.default_rng(0), (0.0, 1.0)
    for n_in, n_out in ((784, 256), (256, 128), (128, 10)):
        reach = 1 / np.sqrt(n_in)
        weight, bias = (generator.uniform(-reach, reach, size=s) for s in ((n_out, n_in), n_out))
        layer = eiplane.Layer(weight, bias, "relu" if n_out > 10 else "identity")
        yield f"{n_in}→{n_out}, 8 bins", layer, 8, in_range
        in_range = automatic_range(layer, in_range)


def write(path: Path, layer: eiplane.Layer, bins: int, in_range: tuple[float, float]) -> int:
    """Write a layer for bench/edges.c; returns its edges."""
    c = discretize(layer, Binning(bins, bins), in_range, automatic_range(layer, in_range))
    rule = c.rules[0]
    size = np.array([c.n_in, c.n_out, bins, bins, len(rule.thresholds)], np.int64)
    parts = (size, np.array(in_range, float), c.weight, c.bias, rule.thresholds, rule.labels)
    path.write_bytes(b"".join(np.ascontiguousarray(p).tobytes() for p in parts))
    return c.weight.size


def run(program: Path, path: Path, runs: int) -> tuple[float, np.ndarray]:
    out = path.with_suffix(".out")
    command = [str(program), str(path), str(runs), str(out)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(text), np.fromfile(out)


def compare(folder: Path, commit: str, turns: int, only: str) -> list[dict[str, object]]:
    archive = subprocess.run(
        ["git", "archive", commit, "csrc"], cwd=ROOT, check=True, capture_output=True
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder / "old", filter="data")
    old = build_program(folder, "edges", folder / "old" / "csrc", "before")
    new = build_program(folder, "edges", ROOT / "csrc", "now")
    print(f"{'layer':30}{'before':>10}{'now':>10}{'ratio':>8}{'differ':>10}   microseconds an edge")
    rows = []
    for name, *layer in layers():
        if only not in name:
            continue
        path = folder / "layer.bin"
        edges = write(path, *layer)
        before = now = np.inf
        for _ in range(turns):
            took, then = run(old, path, 5)
            before = min(before, took / edges / 1e3)
            took, answer = run(new, path, 5)
            now = min(now, took / edges / 1e3)
        differ = float(np.abs(then[:edges] - answer[:edges]).max())
        if not (differ <= 1e-9 and answer[edges:].max() <= 1e-9):
            raise SystemExit(f"{name}: answers differ by {differ} bits")
        print(f"{name:30}{before:10.3f}{now:10.3f}{before / now:8.1f}{differ:10.1e}", flush=True)
        rows.append({"layer": name, "before": before, "now": now, "differ": differ})
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--against", default=BEFORE, metavar="COMMIT")
    parser.add_argument("--only", default="", metavar="TEXT", help="layers whose names have it")
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = compare(Path(folder), options.against, options.turns, options.only)
    if options.json:
        kept = {
            "against": options.against,
            "cpu": os.environ.get("EIPLANE_CPU", "best"),
            "rows": rows,
        }
        options.json.write_text(json.dumps(kept, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
