"""What samples' outputs tell, cheaply: assumed density filtering, and single outputs.

The surrogate of ``-log2 p(y)`` is what :mod:`eiplane.reference.forward` describes: one Gaussian,
conditioned on one output after the other. It misses little of how the surprise differs from one
sample to the next, at a small part of what expectation propagation costs. So its mean is taken over
many samples, and that of what it misses over few (:mod:`.levels`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .. import _core
from ..network import Channel
from .densities import log_factored
from .given import LEAST
from .polytopes import Constraints, constraints
from .sums import normal_distribution
from .volumes import FILTERED, FilterUnit, Problem, Samples, draw_samples

__all__ = ["Controls", "Surrogates", "control_unit", "surrogate_unit", "surrogate_work"]

Array = NDArray[np.float64]

#: Purpose of the random numbers of the controls' means.
_CONTROLS = 13


@dataclass(frozen=True, eq=False)
class Controls:
    """Control variates of samples, ``-sum_B log2`` of single outputs' probabilities, in bits.

    Parameters
    ----------
    output : ndarray of float64, shape (kept,)
        Of ``p_B(y_B)``; of normal ones where the outputs' distributions are not known.
    within : ndarray of float64, shape (kept,)
        Of ``p_B(y_B | cell)``, as if z were normal.
    count, outside : int
        Samples in all, and those with any output outside its range.
    bins : ndarray of int64, shape (n_in, in_bins)
        How often the inputs were in each of their bins, where samples are dropped and this is not
        known beforehand; n_in 0 elsewhere.
    """

    output: Array
    within: Array
    count: int
    outside: int
    bins: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Surrogates:
    """What stands for the filtered numbers of samples, those kept; in bits.

    Parameters
    ----------
    output, within, kept : ndarray of float64, shape (kept,)
        ``-log2`` of ``p(y)``, of ``p(y | cell)``, of ``p(kept | cell)`` (0 without drops).
    controls : Controls
    """

    output: Array
    within: Array
    kept: Array
    controls: Controls


def surrogate_work(channel: Channel) -> float:
    """Return the multiplications that a surrogate takes, roughly."""
    n, m = float(channel.n_in), float(channel.n_out)
    return 2.0 * min(m**3, 12.0 * n * n * m) + 4.0 * n * m + 500.0 * m


def surrogate_unit(unit: FilterUnit) -> Surrogates:
    """Return the surrogates of a unit's samples: the same samples as :func:`.filter_unit`'s.

    Where ``every`` is not 0 there are the control variates alone.
    """
    p, samples = unit.problem, draw_samples(unit, FILTERED)
    controls = _controls(p, samples, unit.count)
    if unit.every:
        nothing = np.zeros(samples.cell.shape[1])
        return Surrogates(nothing, nothing, nothing, controls)
    labels, bins = samples.known_by(p), p.channel.out_bins
    lo, hi = p.limits(labels)
    everywhere = np.zeros((len(labels), len(p.apart.rows)))
    place = samples.places(p.apart)
    output = _surprise(constraints(p.apart, lo, hi, everywhere, np.ones(p.channel.n_in)), bins)
    within = _surprise(constraints(p.apart, lo, hi, place, p.width), bins)
    kept = np.zeros(len(labels))
    if p.channel.drops:
        lo, hi = p.limits(np.full_like(labels, bins))
        kept = _surprise(constraints(p.apart, lo, hi, place, p.width), bins)
    return Surrogates(output, within, kept, controls)


def _surprise(c: Constraints, bins: int) -> Array:
    """Return ``-log2`` of the volumes: of the inputs' intervals, and of the outputs' about them."""
    total = np.asarray(-np.log2(c.in_hi - c.in_lo).sum(axis=1))
    if not len(c.weight):
        return total
    middle = np.ascontiguousarray(0.5 * (c.in_lo + c.in_hi).T)
    shift = _core.affine(c.weight, np.zeros(len(c.weight)), middle).T[:, None, :]
    return np.asarray(total - log_factored(c.weight, c.out_lo - shift, c.out_hi - shift, bins))


# ---- control variates ----------------------------------------------------------------------------


def control_unit(unit: FilterUnit) -> Controls:
    """Return the control variates of a unit's samples alone."""
    return _controls(unit.problem, draw_samples(unit, _CONTROLS), unit.count)


def _controls(p: Problem, samples: Samples, count: int) -> Controls:
    span = p.channel.in_hi - p.channel.in_lo
    scaled = np.ascontiguousarray(p.channel.weight * span)
    shift = _core.affine(scaled, p.known.centre, samples.cell)
    if p.marginals is not None:
        logs = -np.log2(np.maximum(p.marginals, LEAST))
        outer = np.take_along_axis(logs, samples.labels, axis=1)[p.wanted].sum(axis=0)
    else:
        still = np.broadcast_to(p.known.centre[:, None], shift.shape)
        outer = _normal_surprise(p, samples.labels, still, np.ones_like(p.width))
    within = _normal_surprise(p, samples.labels, shift, p.width)
    return Controls(outer, within, count, samples.outside, _bins(p, samples))


def _bins(p: Problem, samples: Samples) -> NDArray[np.int64]:
    bins = p.channel.in_bins
    if not (p.influence and p.channel.drops):
        return np.zeros((0, bins), np.int64)
    return np.stack([np.bincount(own, minlength=bins) for own in samples.bins])


def _normal_surprise(p: Problem, labels: NDArray[np.intp], centre: Array, width: Array) -> Array:
    """Return ``-sum_B log2 P(label_B)``, z_B normal about a centre (n_out, kept)."""
    span = p.channel.in_hi - p.channel.in_lo
    inside = p.channel.weight * (span * width)
    deviation = np.sqrt((inside * inside).sum(axis=1) / 12.0)
    total = np.zeros(labels.shape[1])
    for b in np.flatnonzero(p.wanted & (deviation > 0.0)):
        u = p.unions[p.rule[b]]
        lo, hi = ((u_[labels[b]] - centre[b][:, None]) / deviation[b] for u_ in (u.lo, u.hi))
        mass = np.maximum(normal_distribution(hi) - normal_distribution(lo), 0.0)
        total -= np.log2(np.maximum(mass.sum(axis=1), LEAST))
    return total
