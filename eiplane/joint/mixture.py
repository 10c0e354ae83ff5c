"""A mixture of Gaussians as a model of outputs and inputs, and what it says of samples.

It is fitted to scores of outputs and inputs by expectation maximisation (A. P. Dempster, N. M.
Laird and D. B. Rubin, J. R. Stat. Soc. B 39(1), 1-38, 1977), its covariances held off 0 by a prior.
Each component is then a model ``q(y) = prod_j q(y_j | y_<j)`` as in
:mod:`eiplane.reference.forward`: an interval's probability, then moments matched. Whatever the fit
is worth, the mixture is normalised over the bins of y, and given y over those of x, or over x.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..reference import mixed

__all__ = ["Mixture", "Told", "conditioned", "fitted", "odd_bits"]

Array = NDArray[np.float64]

#: Rounds of the fit on a part of the sample, which part, and rounds on all.
_ROUNDS, _QUARTER, _LAST_ROUNDS = 24, 4, 6
#: Weight of the prior, in samples for each dimension, and its variance.
_PRIOR, _OWN = 0.25, 0.05
#: Share of the uniform distribution in every q.
_UNIFORM = 1e-4
#: Least share of a variance that is left.
_LEAST = 1e-9


@dataclass(frozen=True, eq=False)
class Told:
    """Logarithms of what a model says of samples, in bits, each of shape (samples,).

    Parameters
    ----------
    output : ndarray
        ``log2 q(y)``.
    bins : ndarray
        ``log2 q(bins of x | y)``.
    density : ndarray
        ``log2 r(x | y)``, in units of the density of x.
    """

    output: Array
    bins: Array
    density: Array


@dataclass(frozen=True, eq=False)
class Mixture:
    """Gaussians of outputs and inputs, the outputs first.

    Parameters
    ----------
    weights : ndarray of float64, shape (k,)
    means : ndarray of float64, shape (k, d)
    covariances : ndarray of float64, shape (k, d, d)
    """

    weights: Array
    means: Array
    covariances: Array

    def told(
        self, lo: Array, hi: Array, ends: tuple[Array, Array], scores: Array, bins: tuple[int, int]
    ) -> Told:
        """Return what the model says of samples.

        Parameters
        ----------
        lo, hi : ndarray of float64, shape (samples, n_out, pieces)
            Scores between which outputs lie.
        ends : tuple of ndarray of float64, shape (samples, n_in)
            Scores between which inputs lie.
        scores : ndarray of float64, shape (samples, n_in)
            Of the inputs.
        bins : tuple of int
            Of inputs and outputs.

        Returns
        -------
        Told
        """
        every = np.empty((3, len(self.weights), len(lo)))
        for c, (weight, mean, covariance) in enumerate(
            zip(self.weights, self.means, self.covariances, strict=True)
        ):
            means = np.repeat(mean[None], len(lo), axis=0)
            squares = np.repeat(covariance[None], len(lo), axis=0)
            output, means, squares = conditioned(means, squares, lo, hi, bins[1])
            density = _log_normal(scores - means, squares) + _log_standard(scores)
            low, high = ends[0][:, :, None], ends[1][:, :, None]
            inside, _, _ = conditioned(means, squares, low, high, bins[0])
            own = math.log2(weight) + output
            every[:, c] = own, own + inside, own + density
        output, both, exact = (_log_sum(logs) for logs in every)
        return Told(output, both - output, exact - output)

    def of_points(self, t: Array, ends: tuple[Array, Array], bins: int) -> tuple[Array, Array]:
        """Return the log2 density of outputs that are points, and ``log2 q(bins of x | t)``.

        Parameters
        ----------
        t : ndarray of float64, shape (samples, n_out)
        ends : tuple of ndarray of float64, shape (samples, n_in)
            As of :meth:`told`.
        bins : int
            Of inputs.
        """
        first = t.shape[1]
        every = np.empty((2, len(self.weights), len(t)))
        for c, (weight, mean, covariance) in enumerate(
            zip(self.weights, self.means, self.covariances, strict=True)
        ):
            off = t - mean[:first]
            own = np.repeat(covariance[None, :first, :first], len(t), axis=0)
            moved, rest = _regressed(off, covariance, first)
            squares = np.repeat(rest[None], len(t), axis=0)
            low, high = ends[0][:, :, None], ends[1][:, :, None]
            inside, _, _ = conditioned(mean[first:] + moved, squares, low, high, bins)
            every[0, c] = math.log2(weight) + _log_normal(off, own)
            every[1, c] = every[0, c] + inside
        output, both = (_log_sum(logs) for logs in every)
        return output, both - output


def _regressed(off: Array, covariance: Array, first: int) -> tuple[Array, Array]:
    """Return what the others move by, and their covariance, where the first numbers are known."""
    own, across = covariance[:first, :first], covariance[:first, first:]
    slopes = np.linalg.solve(own, across)
    return off @ slopes, covariance[first:, first:] - across.T @ slopes


def odd_bits(bins: int) -> float:
    """Return what a number adds to a surprise, at most, that is in a bin thought impossible."""
    return math.log2(bins / _UNIFORM)


def _log_sum(logs: Array) -> Array:
    top = logs.max(axis=0)
    return np.asarray(top + np.log2(np.exp2(logs - top).sum(axis=0)))


def _log_standard(scores: Array) -> Array:
    """Return less the log2 density of standard normal scores."""
    return np.asarray((0.5 * scores**2 + 0.5 * math.log(2.0 * math.pi)).sum(axis=1) / math.log(2.0))


def _log_normal(off: Array, squares: Array) -> Array:
    """Return the log2 density of vectors, (samples, d), each of its own covariance."""
    if off.shape[1] == 0:
        return np.zeros(len(off))
    root = np.linalg.cholesky(squares)
    solved = np.linalg.solve(root, off[:, :, None])[:, :, 0]
    size = 2.0 * np.log(np.einsum("bii->bi", root)).sum(axis=1)
    whole = (solved**2).sum(axis=1) + size + off.shape[1] * math.log(2.0 * math.pi)
    return np.asarray(-0.5 * whole / math.log(2.0))


def conditioned(
    means: Array, squares: Array, lo: Array, hi: Array, bins: int
) -> tuple[Array, Array, Array]:
    """Return the log2 probability of the first numbers' intervals, and the law of the others.

    Parameters
    ----------
    means : ndarray of float64, shape (samples, d)
    squares : ndarray of float64, shape (samples, d, d)
        Covariances.
    lo, hi : ndarray of float64, shape (samples, m, pieces)
        Intervals of the first m; the bin is their union. Where it is empty it is impossible.
    bins : int
        How many each number has.

    Returns
    -------
    tuple of ndarray
        Of shapes (samples,), (samples, d - m) and (samples, d - m, d - m).
    """
    total = np.zeros(len(means))
    whole = np.einsum("bii->bi", squares)
    for j in range(lo.shape[1]):
        variance = np.maximum(squares[:, 0, 0], _LEAST * whole[:, j])
        below, above = lo[:, j] - means[:, :1], hi[:, j] - means[:, :1]
        some = (below < above).any(axis=1)
        # What cannot be is as if nothing had been seen.
        below[~some], above[~some] = -np.inf, np.inf
        found = mixed(np.zeros(len(means)), 1.0 / variance, below, above)
        share = np.exp(np.minimum(found.log_mass - 0.5 * np.log(2.0 * math.pi * variance), 0.0))
        total += np.log2((1.0 - _UNIFORM) * np.where(some, share, 0.0) + _UNIFORM / bins)
        change = np.minimum(found.variance - variance, 0.0)
        along = squares[:, 0, 1:] / variance[:, None]
        means = means[:, 1:] + along * found.mean[:, None]
        squares = squares[:, 1:, 1:] + along[:, :, None] * (along * change[:, None])[:, None, :]
    return total, means, squares


def fitted(scores: Array, components: int, rng: np.random.Generator) -> Mixture:
    """Return a mixture that fits a sample.

    Parameters
    ----------
    scores : ndarray of float64, shape (samples, d)
    components : int
    rng : Generator
        Where it begins.

    Returns
    -------
    Mixture
    """
    count = len(scores)
    centres = scores[rng.choice(count, components, replace=False)]
    far = 0.5 * (centres**2).sum(axis=1) - scores @ centres.T
    share = np.zeros((count, components))
    share[np.arange(count), far.argmin(axis=1)] = 1.0
    some = max(count // _QUARTER, min(count, 8 * components))
    found = _maximised(scores, share)
    if components > 1:
        for _ in range(_ROUNDS):  # most of the way on a part of the sample
            found = _maximised(scores[:some], _shares(found, scores[:some]))
        for _ in range(_LAST_ROUNDS):
            found = _maximised(scores, _shares(found, scores))
    return found


def _shares(mixture: Mixture, scores: Array) -> Array:
    """Return how much of each sample is each component's; shape (samples, components)."""
    logs = np.empty((len(mixture.weights), len(scores)))
    for own, weight, mean, covariance in zip(
        logs, mixture.weights, mixture.means, mixture.covariances, strict=True
    ):
        root = np.linalg.cholesky(covariance)
        solved = (scores - mean) @ np.linalg.inv(root).T
        own[:] = -0.5 * np.einsum("ij,ij->i", solved, solved)
        own += math.log(weight) - np.log(root.diagonal()).sum()
    share = np.exp(logs - logs.max(axis=0)).T
    return np.asarray(share / share.sum(axis=1, keepdims=True))


def _maximised(scores: Array, share: Array) -> Mixture:
    """Return the mixture that fits best, given how much of each sample is each component's."""
    d = scores.shape[1]
    number = share.sum(axis=0)
    means = (share.T @ scores) / np.maximum(number, 1e-300)[:, None]
    prior = _PRIOR * d + 1.0
    covariances = np.empty((share.shape[1], d, d))
    for c, own in enumerate(share.T):
        off = scores - means[c]
        covariances[c] = ((off * own[:, None]).T @ off + prior * _OWN * np.eye(d)) / (
            number[c] + prior
        )
    return Mixture((number + 1.0) / (number + 1.0).sum(), means, covariances)
