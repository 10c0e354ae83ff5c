"""Run a fuzzer by hand: ``python -m fuzz calls --minutes 10 --seed 3`` (in ``tests``).

A campaign that may be cut and taken up again, in processes of its own:
``python -m fuzz readers --cases 1000000 --log readers.log --minutes 10``.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from . import campaign, workers

FUZZERS = ("calls", "functions", "refusals", "readers", "runs", "commands")


def main() -> int:
    """Return 1 if anything failed."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("fuzzer", choices=FUZZERS)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=int, default=0, help="number of the first case")
    parser.add_argument("--only", type=int, metavar="I", help="this case alone")
    parser.add_argument("--keep", action="store_true", help="add what failed to the corpus")
    parser.add_argument("--memory", type=float, default=16.0, metavar="GIB", help="address space")
    parser.add_argument("--cases", type=int, default=10**6, help="of a campaign with a log")
    parser.add_argument("--log", type=Path, help="do a campaign: a line of JSON a block")
    options = parser.parse_args()
    fuzzer = importlib.import_module(f".{options.fuzzer}", __package__)
    if options.memory:  # a sanitizer takes all addresses for itself
        campaign.limit_memory(options.memory)
    if options.log:
        return _campaign(fuzzer, options)
    first, most = (options.start, None) if options.only is None else (options.only, 1)
    cases, found = campaign.run(
        fuzzer, options.seed, 60.0 * options.minutes, start=first, most=most, tell=True
    )
    print(
        f"{options.fuzzer}: {cases} cases of seed {options.seed} from {first}: {len(found)} failed"
    )
    if options.keep:
        for failure in found:
            campaign.keep(options.fuzzer, failure.case, failure.text)
    return 1 if found else 0


def _campaign(fuzzer: object, options: argparse.Namespace) -> int:
    reports = workers.run(
        options.fuzzer, fuzzer, options.seed, options.cases, options.log, 60.0 * options.minutes
    )
    cases, seconds = sum(r.cases for r in reports), sum(r.seconds for r in reports)
    found = {one["kind"]: one for r in reports for one in r.found}
    print(f"{options.fuzzer}: {cases} cases of seed {options.seed} in {seconds:.0f} s")
    for kind, one in found.items():
        print(f"  {one.get('seed')}/{one.get('index')}: {kind}: {one['text'][:300]}")
    if options.keep:
        for one in found.values():
            campaign.keep(options.fuzzer, one["case"], one["text"])
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
