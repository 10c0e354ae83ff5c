"""The measures of every lag, sampled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .. import _core
from ..information import Multiplicities, entropy, jackknife, multiplicities
from ..joint import JointOptions
from ..joint.bounds import WIDEN, WholeBounds, lower_bound
from ..joint.cells import CellEntropy, combine_cells, design
from ..joint.estimates import Estimate, estimate_entropy
from ..joint.modelled import Effort, modelled_bounds
from ..joint.saturation import is_saturated
from ..joint.settle import settled_information, settled_output
from ..results import Joint, Pairwise
from ..run import Runner
from .kept import kept_entropies
from .run import (
    OUTSIDE,
    Labels,
    MatrixUnit,
    SampleUnit,
    SweepUnit,
    cells_unit,
    cells_units,
    identify,
    level_by_level,
    matrix_unit,
    sample_unit,
    sweep_unit,
)
from .setup import Setup
from .source import StateSource

__all__ = [
    "DEFAULT_SAMPLES",
    "MOST_SAMPLES",
    "Samples",
    "cell_entropies",
    "matrices",
    "sensitivities",
]

Array = NDArray[np.float64]

#: Runs where nothing is said, and the most of a lag whose errors are to be below some.
DEFAULT_SAMPLES, MOST_SAMPLES = 1 << 16, 1 << 22

#: Samples of a unit, and those whose influence on a sum is followed.
_UNIT, _FOLLOWED = 4096, 8192

#: Bytes of a run while vectors are counted.
_COUNTED = 40

#: Shifted grids of a sweep: their spread is the error. Points of all sweeps together, in numbers of
#: samples, and of one at least.
_GRIDS, _SWEPT, _LEAST_SWEPT = 16, 8, 4096

#: Cells of the transition matrix at most: 12 bits; and draws in each at least.
_STATES, _DRAWS = 4096, 256


class Samples:
    """One stream of samples with everything perturbed, and what it says of each lag.

    Parameters
    ----------
    setup : Setup
    key : int
    count : int
    runner : Runner
    options : JointOptions

    Raises
    ------
    MemoryError
        Before any run, if what is kept of all would take more than ``options.memory``.
    """

    def __init__(
        self, setup: Setup, key: int, count: int, runner: Runner, options: JointOptions
    ) -> None:
        self.setup, self.count, self._options = setup, count, options
        need = count * (2 * (setup.n_in + setup.places * len(setup.lags)) + _COUNTED)
        if need > options.memory:
            raise MemoryError(
                f"{count} runs of {len(setup.lags)} lags need {need / 2**20:.0f} MiB, more than "
                f"the memory limit of {options.memory / 2**20:.0f} MiB; use fewer samples or "
                "lags, or raise memory_limit"
            )
        units = [
            SampleUnit(setup, key, i, min(_UNIT, count - first))
            for i, first in enumerate(range(0, count, _UNIT))
        ]
        done = runner.map(sample_unit, units, "samples")
        self._given = np.concatenate([given for given, _ in done], axis=1)
        self._found = {
            lag: np.concatenate([run.labels[lag] for _, run in done], axis=1) for lag in setup.lags
        }
        self._outside = {lag: sum(run.outside[lag] for _, run in done) for lag in setup.lags}

    def outside(self, lag: int) -> float:
        """Return the share of the outputs' values that lay outside their ranges."""
        return self._outside[lag] / (self.count * self.setup.places)

    def pairwise(self, lag: int) -> Pairwise:
        """Return ``I(x_A; y_B)`` of all edges, corrected for its bias, with errors.

        Under ``drop`` an edge's samples are those in which its own output is inside.
        """
        in_bins, out_bins = self.setup.bins
        given, found = self._given, self._found[lag]
        tables = _tables(given, found, in_bins, out_bins)
        plugin, excess, variance = _informations(tables)
        spread = float(_influence(tables, given, found, self.count).var(ddof=1)) / self.count
        seen = np.maximum(tables.sum(axis=(2, 3)), 1).astype(np.float64)
        second = excess / (seen * math.log(2.0))
        noise = 2.0 * float(np.maximum(second, 0.0).sum())
        return Pairwise(
            plugin - excess,
            "sample",
            samples=self.count,
            stderr=math.sqrt(max(spread - noise, 0.0) + float(np.abs(second).sum())),
            edges_stderr=np.sqrt(variance),
            edges_plugin=plugin,
            outlier_fraction=self.outside(lag),
        )

    def _kept(self, lag: int) -> NDArray[np.bool_] | slice:
        """Return which runs count for whole vectors."""
        if not self.setup.drop:
            return slice(None)
        return np.asarray((self._found[lag] != OUTSIDE).all(axis=0))

    def vectors(self, lag: int) -> Multiplicities:
        """Return how often how many whole outputs occurred."""
        labels = self._found[lag][:, self._kept(lag)]
        return multiplicities(np.bincount(identify(labels, self.setup.bins[1])))

    def joint(self, lag: int, cells: CellEntropy | None, key: int, runner: Runner) -> Joint:
        """Return EI from the outputs' entropy, and that within cells.

        Where vectors cannot be counted, bounds come from models of samples as well. Without cells
        it is the published estimate: plug-in entropies of one sample.
        """
        if not self._found[lag][:, self._kept(lag)].size:
            return self._nothing(cells)
        y = estimate_entropy(self.vectors(lag))
        if cells is None:
            found, y = self._published(lag, y)
        else:
            found = Estimate(
                max(y.value - cells.entropy, 0.0),
                math.hypot(y.stderr, cells.stderr),
                y.bias,
                min(y.coverage, cells.coverage),
            )
        saturated = is_saturated(found.coverage, found.bias)
        bounds = self._bounds(lag)
        if saturated and not self.setup.drop:
            setup = replace(self.setup, lags=(lag,))
            effort = Effort.of(self.count / len(self.setup.lags))
            source = StateSource.of(setup)
            bounds = bounds.within(modelled_bounds(source, key, runner, f"lag {lag}", effort))
        published = cells is None
        settled = settled_information(found, bounds.information, saturated, published)
        output = settled_output(y, bounds, published)
        return Joint(
            settled.value,
            settled.stderr,
            settled.bounds,
            output.value,
            output.stderr,
            "plugin" if published else "conditional",
            self.count + (0 if cells is None else cells.samples),
            found.coverage,
            saturated,
            outlier_fraction=self.outside(lag),
            output_entropy_bounds=output.bounds,
        )

    def _nothing(self, cells: CellEntropy | None) -> Joint:
        """Return what is known where no run is kept."""
        in_bins, out_bins = self.setup.bins
        most = self.setup.places * math.log2(out_bins)
        high = min(self.setup.n_in * math.log2(in_bins), most)
        name = "plugin" if cells is None else "conditional"
        return Joint(
            None, None, (0.0, high), None, None, name, self.count, 0.0, True, outlier_fraction=1.0,
            output_entropy_bounds=(0.0, most),
        )  # fmt: skip

    def _published(self, lag: int, better: Estimate) -> tuple[Estimate, Estimate]:
        """Return the plug-in estimates; their doubt is how far better ones are away."""
        kept = self._kept(lag)
        x = identify(self._given[:, kept], self.setup.bins[0])
        y = identify(self._found[lag][:, kept], self.setup.bins[1])
        _, both = np.unique(x * (int(y.max()) + 1) + y, return_inverse=True)
        counts = [np.bincount(v) for v in (x, y, both)]
        of_x, of_y, of_both = (multiplicities(c) for c in counts)
        plain = entropy(of_y, "plugin")
        value = entropy(of_x, "plugin") + plain - entropy(of_both, "plugin")
        inputs = self.setup.n_in * math.log2(self.setup.bins[0])
        known = entropy(of_x) if self.setup.drop else inputs
        off = value - max(known + better.value - estimate_entropy(of_both).value, 0.0)
        logs = np.log2(counts[2][both] * float(len(x)) / (counts[0][x] * counts[1][y]))
        coverage = min(of_y.coverage, of_both.coverage)
        error = math.hypot(float(logs.std()) / math.sqrt(len(x)), off)
        shift = better.value - plain
        output = Estimate(plain, math.hypot(better.stderr, shift), shift, of_y.coverage)
        return Estimate(value, error, abs(off), coverage), output

    def _bounds(self, lag: int) -> WholeBounds:
        """Return bounds, up to four standard errors of what is sampled of single neurons.

        Below, what each perturbed neuron tells of the output that knows most of it; above, the
        entropy of the perturbation, and the sum of that of the single outputs.
        """
        setup, low = self.setup, 0.0
        if not setup.drop:  # what is kept for an edge is not what is kept for whole vectors
            pairs = self.pairwise(lag)
            assert pairs.edges_stderr is not None
            low = lower_bound(np.maximum(pairs.edges - WIDEN * pairs.edges_stderr, 0.0), None)
        kept = self._found[lag][:, self._kept(lag)]
        own = [estimate_entropy(multiplicities(np.bincount(row))) for row in kept]
        most = sum(min(e.value + WIDEN * e.stderr, math.log2(setup.bins[1])) for e in own)
        high = min(setup.n_in * math.log2(setup.bins[0]), most)
        low = min(low, high)
        return WholeBounds((low, high), (low, most), (0.0, most))


def _one_hot(labels: Labels, bins: int) -> NDArray[np.float32]:
    """Return a column a sample, ones where a neuron is in a bin; shape (neurons * bins, n)."""
    hot = labels[:, None, :] == np.arange(bins, dtype=np.uint16)[:, None]
    return np.asarray(hot.reshape(-1, labels.shape[1]), np.float32)


def _tables(given: Labels, found: Labels, in_bins: int, out_bins: int) -> NDArray[np.uint64]:
    """Return the joint counts of every edge; shape (outputs, inputs, in_bins, out_bins)."""
    counts = np.zeros((len(given) * in_bins, len(found) * out_bins), np.uint64)
    for first in range(0, given.shape[1], _UNIT):  # counts of a block are exact in float32
        some = np.s_[:, first : first + _UNIT]
        block = _one_hot(given[some], in_bins) @ _one_hot(found[some], out_bins).T
        counts += block.astype(np.uint64)
    shaped = counts.reshape(len(given), in_bins, len(found), out_bins)
    return np.ascontiguousarray(shaped.transpose(2, 0, 1, 3))


def _informations(tables: NDArray[np.uint64]) -> tuple[Array, Array, Array]:
    """Return plug-in information, its bias and its variance of each table of the last two axes."""
    shape = tables.shape[:-2]
    flat = tables.reshape(-1, *tables.shape[-2:])
    found = np.array([_core.information(table) for table in flat]).reshape(*shape, 3)
    return found[..., 0], found[..., 1], found[..., 2]


def _influence(tables: NDArray[np.uint64], given: Labels, found: Labels, count: int) -> Array:
    """Return what each of some samples adds to the sum of all edges: its pointwise information."""
    # Under drop an edge is of its own samples: what a sample adds is over their share, and less
    # their average, which is nothing where all are the same.
    seen = np.maximum(tables.sum(axis=(2, 3), keepdims=True), 1)
    p = tables / seen
    product = p.sum(axis=-1, keepdims=True) * p.sum(axis=-2, keepdims=True)
    logs = np.log2(np.divide(p, product, out=np.ones_like(p), where=p > 0))
    logs = (logs - (p * logs).sum(axis=(2, 3), keepdims=True)) * (count / seen)
    n_out, n_in, in_bins, out_bins = tables.shape
    weights = logs.transpose(1, 2, 0, 3).reshape(n_in * in_bins, n_out * out_bins)
    some = np.s_[:, :_FOLLOWED]
    one, two = _one_hot(given[some], in_bins), _one_hot(found[some], out_bins)
    return np.asarray(((weights.T.astype(np.float32) @ one) * two).sum(axis=0), np.float64)


def sensitivities(setup: Setup, key: int, count: int, runner: Runner) -> dict[int, Pairwise]:
    """Sweep one neuron at a time, everything else held.

    Nothing is random then but where the grids begin.
    """
    in_bins = setup.bins[0]
    each = min(max(count * _SWEPT // setup.n_in, _LEAST_SWEPT), count)
    points = max(1, each // (_GRIDS * in_bins)) * in_bins
    units = [SweepUnit(setup, key, a, _GRIDS, points) for a in range(setup.n_in)]
    done = runner.map(sweep_unit, units, "sensitivity")
    results = {}
    for lag in setup.lags:
        tables = np.stack([tables[lag] for tables in done])  # (inputs, grids, outputs, ., .)
        found = jackknife(np.moveaxis(tables, 0, 2).astype(np.float64))
        # The grids of one neuron have nothing to do with those of another.
        alone = [jackknife(own.astype(np.float64)).sum_variance for own in tables]
        # Bits of a step of all grids together: of a jump on which they agree nothing shows.
        unseen = 4.0 / (_GRIDS * points)
        results[lag] = Pairwise(
            found.corrected,
            "sample",
            samples=_GRIDS * points,
            stderr=math.sqrt(sum(alone) + int((found.variance == 0.0).sum()) * unseen**2),
            edges_stderr=np.sqrt(found.variance + unseen**2),
            edges_plugin=found.plugin,
        )
    return results


def cell_entropies(setup: Setup, key: int, count: int, runner: Runner) -> dict[int, CellEntropy]:
    """Measure the entropy of the outputs within cells of the perturbed neurons."""
    if setup.drop:
        return kept_entropies(setup, key, count, runner)
    plan = design(count, setup.bins[0], setup.n_in)
    units = cells_units(setup, key, plan)
    drawn = level_by_level(units, runner.map(cells_unit, units, "cells"), plan)
    return {
        lag: combine_cells(
            [[one[lag] for one in own] for own in drawn], plan, setup.bins[0], None, False
        )
        for lag in setup.lags
    }


def matrices(setup: Setup, key: int, count: int, runner: Runner) -> dict[int, Array]:
    """Return the transition matrices of the binned state; empty where it is too large."""
    states = setup.bins[0] ** setup.places if setup.places <= 12 else _STATES + 1
    if setup.perturb != "state" or setup.bins[0] != setup.bins[1] or states > _STATES:
        return {}
    draws = max(_DRAWS, count // states)
    each = max(1, _UNIT // draws)
    units = [
        MatrixUnit(setup, key, first, min(each, states - first), draws)
        for first in range(0, states, each)
    ]
    done: Sequence[dict[int, NDArray[np.int64]]] = runner.map(matrix_unit, units, "matrix")
    whole = {lag: np.concatenate([d[lag] for d in done]) for lag in setup.lags}
    seen = {lag: counts.sum(axis=1, keepdims=True) for lag, counts in whole.items()}
    # Of a state after which nothing is kept it is not known what follows.
    return {lag: counts / seen[lag] for lag, counts in whole.items() if seen[lag].all()}
