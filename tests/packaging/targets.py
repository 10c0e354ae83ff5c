"""The platforms that wheels are cross-built for, and how zig compiles and links for each."""

from __future__ import annotations

import stat
import sys
from dataclasses import dataclass
from pathlib import Path

__all__ = ["TARGETS", "Target", "tools"]

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Target:
    """A platform to build for.

    Parameters
    ----------
    platform : str
        As a wheel's name gives it.
    triple : str
        As zig names it, with the version of the system or of glibc.
    """

    platform: str
    triple: str

    @property
    def system(self) -> str:
        """linux, macos or windows."""
        return self.triple.split("-")[1].split(".")[0]


#: manylinux2014; Alpine from 3.13 on; the oldest macOS of Python 3.12 and of Apple's processors.
TARGETS = {
    "x86_64-glibc": Target("manylinux2014_x86_64", "x86_64-linux-gnu.2.17"),
    "aarch64-glibc": Target("manylinux2014_aarch64", "aarch64-linux-gnu.2.17"),
    "x86_64-musl": Target("musllinux_1_2_x86_64", "x86_64-linux-musl"),
    "aarch64-musl": Target("musllinux_1_2_aarch64", "aarch64-linux-musl"),
    "x86_64-macos": Target("macosx_10_13_x86_64", "x86_64-macos.10.13"),
    "aarch64-macos": Target("macosx_11_0_arm64", "aarch64-macos.11.0"),
    "x86_64-windows": Target("win_amd64", "x86_64-windows-gnu"),
}


def script(path: Path, text: str) -> Path:
    """Write an executable shell script, and return its path."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def definitions(path: Path) -> Path:
    """Write what python3.dll exports, the stable ABI, for an import library to be made of."""
    from abi3info import DATAS, FUNCTIONS  # comes with abi3audit

    names = [symbol.name for symbol in FUNCTIONS] + [f"{symbol.name} DATA" for symbol in DATAS]
    path.write_text("\n".join(["LIBRARY python3.dll", "EXPORTS", *names]) + "\n")
    return path


def tools(target: Target, folder: Path) -> tuple[Path, Path]:
    """Write scripts that compile and link for one target, and return their paths."""
    zig = f'"{sys.executable}" -m ziglang'
    call = f"{zig} cc -target {target.triple}"
    compile_, link = f'exec {call} "$@"', f'{call} -shared -s "$@"'
    if target.triple.endswith("musl"):  # as systems with musl name their libc
        arch = target.triple.split("-")[0]
        link += (
            ' || exit\nwhile [ "$1" != -o ]; do shift; done\n'
            f'exec patchelf --replace-needed libc.so libc.musl-{arch}.so.1 "$2"'
        )
    if target.system == "macos":  # the interpreter that loads it has Python's names
        link += " -undefined dynamic_lookup -install_name @rpath/_core.abi3.so"
    if target.system == "windows":
        compile_ = f'exec {call} -include "{HERE / "pyconfig_windows.h"}" "$@"'
        names, library = definitions(folder / "python3.def"), folder / "libpython3.a"
        link = (
            f'{zig} dlltool -m i386:x86-64 -d "{names}" -l "{library}" || exit\n'
            f'exec {link} "{library}"'
        )
    return script(folder / "cc", compile_), script(folder / "ld", link)
