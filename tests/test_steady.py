"""Memory stays as it is over many calls: of every kind of input and every function that measures.

``EIPLANE_STEADY_CALLS=5000`` for as many calls of each kind as issue and habit ask for, by hand.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="needs /proc"),
]

CALLS = int(os.environ.get("EIPLANE_STEADY_CALLS", "40"))

#: Of what takes long there are fewer at a time, where no number is given: so many seconds of them.
SECONDS, LEAST = 0.5, 20

BEGIN = """
import gc, os, sys, tempfile, time, warnings
from pathlib import Path
import numpy as np
import eiplane
warnings.simplefilter("ignore")
rng = np.random.default_rng(0)
place = Path(tempfile.mkdtemp())
W = [rng.normal(size=(3, 2)), rng.normal(size=(2, 3))]
fast = {"measures": ("sensitivity", "ei_parts"), "bins": 4, "progress": False, "threads": 1}
by_name = {"a.weight": W[0], "b.weight": W[1]}
"""

#: What is called, with the number of the call as ``i``, after something is set up.
KINDS = {
    "exact": ("", "eiplane.analyze(W, 'relu', **fast)"),
    "sampled": ("", "eiplane.analyze(W, 'relu', rng=i, method='sample', samples=200, **fast)"),
    "threads": ("", "eiplane.analyze(W, 'relu', rng=i, method='sample', samples=500, bins=4,"
                    " measures='ei_parts', threads=2)"),
    "drop": ("", "eiplane.analyze(W, 'relu', outliers='drop', **fast)"),
    "vectors": ("", "eiplane.analyze(W[:1], 'relu', rng=i, measures='ei', samples=64, threads=1)"),
    "npz": ("np.savez(place / 'w.npz', **by_name)",
            "eiplane.analyze(place / 'w.npz', 'relu', **fast)"),
    "spans": ("", "eiplane.analyze(W, 'relu', spans='all', rng=i, samples=64, **fast)"),
    "noise": ("", "eiplane.analyze(W[:1], 'relu', noise=0.5, **fast)"),
    "dither": ("", "eiplane.analyze(np.array([[0.7, -0.4]]), 'relu', noise='dither', **fast)"),
    "tracker": ("", """
        (place / 'r.jsonl').unlink(missing_ok=True)
        with eiplane.Tracker(lambda: W, place / 'r.jsonl', activation='relu', **fast) as t:
            t.record(0, loss=1.0)
        eiplane.Tracker.load(place / 'r.jsonl').history.values('0', 'ei_parts')"""),
    "tpm": ("", "eiplane.tpm(np.eye(4)[::-1])"),
    # One quick, and every fourth time one of which whole vectors are too many to be counted.
    "through time": ("H = [np.random.default_rng(s).normal(size=(3, 3)) for s in (4, 2, 2, 2)]",
                     "eiplane.through_time((W[0], H[i % 4], np.zeros(3)), lags=(1, 2), samples=64,"
                     " rng=i, threads=1, bins=4, progress=False)"),
    "ablate": ("", "eiplane.ablate(W, 'ei', evaluate=lambda w: 1.0, fraction=(0.2, 0.5),"
                   " activation='relu', threads=1, bins=4)"),
    "written": ("d = eiplane.analyze(W, 'relu', **fast)", """
        d.to_html(); d.to_json(); d.save(place / 'd.npz'); eiplane.load(place / 'd.npz')"""),
    "refused": ("", """
        for bad in (W[0] * np.nan, 'nothing.npz', [W[1], W[1]]):
            try:
                eiplane.analyze(bad, 'relu', **fast)
            except (ValueError, OSError):
                pass"""),
}  # fmt: skip

WITH_TORCH = {
    "module": ("net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU())",
               "eiplane.analyze(net, **fast)"),
    "modules": ("", """
        net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 2), torch.nn.GELU(), torch.nn.Flatten(),
                                  torch.nn.Linear(8, 2))
        eiplane.analyze(net, input_size=(1, 1, 3, 3), **fast)"""),
    "pt": ("torch.save({k: torch.tensor(v) for k, v in by_name.items()}, place / 'w.pt')",
           "eiplane.analyze(place / 'w.pt', 'relu', **fast)"),
    "module ablated": ("net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU())",
                       "eiplane.ablate(net, 'ei', evaluate=lambda m: 1.0, fraction=0.5, bins=4)"),
    "module tracked": ("net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU())",
                       "eiplane.Tracker(net, **fast).record(0)"),
}  # fmt: skip

WITH_ONNX = {
    "onnx": ("from fuzz import readers\n(place / 'w.onnx').write_bytes("
             "readers.WHOLE['w.onnx'](rng))", "eiplane.analyze(place / 'w.onnx', **fast)"),
}  # fmt: skip

MEASURE = """
def call_{number}(i):
    {work}
{setup}
begin = time.perf_counter()
for i in range(WARM):
    call_{number}(i)
calls = max(min(CALLS, LEAST), min(CALLS, int(SECONDS * WARM / (time.perf_counter() - begin))))
gc.collect()
for again in range(12):  # caches fill up, ever more slowly; a leak goes on
    resident, blocks = rss(), sys.getallocatedblocks()
    for i in range(calls):
        call_{number}(i)
    gc.collect()
    grown = rss() - resident, sys.getallocatedblocks() - blocks
    if grown[0] < 5 << 20 and grown[1] < calls // 2:
        break
print({name!r}, *grown, calls, sep="|")
"""

RSS = """
def rss():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
"""


def _steady(kinds, imports="", calls=CALLS):
    seconds = SECONDS if calls == 40 else 1e9  # by hand all are asked for
    code = imports + BEGIN + RSS + f"CALLS, WARM = {calls}, {max(20, calls // 10)}\n"
    code += f"SECONDS, LEAST = {seconds}, {LEAST}\n"
    for number, (name, (setup, work)) in enumerate(kinds.items()):
        code += MEASURE.format(name=name, number=number, setup=setup, work=work)
    # One arena, which gives back: what glibc keeps for threads that are gone is no leak.
    own = {"MALLOC_ARENA_MAX": "1", "MALLOC_TRIM_THRESHOLD_": "131072",
           "MALLOC_MMAP_THRESHOLD_": "131072"}  # fmt: skip
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False,
        timeout=6000, env=os.environ | own, cwd=os.path.dirname(os.path.abspath(__file__)),
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-2000:]
    print(run.stdout)
    found = {}
    for line in run.stdout.splitlines():
        name, *grown = line.split("|")
        found[name] = tuple(map(int, grown))
    assert set(found) == set(kinds)
    # Where a call keeps an object there is a block for each.
    assert {k: v for k, v in found.items() if not (v[0] < 5 << 20 and v[1] < v[2] // 2)} == {}


def test_memory_is_steady():
    _steady(KINDS)


def test_memory_is_steady_with_torch():
    pytest.importorskip("torch")
    _steady(WITH_TORCH, "import torch\n")


def test_memory_is_steady_with_onnx():
    pytest.importorskip("onnx")
    _steady(WITH_ONNX)


def test_a_leak_is_seen():
    with pytest.raises(AssertionError, match="leaks"):
        _steady({"leaks": ("kept = []", "kept.append([i])")}, calls=1000)
    with pytest.raises(AssertionError, match="bytes"):
        _steady({"bytes": ("kept = bytearray()", "kept.extend(bytes(1 << 13))")}, calls=1000)
