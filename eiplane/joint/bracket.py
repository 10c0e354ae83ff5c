"""Bounds of whole vectors from simulated samples, right but for a stated sampling error.

For a sample the density of its inputs given its outputs' bins
(:mod:`eiplane.reference.backward`) and the probability of its outputs under a model that
factorises (:mod:`eiplane.reference.forward`) bracket
the entropy: ``E log2 r(u | y) <= H(Y) <= E -log2 q(y)``; in the cell of each sample the same
brackets ``H(Y | X)``. Both terms are averaged over the same samples, so that what they share
cancels in the information, and the single outputs' surprise, ``sum_B -log2 P(y_B)`` and ``sum_B
-log2 P(y_B | cell)``, both of known mean, takes part of the rest. Averages are widened by four
standard errors: by as much as Student's distribution asks for where samples are few, and by more
towards the longer tail.

These are averages of logarithms of densities that do not depend on one another: a few dozen samples
do, whatever the entropy (the information content of a log-concave vector concentrates: Fradelizi,
Madiman and Wang 2016).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .. import _core
from ..network import Channel
from ..pairwise import exact
from ..reference import Polytopes
from ..run import Runner
from .averages import Controls, widened_mean
from .bounds import SLACK, KnownOutputs, WholeBounds, closed_form, repeated
from .densities import log_backward, log_forward, sampling_cost
from .given import given_entropies
from .source import bin_pieces
from .surprise import cell_surprise

__all__ = ["bracket", "known_outputs", "sample_count"]

Array = NDArray[np.float64]

#: Multiplications to spend, and the most of them: some ten seconds of two cores.
_WORK, _MOST_WORK = 1 << 28, 1 << 39
#: Samples: the fewest that make sense, the fewest where they cost little, and the most.
_LEAST, _FEWEST, _MOST = 16, 32, 64
#: Numbers of a stack of matrices that is worked on at once.
_STACK = 1 << 21
#: Number of the stream of random numbers.
_PURPOSE = 48


def known_outputs(channel: Channel, given: NDArray[np.bool_], runner: Runner) -> KnownOutputs:
    """Return what is known of the single outputs.

    Parameters
    ----------
    channel : Channel
        Without stages or drops.
    given : ndarray of bool, shape (n_in,)
    runner : Runner
    """
    marginals = exact.output_marginals(channel, runner)
    rest = given_entropies(channel, given, runner)
    return KnownOutputs(marginals, rest.values, float(rest.errors.max()) + SLACK)


def bracket(
    channel: Channel,
    given: NDArray[np.bool_],
    known: KnownOutputs,
    runner: Runner,
    key: int,
    edges: Array | None = None,
    samples: int | None = None,
) -> WholeBounds:
    """Return the tightest bounds known of ``I(X; Y)``, ``H(Y)`` and ``H(Y | X)``.

    Parameters
    ----------
    channel : Channel
        Without stages, groups or drops.
    given : ndarray of bool, shape (n_in,)
        The inputs that X holds; the others are noise.
    known : KnownOutputs
    runner : Runner
    key : int
        Of the random numbers.
    edges : ndarray of float64, shape (n_out, n_in), optional
        Lower bounds of ``I(X_A; Y_B)``.
    samples : int, optional
        0: the closed forms alone. When left out, as many as take some seconds, and none where even
        a few would take longer.

    Returns
    -------
    WholeBounds
    """
    bounds = closed_form(channel, given, known, edges)
    rows = np.flatnonzero(~repeated(channel) & (channel.weight != 0.0).any(axis=1))
    number = sample_count(len(rows), channel.n_in) if samples is None else samples
    if number < _LEAST or not len(rows) or bounds.information[1] == 0.0:
        return bounds
    drawn = _simulate(channel, rows, given, runner, key, number)
    controls = np.stack(
        [_excess(drawn.labels, known.marginals[rows]), drawn.surprise - known.rest[rows].sum()]
    )
    errors = len(rows) * np.array([SLACK, known.error])
    return bounds.within(_averaged(drawn, Controls(controls, errors)))


def sample_count(n_out: int, n_in: int) -> int:
    """Return how many samples take some seconds; 0 where even a few would take longer."""
    cost = 2 * sampling_cost(n_out, n_in)
    if n_out == 0 or cost * _LEAST > _MOST_WORK:
        return 0
    return min(max(_WORK // cost, _FEWEST), _MOST, _MOST_WORK // cost)


@dataclass(frozen=True, eq=False)
class _Draws:
    """Of every sample, in bits: what its outputs tell at least and at most, of all and in its cell.

    ``labels``: the outputs' bins, shape (samples, n_out); ``surprise``: the sum of the single
    outputs' own, each given the cell.
    """

    least: Array
    most: Array
    least_within: Array
    most_within: Array
    labels: NDArray[np.int32]
    surprise: Array


@dataclass(frozen=True, eq=False)
class _Unit:
    channel: Channel
    given: NDArray[np.bool_]
    key: int
    first: int
    count: int

    @property
    def where(self) -> str:
        return f"samples {self.first}..{self.first + self.count - 1}"


def _simulate(
    channel: Channel,
    rows: NDArray[np.intp],
    given: NDArray[np.bool_],
    runner: Runner,
    key: int,
    number: int,
) -> _Draws:
    part = channel.outputs(rows)
    size = max(len(rows), channel.n_in if channel.n_in <= 2 * len(rows) else 0)
    step = max(1, min(32, _STACK // (size * size)))
    units = [_Unit(part, given, key, a, min(step, number - a)) for a in range(0, number, step)]
    found = runner.map(_draw, units, f"{channel.name}: bounds")
    return _Draws(
        *(
            np.concatenate([getattr(f, name) for f in found])
            for name in ("least", "most", "least_within", "most_within", "labels", "surprise")
        )
    )


def _draw(unit: _Unit) -> _Draws:
    channel, n = unit.channel, unit.channel.n_in
    start = unit.first // 64 * 64
    stop = -(-(unit.first + unit.count) // 64) * 64
    own = slice(unit.first - start, unit.first - start + unit.count)
    draws = np.stack(
        [_core.draw(unit.key, _PURPOSE, k, start, stop - start)[own] for k in range(n)], axis=1
    )
    u = draws.astype(np.float64) / 4294967296.0 + 2.0**-33
    weight = channel.weight * (channel.in_hi - channel.in_lo)
    offset = channel.bias + channel.in_lo * channel.weight.sum(axis=1)
    labels = channel.bins_of(_core.affine(weight, offset, np.ascontiguousarray(u.T))).T
    lo, hi = bin_pieces(channel, labels)
    lo, hi = lo - offset[:, None], hi - offset[:, None]
    whole = Polytopes(weight, lo, hi, u, np.zeros_like(u), np.ones(n))
    width = np.where(unit.given, 1.0 / channel.in_bins, 1.0)
    bins = (draws.astype(np.uint64) * np.uint64(channel.in_bins)) >> np.uint64(32)
    cell = Polytopes(weight, lo, hi, u, np.where(unit.given, bins * width, 0.0), width)
    middle = np.ascontiguousarray((cell.start + 0.5 * width).T)
    centres = _core.affine(weight, offset, middle).T
    return _Draws(
        log_backward(whole),
        -log_forward(whole, channel.out_bins),
        log_backward(cell),
        -log_forward(cell, channel.out_bins),
        labels,
        cell_surprise(channel, unit.given, centres, labels),
    )


def _excess(labels: NDArray[np.int32], known: Array) -> Array:
    """Return ``sum_B -log2 p_B(y_B)`` of the samples less its mean."""
    surprise = -np.log2(np.maximum(known, 1e-300))
    entropy = (known * np.where(known > 0.0, surprise, 0.0)).sum()
    return np.asarray(surprise[np.arange(len(known)), labels].sum(axis=1) - entropy)


def _averaged(drawn: _Draws, controls: Controls) -> WholeBounds:
    def low(values: Array) -> float:
        mean, below, _ = widened_mean(values, controls)
        return max(mean - below, 0.0)

    def high(values: Array) -> float:
        mean, _, above = widened_mean(values, controls)
        return max(mean + above, 0.0)

    return WholeBounds(
        (low(drawn.least - drawn.most_within), high(drawn.most - drawn.least_within)),
        (low(drawn.least), high(drawn.most)),
        (low(drawn.least_within), high(drawn.most_within)),
    )
