"""What goes wrong around a training or an ablation: loggers, the background, interrupts."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
import warnings

import numpy as np
import pytest

import eiplane
from eiplane import loggers
from eiplane.ablation.places import Held
from eiplane.training import History

W = [np.random.default_rng(0).normal(size=(6, 5)), np.random.default_rng(1).normal(size=(4, 6))]
FAST = {"activation": "relu", "measures": ("sensitivity", "ei_parts"), "progress": False}

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and POSIX signals")


# -- loggers


class Flaky:
    """Fails at some steps."""

    def __init__(self, bad, error):
        self.bad, self.error, self.seen = bad, error, []

    def log(self, numbers, step):
        if step in self.bad:
            raise self.error
        self.seen.append(step)


@pytest.mark.parametrize("background", [False, True], ids=["here", "background"])
@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), ConnectionError("away"), KeyError(1)],
)
def test_a_logger_that_fails_ends_no_training(error, background, tmp_path):
    flaky, well = Flaky({1, 2, 4}, error), Flaky(set(), error)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with eiplane.Tracker(
            lambda: W, tmp_path / "run.jsonl", loggers=[flaky, well], background=background, **FAST
        ) as tracker:
            for step in range(6):
                tracker.record(step)
    texts = [str(w.message) for w in caught if "Flaky" in str(w.message)]
    assert len(texts) == 2  # once each time that it began to fail
    assert "lacks step 1 " in texts[0] and "lacks step 4 " in texts[1]
    assert type(error).__name__ in texts[0]
    assert flaky.seen == [0, 3, 5]
    assert well.seen == list(range(6))
    assert History.read(tmp_path / "run.jsonl").steps.tolist() == list(range(6))


def test_an_interrupt_in_a_logger_is_the_users():
    flaky = Flaky({0}, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        eiplane.Tracker(lambda: W, loggers=[flaky], **FAST).record(0)


@linux
def test_a_csv_has_whole_records_when_the_disk_is_full(tmp_path):
    path = tmp_path / "log.csv"
    child = os.fork()
    if child == 0:
        try:
            tracker = eiplane.Tracker(lambda: W, loggers=[loggers.CSV(path)], **FAST)
            tracker.record(0)
            whole = path.read_bytes()
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            limit = len(whole) + len(whole) // 2
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            with pytest.warns(UserWarning, match=r"CSV failed .*log\.csv.*lacks step 1"):
                tracker.record(1)
            assert path.read_bytes() == whole
            resource.setrlimit(
                resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
            )
            tracker.record(2)
            assert path.read_bytes().startswith(whole)
            assert {row.split(b",")[0] for row in path.read_bytes().splitlines()[1:]} == {
                b"0",
                b"2",
            }
            os._exit(0)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0


def test_half_a_row_of_a_csv_goes(tmp_path):
    path = tmp_path / "log.csv"
    loggers.CSV(path).log({"eiplane/a/ei": 1.0, "eiplane/a/phi": 2.0}, 0)
    whole = path.read_bytes()
    for cut in range(len(b"step,layer,quantity,value"), len(whole)):
        path.write_bytes(whole[:cut])
        loggers.CSV(path).log({"eiplane/b/ei": 3.0}, 1)
        rows = path.read_text().splitlines()
        assert rows[0] == "step,layer,quantity,value"
        assert rows[-1] == "1,b,ei,3.0"
        assert all(row.count(",") == 3 for row in rows)


# -- the background's process

PARENT = """
import os, sys, time
import numpy as np
import eiplane
w = [np.random.default_rng(0).normal(size=(200, 200))]
tracker = eiplane.Tracker(lambda: w, background=True, measures="ei_parts", method="sample",
                          samples=2 * 10**5)
for step in range(50):
    tracker.record(step)
print(tracker._background._process.pid, flush=True)
{then}
"""


def _alive(process):
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


@linux
@pytest.mark.parametrize(
    "then", ["time.sleep(60)", "os._exit(3)", "raise ValueError('of the training')"],
    ids=["killed", "gone", "failed"],
)  # fmt: skip
def test_no_process_is_left_behind(then):
    run = subprocess.Popen(
        [sys.executable, "-c", PARENT.format(then=then)], stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    child = int(run.stdout.readline())
    if "sleep" in then:
        assert _alive(child)
        run.kill()
    run.wait(60)
    until = time.monotonic() + 60
    while _alive(child) and time.monotonic() < until:
        time.sleep(0.05)
    assert not _alive(child)


WAITING = """
import numpy as np
import eiplane
w = [np.random.default_rng(0).normal(size=(300, 300))]
tracker = eiplane.Tracker(lambda: w, background=True, measures="ei_parts", method="sample",
                          samples=10**7)
for step in range(100):
    tracker.record(step)
print(tracker._background._process.pid, flush=True)
try:
    tracker.close()
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@linux
def test_an_interrupt_ends_the_wait_for_the_background():
    run = subprocess.Popen([sys.executable, "-c", WAITING], stdout=subprocess.PIPE, text=True)
    child = int(run.stdout.readline())
    time.sleep(0.3)
    run.send_signal(signal.SIGINT)
    out, _ = run.communicate(timeout=60)  # all there is to measure takes an hour
    assert (run.returncode, out) == (0, "interrupted\n")
    assert not _alive(child)


@linux
def test_a_background_that_is_killed_is_told_and_the_training_can_go_on(tmp_path):
    path = tmp_path / "run.jsonl"
    tracker = eiplane.Tracker(lambda: W, path, background=True, **FAST)
    tracker.record(0)
    until = time.monotonic() + 60
    while not len(tracker.history) and time.monotonic() < until:
        time.sleep(0.02)
    os.kill(tracker._background._process.pid, signal.SIGKILL)
    tracker._background._process.wait(60)
    with pytest.raises(RuntimeError, match="has ended"):
        tracker.record(1)
    known = History.read(path).steps.tolist()
    assert known[0] == 0
    with eiplane.Tracker(lambda: W, path, background=True, **FAST) as again:
        for step in range(200, 203):
            again.record(step)
    assert History.read(path).steps.tolist() == [*known, 200, 201, 202]


# -- ablation


def _torch_net():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, MemoryError, SystemExit])
@pytest.mark.parametrize("structure", ["edges", "outputs"])
def test_a_model_is_whole_after_what_fails_in_evaluate(error, structure):
    net = _torch_net()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    calls = []

    def evaluate(model):
        calls.append(any(bool((p == 0).any()) for p in model.parameters()))
        if len(calls) == 3:
            raise error("here")
        return 1.0

    with pytest.raises(error, match="here"):
        eiplane.ablate(net, "weight", evaluate=evaluate, structure=structure)
    assert calls[-1]  # something was removed when it failed
    for name, value in net.state_dict().items():
        assert bool((value == before[name]).all()), name


def test_a_model_is_whole_after_an_interrupt_while_it_is_put_back():
    calls = []

    def whole():
        calls.append(1)
        if len(calls) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), Held(None, {}, {}, {}, whole).without({}, {}):
        pass
    assert len(calls) == 2


INTERRUPTED = """
import random, signal, sys, threading, time
import torch
import eiplane
torch.manual_seed(0)
net = torch.nn.Sequential(*[torch.nn.Linear(40, 40) for _ in range(4)])
before = {{k: v.clone() for k, v in net.state_dict().items()}}
rng = random.Random(0)
done = left = 0
for i in range({times}):
    timer = threading.Timer(rng.uniform(0.0, 0.03), signal.raise_signal, [signal.SIGINT])
    try:
        try:
            timer.start()
            while True:
                eiplane.ablate(net, "weight", evaluate=lambda m: 1.0)
        except KeyboardInterrupt:
            timer.join()
    except KeyboardInterrupt:
        timer.join()
    done += 1
    left += any(not torch.equal(v, before[k]) for k, v in net.state_dict().items())
    net.load_state_dict(before)
print(done, left)
"""


@linux
def test_a_model_is_whole_after_an_interrupt_at_any_place():
    pytest.importorskip("torch")
    times = int(os.environ.get("EIPLANE_INTERRUPTS", "25"))
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(INTERRUPTED).format(times=times)],
        capture_output=True, text=True, check=True, timeout=600,
    )  # fmt: skip
    assert run.stdout.split() == [str(times), "0"]
