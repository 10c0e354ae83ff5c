"""From what follows a linear map to an activation, row by row."""

from __future__ import annotations

import functools
import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...network import Activation, get_activation, known_activations, per_row
from .functions import from_chain
from .signals import Value
from .steps import Chain, Step

__all__ = ["PROBE", "Function", "affine", "chain", "constant", "describe", "fixed", "line_of",
           "path", "recognise", "same"]  # fmt: skip

Array = NDArray[np.float64]


def _probes() -> Array:
    near = np.geomspace(1e-4, 9.0, 70)
    between = 8.0 * np.modf(np.arange(1, 60) * 0.6180339887498949)[0]
    far = np.array([11.3, 20.0, 50.0, 1e3, 1e5, 1e8])
    half = np.concatenate([near, between, far])
    return np.sort(np.concatenate([-half, [0.0, 1.0, -1.0], half]))


#: Where functions are compared: irregular, dense near 0, and far out, where clamps begin.
PROBE: Array = _probes()
_ZERO, _ONE, _MINUS_ONE, _FAR = (int(np.flatnonzero(x == PROBE)[0]) for x in (0.0, 1.0, -1.0, 50.0))


@dataclass(frozen=True, eq=False)
class Function:
    """``f(a z + b)`` of each of some rows of a map.

    Parameters
    ----------
    value : Value
        What it describes.
    scale, shift : ndarray of float64, shape (rows,)
        ``a`` and ``b``.
    activation : Activation or None
        f; None if it is not known.
    reason : str
        Why it is not.
    """

    value: Value
    scale: Array
    shift: Array
    activation: Activation | None
    reason: str = ""

    @property
    def known(self) -> bool:
        """Whether the activation is known."""
        return self.activation is not None


def chain(value: Value, of: Value, rows: Any = None) -> Chain | None:
    """Return the function that makes one value of another.

    Parameters
    ----------
    value, of : Value
    rows : ndarray of int, optional
        Which rows; all when left out.

    Returns
    -------
    Chain or None
        None if the value is no function of the other alone.
    """
    steps: list[tuple[Step, tuple[int, ...]]] = []
    number: dict[int, int] = {id(of): 0}
    todo = [value]
    while todo:
        at = todo[-1]
        if id(at) in number:
            todo.pop()
            continue
        if at.step is None:
            return None
        missing = [v for v in at.operands if id(v) not in number]
        if missing:
            todo += missing
            continue
        steps.append((at.step, tuple(number[id(v)] for v in at.operands)))
        number[id(at)] = len(steps)
        todo.pop()
    return Chain(tuple(steps), rows)


def path(value: Value) -> list[Value]:
    """Return the values that this one is a function of, from the origin's to itself."""
    found = [value]
    while found[-1].parent is not None:
        found.append(found[-1].parent)
    return found[::-1]


def _on_probes(value: Value, of: Value, rows: NDArray[np.intp]) -> Array:
    made = chain(value, of, rows)
    assert made is not None
    values = np.atleast_2d(np.asarray(made(PROBE[None, :])))
    return values.astype(np.float64) if values.dtype.kind in "biu" else values


def describe(value: Value, rows: NDArray[np.intp]) -> Function:
    """Return the function of a map's outputs that a value is.

    Parameters
    ----------
    value : Value
    rows : ndarray of int
        The rows that matter.

    Returns
    -------
    Function
    """
    way, folds = path(value), _folds(value, rows)
    scale, shift = folds[-1]
    if len(folds) == len(way):
        known = Function(value, scale, shift, get_activation("identity"))
        return _whole(value, rows) if _hides(known, rows) else known
    base, found = way[len(folds) - 1], None
    values = _on_probes(value, base, rows)
    if bool((values == values[:, :1]).all()):
        made = chain(value, base, rows)
        assert made is not None
        reason = f"its output goes through {made.name}, which makes a constant of it"
        return Function(value, scale, shift, None, reason)
    for k in range(len(folds) - 1, -1, -1):
        # Such as 1 / (1 + exp(-z)): what looks like a scale may be a part of the function.
        said = way[k + 1].step if k + 2 == len(way) else None
        again = recognise(_on_probes(value, way[k], rows), len(rows), said.label if said else "")
        named = again is not None and again[0].kind in known_activations()
        if again is not None and (found is None or named):
            found = (*again, *folds[k])
        if named:
            break
    made = chain(value, base, rows)
    assert made is not None
    if found is not None:
        activation, factor, scale, shift = found
        known = Function(value, scale * factor, shift * factor, activation)
        return _whole(value, rows) if _hides(known, rows) else known
    return _own(value, made, values.shape[0] > 1, scale, shift)


def _whole(value: Value, rows: NDArray[np.intp]) -> Function:
    """Return all that is done to an origin's rows as a function of its own."""
    origin, ones = path(value)[0], np.ones(len(rows))
    made = chain(value, origin, rows)
    assert made is not None
    return _own(value, made, len(_on_probes(value, origin, rows)) > 1, ones, 0 * ones)


def _own(value: Value, made: Chain, by_row: bool, scale: Array, shift: Array) -> Function:
    """Return the function that a chain is, if it has one that can be worked with."""
    own = from_chain(made, len(scale), by_row)
    try:
        for function in own.distinct:
            function.check(-8.0, 8.0)
    except (TypeError, ValueError) as error:
        return Function(value, scale, shift, None, f"its output goes through {made.name}: {error}")
    return Function(value, scale, shift, own)


#: Steps that choose: with others they may do anything between two probes.
_CHOOSING = re.compile(
    r"where|mask|^(gt|lt|ge|le|eq|ne)$|greater|less|equal|table|bucketize|searchsorted|bitwise"
    r"|logical|^(and|or|xor|not)$",
    re.IGNORECASE,
)
_FINE = 8.0 * (2.0 * np.modf(np.arange(1.0, 16385.0) * 0.6180339887498949)[0] - 1.0)


def _hides(function: Function, rows: NDArray[np.intp]) -> bool:
    """Return whether a function that looks like a known one is another between the probes."""
    value, known = function.value, function.activation
    whole = chain(value, path(value)[0], rows)
    if known is None or whole is None:
        return False
    if len(whole.steps) < 2 or not any(_CHOOSING.search(step.name) for step, _ in whole.steps):
        return False
    z = _FINE[: max(256, (1 << 22) // len(rows))] if whole.by_row else _FINE
    made = np.atleast_2d(np.asarray(whole(z[None, :]), dtype=np.float64))
    for k, y in enumerate(made):
        one = known if known.rule is None else known.distinct[int(known.rule[k])]
        with np.errstate(all="ignore"):
            seen = one(function.scale[k] * z + function.shift[k])
            if bool((np.abs(seen - y) > 1e-5 * (1.0 + np.abs(y))).any()):
                return True
    return False


def constant(value: Value, rows: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Return which rows of a value are constants where others may not be.

    Parameters
    ----------
    value : Value
    rows : ndarray of int

    Returns
    -------
    ndarray of bool, shape (rows,)
    """
    if not value.by_row:
        return np.zeros(len(rows), dtype=bool)
    return np.isfinite(fixed(value, rows))


def fixed(value: Value, rows: NDArray[np.intp]) -> Array:
    """Return the constants that some rows of a value are, NaN for others.

    Parameters
    ----------
    value : Value
    rows : ndarray of int

    Returns
    -------
    ndarray of float64, shape (rows,)
    """
    origin = value.origin.value
    if origin is None or chain(value, origin) is None:
        return np.full(len(rows), np.nan)
    values = np.asarray(_on_probes(value, origin, rows), dtype=np.float64)
    found = np.where((values == values[:, :1]).all(axis=1), values[:, 0], np.nan)
    return np.broadcast_to(found, len(rows))


def _folds(value: Value, rows: NDArray[np.intp]) -> list[tuple[Array, Array]]:
    """Return scale and shift of each value on the way, as far as those are affine functions."""
    way = path(value)
    scale, shift = np.ones(len(rows)), np.zeros(len(rows))
    folds = [(scale, shift)]
    for k in range(1, len(way)):
        line = line_of(_on_probes(way[k], way[k - 1], rows))
        if line is None:
            break
        scale, shift = line[0] * scale, line[0] * shift + line[1]
        folds.append((scale, shift))
    return folds


def affine(value: Value, rows: NDArray[np.intp]) -> tuple[Array, Array] | None:
    """Return scale and shift of each row if a value is an affine function of its origin."""
    folds = _folds(value, rows)
    return folds[-1] if len(folds) == value.level + 1 else None


def same(a: Value, b: Value, rows: NDArray[np.intp]) -> bool:
    """Return whether two values are the same function of their origin's rows."""
    if a is b:
        return True
    if a.origin is not b.origin or a.origin.value is None:
        return False
    x, y = (_on_probes(v, a.origin.value, rows) for v in (a, b))
    if x.dtype.kind != "f" or y.dtype.kind != "f":
        return False
    return _close(*np.broadcast_arrays(x, y))


def _close(a: Array, b: Array) -> bool:
    with np.errstate(invalid="ignore", over="ignore"):
        # Written out by hand, a function may overflow far out where its exact form does not.
        far = (np.abs(PROBE) > 100) & ~np.isfinite(a)
        return bool((far | (np.abs(a - b) <= 1e-6 * (1.0 + np.abs(b)))).all())


def line_of(values: Array, level: bool = False) -> tuple[Array, Array] | None:
    """Return c and d of each row if all are ``c z + d``.

    Parameters
    ----------
    values : ndarray of float64, shape (rows, probes)
        Of functions at :data:`PROBE`.
    level : bool
        Whether c may be 0.

    Returns
    -------
    tuple of ndarray, or None
    """
    if values.dtype.kind != "f":
        return None
    d = values[:, _ZERO]
    c = values[:, _ONE] - d
    with np.errstate(invalid="ignore", over="ignore"):
        # From afar, where d does not cost c its digits.
        overall = (values[:, -1] - values[:, 0]) / (PROBE[-1] - PROBE[0])
        c = np.where(np.abs(d) > 1e3 * np.abs(c), overall, c)
        if not (np.isfinite(c).all() and np.isfinite(d).all()):
            return None
        if not level and (c == 0).any():
            return None
        error = np.abs(values - (c[:, None] * PROBE + d[:, None]))
        near = error <= 1e-6 * np.abs(c)[:, None] * (1.0 + np.abs(PROBE)) + 1e-9 * np.abs(values)
    return (c, d) if bool(near.all()) else None


def recognise(values: Array, rows: int, label: str = "") -> tuple[Activation, Array | float] | None:
    """Return the activation that has these values at the probes, and a factor of its argument.

    Parameters
    ----------
    values : ndarray, shape (rows or 1, probes)
    rows : int
    label : str
        What the one operator that made them is called.

    Returns
    -------
    tuple of Activation and (ndarray or float), or None
    """
    if values.dtype.kind != "f":
        return None
    values = values.astype(np.float64)
    if len(values) > 1 and _close(values, np.broadcast_to(values[:1], values.shape)):
        values = values[:1]
    if len(values) == 1:
        return _one(values[0], label)
    kinds: dict[bytes, tuple[Activation, float] | None] = {}
    found = []
    for row in values:
        key = row.tobytes()
        if key not in kinds:
            kinds[key] = _one(row, label)
        if kinds[key] is None:
            return None
        found.append(kinds[key])
    factors = np.array([f[1] for f in found if f is not None])
    activations = [f[0] for f in found if f is not None]
    if len({a.name for a in activations}) == 1:
        return activations[0], factors
    return per_row(activations), factors


def _one(values: Array, label: str) -> tuple[Activation, float] | None:
    """Return the activation of one row, and the factor of its argument."""
    return _seen_before(values.tobytes(), label)


@functools.lru_cache(maxsize=256)  # a network has the same one after most of its layers
def _seen_before(numbers: bytes, label: str) -> tuple[Activation, float] | None:
    values = np.frombuffer(numbers)
    for name in [*_names(values), label]:
        try:
            known = get_activation(name)
        except ValueError:
            continue
        if _close(values, known(PROBE)):
            return known, 1.0
    # c times a function that passes a factor on is the function of c times its argument.
    for sign in (1.0, -1.0):
        slope = sign * float(values[-1] - values[-2]) / float(PROBE[-1] - PROBE[-2])
        if not (math.isfinite(slope) and slope > 0):
            continue
        for name in ("relu", *_leaky(sign * values / slope)):
            known = get_activation(name)
            if _close(sign * values / slope, known(PROBE)):
                if sign > 0:
                    return known, slope
                return known.scaled(-1.0), slope
    return _scaled(values)


def _scaled(values: Array) -> tuple[Activation, float] | None:
    """Return ``c f(z) + d`` if the values are those of one."""
    for name in known_activations():
        if name == "identity":
            continue
        known = get_activation(name)
        shape = known(PROBE)
        inner = np.abs(PROBE) <= 10.0
        matrix = np.stack([shape[inner], np.ones(int(inner.sum()))], axis=1)
        if not np.isfinite(values[inner]).all():
            continue
        (c, d), *_ = np.linalg.lstsq(matrix, values[inner], rcond=None)
        size = max(abs(c), abs(d))
        if abs(c) > 1e-9 and abs(c) > 1e-7 * size and _close(values / size, (c * shape + d) / size):
            return known.scaled(_rounded(float(c)), _rounded(float(d), float(size))), 1.0
    return None


def _rounded(x: float, size: float | None = None) -> float:
    size = abs(x) if size is None else size
    return float(f"{x:.12g}") if abs(x) > 1e-12 * size else 0.0


def _leaky(values: Array) -> list[str]:
    return [f"leaky_relu({_short(-float(values[_MINUS_ONE]))})"]


def _names(values: Array) -> list[str]:
    """Return names to try: all, then those whose parameters the values suggest."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    at_minus_one, at_zero = float(values[_MINUS_ONE]), float(values[_ZERO])
    tries = ["identity", "relu", "elu"]
    tries += [n for n in known_activations() if n not in tries]
    if math.isfinite(at_minus_one):
        tries += _leaky(values)
        at_one = float(values[_ONE])
        if 0.0 < at_one < 1.0:
            tries.append(f"silu({_short(math.log(at_one / (1.0 - at_one)))})")
        far = float(PROBE[_FAR] - values[_FAR])
        if far > 0 and low < high:
            tries.append(f"softshrink({_short(far)})")
        if at_minus_one < 0:
            tries.append(f"elu({_short(at_minus_one / math.expm1(-1.0))})")
    if float(PROBE.min()) < low < high < float(PROBE.max()):
        tries.append(f"hardtanh({_short(low)}, {_short(high)})")
    if at_zero > 0 and math.isfinite(at_zero):
        tries.append(f"softplus({_short(math.log(2.0) / at_zero)})")
    return tries


def _short(x: float) -> str:
    if not math.isfinite(x):
        return "0"
    # 0.3 that went through single precision is 0.3 again.
    short = f"{x:.7g}"
    return short if abs(float(short) - x) <= 6e-8 * abs(x) else f"{x:.12g}"
