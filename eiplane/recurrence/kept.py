"""The entropy within cells where runs are left out: of those that are kept.

A cell is that of a run that was kept, so cells come as often as kept runs have them; draws within
it are repeated until enough are kept. So it is done lag by lag: a run may be kept at one and not at
another.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..joint.cells import CellEntropy, Drawn, combine_cells, design
from ..run import Runner
from .run import (
    OUTSIDE,
    CellsUnit,
    Labels,
    cells_units,
    counted,
    generator,
    identify,
    in_cells,
    level_by_level,
    run_from,
    within_span,
)
from .setup import Setup

__all__ = ["kept_entropies"]

#: Runs that a kept one may cost, in a cell and before there is one.
_ATTEMPTS = 64


def kept_unit(unit: CellsUnit) -> Drawn:
    """Draw in cells of the perturbed neurons until enough runs are kept."""
    setup, draws = unit.setup, unit.group.draws
    (lag,) = setup.lags
    rng = generator(unit.key, 4, lag, unit.level, unit.first)
    cells, spent = _cells_of_kept(setup, lag, unit.count, rng)
    found = np.zeros((setup.places, len(cells), draws), np.uint16)
    have = np.zeros(len(cells), np.intp)
    left, once = np.arange(len(cells)), draws
    for _ in range(_ATTEMPTS):
        if not len(left):
            break
        labels = in_cells(setup, cells[left].T, once, rng).labels[lag]
        spent += labels.shape[1]
        kept = _kept(labels).reshape(len(left), once)
        shaped = labels.reshape(setup.places, len(left), once)
        for k, cell in enumerate(left):
            new = shaped[:, k, kept[k]][:, : draws - have[cell]]
            found[:, cell, have[cell] : have[cell] + new.shape[1]] = new
            have[cell] += new.shape[1]
        left = left[have[left] < draws]
    vectors = identify(found.reshape(setup.places, -1), setup.bins[1])
    return counted(vectors.reshape(len(cells), draws), have == draws, draws, spent)


def _cells_of_kept(
    setup: Setup, lag: int, count: int, rng: np.random.Generator
) -> tuple[NDArray[np.intp], int]:
    """Return the cells of runs that are kept, one each, and how many runs that took."""
    cells: list[NDArray[np.intp]] = []
    spent = 0
    for _ in range(_ATTEMPTS):
        u = rng.random((setup.n_in, max(count, 64)))
        labels = run_from(setup, within_span(u, setup.in_span), rng).labels[lag]
        spent += u.shape[1]
        at = np.minimum(u * setup.bins[0], setup.bins[0] - 1).astype(np.intp)
        cells += list(at.T[_kept(labels)])
        if len(cells) >= count:
            break
    shaped = np.array(cells[:count], np.intp).reshape(-1, setup.n_in)
    return shaped, spent


def _kept(labels: Labels) -> NDArray[np.bool_]:
    return np.asarray((labels != OUTSIDE).all(axis=0))


def kept_entropies(setup: Setup, key: int, count: int, runner: Runner) -> dict[int, CellEntropy]:
    """Measure the entropy of the outputs within cells, of runs that are kept, by lag.

    Parameters
    ----------
    setup : Setup
    key : int
    count : int
        Draws of a lag that are to be kept.
    runner : Runner

    Returns
    -------
    dict of int to CellEntropy
        Of no coverage where too few runs are kept.
    """
    plan = design(count, setup.bins[0], setup.n_in, stratified=False)
    found = {}
    for lag in setup.lags:
        alone = replace(setup, lags=(lag,))
        units = cells_units(alone, key, plan)
        drawn = level_by_level(units, runner.map(kept_unit, units, "cells"), plan)
        found[lag] = combine_cells(drawn, plan, setup.bins[0], None, False)
    return found
