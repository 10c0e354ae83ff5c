"""Lags that are a single layer: any of a linear cell, the first of a plain one.

After k steps a linear state is ``W_h^k h + sum of W_h^j (W_x x + b)``: one affine map of the state
and of all inputs on the way, which the engines of single layers measure, exactly edge by edge.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .. import pairwise
from ..joint import JointOptions, between
from ..network import Binning, Channel, Layer, discretize
from ..results import Joint, Pairwise
from ..run import Runner, Sampling
from .cells import Affine
from .setup import Setup

__all__ = ["Collapsed", "applies", "collapse"]

Array = NDArray[np.float64]


def applies(setup: Setup, lag: int) -> bool:
    """Say whether a lag is a single layer whose measured neurons share one range."""
    affine = setup.cell.affine
    if affine is None or setup.around.kind == "data":
        return False
    steps = lag + (setup.perturb == "input")
    if steps != 1 and affine.activation.kind != "identity":
        return False
    spans = (setup.in_span, setup.out_span)
    return all(bool((span == span[0]).all()) for span in spans)


@dataclass(frozen=True, eq=False)
class Collapsed:
    """A lag as a layer.

    Parameters
    ----------
    together : Channel
        Everything perturbed: the neurons that count, the first inputs, and all noise.
    alone : Channel
        The neurons that count, everything else held.
    n_in : int
        How many those are.
    """

    together: Channel
    alone: Channel
    n_in: int

    def ei_parts(self, runner: Runner) -> Pairwise:
        """Return the EI of all edges."""
        found = pairwise.exact.measure("ei_parts", self.together, runner)
        return replace(found, edges=np.ascontiguousarray(found.edges[:, : self.n_in]))

    def sensitivity(self, runner: Runner) -> Pairwise:
        """Return the sensitivity of all edges."""
        return pairwise.exact.measure("sensitivity", self.alone, runner)

    def joint(self, sampling: Sampling, options: JointOptions, runner: Runner) -> Joint:
        """Return the EI of whole vectors."""
        pair = (tuple(range(self.n_in)), tuple(range(self.together.n_out)))
        return between(self.together, [pair], sampling, options, runner)[0]


def collapse(setup: Setup, lag: int) -> Collapsed:
    """Return a lag that :func:`applies` as a layer."""
    affine, around = setup.cell.affine, setup.around
    assert affine is not None
    source, others, bias = _maps(affine, setup.perturb, lag)
    span = setup.in_span[0]
    held, noise = bias.copy(), [source]
    moved = bias.copy()
    for weight, where in others:
        at = around.held_state if where == "state" else around.held_x
        held += weight @ at
        if around.kind == "fixed":
            moved += weight @ at
            continue
        low, high = (around.state_span if where == "state" else around.x_span).T
        scale = (high - low) / (span[1] - span[0])
        noise.append(weight * scale)
        moved += weight @ (low - scale * span[0])
    name = f"lag {lag}"
    binning = Binning(*setup.bins, setup.drop, setup.baseline)
    together, alone = (
        discretize(
            Layer(np.ascontiguousarray(weight), b, affine.activation, name),
            binning, (float(span[0]), float(span[1])), _pair(setup.out_span),
        )
        for weight, b in ((np.hstack(noise), moved), (source, held))
    )  # fmt: skip
    return Collapsed(together, alone, setup.n_in)


def _pair(span: Array) -> tuple[float, float]:
    return float(span[0, 0]), float(span[0, 1])


def _maps(affine: Affine, perturb: str, lag: int) -> tuple[Array, list[tuple[Array, str]], Array]:
    """Return the map of what is perturbed, those of the rest and what they are of, and the bias."""
    steps = lag + (perturb == "input")
    powers = [np.eye(len(affine.w_h))]
    for _ in range(steps):
        powers.append(affine.w_h @ powers[-1])
    bias = np.asarray(sum((p @ affine.bias for p in powers[:steps]), np.zeros(len(affine.w_h))))
    inputs = [p @ affine.w_x for p in reversed(powers[:steps])]  # from the first step to the last
    if perturb == "state":
        return powers[steps], [(w, "input") for w in inputs if w.shape[1]], bias
    rest = [(powers[steps], "state"), *((w, "input") for w in inputs[1:])]
    return inputs[0], rest, bias
