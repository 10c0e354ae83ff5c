"""Run the benchmarks and print a table of ratios.

    python bench/run.py [--json OUT] [pytest options, such as -k kernels]

Every ratio is of medians within this one run: the time of the first way of a group (the peer, or
the plain loop) over the time of each other way, on the same work.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", help="keep the measurements, with the machine's description")
    options, rest = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(options.json) if options.json else Path(folder) / "bench.json"
        command = [sys.executable, "-m", "pytest", str(HERE), "-q", "-p", "no:cacheprovider"]
        command += ["--benchmark-only", "--benchmark-quiet", f"--benchmark-json={out}", *rest]
        code = subprocess.run(command, check=False).returncode
        if not out.exists() or not out.stat().st_size:
            return code
        data = json.loads(out.read_text())
    cpu = data["machine_info"].get("cpu", {}).get("brand_raw", platform.processor())
    print(f"\n{cpu}, Python {platform.python_version()}\n")
    for line in table(data["benchmarks"]):
        print(line)
    return code


def table(benchmarks: list[dict]) -> list[str]:
    """Return the lines of the table: group, work, way, time, nanoseconds, ratio, error.

    The nanoseconds are those of an increment (one sample of one edge), or of an edge where nothing
    is sampled or the ways differ in that.
    """
    rows: dict[tuple[str, str], list[tuple[str, float, float, float]]] = {}
    for b in benchmarks:
        info = b["extra_info"]
        work = str(info.get("layer") or f"{info.get('bins', '')} bins")
        way = info.get("way", b["name"])
        each = info.get("ns_an_increment", 1e3 * info.get("us_an_edge", float("nan")))
        error = info.get("error", float("nan"))
        rows.setdefault((b["group"] or "", work), []).append(
            (way, b["stats"]["median"], each, error)
        )
    heads = f"{'median':>12}{'ns each':>12}{'ratio':>9}{'error':>9}"
    lines = [f"{'group':31}{'work':22}{'way':33}{heads}"]
    for (group, work), ways in sorted(rows.items(), key=lambda item: item[0][0]):
        ways.sort(key=lambda way: ("deep-ei" not in way[0]) and ("plain" not in way[0]))
        first = ways[0][1]
        for way, median, each, error in ways:
            time = f"{median * 1e3:.3g} ms"
            ratio = f"{first / median:.3g}"
            numbers = f"{time:>12}{each:>12.3f}{ratio:>9}"
            numbers += "" if error != error else f"{error:>9.1e}"
            lines.append(f"{group:31}{work:22}{way:33}{numbers}")
    return lines


if __name__ == "__main__":
    sys.exit(main())
