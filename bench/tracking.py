"""What a tracker costs a training: a 784-256-128-10 network, a record every hundred gradient steps.

    python bench/tracking.py                     pairwise, in the loop: one and two threads
    python bench/tracking.py --ways all          and with ``background=True``, and all quantities
    python bench/tracking.py --loggers           what each logger adds to a record
    python bench/tracking.py --threads 2 --batch 64 --records 20 --json FILE

A share is the time of a record, over that of the hundred steps before it, both of CPU and on the
wall: the least of the records over the least of the hundreds, as other work on the machine makes
either longer, and the medians. With ``background=True`` the other process's time is told apart: it
has a core of its own, if there is one. PyTorch's threads spin for some milliseconds when a step is
over, and on a busy machine for many more, which the process's clock counts: they are left to fall
asleep before a record (``--rest``), or it would be charged with what it has no part in. On a busy
machine they also make a training of two threads very slow. Records are held against
``eiplane.analyze`` of the same weights.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import eiplane
from eiplane import loggers
from eiplane.training import Record
from eiplane.training.loggers import log_scalars

PAIRWISE = ("sensitivity", "ei_parts")
WAYS = {
    "pairwise, in the loop": {"measures": PAIRWISE},
    "pairwise, background": {"measures": PAIRWISE, "background": True},
    "all, background": {"background": True},
}


class Clock:
    """Notes the CPU and wall time of this process each time that it is entered, in milliseconds."""

    def __init__(self) -> None:
        self.cpu: list[float] = []
        self.wall: list[float] = []

    def __enter__(self) -> None:
        self._start = time.process_time(), time.perf_counter()

    def __exit__(self, *error: object) -> None:
        self.cpu.append(1e3 * (time.process_time() - self._start[0]))
        self.wall.append(1e3 * (time.perf_counter() - self._start[1]))


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


def measure(
    options: dict[str, object], batch: int, threads: int, records: int, every: int, rest: float
) -> dict[str, float]:
    """Return milliseconds of a record and of the steps between two, and shares."""
    torch.set_num_threads(threads)
    model, step = training(batch)
    steps, tracked, ending = Clock(), Clock(), Clock()
    tracker = eiplane.Tracker(model, every=every, progress=False, threads=threads, **options)
    for _ in range(every):
        step()  # warm
    tracker.record(0, loss=step())  # the first reads the network's wiring, and starts a process
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for number in range(every, every * records + 1, every):
        with steps:
            for at in range(number - every + 1, number):
                tracker.record(at, loss=step())  # as nearly always: nothing is due
            loss = step()
        time.sleep(rest if threads > 1 else 0.0)
        with tracked:
            tracker.record(number, loss=loss)
    with ending:
        tracker.close()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert len(tracker) == records + 1
    check(model, tracker.history[-1], options)
    found = {"threads": threads, "batch": batch}
    for name in ("cpu", "wall"):
        record, between = np.array(getattr(tracked, name)), np.array(getattr(steps, name))
        found[f"record, {name}"] = float(record.min())
        found[f"steps, {name}"] = float(between.min())
        found[f"share, {name}"] = float(100 * record.min() / between.min())
        found[f"share, {name}, medians"] = float(100 * np.median(record) / np.median(between))
    found["other process, cpu"] = 1e3 * (after.ru_utime - before.ru_utime) / records
    return found


def logger_of(kind: str, folder: Path) -> object:
    """Return a logger that writes to a folder; ImportError if its library is missing."""
    if kind == "CSV":
        return loggers.CSV(folder / "run.csv")
    if kind == "TensorBoard":
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(folder / "board")
    if kind == "Weights & Biases, offline":
        os.environ["WANDB_SILENT"] = "true"
        return loggers.wandb(mode="offline", dir=folder, project="bench")
    os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
    return loggers.mlflow(tracking_uri=folder / "mlruns")


LOGGERS = ("CSV", "TensorBoard", "Weights & Biases, offline", "MLflow, file store")


def time_loggers(records: int) -> dict[str, list[float]]:
    """Return the milliseconds that each logger takes for a record of the pairwise quantities."""
    model, _ = training(8)
    plain = eiplane.Tracker(model, progress=False, measures=PAIRWISE)
    record = plain.record(0)
    found = {}
    for kind in LOGGERS:
        with tempfile.TemporaryDirectory() as folder:
            try:
                logger = logger_of(kind, Path(folder))
            except ImportError as error:
                print(f"{kind:28} left out: {error}")
                continue
            clock = Clock()
            for number in range(records):
                time.sleep(0.01)  # as a training would: what goes on in the background may end
                with clock:
                    log_scalars([logger], replace(record, step=number))
            found[kind] = [float(np.median(clock.cpu)), float(np.median(clock.wall))]
            print(f"{kind:28} CPU {found[kind][0]:6.2f} ms, wall {found[kind][1]:6.2f} ms")
            if kind.startswith("Weights"):
                logger.run.finish()
            elif kind == "TensorBoard":
                logger.close()
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--records", type=int, default=10)
    parser.add_argument("--every", type=int, default=100)
    parser.add_argument("--batch", type=int, nargs="+", default=[128, 64])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rest", type=float, default=0.05, help="seconds before a record")
    parser.add_argument("--ways", choices=("loop", "all"), default="loop")
    parser.add_argument("--loggers", action="store_true")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    found: dict[str, object] = {}
    if options.loggers:
        found["loggers"] = time_loggers(options.records)
    else:
        columns = ("record", "steps", "share", "share, medians")
        print(" " * 44 + "".join(f"{c + ' ' + u:>22}" for u in ("cpu", "wall") for c in columns))
        for name, way in itertools.islice(WAYS.items(), 1 if options.ways == "loop" else None):
            for threads, batch in itertools.product(options.threads, options.batch):
                one = measure(way, batch, threads, options.records, options.every, options.rest)
                found[f"{name}, {threads} threads, batch {batch}"] = one
                print(f"{name:22} threads {threads} batch {batch:4}", end="")
                for unit in ("cpu", "wall"):
                    for column in columns:
                        what, _, more = column.partition(",")
                        number = one[f"{what}, {unit}" + (f",{more}" if more else "")]
                        print(f"{number:20.2f} {'%' if 'share' in what else ' '}", end="")
                other = one["other process, cpu"]
                print(f"   other process {other:.1f} ms a record" if other else "", flush=True)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
