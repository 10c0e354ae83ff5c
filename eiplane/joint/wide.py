"""The wide estimator: ``I(X; Y) = E log2 p(y | cell of x) / p(y)``, nothing counted.

The channel is known, so the probability of an output vector is the volume of a polytope of inputs
(:mod:`.polytopes`), within the cell of inputs as well, and the logarithm of a probability needs no
second sample with the same y. The volumes come from expectation propagation with a correction for
what it misses (:mod:`.filtering`, csrc/joint/ei_wide.h); a few hundred samples do, whatever H(Y)
is, as the information content of such vectors concentrates (Fradelizi, Madiman and Wang 2016).

*Noise.* Both terms use the same samples. ``-sum_B log2 p_B(y_B)`` and ``-sum_B log2 p_B(y_B |
cell)`` are control variates: their means come from the outputs' exact distributions, or from many
more samples that are not filtered.

*Doubt.* The evidence without its correction is above the truth, with all of it mostly below. Most
of it is taken, and part of it is doubt. Both, from small layers of known truth: see ``SHARE``.

Where samples are dropped, ``p(kept | cell)`` is a third volume, and ``p(kept)`` the share of those
that are kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..network import Channel
from .estimates import Estimate
from .estimator import Estimator, Nodes, PieceResult, Standing
from .filtering import Filtered, FilterUnit, control_unit, filter_unit, problem
from .nodes import SingleOutputs
from .settle import settled_information, settled_output, whole_bounds
from .task import Task

__all__ = ["Wide", "default_filtered", "work"]

Array = NDArray[np.float64]

#: The share of the correction that is taken, and the share that is doubt: over layers of 2 to 6
#: inputs and 6 to 40 outputs the evidence without it was too great by 0.70 to 0.92 of it.
SHARE, DOUBT = 0.8, 0.15

#: Filtered samples where none are asked for: so many at a million multiplications each, fewer in
#: proportion to a power of the work; the fewest, the most.
_USUAL, _POWER, _FEWEST, _MOST = 240, 0.3, 48, 1024

#: Of those, how many are corrected, at least and at most.
_CORRECTED = (12, 128)

#: Multiplications of a unit of work, samples of a unit.
_UNIT, _UNIT_SAMPLES = 1 << 27, 64

#: Samples for the means of the control variates, beside those filtered; the fewest, the most; of a
#: unit of them.
_CONTROL_SHARE, _CONTROLS, _CONTROL_UNIT = 16, (1 << 11, 1 << 14), 1 << 10

#: Share of kept samples below which filtering is given up.
_KEPT = 1.0 / 16.0

#: Share of unsettled evidences from which on nothing is claimed.
_UNSETTLED = 0.05


def work(channel: Channel) -> float:
    """Return the multiplications that a filtered sample takes, roughly."""
    n, m = channel.n_in + 4.0, channel.n_out + 4.0
    small = min(n, m)
    return 13.0 * (n * m * small + small**3 / 3.0)


def default_filtered(channel: Channel) -> int:
    """Return the number of samples to filter where none is given."""
    wanted = _USUAL * (1e6 / work(channel)) ** _POWER
    return int(min(max(wanted, _FEWEST), _MOST))


@dataclass(frozen=True)
class _Means:
    """Means of the control variates, their variances over samples, and what else was seen."""

    values: Array
    variances: Array
    kept: float
    outside: float


class Wide(Estimator):
    """Filters samples."""

    name = "wide"

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        wanted = np.zeros(task.channel.n_out, bool)
        wanted[task.outs] = True
        self.problem = problem(
            task.channel, task.given, wanted, task.key, task.marginals, task.options.influence
        )
        self.information = self.output = Estimate(0.0, 0.0, 0.0, 1.0)
        self.samples = self.drawn = 0
        self.first_round: int | None = None
        self.saturated = False
        self._found: list[Filtered] = []
        self._means: _Means | None = None

    @classmethod
    def applies(cls, task: Task, samples: int) -> bool:
        """Say whether the piece is one affine map."""
        return not task.channel.stages

    def run(self, samples: int, most: int | None) -> Standing:
        """Filter samples: as many as asked for, or as is usual and more in later rounds."""
        usual = default_filtered(self.task.channel)
        if most is None:
            wanted = samples if self.task.options.estimator == self.name else min(samples, usual)
        elif self.first_round is None:
            self.first_round, wanted = samples, min(samples, usual)
        else:
            wanted = math.ceil(usual * samples / self.first_round)
        if self._means is None:
            self._means = self._measure_controls(_CONTROL_SHARE * wanted)
        if self._means.kept < _KEPT:
            self.saturated = True
            return Standing(math.inf, True, True)
        self._filter(math.ceil(wanted / self._means.kept), wanted)
        self._combine()
        return Standing(self.information.stderr, self.saturated)

    def _measure_controls(self, count: int) -> _Means:
        task, channel = self.task, self.task.channel
        count = min(max(count, _CONTROLS[0]), _CONTROLS[1])
        units = [
            FilterUnit(self.problem, a, min(_CONTROL_UNIT, count - a))
            for a in range(0, count, _CONTROL_UNIT)
        ]
        found = task.runner.map(control_unit, units, f"{channel.name}: controls")
        values = np.stack(
            [np.concatenate([f.output for f in found]), np.concatenate([f.within for f in found])]
        )
        outside = sum(f.outside for f in found) / count
        if not values.shape[1]:
            return _Means(np.zeros(2), np.zeros(2), 0.0, outside)
        means, variances = values.mean(axis=1), values.var(axis=1) / values.shape[1]
        if task.marginals is not None:
            p = task.marginals[task.outs]
            means[0] = float(-(p * np.log2(np.maximum(p, 1e-9))).sum())
            variances[0] = 0.0
        return _Means(means, variances, values.shape[1] / count, outside)

    def _filter(self, draws: int, wanted: int) -> None:
        """Go on to so many draws, of which about ``wanted`` are kept."""
        channel = self.task.channel
        least, most = _CORRECTED
        every = max(1, draws // min(max(wanted // 4, least), most))
        size = int(min(max(_UNIT / work(channel), 1), _UNIT_SAMPLES))
        units = [
            FilterUnit(self.problem, a, min(size, draws - a), every)
            for a in range(self.drawn, draws, size)
        ]
        self._found += self.task.runner.map(filter_unit, units, f"{channel.name}: filtering")
        self.drawn = max(draws, self.drawn)

    def _combine(self) -> None:
        assert self._means is not None
        found, means = self._found, self._means
        output, within, kept = (
            np.concatenate([getattr(f, name) for f in found])
            for name in ("output", "within", "kept")
        )
        corrected = np.concatenate([f.corrected for f in found])
        self.samples = len(output)
        unsettled = sum(f.unsettled for f in found)
        good = np.isfinite(output[:, 0]) & np.isfinite(within[:, 0]) & np.isfinite(kept[:, 0])
        self.saturated = bool(
            good.sum() < 8 or not (good & corrected).any() or unsettled > _UNSETTLED * len(good)
        )
        if self.saturated:
            self.information = self.output = Estimate(0.0, math.inf, math.inf, 0.0)
            return
        controls = np.stack(
            [
                np.concatenate([f.controls.output for f in found]),
                np.concatenate([f.controls.within for f in found]),
            ],
            axis=1,
        )
        centred = (controls - means.values)[good]
        some = corrected[good]
        shift = math.log2(means.kept)
        error = math.sqrt((1.0 - means.kept) / means.kept / self.drawn) / math.log(2.0)
        self.output = _estimate(
            output[good], some, centred[:, :1], means.variances[:1], shift, error
        )
        joint = output - within + kept
        self.information = Estimate(0.0, 0.0, 0.0, 1.0)
        if self.task.informed:
            self.information = _estimate(joint[good], some, centred, means.variances, shift, error)

    def input_influence(self) -> Nodes | None:
        """Return ``I(X_A; Y)`` of the given inputs: ``E log2 p(bin | y) in_bins``."""
        if self.saturated or self.task.channel.drops:
            return None
        posterior = np.concatenate([f.posterior for f in self._found])[:, self.task.given]
        # The entropy of the bin given y has little noise, but the approximation makes it too great;
        # the surprise at the bin that was drawn shows by how much, all inputs taken together.
        own, values = posterior[:, :, 0], posterior[:, :, 1]
        root = math.sqrt(max(len(values) - 1, 1))
        off = (own - values).mean(axis=1) if values.size else np.zeros(1)
        shift = float(off.mean())
        error = math.hypot(float(off.std()) / root, 0.5 * shift)
        most = math.log2(self.task.channel.in_bins)
        return Nodes(
            np.clip(values.mean(axis=0) + shift, 0.0, most),
            np.hypot(values.std(axis=0) / root, error),
        )

    def result(self) -> PieceResult:
        """Return what was found."""
        task = self.task
        singles = SingleOutputs(task)
        bounds = whole_bounds(task, singles, None)
        influence = self.input_influence() if task.options.influence else None
        outside = 0.0 if self._means is None else self._means.outside
        return PieceResult(
            self.name,
            settled_information(self.information, bounds.information, self.saturated, False),
            settled_output(self.output, bounds, False),
            self.samples,
            None,
            self.saturated,
            outside,
            influence,
            singles.influence(),
        )


def _estimate(
    values: Array,
    corrected: NDArray[np.bool_],
    controls: Array,
    variances: Array,
    shift: float,
    error: float,
) -> Estimate:
    """Return the mean of values and corrections, shape (samples, 2).

    Parameters
    ----------
    values : ndarray of float64, shape (samples, 2)
    corrected : ndarray of bool, shape (samples,)
    controls : ndarray of float64, shape (samples, controls)
        Less their means.
    variances : ndarray of float64, shape (controls,)
        Of those means.
    shift, error : float
        Added, and its standard error.
    """
    plain, correction = values[:, 0], values[corrected, 1]
    n = len(plain)
    design = np.column_stack([np.ones(n), controls])
    if n < 8 * design.shape[1]:
        design = design[:, :1]
    factors = np.linalg.lstsq(design, plain, rcond=1e-10)[0]
    rest = plain - design @ factors
    used = factors[1:]
    freedom = max(n - design.shape[1], 1)
    variance = float(rest @ rest) / freedom / n + float(used**2 @ variances[: len(used)])
    variance += SHARE**2 * float(correction.var()) / len(correction)
    bias = DOUBT * abs(float(correction.mean()))
    value = float(factors[0]) + SHARE * float(correction.mean()) + shift
    return Estimate(max(value, 0.0), math.sqrt(variance + error * error + bias * bias), bias, 1.0)
