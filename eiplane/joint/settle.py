"""What a sampled estimate may claim: its bounds, and a value and an error that respect them."""

from __future__ import annotations

import math

from .bounds import SLACK, KnownOutputs, WholeBounds, lower_bound, trivial_bounds, upper_bound
from .bracket import bracket
from .budget import multiplications
from .estimates import Estimate
from .estimator import Measured
from .indirect import dropped_bounds, staged_bounds
from .modelled import Effort, modelled_bounds
from .nodes import SingleOutputs
from .saturation import LEAST_COVERAGE
from .source import ChannelSource
from .task import Task

__all__ = ["settled_information", "settled_output", "whole_bounds"]

#: Multiplications of the evaluations to which a model is fitted.
_WORK = 1 << 33


def whole_bounds(task: Task, singles: SingleOutputs, samples: int | None) -> WholeBounds:
    """Return rigorous bounds of a piece, in bits.

    Parameters
    ----------
    task : Task
    singles : SingleOutputs
    samples : int or None
        To take for the bounds alone, where they can be of use; None: as many as take some seconds.

    Returns
    -------
    WholeBounds
    """
    channel, most = task.channel, len(task.outs) * math.log2(task.channel.out_bins)
    if channel.drops:
        trivial = trivial_bounds(task.n_given, len(task.outs), channel.in_bins, channel.out_bins)
        bounds = WholeBounds(trivial, (0.0, most), (0.0, most))
        if not channel.stages:
            found = dropped_bounds(channel, task.given, task.outs, task.runner, task.key, samples)
            bounds = bounds.within(_by_singles(task, singles)).within(found)
    elif task.marginals is not None and task.rest is not None:
        known = KnownOutputs(task.marginals, task.rest, task.rest_error + SLACK)
        bounds = bracket(channel, task.given, known, task.runner, task.key, task.edges, samples)
    else:
        bounds = _by_samples(task, singles)
        if samples is None and task.informed:
            source = ChannelSource.of(channel, task.given)
            effort = Effort.of(_WORK / multiplications(channel))
            found = modelled_bounds(source, task.key, task.runner, channel.name, effort)
            bounds = bounds.within(found)
    if not task.informed:
        return WholeBounds((0.0, 0.0), bounds.entropy, bounds.entropy)
    return bounds


def _by_singles(task: Task, singles: SingleOutputs) -> WholeBounds:
    """Return bounds from sampled entropies of single outputs, where samples are dropped.

    Inputs are no longer independent then, so no sum over them is a bound.
    """
    channel, most = task.channel, len(task.outs) * math.log2(task.channel.out_bins)
    effect = task.given & (channel.weight != 0.0).any(axis=0)
    high = min(float(effect.sum()) * math.log2(channel.in_bins), most)
    own, noise = singles.greatest_entropies(), singles.least_noise()
    low = min(lower_bound(None, singles.least_influence()), high)
    if own is not None:
        most = float(own[~singles.twins()].sum())
        high = max(upper_bound(high, own, noise, singles.twins()), low)
    return WholeBounds((low, high), (0.0, most), (0.0, most))


def _by_samples(task: Task, singles: SingleOutputs) -> WholeBounds:
    """Return bounds that rest on sampled entropies of single outputs."""
    channel = task.channel
    most, entropy = staged_bounds(channel, task.given, task.runner)
    edges = None if task.edges is None else task.edges[:, task.given]
    low = lower_bound(edges, singles.least_influence())
    own = singles.greatest_entropies()
    if own is not None:
        inputs = min(most, task.n_given * math.log2(channel.in_bins))
        most = upper_bound(inputs, own, singles.least_noise(), singles.twins())
        entropy = min(entropy, float(own[~singles.twins()].sum()))
    return WholeBounds((min(low, most), most), (min(low, entropy), entropy), (0.0, entropy))


def settled_information(
    estimate: Estimate, bounds: tuple[float, float], saturated: bool, published: bool
) -> Measured:
    """Return an estimate of the information as it is reported.

    Parameters
    ----------
    estimate : Estimate
    bounds : tuple of float
    saturated : bool
        Then there is nothing to report but the bounds.
    published : bool
        Whether the value is to stay what the estimator says, whatever the bounds say and however
        little it is worth: its error is then as great as the bounds allow.

    Returns
    -------
    Measured
    """
    if saturated and not published:
        return Measured(None, None, bounds)
    error = estimate.stderr
    # An error that rests on a bias estimated from next to nothing is none.
    if saturated and estimate.coverage < 0.5:
        error = max(error, 0.5 * (bounds[1] - bounds[0]))
    return _respecting(bounds, estimate, error, published)


def settled_output(estimate: Estimate, bounds: WholeBounds, published: bool) -> Measured:
    """Return an estimate of ``H(Y)`` as it is reported.

    Parameters
    ----------
    estimate : Estimate
    bounds : WholeBounds
    published : bool
        As of :func:`settled_information`.

    Returns
    -------
    Measured
    """
    error = estimate.stderr
    if estimate.coverage < LEAST_COVERAGE:
        if not published:
            return Measured(None, None, bounds.entropy)
        # All that is certain is that it lies between the bounds.
        error = math.inf
    return _respecting(bounds.entropy, estimate, error, published)


def _respecting(
    bounds: tuple[float, float], estimate: Estimate, error: float, published: bool
) -> Measured:
    """Return an estimate with what the bounds say of it: the truth is within them.

    No error is longer than the way to the farther one, nor shorter than that to the nearer one from
    outside.
    """
    low, high = bounds
    value = estimate.value if published else min(max(estimate.value, low), high)
    error = min(max(error, low - value, value - high), max(value - low, high - value))
    return Measured(value, error, bounds, estimate.bias)
