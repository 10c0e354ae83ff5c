"""Layers of any width whose EI is known: shuffled blocks, each of them counted.

A coupling of 1e-9 between the blocks, which changes nothing, keeps them from being taken apart.
"""

from __future__ import annotations

import warnings

import numpy as np

import eiplane

SIDE = 4
COUPLING = 1e-9


def shuffled(width: int, spread: float = 4.0, seed: int = 0) -> tuple[np.ndarray, float]:
    """Return the weight of a square layer of 4→4 blocks, and its EI by counting them, in bits."""
    rng = np.random.default_rng([seed, width])
    weight = np.full((width, width), COUPLING)
    kinds = [rng.uniform(-spread, spread, (SIDE, SIDE)) / np.sqrt(SIDE) for _ in range(4)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        known = [
            eiplane.analyze(k, measures="ei", estimator="conditional", samples=1 << 21)[0].ei
            for k in kinds
        ]
    truth = 0.0
    for block in range(width // SIDE):
        here = slice(SIDE * block, SIDE * (block + 1))
        weight[here, here] = kinds[block % len(kinds)]
        truth += known[block % len(kinds)]
    weight = weight[rng.permutation(width)][:, rng.permutation(width)]
    return weight, truth
