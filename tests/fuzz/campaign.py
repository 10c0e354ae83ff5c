"""What all fuzzers share: cases from seeds, time and memory bounds, shrinking, the corpus.

A fuzzer is a module with

* ``make(rng) -> case``: a case is plain JSON, so that it can be kept;
* ``check(case)``: raises :class:`Wrong` for what must not be;
* ``smaller(case) -> iterator of case``: simpler cases to try in its place;
* ``prepare()``, where it has one: what all processes of a campaign share, made before they start.

Case number i of a seed depends on nothing but the two: ``--seed S --only I`` repeats it alone.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import resource
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Case = dict[str, Any]

CORPUS = Path(__file__).parent / "corpus"

#: Seconds of the processor that one case may take, and when the whole process is given up: C code
#: that hangs sees no signal.
CASE_SECONDS, HANG_SECONDS = 30, 300


class Wrong(AssertionError):
    """What must not be: of a kind (for shrinking), and in words."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind


@dataclass
class Found:
    """A case that failed, as small as it got."""

    seed: int
    index: int
    case: Case
    kind: str
    text: str


def generator(seed: int, index: int) -> np.random.Generator:
    """Return the random numbers of a case."""
    return np.random.default_rng([seed, index])


@contextlib.contextmanager
def bounded(seconds: float = CASE_SECONDS) -> Iterator[None]:
    """Raise Wrong in the main thread after that long, and end the process if that does not help."""

    def late(*_: Any) -> None:
        raise Wrong("slow", f"took more than {seconds} seconds")

    # Of the processor: a busy machine is no hang. What waits for ever uses none of it.
    timers = ((signal.SIGPROF, signal.ITIMER_PROF, 1), (signal.SIGALRM, signal.ITIMER_REAL, 8))
    before = [(number, signal.signal(number, late)) for number, _, _ in timers]
    for _, timer, times in timers:
        signal.setitimer(timer, times * seconds)
    try:
        yield
    finally:
        for _, timer, _ in timers:
            signal.setitimer(timer, 0)
        for number, handler in before:
            signal.signal(number, handler)


@contextlib.contextmanager
def watched() -> Iterator[Callable[[], None]]:
    """End this process if the function that this gives is not called for long: C sees no signal."""
    last = 0.0

    def alive() -> None:
        nonlocal last
        now = time.monotonic()
        if now > last + 5.0:  # a thread is started for it
            last = now
            faulthandler.dump_traceback_later(HANG_SECONDS, exit=True, file=sys.__stderr__)

    alive()
    try:
        yield alive
    finally:
        faulthandler.cancel_dump_traceback_later()


def limit_memory(gibibytes: float) -> None:
    """Bound the address space of this process: a file that lies must not take the machine."""
    size = int(gibibytes * 2**30)
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (size, hard))


def problem(fuzzer: Any, case: Case) -> Wrong | None:
    """Return what is wrong with a case: a leaked warning and another type of error too."""
    try:
        with bounded(), warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            fuzzer.check(case)
    except Wrong as wrong:
        return wrong
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        own = [f for f in frames if "eiplane" in f.filename] or frames
        place = f"{Path(own[-1].filename).name}:{own[-1].name}"
        return Wrong(f"{type(error).__name__} in {place}", str(error)[:300])
    return None


def shrink(fuzzer: Any, case: Case, kind: str, seconds: float = 60.0) -> Case:
    """Return the simplest case found that is wrong in the same way."""
    until = time.monotonic() + seconds
    going = True
    while going:
        going = False
        for candidate in fuzzer.smaller(case):
            if time.monotonic() > until:
                return case
            wrong = problem(fuzzer, candidate)
            if wrong is not None and wrong.kind == kind:
                case, going = candidate, True
                break
    return case


def run(
    fuzzer: Any,
    seed: int,
    seconds: float,
    *,
    start: int = 0,
    most: int | None = None,
    keep: int = 20,
    tell: bool = False,
) -> tuple[int, list[Found]]:
    """Try cases until the time is up; return how many, and those that failed, one of a kind."""
    until, index, found, told = time.monotonic() + seconds, start, {}, time.monotonic()
    with watched() as alive:
        while time.monotonic() < until and (most is None or index < start + most):
            alive()
            case = fuzzer.make(generator(seed, index))
            wrong = problem(fuzzer, case)
            if wrong is not None and wrong.kind not in found:
                found[wrong.kind] = examined(fuzzer, seed, index, case, wrong)
                if tell:
                    one = found[wrong.kind]
                    print(
                        f"\n{seed}/{index}: {one.text}\n  {json.dumps(one.case)[:2000]}", flush=True
                    )
                if len(found) >= keep:
                    break
            index += 1
            if tell and time.monotonic() > told + 10:
                told = time.monotonic()
                print(f"{index - start} cases, {len(found)} kinds of failure", file=sys.stderr)
    return index - start, list(found.values())


def examined(fuzzer: Any, seed: int, index: int, case: Case, wrong: Wrong) -> Found:
    """Return what was found, as small as it gets."""
    small = shrink(fuzzer, case, wrong.kind)
    again = problem(fuzzer, small) or wrong
    return Found(seed, index, small, wrong.kind, str(again))


def kept(name: str) -> list[Case]:
    """Return the corpus of a fuzzer."""
    path = CORPUS / f"{name}.jsonl"
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]


def keep(name: str, case: Case, why: str) -> None:
    """Add a case to the corpus of a fuzzer, with what was wrong with it."""
    with (CORPUS / f"{name}.jsonl").open("a") as file:
        file.write(json.dumps({"why": why, **case}) + "\n")
