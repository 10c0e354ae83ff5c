"""Every supported instruction set, and small helpers."""

from __future__ import annotations

import os
import subprocess
import sys

# Tests run beside each other, and threads of libraries that share cores wait more than they work:
# random modules took four times as long. To be said before any of those is imported.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np  # noqa: E402
import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402

from eiplane import _core  # noqa: E402

settings.register_profile("eiplane", deadline=None, print_blob=True, derandomize=True)
settings.load_profile("eiplane")


@pytest.fixture(params=_core.supported())
def instruction_set(request):
    """Run the test once for each instruction set of this CPU."""
    before = _core.active()
    _core.select(request.param)
    yield request.param
    _core.select(before)


@pytest.fixture(autouse=True)
def _no_figure_left():
    """Close what a test drew: pyplot keeps figures, and warns of many."""
    yield
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None:
        pyplot.close("all")


@pytest.fixture
def generator():
    return np.random.default_rng(20201218)


def pytest_addoption(parser):
    parser.addoption(
        "--fuzz-seconds", type=float, default=3.0, help="how long each fuzzer tries (20 in CI)"
    )


def _mounted(folder, *options):
    run = subprocess.run(
        ["mount", "-t", "tmpfs", *options, "tmpfs", str(folder)], capture_output=True, check=False
    )
    return run.returncode == 0


@pytest.fixture
def full(tmp_path):
    """A folder on a disk that has room for hardly more than a name."""
    folder = tmp_path / "full"
    folder.mkdir()
    if sys.platform != "linux" or os.geteuid() != 0 or not _mounted(folder, "-o", "size=16k"):
        pytest.skip("no small disk can be mounted here")
    (folder / "filler").write_bytes(b"x" * 12288)
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False)


@pytest.fixture
def read_only(tmp_path):
    """A folder that cannot be written to, by root either."""
    folder = tmp_path / "read-only"
    folder.mkdir()
    mounted = (
        sys.platform == "linux" and os.geteuid() == 0 and _mounted(folder, "-o", "ro,size=16k")
    )
    if not mounted:
        folder.chmod(0o555)
        if os.access(folder, os.W_OK):
            pytest.skip("every folder can be written to here")
    yield folder
    if mounted:
        subprocess.run(["umount", "-l", str(folder)], check=False)
    else:
        folder.chmod(0o755)
