"""Density of inputs given the outputs' bins: a lower bound of the outputs' entropy.

A simulated input u, uniform on a box of volume 1, is an exact draw of ``p(u | y)``, y its outputs;
and ``p(u | y) p(y) = 1``. So for any density r on the box, ``H(Y) = E log2 p(u | y) >= E log2 r(u |
y)`` (Barber and Agakov 2003; Gibbs). r may be bad, it cannot be wrong.

It is built input by input. The outputs' bins and the inputs' ranges are stood for by Gaussian
sites, found by expectation propagation (Minka 2001). Given the inputs so far, the next one is
normal, by the sites of the outputs and of the inputs to come, without its own; restricted to where
the outputs can still be reached, that is its density. As the inputs are filled in, the sites are
found anew: at the end little is left, and what is left is nearly exact. Without that a site must
stand for its interval from beginning to end, which costs up to a quarter of a bit an output.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .forward import Polytopes
from .sites import refined, restricted

__all__ = ["log_backward"]

Array = NDArray[np.float64]
Sites = tuple[Array, Array]

#: Share of the uniform distribution in every input's density, so that no sample weighs too much.
_UNIFORM = 1e-3
#: Steps of expectation propagation at first and at every later stage; the share taken of each.
_FIRST, _AGAIN, _DAMP = 5, 2, 0.7
#: Added to a covariance, in units of its diagonal, before it is inverted.
_RIDGE = 1e-9
#: Stages, and how many where a stage takes long.
_STAGES, _WIDE_STAGES, _WIDE = 12, 4, 256


def _among_inputs(n_out: int, left: int) -> bool:
    """Whether to work in the space of the inputs that are left, not of the outputs."""
    return 2 * left <= 3 * n_out


def _block(n_in: int) -> int:
    return max(1, -(-n_in // (_STAGES if n_in <= _WIDE else _WIDE_STAGES)))


def log_backward(p: Polytopes) -> Array:
    """Return ``log2 r(u | y)`` of every sample, in units of the density on its box.

    Parameters
    ----------
    p : Polytopes

    Returns
    -------
    ndarray of float64, shape (samples,)
        Its mean is at most ``H(Y | box)``.
    """
    return _Backward(p).run()


class _Backward:
    """Samples on their way: inputs before ``at`` are known."""

    def __init__(self, p: Polytopes) -> None:
        self.p = p
        m, n = p.weight.shape
        # About the middle of the box, where |u| <= width / 2.
        self.middle = p.start + 0.5 * p.width
        self.u = p.u - self.middle
        self.far = 0.5 * p.width
        centre = self.middle @ p.weight.T
        self.lo, self.hi = p.lo - centre[:, :, None], p.hi - centre[:, :, None]
        shape = (len(p.u), n)
        self.inputs: Sites = (np.broadcast_to(12.0 / p.width**2, shape).copy(), np.zeros(shape))
        self.outputs: Sites = (np.zeros((len(p.u), m)), np.zeros((len(p.u), m)))
        self.known = np.zeros((len(p.u), m))  # what the inputs so far add to z
        # Half of what the inputs from k on can add, at most.
        reach = np.abs(p.weight) * self.far
        self.ahead = np.concatenate(
            [np.cumsum(reach[:, ::-1], axis=1)[:, ::-1], np.zeros((m, 1))], axis=1
        )
        self.at = 0

    def run(self) -> Array:
        m, n = self.p.weight.shape
        block, total = _block(n), np.zeros(len(self.u))
        while self.at < n:
            size = min(block, n - self.at)
            few = _among_inputs(m, n - self.at)
            posterior = self._by_inputs if few else self._by_outputs
            mean, square = posterior(_AGAIN if self.at else _FIRST, size)
            total += self._densities(mean, square, size)
            self.at += size
        return total / math.log(2.0) + float(np.log2(self.p.width).sum())

    # ---- sites --------------------------------------------------------------------------------

    def _refine_outputs(self, mean: Array, variance: Array, damp: float) -> None:
        self.outputs = refined(mean, variance, self.outputs, (self.lo, self.hi), damp)

    def _by_inputs(self, steps: int, size: int) -> tuple[Array, Array]:
        """Return mean and covariance of the next inputs, after so many steps."""
        at, n = self.at, self.u.shape[1]
        weight, left = self.p.weight[:, at:], np.arange(n - at)
        far = np.broadcast_to(self.far[at:], (len(self.u), n - at))[..., None]
        for step in range(steps + 1):
            (t, nu), (own, by) = self.outputs, self.inputs
            precision = (weight.T[None] * t[:, None, :]) @ weight
            precision[:, left, left] += own[:, at:]
            square = _inverse(precision)
            drive = (nu - t * self.known) @ weight + by[:, at:]
            mean = np.einsum("bij,bj->bi", square, drive)
            if step == steps:
                break
            damp = 1.0 if step == 0 and at == 0 else _DAMP
            spread = np.maximum(np.einsum("bmd,md->bm", weight @ square, weight), 1e-290)
            self._refine_outputs(self.known + mean @ weight.T, spread, damp)
            own_new, by_new = refined(
                mean, square[:, left, left], (own[:, at:], by[:, at:]), (-far, far), damp
            )
            # An input keeps a little of its own precision: what it is known by may change.
            own[:, at:] = np.maximum(own_new, 1.0 / self.p.width[at:] ** 2)
            by[:, at:] = by_new
        return mean[:, :size], square[:, :size, :size]

    def _by_outputs(self, steps: int, size: int) -> tuple[Array, Array]:
        """Return the same in the space of outputs, the inputs' own sites kept as they began.

        There are more inputs left than outputs, so that their covariance has an inverse.
        """
        at, m = self.at, self.p.weight.shape[0]
        prior = self.p.width**2 / 12.0
        weight, places = self.p.weight[:, at:], np.arange(m)
        spread = (weight * prior[at:]) @ weight.T
        spread[places, places] *= 1.0 + _RIDGE  # should rows depend on each other
        ahead = _inverse(spread)
        for step in range(steps):
            t, nu = self.outputs
            square = np.repeat(ahead[None], len(t), axis=0)
            square[:, places, places] += t
            square = _inverse(square)
            mean = np.einsum("bij,bj->bi", square, nu + self.known @ ahead)
            damp = 1.0 if step == 0 and at == 0 else _DAMP
            self._refine_outputs(mean, np.maximum(square[:, places, places], 1e-290), damp)
        after = self.p.weight[:, at + size :]
        spread = (after * prior[at + size :]) @ after.T
        t, nu = self.outputs
        root = np.sqrt(t)
        inner = _inverse(np.eye(m) + root[:, :, None] * spread * root[:, None, :])
        inner *= root[:, :, None] * root[:, None, :]  # (spread + 1 / t)^-1
        drive = nu - np.einsum("bij,bj->bi", inner, nu @ spread + self.known)
        block = self.p.weight[:, at : at + size]
        precision = block.T @ (inner @ block)
        precision[:, np.arange(size), np.arange(size)] += 1.0 / prior[at : at + size]
        square = _inverse(precision)
        return np.einsum("bij,bj->bi", square, drive @ block), square

    # ---- densities ----------------------------------------------------------------------------

    def _densities(self, mean: Array, square: Array, size: int) -> Array:
        """Return log r of the next inputs, given those before; they are then known."""
        at, u = self.at, self.u[:, self.at : self.at + size]
        factor = _factor(square)
        root = np.einsum("bii->bi", factor)
        steps = np.linalg.solve(factor, (u - mean)[:, :, None])[:, :, 0]
        own, by = (site[:, at : at + size] for site in self.inputs)
        l = np.maximum(1.0 / root**2 - own, 0.0)  # noqa: E741
        h = (u - root * steps) / root**2 - by
        total = np.zeros(len(u))
        for k in range(size):
            lo, hi = self._reachable(at + k)
            mass = restricted(h[:, k], l[:, k], lo, hi).log_mass
            normal = h[:, k] * u[:, k] - 0.5 * l[:, k] * u[:, k] ** 2 - mass
            flat = -np.log(hi - lo)
            normal = np.where(np.isfinite(normal), normal, flat)
            total += np.logaddexp(math.log1p(-_UNIFORM) + normal, math.log(_UNIFORM) + flat)
            self.known = self.known + self.p.weight[:, at + k] * u[:, k, None]
        return total

    def _reachable(self, k: int) -> tuple[Array, Array]:
        """Return where input k can lie, if all outputs are to be reached by the inputs after it."""
        row = self.p.weight[:, k]
        live = np.flatnonzero(row)
        lo = np.where(self.lo < self.hi, self.lo, np.inf).min(axis=2)[:, live]
        hi = np.where(self.lo < self.hi, self.hi, -np.inf).max(axis=2)[:, live]
        ahead, known = self.ahead[live, k + 1], self.known[:, live]
        ends = np.stack([(lo - known - ahead) / row[live], (hi - known + ahead) / row[live]])
        ends.sort(axis=0)
        # Rounding must not cut off the input itself.
        slack = 1e-9 * self.far[k]
        start = np.maximum(ends[0].max(axis=1, initial=-np.inf) - slack, -self.far[k])
        stop = np.minimum(ends[1].min(axis=1, initial=np.inf) + slack, self.far[k])
        own = self.u[:, k]
        return np.minimum(start, own - slack), np.maximum(stop, own + slack)


def _inverse(square: Array) -> Array:
    return np.asarray(np.linalg.inv(square), dtype=np.float64)


def _factor(square: Array) -> Array:
    """Return Cholesky's factors; of the diagonals alone where rounding leaves none."""
    places = np.arange(square.shape[1])
    square = 0.5 * (square + square.transpose(0, 2, 1))
    spread = np.maximum(square[:, places, places], 1e-290)
    square[:, places, places] = spread * (1.0 + 1e-12)
    try:
        return np.asarray(np.linalg.cholesky(square), dtype=np.float64)
    except np.linalg.LinAlgError:
        plain = np.zeros_like(square)
        plain[:, places, places] = np.sqrt(spread)
        return plain
