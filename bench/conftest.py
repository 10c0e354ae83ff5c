"""Fixtures of the benchmarks."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import numpy as np
import pytest

from eiplane import _core


@pytest.fixture
def generator():
    return np.random.default_rng(1)


@pytest.fixture(params=_core.supported())
def instruction_set(request):
    before = _core.active()
    _core.select(request.param)
    yield request.param
    _core.select(before)


@pytest.fixture(scope="session")
def plain_scatter(tmp_path_factory):
    """A plain C scatter loop of the same shape, compiled here with the same flags."""
    source = Path(__file__).with_name("scatter.c")
    library = tmp_path_factory.mktemp("scatter") / "scatter.so"
    flags = ["-std=c11", "-O3", "-fPIC", "-shared"]
    subprocess.run(["cc", *flags, str(source), "-o", str(library)], check=True)
    function = ctypes.CDLL(str(library)).plain_scatter
    function.restype = None

    def count(x, y, bins):
        n_in, n = x.shape
        n_out = len(y)
        tables = np.zeros((n_out, n_in, bins, bins), np.uint32)
        pointers = [ctypes.c_void_p(a.ctypes.data) for a in (x, y, tables)]
        size = ctypes.c_size_t
        function(
            pointers[0], pointers[1], size(n), size(n_in), size(n_out),
            ctypes.c_uint32(bins), pointers[2],
        )  # fmt: skip
        return tables

    return count
