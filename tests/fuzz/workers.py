"""Long campaigns: blocks of cases in forked processes, with a log to go on from.

A process does thousands of cases; where it dies, the case that it was at is the finding, and another
one goes on behind it. What a process keeps of its memory after a block is in the log too: a leak.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import mmap
import os
import signal
import struct
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from . import campaign

#: Cases of a process, and those of them after which its memory should be as it stays.
BLOCK, WARM = 10_000, 2_000

#: Cases that are done in the parent, so that what they import is there.
PRELOAD = 100

#: Bytes that a process may grow by from then on: caches fill slowly, and blocks leave gaps.
GROWTH = 12 << 20

#: glibc's options (M_ARENA_MAX, M_TRIM_THRESHOLD, M_MMAP_THRESHOLD) that keep freed memory from looking
#: like a leak: an arena for every thread that ever was keeps the most that it ever held.
_MALLOC = ((-8, 1), (-1, 1 << 17), (-3, 1 << 17))

#: Findings of a block, at most, of one kind each.
KINDS = 10


@dataclass
class Report:
    """What came out of a block: a line of the log."""

    fuzzer: str
    seed: int
    start: int
    cases: int = 0
    seconds: float = 0.0
    grown: int = 0
    found: list[dict[str, Any]] = field(default_factory=list)


def resident() -> int:
    """Return the bytes that this process has in memory."""
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * mmap.PAGESIZE


def _return_memory() -> None:
    """Have the allocator give back what is free, where it is glibc's."""
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL("libc.so.6")
        for option, value in _MALLOC:
            library.mallopt(option, value)


def blocks(log: Path, name: str, seed: int, most: int) -> Iterator[tuple[int, int]]:
    """Return the starts and lengths of what a log does not have yet."""
    done = 0
    if log.exists():
        for line in log.read_text().splitlines():
            report = json.loads(line)
            if report["fuzzer"] == name and report["seed"] == seed:
                done = max(done, report["start"] + report["cases"])
    while done < most:
        yield done, min(BLOCK, most - done)
        done += min(BLOCK, most - done)


def block(name: str, fuzzer: Any, seed: int, start: int, most: int) -> Report:
    """Do a block in processes of its own, one after the other where one dies."""
    report = Report(name, seed, start)
    begun = time.monotonic()
    at = mmap.mmap(-1, 16)  # shared: the case in hand, and the growth so far
    while report.cases < most:
        first = start + report.cases
        at[:16] = struct.pack("qq", first, 0)
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(read)
            _work(fuzzer, seed, first, start + most, at, write)
        os.close(write)
        with os.fdopen(read) as pipe:
            report.found += [json.loads(line) for line in pipe if line.endswith("}\n")]
        _, status = os.waitpid(child, 0)
        index, grown = struct.unpack("qq", at[:16])
        report.grown = max(report.grown, grown)
        if status == 0:
            report.cases = most
            break
        how = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else str(status)
        case = fuzzer.make(campaign.generator(seed, index))
        report.found.append(asdict(campaign.Found(seed, index, case, "died", f"died: {how}")))
        report.cases = index + 1 - start
    report.seconds = round(time.monotonic() - begun, 1)
    if report.grown > GROWTH:
        report.found.append({"kind": "grown", "text": f"by {report.grown >> 20} MiB", "case": {}})
    return report


def _work(fuzzer: Any, seed: int, start: int, stop: int, at: mmap.mmap, write: int) -> None:
    """Do cases in a process of their own, and end it."""
    status = 1
    try:
        kinds: set[str] = set()
        with os.fdopen(write, "w") as pipe, campaign.watched() as alive:
            before = 0
            for index in range(start, stop):
                at[:8] = struct.pack("q", index)
                alive()
                if index == start + WARM:
                    before = resident()
                case = fuzzer.make(campaign.generator(seed, index))
                wrong = campaign.problem(fuzzer, case)
                if wrong is not None and wrong.kind not in kinds and len(kinds) < KINDS:
                    kinds.add(wrong.kind)
                    one = campaign.examined(fuzzer, seed, index, case, wrong)
                    pipe.write(json.dumps(asdict(one)) + "\n")
                    pipe.flush()
            if before:
                at[8:16] = struct.pack("q", resident() - before)
        status = 0
    finally:
        os._exit(status)


def run(name: str, fuzzer: Any, seed: int, most: int, log: Path, seconds: float) -> list[Report]:
    """Do what is left of a campaign, for some time, and return the reports of this time."""
    until, reports = time.monotonic() + seconds, []
    _return_memory()
    # What the first cases import is shared by all processes, and no alarm cuts an import off.
    getattr(fuzzer, "prepare", lambda: None)()
    for index in range(PRELOAD):
        with contextlib.suppress(Exception):
            fuzzer.check(fuzzer.make(campaign.generator(seed, index)))
    for start, length in blocks(log, name, seed, most):
        if time.monotonic() > until:
            break
        reports.append(block(name, fuzzer, seed, start, length))
        with log.open("a") as file:
            file.write(json.dumps(asdict(reports[-1])) + "\n")
    return reports
