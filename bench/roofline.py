"""How near each kernel is to what this processor can do.

    python bench/roofline.py [--sets baseline,avx2,avx512]

First the ceilings, measured here with loops that do one thing (bench/ceilings.c); then each kernel,
by itself and out of L1 or L2 (bench/kernels.c), as a share of the ceiling that its model names. A
model says how many of the ceiling's operations one unit of the kernel's work takes, whatever else
it does. Times are the least of many short batches, ceilings and kernels in turns: on a busy machine
that is what comes near the truth. One thread.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from build import build_ceilings, build_kernels, compiler

#: What ceilings.c is compiled with, and the vectors' bytes.
SETS = {
    "baseline": ([], 16),
    "avx2": (["-mavx2", "-mfma"], 32),
    "avx512": (["-mavx512f", "-mavx512vpopcntdq"], 64),
}

ROUNDS = 3

#: Vector operations of counting the common bits of two vectors, where no instruction does it:
#: an AND, and without AVX2 eleven operations of adding neighbouring fields; with it, of eight
#: vectors, eight AND, seven carry-save adders of five, and eight operations on what they leave.
BIT_OPERATIONS = {"baseline": 12.0, "avx2": (8 + 7 * 5 + 8) / 8}


@dataclass(frozen=True)
class Model:
    """What one unit of a kernel's work takes at least: so many of a ceiling's operations."""

    ceiling: str
    operations: Callable[[str, int], float]  # of the set's name and its vectors' bytes
    why: str


def counting(name: str, size: int) -> tuple[str, float]:
    """Return ceiling and operations of an increment by masks at 8 bins: 49 pairs of masks."""
    vectors = 49 / (8 * size)  # a sample is a bit
    if name == "avx512":
        return "and-popcount-add", vectors
    return "bit operation", vectors * BIT_OPERATIONS[name]


def lanes(operations: float) -> Callable[[str, int], float]:
    """So many operations on every double."""
    return lambda name, size: operations * 8 / size


MODELS = {
    "draw": Model(
        "bit operation",
        lambda name, size: (10 * 8 + 8) / 4 * 8 / size,
        "Philox: 10 rounds of 8 operations (two are products), 8 to pack; 4 draws a 64-bit lane",
    ),
    "inputs": Model(
        "bit operation",
        lanes(6),
        "6 operations a value, 2 of them to widen; and a store of 8 bytes",
    ),
    "affine": Model("multiply-add", lanes(1), "one product and one addition an edge; no FMA used"),
    "sigmoid": Model(
        "multiply-add", lanes(20), "exp: 17 multiply-adds, 3 for its argument; and one division"
    ),
    "draw_masks": Model(
        "comparison",
        lambda name, size: 4 / size,
        "one comparison of 32-bit integers an edge; AVX2 needs two operations, SSE2 many more",
    ),
    "value_masks": Model("comparison", lanes(1), "one comparison of doubles a threshold"),
    "count_masks": Model(
        "",
        lambda name, size: counting(name, size)[1],
        "7 x 7 masks: AND and population count of every pair; then sums across the vector",
    ),
    "scatter": Model(
        "increment",
        lambda name, size: 1,
        "one increment of a counter in L1; now and then one waits for the store before it",
    ),
    "offsets": Model("product", lanes(2), "two products of 32 bits a draw"),
    "label": Model("comparison", lanes(15), "15 comparisons a value, a look-up of the label"),
    "label_many": Model(
        "comparison", lanes(6), "binary search among 63 thresholds, 6 steps, one value at a time"
    ),
    "log2": Model(
        "multiply-add",
        lanes(14),
        "12 multiply-adds of the series, 2 to put it together; a division",
    ),
    "measure": Model(
        "multiply-add",
        lanes(18),
        "a table of 8 x 8: a logarithm (14) and 4 more a cell; setting up so small a table is most",
    ),
    "measure_many": Model("multiply-add", lanes(18), "a table of 64 x 64: the same, set-up spread"),
    "expansion": Model(
        "multiply-add",
        lanes(10 / 2 + 18),
        "exact: half of 10 terms (two mirror bins share them), and p log2 p of 18",
    ),
    "series": Model(
        "multiply-add", lanes(32 + 18), "exact: 32 waves (sine and cosine, shared by two), p log2 p"
    ),
}


def numbers(command: list[str]) -> list[str]:
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    return run.stdout.splitlines()


def ceilings_of(program: Path) -> dict[str, float]:
    """Return the nanoseconds of every operation."""
    lines = (line.rsplit(maxsplit=2) for line in numbers([str(program)]))
    return {name: float(least) for name, least, _ in lines}


def kernels_of(program: Path, name: str) -> dict[str, float]:
    """Return the nanoseconds of one unit of every kernel's work."""
    times = {}
    for line in numbers([str(program), "list"]):
        case, work, _ = line.split(maxsplit=2)
        runs = max(1, int(2e5 / float(work)))
        least, _ = numbers([str(program), case, name, str(runs), "41"])[0].split()
        times[case] = float(least) / float(work)
    return times


def least(into: dict[str, float], found: dict[str, float]) -> None:
    for key, value in found.items():
        into[key] = min(value, into.get(key, value))


def report(name: str, ceilings: dict[str, float], kernels: dict[str, float], units) -> None:
    size = SETS[name][1]
    print(f"\n{name}, vectors of {size} bytes\n")
    print(f"  {'ceiling':20}{'ns':>9}{'a second':>14}")
    for what, time in ceilings.items():
        each = "bytes" if what == "far byte" else "operations"
        print(f"  {what:20}{time:9.4f}{1 / time:11.2f} G {each}")
    print(f"\n  {'kernel':16}{'ns':>9}  {'of one':14}{'share':>7}  {'ceiling':18}why")
    for case, time in kernels.items():
        if case not in MODELS:  # one call of an engine: of several kernels, and more than those
            print(f"  {case:16}{time:9.4f}  {units[case]:14}")
            continue
        model = MODELS[case]
        ceiling = model.ceiling or counting(name, size)[0]
        share = ceilings[ceiling] * model.operations(name, size) / time
        print(f"  {case:16}{time:9.4f}  {units[case]:14}{share:7.0%}  {ceiling:18}{model.why}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sets", default="", help="instruction sets, by commas; else all here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        program = build_kernels(Path(folder))
        listing = [line.split(maxsplit=2) for line in numbers([str(program), "list"])]
        units = {case: unit for case, _, unit in listing}
        supported = [
            name
            for name in SETS
            if not subprocess.run([str(program), "draw", name, "1"], capture_output=True).returncode
        ]
        wanted = [name for name in options.sets.split(",") if name] or supported
        print(f"{platform.processor() or platform.machine()}; {compiler()}")
        for name in wanted:
            ceilings: dict[str, float] = {}
            kernels: dict[str, float] = {}
            loops = build_ceilings(Path(folder), SETS[name][0])
            for _ in range(ROUNDS):
                least(ceilings, ceilings_of(loops))
                least(kernels, kernels_of(program, name))
            report(name, ceilings, kernels, units)
    return 0


if __name__ == "__main__":
    sys.exit(main())
