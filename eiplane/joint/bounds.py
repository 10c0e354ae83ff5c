"""Rigorous bounds of the EI of whole vectors, from pairwise results and single outputs.

Write X for the input's bins, independent and uniform, and Y for the output's.

*Lower.* ``I(X; Y) >= sum_A I(X_A; Y)``: by the chain rule ``I(X; Y) = sum_A I(X_A; Y |
X_1..X_(A-1))``, and as X_A is independent of the inputs before it, ``I(X_A; Y | X_<A) = I(X_A; Y,
X_<A) >= I(X_A; Y)``. By the data processing inequality ``I(X_A; Y) >= I(X_A; Y_B)`` for every
output B, so ``I(X; Y) >= sum_A max_B I(X_A; Y_B)``. Among the bounds that assign every input to
one output this is the greatest; in particular it is at least ``max_B sum_A I(X_A; Y_B)``. Also
``I(X; Y) >= I(X; Y_B)`` for every B, and for disjoint groups of inputs the first argument holds
group by group, so for any assignment of outputs B to disjoint groups of inputs the sum of
``I(X_group; Y_B)`` is a bound. The single-output information ``I(X; Y_B)`` of the whole input,
where known, is such a bound by itself.

*Upper.* ``I(X; Y) <= H(X)``, of the inputs that have any effect: ``n log2 in_bins``. And
``I(X; Y) = H(Y) - H(Y | X) <= sum_B H(Y_B) - max_B H(Y_B | X)``, as the entropy of a vector is at
most the sum of its parts' and, also given X, at least each of its parts'. Identical outputs count
once. More: with ``H(Y | X) >= 0`` alone, ``I <= sum_B H(Y_B)``.

*Components.* If the inputs and outputs fall into parts between which no weight is other than zero,
then ``I(X; Y)`` is the sum over the parts (they are independent), and each is bounded by itself.

With ``outliers="drop"`` inputs are no longer independent given that the sample is kept, and
pairwise results are conditioned on other events than the joint one; what is left is
``0 <= I(X; Y) <= min(n log2 in_bins, n_out log2 out_bins)``.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["SLACK", "WIDEN", "lower_bound", "trivial_bounds", "upper_bound"]

Array = NDArray[np.float64]

#: Standard errors by which bounds are widened where they rest on samples; and bits, where they rest
#: on :mod:`eiplane.joint.given`.
WIDEN, SLACK = 4.0, 1e-5


def trivial_bounds(n_in: int, n_out: int, in_bins: int, out_bins: int) -> tuple[float, float]:
    """Return ``0`` and the lesser of the two vectors' largest entropies."""
    return 0.0, min(n_in * math.log2(in_bins), n_out * math.log2(out_bins))


def lower_bound(edges: Array | None, influence_out: Array | None) -> float:
    """Return a lower bound of ``I(X; Y)``; see the module.

    Parameters
    ----------
    edges : ndarray of float64, shape (n_out, n_in), or None
        Lower bounds of ``I(X_A; Y_B)``; None where they are not known.
    influence_out : ndarray of float64, shape (n_out,), or None
        Lower bounds of ``I(X; Y_B)``.

    Returns
    -------
    float
        In bits.
    """
    low = 0.0
    if edges is not None and edges.size:
        low = float(np.maximum(edges, 0.0).max(axis=0).sum())
    if influence_out is not None and influence_out.size:
        low = max(low, float(influence_out.max()))
    return low


def upper_bound(
    inputs: float, entropies: Array, given: Array | None, twins: NDArray[np.bool_] | None = None
) -> float:
    """Return an upper bound of ``I(X; Y)``; see the module.

    Parameters
    ----------
    inputs : float
        ``H(X)`` of the inputs that have an effect.
    entropies : ndarray of float64, shape (n_out,)
        ``H(Y_B)`` or upper bounds of it.
    given : ndarray of float64, shape (n_out,), or None
        Lower bounds of ``H(Y_B | X)``.
    twins : ndarray of bool, shape (n_out,), optional
        Outputs that are copies of an earlier one.

    Returns
    -------
    float
        In bits.
    """
    own = entropies if twins is None else entropies[~twins]
    noise = 0.0 if given is None or not given.size else float(given.max())
    return max(0.0, min(inputs, float(own.sum()) - noise))
