"""Runs of a cell from perturbed states or inputs, in units that travel.

Every unit has a generator of its own, seeded by the call's key, what the unit is for and its
number; how units are spread over threads changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..joint.cells import Design, Drawn, Group, octave_gains
from ..run import stop_if_cancelled
from .setup import Setup

__all__ = [
    "OUTSIDE",
    "CellsUnit",
    "Labels",
    "MatrixUnit",
    "SampleUnit",
    "SweepUnit",
    "Uniform",
    "binned",
    "cells_unit",
    "cells_units",
    "counted",
    "generator",
    "identify",
    "in_cells",
    "level_by_level",
    "matrix_unit",
    "run_from",
    "sample_unit",
    "states_from",
    "sweep_unit",
    "within_span",
]

Array = NDArray[np.float64]
Labels = NDArray[np.uint16]
Found = TypeVar("Found")

#: Points of a sweep at a time: all together take gigabytes, and would be waited for.
_BLOCK = 1 << 15

#: Draws in cells of a unit.
_DRAWN = 4096

#: The label of a value that is left out; no bin has it.
OUTSIDE = 0xFFFF


@dataclass(frozen=True, eq=False)
class SampleUnit:
    """Samples with everything perturbed at once."""

    setup: Setup
    key: int
    number: int
    count: int

    @property
    def where(self) -> str:
        """Which unit this is, for errors."""
        return f"block {self.number} of samples"


@dataclass(frozen=True, eq=False)
class SweepUnit:
    """One neuron swept through its range, everything else held."""

    setup: Setup
    key: int
    neuron: int
    grids: int
    points: int

    @property
    def where(self) -> str:
        """Which unit this is, for errors."""
        return f"sweep of neuron {self.neuron}"


@dataclass(frozen=True, eq=False)
class CellsUnit:
    """Some cells of a group, with draws in each."""

    setup: Setup
    key: int
    group: Group
    level: int
    first: int
    count: int

    @property
    def where(self) -> str:
        """Which unit this is, for errors."""
        return f"cells {self.first}..{self.first + self.count - 1} of group {self.level}"


def cells_units(setup: Setup, key: int, plan: Design) -> list[CellsUnit]:
    """Return the units of all cells of a plan."""
    units = []
    for level, group in enumerate(plan.groups):
        each = max(1, _DRAWN // group.draws)
        units += [
            CellsUnit(setup, key, group, level, first, min(each, group.cells - first))
            for first in range(0, group.cells, each)
        ]
    return units


def level_by_level(
    units: Sequence[CellsUnit], found: Sequence[Found], plan: Design
) -> list[list[Found]]:
    """Return what was found of each group of cells."""
    return [
        [one for unit, one in zip(units, found, strict=True) if unit.level == level]
        for level in range(len(plan.groups))
    ]


@dataclass(frozen=True, eq=False)
class MatrixUnit:
    """All draws in some of all cells there are."""

    setup: Setup
    key: int
    first: int
    count: int
    draws: int

    @property
    def where(self) -> str:
        """Which unit this is, for errors."""
        return f"states {self.first}..{self.first + self.count - 1}"


@dataclass(frozen=True, eq=False)
class Run:
    """The bins after each lag, and how many values were outside their ranges."""

    labels: dict[int, Labels]
    outside: dict[int, int]


def generator(key: int, purpose: int, *numbers: int) -> np.random.Generator:
    """Return the generator of a unit: its call's key, what it is for, and its numbers."""
    words = np.random.SeedSequence([key, purpose, *numbers]).generate_state(2, np.uint64)
    return np.random.Generator(np.random.Philox(key=words))


def within_span(u: Array, span: Array) -> Array:
    """Return numbers between 0 and 1 as values of ranges, one a row."""
    return span[:, :1] + u * (span[:, 1:] - span[:, :1])


def binned(values: Array, span: Array, bins: int, drop: bool = False) -> tuple[Labels, int]:
    """Return the bins of values, and how many are outside: in the end bins, or :data:`OUTSIDE`."""
    low, high = span[:, :1], span[:, 1:]
    at = np.floor((values - low) * (bins / (high - low)))
    outside = (values < low) | (values > high)
    labels = np.clip(at, 0, bins - 1).astype(np.uint16)
    if drop:
        labels[outside] = OUTSIDE
    return labels, int(np.count_nonzero(outside))


class Uniform(Protocol):
    """What is drawn from: a generator, or numbers that are there already."""

    def random(self, size: Any, /) -> Any:
        """Return numbers between 0 and 1."""

    def integers(self, high: int, /, *, size: int) -> Any:
        """Return integers from 0 up to, but not, high."""


def run_from(setup: Setup, values: Array, rng: np.random.Generator | None) -> Run:
    """Run the cell on from perturbed neurons.

    Parameters
    ----------
    setup : Setup
    values : ndarray of float64, shape (n_in, samples)
        Of the perturbed neurons.
    rng : Generator or None
        Of all the rest; None holds it.

    Returns
    -------
    Run
    """
    labels: dict[int, Labels] = {}
    outside: dict[int, int] = {}
    for lag, seen in states_from(setup, values, rng):
        labels[lag], outside[lag] = binned(seen, setup.out_span, setup.bins[1], setup.drop)
    return Run(labels, outside)


def states_from(setup: Setup, values: Array, rng: Uniform | None) -> Iterator[tuple[int, Array]]:
    """Yield each lag and the state then, of the neurons that count, as :func:`run_from` runs."""
    count = values.shape[1]
    state, inputs = _start(setup, count, rng)
    if setup.perturb == "state":
        state[: setup.places] = values
        step = 0
    else:
        state = setup.cell.step(np.ascontiguousarray(values), state)
        inputs(0)  # the input that the perturbed one stands for
        step = 1
    for lag in range(setup.lags[-1] + 1):
        if lag:
            stop_if_cancelled()
            state = setup.cell.step(inputs(step), state)
            step += 1
        if lag in setup.lags:
            seen = state[: setup.places]
            if not np.isfinite(seen).all():
                raise ValueError(f"the state is not finite {lag} steps after it was perturbed")
            yield lag, seen


def _start(setup: Setup, count: int, rng: Uniform | None) -> tuple[Array, Callable[[int], Array]]:
    """Return the state before anything is perturbed, and the inputs by step."""
    around = setup.around
    n_x = setup.cell.n_inputs
    held_x = np.ascontiguousarray(np.repeat(around.held_x[:, None], count, axis=1))
    held = np.repeat(around.held_state[:, None], count, axis=1)
    if rng is None or around.kind == "fixed":
        return held, lambda step: held_x
    if around.kind == "noise":
        state = within_span(rng.random((len(held), count)), around.state_span)
        return state, lambda step: within_span(rng.random((n_x, count)), around.x_span)
    sequences, states = around.sequences, around.states
    assert sequences is not None and states is not None and around.lengths is not None
    windows = np.maximum(around.lengths - setup.window + 1, 0)
    if (windows == windows[0]).all():
        which = rng.integers(len(sequences), size=count)
        when = rng.integers(int(windows[0]), size=count)
    else:
        ends = np.cumsum(windows)
        at = rng.integers(int(ends[-1]), size=count)
        which = np.searchsorted(ends, at, side="right")
        when = at - (ends - windows)[which]
    return states[which, when].T.copy(), lambda step: np.ascontiguousarray(
        sequences[which, when + step].T
    )


def sample_unit(unit: SampleUnit) -> tuple[Labels, Run]:
    """Return the bins of the perturbed neurons and those after each lag."""
    setup, rng = unit.setup, generator(unit.key, 0, unit.number)
    u = rng.random((setup.n_in, unit.count))
    given = np.minimum(u * setup.bins[0], setup.bins[0] - 1).astype(np.uint16)
    return given, run_from(setup, within_span(u, setup.in_span), rng)


def sweep_unit(unit: SweepUnit) -> dict[int, NDArray[np.uint64]]:
    """Return the counts of one neuron's bins with every output's, by lag.

    Each grid is evenly spaced and shifted by an offset of its own; shape of each array (grids,
    places, in_bins, out_bins).
    """
    setup, rng = unit.setup, generator(unit.key, 1, unit.neuron)
    in_bins, out_bins = setup.bins
    offsets = rng.random((unit.grids, 1))
    shape = (unit.grids, setup.places, in_bins, out_bins)
    tables = {lag: np.zeros(math.prod(shape), np.uint64) for lag in setup.lags}
    rows = np.arange(setup.places)[:, None]
    for first in range(0, unit.grids * unit.points, _BLOCK):
        at = np.arange(first, min(first + _BLOCK, unit.grids * unit.points))
        grid, point = np.divmod(at, unit.points)
        u = (point + offsets[grid, 0]) / unit.points
        values = np.full((setup.n_in, len(u)), setup.baseline)
        values[unit.neuron] = within_span(u[None], setup.in_span[[unit.neuron]])[0]
        given = np.minimum(u * in_bins, in_bins - 1).astype(np.intp)
        for lag, labels in run_from(setup, values, None).labels.items():
            flat = ((grid * setup.places + rows) * in_bins + given) * out_bins + labels
            flat = flat[labels != OUTSIDE]
            tables[lag] += np.bincount(flat, minlength=math.prod(shape)).astype(np.uint64)
    return {lag: counts.reshape(shape) for lag, counts in tables.items()}


def cells_unit(unit: CellsUnit) -> dict[int, Drawn]:
    """Draw in some cells of the perturbed neurons; what was drawn by lag."""
    setup, group = unit.setup, unit.group
    in_bins = setup.bins[0]
    rng = generator(unit.key, 2, unit.level, unit.first)
    number = np.arange(unit.first, unit.first + unit.count)
    cell = rng.integers(in_bins, size=(setup.n_in, unit.count))
    for stratum in range(group.strata):  # the number of the cell decides these bins
        cell[stratum] = number // in_bins**stratum % in_bins
    found = in_cells(setup, cell, group.draws, rng)
    drawn = {}
    for lag, labels in found.labels.items():
        vectors = identify(labels, setup.bins[1]).reshape(unit.count, group.draws)
        drawn[lag] = counted(vectors, np.ones(unit.count, bool), group.draws, vectors.size)
    return drawn


def counted(vectors: NDArray[np.int64], ok: NDArray[np.bool_], draws: int, spent: int) -> Drawn:
    """Return what the draws in cells say of the entropy within them.

    Parameters
    ----------
    vectors : ndarray of int, shape (cells, draws)
        A number for each different one.
    ok : ndarray of bool, shape (cells,)
        Cells whose draws count.
    draws, spent : int
        In each cell, and of all that were taken.
    """
    gains = octave_gains(draws)
    octaves = np.concatenate([np.zeros((len(gains), 1)), np.cumsum(gains, axis=1)], axis=1)
    most, cells = int(vectors.max(initial=0)) + 1, len(vectors)
    pairs, counts = np.unique(
        (np.arange(cells)[:, None] * most + vectors).ravel(), return_counts=True
    )
    where = pairs // most
    octave = [np.bincount(where, o[counts], cells).astype(np.float64) for o in octaves]
    whole: Array = np.stack(octave, axis=1)
    singles = np.bincount(where, counts == 1, cells).astype(np.uint32)
    return Drawn(whole, np.zeros_like(whole), None, singles, ok, spent)


def in_cells(setup: Setup, cell: NDArray[Any], draws: int, rng: np.random.Generator) -> Run:
    """Run on from so many draws in each cell, in the cells' order."""
    u = rng.random((setup.n_in, cell.shape[1] * draws))
    u = (np.repeat(cell, draws, axis=1) + u) / setup.bins[0]
    return run_from(setup, within_span(u, setup.in_span), rng)


def matrix_unit(unit: MatrixUnit) -> dict[int, NDArray[np.int64]]:
    """Return how often each state followed some of the states, by lag.

    States are numbered as :func:`numpy.ravel_multi_index` does, the first neuron's bin counting
    most; shape of each array (count, states).
    """
    setup = unit.setup
    shape = (setup.bins[0],) * setup.places
    states = int(np.prod(shape))
    number = np.arange(unit.first, unit.first + unit.count)
    cell = np.array(np.unravel_index(number, shape))
    found = in_cells(setup, cell, unit.draws, generator(unit.key, 3, unit.first))
    at = np.repeat(np.arange(unit.count), unit.draws)
    counts = {}
    for lag, labels in found.labels.items():
        kept = (labels != OUTSIDE).all(axis=0)
        after = np.ravel_multi_index(tuple(labels[:, kept].astype(np.intp)), shape)
        pairs = np.bincount(at[kept] * states + after, minlength=unit.count * states)
        counts[lag] = pairs.reshape(unit.count, states)
    return counts


def identify(labels: Labels, bins: int) -> NDArray[np.int64]:
    """Return a number for each vector of bins, the same for the same; shape (samples,)."""
    per_word = int(62 / np.log2(bins))
    ids: NDArray[Any] = np.zeros(labels.shape[1], np.int64)
    for first in range(0, len(labels), per_word):
        word = np.zeros(labels.shape[1], np.int64)
        for row in labels[first : first + per_word]:
            word = word * bins + row
        _, word = np.unique(word, return_inverse=True)
        _, ids = np.unique(ids * (int(word.max(initial=0)) + 1) + word, return_inverse=True)
    return ids.astype(np.int64)
