"""The proof on the spot: what was extracted has to give what was seen in the run."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ...network import Activation, Layer, per_row
from .outcome import Outcome
from .recognise import Function, chain
from .signals import Map, Origin, Use
from .weights import layer_of

__all__ = ["objection"]

Array = NDArray[np.float64]

#: Roundings that a chain of operators may add up, in units of the type's precision.
_ROUNDINGS = 64.0


def objection(origin: Origin, outcome: Outcome, layer: Layer) -> str:
    """Return why a layer is not what ran, or nothing if it is.

    Its linear map is held against the map's outputs on real inputs, and its function against what
    the users of those outputs have received.

    Parameters
    ----------
    origin : Origin
        Of the map.
    outcome : Outcome
    layer : Layer

    Returns
    -------
    str
    """
    made, first = origin.map, outcome.first
    assert made is not None and first is not None
    if made.fixed is not None:
        return made.unproved
    if not _is_map(made, outcome, layer):
        return "its weights do not reproduce what it computed in the run"
    if origin.numbers is None:
        return ""
    for part in outcome.parts:
        assert part.first is not None
        function = part.first
        if layer.pool is None and outcome.pool is None and len(layer.weight) == len(outcome.rows):
            own = _of_rows(layer.activation, np.searchsorted(outcome.rows, part.rows))
            function = replace(function, activation=own)
        for use in part.uses:
            if not _is_function(use, function, part.rows):
                return "the function found after it does not reproduce what was computed in the run"
        if part.pool is None or part.after is None:
            continue
        for use in part.pool.uses:
            if use.live and not _is_function(use, part.after, part.rows):
                return "the function found after its pooling does not reproduce the run"
    return ""


def _is_map(made: Map, outcome: Outcome, layer: Layer) -> bool:
    """Hold the layer's weights against the outputs that were seen."""
    patches, seen, first = made.patches, made.seen, outcome.first
    if patches is None or seen is None or first is None:
        return True
    if outcome.pool is not None:
        # Its parts by themselves: what a pooling does is the operator's own word.
        layer = layer_of(made, replace(outcome, pool=None, after=None), str(layer.name))
    rows, scales, shifts = outcome.rows, first.scale, first.shift
    if made.conv is not None and made.conv.transposed:
        phases = math.prod(made.conv.stride)  # an output is several, by its place
        rows = (rows[:, None] * phases + np.arange(phases)).reshape(-1)
        scales, shifts = np.repeat(scales, phases), np.repeat(shifts, phases)
    place = np.full(len(seen[0]), -1)
    place[rows] = np.arange(len(rows))
    if len(rows) > 64:
        rows = rows[np.linspace(0, len(rows) - 1, 64).astype(np.intp)]
    at = place[rows]
    weight = layer.weight.reshape(layer.n_out, -1)[at].astype(np.float64)
    bias = layer.offsets()[at]
    per_group = len(seen[0]) // layer.groups
    width = weight.shape[1]
    precision, whole = float(made.seen_precision), np.abs(weight)
    for patch, out in zip(patches, seen, strict=True):
        if not np.isfinite(patch).all():
            continue  # says nothing
        if layer.groups > 1:
            inputs = patch.reshape(-1, width)[rows // per_group]
            found = (weight * inputs).sum(axis=1) + bias
            size = (whole * np.abs(inputs)).sum(axis=1) + np.abs(bias)
        else:
            found = weight @ patch + bias
            size = whole @ np.abs(patch) + np.abs(bias)
        wanted = scales[at] * out[rows] + shifts[at]
        error = _ROUNDINGS * precision * (size + np.abs(wanted) + np.abs(scales[at] * out[rows]))
        wrong = np.abs(found - wanted) > error + 1e-300  # never where nothing was seen
        if bool((wrong & np.isfinite(wanted)).any()):
            return False
    return True


def _is_function(use: Use, function: Function, rows: NDArray[np.intp]) -> bool:
    """Hold a function against the numbers that a user has received."""
    origin = use.value.origin
    if origin.numbers is None or function.activation is None:
        return True
    there, z = origin.numbers(use.entries)
    at = use.at_rows[there]
    received = use.numbers[there]
    place = np.full(origin.rows, -1)
    place[rows] = np.arange(len(rows))
    mine = place[at] >= 0
    at, z, received = at[mine], z[mine], received[mine]
    if not len(z):
        return True
    after = chain(use.value, function.value, at)
    if after is None:
        return True  # another use, of what the layer is made of
    where = place[at]
    activation = function.activation

    def computed(z: Array) -> Array:
        y = _by_row(activation, function.scale[where] * z + function.shift[where], where)
        return np.broadcast_to(after(y[:, None]), (len(z), 1))[:, 0].astype(np.float64)

    return _agrees(computed, z, received, use.precision)


def _of_rows(activation: Activation, rows: NDArray[np.intp]) -> Activation:
    """Return the activation of some of a layer's rows."""
    if activation.rule is None:
        return activation
    return per_row([activation.distinct[k] for k in activation.rule[rows].tolist()])


def _by_row(activation: Activation, z: Array, where: NDArray[np.intp]) -> Array:
    """Return the activation of numbers of some rows."""
    if activation.rule is None:
        return activation(z)
    y = np.empty(len(z))
    kinds = activation.rule[where]
    for k in np.unique(kinds).tolist():
        y[kinds == k] = activation.distinct[k](z[kinds == k])
    return y


def _agrees(
    computed: Callable[[Array], Array], z: Array, received: Array, precision: float
) -> bool:
    """Compare, with what roundings before and after may do."""
    with np.errstate(all="ignore"):
        slack = _ROUNDINGS * precision * (np.abs(z) + 1.0)
        near = np.stack([computed(z - slack), computed(z), computed(z + slack)])
        low, high = near.min(axis=0), near.max(axis=0)
        size = np.maximum(np.abs(near).max(axis=0), np.abs(received))
        error = _ROUNDINGS * precision * (1.0 + size)
        wrong = (received < low - error) | (received > high + error)
        known = np.isfinite(received) & np.isfinite(low) & np.isfinite(high)
    return not bool((wrong & known).any())
