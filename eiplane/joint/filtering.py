"""The probabilities of samples' outputs, by expectation propagation: one unit of work of it.

For a sample (x, y): ``log2 p(y)``, ``log2 p(y | cell of x)`` and, where samples are dropped, ``log2
p(kept | cell)``, each the volume of a polytope (:mod:`.polytopes`), approximated by the core.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .branches import sum_branches
from .polytopes import Labels, constraints
from .volumes import FILTERED, FilterUnit, Problem, draw_samples, propagated

__all__ = ["Filtered", "filter_unit"]

Array = NDArray[np.float64]

#: Nodes within an input's bin, for what the outputs tell of it.
_NODES = np.polynomial.legendre.leggauss(6)


@dataclass(frozen=True, eq=False)
class Filtered:
    """Filtered samples, those kept; logarithms are in bits.

    Parameters
    ----------
    output, within, kept : ndarray of float64, shape (kept, 2)
        ``-log2`` of ``p(y)``, of ``p(y | cell)``, of ``p(kept | cell)`` (0 without drops): without
        the correction, and the correction.
    corrected : ndarray of bool, shape (kept,)
        Which have been corrected.
    unsettled : int
        Evidences that did not settle.
    posterior : ndarray of float64, shape (kept, n_in, 2)
        ``log2 p(bin of x_A | y) in_bins``, and its expectation over the bins, given y; n_in 0
        unless wanted.
    gap : ndarray of float64, shape (kept, 3)
        Of labels in pieces, by how much two estimates of each differ: see :mod:`.branches`.
    """

    output: Array
    within: Array
    kept: Array
    corrected: NDArray[np.bool_]
    unsettled: int
    posterior: Array
    gap: Array


def filter_unit(unit: FilterUnit) -> Filtered:
    """Filter the samples of a unit."""
    p, samples = unit.problem, draw_samples(unit, FILTERED)
    labels = samples.known_by(p)
    count = len(labels)
    correct = samples.index % unit.every == 0
    told = [samples.branches(p, labels, within) for within in (False, True)]
    if p.channel.drops:
        told.append(samples.branches(p, np.full_like(labels, p.channel.out_bins), True))
    bits, gap, unsettled = np.zeros((3, count, 2)), np.zeros((count, 3)), 0
    posterior = np.empty((count, 0, 2))
    for i, own in enumerate(told):
        bits[i], bad, peaks = _evidence(p, own, correct)
        unsettled += bad
        if p.pieces > 1 and count:
            found = sum_branches(p, own, unit.branches, samples.index, i)
            bits[i, :, 0] += found.own
            gap[:, i] = found.gap
            peaks = _Peaks(found.sample, found.share, found.cavities, found.limits)
        if p.influence and i == 0:
            posterior = _posterior(p.channel.in_bins, samples.bins.T, peaks)
    return Filtered(bits[0], bits[1], bits[2], correct, unsettled, posterior, gap)


@dataclass(frozen=True, eq=False)
class _Peaks:
    """What is known of the inputs: of samples, with shares, ``exp(h u - l u^2 / 2)`` in limits."""

    sample: NDArray[np.intp]
    share: Array
    cavities: Array
    limits: tuple[Array, Array]


def _evidence(p: Problem, labels: Labels, correct: NDArray[np.bool_]) -> tuple[Array, int, _Peaks]:
    """Return what is known of the branches that samples are in."""
    every = np.arange(len(correct))
    lo, hi = labels.of_branches(every, labels.own)
    c = constraints(p.known, lo, hi, labels.place, labels.width)
    found, bad = propagated(p, p.settings, c, correct, np.zeros(len(correct), np.uint32))
    evidence, correction, _, _, linear, square = found
    bits = -np.stack([evidence, correction], axis=1) / math.log(2.0)
    peaks = _Peaks(every, np.ones(len(every)), np.stack([linear, square]), (c.in_lo, c.in_hi))
    return bits, int(bad.sum()), peaks


def _posterior(in_bins: int, own: NDArray[np.int64], peaks: _Peaks) -> Array:
    """Return what the outputs tell of every input's bin."""
    edges = np.arange(in_bins + 1) / in_bins - 0.5
    shares = np.zeros((*own.shape, in_bins))
    for i, s in enumerate(peaks.sample):  # one at a time: bins times nodes are many
        if not peaks.share[i] > 0.0:
            continue
        lo = np.clip(edges[:-1], peaks.limits[0][i][:, None], peaks.limits[1][i][:, None])
        hi = np.clip(edges[1:], peaks.limits[0][i][:, None], peaks.limits[1][i][:, None])
        u = 0.5 * ((lo + hi)[..., None] + (hi - lo)[..., None] * _NODES[0])
        linear, square = peaks.cavities[:, i, :, None, None]
        exponent = u * (linear - 0.5 * square * u)
        exponent -= exponent.max(axis=(1, 2), keepdims=True)
        mass = ((hi - lo)[..., None] * np.exp(exponent) * _NODES[1]).sum(axis=2)
        shares[s] += peaks.share[i] * mass / mass.sum(axis=1, keepdims=True)
    logs = np.log2(np.maximum(shares, 1e-12) * in_bins)
    told = np.take_along_axis(logs, own[:, :, None], axis=2)[:, :, 0]
    return np.stack([told, (shares * logs).sum(axis=2)], axis=2)
