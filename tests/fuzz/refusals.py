"""Fuzzed calls with something wrong: refused at once, in words, by a ValueError or a TypeError.

One to three arguments get a value that is none, beside others that are fine. What the weights may be
is here too: kinds of arrays that are taken, and give what plain float64 gives.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np

import eiplane

from .calls import pick
from .campaign import Case, Wrong

#: Seconds of the processor that a refusal may take.
SECONDS = 0.5


class _Mine(np.ndarray):
    """A subclass, as astropy's or pint's."""


class _Says:
    """An object that becomes an array when it is asked."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.asarray(self.array, dtype)


_W = [[1.0, -0.5], [0.25, 2.0], [0.0, 1.5]]


def _masked(mask: Any) -> Any:
    return np.ma.masked_array(np.array(_W), mask=mask)


#: Weights that are none. (numpy.void's and dates are no numbers; a mask says that some are missing.)
WEIGHTS: dict[str, Callable[[], Any]] = {
    "complex": lambda: np.array(_W) * 1j,
    "complex64": lambda: np.array(_W, np.complex64),
    "object": lambda: np.array(_W, object),
    "object none": lambda: np.array([[None, 1.0]], object),
    "strings": lambda: np.array([["1", "2"]]),
    "bytes": lambda: np.array([[b"1", b"2"]]),
    "dates": lambda: np.zeros((2, 2), "M8[s]"),
    "spans": lambda: np.zeros((2, 2), "m8[s]"),
    "records": lambda: np.zeros((2, 2), [("a", "f8")]),
    "void": lambda: np.zeros((2, 2), "V8"),
    "no rows": lambda: np.zeros((0, 3)),
    "no columns": lambda: np.zeros((3, 0)),
    "nothing": lambda: np.zeros((0, 0)),
    "a number": lambda: np.float64(3.0),
    "a row": lambda: np.ones(3),
    "nan": lambda: np.array([[1.0, np.nan]]),
    "infinite": lambda: np.array([[np.inf, -np.inf], [np.nan, 1.0]]),
    "half infinite": lambda: np.array([[np.inf, 1.0]], np.float16),
    "bytes turned": lambda: np.array([[np.nan, 1.0]], ">f4"),
    "masked": lambda: _masked([[0, 1], [0, 0], [0, 0]]),
    "all masked": lambda: _masked(True),
    "huge": lambda: np.array(_W) * 1e200,
    "long": lambda: np.array(_W, np.longdouble) * np.longdouble(10) ** 400,
    "ragged": lambda: [[1.0, 2.0], [1.0]],
    "none": lambda: None,
    "a set": lambda: {1.0, 2.0},
    "an object": lambda: object(),
    "an empty list": list,
    "an empty mapping": dict,
    "two that do not chain": lambda: [np.ones((2, 3)), np.ones((2, 3))],
    "big bias": lambda: (np.ones((2, 2)), np.ones(3)),
    "nan bias": lambda: (np.ones((2, 2)), np.array([1.0, np.nan])),
    "complex bias": lambda: (np.ones((2, 2)), np.array([1.0, 1j])),
    "object bias": lambda: (np.ones((2, 2)), np.array([1.0, None], object)),
    "huge bias": lambda: (np.ones((2, 2)), np.array([1.0, 1e300])),
    "two-dimensional bias": lambda: (np.ones((2, 2)), np.ones((2, 1))),
}  # fmt: skip

#: Weights that are fine, by what they are as float64.
FINE: dict[str, tuple[Callable[[], Any], list[list[float]]]] = {
    "bool": (lambda: np.array([[True, False], [True, True]]), [[1.0, 0.0], [1.0, 1.0]]),
    "uint8": (lambda: np.array([[255, 0], [3, 7]], np.uint8), [[255.0, 0.0], [3.0, 7.0]]),
    "int64": (lambda: np.array([[-5, 0], [3, 7]]), [[-5.0, 0.0], [3.0, 7.0]]),
    "half": (lambda: np.array(_W, np.float16), _W),
    "long": (lambda: np.array(_W, np.longdouble), _W),
    "turned": (lambda: np.array(_W, ">f8"), _W),
    "turned half": (lambda: np.array(_W, ">f2"), _W),
    "Fortran's": (lambda: np.asfortranarray(_W), _W),
    "every other": (lambda: np.repeat(np.repeat(np.array(_W), 2, 0), 3, 1)[::2, ::3], _W),
    "backwards": (lambda: np.array(_W)[::-1, ::-1].copy()[::-1, ::-1], _W),
    "broadcast": (lambda: np.broadcast_to(np.array([1.0, 2.0]), (3, 2)), [[1.0, 2.0]] * 3),
    "a subclass": (lambda: np.array(_W).view(_Mine), _W),
    "a matrix": (lambda: np.array(_W).view(np.matrix), _W),
    "unmasked": (lambda: _masked(False), _W),
    "says so": (lambda: _Says(_W), _W),
    "tuples": (lambda: tuple(map(tuple, _W)), _W),
    "denormal": (lambda: np.array(_W) * 2.0**-1060, [[x * 2.0**-1060 for x in r] for r in _W]),
    "negative zero": (lambda: np.array([[-0.0, 1.0]]), [[0.0, 1.0]]),
}  # fmt: skip

_NAN, _INF = float("nan"), float("inf")
_HUGE = 10**400  # no float is as large

#: Values that are none, by argument; a callable makes what JSON has no word for.
OPTIONS: dict[str, tuple[Any, ...]] = {
    "bins": (1, 0, -3, 1025, 10**30, 2.5, "8", None, (2,), (2, 3, 4), (1, 8), (8, 1), (), {}, _NAN, _INF,
             True, (True, 8), (8, "8"), b"8", 1 + 1j, ((2, 3), 4)),
    "in_range": ((1, 0), (0, 0), (0, _INF), (_NAN, 1), (-_INF, _INF), (0,), (0, 1, 2), 1.0, "auto", "ab",
                 (0, "1"), (0, 1j), (0, None), ((0, 1), (0, 1)), (0.0, 5e-324), (1.0, 1.0000000000000002),
                 (1e307, 1e308), {"no layer": (0, 1)}, {"0": (1, 0)}, {"0": 3}, {"0": "auto"}, {3: (0, 1)},
                 {"0": (0, _NAN)}, {"*": (0, 1, 2)}, True, object, (0, _HUGE), {"0": (-_HUGE, 0)}),
    "out_range": ((1, 0), (0, 0), (0, _INF), (_NAN, 1), 1.0, "automatic", (0, 1, 2), (0, "1"),
                  [(0, 1), (0, 1)], (0.0, 5e-324), (1.0, 1.0000000000000002), (-1e308, 1e308),
                  {"no layer": (0, 1)}, {"0": (1, 0)}, {"0": "none"}, None, [None], object, (0, _HUGE), [(-_HUGE, 0)]),
    "outliers": ("keep", "", None, 1, True, ["clip"], b"clip"),
    "baseline": (_NAN, _INF, -_INF, 1e300, "0", None, (0.0,), 1j, object, _HUGE, Fraction(-_HUGE)),
    "method": ("guess", "", None, 1, True, ["exact"]),
    "samples": (1, 0, -5, 1.5, "100", _NAN, _INF, 10**30, True, (100,), 1j),
    "tol": (0.0, -1.0, _NAN, _INF, "0.1", True, (0.1,), 1j, _HUGE),
    "estimator": ("best", "", None, 1, ["wide"]),
    "ranges": ("given", "", None, 1, "data"),
    "quantiles": ((0.5,), (0.9, 0.1), (-0.1, 1.0), (0.0, 1.1), (_NAN, 1.0), "ab", 0.5, None, (0.5, 0.5)),
    "noise": (0.0, -1.0, _NAN, _INF, "loud", ("gaussian",), ("gaussian", 0.0), ("pink", 1.0), ("uniform", -1.0),
              ("uniform", _NAN), True, (0.1, 0.2), ("gaussian", "x"), {}, 1j, _HUGE, ("uniform", _HUGE)),
    "memory_limit": (0, -1, 1.5, "4G", _NAN, True),
    "spans": ("some", "", [(1, 0)], [(0, 5)], [("no", "yes")], [3], 7, [(0, 0, 0)]),
    "layers": ("no such", ["no such"], 5, [5], b"0", object),
    "rng": (-1, 1.5, "seed", (-1,), object, _NAN),
    "threads": (0, -1, 1.5, "2", _NAN),
    "progress": ("yes", 5, object),
    "measures": ("ei_part", "", (), ("ei", "x"), 5, None, (5,), b"ei", ["ei", None]),
    "activation": ("sine", "", "(", "leaky_relu(", "leaky_relu(nan)", "elu(-1)", "relu(3)", "hardtanh(1, 0)",
                   "softplus(0)", "leaky_relu(1e400)", 5, ["relu", "relu"], [], {}, object, b"relu", "RELU(1,2"),
    "key": ("none",),
}  # fmt: skip

#: Names that no argument has.
UNKNOWN = ("bin", "sample", "range", "n_jobs", "seed")

#: Values that are taken, for the arguments that are not wrong.
_GOOD: dict[str, tuple[Any, ...]] = {
    "bins": (2, (3, 2)), "in_range": ((-1, 1), (0, 2.0)), "out_range": ((-1, 1), "auto"),
    "outliers": ("drop",), "method": ("auto",), "baseline": (0.5, np.float32(0.5), np.float16(-2.0)), "samples": (64,),
    "measures": ("sensitivity", ("ei_parts",)), "rng": (3, None), "threads": (1, 2),
    "tol": (np.float32(0.5),),
}  # fmt: skip


def make(rng: np.random.Generator) -> Case:
    """Return a call: which arguments are wrong, and the places of their values."""
    if rng.random() < 0.05:
        return {
            "fine": pick(rng, list(FINE)),
            "activation": pick(rng, ("relu", "tanh", "identity")),
        }
    case: Case = {"wrong": {}, "good": {}}
    names = (*OPTIONS, "weights", "unknown")
    for _ in range(1 if rng.random() < 0.7 else int(rng.integers(2, 4))):
        name = pick(rng, names)
        most = len(
            WEIGHTS if name == "weights" else UNKNOWN if name == "unknown" else OPTIONS[name]
        )
        case["wrong"][name] = int(rng.integers(most))
    for name in _GOOD:
        if rng.random() < 0.3:
            case["good"][name] = int(rng.integers(len(_GOOD[name])))
    return case


def check(case: Case) -> None:
    """Raise Wrong for what must not be."""
    if "fine" in case:
        _check_fine(case)
        return
    arguments: dict[str, Any] = {n: _GOOD[n][i] for n, i in case["good"].items()}
    weights: Any = np.array(_W)
    for name, i in case["wrong"].items():
        if name == "weights":
            weights = list(WEIGHTS.values())[i]()
        elif name == "unknown":
            arguments[UNKNOWN[i]] = 1
        else:
            value = OPTIONS[name][i]
            arguments[name] = value() if value is object else value
    activation = arguments.pop("activation", "relu")
    start = time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", eiplane.AssumedRangeWarning)
            eiplane.analyze(weights, activation, **{"progress": False, **arguments})
    except (ValueError, TypeError) as error:
        if len(str(error)) < 10:
            raise Wrong("says nothing", repr(error)) from error
    except FileNotFoundError as error:
        raise Wrong("taken for a path", str(error)) from error
    else:
        raise Wrong("taken", f"{words(case)}")
    if time.process_time() - start > SECONDS:
        raise Wrong("slow refusal", f"{time.process_time() - start:.2f} s of {words(case)}")


def words(case: Case) -> str:
    named = {
        n: list(WEIGHTS)[i] if n == "weights" else (UNKNOWN if n == "unknown" else OPTIONS[n])[i]
        for n, i in case["wrong"].items()
    }
    return f"{named} with {case['good']}"


def _check_fine(case: Case) -> None:
    make_it, plain = FINE[case["fine"]]
    given = make_it()
    before = np.array(given) if isinstance(given, np.ndarray) else None
    options: dict[str, Any] = {
        "measures": ("sensitivity", "ei_parts"), "bins": 3, "threads": 1, "progress": False,
    }  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = eiplane.analyze(given, case["activation"], **options)[0]
        want = eiplane.analyze(np.array(plain), case["activation"], **options)[0]
    if before is not None and not np.array_equal(before, np.asarray(given)):
        raise Wrong("input changed", case["fine"])
    for name in ("ei_edges", "sensitivity_edges"):
        value = getattr(got, name)
        if type(value) is not np.ndarray or value.dtype != np.float64:
            raise Wrong("another kind of array", f"{case['fine']}: {type(value)}, {value.dtype}")
        if not np.array_equal(value, getattr(want, name)):
            raise Wrong("another number", f"{case['fine']}: {value} for {getattr(want, name)}")


def smaller(case: Case) -> Iterator[Case]:
    """Return calls with less in them."""
    for part in ("good", "wrong"):
        if len(case.get(part, ())) > (part == "wrong"):
            for name in case[part]:
                yield {**case, part: {n: i for n, i in case[part].items() if n != name}}
