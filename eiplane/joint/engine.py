"""The joint engine: EI of whole layers.

``EI = I(X; Y) = H(Y) - H(Y | X)``, X and Y the vectors of binned inputs and outputs. ``"plugin"``
is the published estimator, three plug-in entropies of one sample. ``"conditional"`` uses that the
cells of X are equally likely: H(Y) comes from one stream of samples (Chao, Wang and Jost's
estimator, the outputs' exact marginal distributions as control variates), H(Y | X) from draws
within random cells (:mod:`eiplane.joint.cells`).

Where samples are dropped, every distribution is the one given that the sample is kept: cells are
then drawn with the probability of their kept part, and draws within a cell repeated until kept.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _core
from ..information import Multiplicities, entropy, halved_bias
from ..network import Channel, Layer, get_activation
from ..pairwise import output_marginals
from ..results import Joint, Pairwise
from ..run import Purpose, Runner, Sampling
from .bounds import lower_bound, trivial_bounds, upper_bound
from .cells import CellEntropy, Cells, design, measure_cells
from .given import given_entropies, tractable
from .pieces import (
    ExactPiece,
    Piece,
    by_group,
    connected,
    exact_output,
    exact_single,
    restrict,
    silent,
)
from .vectors import MEMORY, Counted, Counter, CountJob, rows_of, unpack

__all__ = [
    "DEFAULT_SAMPLES",
    "Estimate",
    "JointOptions",
    "SaturationWarning",
    "Target",
    "as_layer",
    "checked_memory",
    "estimate_entropy",
    "information_variance",
    "is_saturated",
    "joint",
    "measure",
    "warn_saturated",
]

Array = NDArray[np.float64]

#: Where neither a number of samples nor a tolerance is given; fewer where a sample takes long.
DEFAULT_SAMPLES = 1 << 19
_DEFAULT_WORK, _FEWEST_DEFAULT = 1 << 29, 1 << 14

#: With a tolerance: where to start, and where to give up.
FIRST_SAMPLES, MOST_SAMPLES = 1 << 16, 1 << 27

#: The least that can be allowed for counting.
LEAST_MEMORY = 1 << 20

#: Below this coverage, or with more bits of bias than this, an estimate counts as saturated.
LEAST_COVERAGE, MOST_BIAS = 0.8, 0.1

#: Samples that show whether any number will do (fewer where a sample takes long), and how many
#: times more values than samples is hopeless.
_PILOT, _LEAST_PILOT, _HOPELESS = 1 << 13, 1 << 10, 20.0

#: Vectors to be counted for the influence of single inputs, samples times inputs.
_INFLUENCE_WORK = 1 << 22

#: Standard errors by which bounds are widened where they rest on samples; and bits, where they rest
#: on the exact engine.
_WIDEN, _SLACK = 4.0, 1e-8

#: Steps of a bit to which the core rounds logarithms.
_FINE = 65536.0

#: Samples for every cell from which on cells are counted like values.
_FEW_CELLS = 64

_GROUP = 64


class SaturationWarning(UserWarning):
    """A sample was too small for the entropy that it should measure."""


@dataclass(frozen=True)
class JointOptions:
    """How to measure whole vectors.

    Parameters
    ----------
    estimator : str
        ``"conditional"`` or ``"plugin"``.
    memory : int
        Bytes that counting vectors may take.
    influence : bool
        Whether to measure the influence of single nodes, too.
    """

    estimator: str = "conditional"
    memory: int = MEMORY
    influence: bool = True


def joint(
    channel: Channel,
    sampling: Sampling,
    options: JointOptions,
    runner: Runner,
    parts: Pairwise | None = None,
) -> Joint:
    """Measure the whole vectors of a layer.

    Parameters
    ----------
    channel : Channel
    sampling : Sampling
    options : JointOptions
    runner : Runner
    parts : Pairwise, optional
        ``I(x_A; y_B)`` of every edge, for the bounds.

    Returns
    -------
    Joint

    Warns
    -----
    SaturationWarning
        If the samples are too few for the entropies.

    Raises
    ------
    MemoryError
        If the distinct vectors would take more than ``options.memory``.
    """
    key = sampling.key(Purpose.JOINT)
    target = Target(
        channel, np.ones(channel.n_in * channel.groups, bool), np.ones(channel.n_out, bool)
    )
    result = measure(target, key, sampling, options, runner, parts)
    warn_saturated(repr(channel.name), result)
    return result


def warn_saturated(name: str, result: Joint) -> None:
    """Warn of an estimate that is saturated."""
    if result.saturated:
        low, high = result.ei_bounds
        warnings.warn(
            f"layer {name}: {result.samples} samples are too few for the entropy of its outputs "
            f"(coverage {result.coverage:.2g}); ei is known to lie in [{low:.4g}, {high:.4g}] and "
            "little more",
            SaturationWarning,
            stacklevel=3,
        )


def is_saturated(coverage: float, bias: float) -> bool:
    """Whether an estimate of this coverage and this doubt about its bias (bits) is of no use."""
    return coverage < LEAST_COVERAGE or bias > MOST_BIAS


def checked_memory(limit: int | None) -> int:
    """Return the bytes that counting may take; ValueError or TypeError if they are none."""
    if limit is None:
        return MEMORY
    if isinstance(limit, bool) or not isinstance(limit, (int, np.integer)):
        raise TypeError(f"memory_limit must be a whole number of bytes, got {limit!r}")
    if limit < LEAST_MEMORY:
        raise ValueError(f"memory_limit must be at least {LEAST_MEMORY} bytes, got {limit}")
    return int(limit)


def as_layer(layer: Any, activation: Any) -> Layer:
    """Return a Layer from what :func:`eiplane.ei_between` takes: a Layer, a weight, (W, b)."""
    if isinstance(layer, Layer):
        if activation is not None:
            raise ValueError("activation is for bare weights; this Layer has its own")
        return layer.load()
    kind = get_activation("sigmoid" if activation is None else activation)
    if isinstance(layer, tuple) and len(layer) == 2 and np.ndim(layer[0]) == 2:
        return Layer(layer[0], layer[1], kind)
    return Layer(layer, None, kind)


@dataclass(frozen=True, eq=False)
class Target:
    """What information to measure: between some inputs and some outputs of a channel.

    Parameters
    ----------
    channel : Channel
    given : ndarray of bool, shape (n_in * groups,)
        The inputs that count; the others are perturbed all the same.
    wanted : ndarray of bool, shape (n_out,)
        The outputs that count. With drops, a sample is left out if any output of the channel is out
        of range, wanted or not.
    """

    channel: Channel
    given: NDArray[np.bool_]
    wanted: NDArray[np.bool_]


def measure(
    target: Target,
    key: int,
    sampling: Sampling,
    options: JointOptions,
    runner: Runner,
    parts: Pairwise | None = None,
) -> Joint:
    """Measure the information between some inputs and some outputs.

    Parameters
    ----------
    target : Target
    key : int
        Of the random numbers.
    sampling : Sampling
        Only ``samples`` and ``tol`` are used.
    options : JointOptions
    runner : Runner
    parts : Pairwise, optional
        Of every edge of the channel.

    Returns
    -------
    Joint
        Influences, where asked for, are 0 for nodes that do not count.
    """
    channel = target.channel
    groups = by_group(channel)
    dead = any(silent(piece) for piece in groups)
    if options.estimator != "plugin":
        groups = [part for piece in groups for part in connected(piece)]
    pieces = [
        _Piece(target, piece, _derive(key, i), options, runner, parts)
        for i, piece in enumerate(groups)
        if target.wanted[piece.rows].any() and not dead
    ]
    busy = [p for p in pieces if p.exact is None]
    _run(busy, channel, sampling)
    if options.influence:
        for piece in busy:
            piece.measure_influence()
    return _assemble(target, pieces, sampling, options, dead)


def _derive(key: int, index: int) -> int:
    if index == 0:
        return key
    return int(np.random.SeedSequence([key, index]).generate_state(1, np.uint64)[0])


def _work(channel: Channel) -> int:
    """Return the multiplications that a sample takes."""
    return channel.weight.size + sum(s.weight.size for s in channel.stages if s.weight is not None)


def _share(channel: Channel, sampling: Sampling, pieces: int) -> int:
    if sampling.samples is not None:
        return max(64, sampling.samples // pieces)
    default = min(DEFAULT_SAMPLES, max(_FEWEST_DEFAULT, _DEFAULT_WORK // _work(channel)))
    return max(1 << 12, default // pieces)


def _run(busy: list[_Piece], channel: Channel, sampling: Sampling) -> None:
    if not busy:
        return
    pieces = len(busy)
    if sampling.tol is None:
        samples = _share(channel, sampling, pieces)
        for piece in busy:
            piece.run(samples, None if sampling.samples is not None else samples)
        return
    most = (MOST_SAMPLES if sampling.samples is None else sampling.samples) // pieces
    # Every piece gets an equal part of the variance allowed.
    tol = sampling.tol / math.sqrt(pieces)
    for piece in busy:
        most = max(_floor(most), _GROUP)
        samples = min(FIRST_SAMPLES, most)
        while True:
            piece.run(samples, most)
            error = piece.information.stderr
            if (error <= tol and not piece.saturated) or samples >= most or piece.hopeless:
                break
            wanted = samples * (error / tol) ** 2 * 1.2
            samples = min(most, max(2 * samples, _floor(int(min(wanted, 16.0 * samples)))))


@dataclass(frozen=True)
class Estimate:
    """An estimated quantity, in bits.

    Parameters
    ----------
    value, stderr : float
        The error holds the doubt about the bias.
    bias : float
        That doubt.
    coverage : float
    """

    value: float
    stderr: float
    bias: float
    coverage: float


def estimate_entropy(
    counts: Multiplicities, variance: float | None = None, shift: float = 0.0
) -> Estimate:
    """Return the entropy of a sample with its error.

    Parameters
    ----------
    counts : Multiplicities
    variance : float, optional
        Of ``-log2 p`` where control variates have made it smaller.
    shift : float
        What they add.

    Returns
    -------
    Estimate
    """
    logs = np.log2(counts.total / counts.counts)
    if variance is None:
        variance = counts.mean(logs**2) - counts.mean(logs) ** 2
    bias = halved_bias(counts)
    return Estimate(
        max(entropy(counts) + shift, 0.0),
        math.hypot(math.sqrt(max(variance, 0.0) / counts.total), bias),
        bias,
        counts.coverage,
    )


def _controlled(counted: Counted, channel: Channel, known: Array) -> Estimate:
    """Return H(Y), with the outputs' exact distributions as control variates.

    The average over the sample of ``-log2 p_B(y_B)`` has the known mean ``H(Y_B)``; so much of
    ``-log2 p(y)`` as goes with it, by least squares, is replaced by its mean.
    """
    counts = counted.of_set(0)
    table = counted.sets[0]
    number = table[:, -1].astype(np.float64)
    labels = unpack(table[:, :-1], [channel.out_bins] * channel.n_out)
    surprise = -np.log2(np.maximum(known, 1e-9))
    columns = np.stack([s[y] for s, y in zip(surprise, labels, strict=True)])
    means = (known * surprise).sum(axis=1)
    if len(columns) * columns.shape[1] > 1 << 23:  # one control for all, where there are many
        columns, means = columns.sum(axis=0, keepdims=True), means.sum(keepdims=True)
    weight = number / number.sum()
    own = np.log2(number.sum() / number)
    averages = columns @ weight
    centred = columns - averages[:, None]
    square = (centred * weight) @ centred.T
    product = (centred * weight) @ (own - own @ weight)
    factors = np.linalg.lstsq(square, product, rcond=1e-10)[0]
    rest = own - own @ weight - factors @ centred
    shift = float(factors @ (means - averages))
    return estimate_entropy(counts, float((rest * rest) @ weight), shift)


class _Piece:
    """An independent piece of a target, and what is known of it so far."""

    def __init__(
        self,
        target: Target,
        piece: Piece,
        key: int,
        options: JointOptions,
        runner: Runner,
        parts: Pairwise | None,
    ) -> None:
        self.piece = piece
        wanted = target.wanted[piece.rows]
        self.rows = piece.rows[wanted]
        channel = piece.channel
        if not wanted.all() and not channel.drops:  # the other outputs do not matter
            channel = restrict(channel, np.flatnonzero(wanted), np.arange(channel.weight.shape[1]))
            wanted = wanted[wanted]
        self.channel = channel
        self.outs = np.flatnonzero(wanted)
        self.given = target.given[piece.inputs]
        self.key, self.options, self.runner = key, options, runner
        self.plugin = options.estimator == "plugin"
        self.exact: ExactPiece | None = None
        if not self.plugin and not channel.stages:
            if channel.n_in == 1:
                self.exact = exact_single(channel, self.outs)
            elif channel.n_out == 1:
                self.exact = exact_output(channel, self.given)
        self.tractable = self.exact is None and tractable(channel)
        # The single outputs' distributions, and their entropies given the cell.
        self.known: Array | None = None
        if self.exact is None and not channel.stages and not channel.drops:
            self.known = output_marginals(channel, runner)
        rest = given_entropies(channel, self.given, runner) if self.tractable else None
        self.rest = None if rest is None else rest.values
        self.rest_error = 0.0 if rest is None else float(rest.errors.max()) + _SLACK
        self.hopeless = False
        self.samples = 0
        self.counted: Counted | None = None
        self.output = Estimate(0.0, 0.0, 0.0, 1.0)
        self.information = Estimate(0.0, 0.0, 0.0, 1.0)
        self.cells: CellEntropy | None = None
        self.influence_in: tuple[Array, Array] | None = None
        self.edges = _edges_of(piece, self.rows, parts)
        self.outputs = rows_of(channel, (), [int(o) for o in self.outs])
        self.direct = False
        self._counter: Counter | None = None
        self._spent = 0

    @property
    def informed(self) -> bool:
        """Whether any input that counts has an effect."""
        return bool(self.given.any())

    @property
    def dropped(self) -> bool:
        """Whether nothing at all was kept."""
        return self.counted is not None and self.counted.kept == 0

    def run(self, samples: int, most: int | None) -> None:
        """Estimate from so many evaluations in all.

        Parameters
        ----------
        samples : int
        most : int or None
            If no number up to this one can do, stop early. None: take all.
        """
        if self._counter is None:
            self._prepare(samples)
        if not self.informed:
            self._count(samples)
            self.samples = self.drawn
        elif self.plugin or self.direct:
            self._run_direct(samples)
        else:
            self._run_conditional(samples, most)

    def _prepare(self, samples: int) -> None:
        """Decide what to count."""
        inputs = tuple(int(i) for i in np.flatnonzero(self.given))
        # Cells so few that every one is seen often need no draws of their own, where nothing is
        # known of the outputs within them or where they are wide.
        few = len(inputs) * math.log2(self.channel.in_bins) <= math.log2(samples / _FEW_CELLS)
        self.direct = bool(inputs) and few and not (self.tractable and self.given.all())
        paired = bool(inputs) and (self.plugin or self.direct)
        sets = (self.outputs, inputs) if paired else (self.outputs,)
        job = CountJob(self.key, 0, 0, 0, sets, ((1, 0),) if paired else (), self.known is None)
        self._counter = Counter(self.channel, job, self.runner, self.options.memory)

    @property
    def drawn(self) -> int:
        """Samples of the one stream."""
        return 0 if self._counter is None else self._counter.samples

    def _count(self, samples: int) -> None:
        assert self._counter is not None
        if samples > self.drawn:
            self._counter.extend(samples)
        self.counted = self._counter.result()
        if self.counted.kept == 0:
            return
        if self.known is not None and not self.plugin:
            self.output = _controlled(self.counted, self.channel, self.known)
        else:
            self.output = estimate_entropy(self.counted.of_set(0))

    def _run_direct(self, samples: int) -> None:
        """Estimate from the counts of inputs, outputs and both."""
        self._count(samples)
        self.samples = self.drawn
        counted = self.counted
        if counted is None or counted.kept == 0:
            return
        y, x, both = counted.of_set(0), counted.of_set(1), counted.of_pair(0)
        of_y, of_both = estimate_entropy(y), estimate_entropy(both)
        value = max(self._input_entropy(counted, x) + of_y.value - of_both.value, 0.0)
        spread = math.sqrt(information_variance(counted, 1, 0, 0) / counted.kept)
        bias = abs(of_both.bias - of_y.bias)
        if self.plugin:
            better, value = (
                value,
                sum(sign * entropy(m, "plugin") for sign, m in ((1, x), (1, y), (-1, both))),
            )
            bias = abs(value - better)  # as far as a better estimator sees it
            plain = entropy(y, "plugin")
            off = of_y.value - plain
            self.output = Estimate(plain, math.hypot(of_y.stderr, off), off, y.coverage)
        coverage = min(y.coverage, both.coverage)
        self.information = Estimate(value, math.hypot(spread, bias), bias, coverage)

    def _input_entropy(self, counted: Counted, x: Multiplicities) -> float:
        if self.channel.drops:
            return entropy(x)
        return float(self.given.sum()) * math.log2(self.channel.in_bins)

    def _run_conditional(self, samples: int, most: int | None) -> None:
        pilot = min(_PILOT, max(_LEAST_PILOT, _DEFAULT_WORK // _work(self.channel) // 2))
        if self.drawn == 0:
            self._count(_floor(min(pilot, samples // 4)))
            assert self.counted is not None
            if self.counted.kept == 0:
                self._count(_floor(samples))
                self.samples = self.drawn
                return
            self.hopeless = most is not None and _beyond(self.counted, most)
        if self.hopeless:
            self._sample_cells(min(samples // 2, 2 * pilot))
            self.samples = self.drawn + self._spent
            self._combine()
            return
        # A first look at both parts decides how the rest is shared between them.
        self._sample_cells(samples // 16)
        tried = self._spent
        self._count(_floor(samples // 8))
        own = max(self.output.stderr**2 - self.output.bias**2, 0.0) * self.drawn
        other = 0.0 if self.cells is None else self.cells.variance_each
        total = math.sqrt(own) + math.sqrt(other)
        share = min(max(math.sqrt(own) / total if total > 0.0 else 0.5, 0.15), 0.85)
        left = max(samples - tried, 0)
        self._count(_floor(int(share * left)))
        rest = samples - tried - self.drawn
        if self.cells is not None and rest > self.cells.samples:
            self._sample_cells(rest)
            tried += self._spent
        self.samples = self.drawn + tried
        self._combine()

    def _sample_cells(self, budget: int) -> None:
        n_given = int(self.given.sum())
        plan = design(budget, self.channel.in_bins, n_given, not self.channel.drops)
        size = np.zeros(self.channel.n_in)
        if not self.channel.stages:
            size = np.abs(self.channel.weight).sum(axis=0)
        order = [int(i) for i in np.argsort(-size, kind="stable") if self.given[i]]
        cells = Cells(self.key, 16, tuple(order), self.outputs)
        each = self.options.influence and not self.tractable
        self.cells = measure_cells(self.channel, cells, plan, self.runner, self.rest, each)
        self._spent = self.cells.samples

    def _combine(self) -> None:
        if self.cells is None or self.counted is None or self.counted.kept == 0:
            return
        y, c = self.output, self.cells
        self.information = Estimate(
            max(y.value - c.entropy, 0.0),
            math.hypot(y.stderr, c.stderr),
            y.bias,
            min(y.coverage, c.coverage),
        )

    def measure_influence(self) -> None:
        """Measure the information of every single given input with the whole output."""
        if not self.informed:
            return
        if (self.plugin or self.direct) and not self.tractable and not self.dropped:
            self._sample_cells(2 * _PILOT)  # for the influence on single outputs
        if self.saturated:
            return
        inputs = np.flatnonzero(self.given)
        samples = min(self.drawn, _floor(_INFLUENCE_WORK // (len(inputs) + 1)))
        sets = (self.outputs, *((int(i),) for i in inputs))
        pairs = tuple((i + 1, 0) for i in range(len(inputs)))
        job = CountJob(self.key, 0, 0, 0, sets, pairs)
        counter = Counter(self.channel, job, self.runner, self.options.memory)
        counter.extend(max(samples, _GROUP))
        counted = counter.result()
        if counted.kept == 0:
            return
        y = estimate_entropy(counted.of_set(0))
        values, errors = np.empty(len(inputs)), np.empty(len(inputs))
        for i in range(len(inputs)):
            x = counted.of_set(i + 1)
            h_x = entropy(x) if self.channel.drops else math.log2(self.channel.in_bins)
            both = estimate_entropy(counted.of_pair(i))
            values[i] = max(y.value + h_x - both.value, 0.0)
            spread = information_variance(counted, i + 1, 0, i)
            errors[i] = math.sqrt(spread / counted.kept + (both.bias - y.bias) ** 2)
        self.influence_in = values, errors

    @property
    def saturated(self) -> bool:
        if self.exact is not None:
            return False
        worst = self.information if self.informed else self.output
        return self.dropped or is_saturated(worst.coverage, worst.bias)

    def influence_out(self) -> tuple[Array, Array] | None:
        """Return the information of the given inputs with every single output, and its error."""
        nothing = np.zeros(len(self.outs))
        if not self.informed:
            return nothing, nothing
        if self.exact is not None:
            return self.exact.influence_out, nothing
        if self.known is not None and self.rest is not None:
            return np.maximum(_entropies(self.known) - self.rest, 0.0), nothing
        own = self.single_outputs()
        if own is None or self.cells is None or self.cells.outputs is None:
            return None
        assert self.cells.outputs_stderr is not None
        return (
            np.maximum(own[0] - self.cells.outputs, 0.0),
            np.hypot(own[1], self.cells.outputs_stderr),
        )

    def single_outputs(self) -> tuple[Array, Array] | None:
        """Return the entropies of the single outputs and their errors."""
        if self.known is not None:
            return _entropies(self.known), np.zeros(len(self.outs))
        if self.counted is None or self.counted.margins is None or self.counted.kept == 0:
            return None
        found = []
        for counts in self.counted.margins[self.outs]:
            values, number = np.unique(counts[counts > 0], return_counts=True)
            m = Multiplicities(values.astype(np.float64), number.astype(np.float64))
            found.append(estimate_entropy(m))
        return np.array([e.value for e in found]), np.array([e.stderr for e in found])

    def bounds(self) -> tuple[float, float]:
        """Return rigorous bounds of the information."""
        channel = self.channel
        if not self.informed:
            return 0.0, 0.0
        if self.exact is not None:
            value, accuracy = self.exact.information, self.exact.accuracy
            return max(value - accuracy, 0.0), value + accuracy
        n_given = int(self.given.sum())
        low, high = trivial_bounds(n_given, len(self.outs), channel.in_bins, channel.out_bins)
        if channel.drops:
            return low, high
        slack = self.rest_error
        influence = self.influence_out()
        least = None if influence is None else influence[0] - _WIDEN * influence[1] - slack
        low = lower_bound(None if self.edges is None else self.edges[:, self.given], least)
        own = self.entropy_bounds()
        if own is None:
            return low, max(low, high)
        noise = None
        if self.rest is not None:
            noise = self.rest - slack
        elif self.cells is not None and self.cells.outputs is not None:
            assert self.cells.outputs_stderr is not None
            noise = self.cells.outputs - _WIDEN * self.cells.outputs_stderr
        high = upper_bound(n_given * math.log2(channel.in_bins), own, noise, self._twins())
        return min(low, high), high

    def entropy_bounds(self) -> Array | None:
        """Return upper bounds of the single outputs' entropies."""
        singles = self.single_outputs()
        if singles is None:
            return None
        slack = _SLACK if self.known is not None else 0.0
        high = singles[0] + _WIDEN * singles[1] + slack
        return np.minimum(high, math.log2(self.channel.out_bins))

    def _twins(self) -> NDArray[np.bool_]:
        """Return which outputs are copies of an earlier one."""
        rows = np.column_stack([self.channel.weight, self.channel.bias])[self.outs]
        twins = np.ones(len(rows), bool)
        twins[np.unique(rows, axis=0, return_index=True)[1]] = False
        return twins

    def output_entropy(self) -> tuple[float, float]:
        """Return ``H(Y)`` and its error."""
        if self.exact is not None:
            return self.exact.output_entropy, 0.0
        value, error = self.output.value, self.output.stderr
        if self.output.coverage < LEAST_COVERAGE:
            # All that is certain is that it lies between nothing and the sum of the parts.
            parts = self.entropy_bounds()
            if parts is not None:
                high = float(parts[~self._twins()].sum())
                value = min(value, high)
                error = max(error, high - value)
        return value, error

    def answer(self) -> tuple[float, float, tuple[float, float]]:
        """Return the information, its error and its bounds."""
        low, high = self.bounds()
        if self.exact is not None:
            return self.exact.information, 0.0, (low, high)
        value, error = self.information.value, self.information.stderr
        if not self.plugin:
            value = min(max(value, low), high)
        # An error that rests on a bias estimated from next to nothing is none.
        if self.saturated and (not self.plugin or self.information.coverage < 0.5):
            error = max(error, 0.5 * (high - low))
        # Whatever was estimated, the truth is within the bounds.
        return value, min(error, max(value - low, high - value)), (low, high)


def _floor(samples: int) -> int:
    """Return a whole number of groups of samples, at least one."""
    return max(_GROUP, samples // _GROUP * _GROUP)


def _beyond(counted: Counted, most: int) -> bool:
    """Whether the outputs are so many that no number of samples allowed would see them."""
    counts = counted.of_set(len(counted.sets) - 1)
    twice = float((counts.number * counts.counts * (counts.counts - 1.0)).sum()) / 2.0
    # The chance that two samples agree is that of 1 / (effective number of values).
    total = counts.total
    return total >= 1024 and total * (total - 1.0) / 2.0 > _HOPELESS * most * max(twice, 0.5)


def information_variance(counted: Counted, one: int, two: int, pair: int) -> float:
    """Return the variance of ``log2 p(x, y) / (p(x) p(y))`` over the sample."""
    logs = [
        np.rint(np.log2(counted.sets[i][:, -1].astype(np.float64)) * _FINE).astype(np.int32)
        for i in (one, two)
    ]
    # Sums of integers: they do not depend on the order in which the vectors were met.
    sums = _core.joint_moments(counted.pairs[pair], *logs)
    mean, square = (total / (_FINE * counted.kept) for total in sums)
    return max(square - mean * mean, 0.0)


def _entropies(p: Array) -> Array:
    return np.asarray(-(p * np.log2(np.where(p > 0.0, p, 1.0))).sum(axis=1))


def _edges_of(piece: Piece, rows: NDArray[np.intp], parts: Pairwise | None) -> Array | None:
    """Return lower bounds of the piece's edges."""
    if parts is None:
        return None
    edges = parts.edges.reshape(len(parts.edges), -1)
    if parts.edges_stderr is not None:
        edges = edges - _WIDEN * parts.edges_stderr.reshape(edges.shape)
    if parts.error_bound is not None:
        edges = edges - parts.error_bound
    return np.asarray(edges[np.ix_(rows, piece.columns)])


@dataclass
class _Sum:
    value: float = 0.0
    variance: float = 0.0

    def add(self, value: float, stderr: float) -> None:
        self.value += value
        self.variance += stderr * stderr

    @property
    def stderr(self) -> float:
        return math.sqrt(self.variance)


@dataclass
class _Nodes:
    """Influences of all nodes, gathered from the pieces."""

    values: Array
    errors: Array
    complete: bool = True

    def put(self, where: NDArray[np.intp], found: tuple[Array, Array] | None) -> None:
        if found is None:
            self.complete = False
            return
        self.values[where], self.errors[where] = found

    def result(self) -> tuple[Array | None, Array | None]:
        return (self.values, self.errors) if self.complete else (None, None)


def _assemble(
    target: Target, pieces: list[_Piece], sampling: Sampling, options: JointOptions, dead: bool
) -> Joint:
    information, output = _Sum(), _Sum()
    low = high = 0.0
    inside = 1.0
    n_in, n_out = len(target.given), len(target.wanted)
    ins, outs = _Nodes(np.zeros(n_in), np.zeros(n_in)), _Nodes(np.zeros(n_out), np.zeros(n_out))
    for piece in pieces:
        value, error, bounds = piece.answer()
        information.add(value, error)
        output.add(*piece.output_entropy())
        low, high = low + bounds[0], high + bounds[1]
        if piece.exact is not None:
            inside *= 1.0 - piece.exact.outside
        elif piece.counted is not None:
            inside *= 1.0 - piece.counted.outside / max(piece.counted.samples, 1)
        chosen = piece.piece.inputs[piece.given]
        if piece.exact is not None:
            ins.put(chosen, (piece.exact.influence_in, np.zeros(len(chosen))))
        elif piece.informed:
            ins.put(chosen, piece.influence_in)
        outs.put(piece.rows, piece.influence_out())
    sampled = [p for p in pieces if p.exact is None]
    coverages = [(p.information if p.informed else p.output).coverage for p in sampled]
    saturated = dead or any(p.saturated for p in sampled)
    influence_in, in_error = ins.result() if options.influence else (None, None)
    influence_out, out_error = outs.result() if options.influence else (None, None)
    return Joint(
        ei=information.value,
        ei_stderr=information.stderr,
        ei_bounds=(low, high),
        output_entropy=output.value,
        output_entropy_stderr=output.stderr,
        estimator=options.estimator,
        samples=sum(p.samples for p in sampled),
        coverage=min(coverages, default=0.0 if dead else 1.0),
        saturated=saturated,
        converged=None
        if sampling.tol is None
        else bool(information.stderr <= sampling.tol and not saturated),
        influence_in=influence_in,
        influence_out=influence_out,
        outlier_fraction=1.0 - inside,
        influence_in_stderr=in_error,
        influence_out_stderr=out_error,
    )
