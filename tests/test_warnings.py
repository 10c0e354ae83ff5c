"""What goes on in a process of its own under ``-X dev -W error``: no warning is eiplane's doing."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

HEAD = """
import gc, sys, warnings
import numpy as np
import eiplane
W = [np.random.default_rng(0).normal(size=(6, 5)), np.random.default_rng(1).normal(size=(4, 6))]
problems = []
sys.unraisablehook = lambda problem: problems.append(repr(problem.exc_value))
"""

TAIL = """
gc.collect()
assert not problems, problems
print("fine")
"""

#: Files and pipes that are not closed are told of when they are collected; what is deprecated, when
#: it is used.
WORK = {
    "measures": """
        r = eiplane.analyze(W, "gelu", measures=("ei", "sensitivity", "phi"), spans="all",
                            samples=4000)
        r.to_json(), r.to_html(), str(r)
        eiplane.analyze(W[0][:2, :2], "tanh", noise=0.3, measures=("ei_parts", "bounds"))
        eiplane.tpm(np.full((4, 4), 0.25)), eiplane.macro_units(W[0][:3, :3])
        eiplane.through_time(W[0][:3, :3], activation="tanh", lags=(1,), samples=200)
    """,
    "files": """
        r = eiplane.analyze(W, "relu")
        r.save("r.npz"), eiplane.load("r.npz"), r.to_json("r.json")
        np.savez("w.npz", **{"fc.weight": W[0]}), np.save("w.npy", W[0])
        for name in ("w.npz", "w.npy"):
            eiplane.analyze(name, "relu", in_range=(0, 1))
        for name in ("none.npz", "r.json"):
            try:
                eiplane.load(name)
            except (OSError, ValueError):
                pass
    """,
    "training": """
        for background in (False, True):
            path = f"run-{background}.jsonl"
            log = eiplane.loggers.CSV(f"log-{background}.csv") if background else None
            options = {"activation": "relu", "edges": True, "background": background}
            with eiplane.Tracker(lambda: W, path, loggers=[log] * background, **options) as tracker:
                for step in range(3):
                    tracker.record(step, loss=1.0)
            eiplane.Tracker.load(path).edges(2)
        del tracker
    """,
    "a background that is killed": """
        tracker = eiplane.Tracker(lambda: W, activation="relu", background=True)
        tracker.record(0)
        tracker._background.kill()
        try:
            tracker.close()
        except RuntimeError:
            pass
        del tracker
    """,
    "pictures": """
        r = eiplane.analyze(W, "relu")
        for axes in (eiplane.plot.causal_plane(r), eiplane.plot.layers(r), eiplane.plot.network(r)):
            eiplane.plot.save_figure(axes, "p.png")
        eiplane.plot.animate_edges([r, r], "e.gif", max_frames=2, seconds=0.2, dpi=30)
        r.to_html("r.html")
    """,
}

COMMANDS = {
    "analyze": ("analyze", "w.npz", "--activation", "relu", "--in-range", "0,1", "--save", "o.npz"),
    "report": ("report", "w.npz", "o.html", "--activation", "relu", "--in-range", "0,1"),
    "demo": ("demo", "--text"),
    "info": ("info",),
}


def run(arguments, folder):
    return subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", *arguments],
        capture_output=True, text=True, check=False, timeout=300, cwd=folder,
        # matplotlib and others may warn as they are imported; what is tested comes after
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )  # fmt: skip


@pytest.mark.parametrize("what", WORK)
def test_work_without_a_warning(what, tmp_path):
    if what == "pictures":
        pytest.importorskip("matplotlib")
    work = WORK[what].replace("\n        ", "\n")
    imports = "import eiplane.loggers\n" * (what == "training")
    done = run(["-c", HEAD + imports + work + TAIL], tmp_path)
    assert (done.returncode, done.stdout) == (0, "fine\n"), done.stderr
    assert "Warning" not in done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_without_a_warning(command, tmp_path):
    np.savez(tmp_path / "w.npz", **{"fc.weight": np.eye(3)})
    done = run(["-m", "eiplane", *COMMANDS[command]], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
