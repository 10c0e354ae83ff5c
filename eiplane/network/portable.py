"""Elementary functions whose digits are the same on every machine.

NumPy's own pick other code on other CPUs, and C libraries have their own: the last digit of
``np.log`` is not the same with AVX-512 as without, so that a threshold, and what is counted at it,
would depend on the machine. These are sums, products, quotients and square roots in a fixed order,
which IEEE 754 rounds one way, on arguments that are reduced exactly. Their errors are about two
units of the last place (tests/test_portable.py); csrc/common/ei_math.h is the same for the core.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "arctan", "arctanh", "cos", "erf", "erfc", "exp", "expm1", "log", "log1p", "sin", "tan", "tanh",
]  # fmt: skip

Array = NDArray[np.float64]

# ln 2 in two parts; the first has 32 bits, so that products with exponents are exact.
_LN2 = (0.69314718036912381649, 1.90821492927058770002e-10)
# pi / 2 in three parts of 33 bits.
_QUARTER = (1.5707963267341256, 6.077100506303966e-11, 2.0222662487959506e-21)
_EXACT = 2.0**20  # to which its multiples are exact

_EXP = [1.0 / math.factorial(k) for k in range(2, 15)]
_LOG = [2.0 / k for k in range(3, 25, 2)]
_SIN = [(-1.0) ** k / math.factorial(2 * k + 1) for k in range(1, 9)]
_COS = [(-1.0) ** k / math.factorial(2 * k) for k in range(2, 10)]
_ATAN = [(-1.0) ** k / (2 * k + 1) for k in range(1, 13)]
_ERF = [(-1.0) ** k / (math.factorial(k) * (2 * k + 1)) for k in range(1, 15)]

# Chebyshev coefficients of (1 + x) exp(x^2) erfc(x) in t = (x - 2) / (x + 2), as in ei_math.h.
_ERFC = [
    1.5533827552141598222, -0.22836472289031625551, 0.0078657223265960052074,
    0.010488864927603514264, -0.0025468631391996633374, -0.000028878658172054085206,
    0.000087999437989666001294, -3.4745017165396843926e-7, -3.5980662238990515894e-6,
    -1.4381599404319033322e-7, 1.5958722403552472785e-7, 2.1492268688640918387e-8,
    -6.0666877321742036724e-9, -1.954937092727580694e-9, 7.1536858987784539924e-11,
    1.287232118225773848e-10, 1.7599922759007792189e-11, -5.0565968304848091718e-12,
    -2.1654727131652190062e-12, -1.0392975350294391094e-13, 1.2986864745218391365e-13,
    3.7299696907612372977e-14, -7.0756262435001491625e-16, -3.0060414192794109616e-15,
    -7.1919740200845368801e-16, 4.6706732045434014963e-17, 7.0918423712075391332e-17,
    1.6170791079896452193e-17,
]  # fmt: skip


def _quiet(function: Callable[[Array], Array]) -> Callable[[ArrayLike], Array]:
    """Take what arrays are made of; infinite and undefined values are values, not warnings."""

    def called(x: ArrayLike) -> Array:
        with np.errstate(all="ignore"):
            found: Array = function(np.asarray(x, dtype=np.float64))[()]
        return found

    called.__name__ = called.__qualname__ = function.__name__
    called.__doc__ = function.__doc__
    return called


def _sum(coefficients: list[float], x: Array) -> Array:
    """Return c0 + c1 x + c2 x^2 + ..."""
    total = np.full_like(x, coefficients[-1])
    for c in coefficients[-2::-1]:
        total *= x
        total += c
    return total


def _exponential(x: Array) -> tuple[Array, Array]:
    """Return k and m, exp(x) = 2^k (1 + m); x is taken to lie within +-800."""
    x = np.clip(np.where(np.isnan(x), 0.0, x), -800.0, 800.0)
    k = np.rint(x * 1.4426950408889634)
    high, low = x - k * _LN2[0], k * _LN2[1]
    r = high - low
    rest = (high - r) - low
    return k, r + (r * r * _sum(_EXP, r) + (rest + rest * r))


def _exp(x: Array) -> Array:
    k, m = _exponential(x)
    return np.where(np.isnan(x), x, np.ldexp(1.0 + m, k.astype(np.int32)))


def _expm1(x: Array) -> Array:
    k, m = _exponential(x)
    scale = np.ldexp(1.0, np.minimum(k, 60.0).astype(np.int32))
    near = np.where(k == 0.0, m, (scale - 1.0) + scale * m)
    near = np.where(x == 0.0, x, near)  # keeps the sign
    return np.where(np.isnan(x), x, np.where(k >= 60.0, _exp(x), near))


def _logarithm(x: Array, f: Array | None, rest: Array) -> Array:
    """Return log(x + rest), x positive; f is x - 1 where that is known better than x is."""
    m, e = np.frexp(x)
    small = m < 0.70710678118654752
    m, k = np.where(small, 2.0 * m, m), (e - small).astype(np.float64)
    of_m = m - 1.0
    if f is not None:
        of_m = np.where(k == 0.0, f, of_m)
        rest = np.where(k == 0.0, 0.0, rest)
    s = of_m / (2.0 + of_m)
    z = s * s
    half = 0.5 * of_m * of_m
    tail = s * (half + z * _sum(_LOG, z)) + (k * _LN2[1] + rest / x)
    return k * _LN2[0] - ((half - tail) - of_m)


def _ends_of_log(x: Array, found: Array) -> Array:
    """Take care of what is not positive and finite."""
    found = np.where(x > 0.0, found, np.where(x == 0.0, -np.inf, np.nan))
    return np.where(x == np.inf, np.inf, found)


def _log(x: Array) -> Array:
    inside = np.where((x > 0.0) & (x < np.inf), x, 1.0)
    return _ends_of_log(x, _logarithm(inside, None, np.zeros_like(x)))


def _log1p(y: Array) -> Array:
    inside = np.where((y > -1.0) & (y < np.inf), y, 0.0)
    x = 1.0 + inside
    back = x - 1.0
    rest = (1.0 - (x - back)) + (inside - back)
    found = _logarithm(x, inside, rest)
    return _ends_of_log(1.0 + y, np.where(y == 0.0, y, found))


def _tanh(x: Array) -> Array:
    t = _expm1(-2.0 * np.abs(x))
    return np.copysign(-t / (t + 2.0), x)


def _arctanh(y: Array) -> Array:
    size = np.abs(y)
    found = np.copysign(0.5 * _log1p(2.0 * size / (1.0 - size)), y)
    return np.where(size <= 1.0, found, np.nan)


def _erfc_right(x: Array) -> Array:
    """Return erfc for x >= 0.5."""
    t = 2.0 * ((x - 2.0) / (x + 2.0))
    b0, b1 = np.zeros_like(x), np.zeros_like(x)
    for c in _ERFC[:0:-1]:
        b0, b1 = t * b0 - b1 + c, b0
    value = 0.5 * t * b0 - b1 + 0.5 * _ERFC[0]
    big = x * 134217729.0
    high = big - (big - x)  # the square of its 26 bits is exact
    return value * _exp(-high * high) * _exp(-(x - high) * (x + high)) / (1.0 + x)


def _erf_middle(x: Array) -> Array:
    """Return erf for |x| <= 0.5."""
    z = x * x
    return 1.1283791670955126 * (x + x * (z * _sum(_ERF, z)))


def _erfc(x: Array) -> Array:
    right = _erfc_right(np.clip(np.abs(x), 0.5, 30.0))
    middle = 1.0 - _erf_middle(np.clip(x, -0.5, 0.5))
    found = np.where(x > 0.5, right, np.where(x < -0.5, 2.0 - right, middle))
    return np.where(np.isnan(x), x, found)


def _erf(x: Array) -> Array:
    right = 1.0 - _erfc_right(np.clip(np.abs(x), 0.5, 30.0))
    found = np.where(np.abs(x) > 0.5, np.copysign(right, x), _erf_middle(np.clip(x, -0.5, 0.5)))
    return np.where(np.isnan(x) | (x == 0.0), x, found)


def _waves(x: Array) -> tuple[Array, Array]:
    """Return sine and cosine; beyond 2^20 the C library's."""
    inside = np.where(np.abs(x) < _EXACT, x, 0.0)
    k = np.rint(inside * 0.6366197723675814)
    r = ((inside - k * _QUARTER[0]) - k * _QUARTER[1]) - k * _QUARTER[2]
    z = r * r
    s = r + r * (z * _sum(_SIN, z))
    c = (1.0 - 0.5 * z) + z * z * _sum(_COS, z)
    turn = k.astype(np.int64) & 3
    sine = np.choose(turn, (s, c, -s, -c))
    cosine = np.choose(turn, (c, -s, -c, s))
    far = np.abs(x) >= _EXACT
    if far.any() or np.isnan(x).any():
        far = far | np.isnan(x)
        sine, cosine = np.where(far, np.sin(x), sine), np.where(far, np.cos(x), cosine)
    return sine, cosine


def _sin(x: Array) -> Array:
    return np.where(x == 0.0, x, _waves(x)[0])


def _cos(x: Array) -> Array:
    return _waves(x)[1]


def _tan(x: Array) -> Array:
    sine, cosine = _waves(x)
    return np.where(x == 0.0, x, sine / cosine)


def _arctan(x: Array) -> Array:
    size = np.abs(x)
    t = np.where(size > 1.0, 1.0 / size, size)
    for _ in range(2):  # the tangent of half the angle
        t = t / (1.0 + np.sqrt(1.0 + t * t))
    z = t * t
    angle = 4.0 * (t + t * (z * _sum(_ATAN, z)))
    angle = np.where(size > 1e-150, angle, size)
    return np.copysign(np.where(size > 1.0, 1.5707963267948966 - angle, angle), x)


exp, expm1, log, log1p = _quiet(_exp), _quiet(_expm1), _quiet(_log), _quiet(_log1p)
tanh, arctanh, erf, erfc = _quiet(_tanh), _quiet(_arctanh), _quiet(_erf), _quiet(_erfc)
sin, cos, tan, arctan = _quiet(_sin), _quiet(_cos), _quiet(_tan), _quiet(_arctan)
