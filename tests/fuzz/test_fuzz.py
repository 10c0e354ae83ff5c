"""The fuzzers for a few seconds (``--fuzz-seconds``), and every input that ever failed."""

from __future__ import annotations

import importlib
import sys

import pytest

from . import campaign

SEED = 20201218

FUZZERS = ("calls", "functions", "refusals", "readers", "runs", "commands")


def _fuzzer(name):
    if name in ("calls", "functions", "refusals"):
        pytest.importorskip("mpmath")
    if name == "runs":
        pytest.importorskip("pandas")
    return importlib.import_module(f".{name}", __package__)


@pytest.mark.skipif(sys.platform != "linux", reason="bounds time and memory as Linux does")
@pytest.mark.parametrize("name", FUZZERS)
def test_nothing_is_found(name, request):
    seconds = request.config.getoption("--fuzz-seconds")
    cases, found = campaign.run(_fuzzer(name), SEED, seconds)
    assert cases > 0
    assert not found, "\n".join(f"{f.seed}/{f.index}: {f.text}\n  {f.case}" for f in found)


@pytest.mark.skipif(sys.platform != "linux", reason="bounds time and memory as Linux does")
@pytest.mark.parametrize("name", FUZZERS)
def test_what_ever_failed_is_mended(name):
    fuzzer = _fuzzer(name)
    for case in campaign.kept(name):
        why = case.pop("why", "")
        wrong = campaign.problem(fuzzer, case)
        assert wrong is None, f"{wrong}\n  (then: {why})\n  {case}"


def test_a_failure_is_found_and_shrunk():
    class Fuzzer:
        """Fails for lists that hold a 7 and, otherwise, for those that hold a 9."""

        @staticmethod
        def make(rng):
            return {"list": rng.integers(0, 10, 20).tolist()}

        @staticmethod
        def check(case):
            if 7 in case["list"]:
                raise campaign.Wrong("seven", str(case))
            if 9 in case["list"]:
                raise OSError("nine")

        @staticmethod
        def smaller(case):
            for i in range(len(case["list"])):
                yield {"list": case["list"][:i] + case["list"][i + 1 :]}

    cases, found = campaign.run(Fuzzer, 0, 30.0, most=200)
    assert cases == 200
    assert {f.case["list"][0] for f in found} == {7, 9}
    assert all(len(f.case["list"]) == 1 for f in found)
    again = Fuzzer.make(campaign.generator(0, found[0].index))
    assert found[0].case["list"][0] in again["list"]


def test_the_reference_knows_what_is_known():
    from .exact import Output

    # y = x: all of the input's bins get through; y = (x1 + x2) / 2: twice the exact engine's figure.
    same = Output([1.0], 0.0, "identity", (8, 8), (0.0, 1.0), (0.0, 1.0), False)
    assert same.edge(0) == same.whole() == pytest.approx(3.0, abs=1e-12)
    # Two bins each: x1 tells of x1 + x2 >= 1 with a probability of 3/4.
    half = Output([0.5, 0.5], 0.0, "identity", (2, 2), (0.0, 1.0), (0.0, 1.0), False)
    assert half.edge(0) == pytest.approx(1.0 - 0.8112781244591328, abs=1e-12)
    assert half.sensitivity(0, 0.0) == 0.0  # x1 alone never reaches 1
