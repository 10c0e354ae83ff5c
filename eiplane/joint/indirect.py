"""Bounds of what is no single affine map with every sample kept.

*Dropped samples.* Let K be the event that a sample is kept, of probability ``1 - d``, and Y* the
outputs with every value out of range put in the bin next to it. Given K, Y* is Y, so by the chain
rule ``(1 - d) I(X; Y | K) = I(X; Y*, 1_K) - I(X; 1_K) - d I(X; Y* | not K)``. With ``I(X; Y*) <=
I(X; Y*, 1_K) <= I(X; Y*) + h(d)``, h the entropy of a bit, that leaves

    I(X; Y*) - h(d) - d min(H(X), H(Y))  <=  (1 - d) I(X; Y | K)  <=  I(X; Y*) + h(d) ,

H(X) and H(Y) the vectors' largest entropies. Likewise ``H(Y*) - h(d) - d n_out log2 out_bins <=
(1 - d) H(Y | K) <= H(Y*)``. Y* is bounded like any layer; d is at most the sum of the single
outputs' exact shares, and of use while it is small.

*Maximum pooling.* Without an activation in between, or with one that rises, the bin of a maximum is
the greatest of the bins: a function of the binned outputs before it, whose information bounds its
own (data processing). The same goes for its entropy.

*Several layers, average pooling.* All that Y knows of X it knows through the first affine map's
values, so ``I(X; Y) <= rank(W_1) log2(in_bins)`` (see :mod:`eiplane.joint.bounds`). EI of the
single layers is no bound: values between them are not binned on their way through.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..network import Channel, Rule
from ..pairwise import output_marginals
from ..run import Runner
from .bounds import Interval, WholeBounds, closed_form, trivial_bounds
from .bracket import bracket, known_outputs

__all__ = ["dropped_bounds", "staged_bounds"]

#: The greatest share of dropped samples that is looked into.
_SHARE = 0.45
#: Beyond so many rows or columns the rank is not looked for.
_RANK = 1024


def dropped_bounds(
    channel: Channel,
    given: NDArray[np.bool_],
    outs: NDArray[np.intp],
    runner: Runner,
    key: int,
    samples: int | None = None,
) -> WholeBounds:
    """Return bounds of a channel without stages that drops samples.

    Parameters
    ----------
    channel : Channel
    given : ndarray of bool, shape (n_in,)
        The inputs that count.
    outs : ndarray of int
        The outputs that count; the others only drop samples.
    runner : Runner
    key, samples : int
        As for :func:`eiplane.joint.bracket.bracket`.
    """
    n_given = int(given.sum())
    low, high = trivial_bounds(n_given, len(outs), channel.in_bins, channel.out_bins)
    most = len(outs) * math.log2(channel.out_bins)
    trivial = WholeBounds((low, high), (0.0, most), (0.0, most))
    share = float(np.maximum(1.0 - output_marginals(channel, runner).sum(axis=1), 0.0).sum())
    share += 1e-9 * channel.n_out
    if share > _SHARE:
        return trivial
    kept = replace(channel.outputs(outs), rules=tuple(map(_clipped, channel.outputs(outs).rules)))
    clip = bracket(kept, given, known_outputs(kept, given, runner), runner, key, None, samples)
    bit = -share * math.log2(share) - (1.0 - share) * math.log2(1.0 - share)
    (i0, i1), (h0, h1) = clip.information, clip.entropy
    information = (i0 - bit - share * high, (i1 + bit) / (1.0 - share))
    entropy = (h0 - bit - share * most, h1 / (1.0 - share))
    return WholeBounds(information, entropy, trivial.rest).within(trivial)


def _clipped(rule: Rule) -> Rule:
    """Return a rule that drops nothing: dropped intervals take the label of the nearest kept."""
    kept = np.flatnonzero(rule.labels >= 0)
    nearest = np.abs(np.arange(len(rule.labels))[:, None] - kept).argmin(axis=1)
    return replace(rule, labels=np.ascontiguousarray(rule.labels[kept[nearest]]))


def staged_bounds(channel: Channel, given: NDArray[np.bool_], runner: Runner) -> Interval:
    """Return upper bounds of the information and of the entropy of a channel with stages.

    Parameters
    ----------
    channel : Channel
        Nothing dropped.
    given : ndarray of bool, shape (n_in,)
        The inputs that count.
    runner : Runner

    Returns
    -------
    information, entropy : float
    """
    most = channel.n_out * math.log2(channel.out_bins)
    information = trivial_bounds(int(given.sum()), channel.n_out, channel.in_bins, channel.out_bins)
    high = information[1]
    first = channel.stages[0].weight
    if given.all() and first is not None and max(first.shape) <= _RANK:
        high = min(high, int(np.linalg.matrix_rank(first)) * math.log2(channel.in_bins) + 1e-6)
    wide = _before_maximum(channel)
    if wide is not None:
        before = closed_form(wide, given, known_outputs(wide, given, runner))
        high, most = min(high, before.information[1]), min(most, before.entropy[1])
    return high, most


def _before_maximum(channel: Channel) -> Channel | None:
    """Return the channel of what a maximum is taken of, if the channel is no more than that."""
    if len(channel.stages) != 2:
        return None
    affine, pool = channel.stages
    weight, bias, activation = affine.weight, affine.bias, affine.activation
    if weight is None or bias is None or activation is None:
        return None
    plain = (
        activation.kind == "identity"
        and pool.width > 0
        and np.array_equal(channel.weight, np.eye(channel.n_out))
        and not channel.bias.any()
    )
    if not plain:
        return None
    bins = max(len(rule.labels) for rule in channel.rules)
    return replace(
        channel,
        weight=weight,
        bias=bias,
        stages=(),
        rules=tuple(
            replace(r, labels=np.arange(len(r.labels), dtype=np.int32)) for r in channel.rules
        ),
        rule=None if channel.rule is None else np.repeat(channel.rule, pool.width),
        out_bins=max(bins, 2),
    )
