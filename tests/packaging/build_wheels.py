"""Build and audit what is published: the sdist, and a wheel for every platform.

``python tests/packaging/build_wheels.py OUT`` builds all; ``--only native`` the sdist and this
machine's wheel. Needs the group ``packaging`` of pyproject.toml, and for the other platforms ``pip
install --upgrade ziglang setuptools cython`` (an environment's own setuptools may be too old): zig
is a C compiler for all of them, with every libc. Python's headers are those of the running
interpreter, which all 64-bit systems share under the limited API; Windows has
``pyconfig_windows.h`` and an import library made of the stable ABI's names. The wheels for macOS
and Windows are audited but cannot be run here. Wheels for free-threaded Python, which has no
limited API, are left to the runners named in ``[tool.cibuildwheel]`` of pyproject.toml.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from audits import audit
from targets import TARGETS, Target, tools

SOURCE = Path(__file__).resolve().parents[2]


def run(*command: str | Path, env: dict[str, str] | None = None, cwd: Path | None = None) -> str:
    """Run a command; say what it printed if it fails."""
    print("+", *command, flush=True)
    done = subprocess.run(
        [str(c) for c in command], env={**os.environ, **(env or {})}, cwd=cwd, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{done.stdout}\n{command[0]} failed with status {done.returncode}")
    return done.stdout


def cross(target: Target, sdist: Path, out: Path) -> Path:
    """Build the wheel of one target from the sdist, and return its path."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        shutil.unpack_archive(sdist, folder, filter="data")
        (root,) = (p for p in folder.iterdir() if p.is_dir())
        cc, ld = tools(target, folder)
        run(
            sys.executable, "setup.py", "-q", "bdist_wheel", "--plat-name", target.platform,
            "--dist-dir", folder / "dist",
            cwd=root,
            env={
                "CC": str(cc),
                "LDSHARED": str(ld),
                # What this interpreter was itself compiled with is for its own machine.
                "CFLAGS": "", "OPT": "-DNDEBUG", "ARCHFLAGS": "",
            },
        )  # fmt: skip
        (wheel,) = (folder / "dist").glob("*.whl")
        if target.system == "windows":
            wheel = as_windows_names_it(wheel, folder)
        return Path(shutil.copy(wheel, out))


def as_windows_names_it(wheel: Path, folder: Path) -> Path:
    """Give the core its name on Windows: setuptools knows only that of the running system."""
    run("wheel", "unpack", "-d", folder / "unpacked", wheel)
    (core,) = (folder / "unpacked").rglob("_core.abi3.so")
    core.rename(core.with_name("_core.pyd"))
    (folder / "packed").mkdir()
    run("wheel", "pack", "-d", folder / "packed", core.parents[1])
    (packed,) = (folder / "packed").glob("*.whl")
    return packed


def main() -> None:
    """Build what was asked for, and audit it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder for what is built")
    parser.add_argument("--only", choices=("native", *TARGETS), action="append", help="repeatable")
    options = parser.parse_args()
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    wanted = options.only or [*TARGETS]
    run(sys.executable, "-m", "build", "--sdist", "--outdir", out, SOURCE)
    (sdist,) = out.glob("eiplane-*.tar.gz")
    if (SOURCE / ".git").exists():  # everything that is kept is in it
        run("check-manifest", SOURCE)
    if "native" in wanted:
        with tempfile.TemporaryDirectory() as temporary:
            built = Path(temporary)
            run(sys.executable, "-m", "build", "--wheel", "--outdir", built, sdist)
            (wheel,) = built.glob("*.whl")
            run("auditwheel", "repair", "--strip", "-w", out, wheel)
    for name in wanted:
        if name != "native":
            cross(TARGETS[name], sdist, out)
    wheels = sorted(out.glob("eiplane-*.whl"))
    for wheel in wheels:
        audit(wheel, run)
    run("twine", "check", "--strict", *wheels, sdist)
    for path in (*wheels, sdist):
        print(f"{path.stat().st_size / 1e6:6.2f} MB  {path.name}")
    print(f"{len(wheels)} wheels and the sdist pass every check")


if __name__ == "__main__":
    main()
