"""Full disks, read-only folders and kills: newer results, logs, films, commands."""

from __future__ import annotations

import errno
import os
import signal
import stat
import sys

import numpy as np
import pytest

import eiplane
from eiplane import loggers
from eiplane.cli.main import main
from eiplane.files import left_over, whole, write_whole
from eiplane.report import write_report
from eiplane.reproduce.claims.claim import Effect, conclude
from eiplane.reproduce.claims.grid import CLAIM
from eiplane.reproduce.writing import claim

rng = np.random.default_rng(0)
W = [rng.normal(size=(6, 5)), rng.normal(size=(4, 6))]
FAST = {"measures": ("sensitivity", "ei_parts"), "progress": False}

posix = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a POSIX system")


@pytest.fixture(scope="module")
def found():
    """A result of every kind that can be written or drawn."""
    weights = rng.normal(size=(3, 3))
    first, second = (eiplane.analyze([by * w for w in W], "relu", **FAST) for by in (1.0, 2.0))
    return {
        "time": eiplane.through_time(weights, activation="tanh", lags=(1, 2), samples=500),
        "states": eiplane.tpm(np.full((64, 64), 1 / 64), macro=None),
        "curve": eiplane.ablate(W, "weight", evaluate=lambda w: float(abs(w[0]).sum())),
        "first": first,
        "second": second,
    }


def _drawn(axes, path):
    eiplane.plot.save_figure(axes, path)


def _movie(found, path):
    eiplane.plot.animate_edges(
        [found["first"], found["second"]], path, max_frames=2, seconds=0.2, dpi=30
    )


def _effects():
    return [Effect("a case", (1.0, 2.0, 3.0)), Effect("another", (0.5, 0.25, 0.125))]


#: What writes a file, and its name.
WRITERS = {
    "through time": ("t.npz", lambda f, p: f["time"].save(p)),
    "through time as JSON": ("t.json", lambda f, p: f["time"].to_json(p)),
    "transitions": ("s.json", lambda f, p: f["states"].to_json(p)),
    "two in a report": (
        "r.html", lambda f, p: write_report({k: f[k] for k in ("first", "second")}, p)
    ),
    "through time in a report": ("r.html", lambda f, p: write_report(f["time"], p)),
    "ablation": ("a.png", lambda f, p: _drawn(eiplane.plot.ablation(f["curve"]), p)),
    "lags": ("l.svg", lambda f, p: _drawn(eiplane.plot.lags(f["time"]), p)),
    "changes": ("c.pdf", lambda f, p: _drawn(eiplane.plot.changes(f["first"], f["second"]), p)),
    "states": ("m.png", lambda f, p: _drawn(eiplane.plot.transitions(f["states"]), p)),
    "a log": (
        "l.csv", lambda f, p: loggers.CSV(p).log({f"eiplane/{i}/ei": 1.0 for i in range(900)}, 0)
    ),
}  # fmt: skip

kinds = pytest.mark.parametrize("kind", WRITERS)


def _needs(kind):
    if WRITERS[kind][0].endswith(("png", "svg", "pdf", "gif")):
        pytest.importorskip("matplotlib")


@kinds
def test_a_full_disk(kind, full, found):
    _needs(kind)
    name, write = WRITERS[kind]
    with (full / "filler").open("ab") as file:
        file.write(b"x" * 4096)
    with pytest.raises(OSError, match="No space left on device") as caught:
        write(found, full / name)
    assert caught.value.errno == errno.ENOSPC
    assert name in str(caught.value)
    rest = [p for p in full.iterdir() if p.name != "filler"]
    assert all(p.name == "l.csv" and p.stat().st_size == 0 for p in rest)  # appended to, or nothing


@kinds
def test_a_folder_that_cannot_be_written_to(kind, read_only, found):
    _needs(kind)
    name, write = WRITERS[kind]
    with pytest.raises(OSError, match=name.replace(".", r"\.")) as caught:
        write(found, read_only / name)
    assert caught.value.errno in (errno.EROFS, errno.EACCES)


@pytest.fixture
def place(request):
    return request.getfixturevalue(request.param)


places = pytest.mark.parametrize("place", ["full", "read_only"], indirect=True)


@pytest.fixture
def inputs(tmp_path, found):
    """Files that commands read."""
    found["first"].save(tmp_path / "first.npz")
    np.savez(tmp_path / "w.npz", **{"fc.weight": rng.normal(size=(40, 60))})
    np.save(tmp_path / "p.npy", np.eye(3))
    with eiplane.Tracker(lambda: W, tmp_path / "run.jsonl", activation="relu", **FAST) as tracker:
        for step in range(3):
            tracker.record(step, loss=1.0)
    return tmp_path


ANALYZE = ("analyze", "w.npz", "--activation", "relu", "--in-range", "0,1", "--measures")

COMMANDS = {
    "save": (*ANALYZE, "ei_parts", "--save", "/o.npz"),
    "picture": (*ANALYZE, "degeneracy", "--plot", "/o.png"),
    "report": ("report", "first.npz", "/o.html"),
    "report of two": ("report", "first.npz", "run.jsonl", "/o.html"),
    "plot": ("plot", "run.jsonl", "/o.svg"),
    "film": ("plot", "run.jsonl", "/o.gif"),
    "states": ("tpm", "p.npy", "--plot", "/o.png"),
    "demo": ("demo", "--out", "/o.png"),
    "experiment": ("reproduce", "toy", "--quick", "--out", "/o"),
}  # fmt: skip


@places
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_says_so_in_a_line(command, place, inputs, capfd, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(inputs)
    before = sorted(p.name for p in place.iterdir())
    if before:  # no room at all
        with (place / "filler").open("ab") as file:
            file.write(b"x" * 4096)
    arguments = [str(place / a[1:]) if a.startswith("/") else a for a in COMMANDS[command]]
    assert main(arguments) == 1
    said = capfd.readouterr().err.splitlines()
    assert said[-1].startswith("eiplane: ")
    assert "Traceback" not in "".join(said)
    assert str(place / "o") in said[-1] or "experiment.json" in said[-1]
    assert any(w in said[-1].lower() for w in ("no space left", "read-only", "cannot be written"))
    left = {p.name for p in place.rglob("*") if p.is_file()}
    assert left == set(before), "half of a file is left"


def test_an_experiment_goes_on_where_the_disk_was_full(full, tmp_path):
    folder = full / "o"
    (full / "filler").write_bytes(b"x" * 14000)
    with pytest.raises(OSError, match="No space left"):
        conclude(folder_of(folder), CLAIM, _effects(), ["x" * 9000], True)
    (full / "filler").unlink()
    claim(folder, "pace", True)
    conclude(folder, CLAIM, _effects(), ["x"], True)
    assert {p.name for p in folder.iterdir()} == {"experiment.json", "summary.md", "verdict.json"}


def folder_of(folder):
    claim(folder, "pace", True)
    return folder


# -- what a kill leaves behind

SIZE = 5 << 20


def _killed(path):
    """Write a file in a process that is killed while it does."""
    child = os.fork()
    if child == 0:

        def slowly(file):
            file.write(b"x" * SIZE)
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)

        write_whole(path, slowly)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL


@posix
def test_what_a_kill_leaves_is_taken_away_by_the_next_writer(tmp_path, monkeypatch):
    path = tmp_path / "d.npz"
    _killed(path)
    (left,) = tmp_path.iterdir()
    assert left_over(left.name)
    assert left.stat().st_size == SIZE
    users = tmp_path / ".d.npz.original"  # a name like it, and not ours
    for old in (left, users):
        old.write_bytes(b"x")
        os.utime(old, (1, 1))
    monkeypatch.setattr(whole, "_swept", set())  # as in another process
    write_whole(tmp_path / "other.npz", lambda file: file.write(b"y"))
    assert sorted(p.name for p in tmp_path.iterdir()) == [".d.npz.original", "other.npz"]


@posix
def test_what_is_being_written_is_left_alone(tmp_path, monkeypatch):
    path = tmp_path / "d.npz"
    seen = []

    def meanwhile(file):
        (held,) = (p for p in tmp_path.iterdir() if left_over(p.name))
        os.utime(held, (1, 1))  # on a slow disk
        monkeypatch.setattr(whole, "_swept", set())
        write_whole(tmp_path / "other", lambda other: other.write(b"y"))
        seen.append(held.exists())
        file.write(b"x")

    write_whole(path, meanwhile)
    assert seen == [True]
    assert path.read_bytes() == b"x"


@posix
def test_what_was_just_left_may_be_on_another_machine(tmp_path, monkeypatch):
    _killed(tmp_path / "d.npz")
    monkeypatch.setattr(whole, "_swept", set())
    write_whole(tmp_path / "d.npz", lambda file: file.write(b"y"))
    assert sum(left_over(p.name) for p in tmp_path.iterdir()) == 1
    claim(tmp_path / "new", "pace", True)  # nor is a folder another's for it
    (left,) = (p for p in tmp_path.iterdir() if left_over(p.name))
    left.rename(tmp_path / "new" / left.name)
    (tmp_path / "new" / "experiment.json").unlink()
    claim(tmp_path / "new", "pace", True)


@posix
def test_a_disk_that_does_not_count_names(tmp_path, monkeypatch):
    fstat, looks = os.fstat, []

    def counted(handle):
        looks.append(handle)
        assert len(looks) < 100
        fields = list(fstat(handle))
        fields[stat.ST_NLINK] = 0
        return os.stat_result(fields)

    monkeypatch.setattr(os, "fstat", counted)
    write_whole(tmp_path / "a", lambda file: file.write(b"x"))
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


@posix
def test_what_is_swept_before_it_is_held_is_made_anew(tmp_path, monkeypatch):
    held, names = whole._held, []

    def late(handle):
        if not names:
            names.extend(tmp_path.iterdir())
            names[0].unlink()
        return held(handle)

    monkeypatch.setattr(whole, "_held", late)
    write_whole(tmp_path / "a", lambda file: file.write(b"x"))
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert names[0].name != "a"


@posix
def test_a_folder_that_is_gone(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(FileNotFoundError) as caught:
        write_whole("a.npz", lambda file: file.write(b"x"))
    assert caught.value.filename == "a.npz"


@posix
@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_files_are_as_the_umask_says(mask, tmp_path):
    before = os.umask(mask)
    try:
        write_whole(tmp_path / "a", lambda file: file.write(b"x"))
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o666 & ~mask


@posix
@pytest.mark.parametrize("name", ["x" * 255, "é" * 127, "." * 30 + "x"])
def test_long_names(name, tmp_path):
    write_whole(tmp_path / name, lambda file: file.write(b"x"))
    assert [p.name for p in tmp_path.iterdir()] == [name]


# -- films of ffmpeg

FFMPEG = """#!{python}
import sys
open(sys.argv[-1], "wb").write(b"film" * 1000)
sys.stdin.buffer.read()
"""


@pytest.fixture
def ffmpeg(tmp_path, monkeypatch):
    """A program of that name that writes a file of its own."""
    matplotlib = pytest.importorskip("matplotlib")
    program = tmp_path / "bin" / "ffmpeg"
    program.parent.mkdir()
    program.write_text(FFMPEG.format(python=sys.executable))
    program.chmod(0o755)
    with matplotlib.rc_context({"animation.ffmpeg_path": str(program)}):
        yield


@posix
def test_a_film_is_whole_or_not_there(ffmpeg, tmp_path, found):
    _movie(found, tmp_path / "m.mp4")
    assert (tmp_path / "m.mp4").read_bytes() == b"film" * 1000
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bin", "m.mp4"]


@posix
@places
def test_a_film_that_cannot_be_kept(ffmpeg, place, found):
    before = sorted(p.name for p in place.iterdir())
    if before:
        (place / "filler").write_bytes(b"x" * 16384)
    with pytest.raises(OSError, match=r"(No space left|Read-only|denied).*m\.mp4"):
        _movie(found, place / "m.mp4")
    assert sorted(p.name for p in place.iterdir()) == before
