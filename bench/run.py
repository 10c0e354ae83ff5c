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
    """Return the lines of the table: group, work, way, time, nanoseconds, ratio to the first."""
    rows: dict[tuple[str, str], list[tuple[str, float, float]]] = {}
    for b in benchmarks:
        info = b["extra_info"]
        work = str(info.get("layer") or f"{info.get('bins', '')} bins")
        way, each = info.get("way", b["name"]), info.get("ns_an_increment", float("nan"))
        rows.setdefault((b["group"] or "", work), []).append((way, b["stats"]["median"], each))
    lines = [f"{'group':14}{'work':12}{'way':28}{'median':>12}{'ns each':>10}{'ratio':>9}"]
    for (group, work), ways in sorted(rows.items(), key=lambda item: item[0][0]):
        ways.sort(key=lambda way: ("deep-ei" not in way[0]) and ("plain" not in way[0]))
        first = ways[0][1]
        for way, median, each in ways:
            time = f"{median * 1e3:.3g} ms"
            ratio = f"{first / median:.3g}"
            lines.append(f"{group:14}{work:12}{way:28}{time:>12}{each:>10.3f}{ratio:>9}")
    return lines


if __name__ == "__main__":
    sys.exit(main())
