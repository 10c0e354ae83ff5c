"""What a wheel needs of the system that its name promises to do with."""

from __future__ import annotations

import re
import struct
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

__all__ = ["audit"]

Run = Callable[..., str]

#: Of Windows itself; the C library is part of it since Windows 10.
WINDOWS = re.compile(r"(api-ms-win-crt-.*|kernel32|ntdll)\.dll", re.IGNORECASE)


def extension(wheel: Path) -> bytes:
    """Return the compiled core."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith((".so", ".pyd")))
        return archive.read(name)


def commands(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Return the load commands of a 64-bit Mach-O file: kind, and bytes."""
    magic, number = struct.unpack_from("<I12xI", data)
    if magic != 0xFEEDFACF:
        raise SystemExit("the core is no Mach-O file of 64 bits")
    at = 32
    for _ in range(number):
        kind, size = struct.unpack_from("<II", data, at)
        yield kind, data[at : at + size]
        at += size


def macos(data: bytes) -> tuple[str, set[str], set[str]]:
    """Return the oldest system it is for, the libraries, and the names found when it is loaded."""
    oldest, libraries, looked_up = "", set(), set()
    for kind, command in commands(data):
        if kind in (0x24, 0x32):  # LC_VERSION_MIN_MACOSX, LC_BUILD_VERSION
            version = struct.unpack_from("<I", command, 8 if kind == 0x24 else 12)[0]
            oldest = f"{version >> 16}_{version >> 8 & 255}"
        if kind == 0x0C:  # LC_LOAD_DYLIB
            libraries.add(command[24:].split(b"\0")[0].decode())
        if kind == 0x02:  # LC_SYMTAB
            symbols, count, strings = struct.unpack_from("<III", command, 8)
            for i in range(count):
                name, flags, _, about = struct.unpack_from("<IBBH", data, symbols + 16 * i)
                if flags & 0x0E == 0 and about >> 8 in (0, 0xFE):  # undefined, of no library
                    start = strings + name
                    looked_up.add(data[start : data.index(b"\0", start)].decode())
    return oldest, libraries, looked_up


def windows(data: bytes) -> set[str]:
    """Return the libraries that it loads."""
    import pefile  # comes with abi3audit

    return {entry.dll.decode() for entry in pefile.PE(data=data).DIRECTORY_ENTRY_IMPORT}


def problems(wheel: Path, platform: str, run: Run) -> str:
    """Return what the wheel needs and its name does not say; empty if nothing."""
    if platform.startswith("win"):
        others = {n for n in windows(extension(wheel)) if not WINDOWS.fullmatch(n)}
        return "" if others == {"python3.dll"} else f"it loads {others}"
    if platform.startswith("macosx"):
        oldest, libraries, looked_up = macos(extension(wheel))
        strange = {n for n in looked_up if not re.match(r"__?Py", n)}
        strange |= libraries - {"/usr/lib/libSystem.B.dylib"}
        if not platform.startswith(f"macosx_{oldest}_") or strange or not looked_up:
            return f"it is for macOS from {oldest}, and needs {strange}"
        return ""
    family = re.split("[0-9_]", platform)[0]
    with tempfile.TemporaryDirectory() as nowhere:  # this machine's libraries are not the target's
        shown = " ".join(run("auditwheel", "show", "--ldpaths", nowhere, wheel).split())
    return "" if f'platform tag: "{family}' in shown else shown


def audit(wheel: Path, run: Run) -> None:
    """Check the wheel's name against what it needs of a system, its ABI and its contents."""
    if found := problems(wheel, wheel.stem.rsplit("-", 1)[1], run):
        raise SystemExit(f"{wheel.name} is not what its name says: {found}")
    if "-abi3-" in wheel.name:
        print(run("abi3audit", "--strict", wheel).strip())
    run("check-wheel-contents", wheel)
