"""What a tracker costs a training: a 784-256-128-10 network, a record every hundred gradient steps.

    python bench/tracking.py                 batches of 128
    python bench/tracking.py --batch 64 --threads 2 --json FILE

A share is the time of this process in records, over that of the steps between them: of the pairwise
quantities in the loop, and with ``background=True``, where the other process's time is told apart:
it has a core of its own, if there is one. PyTorch's threads spin for some milliseconds when a step
is over, and on a busy machine for many more, which the process's clock counts: they are left to
fall asleep before a record, or it would be charged with what it has no part in. On a busy machine
they also make a training look slow: the default is one thread, of the training and of the tracker.
Records are held against ``eiplane.analyze`` of the same weights.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import sys
import time
from pathlib import Path

import numpy as np
import torch

import eiplane
from eiplane.training import Record

PAIRWISE = ("sensitivity", "ei_parts")
WAYS = {
    "pairwise, in the loop": {"measures": PAIRWISE},
    "pairwise, background": {"measures": PAIRWISE, "background": True},
    "all, background": {"background": True},
}

#: Seconds after which PyTorch's threads sleep.
REST = 0.05


class Clock:
    """Adds up the CPU and wall time of this process while it is entered."""

    def __init__(self) -> None:
        self.cpu = self.wall = 0.0

    def __enter__(self) -> None:
        self._start = time.process_time(), time.perf_counter()

    def __exit__(self, *error: object) -> None:
        self.cpu += time.process_time() - self._start[0]
        self.wall += time.perf_counter() - self._start[1]


def training(batch: int, seed: int = 0):
    """Return a network and what takes a step with it, on images that look a little like digits."""
    torch.manual_seed(seed)
    sizes = (784, 256, 128, 10)
    pairs = itertools.pairwise(sizes)
    layers = [m for a, b in pairs for m in (torch.nn.Linear(a, b), torch.nn.ReLU())]
    model = torch.nn.Sequential(*layers[:-1])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    prototype, batches = torch.rand(10, 784).round(), []
    for _ in range(20):
        y = torch.randint(10, (batch,))
        x = prototype[y] * torch.rand(batch, 784) + 0.2 * torch.rand(batch, 784)
        batches.append((x.clamp(0, 1), y))
    turns = itertools.cycle(batches)

    def step() -> float:
        x, y = next(turns)
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.item()

    return model, step


def check(model: torch.nn.Module, record: Record, options: dict[str, object]) -> None:
    """Hold the last record against the network as it is."""
    kept = {k: v for k, v in options.items() if k != "background"}
    now = eiplane.analyze(model, progress=False, **kept)
    for layer, wanted in zip(record.layers, now, strict=True):
        for name in PAIRWISE:
            np.testing.assert_allclose(layer[name], getattr(wanted, name), rtol=1e-9)


def measure(options: dict[str, object], records: int, every: int, batch: int, threads: int) -> dict:
    model, step = training(batch)
    steps, tracked, nothing, ending = Clock(), Clock(), Clock(), Clock()
    tracker = eiplane.Tracker(model, every=every, progress=False, threads=threads, **options)
    for _ in range(every):
        step()  # warm
    tracker.record(0, loss=step())  # the first reads the network's wiring, and starts a process
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for number in range(1, every * records + 1):
        with steps:
            loss = step()
        if threads > 1 and tracker.due(number):
            time.sleep(REST)
        with tracked:
            tracker.record(number, loss=loss)
        with nothing:  # what looking at the clock takes
            pass
    with ending:
        tracker.close()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert len(tracker) == records + 1
    check(model, tracker.history[-1], options)
    cpu, wall = tracked.cpu - nothing.cpu, tracked.wall - nothing.wall
    return {
        "share of the CPU time": cpu / steps.cpu,
        "share of the wall time": wall / steps.wall,
        "milliseconds a record": 1e3 * cpu / records,
        "milliseconds of 100 steps": 1e5 * steps.cpu / (every * records),
        "of the other process, a record": 1e3 * (after.ru_utime - before.ru_utime) / records,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--records", type=int, default=5)
    parser.add_argument("--every", type=int, default=100)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    found = {}
    for name, way in WAYS.items():
        found[name] = measure(way, options.records, options.every, options.batch, options.threads)
        print(name)
        for what, number in found[name].items():
            share = what.startswith("share")
            print(f"    {what:34}{100 * number if share else number:9.2f}{' %' if share else ''}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
