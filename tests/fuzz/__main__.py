"""Run a fuzzer by hand: ``python -m fuzz calls --minutes 10 --seed 3`` (in ``tests``)."""

from __future__ import annotations

import argparse
import importlib
import sys

from . import campaign

FUZZERS = ("calls", "readers", "runs", "commands")


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
    options = parser.parse_args()
    fuzzer = importlib.import_module(f".{options.fuzzer}", __package__)
    if options.memory:  # a sanitizer takes all addresses for itself
        campaign.limit_memory(options.memory)
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


if __name__ == "__main__":
    sys.exit(main())
