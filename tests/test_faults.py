"""Kills, full disks, read-only folders, interrupts, little memory, forks: what may go wrong around it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import resource
import signal
import subprocess
import sys
import textwrap
import time
import warnings
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

import eiplane
from eiplane.training import History

W = [np.random.default_rng(0).normal(size=(6, 5)), np.random.default_rng(1).normal(size=(4, 6))]
FAST = {"measures": ("sensitivity", "ei_parts"), "progress": False}

posix = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a POSIX system")


@pytest.fixture(scope="module")
def decomposition():
    return eiplane.analyze(W, "relu", **FAST)


@pytest.fixture(scope="module")
def history():
    tracker = eiplane.Tracker(lambda: W, activation="relu", **FAST)
    for step in range(4):
        tracker.record(step, loss=1.0 / (1 + step))
    return tracker.history


def _picture(history, path):
    eiplane.plot.save_figure(eiplane.plot.trajectory(history), path)


def _report(history, path):
    from eiplane.report import write_report

    write_report(history, path)


def _movie(history, path):
    eiplane.plot.animate(history, path, max_frames=3, dpi=30)


def _edges(path):
    moments = [eiplane.analyze([by * w for w in W], "relu", **FAST) for by in (1.0, 2.0)]
    eiplane.plot.animate_edges(moments, path, max_frames=2, seconds=0.2, dpi=30)


#: What writes a file: its name, how it is written, and how it is read as a whole.
WRITERS = {
    "save": ("d.npz", lambda d, h, p: d.save(p), lambda p: len(eiplane.load(p))),
    "json": ("d.json", lambda d, h, p: d.to_json(p), lambda p: json.loads(p.read_text())),
    "picture": (
        "p.png", lambda d, h, p: _picture(h, p),
        lambda p: __import__("matplotlib.image").image.imread(p).shape,
    ),
    "svg": (
        "p.svg", lambda d, h, p: _picture(h, p),
        lambda p: __import__("xml.dom.minidom").dom.minidom.parseString(p.read_text()),
    ),
    "report": (
        "r.html", lambda d, h, p: _report(h, p),
        lambda p: p.read_text().rstrip().endswith("</html>") or 1 / 0,
    ),
    "page": (
        "d.html", lambda d, h, p: d.to_html(p),
        lambda p: p.read_text().rstrip().endswith("</html>") or 1 / 0,
    ),
    "edges": (
        "e.gif", lambda d, h, p: _edges(p), lambda p: p.read_bytes()[-1] == 0x3B or 1 / 0
    ),
    "movie": (
        "m.gif", lambda d, h, p: _movie(h, p), lambda p: p.read_bytes()[-1] == 0x3B or 1 / 0
    ),
}  # fmt: skip

kinds = pytest.mark.parametrize("kind", WRITERS)


def _needs(kind):
    if kind in ("picture", "svg", "movie", "edges"):
        pytest.importorskip("matplotlib")


@posix
@kinds
def test_a_kill_while_a_file_is_written(kind, tmp_path, decomposition, history, monkeypatch):
    _needs(kind)
    name, write, read = WRITERS[kind]
    path = tmp_path / name
    write(decomposition, history, path)
    read(path)
    # The kill comes at the file's end: a slow disk, so that it hits the writing and no other work.
    monkeypatch.setattr(os, "fsync", lambda handle: time.sleep(0.02))
    chance = random.Random(kind)
    for _ in range(3):
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException):
                while True:
                    write(decomposition, history, path)
            os._exit(1)
        time.sleep(chance.uniform(0.02, 0.3))
        os.kill(child, signal.SIGKILL)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL
        read(path)


@kinds
def test_a_full_disk(kind, full, decomposition, history):
    _needs(kind)
    name, write, _ = WRITERS[kind]
    large = eiplane.analyze(np.random.default_rng(0).normal(size=(40, 60)), **FAST)
    with pytest.raises(OSError, match="No space left on device") as caught:
        write(large, history, full / name)
    assert caught.value.errno == errno.ENOSPC
    assert name in str(caught.value)
    assert sorted(p.name for p in full.iterdir()) == ["filler"]


@kinds
def test_a_folder_that_cannot_be_written_to(kind, read_only, decomposition, history):
    _needs(kind)
    name, write, _ = WRITERS[kind]
    with pytest.raises(OSError, match=name) as caught:
        write(decomposition, history, read_only / name)
    assert caught.value.errno in (errno.EROFS, errno.EACCES)


def test_a_run_that_cannot_be_begun(read_only):
    with pytest.raises(OSError, match=r"run\.jsonl"):
        eiplane.Tracker(lambda: W, read_only / "run.jsonl", activation="relu", **FAST)


def test_a_training_goes_on_when_the_disk_is_full(full):
    path = full / "run.jsonl"
    tracker = eiplane.Tracker(lambda: W, path, activation="relu", edges=True, **FAST)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for step in range(20):
            tracker.record(step, loss=1.0)
    texts = [str(w.message) for w in caught]
    assert len(texts) == 2  # of the records and of the matrices, once each
    assert all("No space left" in text for text in texts)
    assert "run.jsonl" in "".join(texts)
    assert tracker.history.steps.tolist() == list(range(20))
    assert tracker.edges(19)["0/ei_edges"].shape == (6, 5)
    with pytest.warns(UserWarning, match="records are not in it"):
        tracker.close()
    lines = path.read_bytes().splitlines(keepends=True)
    assert all(line.endswith(b"}\n") for line in lines)
    assert len(lines) < 21
    assert not list(full.glob("**/.*"))


def test_a_training_catches_up_when_there_is_room_again(full):
    path = full / "run.jsonl"
    with (
        eiplane.Tracker(lambda: W, path, activation="relu", **FAST) as tracker,
        pytest.warns(UserWarning, match="No space left"),
    ):
        step = 0
        while len(tracker._unwritten) < 3:
            tracker.record(step, loss=1.0)
            step += 1
        (full / "filler").unlink()
        tracker.record(step, loss=1.0)
    assert History.read(path).steps.tolist() == list(range(step + 1))


INTERRUPTED = """
import signal, sys, threading, time, warnings
import numpy as np
import eiplane
warnings.simplefilter("ignore")
rng = np.random.default_rng(0)
{setup}
def tell(done, total, what):
    pass
print("ready", flush=True)
try:
    while True:
        {work}
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""

ENGINES = {
    "exact": 'eiplane.analyze(rng.normal(size=(600, 600)), measures=("ei_parts", "sensitivity"))',
    "sampled pairs": 'eiplane.analyze(rng.normal(size=(300, 300)), method="sample",'
    ' measures="ei_parts", samples=10**7)',
    "sampled single": 'eiplane.analyze(rng.normal(size=(300, 300)), method="sample",'
    ' measures="sensitivity", samples=10**7)',
    "conditional": 'eiplane.analyze(rng.normal(size=(5, 5)), measures="ei", samples=10**9)',
    "plugin": 'eiplane.analyze(rng.normal(size=(5, 5)), measures="ei", samples=10**9,'
    ' estimator="plugin")',
    "groups": "eiplane.ei_between(rng.normal(size=(8, 8)), [[0, 1], [2, 3]], [[0, 1, 2], [3]],"
    " samples=10**9)",
    "information": "eiplane.mutual_information(rng.random(10**7), rng.random(10**7), bins=256)",
    # Units that are written in Python: seconds each, or gigabytes, where nothing cuts them up.
    "noise": 'eiplane.analyze(rng.normal(size=(400, 100)), "tanh", noise=0.3, measures="ei_parts")',
    "through time": "eiplane.through_time(lambda x, h: np.tanh(0.5 * h + x), sizes=(1, 40),"
    " samples=10**8, state_range=(-1, 1), lags=(64,))",
    "transitions": 'eiplane.tpm((m := rng.random((400, 400))) / m.sum(1)[:, None], macro="greedy")',
}


def _interrupt(code, after=0.5):
    run = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert run.stdout.readline() == "ready\n", run.stderr.read()
        time.sleep(after)
        run.send_signal(signal.SIGINT)
        start = time.monotonic()
        out, errors = run.communicate(timeout=60)
        return run.returncode, out, errors, time.monotonic() - start
    finally:
        run.kill()
        run.wait()


@posix
@pytest.mark.parametrize("engine", ENGINES)
def test_an_interrupt_reaches_every_engine(engine):
    status, out, errors, seconds = _interrupt(INTERRUPTED.format(setup="", work=ENGINES[engine]))
    assert (status, out) == (0, "interrupted\n"), errors
    assert seconds < 20  # the floor is a second; the machine may be busy


@posix
def test_an_interrupt_ends_work_in_another_thread():
    setup = textwrap.dedent("""
        def work():
            eiplane.analyze(rng.normal(size=(300, 300)), method="sample", measures="ei_parts",
                            samples=2 * 10**5)
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
    """)
    status, out, errors, _ = _interrupt(INTERRUPTED.format(setup=setup, work="thread.join(1)"))
    assert (status, out) == (0, "interrupted\n"), errors


@posix
def test_an_interrupt_during_extraction():
    pytest.importorskip("torch")
    setup = textwrap.dedent("""
        import torch
        net = torch.nn.Sequential(*[torch.nn.Linear(8, 8) for _ in range(300)])
    """)
    work = 'eiplane.analyze(net, input_size=(1, 8), measures="sensitivity", bins=2)'
    status, out, errors, _ = _interrupt(INTERRUPTED.format(setup=setup, work=work), 2.0)
    assert (status, out) == (0, "interrupted\n"), errors


LIMITED = """
import resource, sys, warnings
import numpy as np
import eiplane
warnings.simplefilter("ignore")
rng = np.random.default_rng(0)
{setup}
eiplane.analyze(rng.normal(size=(3, 3)), threads=2)
np.fft.rfft(np.ones(4)), np.linalg.lstsq(np.eye(2), np.ones(2), None)  # NumPy loads them late
with open("/proc/self/statm") as file:
    now = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + (int(sys.argv[1]) << 20),) * 2)
try:
    {work}
except MemoryError:
    print("MemoryError")
else:
    print("done")
"""

HUNGRY = {
    "many layers": 'eiplane.analyze([rng.normal(size=(200, 200)) for _ in range(20)], "relu",'
    ' measures="degeneracy", bins=4)',
    "wide": 'eiplane.analyze(rng.normal(size=(300, 200)), "tanh", measures="ei", samples=64,'
    ' estimator="wide")',
    "module": 'eiplane.analyze(net, input_size=(1, 16, 256), measures="ei_parts", bins=2)',
    "npz file": 'eiplane.analyze("w.npz", "relu", measures="ei_parts", bins=2, edges=False)',
    "torch file": 'eiplane.analyze("w.pt", "relu", measures="ei_parts", bins=2, edges=False)',
    "exact": 'eiplane.analyze(np.ones((3000, 3000), np.float32), measures="ei_parts", bins=2)',
    "sampled": 'eiplane.analyze(rng.normal(size=(900, 900)), method="sample", samples=1000,'
    " bins=32)",
    "joint": 'eiplane.analyze(rng.normal(size=(12, 12)), measures="ei", samples=10**7)',
    "plugin": 'eiplane.analyze(rng.normal(size=(12, 12)), measures="ei", samples=3 * 10**6,'
    ' estimator="plugin")',
    "information": "eiplane.mutual_information(rng.random(10**7), rng.random(10**7), bins=256)",
}


#: What is there before memory gets short: arrays so large that malloc keeps none of their memory.
FED = {
    "npz file": 'np.savez("w.npz", a=np.ones((2100, 2100)), b=np.ones((2100, 2100)))',
    "torch file": 'import torch; torch.save({"a": torch.ones(1000, 1000), "b": torch.ones(1000, 1000)}, "w.pt")',
    "module": "import torch; torch.set_num_threads(1); net = torch.nn.TransformerEncoder("
    "torch.nn.TransformerEncoderLayer(256, 4, 1024, batch_first=True), 2).eval();"
    " net(torch.zeros(1, 16, 256))",
}


NO_THREAD = "Exception ignored in thread started by"


def _run_or_hang(command, folder):
    """Return how a command ended, or None where it hangs, and what it wrote."""
    places = [folder / "out", folder / "err"]
    own = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with open(places[0], "w") as out, open(places[1], "w") as err:
        process = subprocess.Popen(command, stdout=out, stderr=err, cwd=folder, env=own)
        patience = time.monotonic() + 90
        while process.poll() is None and time.monotonic() < patience:
            if NO_THREAD in places[1].read_text():
                patience = min(patience, time.monotonic() + 3)
            time.sleep(0.05)
    code = process.poll()
    if code is None:
        process.kill()
        process.wait()
    return code, *(place.read_text() for place in places)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and RLIMIT_AS")
@pytest.mark.parametrize("what", HUNGRY)
def test_too_little_memory_is_an_error_and_no_abort(what, tmp_path):
    if what in ("torch file", "module"):
        pytest.importorskip("torch")
    work = LIMITED.format(work=HUNGRY[what], setup=FED.get(what, ""))
    said = set()
    for mebibytes in (1, 8, 64):
        code, out, err = _run_or_hang([sys.executable, "-c", work, str(mebibytes)], tmp_path)
        if code is None:
            # Thread.start() waits for ever for a thread whose own first allocation failed; the
            # interpreter says so, and nothing of ours has begun.
            assert NO_THREAD in err, err[-2000:]
            continue
        assert code == 0, (mebibytes, err[-2000:])
        said.add(out.strip())
        if said == {"MemoryError", "done"}:
            break
    assert "MemoryError" in said


def _total(seed):
    return eiplane.analyze(W, "relu", rng=seed, **FAST)[0].ei_parts


@posix
def test_a_fork_after_use_works():
    expected = _total(0)  # starts threads here
    eiplane.analyze(np.random.default_rng(0).normal(size=(200, 200)), measures="ei_parts")
    read, write = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking where there are threads
        child = os.fork()
    if child == 0:
        signal.alarm(60)
        os.write(write, repr(_total(0)).encode())
        os._exit(0)
    os.close(write)
    assert os.waitpid(child, 0)[1] == 0
    with open(read) as pipe:
        assert float(pipe.read()) == expected


def _die(_):
    os.kill(os.getpid(), signal.SIGKILL)


@posix
@pytest.mark.parametrize(
    "options",
    [
        {"measures": "ei_parts"},
        {"measures": ("ei_parts", "sensitivity"), "method": "sample", "samples": 20_000},
        {"measures": "ei", "samples": 200_000},
        {"measures": "ei", "samples": 200_000, "estimator": "plugin"},
    ],
    ids=["exact", "sampled", "conditional", "plugin"],
)
def test_a_pool_whose_worker_is_killed(options):
    weights = np.random.default_rng(5).normal(size=(4, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", eiplane.SaturationWarning)
        expected = eiplane.analyze(weights, progress=False, **options).to_json()
        with ProcessPoolExecutor(2) as pool:
            doomed = pool.submit(_die, 0)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # the executor broke down
                try:
                    found = eiplane.analyze(weights, executor=pool, progress=False, **options)
                except RuntimeError as error:  # it was broken before there was any work
                    assert "pool" in str(error) or "process" in str(error)
                    return
            assert doomed.exception(60) is not None
    assert found.to_json() == expected


@posix
def test_the_file_size_limit_is_a_full_disk_too(tmp_path, decomposition):
    path = tmp_path / "d.npz"
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        try:
            decomposition.save(path)
        except OSError as error:
            os._exit(0 if error.errno == errno.EFBIG and "d.npz" in str(error) else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert list(tmp_path.iterdir()) == []
