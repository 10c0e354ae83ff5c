"""Monotone pieces of any function, found by evaluating it.

The function is sampled on a grid that is dense near 0 (fixed-point steps, thresholds and the bends
of activations lie there) and irregular (a regular one misses what repeats). Cells in which the
function is not nearly straight are halved, up to a limit. Where the samples turn, the turning point
or the jump is then located to the last digits. What happens entirely between two neighbouring
samples, and leaves no trace in them, is missed: see :func:`find_pieces`.

Steps and flat stretches in the direction of a piece need not be found at all: the piece's inverse
by bisection lands on them.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from .monotone import Function, Piece, Samples

__all__ = ["MAX_TURNS", "Jumps", "evaluated", "find_pieces", "grid", "jumps_in", "sampled"]

Array = NDArray[np.float64]
Index = NDArray[np.intp]

#: The most turning points and jumps against the direction that an activation may have.
MAX_TURNS = 4096

_GOLDEN = 0.6180339887498949
_UNIFORM, _NEAR, _OCTAVES, _PER_OCTAVE = 2048, 1024, 44, 32
_LEVELS, _MOST = 6, 1 << 17  # of halving; cells at once
_STRAIGHT = 0.02  # of the cell's rise: what a straight line may miss in its middle
_EPS = float(np.finfo(np.float64).eps)
_WAYS = 17  # points that a bracket of a turning point is cut by
_DEGREE = 24


def evaluated(function: Function, z: Array, title: str) -> Array:
    """Return the function's values, checked.

    Parameters
    ----------
    function : callable
    z : ndarray of float64
    title : str
        What to call it in errors.

    Returns
    -------
    ndarray of float64, shape of z

    Raises
    ------
    TypeError
        If it fails, or does not return real float64 numbers, one for each.
    ValueError
        If a value is not finite.
    """
    try:
        with np.errstate(all="ignore"):
            values = np.asarray(function(z))
    except Exception as error:
        raise TypeError(
            f"{title}: failed on an array of {z.dtype} of shape {z.shape}: {error}; if it takes "
            "single numbers only, numpy.vectorize makes it take arrays"
        ) from error
    if values.shape != z.shape or values.dtype.kind not in "fiub":
        raise TypeError(
            f"{title}: an array of {z.dtype} of shape {z.shape} must give real numbers of the same "
            f"shape, not {values.dtype} of shape {values.shape}"
        )
    if values.dtype.kind == "f" and values.dtype.itemsize < 8:
        raise TypeError(
            f"{title}: computes in {values.dtype}, whose rounding would be taken for steps; let it "
            "compute in float64"
        )
    values = values.astype(np.float64, copy=False)
    good = np.isfinite(values)
    if not good.all():
        bad = np.flatnonzero(~good.ravel())[0]
        raise ValueError(
            f"{title}: is {values.ravel()[bad]} at z = {z.ravel()[bad]:.6g}; it must be finite "
            "wherever the pre-activation can be"
        )
    return values


def find_pieces(function: Function, low: float, high: float, title: str) -> tuple[Piece, ...]:
    """Return the monotone pieces of a function on an interval.

    Parameters
    ----------
    function : callable
        Of a float64 array, elementwise.
    low, high : float
        The interval, finite; ``low <= high``.
    title : str
        What to call the function in errors.

    Returns
    -------
    tuple of Piece
        From left to right; the outer two are said to go on for ever. Turning points and jumps are
        located to about 1e-12 of their size (a smooth extremum of a function that is noisy in its
        last digits: 1e-8).

    Raises
    ------
    TypeError, ValueError
        As :func:`evaluated`; and for a function that turns more than :data:`MAX_TURNS` times.

    Notes
    -----
    A feature is seen if it changes one of the samples. They lie at most about
    ``(high - low) / 1300`` apart; within +-8 at most about 0.025; and at most 2.2 % of ``|z|``,
    down to 1e-13 of the interval's greater end. The single value of a function at a point, between
    jumps on both sides, is seen at 0 alone.
    """
    if not low < high:
        value = float(evaluated(function, np.array([low]), title)[0])
        return (Piece(-math.inf, math.inf, value, value),)
    z, f = sampled(function, low, high, title)
    z, f, jumps = _with_jumps(function, z, f, title)
    turns = _turns(z, f)
    places = _located(function, z, f, turns, jumps)
    return _assembled(function, z, f, turns, places, jumps)


def sampled(function: Function, low: float, high: float, title: str) -> tuple[Array, Array]:
    """Return where a function was evaluated, and its values.

    Parameters
    ----------
    function, low, high, title
        As of :func:`find_pieces`.

    Raises
    ------
    TypeError, ValueError
        As :func:`find_pieces`.
    """
    z, f = _samples(function, low, high, title)
    if len(_turns(z, f)) > MAX_TURNS:
        raise ValueError(
            f"{title}: turns more than {MAX_TURNS} times between {low:.6g} and {high:.6g}, too "
            "often to be measured (single precision within it would do that as well)"
        )
    return z, f


def grid(low: float, high: float) -> Array:
    """Return where a function is first evaluated: see :func:`find_pieces`."""
    top = max(abs(low), abs(high))
    powers = top * 2.0 ** -np.arange(0, _OCTAVES, 1.0 / _PER_OCTAVE)
    parts = [np.array([low, 0.0, high]), powers, -powers]
    for start, stop, n in ((low, high, _UNIFORM), (max(low, -8.0), min(high, 8.0), _NEAR)):
        if stop > start:
            parts.append(start + (stop - start) * (np.arange(n) * _GOLDEN % 1.0))
    z = np.unique(np.concatenate(parts))
    return z[(z >= low) & (z <= high)] + 0.0


def _noise(z: Array, f: Array) -> Array:
    """Return what rounding may make of the values: of the last digits, and of numbers like z."""
    most = float(np.abs(f).max())
    return 16.0 * _EPS * np.abs(f) + 8.0 * _EPS * np.minimum(np.maximum(np.abs(z), 1.0), most)


def _samples(function: Function, low: float, high: float, title: str) -> tuple[Array, Array]:
    z = grid(low, high)
    f = evaluated(function, z, title)
    found = [(z, f)]
    noise = _noise(z, f)
    za, zb, fa, fb, near = z[:-1], z[1:], f[:-1], f[1:], np.maximum(noise[:-1], noise[1:])
    for _ in range(_LEVELS):
        part = 0.47  # not the middle: a wave would be met in step
        zm = za + part * (zb - za)
        fm = evaluated(function, zm, title)
        found.append((zm, fm))
        bent = np.abs(fm - (fa + part * (fb - fa))) > _STRAIGHT * np.abs(fb - fa) + near
        if not bent.any() or 2 * int(bent.sum()) > _MOST:
            break
        za, zm, zb, fa, fm, fb, near = (a[bent] for a in (za, zm, zb, fa, fm, fb, near))
        za, zb = np.concatenate([za, zm]), np.concatenate([zm, zb])
        fa, fb = np.concatenate([fa, fm]), np.concatenate([fm, fb])
        near = np.concatenate([near, near])
    z, first = np.unique(np.concatenate([p for p, _ in found]), return_index=True)
    return z, np.concatenate([q for _, q in found])[first]


def _turns(z: Array, f: Array) -> Index:
    """Return the samples at which the function turns by more than noise, in order."""
    rise = np.sign(np.diff(f))
    moving = np.flatnonzero(rise)
    extremes = moving[np.flatnonzero(rise[moving[1:]] != rise[moving[:-1]])] + 1
    if not len(extremes):
        return extremes
    noise = _noise(z, f)
    found: list[int] = []
    direction, best = 0.0, 0
    for i in [*extremes.tolist(), len(f) - 1]:
        way = f[i] - f[best]
        if way * direction > 0.0:
            best = i
        elif abs(way) > max(noise[i], noise[best]):
            if direction:
                found.append(best)
            direction, best = math.copysign(1.0, way), i
    return np.array(found, dtype=np.intp)


def _with_jumps(
    function: Function, z: Array, f: Array, title: str
) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Put samples on both sides of the jumps next to turning points.

    Returns
    -------
    z, f : ndarray
        The samples, more of them.
    jumps : ndarray of bool, shape (len(z) - 1,)
        Whether the function jumps between two samples, which are then neighbouring doubles.
    """
    turns = _turns(z, f)
    cells = np.unique(np.concatenate([turns - 1, turns]))
    if not len(cells) or len(cells) > 4 * MAX_TURNS:
        return z, f, np.zeros(len(z) - 1, bool)
    found = jumps_in(function, z[cells], z[cells + 1], title)
    left_of, right_of = found.before[found.real], found.after[found.real]
    # The values that were seen there: asked again, beside other numbers, a function may give others
    # in the last digit (one lane of a vector, or alone at its end), and stand beyond the jump.
    sides = [found.at_before[found.real], found.at_after[found.real]]
    z, first = np.unique(np.concatenate([left_of, right_of, z]), return_index=True)
    f = np.concatenate([*sides, f])[first]
    jumps = np.zeros(len(z) - 1, bool)
    jumps[np.searchsorted(z, left_of)] = True
    return z, f, jumps


class Jumps(NamedTuple):
    """Where a function changes most in some intervals.

    Parameters
    ----------
    before, after : ndarray of float64, shape (n,)
        Neighbouring doubles (near 0, as good as) between which the change lies.
    at_before, at_after : ndarray of float64, shape (n,)
        The function's values there.
    real : ndarray of bool, shape (n,)
        Whether it jumps.
    """

    before: Array
    after: Array
    at_before: Array
    at_after: Array
    real: NDArray[np.bool_]


def jumps_in(function: Function, a: Array, b: Array, title: str) -> Jumps:
    """Return where a function changes most in intervals, and whether it jumps there.

    Parameters
    ----------
    function : callable
    a, b : ndarray of float64, shape (n,)
        Ends of intervals.
    title : str

    Returns
    -------
    Jumps
    """
    fa, fb = evaluated(function, a, title), evaluated(function, b, title)
    whole = np.abs(fb - fa)
    least = 2.0**-90 * float(np.maximum(np.abs(a), np.abs(b)).max(initial=0.0))
    noise = np.maximum(_noise(a, fa), _noise(b, fb)) if len(a) else whole
    while True:
        m = 0.5 * (a + b)
        going = (m > a) & (m < b) & (b - a > least)
        if not going.any():
            step = np.abs(fb - fa)
            return Jumps(a, b, fa, fb, (step > 1e-3 * whole) & (step > 4.0 * noise))
        fm = evaluated(function, m, title)
        left = np.abs(fm - fa) >= np.abs(fb - fm)
        b, fb = np.where(going & left, m, b), np.where(going & left, fm, fb)
        a, fa = np.where(going & ~left, m, a), np.where(going & ~left, fm, fa)


def _located(
    function: Function, z: Array, f: Array, turns: Index, jumps: NDArray[np.bool_]
) -> Array:
    """Return where the function turns, from the samples at which it does."""
    if not len(turns):
        return np.empty(0)
    sign = np.where(f[turns] >= np.maximum(f[turns - 1], f[turns + 1]), 1.0, -1.0)
    low = np.where(jumps[turns - 1], z[turns], z[turns - 1])
    high = np.where(jumps[turns], z[turns], z[turns + 1])
    fixed = jumps[turns - 1] | jumps[turns]
    parts = np.linspace(0.0, 1.0, _WAYS)
    a, b = low, high
    for _ in range(24):
        points = a[:, None] + (b - a)[:, None] * parts
        points[:, -1] = b
        best = (sign[:, None] * _quiet(function, points)).argmax(axis=1)
        rows = np.arange(len(points))
        a = points[rows, np.maximum(best - 1, 0)]
        b = points[rows, np.minimum(best + 1, _WAYS - 1)]
        places = points[rows, best]
    free = np.flatnonzero(~fixed)
    if len(free):
        fence = np.concatenate([z[:1], places, z[-1:]])
        room = np.minimum(places - fence[:-2], fence[2:] - places)[free]
        places[free] = _polished(function, places[free], room, (high - low)[free])
    # Most functions that turn about 0 turn there exactly.
    zero = (z[turns] == 0.0) & (sign * f[turns] >= sign * _quiet(function, places))
    return np.where(zero, 0.0, places)


def _quiet(function: Function, z: Array) -> Array:
    with np.errstate(all="ignore"):
        return np.asarray(function(z), dtype=np.float64)


_NODES = chebyshev.chebpts1(_DEGREE + 1)
_FIT = np.linalg.inv(chebyshev.chebvander(_NODES, _DEGREE))


def _polished(function: Function, places: Array, room: Array, cells: Array) -> Array:
    """Return extrema again where the function is smooth about them: roots of its derivative.

    The values themselves are flat there and tell the place to the root of their accuracy only.
    """
    places = places.copy()
    size = np.abs(places)
    width = np.minimum(0.9 * room, np.maximum(1.0, 0.25 * size))
    least = 1e-6 * np.maximum(size, cells)
    todo = np.flatnonzero(width > least)
    while len(todo):
        w = width[todo]
        series = _FIT @ _quiet(function, places[todo] + w * _NODES[:, None])
        with np.errstate(all="ignore"):
            good = np.abs(series[-6:]).max(axis=0) <= 1e-14 * np.abs(series).max(axis=0)
        slope = chebyshev.chebder(series[:, good])
        bend = chebyshev.chebder(slope)
        x = np.zeros(int(good.sum()))
        for _ in range(4):
            with np.errstate(all="ignore"):
                x -= chebyshev.chebval(x, slope, tensor=False) / chebyshev.chebval(
                    x, bend, tensor=False
                )
        done = todo[good]
        near = np.abs(x) * width[done] <= 1e-5 * np.maximum(width[done], size[done])
        places[done] += np.where(near, x * width[done], 0.0)
        width[todo] *= 0.5
        todo = todo[~good]
        todo = todo[width[todo] > least[todo]]
    return places


def _assembled(
    function: Function,
    z: Array,
    f: Array,
    turns: Index,
    places: Array,
    jumps: NDArray[np.bool_],
) -> tuple[Piece, ...]:
    # A jump against the direction turns twice at one place: between two neighbouring doubles.
    ends: list[tuple[float, float, float, float]] = []  # last z before, its value; first z after
    at = _quiet(function, places)
    skip = False
    for k, i in enumerate(turns.tolist()):
        if skip:
            skip = False
        elif jumps[i] and k + 1 < len(turns) and turns[k + 1] == i + 1:
            ends.append((float(z[i]), float(f[i]), float(z[i + 1]), float(f[i + 1])))
            skip = True
        else:
            ends.append((float(places[k]), float(at[k]), float(places[k]), float(at[k])))
    first = (math.nan, math.nan, float(z[0]), float(f[0]))
    last = (float(z[-1]), float(f[-1]), math.nan, math.nan)
    pieces = []
    for (_, _, start, at_start), (stop, at_stop, after, _) in pairwise([first, *ends, last]):
        inside = slice(np.searchsorted(z, start, "right"), np.searchsorted(z, stop, "left"))
        nodes = np.concatenate([[start], z[inside], [stop]])
        values = np.concatenate([[at_start], f[inside], [at_stop]])
        if (values == values[0]).all():
            pieces.append(Piece(start, after, at_start, at_start))
        else:
            samples = Samples(function, nodes, values)
            pieces.append(Piece(start, after, at_start, at_stop, samples=samples))
    return _for_ever(pieces)


def _for_ever(pieces: list[Piece]) -> tuple[Piece, ...]:
    ends = [-math.inf, *(piece.start for piece in pieces[1:]), math.inf]
    return tuple(
        Piece(start, stop, p.at_start, p.at_stop, samples=p.samples)
        for p, start, stop in zip(pieces, ends, ends[1:], strict=False)
    )
