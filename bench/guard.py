"""Instruction counts of the kernels, and whether they have grown.

    python bench/guard.py              count, and print
    python bench/guard.py --store      keep the counts in bench/guard.json
    python bench/guard.py --compare    fail if any has grown by more than 5 %

Counted by callgrind, so noise does not matter: the same code gives the same count every time.
valgrind knows no AVX-512, so only the other instruction sets are guarded. Counts are the compiler's
as much as ours: they are kept for every compiler by itself, and compared with those of the same one
only. More instructions can be faster; if bench/roofline.py says so, store the new counts. Laws of
outputs with Gaussian noise are NumPy's work, not a kernel's: bench/test_bench_exact.py times them.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from build import HERE, build_kernels, compiler

STORE = HERE / "guard.json"
SETS = ("baseline", "avx2")
MOST = 1.05
RUNS = 2  # beyond the first, which is not counted


def instructions(program: Path, case: str, name: str, runs: int, folder: Path) -> int:
    """Return the instructions that a program executes."""
    command = [
        "valgrind",
        "--tool=callgrind",
        f"--callgrind-out-file={folder}/{case}.{name}.{runs}",
    ]
    run = subprocess.run(
        [*command, str(program), case, name, str(runs)], capture_output=True, text=True, check=False
    )
    found = re.search(r"Collected : (\d+)", run.stderr)
    if run.returncode or not found:
        raise SystemExit(f"callgrind failed on {case} ({name}):\n{run.stderr}")
    return int(found.group(1))


def count(folder: Path) -> dict[str, dict[str, float]]:
    """Return the instructions of one run of every kernel, and for one unit of its work."""
    program = build_kernels(folder)
    listing = subprocess.run([str(program), "list"], capture_output=True, text=True, check=True)
    work = {line.split()[0]: float(line.split()[1]) for line in listing.stdout.splitlines()}
    pairs = [(case, name) for name in SETS for case in work]

    def one(pair: tuple[str, str]) -> float:
        few, many = (instructions(program, *pair, runs, folder) for runs in (1, 1 + RUNS))
        return (many - few) / RUNS

    with ThreadPoolExecutor(2) as pool:
        counts = dict(zip(pairs, pool.map(one, pairs), strict=True))
    return {
        name: {case: round(counts[case, name] / work[case], 4) for case in work} for name in SETS
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--store", action="store_true", help="keep the counts")
    parser.add_argument("--compare", action="store_true", help="fail if any has grown")
    options = parser.parse_args()
    stored = json.loads(STORE.read_text()) if STORE.exists() else {}
    cc = compiler()
    before = stored.get(cc, {})
    if options.compare and not before:
        print(f"no counts are kept for {cc}; there are for: {'; '.join(stored) or 'none'}")
        return 2
    with tempfile.TemporaryDirectory() as folder:
        counts = count(Path(folder))
    print(f"{cc}\n\n{'instructions for one unit of work':36}{'now':>12}{'kept':>12}{'ratio':>9}")
    worse = []
    for name, cases in counts.items():
        for case, now in cases.items():
            kept = before.get(name, {}).get(case)
            ratio = now / kept if kept else float("nan")
            grown = bool(kept) and ratio > MOST
            print(f"{name:12}{case:24}{now:12.4f}{kept or float('nan'):12.4f}{ratio:9.3f}", end="")
            print("  GROWN" if grown else "")
            worse += [f"{case} ({name})"] if grown else []
    if options.store:
        STORE.write_text(json.dumps(stored | {cc: counts}, indent=1) + "\n")
    if options.compare and worse:
        print(f"\ngrown by more than {100 * (MOST - 1):.0f} %: {', '.join(worse)}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
