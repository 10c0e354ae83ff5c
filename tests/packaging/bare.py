"""Install a wheel where there is next to nothing, and run it.

``python tests/packaging/bare.py WHEEL``: a new virtual environment with what the wheel requires;
then no compiler, home, place to write, UTF-8 locale, variables. As another user where that can be.
Prints how long it took, and fails if it cost 15 seconds of a processor or more.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

LIMIT = 15.0
#: What is in the output of ``eiplane demo``, and no other way of writing it.
SHOWN = ("layer 3", "EI_parts", "sigmoid")
PROGRAM = """
import numpy as np, eiplane
d = eiplane.analyze([np.eye(3)], "sigmoid", samples=1 << 12, rng=1)
print(d)
print(d[0].ei)
"""


def other_user(python: Path) -> dict[str, Any]:
    """Return how to run as somebody without rights, if that can be and python can be reached."""
    if os.getuid() != 0:
        return {}
    user: dict[str, Any] = {"user": 65534, "group": 65534, "extra_groups": []}
    try:
        found = subprocess.run([python, "-c", ""], check=False, capture_output=True, **user)
    except OSError:
        return {}
    return {} if found.returncode else user


def main() -> None:
    """Make the environment, install, run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        place.chmod(0o755)
        subprocess.run([sys.executable, "-m", "venv", place / "venv"], check=True)
        programs = place / "venv" / "bin"
        began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [programs / "pip", "install", "-q", "--only-binary", ":all:", options.wheel.resolve()],
            check=True,
        )
        bare: dict[str, Any] = {
            "env": {
                "PATH": "/nowhere", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0",
                "TMPDIR": "/proc", "HOME": "/nowhere",
            },
            "cwd": "/proc",  # where not even root may write
            "stdin": subprocess.DEVNULL,
        } | other_user(programs / "python")  # fmt: skip
        commands: tuple[list[str | Path], ...] = (
            [programs / "eiplane", "demo"],
            [programs / "python", "-m", "eiplane", "info"],
            [programs / "python", "-I", "-c", PROGRAM],
        )
        for command in commands:
            done = subprocess.run(
                command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, **bare
            )
            text = done.stdout.decode("utf-8", "replace")
            if done.returncode or (command[-1] == "demo" and not all(s in text for s in SHOWN)):
                raise SystemExit(f"{command} failed with status {done.returncode}:\n{text}")
            if command[-1] == "demo":
                print(text)
                after = resource.getrusage(resource.RUSAGE_CHILDREN)
                cost = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
                wall = time.perf_counter() - began
        print(f"installed and shown in {wall:.1f} s, {cost:.1f} s of a processor", end="")
        print(", as another user" if "user" in bare else "")
        if cost >= LIMIT:
            raise SystemExit(f"that is {LIMIT:g} s or more")


if __name__ == "__main__":
    main()
