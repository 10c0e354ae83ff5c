"""The wide estimator: ``I(X; Y) = E log2 p(y | cell of x) / p(y)``, nothing counted.

The channel is known, so the probability of an output vector is the volume of a polytope of inputs
(:mod:`.polytopes`), within the cell of inputs as well, and the logarithm of a probability needs no
second sample with the same y. The volumes come from expectation propagation with a correction for
what it misses (:mod:`.filtering`, csrc/joint/ei_wide.h); a few hundred samples do, whatever H(Y)
is, as the information content of such vectors concentrates (Fradelizi, Madiman and Wang 2016).

*Noise.* Both terms use the same samples. Most of what one sample differs from another by shows in a
surrogate that costs little (:mod:`.surrogate`), so few samples are filtered and many more are not
(:mod:`.levels`). ``-sum_B log2 p_B(y_B)`` and ``-sum_B log2 p_B(y_B | cell)`` are control variates:
their means are known exactly (:mod:`.given`), or, with drops, come from yet more samples. After a
first few samples their deviations decide how many of each kind there are: as many as it takes for a
share of EI, and of phi where the sum over edges is known, within what is spent at the most.

*Doubt.* What filtering misses is guessed from a correction, with a doubt (:mod:`.seen`). Where that
doubt is worth mention beside the noise, some samples are cooled: :mod:`.cooling` measures what
filtering misses of them.

Where samples are dropped, ``p(kept | cell)`` is a third volume, and ``p(kept)`` the share of those
that are kept.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..information import multiplicities
from ..network import Channel
from .branches import most_branches
from .budget import PILOT
from .cooling import Cooled, cool_unit, cooling_work
from .estimates import Estimate, estimate_entropy
from .estimator import Estimator, Nodes, PieceResult, Standing
from .filtering import Filtered, filter_unit
from .given import LEAST
from .levels import (
    Controlled,
    Deviations,
    controlled_mean,
    residuals,
    share_out,
    two_levels,
)
from .means import Means
from .nodes import SingleOutputs
from .seen import Seen, corrected, missed
from .settle import settled_information, settled_output, whole_bounds
from .stream import Stream, draw_in_cells
from .surrogate import Surrogates, control_unit, surrogate_unit, surrogate_work
from .task import Task
from .volumes import FilterUnit, problem

__all__ = ["Wide", "default_filtered", "filtered_influence", "work"]

Array = NDArray[np.float64]

#: What is spent, as so many filtered samples at a million multiplications each, fewer in proportion
#: to a power of the work; the fewest, the most.
_USUAL, _POWER, _FEWEST, _MOST = 240, 0.3, 48, 1024

#: Filtered samples of the first look: a share of those, the fewest, the most; how many more have
#: their surrogate; the most of those in all.
_LOOK, _LOOK_FEWEST, _LOOK_MOST, _LOOK_MORE, _MOST_SURROGATES = 4, 32, 64, 4, 1 << 14

#: The most, where it is the influence of inputs alone that is wanted.
_LOOK_ALONE = 256

#: Standard errors aimed at: of EI, of the absolute phi, and of EI below which phi asks for no more.
_OF_EI, _OF_PHI, _LEAST = 0.006, 0.015, 0.0025

#: Of the filtered, how many are corrected, at least and at most.
_CORRECTED = (12, 128)

#: Doubt, as a share of the noise, from which on samples are cooled; the noise that this may add, as
#: such a share; the fewest that are cooled.
_DOUBTFUL, _ADDED, _COOLED_FEWEST = 0.2, 0.4, 16

#: What cooling may cost: a share of filtering, and multiplications that it may take in any case.
_COOLED_SHARE, _COOLED_WORK = 1.0, 1 << 27

#: How many times as great an error than without makes what was cooled count for nothing.
_WORSE = 1.3

#: Multiplications of a unit of work, samples of a unit, and of one that are not filtered.
_UNIT, _UNIT_SAMPLES, _UNIT_SURROGATES = 1 << 27, 64, 128

#: Surrogates that cost more than this share of filtering are not worth it.
_CHEAP = 1.0 / 6.0

#: Samples for the means of the control variates, beside those filtered; the fewest, the most; of a
#: unit of them.
_CONTROL_SHARE, _CONTROLS, _CONTROL_UNIT = 16, (1 << 11, 1 << 14), 1 << 10

#: Share of kept samples below which filtering is given up.
_KEPT = 1.0 / 16.0

#: Share of unsettled evidences, and doubt about labels in pieces as a share of the value, from
#: which on nothing is claimed.
_UNSETTLED, _WORTHLESS = 0.05, 0.25


def work(channel: Channel) -> float:
    """Return the multiplications that a filtered sample takes, roughly; of one branch."""
    n, m = channel.n_in + 4.0, channel.n_out + 4.0
    small = min(n, m)
    return 13.0 * (n * m * small + small**3 / 3.0)


def default_filtered(channel: Channel) -> int:
    """Return how many samples could be filtered for what is spent where nothing is given."""
    wanted = _USUAL * (1e6 / work(channel)) ** _POWER
    return int(min(max(wanted, _FEWEST), _MOST))


def filtered_influence(task: Task) -> Nodes | None:
    """Return ``I(X_A; Y)`` of the given inputs, and nothing else, by filtering.

    Parameters
    ----------
    task : Task
        Without stages.

    Returns
    -------
    Nodes or None
        None where too many volumes did not settle, or almost everything is dropped.
    """
    wide = Wide(task)
    wide.look()
    return wide.input_influence()


def _look(usual: int) -> int:
    return min(max(usual // _LOOK, _LOOK_FEWEST), _LOOK_MOST)


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
        self.samples = 0
        self.first_round: int | None = None
        self.saturated = False
        self.costs = work(task.channel), surrogate_work(task.channel)
        self.branches = 1
        if self.problem.pieces > 1:
            self.branches = most_branches(self.costs[0])
            self.costs = self.costs[0] * self.branches, self.costs[1]
        self._cooling_costs = self.costs[0] / self.branches + cooling_work(task.channel)
        self.cheap = self.costs[1] < _CHEAP * self.costs[0]
        self._filtered, self._drawn, self._drawn_cooled = 0, 0, 0
        self._found: list[Filtered] = []
        self._surrogates: list[Surrogates] = []
        self._cooled: list[Cooled] = []
        self._means: Means | None = None
        self._deviations = Deviations(0.0, 0.0)

    @classmethod
    def applies(cls, task: Task, samples: int) -> bool:
        """Say whether the piece is one affine map."""
        return not task.channel.stages

    def run(self, samples: int, most: int | None) -> Standing:
        """Filter samples: as many as asked for, or as is usual and more in later rounds."""
        usual, times = default_filtered(self.task.channel), 1.0
        asked = None
        if most is None:
            asked = samples if self.task.options.estimator == self.name else None
        elif self.first_round is None:
            self.first_round = samples
        else:
            times = samples / self.first_round
        if self._means is None:
            self._means = self._measure_controls(_CONTROL_SHARE * (asked or usual))
        if self._means.kept < _KEPT:
            self.saturated = True
            return Standing(math.inf, True, True)
        look = _look(usual)
        if asked is not None:
            self._take(min(look, asked) if self.cheap else asked, asked)
        elif not self.cheap:
            self._take(math.ceil(usual * times), 0)
        elif not self._drawn:
            self._take(look, look + _LOOK_MORE * look)
        self._combine()
        if self.cheap and not self.saturated:
            few, many = share_out(
                self._deviations, self.costs, self._target() / math.sqrt(times),
                usual * times * self.costs[0],
            )  # fmt: skip
            if asked is not None:
                few, many = min(math.ceil(asked * few / max(many, 1)), asked), asked
            self._take(few, min(many, math.ceil(_MOST_SURROGATES * times)))
            self._combine()
        self._cool()
        return Standing(self.information.stderr, self.saturated, doubt=self.information.bias)

    def look(self) -> None:
        """Filter samples for the influence of inputs alone."""
        self._means = Means(np.zeros(2), np.zeros(2), 1.0, 0.0)
        if self.task.channel.drops:
            self._means = self._measure_controls(_CONTROLS[1])
        self.cheap = False
        if self._means.kept < _KEPT:
            self.saturated = True
            return
        self._take(min(default_filtered(self.task.channel) // 2, _LOOK_ALONE), 0)
        self._combine()

    def _target(self) -> float:
        """Return the standard error to aim at."""
        task, value = self.task, self.information.value
        if not task.informed:
            return _OF_EI * self.output.value
        target = _OF_EI * value
        if task.edges is not None:
            phi = value - float(np.maximum(task.edges[:, task.given], 0.0).sum())
            target = min(target, max(_OF_PHI * abs(phi), _LEAST * value))
        return target

    def _measure_controls(self, count: int) -> Means:
        task, channel = self.task, self.task.channel
        if task.marginals is not None and task.normal is not None:
            p = task.marginals[task.outs]
            surprise = float(-(p * np.log2(np.maximum(p, LEAST))).sum())
            means = np.array([surprise, task.normal[task.outs].sum()])
            return Means(means, np.zeros(2), 1.0, None)
        count = min(max(count, _CONTROLS[0]), _CONTROLS[1])
        units = [
            FilterUnit(self.problem, a, min(_CONTROL_UNIT, count - a))
            for a in range(0, count, _CONTROL_UNIT)
        ]
        return Means.of(task.runner.map(control_unit, units, f"{channel.name}: controls"))

    def _take(self, filtered: int, surrogates: int) -> None:
        """Go on to so many samples that are kept, roughly: filtered, and with a surrogate."""
        assert self._means is not None
        channel, kept = self.task.channel, self._means.kept
        few = max(math.ceil(filtered / kept), self._filtered)
        many = max(math.ceil(surrogates / kept), few, self._drawn)
        least, most = _CORRECTED
        every = max(1, few // min(max(filtered // 4, least), most))
        size = int(min(max(_UNIT / self.costs[0], 1), _UNIT_SAMPLES))
        units = [
            FilterUnit(self.problem, a, min(size, few - a), every, self.branches)
            for a in range(self._filtered, few, size)
        ]
        self._found += self.task.runner.map(filter_unit, units, f"{channel.name}: filtering")
        size = int(min(max(4 * _UNIT / self.costs[1], 1), _UNIT_SURROGATES))
        units = [
            FilterUnit(self.problem, a, min(size, many - a), int(not self.cheap))
            for a in range(self._drawn, many, size)
        ]
        self._surrogates += self.task.runner.map(
            surrogate_unit, units, f"{channel.name}: surrogates"
        )
        self._filtered, self._drawn = few, many

    def _cool(self) -> None:
        """Measure what filtering misses of the first samples, if there is doubt worth mention."""
        parts = (self.information, self.output) if self.task.informed else (self.output,)
        if self.saturated:
            return
        noise = [math.sqrt(max(p.stderr**2 - p.bias**2, 0.0)) for p in parts]
        if not any(p.bias > _DOUBTFUL * n for p, n in zip(parts, noise, strict=True)):
            return
        each = self._cooling_costs
        spent = max(_COOLED_SHARE * self._filtered * self.costs[0], _COOLED_WORK)
        most = int(spent / each)
        most = min(max(most, _COOLED_FEWEST), self._filtered)
        self._take_cooled(min(_COOLED_FEWEST, most))
        found = missed(self._cooled)
        if found.works:
            lacking = (found.joint, found.output) if self.task.informed else (found.output,)
            spreads = [float(np.nanstd(own)) for own in lacking]
            # Samples that are all alike have no noise: as many as there may be.
            shares = (s / max(_ADDED * n, 1e-100) for s, n in zip(spreads, noise, strict=True))
            self._take_cooled(math.ceil(min(max(shares) ** 2, most)))
        self._combine()

    def _take_cooled(self, count: int) -> None:
        size = int(min(max(_UNIT / self._cooling_costs, 1), 16))
        units = [
            FilterUnit(self.problem, a, min(size, count - a))
            for a in range(self._drawn_cooled, count, size)
        ]
        self._cooled += self.task.runner.map(cool_unit, units, f"{self.task.channel.name}: cooling")
        self._drawn_cooled = max(count, self._drawn_cooled)

    def _combine(self) -> None:
        assert self._means is not None
        means, saw = self._means, Seen.of(self._found, self._surrogates)
        good = saw.good
        self.samples = len(saw.controls)
        self.saturated = bool(
            good.sum() < 8
            or not (good & saw.corrected).any()
            or saw.unsettled > _UNSETTLED * len(good)
        )
        if self.saturated:
            self.information = self.output = Estimate(0.0, math.inf, math.inf, 0.0)
            return
        shift, error = means.log_kept([s.controls for s in self._surrogates])
        controls = Controlled(saw.controls - means.values, means.variances)
        lacking = missed(self._cooled) if self._cooled else None

        def estimate(
            values: Array, cheap: Array, controls: Controlled, less: Array | None = None
        ) -> Estimate:
            few = np.zeros(len(cheap), bool)
            few[: len(good)] = good
            if self.cheap:
                mean, self._deviations = two_levels(values[good, 0], cheap[few], cheap, controls)
            else:
                mean = controlled_mean(values[good, 0], controls.where(few))
            correction = values[good & saw.corrected, 1]
            apart = 0.0 if less is None else float(less[good & saw.corrected].mean())
            doubt = saw.doubt(less is not None)
            guess = corrected(mean, correction, apart, shift, error, doubt)
            if lacking is None or not lacking.works:
                return guess
            own = lacking.output if less is None else lacking.joint
            rest = np.full(len(good), np.nan)
            rest[good] = residuals(values[good, 0], cheap[few], controls.where(few))
            found = lacking.added(mean, rest, own, shift, error, doubt)
            # A chain that has not gone everywhere, as in many dimensions, is worse than none.
            return found if found.stderr < _WORSE * guess.stderr else guess

        self.output = estimate(saw.output, saw.cheap_output, controls.of(1))
        self.information = Estimate(0.0, 0.0, 0.0, 1.0)
        if self.task.informed:
            less = saw.output[:, 1] - saw.joint[:, 1]
            self.information = estimate(saw.joint, saw.cheap_joint, controls, less)
            self.saturated = saw.doubt(True) > _WORTHLESS * self.information.value

    def input_influence(self) -> Nodes | None:
        """Return ``I(X_A; Y)`` of the given inputs: ``E log2 p(bin | y) / p(bin)``.

        Where samples are dropped the bins are not alike, given that a sample is kept: ``p(bin)`` is
        then counted.
        """
        task = self.task
        if self.saturated:
            return None
        posterior = np.concatenate([f.posterior for f in self._found])[:, task.given]
        # The entropy of the bin given y has little noise, but the approximation makes it wrong; the
        # surprise at the bin that was drawn shows by how much, all inputs taken together.
        posterior = posterior[np.isfinite(posterior).all(axis=(1, 2))]
        own, values = posterior[:, :, 0], posterior[:, :, 1]
        root = math.sqrt(max(len(values) - 1, 1))
        off = (own - values).mean(axis=1) if values.size else np.zeros(1)
        shift, error = self._shift(float(off.mean()), float(off.std()) / root)
        own, unlike = self._input_entropies()
        most = math.log2(task.channel.in_bins)
        return Nodes(
            np.clip(values.mean(axis=0) + shift - (most - own), 0.0, own),
            np.sqrt((values.std(axis=0) / root) ** 2 + error**2 + unlike**2),
        )

    def _input_entropies(self) -> tuple[Array, Array]:
        """Return ``H(X_A)`` of the given inputs, of samples that are kept, and its error."""
        task = self.task
        if self._means is None or self._means.bins is None or not self._means.bins.size:
            return np.full(task.n_given, math.log2(task.channel.in_bins)), np.zeros(task.n_given)
        counts = self._means.bins[task.given]
        found = [estimate_entropy(multiplicities(c)) for c in counts]
        return np.array([e.value for e in found]), np.array([e.stderr for e in found])

    def _shift(self, seen: float, error: float) -> tuple[float, float]:
        """Return what to add to influences, and its error, from what was seen and its error.

        Where the evidence's correction is small the approximation is good, and what was seen is
        noise: it counts in proportion to the variance that the correction lets expect.
        """
        corrections = np.concatenate([f.output[f.corrected, 1] for f in self._found])
        corrections = corrections[np.isfinite(corrections)]
        expected = 2.0 * float(np.abs(corrections).mean()) / math.sqrt(max(self.task.n_given, 1))
        share = expected**2 / max(expected**2 + error**2, 1e-300)
        return share * seen, math.hypot(math.sqrt(share) * error, 0.5 * share * seen)

    def _singles(self) -> SingleOutputs:
        """Return what is known of single outputs; where samples are dropped, some are counted."""
        task = self.task
        if not (task.channel.drops and task.options.influence) or self.saturated:
            return SingleOutputs(task)
        stream = Stream(task, False)
        stream.count(2 * PILOT)
        return SingleOutputs(task, stream.counted, draw_in_cells(task, 2 * PILOT))

    def result(self) -> PieceResult:
        """Return what was found."""
        task, singles = self.task, self._singles()
        bounds = whole_bounds(task, singles, None)
        influence = self.input_influence() if task.options.influence else None
        outside = None if self._means is None else self._means.outside
        if outside is None:
            controls = [s.controls for s in self._surrogates]
            outside = sum(c.outside for c in controls) / max(sum(c.count for c in controls), 1)
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
