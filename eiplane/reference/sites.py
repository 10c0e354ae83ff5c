"""Gaussians restricted to intervals: the sites of moment matching."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Moments", "mixed", "refined", "restricted"]

Array = NDArray[np.float64]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(24)
_NODES, _WEIGHTS = 0.5 * (_NODES + 1.0), 0.5 * _WEIGHTS

#: Of a variable's precision, the least that is left without its own site.
_LEAST = 1e-10


@dataclass(frozen=True, eq=False)
class Moments:
    """Of ``exp(h s - l s^2 / 2)`` on an interval: log of the integral (nats), mean, variance."""

    log_mass: Array
    mean: Array
    variance: Array


def restricted(h: Array, l: Array, lo: Array, hi: Array) -> Moments:  # noqa: E741
    """Return the moments of ``exp(h s - l s^2 / 2)`` on ``lo < s < hi``.

    By Gauss and Legendre's rule over the part where the integrand is above ``exp(-24.5)`` of its
    maximum; it is smooth there, so that 24 nodes give nine digits. Nothing cancels: an interval
    much narrower than the deviation, or far out in a tail, needs no formula of its own.

    Parameters
    ----------
    h, l, lo, hi : ndarray of float64
        Of one shape; ``l >= 0``, ``lo < hi``. Without h and l the interval is finite.

    Returns
    -------
    Moments
    """
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        free = h / np.maximum(l, 1e-290)
        mode = np.minimum(np.maximum(free, lo), hi)
        slope = np.where(mode == free, 0.0, h - l * mode)
        reach = 49.0 / (np.abs(slope) + np.sqrt(slope * slope + 49.0 * l) + 1e-290)
        start = np.maximum(lo - mode, -reach)
        width = np.minimum(hi - mode, reach) - start
        d = start[..., None] + width[..., None] * _NODES
        exponent = d * (slope[..., None] - 0.5 * l[..., None] * d)
        e = np.exp(np.clip(exponent, -700.0, 0.0)) * _WEIGHTS
        mass = e.sum(axis=-1)
        first = (e @ _NODES) / mass
        second = (e * (_NODES - first[..., None]) ** 2).sum(axis=-1) / mass
        log_mass = np.log(np.maximum(mass * width, 1e-300)) + mode * (h - 0.5 * l * mode)
        variance = np.maximum(width * width * second, 1e-300)
    return Moments(log_mass, mode + (start + width * first), variance)


def mixed(h: Array, l: Array, lo: Array, hi: Array) -> Moments:  # noqa: E741
    """Return the moments on unions of intervals.

    Parameters
    ----------
    h, l : ndarray of float64, shape (...)
    lo, hi : ndarray of float64, shape (..., pieces)
        Pieces with ``lo >= hi`` count for nothing; at least one is not empty.

    Returns
    -------
    Moments
        Of shape (...).
    """
    if lo.shape[-1] == 1:
        return restricted(h, l, lo[..., 0], hi[..., 0])
    shape = lo.shape
    some = lo < hi
    each = restricted(
        np.broadcast_to(h[..., None], shape),
        np.broadcast_to(l[..., None], shape),
        np.where(some, lo, 0.0),
        np.where(some, hi, 1.0),
    )
    logs = np.where(some, each.log_mass, -np.inf)
    top = logs.max(axis=-1)
    share = np.exp(logs - top[..., None])
    total = share.sum(axis=-1)
    share /= total[..., None]
    mean = (share * each.mean).sum(axis=-1)
    spread = each.variance + (each.mean - mean[..., None]) ** 2
    return Moments(top + np.log(total), mean, (share * spread).sum(axis=-1))


def refined(
    mean: Array,
    variance: Array,
    site: tuple[Array, Array],
    limits: tuple[Array, Array],
    damp: float,
) -> tuple[Array, Array]:
    """Return sites ``exp(nu s - t s^2 / 2)`` that match moments: a step of expectation propagation.

    Parameters
    ----------
    mean, variance : ndarray of float64, shape (...)
        Of the variables as they are now.
    site : tuple of ndarray of float64, shape (...)
        t and nu as they are now.
    limits : tuple of ndarray of float64, shape (..., pieces)
        What the sites stand for.
    damp : float
        Share of the step that is taken.

    Returns
    -------
    tuple of ndarray of float64, shape (...)
        Precisions are not negative; a variable that is known by its own site alone keeps it.
    """
    t, nu = site
    rest = 1.0 / variance - t
    good = rest > _LEAST / variance
    l = np.where(good, rest, _LEAST / variance)  # noqa: E741
    h = mean / variance - nu
    found = mixed(h, l, *limits)
    new_t = np.maximum(1.0 / found.variance - l, 0.0)
    new_nu = found.mean * (new_t + l) - h
    good &= np.isfinite(new_t) & np.isfinite(new_nu)
    return (
        np.where(good, t + damp * (new_t - t), t),
        np.where(good, nu + damp * (new_nu - nu), nu),
    )
