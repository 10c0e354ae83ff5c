"""What a chain of layers does along short segments of lines, with proof.

On a segment every value is ``centre + slope s +- rest``, s running from -1 to 1: the shared linear
part passes an affine map with its signs, and only what is left over, of the second order in the
segment's length, adds up (affine arithmetic: L. H. de Figueiredo and J. Stolfi, Numer. Algorithms
37, 147, 2004). An activation is replaced by its chord, from which a function of curvature at most M
is nowhere farther than ``M width**2 / 8``; where nothing is known of it, by its image.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .. import _core
from ..network import Activation, Channel, Stage

__all__ = ["Forms", "passed"]

Array = NDArray[np.float64]

#: Functions with a second derivative that is bounded everywhere, and those with one between the
#: ends of their monotone pieces. Those that are not here are taken by their images.
_SMOOTH = frozenset(
    ["identity", "sigmoid", "tanh", "softplus", "gelu", "gelu_tanh", "quick_gelu", "silu", "mish",
     "softsign", "sin", "cos", "erf", "atan"]
)  # fmt: skip
_PIECEWISE = frozenset(["relu", "leaky_relu", "hardtanh", "hardsigmoid", "elu", "selu"])

#: Where second differences are looked at; how far from each other; and what is added, for between.
_LOOK, _STEP, _SPARE = 24.0, 1.0 / 256.0, 1.05


@dataclass(frozen=True, eq=False)
class Forms:
    """Values on segments: ``centre + slope s +- rest`` for s from -1 to 1.

    Parameters
    ----------
    centre, slope, rest : ndarray of float64, shape (neurons, segments)
    """

    centre: Array
    slope: Array
    rest: Array

    @property
    def ends(self) -> tuple[Array, Array]:
        """The least and the greatest values."""
        half = np.abs(self.slope) + self.rest
        return self.centre - half, self.centre + half

    def affine(self, weight: Array, bias: Array) -> Forms:
        """Return the values after an affine map."""
        zero = np.zeros(len(bias))
        parts = [(weight, bias, self.centre), (weight, zero, self.slope)]
        parts += [(np.abs(weight), zero, self.rest)]
        return Forms(*(_core.affine(w, b, np.ascontiguousarray(v)) for w, b, v in parts))

    def activated(self, activation: Activation) -> Forms:
        """Return the values after an activation."""
        if activation.rule is None:
            return self._through(activation)
        parts = [np.empty_like(self.centre) for _ in range(3)]
        for i, function in enumerate(activation.distinct):
            mine = activation.rule == i
            some = Forms(self.centre[mine], self.slope[mine], self.rest[mine])._through(function)
            for part, found in zip(parts, (some.centre, some.slope, some.rest), strict=True):
                part[mine] = found
        return Forms(*parts)

    def _through(self, f: Activation) -> Forms:
        low, high = self.ends
        found = _curvature(f)
        width = high - low
        if found is None or f.pieces:
            least, greatest = f.images(low, high)
        else:  # its pieces would have to be looked for, in every interval anew
            first, last = f(low), f(high)
            beyond = found[0] * width * width / 8.0
            least, greatest = np.minimum(first, last) - beyond, np.maximum(first, last) + beyond
        middle, spread = 0.5 * (least + greatest), 0.5 * (greatest - least)
        if found is None:
            return Forms(middle, np.zeros_like(middle), spread)
        curvature, kinks = found
        known = width > 0.0
        for kink in kinks:
            known &= (kink <= low) | (kink >= high)
        first, last = f(low), f(high)
        chord = np.divide(last - first, width, out=np.zeros_like(width), where=known)
        off = curvature * width * width / 8.0
        better = known & (off + np.abs(chord) * self.rest < spread)
        return Forms(
            np.where(
                better, 0.5 * (first + last) + chord * (self.centre - 0.5 * (low + high)), middle
            ),
            np.where(better, chord * self.slope, 0.0),
            np.where(better, np.abs(chord) * self.rest + off, spread),
        )

    def pooled(self, width: int) -> Forms:
        """Return the greatest of neighbouring neurons."""
        shape = (-1, width, self.centre.shape[1])
        low, high = (end.reshape(shape) for end in self.ends)
        least, greatest = low.max(axis=1), high.max(axis=1)
        at = low.argmax(axis=1)[:, None]
        others = high.copy()
        np.put_along_axis(others, at, -np.inf, axis=1)
        alone = least >= others.max(axis=1)
        parts = [np.take_along_axis(p.reshape(shape), at, axis=1)[:, 0]
                 for p in (self.centre, self.slope, self.rest)]  # fmt: skip
        return Forms(
            np.where(alone, parts[0], 0.5 * (least + greatest)),
            np.where(alone, parts[1], 0.0),
            np.where(alone, parts[2], 0.5 * (greatest - least)),
        )


@lru_cache(maxsize=64)
def _curvature(f: Activation) -> tuple[float, tuple[float, ...]] | None:
    """Return a bound of the second derivative, and where the function has kinks."""
    kinks: tuple[float, ...] = ()
    if f.kind in _PIECEWISE:
        kinks = tuple(p.start for p in f.pieces[1:])
    elif f.kind not in _SMOOTH:
        return None
    scale = max((abs(p) for p in f.parameters), default=1.0) if f.kind in _SMOOTH else 1.0
    z = np.arange(-_LOOK, _LOOK, _STEP) / max(scale, 1.0)
    step = _STEP / max(scale, 1.0)
    second = np.abs(f(z + step) - 2.0 * f(z) + f(z - step)) / step**2
    for kink in kinks:
        second[np.abs(z - kink) <= 2.0 * step] = 0.0
    most = float(second.max())
    return (0.0 if most < 1e-6 else _SPARE * most), kinks


def passed(channel: Channel, first: Forms) -> Forms:
    """Return the pre-activations of a channel's outputs.

    Parameters
    ----------
    channel : Channel
    first : Forms
        Values of its first affine map.

    Returns
    -------
    Forms
    """
    if not channel.stages:
        return first
    value = _after(channel.stages[0], first)
    for stage in channel.stages[1:]:
        if not stage.width:
            assert stage.weight is not None and stage.bias is not None
            value = value.affine(stage.weight, stage.bias)
        value = _after(stage, value)
    return value.affine(channel.weight, channel.bias)


def _after(stage: Stage, value: Forms) -> Forms:
    if stage.width:
        return value.pooled(stage.width)
    assert stage.activation is not None
    return value.activated(stage.activation)
