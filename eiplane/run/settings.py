"""The options of an analysis, checked once."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, fields
from numbers import Real
from typing import Any, Literal

import numpy as np

from .. import _core
from ..files import meant
from ..network import LEAST, MAX_BINS, MOST, Binning, Noise, as_float, checked_noise, resolved
from ..results import MEASURES, plain
from .ranges import by_name, check_names

__all__ = [
    "CHOICES",
    "Range",
    "Settings",
    "check_environment",
    "checked_bins",
    "checked_range",
    "checked_samples",
    "checked_threads",
    "checked_tol",
]

Range = tuple[float, float]

#: What options may be that are one word of several; here, on the command line, in its completion.
CHOICES: dict[str, tuple[str, ...]] = {
    "outliers": ("clip", "drop"),
    "method": ("auto", "exact", "sample"),
    "estimator": ("auto", "conditional", "wide", "plugin"),
    "ranges": ("auto", "data"),
}


@dataclass(frozen=True)
class Settings:
    """Options of :func:`eiplane.analyze`, which says what each is; checked as they are taken.

    Parameters
    ----------
    measures : frozenset of str
        The engines that have to run, of ``"sensitivity"``, ``"ei_parts"``, ``"ei"``, ``"bounds"``.
        Given as the names of what is to be computed.
    bins : tuple of int
        Of inputs and of outputs. Given as a number, or a pair.
    in_range : tuple of float or None
        Of the network's input; None where the user left it out. Given as a pair, or in a mapping of
        layers' names or globs to pairs under None.
    out_range : str, tuple or list
        ``"auto"``, a range, or one of those a layer; likewise.
    outliers : str
        ``"clip"`` or ``"drop"``.
    baseline : float
    method : str
        ``"auto"``, ``"exact"`` or ``"sample"``.
    samples : int or None
    tol : float or None
    estimator : str
        ``"conditional"`` or ``"plugin"``.
    ranges : str
        ``"auto"`` or ``"data"``.
    quantiles : tuple of float
        Of the data, where a range begins and ends.
    noise : Noise or None
        Given as :func:`.checked_noise` takes it.
    in_ranges, out_ranges : dict of str to range
        Those that were given by layers' names or globs.

    Raises
    ------
    TypeError, ValueError
        For an option that is none; the message says what would be right. Also where the
        environment asks for an instruction set that this CPU has not.
    """

    measures: frozenset[str]
    bins: tuple[int, int]
    in_range: Range | None
    out_range: Literal["auto"] | Range | list[Literal["auto"] | Range]
    outliers: str
    baseline: float
    method: str
    samples: int | None
    tol: float | None
    estimator: str
    ranges: str
    quantiles: tuple[float, float]
    noise: Noise | None
    in_ranges: Mapping[str, Range]
    out_ranges: Mapping[str, Literal["auto"] | Range]

    def __init__(
        self,
        measures: str | Iterable[str],
        *,
        bins: int | tuple[int, int] = 8,
        in_range: Sequence[float] | Mapping[Any, Any] | None = None,
        out_range: Any = "auto",
        outliers: str = "clip",
        baseline: float = 0.0,
        method: str = "auto",
        samples: int | None = None,
        tol: float | None = None,
        estimator: str = "auto",
        ranges: str = "auto",
        quantiles: Sequence[float] = (0.001, 0.999),
        noise: Any = None,
        in_ranges: Mapping[str, Any] | None = None,
        out_ranges: Mapping[str, Any] | None = None,
    ) -> None:
        check_environment()
        in_range, in_ranges = _named(in_range, "in_range", None, in_ranges)
        out_range, out_ranges = _named(out_range, "out_range", "auto", out_ranges)
        checked = {
            "measures": _checked_measures(measures),
            "outliers": _choice("outliers", outliers),
            "method": _choice("method", method),
            "estimator": _choice("estimator", estimator),
            "baseline": _checked_baseline(baseline),
            "bins": checked_bins(bins),
            "in_range": None if in_range is None else checked_range(in_range, "in_range"),
            "out_range": _checked_out_range(out_range),
            "samples": checked_samples(samples),
            "tol": checked_tol(tol),
            "ranges": _choice("ranges", ranges),
            "quantiles": _checked_quantiles(quantiles),
            "noise": checked_noise(noise),
            "in_ranges": in_ranges,
            "out_ranges": out_ranges,
        }
        _check_resolved(checked)
        if checked["noise"] is not None and (outliers == "drop" or method == "sample"):
            raise ValueError("noise goes with outliers='clip' and method='auto' or 'exact'")
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    @property
    def binning(self) -> Binning:
        """How inputs and outputs become bins."""
        return Binning(*self.bins, self.outliers == "drop", self.baseline)

    @property
    def input_range(self) -> Range:
        """The range of the network's input: (0, 1) if the user has given none."""
        return (0.0, 1.0) if self.in_range is None else self.in_range

    @property
    def data_quantiles(self) -> tuple[float, float] | None:
        """Where ranges from data begin and end; None if they are not wanted."""
        return self.quantiles if self.ranges == "data" else None

    def in_range_of(self, name: str) -> Range | None:
        """Return the input range that is given for a layer by its name, if one is."""
        return by_name(self.in_ranges, name)

    def out_range_of(self, name: str) -> Range | None:
        """Return the output range that is given for a name, or for all, if one is."""
        given: Range | Literal["auto"] | None = by_name(self.out_ranges, name)
        if given is None and not isinstance(self.out_range, list):
            given = self.out_range
        return None if given is None or isinstance(given, str) else given

    def check_names(self, names: Sequence[str]) -> None:
        """Raise ValueError for ranges of layers that are not among these."""
        check_names(self.in_ranges, names, "in_range")
        check_names(self.out_ranges, names, "out_range")

    def range_of(self, index: int, count: int, name: str = "") -> Literal["auto"] | Range:
        """Return the output range of one layer of ``count``."""
        given = by_name(self.out_ranges, name)
        if given is not None:
            return given
        if not isinstance(self.out_range, list):
            return self.out_range
        if len(self.out_range) != count:
            raise ValueError(
                f"out_range: {len(self.out_range)} ranges were given for {count} layers; "
                "give one for all, or one for each"
            )
        return self.out_range[index]

    def to_dict(self) -> dict[str, Any]:
        """Return the options as plain values, ready for JSON."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        values["measures"] = sorted(self.measures)
        values["in_range"] = self.input_range
        values["noise"] = None if self.noise is None else self.noise.plain()
        for what in ("in_range", "out_range"):
            named = values.pop(f"{what}s")
            if named:  # the network's own, or that of all others, under an empty name
                values[what] = {"": values[what], **named}
        return {name: plain(value) for name, value in values.items()}


def _named(
    value: Any, what: str, default: Any, before: Mapping[str, Any] | None
) -> tuple[Any, dict[str, Any]]:
    """Return the range that has no name, and those that have: those before, and the value's."""
    named: dict[str, Any] = dict(before or {})
    if not isinstance(value, Mapping):
        return value, named
    for name, pair in value.items():
        if name is not None and not isinstance(name, str):
            raise TypeError(f"{what} must have names or globs for keys, not {name!r}")
        if name is not None:
            auto = what == "out_range" and isinstance(pair, str) and pair == "auto"
            named[name] = "auto" if auto else checked_range(pair, f"{what} of {name!r}")
    return value.get(None, default), named


def _checked_measures(measures: str | Iterable[str]) -> frozenset[str]:
    """Return the engines that the measures take."""
    names = [measures] if isinstance(measures, str) else list(measures)
    if not names:
        raise ValueError(f"measures: nothing to compute; choose from {', '.join(MEASURES)}")
    for name in names:
        if name not in MEASURES:
            raise ValueError(
                f"measures: unknown {name!r}{meant(str(name), MEASURES)}; choose from "
                f"{', '.join(MEASURES)}"
            )
    return frozenset(engine for name in names for engine in MEASURES[name])


def _checked_baseline(baseline: Any) -> float:
    if not _is_finite_number(baseline):
        raise ValueError(f"baseline must be a finite number, got {baseline!r}")
    number = as_float(baseline)
    if abs(number) > MOST:
        raise ValueError(f"baseline must be at most {MOST:g} in size, got {baseline!r}")
    return number


def check_environment() -> None:
    """Check ``EIPLANE_CPU``, which names the instruction set to use.

    Raises
    ------
    ValueError
        If this CPU does not have it, with those that it has.
    """
    name = os.environ.get("EIPLANE_CPU")
    if name and name not in _core.supported():
        raise ValueError(
            f"EIPLANE_CPU: this CPU has no {name!r}; it has {', '.join(_core.supported())}"
        )


def checked_bins(bins: Any) -> tuple[int, int]:
    """Return the numbers of input and output bins.

    Parameters
    ----------
    bins : int or pair of int

    Returns
    -------
    tuple of int

    Raises
    ------
    TypeError, ValueError
        If they are not whole numbers from 2 to 1024.
    """
    pair = tuple(bins) if isinstance(bins, (tuple, list)) else (bins, bins)
    if len(pair) != 2:
        raise ValueError(f"bins must be a number or a pair (in_bins, out_bins), got {bins!r}")
    for value in pair:
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
            raise TypeError(f"bins must be whole numbers, got {value!r}")
        if not 2 <= value <= MAX_BINS:
            raise ValueError(f"bins must be from 2 to {MAX_BINS}, got {value}")
    return int(pair[0]), int(pair[1])


def checked_range(value: Any, what: str) -> Range:
    """Return a range as two floats.

    Parameters
    ----------
    value : pair of float
    what : str
        Its name, for the error.

    Returns
    -------
    tuple of float

    Raises
    ------
    ValueError
        If it is not a pair of finite numbers, the first below the second, or so wide or narrow that
        squares leave float64.
    """
    try:
        lo, hi = map(_float, value)
    except (TypeError, ValueError):
        raise ValueError(f"{what} must be a pair of numbers (lo, hi), got {value!r}") from None
    if not (math.isfinite(lo) and math.isfinite(hi)):
        raise ValueError(f"{what} must be finite, got ({lo}, {hi})")
    if not lo < hi:
        raise ValueError(f"{what} must have lo < hi, got ({lo}, {hi})")
    if max(abs(lo), abs(hi)) > MOST:
        raise ValueError(f"{what} is too wide: its ends may be up to {MOST:g}, got ({lo}, {hi})")
    if hi - lo < LEAST:
        raise ValueError(
            f"{what} is too narrow for float64: it may be down to {LEAST:g} wide, got ({lo}, {hi})"
        )
    return lo, hi


def _float(value: Any) -> float:
    if isinstance(value, str | bytes):  # reads like a number, and is none
        raise TypeError
    return as_float(value)


def _check_resolved(checked: dict[str, Any]) -> None:
    """Raise ValueError for a range whose bins float64 does not tell apart."""
    for what, bins in zip(("in_range", "out_range"), checked["bins"], strict=True):
        given = checked[what]
        pairs = [*(given if isinstance(given, list) else [given]), *checked[f"{what}s"].values()]
        for pair in pairs:
            if isinstance(pair, tuple) and not resolved(pair, bins):
                raise ValueError(
                    f"{what} is too narrow for float64: {bins} bins of ({pair[0]}, {pair[1]}) are "
                    "hardly wider than the distance of its numbers; widen it or move it towards 0"
                )


def _checked_out_range(value: Any) -> Any:
    if isinstance(value, str):
        return _one_of("out_range", value, ("auto",))
    try:
        items = list(value)
    except TypeError:
        raise ValueError(
            f"out_range must be 'auto', a pair (lo, hi) or a list of those, got {value!r}"
        ) from None
    if len(items) == 2 and all(isinstance(v, Real) for v in items):
        return checked_range(items, "out_range")
    return [
        _one_of("out_range", v, ("auto",)) if isinstance(v, str) else checked_range(v, "out_range")
        for v in items
    ]


def _checked_quantiles(value: Any) -> tuple[float, float]:
    low, high = checked_range(value, "quantiles")
    if low < 0.0 or high > 1.0:
        raise ValueError(f"quantiles must be from 0 to 1, got ({low}, {high})")
    return low, high


def checked_samples(samples: Any) -> int | None:
    """Return a number of samples, or None; ValueError or TypeError if it is neither."""
    if samples is None:
        return None
    if isinstance(samples, float) and samples.is_integer():  # 1e6
        samples = int(samples)
    if isinstance(samples, bool) or not isinstance(samples, (int, np.integer)):
        raise TypeError(f"samples must be a whole number, got {samples!r}")
    if not 2 <= samples < 2**31:
        raise ValueError(f"samples must be from 2 to {2**31 - 1}, got {samples}")
    return int(samples)


def checked_tol(tol: Any) -> float | None:
    """Return a tolerance in bits, or None; ValueError if it is not positive and finite."""
    if tol is None:
        return None
    if not _is_finite_number(tol) or tol <= 0:
        raise ValueError(f"tol must be a positive number of bits, got {tol!r}")
    return float(tol)


def checked_threads(threads: Any, executor: Executor | None) -> int | None:
    """Return a number of threads, or None; also checks that the executor is one."""
    if executor is not None and not callable(getattr(executor, "submit", None)):
        raise TypeError(
            f"executor must be a concurrent.futures.Executor, not {type(executor).__name__}"
        )
    if threads is None:
        return None
    if isinstance(threads, bool) or not isinstance(threads, (int, np.integer)):
        raise TypeError(f"threads must be a whole number, got {threads!r}")
    if threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads}")
    return int(threads)


def _is_finite_number(value: Any) -> bool:
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    return is_number and math.isfinite(as_float(value))


def _choice(what: str, value: Any) -> Any:
    return _one_of(what, value, CHOICES[what])


def _one_of(what: str, value: Any, choices: tuple[str, ...]) -> Any:
    if value not in choices:
        raise ValueError(f"{what} must be {' or '.join(map(repr, choices))}, got {value!r}")
    return value
