"""What a sampled estimate may claim: its bounds, and a value and an error that respect them."""

from __future__ import annotations

import math

from .bounds import lower_bound, trivial_bounds, upper_bound
from .estimates import Estimate
from .estimator import Measured
from .nodes import SingleOutputs
from .saturation import LEAST_COVERAGE
from .task import Task

__all__ = ["information_bounds", "settled_information", "settled_output"]


def information_bounds(task: Task, singles: SingleOutputs) -> tuple[float, float]:
    """Return rigorous bounds of the information of a piece, in bits.

    Parameters
    ----------
    task : Task
    singles : SingleOutputs

    Returns
    -------
    low, high : float
    """
    channel = task.channel
    if not task.informed:
        return 0.0, 0.0
    low, high = trivial_bounds(task.n_given, len(task.outs), channel.in_bins, channel.out_bins)
    if channel.drops:
        return low, high
    low = lower_bound(
        None if task.edges is None else task.edges[:, task.given], singles.least_influence()
    )
    own = singles.greatest_entropies()
    if own is None:
        return low, max(low, high)
    inputs = task.n_given * math.log2(channel.in_bins)
    high = upper_bound(inputs, own, singles.least_noise(), singles.twins())
    return min(low, high), high


def settled_information(
    estimate: Estimate, bounds: tuple[float, float], saturated: bool, published: bool
) -> Measured:
    """Return an estimate of the information as it is reported.

    Parameters
    ----------
    estimate : Estimate
    bounds : tuple of float
    saturated : bool
        Then the error is at least half the way between the bounds.
    published : bool
        Whether the value is to stay what the estimator says, whatever the bounds say.

    Returns
    -------
    Measured
    """
    low, high = bounds
    value, error = estimate.value, estimate.stderr
    if not published:
        value = min(max(value, low), high)
    # An error that rests on a bias estimated from next to nothing is none.
    if saturated and (not published or estimate.coverage < 0.5):
        error = max(error, 0.5 * (high - low))
    # Whatever was estimated, the truth is within the bounds.
    return Measured(value, min(error, max(value - low, high - value)), bounds, estimate.bias)


def settled_output(
    task: Task, estimate: Estimate, singles: SingleOutputs, least: float
) -> Measured:
    """Return an estimate of ``H(Y)`` as it is reported.

    Parameters
    ----------
    task : Task
    estimate : Estimate
    singles : SingleOutputs
    least : float
        A lower bound, that of the information: ``H(Y) >= I(X; Y)``.

    Returns
    -------
    Measured
    """
    value, error = estimate.value, estimate.stderr
    parts = singles.greatest_entropies()
    high = len(task.outs) * math.log2(task.channel.out_bins)
    if parts is not None:
        high = float(parts[~singles.twins()].sum())
    if parts is not None and estimate.coverage < LEAST_COVERAGE:
        # All that is certain is that it lies between nothing and the sum of the parts.
        value = min(value, high)
        error = max(error, high - value)
    return Measured(value, error, (min(least, high), high), estimate.bias)
