"""Compiling the core and the C programs of this folder, alone, as setup.py does."""

from __future__ import annotations

import ast
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent


def core_flags() -> list[str]:
    """Return what setup.py gives the compiler, optimisation included."""
    for node in ast.parse((ROOT / "setup.py").read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "compile_args":
            return list(ast.literal_eval(node.value))
    raise ValueError("setup.py has no compile_args")


def compiler() -> str:
    """Return the compiler's name and version."""
    run = subprocess.run(["cc", "--version"], capture_output=True, text=True, check=True)
    return run.stdout.splitlines()[0]


def build_kernels(folder: Path) -> Path:
    """Compile the core with bench/kernels.c; returns the program."""
    return build_program(folder, "kernels", ROOT / "csrc", "kernels")


def build_program(folder: Path, source: str, core: Path, name: str) -> Path:
    """Compile a C program of this folder with the core's sources in some folder.

    Parameters
    ----------
    folder : Path
        Where the program and what it is made of go.
    source : str
        The program's file in ``bench``, without its ending.
    core : Path
        ``csrc``, of this or another version.
    name : str
        What the program is called.
    """
    flags = [*core_flags(), "-DNDEBUG", "-I", str(core)]

    def compile_one(path: Path) -> str:
        out = str(folder / f"{name}-{path.stem}.o")
        subprocess.run(["cc", *flags, "-c", str(path), "-o", out], check=True)
        return out

    with ThreadPoolExecutor(2) as pool:
        objects = list(pool.map(compile_one, [*sorted(core.rglob("*.c")), HERE / f"{source}.c"]))
    program = folder / name
    subprocess.run(["cc", *objects, "-lm", "-o", str(program)], check=True)
    return program


def build_ceilings(folder: Path, flags: list[str]) -> Path:
    """Compile bench/ceilings.c for an instruction set; returns the program."""
    program = folder / "ceilings"
    source = str(HERE / "ceilings.c")
    options = ["-std=c11", "-O2", "-ffp-contract=off", *flags]
    subprocess.run(["cc", *options, source, "-o", str(program)], check=True)
    return program
