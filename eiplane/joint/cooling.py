"""What expectation propagation misses of samples' volumes, by cooling: one unit of work of it.

The core follows a Markov chain through the polytope while a Gaussian in it is made wider and wider
(csrc/joint/ei_wide_cooling.c). The logarithm of the volume comes out right but for noise, which
hundreds of samples average away; so what is taken instead of the correction of
:mod:`.filtering` needs no doubt. Of labels that are unions of intervals it is the sample's own
branch (:mod:`.branches`), an exact draw given y, whose volume tells what the sum over all lacks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..network import Channel
from .polytopes import Labels, constraints
from .volumes import FILTERED, FilterUnit, Problem, draw_samples, propagated

__all__ = ["Cooled", "cool_unit", "cooling_work"]

Array = NDArray[np.float64]

#: Purposes of the random numbers: of the three volumes.
_PURPOSES = (15, 16, 17)

#: Sweeps of every temperature; how many temperatures there are, about, and operations of an entry.
_SWEEPS, _TEMPERATURES, _OPERATIONS = 16, 16, 4

#: Inputs up to which, and multiple of the outputs up to which, the chain takes steps along the axes
#: of the polytope; else along single inputs.
_FEW, _TIMES = 64, 2


def _by_inputs(n_in: int, n_out: int) -> bool:
    return n_in <= max(_FEW, _TIMES * n_out)


def cooling_work(channel: Channel) -> float:
    """Return the multiplications that a cooled sample takes, roughly, filtering left out."""
    n, m = channel.n_in, channel.n_out
    rows = m + (n if _by_inputs(n, m) else 0)
    return 2.0 * _SWEEPS * _TEMPERATURES * n * (_OPERATIONS * (rows + 8.0) + 100.0)


@dataclass(frozen=True, eq=False)
class Cooled:
    """Samples' volumes, less what filtering says of them without correction; in bits.

    Parameters
    ----------
    output, within, kept : ndarray of float64, shape (kept samples,)
        To be added to those of :class:`.filtering.Filtered`. NaN where it did not work.
    """

    output: Array
    within: Array
    kept: Array


def cool_unit(unit: FilterUnit) -> Cooled:
    """Cool the samples of a unit: the same samples as :func:`.filtering.filter_unit`'s."""
    p, samples = unit.problem, draw_samples(unit, FILTERED)
    labels = samples.known_by(p)
    count = len(labels)
    stream = samples.index.astype(np.uint32)
    output = _missed(p, samples.branches(p, labels, False), stream, 0)
    within = _missed(p, samples.branches(p, labels, True), stream, 1)
    kept = np.zeros(count)
    if p.channel.drops:
        every = np.full_like(labels, p.channel.out_bins)
        kept = _missed(p, samples.branches(p, every, True), stream, 2)
    return Cooled(output, within, kept)


def _missed(p: Problem, labels: Labels, stream: NDArray[np.uint32], which: int) -> Array:
    lo, hi = labels.of_branches(np.arange(len(stream)), labels.own)
    c = constraints(p.known, lo, hi, labels.place, labels.width)
    n_out, n_in = c.weight.shape
    settings = replace(
        p.settings, sweeps=_SWEEPS, by_inputs=_by_inputs(n_in, n_out), key=p.key,
        purpose=_PURPOSES[which],
    )  # fmt: skip
    (evidence, _, _, cooled, *_), bad = propagated(
        p, settings, c, np.zeros(len(stream), bool), stream
    )
    return np.where(bad, np.nan, (evidence - cooled) / math.log(2.0))
