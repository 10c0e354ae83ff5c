"""Every supported instruction set, and small helpers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import settings

from eiplane import _core

settings.register_profile("eiplane", deadline=None, print_blob=True, derandomize=True)
settings.load_profile("eiplane")


@pytest.fixture(params=_core.supported())
def instruction_set(request):
    """Run the test once for each instruction set of this CPU."""
    before = _core.active()
    _core.select(request.param)
    yield request.param
    _core.select(before)


@pytest.fixture
def generator():
    return np.random.default_rng(20201218)


def pytest_addoption(parser):
    parser.addoption(
        "--fuzz-seconds", type=float, default=3.0, help="how long each fuzzer tries (20 in CI)"
    )
