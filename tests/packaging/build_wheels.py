"""Build and audit what is published: the sdist, and a wheel for every platform.

``python tests/packaging/build_wheels.py OUT`` builds all; ``--only native`` the sdist and this
machine's wheel. The other platforms' C is compiled by zig (``pip install ziglang``), which brings
every libc it needs. Needs ``pip install build auditwheel abi3audit twine check-wheel-contents
ziglang setuptools cython wheel``, and ``patchelf``. Python's headers are those of the running
interpreter: under the limited API all 64-bit Linux systems share them. macOS and Windows need
headers and an import library of their own, which the runners named in ``[tool.cibuildwheel]`` of
pyproject.toml have.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Target:
    """A platform to build for.

    Parameters
    ----------
    platform : str
        As a wheel's name gives it.
    triple : str
        As zig names it; a glibc's version behind the last dot.
    """

    platform: str
    triple: str


#: manylinux2014, and Alpine from 3.13 on.
TARGETS = {
    "x86_64-glibc": Target("manylinux2014_x86_64", "x86_64-linux-gnu.2.17"),
    "aarch64-glibc": Target("manylinux2014_aarch64", "aarch64-linux-gnu.2.17"),
    "x86_64-musl": Target("musllinux_1_2_x86_64", "x86_64-linux-musl"),
    "aarch64-musl": Target("musllinux_1_2_aarch64", "aarch64-linux-musl"),
}


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


def script(path: Path, text: str) -> Path:
    """Write an executable shell script, and return its path."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def tools(target: Target, folder: Path) -> tuple[Path, Path]:
    """Write scripts that compile and link for one target, and return their paths."""
    call = f'"{sys.executable}" -m ziglang cc -target {target.triple} "$@"'
    link = f"{call} -shared -s"
    if target.triple.endswith("musl"):  # as systems with musl name their libc
        arch = target.triple.split("-")[0]
        link += (
            ' || exit\nwhile [ "$1" != -o ]; do shift; done\n'
            f'exec patchelf --replace-needed libc.so libc.musl-{arch}.so.1 "$2"'
        )
    return script(folder / "cc", f"exec {call}"), script(folder / "ld", link)


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
        return Path(shutil.copy(wheel, out))


def audit(wheel: Path) -> None:
    """Check the wheel's name against what it needs of a system, its ABI and its contents."""
    family = re.split("[0-9_]", wheel.stem.rsplit("-", 1)[1])[0]
    with tempfile.TemporaryDirectory() as nowhere:  # this machine's libraries are not the target's
        shown = " ".join(run("auditwheel", "show", "--ldpaths", nowhere, wheel).split())
    if f'platform tag: "{family}' not in shown:
        raise SystemExit(f"{wheel.name} is not what its name says:\n{shown}")
    if "-abi3-" in wheel.name:
        print(run("abi3audit", "--strict", wheel).strip())
    run("check-wheel-contents", wheel)


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
        audit(wheel)
    run("twine", "check", "--strict", *wheels, sdist)
    for path in (*wheels, sdist):
        print(f"{path.stat().st_size / 1e6:6.2f} MB  {path.name}")
    print(f"{len(wheels)} wheels and the sdist pass every check")


if __name__ == "__main__":
    main()
