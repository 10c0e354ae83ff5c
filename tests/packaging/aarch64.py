"""Run known answers, demo and the core's tests on aarch64, emulated, with a cross-built wheel.

``python tests/packaging/aarch64.py WHEEL FOLDER``: on a Debian machine as root, with ``qemu-user``
installed. Debian's own Python for arm64 is unpacked into FOLDER (nothing of it is installed), NumPy
and pytest for aarch64 come from the package index. The known answers are compared with this
machine's, bit for bit; the demo fails if it costs 15 seconds of a processor or more. (pip itself
takes some 35 seconds there to install NumPy and rich, which is the emulator's and theirs.)
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import subprocess
import sys
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
TESTS = ("test_core.py", "test_pairwise.py", "test_portable.py")
#: Start Python again, which the emulator does not do for them.
ELSEWHERE = "bounded_memory or numpy_finds"
#: What ``eiplane demo`` may cost, in seconds of a processor.
LIMIT = 15.0
NEEDED = ("numpy", "rich", "pytest", "hypothesis", "mpmath")


def run(*command: str | Path, env: dict[str, str] | None = None, cwd: Path | None = None) -> str:
    """Run a command and return what it printed."""
    done = subprocess.run(
        [str(c) for c in command], env=env, cwd=cwd, text=True, stdout=subprocess.PIPE, check=True
    )
    return done.stdout


def unpack_python(folder: Path) -> tuple[Path, str]:
    """Unpack Debian's Python for arm64; return the root of its files and its version."""
    run("dpkg", "--add-architecture", "arm64")
    run("apt-get", "update", "-qq")
    version = re.search(r"^Version: (\d+\.\d+)", run("apt-cache", "show", "python3:arm64"), re.M)
    assert version is not None
    root, debs = folder / "root", folder / "debs"
    debs.mkdir(parents=True, exist_ok=True)
    kinds = ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")
    depends = run(
        "apt-cache", "depends", "--recurse", *(f"--no-{k}" for k in kinds),
        f"python{version[1]}:arm64", "libstdc++6:arm64",
    )  # fmt: skip
    names = sorted({line for line in depends.splitlines() if re.match(r"[a-z0-9].*:arm64$", line)})
    for name in names:
        if not list(debs.glob(f"{name.split(':')[0]}_*")):
            run("apt-get", "download", "-qq", name, cwd=debs)
    for package in debs.glob("*.deb"):
        run("dpkg", "-x", package, root)
    return root, version[1]


def unpack_packages(wheel: Path, version: str, folder: Path) -> Path:
    """Unpack the wheel under test and what its tests need; return the folder to import from."""
    wheels, site = folder / "wheels", folder / "site"
    platforms = [f"manylinux_2_{n}_aarch64" for n in (28, 27, 17)] + ["manylinux2014_aarch64"]
    run(
        sys.executable, "-m", "pip", "download", "-q", "--only-binary", ":all:",
        *(f"--platform={p}" for p in platforms), f"--python-version={version}", "-d", wheels,
        *NEEDED,
    )  # fmt: skip
    for path in (*wheels.glob("*.whl"), wheel):
        with zipfile.ZipFile(path) as archive:
            archive.extractall(site)
    return site


def demo(emulated: tuple[str | Path, ...], env: dict[str, str], folder: Path) -> None:
    """Run the demo, and fail if it is not right or costs too much."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    shown = run(*emulated, "-m", "eiplane", "demo", "--text", env=env, cwd=folder)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cost = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(shown, f"shown for {cost:.1f} s of a processor", sep="\n")
    if "layer 3" not in shown or cost >= LIMIT:
        raise SystemExit(f"that is not the demo, or not below {LIMIT:g} s")


def main() -> None:
    """Prepare the emulated system, compare the known answers, run demo and tests."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    folder = options.folder.resolve()
    root, version = unpack_python(folder)
    site = unpack_packages(options.wheel.resolve(), version, folder)
    # What is installed is compiled: here the first run does that, and the later ones are timed.
    env = {**os.environ, "PYTHONPATH": str(site), "PYTHONPYCACHEPREFIX": str(folder / "pycache")}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    emulated = ("qemu-aarch64", "-L", root, root / "usr" / "bin" / f"python{version}")
    there = run(*emulated, HERE / "known_answers.py", env=env, cwd=folder)
    here = run(sys.executable, HERE / "known_answers.py", cwd=folder)
    if set(there.splitlines()) != set(here.splitlines()):
        raise SystemExit("known answers differ between this machine and aarch64")
    print(f"{len(set(there.splitlines()))} known answers are the same bits on aarch64")
    demo(emulated, env, folder)
    tests = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", f"not ({ELSEWHERE})", *TESTS)
    subprocess.run([*map(str, (*emulated, *tests))], env=env, cwd=HERE.parent, check=True)


if __name__ == "__main__":
    main()
