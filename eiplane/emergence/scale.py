"""The information of one transition matrix: a scale at which a system can be described."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..results.plain import plain

__all__ = ["PER_STATE", "TOTALS", "Scale", "row_entropies"]

Array = NDArray[np.float64]

#: What is said of a scale as a whole, in the order of the printed table, and its heading.
TOTALS = {
    "ei": "EI",
    "effectiveness": "effectiveness",
    "determinism": "determinism",
    "degeneracy": "degeneracy",
    "specificity": "specificity",
}

#: What is said of every state.
PER_STATE = ("ei_states", "determinism_states", "effect")


def row_entropies(p: Array) -> Array:
    """Return the entropy of each distribution along the last axis, in bits."""
    return np.asarray(-np.sum(p * np.log2(p, out=np.zeros_like(p), where=p > 0), axis=-1))


@dataclass(frozen=True, eq=False)
class Scale:
    """A transition matrix under ``do(state = Hmax)``, every state set equally often; in bits.

    The terms are those of E. P. Hoel, *When the map is better than the territory*, Entropy 19(5)
    188 (2017), section 2; the contributions of single states are the effect information of Klein
    and Hoel, Complexity 2020, 8932526.

    Parameters
    ----------
    matrix : ndarray of float64, shape (n, m)
        Row i is the distribution of what follows state i; mostly ``m == n``.
    """

    matrix: Array

    @property
    def n_states(self) -> int:
        """Number of states that are set."""
        return int(self.matrix.shape[0])

    @cached_property
    def effect(self) -> Array:
        """The effect distribution: the average of the rows; shape (m,)."""
        return np.asarray(self.matrix.mean(axis=0))

    @cached_property
    def ei_states(self) -> Array:
        """Effect information of each state: ``KL(row || effect)`` in bits; shape (n,)."""
        p = self.matrix
        seen = p > 0
        ratio = np.divide(p, self.effect, out=np.ones_like(p), where=seen)
        return np.asarray(np.sum(p * np.log2(ratio), axis=1))

    @property
    def ei(self) -> float:
        """Effective information: the average of :attr:`ei_states`, in bits."""
        return max(float(self.ei_states.mean()), 0.0)

    @property
    def effectiveness(self) -> float:
        """``ei / log2(n)``, the share of the perturbation's entropy that gets through; 0 for n = 1.

        Of a square matrix it is determinism less degeneracy.
        """
        return self.ei / math.log2(self.n_states) if self.n_states > 1 else 0.0

    @cached_property
    def determinism_states(self) -> Array:
        """``1 - H(row) / log2(m)`` of each state; shape (n,)."""
        if self.matrix.shape[1] < 2:
            return np.ones(self.n_states)
        return np.asarray(1.0 - row_entropies(self.matrix) / math.log2(self.matrix.shape[1]))

    @property
    def determinism(self) -> float:
        """The average of :attr:`determinism_states`: 1 where each state has one effect."""
        return float(self.determinism_states.mean())

    @property
    def specificity(self) -> float:
        """``H(effect) / log2(m)``: 1 where all effects are equally frequent."""
        if self.matrix.shape[1] < 2:
            return 1.0
        return float(row_entropies(self.effect)) / math.log2(self.matrix.shape[1])

    @property
    def degeneracy(self) -> float:
        """``1 - specificity``: 1 where all states have the same one effect."""
        return 1.0 - self.specificity

    def to_dict(self, states: bool = True) -> dict[str, Any]:
        """Return plain Python numbers and lists.

        Parameters
        ----------
        states : bool
            Whether to include the matrix and what is said of every state.

        Returns
        -------
        dict
        """
        names = ["n_states", *TOTALS, *((*PER_STATE, "matrix") if states else ())]
        return {name: plain(getattr(self, name)) for name in names}
